//! The accounting contract, rule by rule, on records as a source hands them over.

mod audit;
mod clock;
mod names;
mod orders;
mod owners;

use super::*;
use crate::config::{self, Command, PushInbound};
use crate::flow::{Addr, Class, ConnectionKey, Counts, Ends, Split, TxRx, protocol};
use crate::names::LOOPBACK;
use crate::owner::pods::{Pod, Tenure};
use crate::rows::Push;
use crate::stats::{Stats, Unattributed};

const NODE: Addr = Addr::from_v4([192, 168, 1, 10]);
const OTHER_NODE: Addr = Addr::from_v4([192, 168, 1, 11]);
const POD_A: Addr = Addr::from_v4([10, 244, 1, 2]);
const POD_B: Addr = Addr::from_v4([10, 244, 1, 3]);
const FAR_POD: Addr = Addr::from_v4([10, 244, 2, 9]);
const SERVICE: Addr = Addr::from_v4([10, 96, 0, 10]);
const OUTSIDE: Addr = Addr::from_v4([198, 51, 100, 7]);

fn config(standalone: bool) -> Config {
    let flags = if standalone { vec!["-standalone", "-local-cidrs=10.244.1.0/24"] } else { vec![] };
    let flags = flags.into_iter().chain(["-cluster-cidrs=10.0.0.0/8,192.168.0.0/16", "-max-rows=1024"]);
    let environment = |name: &str| {
        let set = [("NODE_NAME", "node-a"), ("DAKR_URL", "http://dakr.test"), ("CLUSTER_TOKEN", "secret")];
        set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
    };
    match config::parse(flags.map(Into::into), environment, None) {
        Ok(Command::Run(config)) => *config,
        other => panic!("{other:?}"),
    }
}

/// A pipeline past its first, empty sweep.
fn pipeline(config: &Config) -> Pipeline {
    let mut pipeline = Pipeline::new(config, 1_024, 1);
    pipeline.local_ends().replace_host(&[NODE]);
    sweep(&mut pipeline, &[], at(1));
    pipeline
}

fn at(seconds: u64) -> Now {
    Now { mono_ns: seconds * SECOND, wall_ns: 1_790_000_000 * SECOND + seconds * SECOND }
}

fn sweep(pipeline: &mut Pipeline, records: &[Connection], now: Now) -> SweepEnd {
    pipeline.begin_sweep();
    for record in records {
        pipeline.record(record, now);
    }
    pipeline.end_sweep(&Sweep { complete: true, ..Sweep::default() }, now)
}

/// A record that comes alone.
fn take(pipeline: &mut Pipeline, record: &Connection, now: Now) {
    pipeline.record(record, now);
    pipeline.end_drain(now);
}

/// A TCP connection of which the originator has sent 100 bytes and received 1,000.
fn tcp(client: Addr, asked: (Addr, u16), backend: (Addr, u16)) -> Connection {
    Connection {
        key: ConnectionKey {
            src: client,
            dst: asked.0,
            sport: 40_000,
            dport: asked.1,
            ct_zone: 0,
            protocol: protocol::TCP,
            family: 4,
            realm: 0,
        },
        backend: backend.0,
        backend_port: backend.1,
        ends: Ends::Both,
        reading: Reading::Live,
        id: 1,
        start_ns: 0,
        traffic: Traffic { orig: Counts { bytes: 100, packets: 2 }, reply: Counts { bytes: 1_000, packets: 3 } },
        more: None,
        cgroup: 0,
    }
}

/// (owner, local, remote, port, direction, class, tx bytes, rx bytes, pushed) of every row, sorted.
type Told = (u32, Addr, Addr, u16, Direction, Class, u64, u64, bool);

fn rows(pipeline: &Pipeline) -> Vec<Told> {
    assert!(pipeline.ledger().is_balanced());
    let mut rows: Vec<Told> = pipeline
        .rows()
        .iter()
        .map(|r| {
            let k = &r.key;
            let pushed = r.push == Push::Yes;
            (k.owner.0, k.local, k.remote, k.port, k.direction, k.class, r.total.tx.bytes, r.total.rx.bytes, pushed)
        })
        .collect();
    rows.sort();
    rows
}

