//! The `push` thread: sends frozen batches and heartbeats, and reports what became of them. It knows nothing of rows.
//!
//! - It receives [`Parcel`]s. It takes one batch at a time, the next after [`Settled::Batch`]. With a state file
//!   ([`Push::persist_in`]) it also receives the collector's tables, and answers by [`Settled::Persisted`].
//! - It calls `report` with every [`Settled`], and `report` must wake whoever waits. The last one about a batch is
//!   [`Settled::Batch`], which returns the batch's buffers.
//! - [`PushHandle::stop`] ends it. A push in flight gets at most 10 s, a heartbeat no time. Then it sends each unsettled
//!   message once more. What is left after that was surely not counted, and is settled as [`Verdict::Merge`]; or nobody
//!   knows, and it is [`Verdict::Drop`] with [`Lost::ShutdownAmbiguous`]. With a state file that stays in the file
//!   ([`Settled::Left`]).
//! - The thread then takes the last batch from the channel and treats it alike. It ends when the sender of the channel
//!   is dropped, or at the deadline. So the owner of the rows waits for [`Settled::Batch`] if a batch is out, and
//!   freezes what is open. It sends that, drops the sender, and waits for [`Settled::Batch`] again, which arrives in
//!   any case.
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
use crate::logging::Rare;
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
/// Time between the end of the thread and the deadline, in which its last report is received.
const STOP_MARGIN_NS: u64 = SECOND;
/// Items of a message, unless the framing holds fewer.
pub const MAX_ITEMS: u32 = 5_000;
/// The procedure that takes rows.
pub const TRAFFIC_PATH: &str = "/api.v1.MetricsCollectorService/SendNetworkTrafficMetrics";

/// The thread's state.
pub struct Push<T> {
    client: Client<T>,
    condition: PushHealth,
    /// Limits the log of answers that name another number of items.
    miscounted: Rare,
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
    /// Connects to the configured DAKR over HTTP.
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
            started_ns: started.mono_ns,
        };
        Push::new(client, flight, settings, health, stats, report)
    }
}

impl<T: Transport> Push<T> {
    /// `flight` can end the requests of the client's transport.
    pub fn new(
        client: Client<T>,
        flight: Arc<Flight>,
        settings: Settings,
        health: Arc<Health>,
        stats: Arc<Stats>,
        report: impl FnMut(Settled) + Send + 'static,
    ) -> Push<T> {
        let jitter = Jitter::new(hash([&settings.node_name, &settings.boot]));
        // A host's name may hold bytes that no header may.
        let node: String = settings.node_name.chars().map(|c| if c.is_ascii_graphic() { c } else { '_' }).collect();
        Push {
            sender: format!("{node}/{}", settings.boot),
            delivery: Delivery::new(settings.protocol, settings.flush_interval_ns, jitter),
            heart: Heart::new(&settings),
            pace: Arc::default(),
            persister: None,
            resumed: None,
            client,
            miscounted: Rare::new(),
            condition: PushHealth::new(health, Arc::clone(&stats), &settings.node_name),
            stats,
            report: Box::new(report),
            flight,
            signs: Arc::default(),
        }
    }

    /// Stores what is not settled in a state file from now on.
    pub fn persist_in(&mut self, persister: Persister) {
        self.persister = Some(persister);
    }

    /// Continues the batch of the previous process. Returns what was already settled, and whether anything remains.
    ///
    /// # Errors
    /// If the state holds no batch; the push must then be discarded.
    pub fn resume(&mut self, state: State) -> Result<(Vec<Settlement>, bool), Malformed> {
        let now_ns = self.client.now().mono_ns;
        let same_boot = state.gone != Some(Gone::Boot);
        let settlements = self.delivery.resume(&mut In(&state.batch), state.notes, same_boot, now_ns)?;
        self.resumed = self.delivery.seq().map(|seq| (seq, state.sender));
        // Written anew, because notes may only be appended to a file of our own. A file that cannot be written is removed.
        self.persist_tables(state.tables);
        Ok((settlements, !self.delivery.is_idle()))
    }

