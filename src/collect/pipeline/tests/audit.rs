//! What the pipeline tells the audit: each increment crosses the uplink once, whatever becomes of it.

use std::io;

use super::*;
use crate::audit::equation::Closed;
use crate::audit::routes::Builder;
use crate::audit::{Audit, Kernel, Knows};
use crate::wire::genetlink::Family;
use crate::wire::rtnetlink::{Hop, Link, LinkKind};

/// One uplink, by which everything is reached that is not a pod of this node; it never carries anything.
struct OneUplink;

impl Kernel for OneUplink {
    fn links(&mut self, each: &mut dyn FnMut(&Link, bool)) -> io::Result<()> {
        let (kind, mtu) = (LinkKind::Plain, 1500);
        let uplink = Link {
            index: 2,
            name: [b'e'; 16],
            kind,
            lower: 0,
            master: 0,
            mtu,
            is_ethernet: true,
            port: 0,
            more_ports: None,
        };
        each(&uplink, true);
        let tunnel = Link { index: 3, kind: LinkKind::Tunnel { overhead: 50 }, lower: 2, ..uplink };
        each(&Link { port: 7_000, ..tunnel }, false);
        each(&Link { index: 4, more_ports: Some(Family::WireGuard), ..tunnel }, false);
        Ok(())
    }
    fn more_ports(&mut self, _: Family, _: &Link, each: &mut dyn FnMut(u16)) -> io::Result<()> {
        each(7_001);
        Ok(())
    }
    fn counters(&mut self, _: u32) -> io::Result<TxRx> {
        Ok(TxRx::ZERO)
    }
    fn route(&mut self, addr: Addr) -> io::Result<Hop> {
        let is_near = addr == NODE || addr.octets()[12..15] == [10, 244, 1];
        Ok(Hop { link: if is_near { 9 } else { 2 }, mtu: 0 })
    }
    fn routes(&mut self, _: &mut Builder) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn have_routes_changed(&mut self) -> bool {
        false
    }
    fn odd_packets(&mut self) -> u64 {
        0
    }
    fn uncounted_packets(&mut self, _: &Link) -> [u64; 3] {
        [0; 3]
    }
}

/// Of a port of its own, with so many bytes each way, one packet each.
fn connection(client: Addr, backend: Addr, sport: u16, orig: u64, reply: u64) -> Connection {
    let mut c = tcp(client, (backend, 80), (backend, 80));
    c.key.sport = sport;
    let counts = |bytes| Counts { bytes, packets: u64::from(bytes > 0) };
    Connection { traffic: Traffic { orig: counts(orig), reply: counts(reply) }, ..c }
}

fn audited(config: &Config) -> Pipeline {
    let mut pipeline = pipeline(config);
    let knows = Knows { tunnels: true, invalid: false, timestamps: true };
    pipeline.set_audit(Audit::new(Box::new(OneUplink), knows));
    closed(&mut pipeline);
    pipeline
}

/// What was sent and received by the uplink.
fn closed(pipeline: &mut Pipeline) -> [Closed; 2] {
    pipeline.audit_mut().read();
    pipeline.audit_mut().close();
    let accounts = pipeline.audit().accounts();
    [accounts[0].closed, accounts[1].closed]
}

fn sums(pipeline: &mut Pipeline) -> Vec<(&'static str, i64, i64)> {
    let [tx, rx] = closed(pipeline);
    let counted = Part::ALL.iter().take(Part::Untracked as usize);
    let each = counted.map(|part| (part.as_str(), tx.part(*part), rx.part(*part)));
    each.filter(|(_, tx, rx)| *tx != 0 || *rx != 0).collect()
}

#[test]
fn rule_19_a_row_crosses_by_its_remote_end_alone() {
    let mut pipeline = audited(&config(true));
    sweep(&mut pipeline, &[connection(POD_A, OUTSIDE, 1, 100, 70)], at(2));
    assert_eq!(sums(&mut pipeline), [("rows", 100, 70)]);
    sweep(&mut pipeline, &[connection(OUTSIDE, POD_A, 2, 5, 9)], at(3));
    assert_eq!(sums(&mut pipeline), [("rows", 109, 75)]);
    sweep(&mut pipeline, &[connection(POD_A, POD_B, 3, 1_000, 1_000)], at(4));
    assert_eq!(sums(&mut pipeline), [("rows", 109, 75)], "what stays on the node crosses nothing");
    sweep(&mut pipeline, &[connection(FAR_POD, POD_B, 4, 20, 30)], at(5));
    assert_eq!(sums(&mut pipeline), [("rows", 109, 75), ("withheld", 30, 20)], "its own node pushes it");
}

#[test]
fn rule_19_what_has_no_local_end_crosses_twice() {
    let mut pipeline = audited(&config(true));
    sweep(&mut pipeline, &[connection(OUTSIDE, FAR_POD, 1, 100, 70)], at(2));
    assert_eq!(sums(&mut pipeline), [("unattributed", 170, 170)]);
}

