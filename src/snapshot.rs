//! What the endpoints show: immutable snapshots of the rows and sums, made by the collector when somebody asks.
//!
//! The collector copies rows here and goes on; whoever renders reads at leisure. At most two snapshots of a kind are alive.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::audit::Account;
use crate::clock::{Now, SECOND};
use crate::config::SourceKind;
use crate::flow::{Addr, Class, Direction, Further, TxRx};
use crate::names::RowName;
use crate::owner::{Owner, Pod};
use crate::topology::Way;
use crate::topology::names::Names;

/// One row, as shown.
#[derive(Clone, Copy, Debug)]
pub struct RowView {
    /// Index into [`Snapshot::owners`].
    pub owner: u32,
    /// The pod of this node that is the remote end, where it is one, likewise.
    pub remote_owner: Option<u32>,
    /// Index into [`Snapshot::names`]; beyond its end where the remote end has no name.
    pub name: u32,
    /// The responder's port, 0 for protocols without.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Who opened the connections of the row.
    pub direction: Direction,
    /// Where the remote address lies.
    pub class: Class,
    /// Scope, via and service.
    pub way: Way,
    /// Number of the zone and region of the remote end in [`Snapshot::places`].
    pub place: u16,
    /// Whether tx holds rx too.
    pub is_sum: bool,
    /// Which source counts it.
    pub source: SourceKind,
    /// The local end.
    pub local: Addr,
    /// The remote end.
    pub remote: Addr,
    /// What is not settled yet; equals `total` where nothing is pushed.
    pub unsettled: TxRx,
    /// Since the row appeared.
    pub total: TxRx,
    /// What is more of `total` on the wire.
    pub more: Further,
    /// Whether some of `more` is an estimate.
    pub is_estimated: bool,
    /// When it last grew, nanoseconds since the epoch.
    pub changed_wall_ns: u64,
    /// Bytes sent and received in a second, over the last sweep.
    pub rate: [f32; 2],
}

/// Traffic since the start per owner, direction, protocol and class: what Prometheus may scrape, for it only grows.
#[derive(Clone, Copy, Debug)]
pub struct SeriesView {
    /// Index into [`Snapshot::owners`].
    pub owner: u32,
    /// `tcp`, `udp`, `sctp`, `icmp` or `other`.
    pub protocol: &'static str,
    /// Who opened the connections.
    pub direction: Direction,
    /// Where the remote addresses lie.
    pub class: Class,
    pub total: TxRx,
    /// Bytes that are more of it on the wire, sent and received.
    pub more_bytes: [u64; 2],
}

/// One DNS lookup that DAKR has not acknowledged, as shown.
#[derive(Clone, Debug)]
pub struct LookupView {
    /// The address that asked.
    pub client: Addr,
    pub name: Arc<str>,
    /// End of this lookup's addresses in [`Snapshot::resolved`]; they start at the end of the lookup before.
    pub resolved_end: usize,
    /// When the last answer arrived, nanoseconds since the epoch.
    pub answered_wall_ns: u64,
    /// The pod that asked, where known.
    pub pod: Option<Arc<Pod>>,
}

/// Bytes since the start per owner, scope, via and service.
#[derive(Clone, Copy, Debug)]
pub struct CostView {
    /// Index into [`Snapshot::owners`].
    pub owner: u32,
    /// Scope, via and service.
    pub way: Way,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// When it appeared, monotonic.
    pub since_mono_ns: u64,
}

/// One snapshot.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// When it was taken.
    pub taken: Now,
    /// When what it holds is older than the read interval, monotonic: from then on nobody is shown it who can have another.
    pub stale_ns: u64,
    pub rows: Vec<RowView>,
    pub series: Vec<SeriesView>,
    /// What series carried that are no more.
    pub gone: TxRx,
    /// The series by scope, via and service.
    pub costs: Vec<CostView>,
    /// What the uplinks carried and what became of it, each direction.
    pub interfaces: Vec<Account>,
    /// What the numbers of services and places mean.
    pub places: Arc<Names>,
    /// The owners that `rows` and the series point to.
    pub owners: Vec<Owner>,
    /// The names that `rows` point to.
    pub names: Vec<RowName>,
    pub lookups: Vec<LookupView>,
    /// The addresses of all lookups, one lookup after the other.
    pub resolved: Vec<Addr>,
}

