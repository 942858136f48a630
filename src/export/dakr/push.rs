//! The `push` thread: sends frozen batches and heartbeats, and reports what became of them.
//!
//! Knows nothing of rows. What it is told and what it tells:
//!
//! - `batches`: a [`Batch`] at a time; none while the last one is on its way.
//! - `settled`: [`Settled`], each followed by a call of the waker. The last about a batch is [`Settled::Batch`], which
//!   hands its buffers back.
//! - [`PushHandle::stop`] with a deadline, when the agent stops. A send in flight gets 10 s at most. Then every unsettled
//!   message is sent once more, and what is left is settled as [`Verdict::Merge`] (surely not counted) or
//!   [`Verdict::Drop`]
//!   with [`Lost::ShutdownAmbiguous`] (unknown). The thread then takes batches from the channel, the last one, sends each message
//!   once, settles it likewise, and ends: when the sender of `batches` is dropped, or at the deadline. So whoever owns
//!   the rows waits for [`Settled::Batch`] if a batch is out, freezes what is open, sends it, and drops the sender.
//! - [`PushHandle::give_up`]: every wait ends at once, what is left is settled as above, the thread ends.
//!
//! [`Verdict::Merge`]: crate::batch::Verdict::Merge
//! [`Verdict::Drop`]: crate::batch::Verdict::Drop
//! [`Lost::ShutdownAmbiguous`]: crate::stats::Lost::ShutdownAmbiguous

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, select};

use super::encode::{Heartbeat, collect_now, heartbeat, processed_count};
use super::framing::{Answer, Framing, Reply};
use super::retry::{Delivery, Framings, Jitter, MAX_GRPC_ITEMS, Outcome, SendEnd, retry_after_ns};
use super::socket::Flight;
use super::token::Token;
use super::transport::{Call, Failure, Transport};
use crate::batch::{Batch, Settled};
use crate::clock::{Now, SECOND};
use crate::config::DakrProtocol;
use crate::health::{Component, Health, Status};
use crate::stats::Stats;

/// How long a request may take in all.
pub const SEND_TIMEOUT_NS: u64 = 15 * SECOND;
/// How long a request may take while the agent stops.
pub const LAST_SEND_TIMEOUT_NS: u64 = 10 * SECOND;
/// How long the agent may take to stop.
pub const STOP_TIMEOUT_NS: u64 = 15 * SECOND;
/// Time between heartbeats.
pub const HEARTBEAT_INTERVAL_NS: u64 = 60 * SECOND;
/// Items of a message, unless the framing holds fewer.
pub const MAX_ITEMS: u32 = 5_000;

const TRAFFIC_PATH: &str = "/api.v1.MetricsCollectorService/SendNetworkTrafficMetrics";
const HEALTH_PATH: &str = "/api.v1.OperatorHealthService/ReportHealth";
/// Our version, as the incumbent writes its own: without a `v`.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that we were built from.
pub const COMMIT: &str = env!("NETMON_COMMIT");

/// What the thread needs to know.
pub struct Settings {
    /// The node.
    pub node_name: String,
    /// The cluster, empty if unknown.
    pub cluster_id: String,
    /// Tells this process from its predecessors on the node.
    pub boot: String,
    /// Framing.
    pub protocol: DakrProtocol,
    /// `FLUSH_INTERVAL`.
    pub flush_interval_ns: u64,
    /// When the process started.
    pub started_wall_ns: u64,
}

/// What the thread tells without being asked, for whoever freezes batches.
#[derive(Debug)]
pub struct Pace {
    max_items: AtomicU32,
    gate_ns: AtomicU64,
}

impl Pace {
    /// How many items a message may hold in the framing in use.
    pub fn max_items(&self) -> u32 {
        self.max_items.load(SeqCst)
    }

