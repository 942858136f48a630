//! Who asks for the service is shown with the backend that answered and its port, never with the service's address.

use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{ADDRESS, HOST, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{SERVICE_PORT, socket};

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("service", "rules 2, 3, 4", run);

const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1, P2, tcp(8080)),
    Row::inbound(ADDRESS, P2, P1, tcp(8080)),
    Row::outbound(HOST, NODE, P2, tcp(8080)),
    Row::inbound(ADDRESS, P2, NODE, tcp(8080)),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.p2.serve_tcp(P2, 8080)?;
    let agent = lab.agent().ready()?;
    w.p1.actor().burst(Burst::new(socket(SERVICE, SERVICE_PORT), 20, 100, 30_000))?;
    w.node.actor().burst(Burst::new(socket(SERVICE, SERVICE_PORT), 5, 200, 3_000))?;
    lab.settles(agent, EXPECTED)
}