impl Snapshot {
    /// Everything since the start.
    pub fn since_start(&self) -> TxRx {
        self.series.iter().fold(self.gone, |sum, series| sum + series.total)
    }
}

/// The snapshots of both endpoints. `/metrics` is asked for all day and shows no rows, so its snapshots hold none.
#[derive(Debug, Default)]
pub struct SnapshotsByKind {
    /// For `/flows`: all of it.
    pub flows: Snapshots,
    /// For `/metrics`: no rows, names or lookups.
    pub metrics: Snapshots,
    /// For `/history`.
    pub history: History,
}

/// What had been carried at the sweeps of the last hour.
#[derive(Debug)]
pub struct History(Mutex<VecDeque<Past>>);

/// What had been carried at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// Nanoseconds since the epoch.
    pub wall_ns: u64,
    /// Bytes since the start, sent and received, in the order of [`Class::ALL`].
    by_class: [[u64; 2]; Class::ALL.len()],
}

impl Past {
    /// Bytes since the start, sent and received: of a class, or of all.
    pub fn bytes(&self, class: Option<Class>) -> [u64; 2] {
        let of = Class::ALL.iter().zip(self.by_class).filter(|(one, _)| class.is_none_or(|class| class == **one));
        of.fold([0; 2], |[tx, rx], (_, [more_tx, more_rx])| [tx.saturating_add(more_tx), rx.saturating_add(more_rx)])
    }
}

impl Default for History {
    fn default() -> History {
        History(Mutex::new(VecDeque::with_capacity(History::POINTS)))
    }
}

impl History {
    /// Five seconds apart at least, so an hour of them.
    const POINTS: usize = 720;
    const APART_NS: u64 = 5 * SECOND;

    /// Collector: remembers what had been carried at a sweep, by class. Those that follow each other sooner are left out, and none is
    /// older than an hour. A clock that was set back begins anew.
    pub fn note(&self, wall_ns: u64, by_class: &[TxRx; Class::ALL.len()]) {
        let mut past = self.0.lock().unwrap_or_else(|p| p.into_inner());
        if past.back().is_some_and(|last| last.wall_ns > wall_ns) {
            past.clear();
        }
        // A sweep is due a little before or after its time.
        if past.back().is_some_and(|last| wall_ns - last.wall_ns < History::APART_NS / 10 * 9) {
            return;
        }
        let oldest_ns = wall_ns.saturating_sub(History::POINTS as u64 * History::APART_NS);
        while past.len() >= History::POINTS || past.front().is_some_and(|first| first.wall_ns < oldest_ns) {
            past.pop_front();
        }
        past.push_back(Past { wall_ns, by_class: by_class.map(|of| [of.tx.bytes, of.rx.bytes]) });
    }

    /// From a time on, the oldest first.
    pub fn since(&self, wall_ns: u64) -> Vec<Past> {
        let past = self.0.lock().unwrap_or_else(|p| p.into_inner());
        past.iter().filter(|past| past.wall_ns >= wall_ns).copied().collect()
    }
}

/// One of [`SnapshotsByKind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotKind {
    Flows,
    Metrics,
}

impl SnapshotsByKind {
    /// One of both.
    pub fn of(&self, kind: SnapshotKind) -> &Snapshots {
        match kind {
            SnapshotKind::Flows => &self.flows,
            SnapshotKind::Metrics => &self.metrics,
        }
    }

