use super::*;
use crate::clock::{MS, Now};

fn publish(snapshots: &Snapshots, mono_ns: u64) {
    if let Some(ticket) = snapshots.asked() {
        let taken = Now { mono_ns, wall_ns: 0 };
        snapshots.publish(Arc::new(Snapshot { taken, stale_ns: mono_ns + 30 * SECOND, ..Snapshot::default() }), ticket);
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
        matches!(SnapshotQueue::wait(&snapshots, early, 5 * SECOND), Availability::Missing),
        "there is none at all"
    );
    let late = ticket(queue.take(&snapshots, false, 6 * SECOND));
    assert!(late.number > early.number, "the first was missed, so it is asked for again");
    publish(&snapshots, 6 * SECOND);
    let later = ticket(queue.take(&snapshots, false, 10 * SECOND));
    assert!(matches!(SnapshotQueue::wait(&snapshots, later, 14 * SECOND), Availability::Soon(_)));
    assert!(
        matches!(SnapshotQueue::wait(&snapshots, later, 15 * SECOND), Availability::Ready(_)),
        "an old one is better than none"
    );
}

#[test]
fn while_an_older_snapshot_is_held_nobody_waits() {
    let snapshots = Snapshots::default();
    snapshots.ask();
    publish(&snapshots, 0);
    assert!(matches!(SnapshotQueue::default().take(&snapshots, true, 30 * SECOND - 1), Availability::Ready(_)));
    assert_eq!(snapshots.asked(), None, "and the collector is left alone");
    ticket(SnapshotQueue::default().take(&snapshots, true, 30 * SECOND));
    assert!(snapshots.asked().is_some(), "what is too old is shown to nobody who can wait");
}

#[test]
fn what_is_older_than_the_read_interval_is_asked_for_anew() {
    let snapshots = Snapshots::default();
    snapshots.ask();
    let ticket_of_first = snapshots.asked().expect("somebody asks");
    // Made anew a moment ago, of what was read long before.
    let taken = Now { mono_ns: 20 * SECOND, wall_ns: 0 };
    let old = Snapshot { taken, stale_ns: 20 * SECOND + 500 * MS, ..Snapshot::default() };
    snapshots.publish(Arc::new(old), ticket_of_first);
    let mut queue = SnapshotQueue::default();
    assert!(matches!(queue.take(&snapshots, false, 20 * SECOND + 499 * MS), Availability::Ready(_)));
    let first = ticket(queue.take(&snapshots, false, 20 * SECOND + 500 * MS));
    let second = ticket(queue.take(&snapshots, false, 20 * SECOND + 600 * MS));
    assert_eq!(first.number, second.number, "one sweep serves both");
}
