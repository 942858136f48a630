//! When a fresh snapshot is asked for, and how long a reader waits for it.
//!
//! At most about one fresh snapshot a second is made, however many ask; and at most two are alive, so while a slow
//! reader holds an old one everybody else gets the latest there is.

use std::sync::Arc;

use crate::clock::SECOND;
use crate::snapshot::{Snapshot, Snapshots};

/// A snapshot is fresh for so long.
const FRESH_NS: u64 = SECOND;
/// How long a reader waits for a fresh one before it gets the latest.
const PATIENCE_NS: u64 = 2 * SECOND;

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
    /// This one.
    Ready(Arc<Snapshot>),
    /// One that is being made.
    Soon(Ticket),
    /// None: nothing was counted yet.
    Missing,
}

/// Asks for snapshots, sparingly.
#[derive(Debug, Default)]
pub struct SnapshotQueue {
    asked: Option<(u64, u64)>,
}

impl SnapshotQueue {
    /// A snapshot for a reader that comes now. `older_held`: whether another reader still holds one that the latest
    /// has replaced; the collector has no buffer then.
    pub fn take(&mut self, snapshots: &Snapshots, older_held: bool, mono_ns: u64) -> Availability {
        let latest = snapshots.latest();
        if let Some(snapshot) = latest
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
mod tests {
    use super::*;
    use crate::clock::{MS, Now};

    fn publish(snapshots: &Snapshots, mono_ns: u64) {
        if let Some(ticket) = snapshots.asked() {
            let taken = Now { mono_ns, wall_ns: 0 };
            snapshots.publish(Arc::new(Snapshot { taken, ..Snapshot::default() }), ticket);
        }
    }

    fn ticket(snapshot: Availability) -> Ticket {
        match snapshot {
            Availability::Soon(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn many_readers_ask_once_and_share() {
        let snapshots = Snapshots::default();
        let mut queue = SnapshotQueue::default();
        let first = ticket(queue.take(&snapshots, false, 0));
        let second = ticket(queue.take(&snapshots, false, MS));
        assert_eq!(first.number, second.number);
        assert!(matches!(SnapshotQueue::wait(&snapshots, first, MS), Availability::Soon(_)));
        publish(&snapshots, 2 * MS);
        assert!(matches!(SnapshotQueue::wait(&snapshots, first, 3 * MS), Availability::Ready(_)));
        assert!(matches!(SnapshotQueue::wait(&snapshots, second, 3 * MS), Availability::Ready(_)));
        assert!(matches!(queue.take(&snapshots, false, 900 * MS), Availability::Ready(_)), "still fresh");
        let third = ticket(queue.take(&snapshots, false, 1100 * MS));
        assert!(third.number > first.number);
    }

    #[test]
    fn who_waits_in_vain_gets_the_latest() {
        let snapshots = Snapshots::default();
        let mut queue = SnapshotQueue::default();
        let early = ticket(queue.take(&snapshots, false, 0));
        assert!(
            matches!(SnapshotQueue::wait(&snapshots, early, 2 * SECOND), Availability::Missing),
            "there is none at all"
        );
        let late = ticket(queue.take(&snapshots, false, 3 * SECOND));
        assert!(late.number > early.number, "the first was missed, so it is asked for again");
        publish(&snapshots, 3 * SECOND);
        let later = ticket(queue.take(&snapshots, false, 10 * SECOND));
        assert!(matches!(SnapshotQueue::wait(&snapshots, later, 11 * SECOND), Availability::Soon(_)));
        assert!(
            matches!(SnapshotQueue::wait(&snapshots, later, 12 * SECOND), Availability::Ready(_)),
            "an old one is better than none"
        );
    }

    #[test]
    fn while_an_older_snapshot_is_held_nobody_waits() {
        let snapshots = Snapshots::default();
        snapshots.ask();
        publish(&snapshots, 0);
        assert!(matches!(SnapshotQueue::default().take(&snapshots, true, 60 * SECOND), Availability::Ready(_)));
        assert_eq!(snapshots.asked(), None, "and the collector is left alone");
    }
}