#[test]
fn rule_19_what_waited_has_crossed_once() {
    let mut pipeline = audited(&config(false));
    sweep(&mut pipeline, &[connection(POD_A, OUTSIDE, 1, 100, 70)], at(2));
    assert_eq!(sums(&mut pipeline), [("held", 100, 70)]);
    pipeline.settle_all(at(3));
    assert_eq!(sums(&mut pipeline), [("held", 100, 70)], "settled, and not counted anew");
    assert!(pipeline.ledger().is_balanced());
}

/// Of mode auto: the first sweep of an address shows conntrack's account of it, and decides nothing.
fn undecided() -> (Pipeline, Connection) {
    let mut pipeline = pipeline(&config(true));
    pipeline.read_by(SourceKind::Auto);
    pipeline.set_audit(Audit::new(Box::new(OneUplink), Knows { tunnels: true, invalid: false, timestamps: true }));
    closed(&mut pipeline);
    let c = connection(POD_A, OUTSIDE, 1, 100, 70);
    sweep(&mut pipeline, &[c], at(2));
    assert_eq!(sums(&mut pipeline), [("held", 100, 70)]);
    (pipeline, c)
}

#[test]
fn rules_19_and_21_what_waited_and_the_programs_count_is_held_no_more() {
    let by_programs = |c| Connection { reading: Reading::Increment, ends: Ends::Originator, ..c };
    let (mut pipeline, c) = undecided();
    sweep(&mut pipeline, &[by_programs(c)], at(3));
    assert_eq!(sums(&mut pipeline), [("rows", 100, 70)]);
    assert!(pipeline.ledger().is_balanced());
    // Both ends wait, and the programs have one of them: the other's row is of what stays on the node.
    let between = connection(POD_B, POD_A, 2, 1_000, 1_000);
    sweep(&mut pipeline, &[between, by_programs(between)], at(4));
    assert_eq!(sums(&mut pipeline), [("rows", 100, 70)]);
}

#[test]
fn rules_19_and_21_what_waited_and_is_conntracks_stays_where_it_crossed() {
    let (mut pipeline, c) = undecided();
    let spoke = Traffic { orig: Counts { bytes: 1_100, packets: 11 }, ..c.traffic };
    sweep(&mut pipeline, &[Connection { traffic: spoke, ..c }], at(3));
    assert_eq!(sums(&mut pipeline), [("held", 1_100, 70)]);
    sweep(&mut pipeline, &[Connection { traffic: Traffic { orig: spoke.orig + c.traffic.orig, ..spoke }, ..c }], at(4));
    assert_eq!(sums(&mut pipeline), [("rows", 100, 0), ("held", 1_100, 70)]);
}

/// In the same ten seconds, before and after the books began.
#[test]
fn rule_19_what_waited_in_books_before_is_not_taken_from_these() {
    let (mut pipeline, c) = undecided();
    pipeline.audit_mut().restart();
    assert_eq!(sums(&mut pipeline), []);
    let more = Traffic { orig: c.traffic.orig + c.traffic.orig, ..c.traffic };
    sweep(&mut pipeline, &[Connection { traffic: more, ..c }], at(3));
    assert_eq!(sums(&mut pipeline), [("held", 100, 0)]);
    sweep(&mut pipeline, &[Connection { reading: Reading::Increment, ends: Ends::Originator, ..c }], at(4));
    assert_eq!(sums(&mut pipeline), [("rows", 100, 70)]);
    assert!(pipeline.ledger().is_balanced());
}

#[test]
fn rule_19_what_finds_no_room_is_lost_where_it_crossed() {
    let mut pipeline = audited(&config(true));
    pipeline.note_source_losses(&Sweep { lost_tx_bytes: 3, lost_rx_bytes: 4, ..Sweep::default() });
    assert_eq!(sums(&mut pipeline), [("lost", 3, 4)]);
    let of = |n, reading| Connection { reading, ..connection(POD_A, OUTSIDE, n, 100, 0) };
    let all: Vec<Connection> = (0..1_025).map(|n| of(n, Reading::Live)).collect();
    sweep(&mut pipeline, &all, at(2));
    take(&mut pipeline, &of(2_000, Reading::Ended), at(3));
    let lost = pipeline.ledger().lost[Lost::ConnectionTableFull as usize].tx.bytes;
    assert_eq!((lost, sums(&mut pipeline)), (100, vec![("rows", 102_400, 0), ("lost", 103, 4)]));
}

/// Bytes and frames on the wire of the one row, and whether they are an estimate.
fn wire(pipeline: &Pipeline) -> (TxRx, bool) {
    let row = pipeline.rows().iter().next().expect("one row");
    (row.more.get(), row.is_estimated())
}

