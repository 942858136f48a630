//! When a fresh snapshot is asked for, and how long a reader waits for it.
//!
//! At most one new snapshot a second is made, however many readers ask. One more is made where the data of the latest
//! is older than the read interval. The collector then sweeps once for all who ask meanwhile. At most two are alive:
//! while a slow reader holds an old one, all others get the latest, unless it is too old.

use std::sync::Arc;

use crate::clock::SECOND;
use crate::snapshot::{Snapshot, SnapshotKind, Snapshots, SnapshotsByKind};

/// A snapshot is fresh for so long.
const FRESH_NS: u64 = SECOND;
/// How long a reader waits for a fresh one, before which a sweep of a large table may come. Then it gets the latest, which
/// says when it was taken.
const PATIENCE_NS: u64 = 5 * SECOND;

/// A reader's place in the queue for a fresh snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    number: u64,
    /// When the reader takes what there is, monotonic.
    pub until_ns: u64,
}

/// What a reader gets.
#[derive(Clone, Debug)]
pub enum Availability {
    Ready(Arc<Snapshot>),
    /// One that is being made.
    Soon(Ticket),
    /// None: nothing was counted yet.
    Missing,
}

/// Asks for snapshots of both kinds.
#[derive(Debug, Default)]
pub struct Queues {
    flows: SnapshotQueue,
    metrics: SnapshotQueue,
    /// Kinds of which a reader holds one that the latest has replaced.
    pub flows_older_held: bool,
    pub metrics_older_held: bool,
}

impl Queues {
    /// [`SnapshotQueue::take`] of this kind.
    pub fn take(&mut self, both: &SnapshotsByKind, kind: SnapshotKind, mono_ns: u64) -> Availability {
        let (queue, older_held) = match kind {
            SnapshotKind::Flows => (&mut self.flows, self.flows_older_held),
            SnapshotKind::Metrics => (&mut self.metrics, self.metrics_older_held),
        };
        queue.take(both.of(kind), older_held, mono_ns)
    }
}

/// Asks for snapshots, sparingly.
#[derive(Debug, Default)]
pub struct SnapshotQueue {
    asked: Option<(u64, u64)>,
}

impl SnapshotQueue {
    /// A snapshot for a reader that arrives now. `older_held`: whether another reader still holds one that the latest
    /// has replaced; the collector has no buffer then.
    pub fn take(&mut self, snapshots: &Snapshots, older_held: bool, mono_ns: u64) -> Availability {
        let latest = snapshots.latest();
        if let Some(snapshot) = latest
            && mono_ns < snapshot.stale_ns
            && (older_held || mono_ns.saturating_sub(snapshot.taken.mono_ns) < FRESH_NS)
        {
            return Availability::Ready(snapshot);
        }
        let number = match self.asked {
            // Asked a moment ago and not served: that one will do. Asked long ago: the collector has missed it.
            Some((number, at_ns)) if snapshots.served() < number && mono_ns.saturating_sub(at_ns) < PATIENCE_NS => {
                number
            }
            _ => {
                let number = snapshots.ask();
                self.asked = Some((number, mono_ns));
                number
            }
        };
        Availability::Soon(Ticket { number, until_ns: mono_ns.saturating_add(PATIENCE_NS) })
    }

    /// A snapshot for a reader that waits.
    pub fn wait(snapshots: &Snapshots, ticket: Ticket, mono_ns: u64) -> Availability {
        if snapshots.served() < ticket.number && mono_ns < ticket.until_ns {
            return Availability::Soon(ticket);
        }
        snapshots.latest().map_or(Availability::Missing, Availability::Ready)
    }
}

#[cfg(test)]
mod tests;