    /// Nothing is sent before this moment of the monotonic clock. Until then rows are better left open than frozen;
    /// from then on a batch that was merged back may be frozen anew, before the next flush.
    pub fn gate_ns(&self) -> u64 {
        self.gate_ns.load(SeqCst)
    }
}

enum Order {
    Stop { deadline_ns: u64 },
}

/// Stops the thread.
pub struct PushHandle {
    orders: Sender<Order>,
    flight: Arc<Flight>,
    gave_up: Arc<AtomicBool>,
    pace: Arc<Pace>,
}

impl PushHandle {
    /// See the module's documentation. `deadline_ns` is on the monotonic clock.
    pub fn stop(&self, now: Now, deadline_ns: u64) {
        // An earlier order to give up stands.
        if !self.gave_up.load(SeqCst) {
            self.flight.set_ceiling(deadline_ns.min(now.mono_ns.saturating_add(LAST_SEND_TIMEOUT_NS)));
        }
        let _ = self.orders.send(Order::Stop { deadline_ns });
    }

    /// See the module's documentation.
    pub fn give_up(&self) {
        self.gave_up.store(true, SeqCst);
        self.flight.set_ceiling(0);
        let _ = self.orders.send(Order::Stop { deadline_ns: 0 });
    }

    /// What the thread tells about its pace.
    pub fn pace(&self) -> Arc<Pace> {
        self.pace.clone()
    }
}

/// The thread's state.
pub struct Push<T> {
    transport: T,
    settings: Settings,
    token: Token,
    health: Arc<Health>,
    stats: Arc<Stats>,
    clock: Box<dyn Fn() -> Now + Send>,
    report: Box<dyn FnMut(Settled) + Send>,
    delivery: Delivery,
    pace: Arc<Pace>,
    beat_framings: Framings,
    next_beat_ns: Option<u64>,
    flight: Arc<Flight>,
    gave_up: Arc<AtomicBool>,
    /// What the log said last, and when.
    said: Option<(Outcome, u64)>,
    /// Reused for request bodies.
    wire: Vec<u8>,
    message: Vec<u8>,
}