fn told(records: &[Connection]) -> Vec<Told> {
    let mut pipeline = pipeline(&config(true));
    sweep(&mut pipeline, records, at(6));
    rows(&pipeline)
}

use Class::{Inside, Outside, Overlay};
use Direction::{Inbound, Outbound};

const HOST: u32 = OwnerId::HOST.0;
const LOCAL: u32 = OwnerId::ADDRESS.0;

#[test]
fn rule_2_two_local_ends_give_two_rows_with_tx_and_rx_swapped() {
    assert_eq!(
        told(&[tcp(POD_A, (POD_B, 8080), (POD_B, 8080))]),
        [
            (LOCAL, POD_A, POD_B, 8080, Outbound, Inside, 100, 1_000, true),
            (LOCAL, POD_B, POD_A, 8080, Inbound, Inside, 1_000, 100, false),
        ]
    );
}

#[test]
fn rule_2_a_record_for_one_end_gives_that_ends_row_only() {
    let originator = Connection { ends: Ends::Originator, ..tcp(POD_A, (POD_B, 80), (POD_B, 80)) };
    assert_eq!(told(&[originator]).len(), 1);
    assert_eq!(told(&[originator])[0].4, Outbound);
    let responder = Connection { ends: Ends::Responder, ..originator };
    assert_eq!(told(&[responder])[0].4, Inbound);
}

#[test]
fn rules_3_and_4_the_remote_is_the_backend_and_the_port_its_own() {
    assert_eq!(
        told(&[tcp(POD_A, (SERVICE, 80), (FAR_POD, 8080))]),
        [(LOCAL, POD_A, FAR_POD, 8080, Outbound, Inside, 100, 1_000, true)]
    );
}

#[test]
fn rule_2_a_pod_to_itself_through_a_service_gives_two_rows() {
    let told = told(&[tcp(POD_A, (SERVICE, 80), (POD_A, 8080))]);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|row| row.1 == POD_A && row.2 == POD_A && row.5 == Inside));
}

#[test]
fn rule_1_a_hosts_connection_to_itself_is_not_counted() {
    let mut pipeline = pipeline(&config(true));
    sweep(&mut pipeline, &[tcp(NODE, (NODE, 80), (NODE, 80))], at(6));
    assert!(rows(&pipeline).is_empty());
    assert_eq!(pipeline.take_skipped().0[Skip::Loopback as usize], 1);
}

#[test]
fn rule_5_a_forwarded_connection_without_a_local_end_is_unattributed() {
    let mut pipeline = pipeline(&config(true));
    let foreign = tcp(OTHER_NODE, (OUTSIDE, 443), (OUTSIDE, 443));
    sweep(&mut pipeline, &[foreign], at(6));
    assert!(rows(&pipeline).is_empty());
    let unattributed = pipeline.ledger().unattributed[Unattributed::NoLocalEnd as usize];
    assert_eq!((unattributed.tx.bytes, unattributed.rx.bytes), (100, 1_000));
}

#[test]
fn rule_5_a_nodeport_to_a_backend_elsewhere_gives_two_host_rows() {
    assert_eq!(
        told(&[tcp(OUTSIDE, (NODE, 30080), (FAR_POD, 8080))]),
        [
            (HOST, NODE, FAR_POD, 8080, Outbound, Inside, 100, 1_000, true),
            (HOST, NODE, OUTSIDE, 8080, Inbound, Outside, 1_000, 100, true),
        ]
    );
}

