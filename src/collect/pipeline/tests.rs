//! The accounting contract, rule by rule, on records as a source hands them over.

mod audit;
mod clock;
mod costs;
mod ct_zones;
mod ended;
mod names;
mod orders;
mod owners;
mod partial;
mod roles;
mod waits;

use super::*;
use crate::config::{self, Command, PushInbound};
use crate::flow::{Addr, Class, ConnectionKey, Counts, Direction, Ends, Reading, Split, Traffic, TxRx, protocol};
use crate::names::LOOPBACK;
use crate::owner::pods::{Pod, Tenure};
use crate::rows::Push;
use crate::stats::{Skip, Stats, Unattributed};

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