    /// [`Snapshots::wake_collector_by`] of both.
    pub fn wake_collector_by(&self, wake: impl Fn() + Clone + Send + 'static) {
        self.flows.wake_collector_by(Box::new(wake.clone()));
        self.metrics.wake_collector_by(Box::new(wake));
    }

    /// [`Snapshots::wake_reader_by`] of both.
    pub fn wake_reader_by(&self, wake: impl Fn() + Clone + Send + 'static) {
        self.flows.wake_reader_by(Box::new(wake.clone()));
        self.metrics.wake_reader_by(Box::new(wake));
    }
}

/// Where the collector leaves snapshots and readers ask for them.
#[derive(Default)]
pub struct Snapshots {
    // Held for the time of cloning or replacing an Arc, or of filling; never across I/O.
    latest: Mutex<Option<Arc<Snapshot>>>,
    wanted: AtomicU64,
    served: AtomicU64,
    waker: Mutex<Option<Box<dyn Fn() + Send>>>,
    reader_waker: Mutex<Option<Box<dyn Fn() + Send>>>,
}

impl std::fmt::Debug for Snapshots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshots").finish_non_exhaustive()
    }
}

fn call(waker: &Mutex<Option<Box<dyn Fn() + Send>>>) {
    if let Some(wake) = waker.lock().unwrap_or_else(|p| p.into_inner()).as_ref() {
        wake();
    }
}

impl Snapshots {
    /// Sets how the collector is woken when a snapshot is wanted.
    pub fn wake_collector_by(&self, wake: Box<dyn Fn() + Send>) {
        *self.waker.lock().unwrap_or_else(|p| p.into_inner()) = Some(wake);
    }

    /// Sets how the reader is woken when there is a new snapshot.
    pub fn wake_reader_by(&self, wake: Box<dyn Fn() + Send>) {
        *self.reader_waker.lock().unwrap_or_else(|p| p.into_inner()) = Some(wake);
    }

    /// Asks for a snapshot newer than now, and returns the number that [`Snapshots::served`] reaches when it is published.
    pub fn ask(&self) -> u64 {
        let ticket = self.wanted.fetch_add(1, Relaxed) + 1;
        call(&self.waker);
        ticket
    }

    /// The number of the last request that the latest snapshot answers.
    pub fn served(&self) -> u64 {
        self.served.load(Relaxed)
    }

    /// The latest snapshot, `None` before the first.
    pub fn latest(&self) -> Option<Arc<Snapshot>> {
        self.latest.lock().unwrap_or_else(|p| p.into_inner()).clone()
    }

    /// Collector: whether somebody waits for a snapshot; the number to hand to [`Snapshots::publish`].
    pub fn asked(&self) -> Option<u64> {
        let wanted = self.wanted.load(Relaxed);
        (wanted != self.served.load(Relaxed)).then_some(wanted)
    }

    /// Collector: fills the latest anew snapshot where nobody reads it, which answers all requests up to `ticket`; whether it
    /// could. Whoever looks for a snapshot meanwhile waits for that, some milliseconds.
    pub fn refill(&self, ticket: u64, fill: impl FnOnce(&mut Snapshot)) -> bool {
        let mut latest = self.latest.lock().unwrap_or_else(|p| p.into_inner());
        let Some(buffer) = latest.as_mut().and_then(Arc::get_mut) else { return false };
        fill(buffer);
        drop(latest);
        self.served.store(ticket, Relaxed);
        call(&self.reader_waker);
        true
    }

    /// Collector: publishes a snapshot that answers all requests up to `ticket`; gives back the one it replaces.
    pub fn publish(&self, snapshot: Arc<Snapshot>, ticket: u64) -> Option<Arc<Snapshot>> {
        let old = self.latest.lock().unwrap_or_else(|p| p.into_inner()).replace(snapshot);
        self.served.store(ticket, Relaxed);
        call(&self.reader_waker);
        old
    }
}

#[cfg(test)]
mod tests;
