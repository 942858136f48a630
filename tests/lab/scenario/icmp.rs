//! Echo requests and answers are a connection without a port, in both families.

use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, HOST, ICMP, ICMPV6, Row};
use crate::scenario::Scenario;
use crate::topology::addr::*;

/// BPF at sockets does not see who answers an echo (rule 15).
pub const SCENARIO: Scenario =
    Scenario::new("icmp", "rules 1, 4", run).only(&[Source::Netfilter, Source::Cilium, Source::Auto]);

const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1, REMOTE_POD, ICMP),
    Row::outbound(ADDRESS, P1_V6, REMOTE_POD_V6, ICMPV6),
    Row::outbound(ADDRESS, P3, OUTSIDE, ICMP).outside(),
    Row::inbound(HOST, WAN, OUTSIDE, ICMP).outside(),
    Row::outbound(ADDRESS, P1, P2, ICMP),
    Row::inbound(ADDRESS, P2, P1, ICMP),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    let agent = lab.agent().ready()?;
    w.p1.ping(REMOTE_POD, 20, 1_000)?;
    w.p1.ping(REMOTE_POD_V6, 20, 500)?;
    w.p3.ping(OUTSIDE, 10, 56)?;
    w.outside.ping(WAN, 10, 100)?;
    // Larger than the link: fragments count reassembled.
    w.p1.ping(P2, 5, 4_000)?;
    let truth = lab.truth()?;
    for (row, count, payload) in [(0, 20, 1_000), (1, 20, 500), (2, 10, 56), (3, 10, 100), (4, 5, 4_000)] {
        lab.sent_datagrams(&truth, EXPECTED[row].flow(), (count, payload), (count, payload))?;
    }
    lab.settles(agent, EXPECTED)
}