#[test]
fn rule_6_the_nodes_own_tunnels_are_shown_and_not_pushed() {
    let mut vxlan = tcp(NODE, (OTHER_NODE, 4789), (OTHER_NODE, 4789));
    vxlan.key.protocol = protocol::UDP;
    assert_eq!(told(&[vxlan]), [(HOST, NODE, OTHER_NODE, 4789, Outbound, Overlay, 100, 1_000, false)]);
    // The same port from a pod, or to the world, is ordinary traffic.
    let mut from_pod = tcp(POD_A, (OTHER_NODE, 4789), (OTHER_NODE, 4789));
    from_pod.key.protocol = protocol::UDP;
    assert_eq!(told(&[from_pod])[0].5, Inside);
    let mut to_world = tcp(NODE, (OUTSIDE, 51820), (OUTSIDE, 51820));
    to_world.key.protocol = protocol::UDP;
    assert_eq!(told(&[to_world])[0].5, Outside);
}

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

#[test]
fn rule_9_inbound_from_outside_is_pushed_and_the_policy_is_obeyed() {
    let inbound = [tcp(OUTSIDE, (POD_A, 80), (POD_A, 80)), tcp(FAR_POD, (POD_A, 81), (POD_A, 81))];
    let pushed = |policy| {
        let mut pipeline = pipeline(&Config { push_inbound: policy, ..config(true) });
        sweep(&mut pipeline, &inbound, at(6));
        rows(&pipeline).iter().map(|row| (row.3, row.8)).collect::<Vec<_>>()
    };
    assert_eq!(pushed(PushInbound::External), [(81, false), (80, true)]);
    assert_eq!(pushed(PushInbound::All), [(81, true), (80, true)]);
    assert_eq!(pushed(PushInbound::None), [(81, false), (80, false)]);
}

#[test]
fn rule_9_a_local_end_is_never_outside() {
    // A public address that belongs to this node.
    let mut pipeline = pipeline(&config(true));
    pipeline.local_ends().add_host(OUTSIDE);
    sweep(&mut pipeline, &[tcp(OUTSIDE, (POD_A, 80), (POD_A, 80))], at(6));
    let inbound = rows(&pipeline).into_iter().find(|row| row.4 == Inbound).expect("the pod's row");
    assert_eq!((inbound.5, inbound.8), (Inside, false));
}

fn pod(uid: &str) -> Arc<Pod> {
    Arc::new(Pod { uid: uid.into(), namespace: "shop".into(), name: uid.into(), workload: None, host_network: false })
}

fn index(tenures: &[(Addr, u64, u64, &Arc<Pod>)]) -> Arc<PodIndex> {
    let pods = tenures.iter().map(|t| Arc::clone(t.3)).collect();
    let tenures = tenures
        .iter()
        .map(|(addr, from, until, pod)| Tenure {
            addr: *addr,
            from_ns: at(*from).mono_ns,
            ended_ns: if *until == u64::MAX { u64::MAX } else { at(*until).mono_ns },
            until_ns: if *until == u64::MAX { u64::MAX } else { at(*until).mono_ns },
            pod: Arc::clone(pod),
        })
        .collect();
    Arc::new(PodIndex::new(tenures, pods, true, 1))
}

fn owner_names(pipeline: &Pipeline) -> Vec<(String, u64)> {
    assert!(pipeline.ledger().is_balanced());
    let mut names: Vec<(String, u64)> = pipeline
        .rows()
        .iter()
        .map(|row| {
            let name = match pipeline.owners().get(row.key.owner) {
                crate::owner::Owner::Pod(pod) => pod.name.to_string(),
                other => format!("{other:?}"),
            };
            (name, row.total.tx.bytes)
        })
        .collect();
    names.sort();
    names
}

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

#[test]
fn f34_what_goes_to_many_is_shown_and_not_pushed() {
    for many in [[224, 0, 0, 251], [239, 255, 255, 250], [255, 255, 255, 255]].map(Addr::from_v4) {
        let mut c = tcp(POD_A, (many, 5353), (many, 5353));
        c.key.protocol = protocol::UDP;
        assert_eq!(told(&[c]), [(LOCAL, POD_A, many, 5353, Outbound, Class::Multicast, 100, 1_000, false)]);
    }
    let mut v6 = [0u8; 16];
    (v6[0], v6[1], v6[15]) = (0xff, 2, 0xfb);
    assert!(Classes::is_of_many(Addr::from_v6(v6)));
    for one in [[223, 255, 255, 255], [240, 0, 0, 1], [10, 255, 255, 255]] {
        assert!(!Classes::is_of_many(Addr::from_v4(one)), "{one:?}");
    }
}

