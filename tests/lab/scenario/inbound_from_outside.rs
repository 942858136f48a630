//! What the world opens to the node and its pods is pushed too, for no other node reports it; its wire port is 0.

use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{ADDRESS, HOST, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("inbound_from_outside", "rules 2, 4, 9", run);

const EXPECTED: &[Row] = &[
    Row::inbound(HOST, WAN, OUTSIDE, tcp(9100)).outside(),
    Row::inbound(ADDRESS, P1, OUTSIDE, tcp(9000)).outside(),
    Row::inbound(ADDRESS, P1, OUTSIDE, tcp(9001)).outside(),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.node.serve_tcp(WAN, 9100)?;
    w.p1.serve_tcp(P1, 9000)?;
    w.p1.serve_tcp(P1, 9001)?;
    let agent = lab.agent().ready()?;
    w.outside.actor().burst(Burst::new(socket(WAN, 9100), 20, 100, 30_000))?;
    w.outside.actor().burst(Burst::new(socket(P1, 9000), 10, 5_000, 300))?;
    w.outside.actor().burst(Burst::new(socket(P1, 9001), 10, 100, 700))?;
    lab.settles(agent, EXPECTED)
}
