//! A datagram larger than the link counts as the kernel hands it over: reassembled, with one IP header.

use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, Row, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// BPF at a sender's socket sees the fragments (rule 15).
pub const SCENARIO: Scenario = Scenario::new("fragments", "rule 1", run).only(&[Source::Netfilter]);

const EXPECTED: &[Row] =
    &[Row::outbound(ADDRESS, P1, REMOTE_POD, udp(5354)), Row::outbound(ADDRESS, P1_V6, REMOTE_POD_V6, udp(5354))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_udp(REMOTE_POD, 5354)?;
    w.peer.serve_udp(REMOTE_POD_V6, 5354)?;
    let agent = lab.agent().ready()?;
    w.p1.actor().udp(socket(REMOTE_POD, 5354), 5, 4, 4_000, 9_000)?;
    w.p1.actor().udp(socket(REMOTE_POD_V6, 5354), 5, 4, 4_000, 9_000)?;
    let truth = lab.truth()?;
    lab.sent_datagrams(&truth, EXPECTED[0].flow(), (20, 4_000), (20, 9_000))?;
    lab.sent_datagrams(&truth, EXPECTED[1].flow(), (20, 4_000), (20, 9_000))?;
    lab.settles(agent, EXPECTED)
}
