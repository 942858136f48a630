//! The lab judges itself first: nft's counters equal conntrack's own and what was sent, without an agent between them,
//! and the comparison of rows sees a single byte or packet.

use crate::drive::{Burst, Ending};
use crate::lab::{Lab, Sent, Source};
use crate::rows::{self, ADDRESS, HOST, ICMP, ICMPV6, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{NODE_PORT_LOCAL, NODE_PORT_REMOTE, SERVICE_PORT, socket};
use crate::truth::{Flow, Truth, conntrack_table};
use netmon::flow::TxRx;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("truth_itself", "the lab's own", run).only(&[Source::Netfilter]);

const TCP: u8 = 6;
const UDP: u8 = 17;

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    for at in [P2, P2_V6] {
        w.p2.serve_tcp(at, 8080)?;
        w.p2.serve_udp(at, 5353)?;
    }
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.outside.serve_tcp(OUTSIDE, 443)?;
    w.node.serve_tcp(NODE, 9100)?;

    // Routed, to the service, through itself, masqueraded, NodePorts, to the node, from the node.
    let held = w.p1.actor().open(socket(P2, 8080))?;
    held.exchange(1000, 500_000)?;
    held.exchange(300_000, 10)?;
    held.close()?;
    w.p1.actor().burst(Burst::new(socket(P2_V6, 8080), 50, 100, 2000))?;
    w.p1.actor().burst(Burst::new(socket(SERVICE, SERVICE_PORT), 50, 100, 2000))?;
    w.p2.actor().burst(Burst::new(socket(SERVICE, SERVICE_PORT), 20, 100, 2000))?;
    w.p3.actor().burst(Burst { ending: Ending::Server, ..Burst::new(socket(OUTSIDE, 443), 50, 100, 9000) })?;
    w.outside.actor().burst(Burst::new(socket(WAN, NODE_PORT_LOCAL), 20, 100, 5000))?;
    w.outside.actor().burst(Burst::new(socket(WAN, NODE_PORT_REMOTE), 20, 100, 5000))?;
    w.p1.actor().burst(Burst { ending: Ending::Reset, ..Burst::new(socket(NODE, 9100), 20, 100, 5000) })?;
    w.node.actor().burst(Burst::new(socket(SERVICE, SERVICE_PORT), 20, 100, 5000))?;
    for to in [P2, P2_V6] {
        w.p1.actor().udp(socket(to, 5353), 10, 3, 100, 300)?;
        w.p1.ping(to, 5, 1000)?;
    }

    let truth = lab.truth()?;
    the_comparison_can_fail(&truth)?;
    truth.same_as(&conntrack_table(lab.node())?, ("nft", "conntrack"))?;
    if truth.iter().count() != 12 {
        return Err(format!("{} flows, not 12: {truth:#?}", truth.iter().count()));
    }
    let sent = |connections, up, down| Sent { connections, up, down };
    lab.sent_tcp(&truth, Flow::new(P1, P2, TCP, 8080), sent(51, 301_000 + 50 * 100, 500_010 + 50 * 2000))?;
    lab.sent_tcp(&truth, Flow::new(P1_V6, P2_V6, TCP, 8080), sent(50, 50 * 100, 50 * 2000))?;
    lab.sent_tcp(&truth, Flow::new(P2, P2, TCP, 8080), sent(20, 20 * 100, 20 * 2000))?;
    lab.sent_tcp(&truth, Flow::new(P3, OUTSIDE, TCP, 443), sent(50, 50 * 100, 50 * 9000))?;
    lab.sent_tcp(&truth, Flow::new(OUTSIDE, P2, TCP, 8080), sent(20, 20 * 100, 20 * 5000))?;
    lab.sent_tcp(&truth, Flow::new(OUTSIDE, REMOTE_POD, TCP, 8080), sent(20, 20 * 100, 20 * 5000))?;
    lab.sent_tcp(&truth, Flow::new(P1, NODE, TCP, 9100), sent(20, 20 * 100, 20 * 5000))?;
    lab.sent_tcp(&truth, Flow::new(NODE, P2, TCP, 8080), sent(20, 20 * 100, 20 * 5000))?;
    lab.sent_datagrams(&truth, Flow::new(P1, P2, UDP, 5353), (30, 100), (30, 300))?;
    lab.sent_datagrams(&truth, Flow::new(P1_V6, P2_V6, UDP, 5353), (30, 100), (30, 300))?;
    lab.sent_datagrams(&truth, Flow::new(P1, P2, ICMP.0, 0), (5, 1000), (5, 1000))?;
    lab.sent_datagrams(&truth, Flow::new(P1_V6, P2_V6, ICMPV6.0, 0), (5, 1000), (5, 1000))
}

/// One byte more, one packet less, a row too many, a row too few.
fn the_comparison_can_fail(truth: &Truth) -> Result<(), String> {
    const ROWS: &[Row] = &[Row::outbound(ADDRESS, P1, P2, tcp(8080)), Row::inbound(ADDRESS, P2, P1, tcp(8080))];
    let want = rows::shown(ROWS, truth);
    rows::equal("a map and itself", &want, &want)?;
    let altered = |alter: &dyn Fn(&mut TxRx)| {
        let mut other = want.clone();
        other.values_mut().for_each(alter);
        other
    };
    let unequal = [
        altered(&|counts| counts.rx.bytes += 1),
        altered(&|counts| counts.tx.packets -= 1),
        rows::shown(&ROWS[..1], truth),
        rows::shown(&[ROWS, &[Row::outbound(HOST, P1, P2, tcp(8080))]].concat(), truth),
        rows::shown(&[ROWS[0], ROWS[1].outside()], truth),
    ];
    match unequal.iter().position(|other| rows::equal("", &want, other).is_ok()) {
        None => Ok(()),
        Some(number) => Err(format!("the comparison does not see difference {number}")),
    }
}
