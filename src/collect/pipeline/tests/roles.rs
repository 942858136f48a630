//! Who opened a connection whose entry began anew the other way round.

use super::*;

/// What conntrack makes of a connection whose responder sends first after its entry was lost.
fn picked_up(c: &Connection, bytes: [u64; 2]) -> Connection {
    let key = ConnectionKey { src: c.backend, dst: c.key.src, sport: c.backend_port, dport: c.key.sport, ..c.key };
    let [orig, reply] = bytes.map(|bytes| Counts { bytes, packets: 1 });
    let traffic = Traffic { orig, reply };
    Connection { key, backend: c.key.src, backend_port: c.key.sport, reading: Reading::PickedUp, id: 77, traffic, ..*c }
}

#[test]
fn f31_a_connection_keeps_its_role_when_its_entry_begins_anew_the_other_way_round() {
    // From outside to a pod, from a pod to a pod of another node, and one whose ports would deceive.
    let cases = [
        tcp(OUTSIDE, (POD_A, 5432), (POD_A, 5432)),
        tcp(POD_A, (FAR_POD, 443), (FAR_POD, 443)),
        tcp(POD_A, (FAR_POD, 50_000), (FAR_POD, 50_000)),
    ];
    for c in cases {
        let mut pipeline = pipeline(&config(true));
        sweep(&mut pipeline, &[c], at(2));
        let before = rows(&pipeline);
        let turned = picked_up(&c, [500, 50]);
        // Idle since the last sweep, so that its end adds nothing.
        take(&mut pipeline, &Connection { reading: Reading::CutOff, ..c }, at(3));
        sweep(&mut pipeline, &[turned], at(4));
        let later = picked_up(&c, [900, 90]);
        take(&mut pipeline, &Connection { reading: Reading::CutOff, ..later }, at(5));
        let after = rows(&pipeline);
        assert_eq!(after.len(), 1, "{after:?}");
        let (was, is) = (before[0], after[0]);
        assert_eq!((was.2, was.3, was.4, was.5, was.8), (is.2, is.3, is.4, is.5, is.8));
        let (tx, rx) = if is.4 == Outbound { (90, 900) } else { (900, 90) };
        assert_eq!((is.6 - was.6, is.7 - was.7), (tx, rx));
        // It was cut off a second time, under the name that is turned round.
        sweep(&mut pipeline, &[picked_up(&c, [7, 3])], at(6));
        assert_eq!(rows(&pipeline).len(), 1);
    }
}

#[test]
fn f31_without_evidence_the_lower_port_answers_and_nothing_is_withheld() {
    let stats = Stats::default();
    let mut pipeline = pipeline(&config(true));
    // Older than the agent; the server in the pod speaks first, to an inside client.
    let to_pod = picked_up(&tcp(FAR_POD, (POD_A, 5432), (POD_A, 5432)), [500, 50]);
    let by_pod = Connection { key: ConnectionKey { sport: 443, ..to_pod.key }, ..to_pod };
    sweep(&mut pipeline, &[by_pod], at(2));
    assert_eq!(rows(&pipeline), [(LOCAL, POD_A, FAR_POD, 443, Inbound, Inside, 500, 50, true)]);
    // A service's address is only ever asked for.
    let asked = Connection { reading: Reading::PickedUp, ..tcp(POD_B, (SERVICE, 80), (FAR_POD, 60_000)) };
    sweep(&mut pipeline, &[asked], at(3));
    assert!(rows(&pipeline).contains(&(LOCAL, POD_B, FAR_POD, 60_000, Outbound, Inside, 100, 1_000, true)));
    pipeline.publish(&stats);
    assert_eq!(stats.conntrack_roles_guessed.get(), 1);
}

#[test]
fn f31_udp_keeps_its_role_beyond_its_time_out() {
    let mut pipeline = pipeline(&config(true));
    let mut c = tcp(OUTSIDE, (POD_A, 3478), (POD_A, 3478));
    c.key.protocol = protocol::UDP;
    sweep(&mut pipeline, &[c], at(2));
    take(&mut pipeline, &Connection { reading: Reading::CutOff, ..c }, at(200));
    let anew = Connection { reading: Reading::Live, ..picked_up(&c, [40, 4]) };
    sweep(&mut pipeline, &[anew], at(300));
    assert_eq!(rows(&pipeline), [(LOCAL, POD_A, OUTSIDE, 3478, Inbound, Outside, 1_040, 104, true)]);
}
