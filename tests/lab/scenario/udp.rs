//! UDP: many sockets, answered and unanswered, within a datagram's link size and beyond it.

use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, HOST, Row, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// BPF counts fragments one by one (rule 15 names TCP, UDP and SCTP that end in a socket; see the table of exceptions).
pub const SCENARIO: Scenario = Scenario::new("udp", "rules 1, 4", run).only(&[Source::Netfilter, Source::Cilium]);

const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1, REMOTE_POD, udp(5353)),
    Row::outbound(ADDRESS, P1_V6, REMOTE_POD_V6, udp(5353)),
    Row::outbound(ADDRESS, P1, REMOTE_POD, udp(5354)),
    Row::outbound(ADDRESS, P3, OUTSIDE, udp(53)).outside(),
    Row::inbound(HOST, NODE, PEER, udp(5355)),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_udp(REMOTE_POD, 5353)?;
    w.peer.serve_udp(REMOTE_POD_V6, 5353)?;
    w.peer.serve_udp(REMOTE_POD, 5354)?;
    w.outside.serve_udp(OUTSIDE, 53)?;
    w.node.serve_udp(NODE, 5355)?;
    let agent = lab.agent().ready()?;
    w.p1.actor().udp(socket(REMOTE_POD, 5353), 100, 3, 100, 1_200)?;
    w.p1.actor().udp(socket(REMOTE_POD_V6, 5353), 50, 2, 64, 400)?;
    // Fragments count reassembled, as the kernel hands them over.
    w.p1.actor().udp(socket(REMOTE_POD, 5354), 5, 4, 4_000, 9_000)?;
    w.p3.actor().udp(socket(OUTSIDE, 53), 100, 1, 40, 120)?;
    w.peer.actor().udp(socket(NODE, 5355), 100, 2, 500, 0)?;
    let truth = lab.truth()?;
    lab.sent_datagrams(&truth, EXPECTED[0].flow(), (300, 100), (300, 1_200))?;
    lab.sent_datagrams(&truth, EXPECTED[1].flow(), (100, 64), (100, 400))?;
    lab.sent_datagrams(&truth, EXPECTED[2].flow(), (20, 4_000), (20, 9_000))?;
    lab.sent_datagrams(&truth, EXPECTED[3].flow(), (100, 40), (100, 120))?;
    lab.sent_datagrams(&truth, EXPECTED[4].flow(), (200, 500), (0, 0))?;
    lab.settles(agent, EXPECTED)
}