impl<T: Transport> Push<T> {
    /// `flight` is what ends the transport's requests; `report` takes what is settled and wakes who waits for it.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        transport: T,
        flight: Arc<Flight>,
        settings: Settings,
        token: Token,
        health: Arc<Health>,
        stats: Arc<Stats>,
        clock: impl Fn() -> Now + Send + 'static,
        report: impl FnMut(Settled) + Send + 'static,
    ) -> Push<T> {
        // FNV-1a: spreads nodes whose names differ in a digit.
        let hash = [settings.node_name.as_bytes(), settings.boot.as_bytes()]
            .concat()
            .iter()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
        health.set(Component::DakrTransport, Status::Healthy, "initialized");
        health.note(Component::DakrTransport, "node", &settings.node_name);
        Push {
            delivery: Delivery::new(settings.protocol, settings.flush_interval_ns, Jitter::new(hash)),
            beat_framings: Framings::new(settings.protocol),
            pace: Arc::new(Pace { max_items: AtomicU32::new(MAX_ITEMS), gate_ns: AtomicU64::new(0) }),
            transport,
            settings,
            token,
            health,
            stats,
            clock: Box::new(clock),
            report: Box::new(report),
            next_beat_ns: None,
            flight,
            gave_up: Arc::new(AtomicBool::new(false)),
            said: None,
            wire: Vec::new(),
            message: Vec::new(),
        }
    }

    /// Starts the thread. Fails only if no thread can be started.
    pub fn start(self, batches: Receiver<Batch>) -> std::io::Result<(PushHandle, JoinHandle<()>)>
    where
        T: 'static,
    {
        let (orders, ordered) = crossbeam_channel::unbounded();
        let handle =
            PushHandle { orders, flight: self.flight.clone(), gave_up: self.gave_up.clone(), pace: self.pace.clone() };
        let run = move || self.run(&batches, &ordered);
        Ok((handle, std::thread::Builder::new().name("push".to_owned()).spawn(run)?))
    }

    fn run(mut self, batches: &Receiver<Batch>, orders: &Receiver<Order>) {
        let never = crossbeam_channel::never();
        let mut source = batches;
        let deadline_ns = loop {
            let again_ns = self.step();
            let wait = Duration::from_nanos(again_ns.saturating_sub((self.clock)().mono_ns));
            select! {
                recv(orders) -> order => break match order {
                    Ok(Order::Stop { deadline_ns }) => deadline_ns,
                    // The handle is gone: stop as if told.
                    Err(_) => (self.clock)().mono_ns.saturating_add(STOP_TIMEOUT_NS),
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

    /// Takes a batch, to be sent from the next step on.
    pub fn accept(&mut self, batch: Batch) {
        let mut settled = Vec::new();
        if let Err(batch) = self.delivery.accept(batch, &mut settled) {
            // Against the contract. Its items go back rather than being lost.
            log::error!("a batch came while another is on its way");
            for message in &batch.messages {
                let (seq, first_item, items) = (batch.seq, message.first_item, message.items);
                settled.push(Settled::Items { seq, first_item, items, verdict: crate::batch::Verdict::Merge });
            }
            settled.push(Settled::Batch(batch));
        }
        settled.into_iter().for_each(&mut self.report);
    }

    /// Sends at most one request, whichever is due. Returns when to be called again, on the monotonic clock.
    pub fn step(&mut self) -> u64 {
        let now = (self.clock)();
        let beat_ns = *self.next_beat_ns.get_or_insert(now.mono_ns);
        if beat_ns <= now.mono_ns {
            // The second comes at a random moment of the first interval, the others a minute apart: nodes that start
            // together do not beat together.
            let first =
                beat_ns == now.mono_ns && self.stats.heartbeats_ok.get() + self.stats.heartbeats_failed.get() == 0;
            let wait_ns = if first { self.phase_ns() } else { HEARTBEAT_INTERVAL_NS };
            self.next_beat_ns = Some(now.mono_ns.saturating_add(wait_ns));
            self.beat(now);
            return now.mono_ns;
        }
        let mut settled = Vec::new();
        let ambiguous_bytes = self.delivery.pass(now.mono_ns, &mut settled);
        if ambiguous_bytes > 0 {
            self.stats.ambiguous_bytes.add(ambiguous_bytes);
            log::warn!("whether DAKR counted {ambiguous_bytes} bytes is unknown for an hour; they will be sent anew");
        }
        let again_ns = match self.send_due(now, now.mono_ns.saturating_add(SEND_TIMEOUT_NS)) {
            Ok((index, items, end, cause)) => {
                let outcome = self.delivery.ended(index, &end, (self.clock)().mono_ns, &mut settled);
                self.note(outcome, items, &end, &cause);
                now.mono_ns
            }
            Err(again_ns) => again_ns.min(self.next_beat_ns.unwrap_or(u64::MAX)),
        };
        settled.into_iter().for_each(&mut self.report);
        self.pace.gate_ns.store(self.delivery.gate_ns(), SeqCst);
        let most = if self.delivery.framing() == Framing::Grpc { MAX_GRPC_ITEMS } else { MAX_ITEMS };
        self.pace.max_items.store(most, SeqCst);
        again_ns
    }

    /// The end of the thread; see the module's documentation.
    fn stop(&mut self, deadline_ns: u64, batches: &Receiver<Batch>, orders: &Receiver<Order>) {
        if !self.gave_up.load(SeqCst) {
            self.flight.set_ceiling(deadline_ns);
        }
        loop {
            self.last_round(deadline_ns);
            let left_ns = deadline_ns.saturating_sub((self.clock)().mono_ns);
            if left_ns == 0 || self.gave_up.load(SeqCst) {
                // One may have been handed over in this very moment; it goes back unsent.
                while let Ok(batch) = batches.try_recv() {
                    self.accept(batch);
                    self.settle_left();
                }
                return;
            }
            select! {
                recv(batches) -> batch => match batch {
                    Ok(batch) => self.accept(batch),
                    Err(_) => return,
                },
                recv(orders) -> _ => {}
                default(Duration::from_nanos(left_ns)) => {}
            }
        }
    }

    /// Sends each message that is left once, then settles what is left.
    fn last_round(&mut self, deadline_ns: u64) {
        self.delivery.last_round();
        loop {
            let now = (self.clock)();
            let until_ns = deadline_ns.min(now.mono_ns.saturating_add(LAST_SEND_TIMEOUT_NS));
            if until_ns <= now.mono_ns || self.gave_up.load(SeqCst) {
                break;
            }
            let Ok((index, items, end, cause)) = self.send_due(now, until_ns) else { break };
            let mut settled = Vec::new();
            let outcome = self.delivery.ended_finally(index, &end, (self.clock)().mono_ns, &mut settled);
            self.note(outcome, items, &end, &cause);
            settled.into_iter().for_each(&mut self.report);
        }
        self.settle_left();
    }

    fn settle_left(&mut self) {
        let mut settled = Vec::new();
        self.delivery.finish(&mut settled);
        settled.into_iter().for_each(&mut self.report);
    }

    /// Sends the message that is due, or says when to ask again. Returns its index, its items, and how it ended.
    fn send_due(&mut self, now: Now, until_ns: u64) -> Result<(usize, u32, SendEnd, String), u64> {
        let due = self.delivery.next(now.mono_ns)?;
        let (index, items, framing) = (due.index, due.items, due.framing);
        let batch = format!("{}/{}/{}.{}", self.settings.node_name, self.settings.boot, due.seq, due.name);
        let headers = framing.request(due.body, millis(until_ns, now), &mut self.wire);
        let (mut end, cause) = self.send(TRAFFIC_PATH, framing, headers, Some(batch), until_ns);
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
        Ok((index, items, end, cause))
    }

    /// Sends what stands in `wire`; returns how it ended, and that in words.
    fn send(
        &mut self,
        path: &str,
        framing: Framing,
        mut headers: Vec<(&'static str, String)>,
        batch: Option<String>,
        until_ns: u64,
    ) -> (SendEnd, String) {
        if let Err(error) = self.token.refresh() {
            log::debug!("{error}");
        }
        headers.push(("authorization", self.token.authorization()));
        // As the incumbent introduces itself, for the server may know operators by these.
        headers.push(("x-client", format!("zxporter/{VERSION}")));
        headers.push(("x-operator-type", "zxporter".to_owned()));
        headers.push(("x-operator-version", VERSION.to_owned()));
        headers.push(("x-operator-git-sha", COMMIT.to_owned()));
        headers.push(("user-agent", format!("zxporter-netmon/{VERSION}")));
        headers.extend(batch.map(|batch| ("x-netmon-batch", batch)));
        match self.transport.send(&Call { path, headers: &headers, body: &self.wire }, until_ns) {
            Err(Failure::Unsent(cause)) => (SendEnd::Unsent, self.token.redacted(&cause)),
            Err(Failure::Unknown(cause)) => (SendEnd::NoAnswer, self.token.redacted(&cause)),
            Ok(reply) => {
                let wall_ns = (self.clock)().wall_ns;
                let answer = framing.answer(&reply);
                let cause = self.token.redacted(&in_words(&reply, &answer));
                let retry_after_ns = reply.header("retry-after").and_then(|value| retry_after_ns(value, wall_ns));
                (SendEnd::Answered { status: reply.status, answer, retry_after_ns }, cause)
            }
        }
    }

    /// One heartbeat, in as many framings as it takes.
    fn beat(&mut self, now: Now) {
        let components = self.health.components();
        self.message.clear();
        heartbeat(
            &mut self.message,
            &Heartbeat {
                cluster_id: &self.settings.cluster_id,
                version: VERSION,
                overall: self.health.overall(),
                components: &components,
                uptime_since_ns: self.settings.started_wall_ns,
                commit: COMMIT,
            },
        );
        let until_ns = now.mono_ns.saturating_add(SEND_TIMEOUT_NS);
        loop {
            let framing = self.beat_framings.current();
            let headers = framing.request(&self.message, millis(until_ns, now), &mut self.wire);
            let (end, cause) = self.send(HEALTH_PATH, framing, headers, None, until_ns);
            match (&end, end.outcome()) {
                (SendEnd::Answered { answer: Answer::Ok(message), .. }, _) => {
                    self.beat_framings.works();
                    self.stats.heartbeats_ok.inc();
                    if collect_now(message) == Some(true) {
                        (self.report)(Settled::CollectNow);
                    }
                }
                (SendEnd::Answered { status, .. }, Outcome::WrongFraming)
                    if self.beat_framings.wrong(*status).is_none() =>
                {
                    continue;
                }
                (_, outcome) => {
                    self.stats.heartbeats_failed.inc();
                    log::debug!("heartbeat failed: {cause}");
                    if outcome == Outcome::Denied {
                        self.reread_token();
                    }
                }
            }
            return;
        }
    }

    /// What the end of a push means for token, counters, health and log.
    fn note(&mut self, outcome: Outcome, items: u32, end: &SendEnd, cause: &str) {
        if outcome == Outcome::Acknowledged {
            self.stats.pushes_ok.inc();
            self.health.set(Component::DakrTransport, Status::Healthy, "connected");
            self.health.note(Component::DakrTransport, "framing", self.delivery.framing().as_str());
            if self.said.take().is_some() {
                log::info!("DAKR takes pushes again");
            }
            log::debug!("DAKR took {items} items");
            return;
        }
        self.stats.pushes_failed.inc();
        let empty_grpc = self.delivery.framing() == Framing::Grpc
            && matches!(end, SendEnd::Answered { answer: Answer::Unreadable, .. });
        if outcome == Outcome::Denied || empty_grpc {
            self.reread_token();
        }
        self.health.set(Component::DakrTransport, Status::Degraded, cause);
        // Once when it begins or changes its kind, and every ten minutes: an outage is no storm in the log.
        let now_ns = (self.clock)().mono_ns;
        let repeated = matches!(self.said, Some((said, at_ns))
            if said == outcome && now_ns.saturating_sub(at_ns) < 600 * SECOND);
        if repeated {
            log::debug!("push failed: {cause}");
        } else {
            log::warn!("push failed: {cause}");
            self.said = Some((outcome, now_ns));
        }
    }

    fn reread_token(&mut self) {
        if let Err(error) = self.token.reread() {
            log::warn!("{error}");
        }
    }

    /// This node's own moment within a heartbeat interval.
    fn phase_ns(&self) -> u64 {
        let name = self.settings.node_name.bytes();
        let hash =
            name.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Jitter::new(hash).up_to(HEARTBEAT_INTERVAL_NS)
    }
}

fn millis(until_ns: u64, now: Now) -> u64 {
    until_ns.saturating_sub(now.mono_ns).div_ceil(crate::clock::MS).max(1)
}

/// An answer in a few words, for health and log: never longer than a line, whatever the server sends.
fn in_words(reply: &Reply, answer: &Answer) -> String {
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    match answer {
        Answer::Ok(_) => format!("HTTP {}", reply.status),
        Answer::Error { code, message } => format!("{}: {} (HTTP {})", code.as_str(), clean(message), reply.status),
        Answer::Unreadable => format!("HTTP {} with an answer that cannot be read", reply.status),
        Answer::Foreign => {
            let kind = clean(reply.header("content-type").unwrap_or("no content type"));
            format!("HTTP {} with {kind}, which is no answer of DAKR", reply.status)
        }
    }
}
