//! A connection in several conntrack zones counts once (rule 7).

use super::*;

fn in_zone(ct_zone: u16, c: Connection) -> Connection {
    Connection { key: ConnectionKey { ct_zone, ..c.key }, ..c }
}

#[test]
fn rule_7_a_connection_in_two_zones_is_counted_once_in_either_order() {
    // As OVN has it: a zone for each port, counters that are equal, and the end of one told before that of the other.
    let c = tcp(POD_A, (POD_B, 80), (POD_B, 80));
    for (one, other) in [(3, 9), (9, 3), (0, 9), (9, 0)] {
        let mut pipeline = pipeline(&config(true));
        sweep(&mut pipeline, &[in_zone(one, c), in_zone(other, c)], at(6));
        let mut later = c;
        later.traffic.orig.bytes += 40;
        sweep(&mut pipeline, &[in_zone(other, later), in_zone(one, later)], at(11));
        let ended = Connection { reading: Reading::Ended, ..later };
        take(&mut pipeline, &in_zone(one, ended), at(12));
        take(&mut pipeline, &in_zone(other, ended), at(12));
        let both: Vec<u64> = rows(&pipeline).iter().map(|row| row.6 + row.7).collect();
        assert_eq!(both, [1_140, 1_140], "{one} before {other}");
    }
}

#[test]
fn rule_7_the_nodes_ends_count_in_zone_0_and_pods_wherever_they_are() {
    let mut pipeline = pipeline(&config(true));
    let from_pod = tcp(POD_A, (NODE, 80), (NODE, 80));
    let from_node = tcp(NODE, (OUTSIDE, 443), (OUTSIDE, 443));
    sweep(&mut pipeline, &[in_zone(9, from_pod), from_pod, from_node, in_zone(9, from_node)], at(6));
    let told: Vec<(u32, u64)> = rows(&pipeline).iter().map(|row| (row.0, row.6)).collect();
    assert_eq!(told, [(HOST, 1_000), (HOST, 100), (LOCAL, 100)]);
    assert!(pipeline.ledger().unattributed.iter().all(|what| what.is_zero()));
}

#[test]
fn rule_7_a_change_of_zone_makes_the_next_sweep_a_baseline() {
    let mut pipeline = pipeline(&config(true));
    let zone_9 = in_zone(9, tcp(NODE, (OUTSIDE, 443), (OUTSIDE, 443)));
    assert_eq!(sweep(&mut pipeline, &[zone_9], at(6)).new_ct_zone, Some(9));
    sweep(&mut pipeline, &[zone_9], at(11));
    assert!(rows(&pipeline).is_empty(), "what it carried before is history");
    let mut later = zone_9;
    later.traffic.orig.bytes += 40;
    sweep(&mut pipeline, &[later], at(16));
    assert_eq!(rows(&pipeline)[0].6, 40);
}

#[test]
fn rule_7_a_given_zone_does_not_filter_what_programs_count() {
    let mut pipeline = pipeline(&Config { conntrack_zone: crate::config::CtZone::Fixed(9), ..config(true) });
    take(
        &mut pipeline,
        &Connection { reading: Reading::Increment, ..tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443)) },
        at(6),
    );
    assert_eq!(rows(&pipeline).len(), 1);
}
