//! A NodePort whose backend is a pod of this node: the pod's row, from the client, whatever masquerade made of it.

use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{NODE_PORT_LOCAL, socket};

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("nodeport_local", "rules 3, 4, 9", run);

/// The second is asked by the other node, so it is not pushed.
const EXPECTED: &[Row] =
    &[Row::inbound(ADDRESS, P2, OUTSIDE, tcp(8080)).outside(), Row::inbound(ADDRESS, P2, PEER, tcp(8080))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.p2.serve_tcp(P2, 8080)?;
    let agent = lab.agent().ready()?;
    w.outside.actor().burst(Burst::new(socket(WAN, NODE_PORT_LOCAL), 20, 100, 30_000))?;
    w.peer.actor().burst(Burst::new(socket(NODE, NODE_PORT_LOCAL), 20, 200, 3_000))?;
    lab.settles(agent, EXPECTED)
}
