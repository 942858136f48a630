//! The `push` thread: sends frozen batches and heartbeats, and reports what became of them.
//!
//! Knows nothing of rows. What it is told and what it tells:
//!
//! - `batches`: [`Parcel`]s: a batch at a time, none while the last one is on its way; and, with a state file
//!   ([`Push::persist_in`]), the collector's tables, answered by [`Settled::Persisted`].
//! - `report` is called with every [`Settled`], and has to wake who waits for it. The last about a batch is
//!   [`Settled::Batch`], which hands its buffers back.
//! - [`PushHandle::stop`], when the agent stops. A push in flight gets 10 s at most, a heartbeat none. Then every unsettled message is sent
//!   once more, and what is left is settled as [`Verdict::Merge`] (surely not counted) or as [`Verdict::Drop`] with
//!   [`Lost::ShutdownAmbiguous`] (unknown; with a state file it stays in there, [`Settled::Left`]). The thread then takes batches from the channel, the last one, sends each
//!   message once, settles it likewise, and ends: when the sender of `batches` is dropped, or at the deadline. So whoever
//!   owns the rows waits for [`Settled::Batch`] if a batch is out, freezes what is open, sends it, drops the sender, and
//!   waits for [`Settled::Batch`] again: it comes in any case.
//! - [`PushHandle::give_up`]: every wait ends at once, what is left is settled as above, the thread ends.
//!
//! [`Lost::ShutdownAmbiguous`]: crate::stats::Lost::ShutdownAmbiguous

mod ending;
mod handle;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, select};
pub use handle::{PushHandle, SendLimits};
use handle::{Signs, StopBy};

use super::client::Client;
use super::encode::processed_count;
use super::framing::{Answer, Framing};
use super::health::PushHealth;
use super::heart::Heart;
use super::jitter::{Jitter, hash};
use super::outcome::{Outcome, SendEnd};
use super::persister::Persister;
use super::retry::{Delivery, MAX_GRPC_ITEMS, Settlement};
use super::settings::Settings;
use super::token::Token;
use super::transport::{Http, Transport};
use crate::batch::{Parcel, Settled, Verdict};
use crate::clock::{self, MS, Now, SECOND};
use crate::config::Dakr;
use crate::health::Health;
use crate::net::flight::Flight;
use crate::privileges::{Talks, settle_talker};
use crate::state::bytes::In;
use crate::state::{Gone, State};
use crate::stats::Stats;
use crate::wire::Malformed;

/// How long a request may take in all.
pub const SEND_TIMEOUT_NS: u64 = 15 * SECOND;
/// How long a request may take while the agent stops.
pub const LAST_SEND_TIMEOUT_NS: u64 = 10 * SECOND;
/// How long the agent may take to stop.
pub const STOP_TIMEOUT_NS: u64 = 15 * SECOND;
/// How long before the deadline the thread is done, so that what it reports is heard.
const STOP_MARGIN_NS: u64 = 200 * MS;
/// Items of a message, unless the framing holds fewer.
pub const MAX_ITEMS: u32 = 5_000;
const TRAFFIC_PATH: &str = "/api.v1.MetricsCollectorService/SendNetworkTrafficMetrics";

/// The thread's state.
pub struct Push<T> {
    client: Client<T>,
    condition: PushHealth,
    stats: Arc<Stats>,
    report: Box<dyn FnMut(Settled) + Send>,
    delivery: Delivery,
    pace: Arc<SendLimits>,
    heart: Heart,
    flight: Arc<Flight>,
    signs: Arc<Signs>,
    /// `<node>/<boot>`, the beginning of every `X-Netmon-Batch`.
    sender: String,
    /// The state file, where there is one.
    persister: Option<Persister>,
    /// A batch of the process before, and the sender under which it began to be sent.
    resumed: Option<(u64, String)>,
}

impl Push<Http> {
    /// The push to the DAKR that the configuration names, over HTTP.
    pub fn over_http(
        dakr: &Dakr,
        node_name: &str,
        flush_interval_ns: u64,
        started: Now,
        health: Arc<Health>,
        stats: Arc<Stats>,
        report: impl FnMut(Settled) + Send + 'static,
    ) -> Push<Http> {
        let http = Http::new(&dakr.url, dakr.ca_file.as_deref(), dakr.route.proxy().cloned());
        let flight = http.flight();
        let client = Client::new(http, Token::new(&dakr.token, dakr.token_file.clone()), clock::now);
        let settings = Settings {
            node_name: node_name.to_owned(),
            cluster_id: dakr.cluster_id.clone(),
            boot: format!("{:x}", started.wall_ns),
            protocol: dakr.protocol,
            flush_interval_ns,
            started_wall_ns: started.wall_ns,
        };
        Push::new(client, flight, settings, health, stats, report)
    }
}

