//! IPv6 is counted like IPv4: routed, through the service, masqueraded, from outside.

use crate::drive::Burst;
use crate::lab::{Lab, Sent};
use crate::rows::{ADDRESS, HOST, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{SERVICE_PORT, socket};

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("ipv6", "rules 2, 3, 4, 9", run);

const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1_V6, REMOTE_POD_V6, tcp(8080)),
    Row::outbound(ADDRESS, P1_V6, P2_V6, tcp(8080)),
    Row::inbound(ADDRESS, P2_V6, P1_V6, tcp(8080)),
    Row::outbound(ADDRESS, P3_V6, OUTSIDE_V6, tcp(443)).outside(),
    Row::inbound(HOST, WAN_V6, OUTSIDE_V6, tcp(9100)).outside(),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD_V6, 8080)?;
    w.p2.serve_tcp(P2_V6, 8080)?;
    w.outside.serve_tcp(OUTSIDE_V6, 443)?;
    w.node.serve_tcp(WAN_V6, 9100)?;
    let agent = lab.agent().ready()?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD_V6, 8080), 20, 100, 30_000))?;
    w.p1.actor().burst(Burst::new(socket(SERVICE_V6, SERVICE_PORT), 20, 100, 20_000))?;
    w.p3.actor().burst(Burst::new(socket(OUTSIDE_V6, 443), 20, 100, 10_000))?;
    w.outside.actor().burst(Burst::new(socket(WAN_V6, 9100), 20, 100, 5_000))?;
    let truth = lab.truth()?;
    lab.sent_tcp(&truth, EXPECTED[0].flow(), Sent { connections: 20, up: 2_000, down: 600_000 })?;
    lab.settles(agent, EXPECTED)
}
