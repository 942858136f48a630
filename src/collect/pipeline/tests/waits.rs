//! What waits for its pod: how long, what ends the wait, and what need not (rule 8).

use super::*;

#[test]
fn rule_8_what_precedes_its_pod_waits_and_gets_its_owner() {
    let mut pipeline = pipeline(&config(false));
    sweep(&mut pipeline, &[tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443))], at(6));
    assert!(rows(&pipeline).is_empty());
    assert_eq!(pipeline.ledger().waiting.tx.bytes, 100);
    pipeline.set_pods(index(&[(POD_A, 3, u64::MAX, &pod("web"))]), at(20));
    assert_eq!(owner_names(&pipeline), [("web".to_owned(), 100)]);
    assert_eq!(pipeline.ledger().waiting, Default::default());
}

#[test]
fn rule_8_a_pod_that_is_not_known_yet_gets_its_row_though_the_other_end_has_one() {
    let mut pipeline = pipeline(&config(false));
    let (to_node, beyond) = (tcp(POD_A, (NODE, 53), (NODE, 53)), tcp(NODE, (OUTSIDE, 443), (OUTSIDE, 443)));
    sweep(&mut pipeline, &[to_node, beyond], at(6));
    assert_eq!(rows(&pipeline).len(), 2, "the host's own ends are known from the first second");
    pipeline.set_pods(index(&[(POD_A, 3, u64::MAX, &pod("web"))]), at(20));
    assert!(owner_names(&pipeline).contains(&("web".to_owned(), 100)));
    sweep(&mut pipeline, &[], at(100));
    assert_eq!(rows(&pipeline).len(), 3, "what lies beyond never had another end here");
    assert!(pipeline.ledger().unattributed.iter().all(|u| u.is_zero()) && pipeline.ledger().is_balanced());
}

#[test]
fn rule_8_a_record_that_speaks_for_one_end_waits_for_that_end() {
    let mut pipeline = pipeline(&config(false));
    let to_node = Connection { ends: Ends::Originator, ..tcp(POD_A, (NODE, 53), (NODE, 53)) };
    sweep(&mut pipeline, &[to_node], at(6));
    sweep(&mut pipeline, &[], at(8));
    assert_eq!(pipeline.ledger().waiting.tx.bytes, 100);
    pipeline.set_pods(index(&[(POD_A, 3, u64::MAX, &pod("web"))]), at(20));
    assert_eq!(owner_names(&pipeline), [("web".to_owned(), 100)]);
    assert!(pipeline.ledger().is_balanced());
}

#[test]
fn rule_8_an_address_reused_while_it_waited_changes_nothing() {
    let mut pipeline = pipeline(&config(false));
    sweep(&mut pipeline, &[tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443))], at(6));
    let (old, new) = (pod("old"), pod("new"));
    pipeline.set_pods(index(&[(POD_A, 3, 8, &old), (POD_A, 9, u64::MAX, &new)]), at(20));
    assert_eq!(owner_names(&pipeline), [("old".to_owned(), 100)]);
}

#[test]
fn rule_8_nothing_is_decided_before_the_first_pod_list() {
    let mut pipeline = pipeline(&config(false));
    sweep(&mut pipeline, &[tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443))], at(6));
    sweep(&mut pipeline, &[], at(3_600));
    assert_eq!(pipeline.ledger().waiting.tx.bytes, 100, "an hour without the API server");
    pipeline.set_pods(index(&[]), at(3_601));
    assert_eq!(pipeline.ledger().unattributed[Unattributed::NoLocalEnd as usize].tx.bytes, 100);
    assert!(pipeline.ledger().is_balanced());
}

#[test]
fn rules_5_and_8_a_nodeport_waits_its_minute_too() {
    let mut pipeline = pipeline(&config(false));
    pipeline.set_pods(index(&[]), at(2));
    let nodeport = tcp(OUTSIDE, (NODE, 30080), (FAR_POD, 8080));
    sweep(&mut pipeline, &[nodeport], at(6));
    sweep(&mut pipeline, &[nodeport], at(65));
    assert!(rows(&pipeline).is_empty());
    sweep(&mut pipeline, &[nodeport], at(66));
    assert_eq!(rows(&pipeline).len(), 2);
}

#[test]
fn f12_what_cannot_be_of_this_node_does_not_wait() {
    let mut pipeline = pipeline(&config(false));
    pipeline.set_pods(index(&[(POD_A, 1, u64::MAX, &pod("web"))]), at(2));
    let nodeport = tcp(OUTSIDE, (NODE, 30080), (FAR_POD, 8080));
    let passing = tcp(OTHER_NODE, (OUTSIDE, 443), (OUTSIDE, 443));
    assert_eq!(sweep(&mut pipeline, &[nodeport, passing], at(6)).hurried, 0);
    assert_eq!(rows(&pipeline).len(), 2, "the two rows of rule 5");
    assert_eq!(pipeline.ledger().unattributed[Unattributed::NoLocalEnd as usize].tx.bytes, 100);
    assert_eq!(pipeline.waiting.len(), 0);
    // The backend may be a pod of this node that is not told yet.
    sweep(&mut pipeline, &[tcp(OUTSIDE, (NODE, 30081), (POD_B, 8080))], at(7));
    assert_eq!(pipeline.waiting.len(), 1);
}

#[test]
fn f12_what_waited_for_the_first_list_is_settled_by_it() {
    let mut pipeline = pipeline(&config(false));
    sweep(&mut pipeline, &[tcp(OUTSIDE, (NODE, 30080), (FAR_POD, 8080))], at(6));
    assert_eq!((rows(&pipeline).len(), pipeline.waiting.len()), (0, 1));
    pipeline.set_pods(index(&[(POD_A, 1, u64::MAX, &pod("web"))]), at(7));
    assert_eq!((rows(&pipeline).len(), pipeline.waiting.len()), (2, 0));
}

#[test]
fn f12_a_full_waiting_table_is_told() {
    let mut pipeline = Pipeline::new(&config(false), 2 * waiting::CAPACITY, 1);
    sweep(&mut pipeline, &[], at(1));
    let many: Vec<Connection> = (0..waiting::CAPACITY + 5)
        .map(|n| tcp(Addr::from_v4((0x0a64_0000 + n).to_be_bytes()), (FAR_POD, 443), (FAR_POD, 443)))
        .collect();
    assert_eq!(sweep(&mut pipeline, &many, at(6)).hurried, 5);
    assert_eq!(sweep(&mut pipeline, &[], at(7)).hurried, 0);
}