#[test]
fn f36_starts_are_no_evidence_once_the_wall_clock_was_set_back() {
    let mut pipeline = Pipeline::new(&config(true), 1_024, at(0).wall_ns);
    pipeline.local_ends().replace_host(&[NODE]);
    let begun = |sport, start_ns| {
        let c = tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443));
        Connection { key: ConnectionKey { sport, ..c.key }, start_ns, ..c }
    };
    // Set back by an hour before the process started: what is older than it seems to begin in an hour.
    let records = [begun(1, at(3_600).wall_ns), begun(2, at(0).wall_ns + 1)];
    sweep(&mut pipeline, &records, at(1));
    assert!(rows(&pipeline).is_empty(), "history is not counted: {:?}", rows(&pipeline));
}

#[test]
fn f36_a_step_back_of_any_size_before_the_start_makes_no_history_count() {
    for by_ms in [200, 999, 2_000, 5_000, 9_900, 10_500, 3_600_000] {
        // Begun a moment before the clock was set back, and the process right behind that.
        let c = tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443));
        let old = Connection { start_ns: at(100).wall_ns + by_ms * (SECOND / 1_000) - 1, ..c };
        for swept_s in [100, 101] {
            let mut pipeline = Pipeline::new(&config(true), 1_024, at(100).wall_ns);
            pipeline.local_ends().replace_host(&[NODE]);
            sweep(&mut pipeline, &[old], at(swept_s));
            assert!(rows(&pipeline).is_empty(), "{by_ms} ms, swept at {swept_s}: {:?}", rows(&pipeline));
        }
    }
    // A first sweep that comes late, of a node at its limits: what has begun meanwhile counts.
    let mut pipeline = Pipeline::new(&config(true), 1_024, at(100).wall_ns);
    pipeline.local_ends().replace_host(&[NODE]);
    let young = Connection { start_ns: at(130).wall_ns, ..tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443)) };
    sweep(&mut pipeline, &[young], at(140));
    assert_eq!(rows(&pipeline).len(), 1);
}

#[test]
fn rule_13_a_full_connection_table_names_what_it_loses() {
    let mut pipeline = Pipeline::new(&config(true), 1, 1);
    pipeline.local_ends().replace_host(&[NODE]);
    sweep(&mut pipeline, &[], at(1));
    let first = tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443));
    let second = Connection { key: ConnectionKey { sport: 2, ..first.key }, ..first };
    assert_eq!(sweep(&mut pipeline, &[first, second], at(6)).not_followed, 1);
    take(&mut pipeline, &Connection { reading: Reading::Ended, ..second }, at(7));
    assert_eq!(pipeline.ledger().lost[Lost::ConnectionTableFull as usize].rx.bytes, 1_000);
    assert_eq!(rows(&pipeline)[0].7, 1_000);
}

#[test]
fn ends_judged_together_come_to_what_they_come_to_one_by_one() {
    let base = tcp(POD_A, (SERVICE, 80), (FAR_POD, 8080));
    let numbered = |sport, bytes| {
        let traffic = Traffic { orig: Counts { bytes, packets: 1 }, reply: Counts { bytes: 7, packets: 1 } };
        Connection { key: ConnectionKey { sport, ..base.key }, traffic, ..base }
    };
    let living: Vec<Connection> = (0..100).map(|n| numbered(n, 40)).collect();
    // More than one batch of ends; some twice (a tuple used again), some never seen living.
    let ends = || (0..300u16).map(|n| Connection { reading: Reading::Ended, ..numbered(n % 130, 100) });
    let (mut heard, mut recorded) = (pipeline(&config(true)), pipeline(&config(true)));
    sweep(&mut heard, &living, at(2));
    sweep(&mut recorded, &living, at(2));
    ends().for_each(|c| heard.hear(&c, at(3)));
    heard.end_drain(at(3));
    ends().for_each(|c| take(&mut recorded, &c, at(3)));
    assert_eq!(rows(&heard), rows(&recorded));
    assert_eq!(heard.ledger(), recorded.ledger());
    assert_eq!((heard.baselines().len(), recorded.baselines().len()), (0, 0));
}

