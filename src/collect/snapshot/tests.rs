use super::*;
use crate::collect::freezer::Sender;
use crate::config::{self, Command};

#[test]
fn one_picture_is_alive_and_two_while_a_reader_is_slow() {
    let Ok(Command::Run(config)) = config::parse(["-standalone".into()], |_| None, None) else { panic!("refused") };
    let pipeline = Pipeline::new(&config, 32, 1);
    let freezer = Freezer::new(Sender { node_name: String::new(), cluster_id: String::new() });
    let (both, mut snapshotter) = (SnapshotsByKind::default(), Snapshotter::default());
    let snapshots = &both.flows;
    let mut publish = |second: u64| {
        let ticket = snapshots.ask();
        snapshotter.publish(&both, &pipeline, &freezer, u64::MAX, || Now { mono_ns: second, wall_ns: 0 });
        snapshots.served() == ticket
    };
    assert!(publish(1));
    let first = Arc::as_ptr(&snapshots.latest().expect("it is there"));
    assert!(publish(2));
    let latest = snapshots.latest().expect("it is there");
    assert_eq!((Arc::as_ptr(&latest), latest.taken.mono_ns), (first, 2), "filled anew");
    // Now somebody reads it.
    assert!(publish(3));
    let second = snapshots.latest().expect("it is there");
    assert_eq!((latest.taken.mono_ns, second.taken.mono_ns), (2, 3));
    // Two are read: there is no buffer, and who waits gets the latest.
    assert!(!publish(4));
    assert_eq!(snapshots.latest().expect("it is there").taken.mono_ns, 3);
    let slow = Arc::downgrade(&latest);
    drop((latest, second));
    assert!(publish(5));
    assert!(slow.upgrade().is_none(), "the other one is given back");
    assert_eq!(snapshots.latest().expect("it is there").taken.mono_ns, 5);
}