    /// Removes the state file of the previous process, of which nothing is continued.
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
                    // The handle is gone: stop as by an order.
                    Err(_) => self.client.now().mono_ns.saturating_add(STOP_TIMEOUT_NS),
                },
                recv(source) -> batch => match batch {
                    Ok(batch) => self.accept(batch),
                    // No more batches; heartbeats and the batch in flight continue until the stop.
                    Err(_) => source = &never,
                },
                default(wait) => {}
            }
        };
        self.stop(deadline_ns, batches);
    }

    /// Takes a batch. Where there is a state file the batch is in it before its first send.
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
            // A bug of the caller. Its items return to the rows rather than being lost.
            log::error!("a batch arrived while another is in flight; its rows are sent later");
            for message in &batch.messages {
                let (first_item, items) = (message.first_item, message.items);
                settled.push(Settled::Items { first_item, items, verdict: Verdict::Merge });
            }
            settled.push(Settled::Batch(batch));
        } else if let Some(tables) = tables {
            self.persist_tables(tables);
        }
        settled.into_iter().for_each(&mut self.report);
    }

    /// Sends at most one request, whichever is due. Returns the time of the next call, on the monotonic clock.
    pub fn step(&mut self) -> u64 {
        let now_ns = self.client.now().mono_ns;
        if self.signs.stopping.load(SeqCst) {
            // The order is about to arrive. What is sent after it has other limits.
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
            log::warn!(
                "for an hour DAKR has not confirmed {ambiguous_bytes} bytes; they are sent again and may count twice"
            );
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
        // Set before the report, because its receiver may freeze the next batch at once.
        let most = if self.delivery.framing() == Framing::Grpc { MAX_GRPC_ITEMS } else { MAX_ITEMS };
        self.pace.set(most, self.delivery.gate_ns());
        settled.into_iter().for_each(&mut self.report);
        again_ns
    }

    /// Writes the collector's tables and the batch. Returns whether they are on the disk.
    fn persist_tables(&mut self, tables: Vec<u8>) -> bool {
        let Some(persister) = &mut self.persister else { return false };
        let sender = match &self.resumed {
            Some((seq, sender)) if self.delivery.seq() == Some(*seq) => sender,
            _ => &self.sender,
        };
        // The whole state contains what the notes would add.
        self.delivery.take_notes();
        persister.persist(tables, sender, &self.delivery)
    }

    /// Appends what became of messages since the last write.
    fn persist_notes(&mut self) {
        let notes = self.delivery.take_notes();
        if let Some(persister) = &mut self.persister {
            persister.note(&notes);
        }
    }

    fn beat(&mut self, now_ns: u64) {
        self.signs.beating.store(true, SeqCst);
        // If the stop came just now, the time is for batches.
        let until_ns = if self.signs.stopping.load(SeqCst) { now_ns } else { now_ns.saturating_add(SEND_TIMEOUT_NS) };
        let beat = self.heart.beat(&mut self.client, self.condition.health(), &self.stats, now_ns, until_ns);
        self.signs.beating.store(false, SeqCst);
        match beat {
            Ok(collect_now) => {
                self.condition.beat_taken(self.client.now().mono_ns);
                if collect_now {
                    (self.report)(Settled::CollectNow);
                }
            }
            // A heartbeat that the stop ended tells nothing about DAKR.
            Err((outcome, cause)) if !self.signs.stopping.load(SeqCst) => {
                self.condition.beat_failed(outcome, &cause, self.client.now().mono_ns);
            }
            Err(_) => {}
        }
    }

    /// Sends the message that is due, or returns when the next one is.
    fn send_due(&mut self, now_ns: u64, until_ns: u64) -> Result<Sent, u64> {
        // A message may be halved here. The state file has to say so before the first half is sent.
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
                    if let Some(suppressed) = self.miscounted.allow(self.client.now()) {
                        log::warn!("DAKR at {} processed {count} of {items} items{suppressed}", self.client.peer());
                    }
                }
                None => *answer = Answer::Unreadable,
            }
        }
        Ok(Sent { index, items, end, cause })
    }

    /// Updates token, counters, health and log after a push.
    fn note(&mut self, outcome: Outcome, sent: &Sent) {
        if outcome == Outcome::Acknowledged {
            self.stats.pushes_ok.inc();
            self.stats.last_push_ms.set(self.client.now().wall_ns / MS);
            self.condition.push_taken(self.delivery.framing().as_str(), self.client.now().mono_ns);
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
