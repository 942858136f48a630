use super::*;
use crate::flow::{Addr, ConnectionKey, Ends, Reading, Traffic};

fn choice(ct_zone: CtZone) -> CtZoneChoice {
    CtZoneChoice::new(ct_zone, 64)
}

fn sweep(choice: &mut CtZoneChoice, zones: &[u16]) -> Option<u16> {
    for ct_zone in zones {
        if choice.asks(*ct_zone) {
            choice.note_local(*ct_zone);
        }
    }
    choice.end_sweep(true)
}

fn copy(ct_zone: u16, client_port: u16) -> Connection {
    let (src, dst) = (Addr::from_v4([10, 244, 1, 2]), Addr::from_v4([10, 244, 1, 3]));
    let key = ConnectionKey { src, dst, sport: client_port, dport: 80, ct_zone, protocol: 6, family: 4, realm: 0 };
    Connection {
        key,
        backend: dst,
        backend_port: 80,
        ends: Ends::Both,
        reading: Reading::Live,
        id: 1,
        start_ns: 0,
        traffic: Traffic::ZERO,
        more: None,
        cgroup: 0,
    }
}

#[test]
fn rule_7_the_nodes_ends_count_in_zone_0_if_it_holds_one() {
    let mut choice = choice(CtZone::Auto);
    assert_eq!(sweep(&mut choice, &[5, 5, 5, 0]), None);
    assert!(choice.chosen() == 0 && !choice.only_elsewhere());
}

#[test]
fn rule_7_else_in_the_zone_with_the_most_and_of_equals_the_lowest() {
    let mut choice = choice(CtZone::Auto);
    assert_eq!(sweep(&mut choice, &[]), None, "an empty table decides nothing");
    assert_eq!(choice.chosen(), 0);
    assert_eq!(sweep(&mut choice, &[9, 7, 7, 9, 3]), Some(7));
    assert_eq!(sweep(&mut choice, &[0, 0]), None, "decided once");
    assert!(choice.only_elsewhere(), "and health says so when they are elsewhere");
}

#[test]
fn rule_7_what_a_sweep_says_does_not_hang_on_its_order() {
    for order in [[0, 5], [5, 0], [5, 5], [0, 0]] {
        let mut given = choice(CtZone::Fixed(0));
        sweep(&mut given, &order);
        assert_eq!(given.only_elsewhere(), order == [5, 5], "{order:?}");
    }
}

#[test]
fn rule_7_not_before_owners_are_known() {
    let mut choice = choice(CtZone::Auto);
    choice.note_local(7);
    assert_eq!(choice.end_sweep(false), None);
    assert_eq!(sweep(&mut choice, &[7]), Some(7));
}

#[test]
fn rule_7_of_twins_the_first_counts_until_both_are_gone() {
    let nowhere = |_| false;
    for (first, second) in [(3, 9), (9, 3)] {
        let mut choice = choice(CtZone::Auto);
        for _ in 0..3 {
            assert_eq!(choice.part(&copy(first, 1), true, nowhere), Part::Pods);
            assert_eq!(choice.part(&copy(second, 1), true, nowhere), Part::Nothing);
            choice.end_sweep(true);
        }
        for _ in 0..3 {
            choice.end_sweep(true);
        }
        assert_eq!(choice.part(&copy(second, 1), true, nowhere), Part::Pods, "another connection");
    }
}

#[test]
fn rule_7_zone_0_leaves_pods_to_another_copy_and_counts_the_node() {
    let mut choice = choice(CtZone::Auto);
    assert!(choice.is_alone(0));
    assert_eq!(choice.part(&copy(9, 1), true, |_| false), Part::Pods);
    assert!(!choice.is_alone(0));
    assert_eq!(choice.part(&copy(0, 1), true, |_| false), Part::Node);
    assert_eq!(choice.part(&copy(0, 2), true, |_| false), Part::All);
    assert_eq!(choice.part(&copy(9, 2), true, |_| false), Part::Nothing);
    // Counted in zone 0 before another zone was seen.
    assert_eq!(choice.part(&copy(9, 3), true, |ct_zone| ct_zone == 0), Part::Nothing);
    assert_eq!(choice.part(&copy(9, 4), false, |_| false), Part::Nothing, "nobody's");
    assert_eq!(choice.part(&copy(0, 4), false, |_| false), Part::All);
}

#[test]
fn a_given_zone_is_kept() {
    let mut choice = choice(CtZone::Fixed(3));
    assert_eq!(sweep(&mut choice, &[0, 0]), None);
    assert!(choice.chosen() == 3 && choice.only_elsewhere());
    assert_eq!(choice.part(&copy(3, 1), true, |_| false), Part::All);
    assert_eq!(choice.part(&copy(0, 1), true, |_| false), Part::Nothing);
}

#[test]
fn copies_outlive_a_restart() {
    let mut before = choice(CtZone::Auto);
    assert_eq!(before.part(&copy(9, 1), true, |_| false), Part::Pods);
    let mut out = Vec::new();
    before.persist(&mut out);
    let mut after = choice(CtZone::Auto);
    after.restore(&mut In(&out)).expect("what was written");
    assert_eq!(after.part(&copy(3, 1), true, |_| false), Part::Nothing);
    assert_eq!(after.part(&copy(9, 1), true, |_| false), Part::Pods);
}
