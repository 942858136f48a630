//! What a pod sends to the world is the pod's, though the world sees the node's address.

use crate::drive::{Burst, Ending};
use crate::lab::Lab;
use crate::rows::{ADDRESS, HOST, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("masquerade", "rules 3, 9", run);

const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P3, OUTSIDE, tcp(443)).outside(),
    Row::outbound(ADDRESS, P1, OUTSIDE, tcp(443)).outside(),
    Row::outbound(HOST, WAN, OUTSIDE, tcp(443)).outside(),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.outside.serve_tcp(OUTSIDE, 443)?;
    let agent = lab.agent().ready()?;
    w.p3.actor().burst(Burst::new(socket(OUTSIDE, 443), 20, 100, 30_000))?;
    w.p1.actor().burst(Burst { ending: Ending::Server, ..Burst::new(socket(OUTSIDE, 443), 10, 9_000, 50) })?;
    w.node.actor().burst(Burst::new(socket(OUTSIDE, 443), 5, 500, 500))?;
    lab.settles(agent, EXPECTED)
}
