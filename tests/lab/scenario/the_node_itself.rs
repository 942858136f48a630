//! The node is an end like any other, owner `host`; what it says to itself is nobody's traffic.

use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{ADDRESS, HOST, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("the_node_itself", "rules 1, 2", run);

const EXPECTED: &[Row] = &[
    // A probe of the kubelet.
    Row::outbound(HOST, GATEWAY, P1, tcp(9000)),
    Row::inbound(ADDRESS, P1, GATEWAY, tcp(9000)),
    // A pod asks the node.
    Row::outbound(ADDRESS, P1, NODE, tcp(9100)),
    Row::inbound(HOST, NODE, P1, tcp(9100)),
    // Two nodes.
    Row::inbound(HOST, NODE, PEER, tcp(9100)),
    Row::outbound(HOST, NODE, PEER, tcp(9100)),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.p1.serve_tcp(P1, 9000)?;
    w.node.serve_tcp(NODE, 9100)?;
    w.peer.serve_tcp(PEER, 9100)?;
    let agent = lab.agent().ready()?;
    w.node.actor().burst(Burst::new(socket(P1, 9000), 10, 100, 300))?;
    w.p1.actor().burst(Burst::new(socket(NODE, 9100), 10, 100, 30_000))?;
    w.peer.actor().burst(Burst::new(socket(NODE, 9100), 10, 2_000, 100))?;
    w.node.actor().burst(Burst::new(socket(PEER, 9100), 10, 100, 3_000))?;
    w.node.actor().burst(Burst::new(socket(NODE, 9100), 10, 100, 30_000))?;
    lab.settles(agent, EXPECTED)
}