impl<T: Transport> Push<T> {
    /// `flight` is what ends the requests of the client's transport.
    pub fn new(
        client: Client<T>,
        flight: Arc<Flight>,
        settings: Settings,
        health: Arc<Health>,
        stats: Arc<Stats>,
        report: impl FnMut(Settled) + Send + 'static,
    ) -> Push<T> {
        let jitter = Jitter::new(hash([&settings.node_name, &settings.boot]));
        // A host may be named as no header can be.
        let node: String = settings.node_name.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
        Push {
            sender: format!("{node}/{}", settings.boot),
            delivery: Delivery::new(settings.protocol, settings.flush_interval_ns, jitter),
            heart: Heart::new(&settings),
            pace: Arc::default(),
            persister: None,
            resumed: None,
            client,
            condition: PushHealth::new(health, &settings.node_name),
            stats,
            report: Box::new(report),
            flight,
            signs: Arc::default(),
        }
    }

    /// Keeps what is not settled in a state file from now on.
    pub fn persist_in(&mut self, persister: Persister) {
        self.persister = Some(persister);
    }

    /// Goes on with the batch of the process before. Returns how the part of it was settled that was, and whether some
    /// is left.
    ///
    /// # Errors
    /// When what the state holds cannot be a batch; the push is of no use then.
    pub fn resume(&mut self, state: State) -> Result<(Vec<Settlement>, bool), Malformed> {
        let now_ns = self.client.now().mono_ns;
        let same_boot = state.gone != Some(Gone::Boot);
        let settlements = self.delivery.resume(&mut In(&state.batch), state.notes, same_boot, now_ns)?;
        self.resumed = self.delivery.seq().map(|seq| (seq, state.sender));
        // As it stands now: notes are appended to a file of our own. And if it cannot be written, it is gone.
        self.persist_tables(state.tables);
        Ok((settlements, !self.delivery.is_idle()))
    }

    /// Nothing of the process before is gone on with: its state file goes.
    pub fn discard_state(&mut self) {
        if let Some(persister) = &mut self.persister {
            persister.discard();
        }
    }

    /// Starts the thread. Fails only if no thread can be started.
    pub fn start(self, batches: Receiver<Parcel>) -> std::io::Result<(PushHandle, JoinHandle<()>)>
    where
        T: 'static,
    {
        let (orders, ordered) = crossbeam_channel::unbounded();
        let handle =
            PushHandle { orders, flight: self.flight.clone(), signs: self.signs.clone(), pace: self.pace.clone() };
        let run = move || {
            settle_talker(Talks::Out);
            self.run(&batches, &ordered);
        };
        Ok((handle, std::thread::Builder::new().name("push".to_owned()).spawn(run)?))
    }

    fn run(mut self, batches: &Receiver<Parcel>, orders: &Receiver<StopBy>) {
        let never = crossbeam_channel::never();
        let mut source = batches;
        let deadline_ns = loop {
            let again_ns = self.step();
            let wait = Duration::from_nanos(again_ns.saturating_sub(self.client.now().mono_ns));
            select! {
                recv(orders) -> order => break match order {
                    Ok(StopBy(deadline_ns)) => deadline_ns,
                    // The handle is gone: stop as if told.
                    Err(_) => self.client.now().mono_ns.saturating_add(STOP_TIMEOUT_NS),
                },
                recv(source) -> batch => match batch {
                    Ok(batch) => self.accept(batch),
                    // Nothing more will come; heartbeats and what is on its way go on until the stop.
                    Err(_) => source = &never,
                },
                default(wait) => {}
            }
        };
        self.stop(deadline_ns, batches, orders);
    }

    /// Takes a batch, to be sent from the next step on: once it is in the state file, where there is one.
    pub fn accept(&mut self, parcel: Parcel) {
        let (batch, tables) = match parcel {
            Parcel::Batch(batch, tables) => (batch, tables),
            Parcel::Tables(tables) => {
                let persisted = self.persist_tables(tables);
                return (self.report)(Settled::Persisted(persisted));
            }
        };
        let mut settled = Vec::new();
        if let Err(batch) = self.delivery.accept(batch, &mut settled) {
            // Against the contract. Its items go back rather than being lost.
            log::error!("a batch came while another is on its way");
            for message in &batch.messages {
                let (seq, first_item, items) = (batch.seq, message.first_item, message.items);
                settled.push(Settled::Items { seq, first_item, items, verdict: Verdict::Merge });
            }
            settled.push(Settled::Batch(batch));
        } else if let Some(tables) = tables {
            self.persist_tables(tables);
        }
        settled.into_iter().for_each(&mut self.report);
    }