#[test]
fn rule_17_what_the_source_knows_of_frames_is_exact() {
    let more = Traffic { orig: Counts { bytes: 104, packets: 2 }, reply: Counts::ZERO };
    let mut pipeline = audited(&config(true));
    let c = Connection { reading: Reading::Increment, more: Some(more), ..connection(POD_A, OUTSIDE, 1, 4_000, 60) };
    for second in 2..4 {
        sweep(&mut pipeline, &[c], at(second));
    }
    let twice = TxRx { tx: Counts { bytes: 208, packets: 4 }, rx: Counts::ZERO };
    assert_eq!(wire(&pipeline), (twice, false));
    assert_eq!(pipeline.series().iter().map(|series| series.more_bytes[0]).sum::<u64>(), 208);
    // From where it is received, it is received.
    let responder = Connection { ends: Ends::Responder, ..Connection { backend: POD_A, ..c } };
    let mut inbound = audited(&config(true));
    sweep(&mut inbound, &[Connection { key: ConnectionKey { src: OUTSIDE, ..c.key }, ..responder }], at(2));
    assert_eq!(wire(&inbound).0.rx, Counts { bytes: 104, packets: 2 });
}

#[test]
fn rule_17_where_it_does_not_they_are_estimated_by_the_route() {
    let mut pipeline = audited(&config(true));
    let c = connection(POD_A, OUTSIDE, 1, 14_532, 40);
    sweep(&mut pipeline, &[c], at(2));
    // 14,480 bytes of data in one packet are ten frames.
    assert_eq!(wire(&pipeline), (TxRx { tx: Counts { bytes: 9 * 52, packets: 9 }, rx: Counts::ZERO }, true));
}

#[test]
fn rule_17_what_stays_on_the_node_is_on_no_wire() {
    let more = Traffic { orig: Counts { bytes: 104, packets: 2 }, reply: Counts::ZERO };
    let mut pipeline = audited(&config(true));
    sweep(&mut pipeline, &[Connection { more: Some(more), ..connection(POD_A, POD_B, 1, 4_000, 60) }], at(2));
    assert!(pipeline.rows().iter().all(|row| row.more.get().is_zero() && !row.is_estimated()));
    assert_eq!(pipeline.rows().len(), 2);
}

#[test]
fn f38_a_tunnel_at_another_port_is_known_by_its_link() {
    let class = |mut pipeline: Pipeline, port| {
        let mut outer = tcp(NODE, (OTHER_NODE, port), (OTHER_NODE, port));
        outer.key.protocol = protocol::UDP;
        sweep(&mut pipeline, &[outer], at(2));
        pipeline.rows().iter().map(|row| row.key.class).collect::<Vec<_>>()
    };
    for port in [7_000, 7_001] {
        assert_eq!(class(pipeline(&config(true)), port), [Class::Inside]);
        assert_eq!(class(audited(&config(true)), port), [Class::Overlay]);
    }
    assert_eq!(class(audited(&config(true)), 7_002), [Class::Inside]);
}

/// The pod at the other end has ended a moment ago; that end waits, and is held (rule 8).
#[test]
fn rule_19_what_waits_beside_an_end_that_has_its_row_crosses_with_that() {
    let mut pipeline = audited(&config(false));
    let (job, server) = (pod("job"), pod("server"));
    let tenure = |addr, ended_ns: u64, pod| {
        let until_ns = ended_ns.saturating_add(120 * SECOND);
        Tenure { addr, from_ns: at(1).mono_ns, ended_ns, until_ns, pod }
    };
    let tenures = vec![tenure(POD_A, at(4).mono_ns, job.clone()), tenure(FAR_POD, u64::MAX, server.clone())];
    pipeline.set_pods(Arc::new(PodIndex::new(tenures, vec![job, server], true, 1)), at(5));
    let c = connection(POD_A, FAR_POD, 1, 100, 70);
    take(&mut pipeline, &Connection { reading: Reading::Increment, ..c }, at(6));
    assert_eq!(pipeline.ledger().waiting.tx.bytes, 100);
    assert_eq!(sums(&mut pipeline), [], "the row's remote end is reached by a pod's link");
}

#[test]
fn rules_19_and_21_what_a_change_of_source_loses_is_lost_where_it_crossed() {
    let (mut pipeline, c) = undecided();
    sweep(&mut pipeline, &[Connection { reading: Reading::Increment, ends: Ends::Originator, ..c }], at(3));
    pipeline.begin_sweep();
    let more = Traffic { orig: c.traffic.orig + c.traffic.orig, ..c.traffic };
    pipeline.record(&Connection { traffic: more, ..c }, at(4));
    pipeline.end_sweep(&Sweep { complete: true, programs_are_gone: true, ..Sweep::default() }, at(4));
    assert_eq!(pipeline.ledger().lost[Lost::SourceChanged as usize].tx.bytes, 100);
    assert_eq!(sums(&mut pipeline), [("rows", 100, 70), ("lost", 100, 0)]);
}