#[test]
fn every_record_of_an_end_is_counted_once() {
    let live = tcp(POD_A, (OUTSIDE, 443), (OUTSIDE, 443));
    let ended = Connection { reading: Reading::Ended, ..live };
    let mut pipeline = pipeline(&config(true));
    let stats = Stats::default();
    sweep(&mut pipeline, &[live, ended], at(6));
    (0..70).for_each(|_| pipeline.hear(&ended, at(7)));
    pipeline.end_drain(at(7));
    pipeline.publish(&stats);
    pipeline.publish(&stats);
    assert_eq!(stats.ends.get(), 71);
}

/// A Cilium entry of the same traffic, whose bytes are of frames.
fn entry(ends: Ends, client: Addr, backend: Addr) -> Connection {
    let mut c = Connection {
        ends,
        reading: Reading::Partial { split: Split::Known, header_bytes: 14 },
        ..tcp(client, (backend, 80), (backend, 80))
    };
    c.key.realm = 2 + u32::from(ends == Ends::Responder);
    c
}

#[test]
fn a_cilium_entry_counts_for_its_own_end_without_the_headers_of_frames() {
    let mut pipeline = pipeline(&config(true));
    let sum = Connection {
        reading: Reading::Partial { split: Split::Unknown, header_bytes: 14 },
        ..entry(Ends::Originator, POD_A, OUTSIDE)
    };
    let of_the_node = entry(Ends::Originator, NODE, FAR_POD);
    sweep(&mut pipeline, &[entry(Ends::Responder, FAR_POD, POD_B), sum, of_the_node], at(2));
    let mut rows: Vec<_> =
        pipeline.rows().iter().map(|r| (r.split() == Split::Unknown, r.key.local, r.total)).collect();
    rows.sort_by_key(|row| row.0);
    let (small, large) = (Counts { bytes: 72, packets: 2 }, Counts { bytes: 958, packets: 3 });
    assert_eq!(rows[0], (false, POD_B, TxRx { tx: large, rx: small }));
    assert_eq!(rows[1], (true, POD_A, TxRx { tx: small, rx: large }));
    assert_eq!((rows.len(), pipeline.take_skipped().0[Skip::HostPartial as usize]), (2, 1));
}

#[test]
fn what_passes_through_is_covered_by_the_pods_entry_or_nobodys() {
    let mut pipeline = pipeline(&config(false));
    let elsewhere = entry(Ends::Neither, OUTSIDE, FAR_POD);
    // The pod of the other is not known yet, but it has an entry.
    let here = entry(Ends::Neither, OUTSIDE, POD_B);
    sweep(&mut pipeline, &[entry(Ends::Responder, OUTSIDE, POD_B), here, elsewhere], at(2));
    assert_eq!(pipeline.take_skipped().0[Skip::Covered as usize], 1);
    assert_eq!(pipeline.ledger().unattributed[Unattributed::NoLocalEnd as usize].total_bytes(), 72 + 958);
    assert!(pipeline.rows().len() == 0, "the pod's bytes wait for it");
    assert_eq!(pipeline.waiting.len(), 1);
}

#[test]
fn the_end_of_a_cilium_entry_is_never_called_lost() {
    let mut pipeline = pipeline(&config(true));
    let mut c = entry(Ends::Originator, POD_A, OUTSIDE);
    sweep(&mut pipeline, &[c], at(2));
    c.traffic.orig.packets = 1;
    sweep(&mut pipeline, &[c], at(3));
    assert_eq!(pipeline.baselines().may_end_untold(), 1);
    let vanished: u64 = (4..9).map(|second| sweep(&mut pipeline, &[], at(second)).vanished_untold).sum();
    assert_eq!((vanished, pipeline.baselines().len(), pipeline.baselines().may_end_untold()), (0, 0, 0));
}