    /// Sends at most one request, whichever is due. Returns when to be called again, on the monotonic clock.
    pub fn step(&mut self) -> u64 {
        let now_ns = self.client.now().mono_ns;
        if self.signs.stopping.load(SeqCst) {
            // The order is about to arrive, and has its own way of sending.
            return now_ns.saturating_add(MS);
        }
        if self.heart.is_due(now_ns) {
            self.beat(now_ns);
            return now_ns;
        }
        let mut settled = Vec::new();
        let ambiguous_bytes = self.delivery.pass(now_ns, &mut settled);
        if ambiguous_bytes > 0 {
            self.stats.ambiguous_bytes.add(ambiguous_bytes);
            log::warn!("whether DAKR counted {ambiguous_bytes} bytes is unknown for an hour; they will be sent anew");
        }
        let again_ns = match self.send_due(now_ns, now_ns.saturating_add(SEND_TIMEOUT_NS)) {
            Ok(sent) => {
                let outcome = self.delivery.ended(sent.index, &sent.end, self.client.now().mono_ns, &mut settled);
                self.note(outcome, &sent);
                now_ns
            }
            Err(again_ns) => again_ns.min(self.heart.next_ns()),
        };
        self.persist_notes();
        // Before the report, for whoever hears it may freeze the next batch at once.
        let most = if self.delivery.framing() == Framing::Grpc { MAX_GRPC_ITEMS } else { MAX_ITEMS };
        self.pace.set(most, self.delivery.gate_ns());
        settled.into_iter().for_each(&mut self.report);
        again_ns
    }

    /// Writes the collector's tables and the batch as it stands; whether they are on the disk.
    fn persist_tables(&mut self, tables: Vec<u8>) -> bool {
        let Some(persister) = &mut self.persister else { return false };
        let sender = match &self.resumed {
            Some((seq, sender)) if self.delivery.seq() == Some(*seq) => sender,
            _ => &self.sender,
        };
        // It says all that the notes would.
        self.delivery.take_notes();
        persister.persist(tables, sender, &self.delivery)
    }

    /// Writes what became of messages since.
    fn persist_notes(&mut self) {
        let notes = self.delivery.take_notes();
        if let Some(persister) = &mut self.persister {
            persister.note(&notes);
        }
    }

    fn beat(&mut self, now_ns: u64) {
        self.signs.beating.store(true, SeqCst);
        // Told to stop in this very moment: the time is for batches.
        let until_ns = if self.signs.stopping.load(SeqCst) { now_ns } else { now_ns.saturating_add(SEND_TIMEOUT_NS) };
        let beat = self.heart.beat(&mut self.client, self.condition.health(), &self.stats, now_ns, until_ns);
        self.signs.beating.store(false, SeqCst);
        match beat {
            Ok(collect_now) => {
                self.condition.beat_taken();
                if collect_now {
                    (self.report)(Settled::CollectNow);
                }
            }
            // One that the stop has cut short says nothing of DAKR.
            Err((outcome, cause)) if !self.signs.stopping.load(SeqCst) => {
                self.condition.beat_failed(outcome, &cause, self.client.now().mono_ns);
            }
            Err(_) => {}
        }
    }

    /// Sends the message that is due, or says when to ask again.
    fn send_due(&mut self, now_ns: u64, until_ns: u64) -> Result<Sent, u64> {
        // It may have to be halved first: then the state file knows before the first half goes.
        self.delivery.next(now_ns)?;
        self.persist_notes();
        let due = self.delivery.next(now_ns)?;
        let (index, items) = (due.index, due.items);
        let sender = match &self.resumed {
            Some((seq, sender)) if *seq == due.seq => sender,
            _ => &self.sender,
        };
        let batch = format!("{sender}/{}.{}", due.seq, due.name);
        let (mut end, cause) = self.client.call(TRAFFIC_PATH, due.framing, due.body, Some(batch), until_ns);
        if let SendEnd::Answered { answer, .. } = &mut end
            && let Answer::Ok(message) = answer
        {
            match processed_count(message) {
                Some(count) if i64::from(count) == i64::from(items) => {}
                Some(count) => {
                    self.stats.pushes_miscounted.inc();
                    log::warn!("DAKR processed {count} of {items} items");
                }
                None => *answer = Answer::Unreadable,
            }
        }
        Ok(Sent { index, items, end, cause })
    }

    /// What the end of a push means for token, counters, health and log.
    fn note(&mut self, outcome: Outcome, sent: &Sent) {
        if outcome == Outcome::Acknowledged {
            self.stats.pushes_ok.inc();
            self.condition.push_taken(self.delivery.framing().as_str());
            log::debug!("DAKR took {} items", sent.items);
            return;
        }
        self.stats.pushes_failed.inc();
        // In gRPC framing the reason is lost with the trailers, so it may have been the token.
        let unreadable = matches!(sent.end, SendEnd::Answered { answer: Answer::Unreadable, .. });
        if outcome == Outcome::Denied || self.delivery.framing() == Framing::Grpc && unreadable {
            self.client.reread_token();
        }
        self.condition.push_failed(outcome, &sent.cause, self.client.now().mono_ns);
    }
}

/// A send that has ended.
struct Sent {
    index: usize,
    items: u32,
    end: SendEnd,
    cause: String,
}

#[cfg(test)]
mod tests;
