//! What the topology says of rows, and what it does not touch (rule 18).

use super::*;
use crate::collect::freezer::{Freezer, Sender};
use crate::topology::lines;
use crate::topology::names::{Learner, Names};

/// Of a node in zone `z1`: one pod elsewhere, and the world through a NAT gateway.
fn topology() -> Arc<Topology> {
    let mut learner = Learner::new(Names::default());
    let own = learner.place("z1", "r1").expect("room");
    let text = "10.244.2.0/24 zone=z2 region=r1 via=peering\n0.0.0.0/0 scope=internet via=nat service=mirror\n";
    let parsed = lines::parse(text, &mut learner, &[own]).expect("it is well");
    Arc::new(Topology::new(Arc::new(parsed.table), Arc::new(learner.finish()), own))
}

fn counted(with_topology: bool) -> Pipeline {
    let mut pipeline = pipeline(&config(true));
    if with_topology {
        pipeline.set_topology(topology());
    }
    let far = tcp(POD_A, (FAR_POD, 8080), (FAR_POD, 8080));
    let outside = tcp(POD_B, (OUTSIDE, 443), (OUTSIDE, 443));
    sweep(&mut pipeline, &[far, outside], at(2));
    pipeline
}

/// DAKR has no field for it: what is pushed is the same to the byte.
#[test]
fn rule_18_what_is_pushed_is_the_same_whatever_the_topology_says() {
    let pushed = |with_topology| {
        let mut pipeline = counted(with_topology);
        let ways: Vec<_> = pipeline.rows().iter().map(|row| row.key.way).collect();
        let sender = Sender { node_name: "node-a".to_owned(), cluster_id: String::new() };
        let batch = Freezer::new(sender).freeze(&mut pipeline, 100, at(10)).expect("rows to push");
        (ways, batch.messages.into_iter().map(|message| message.body).collect::<Vec<_>>())
    };
    let ((ways, bytes), (ways_of_none, bytes_of_none)) = (pushed(true), pushed(false));
    assert!(ways != ways_of_none && bytes.len() == 1, "{ways:?}");
    assert_eq!(bytes, bytes_of_none);
}

/// One look-up for a row: what comes later, however much, leaves it and its series where they are.
#[test]
fn rule_18_a_row_stays_where_it_was_when_it_was_made() {
    let mut pipeline = counted(true);
    let ways =
        |pipeline: &Pipeline| pipeline.rows().iter().map(|row| (row.key.remote, row.key.way)).collect::<Vec<_>>();
    let (before, series) = (ways(&pipeline), pipeline.costs().len());
    pipeline.set_topology(Arc::default());
    let more = Connection {
        traffic: Traffic { orig: Counts { bytes: 900, packets: 9 }, reply: Counts { bytes: 9_000, packets: 9 } },
        ..tcp(POD_A, (FAR_POD, 8080), (FAR_POD, 8080))
    };
    sweep(&mut pipeline, &[more], at(3));
    assert_eq!((ways(&pipeline), pipeline.costs().len()), (before, series));
    let of_far = pipeline.costs().iter().find(|cost| cost.tx_bytes == 900).expect("all of it in one series");
    assert_eq!(of_far.rx_bytes, 9_000);
}

/// OpenCost asks in steps of five minutes: what a pod sent last is seen by two of them, behind the hold of a new series.
#[test]
fn series_by_scope_stay_two_steps_after_their_pod_and_a_pod_that_lives_keeps_its_own() {
    let mut pipeline = pipeline(&config(false));
    let (brief, lasting) = (pod("brief"), pod("lasting"));
    let both = [(POD_A, 1, u64::MAX, &brief), (POD_B, 1, u64::MAX, &lasting)];
    pipeline.set_pods(index(&both), at(2));
    let of = |local| Connection { reading: Reading::Increment, ..tcp(local, (OUTSIDE, 443), (OUTSIDE, 443)) };
    take(&mut pipeline, &of(POD_A), at(6));
    take(&mut pipeline, &of(POD_B), at(6));
    pipeline.set_pods(index(&both[1..]), at(7));
    let (rows, ledger, _) = pipeline.books();
    rows.abandon_open(Lost::Shutdown, ledger);
    let hold_and_steps = 360 + 600;
    let left = [hold_and_steps + 5, hold_and_steps + 6, 100_000].map(|second| {
        pipeline.cleanup(at(second), SECOND);
        pipeline.costs().len()
    });
    assert_eq!(left, [2, 1, 1]);
}
