//! A pod that reaches itself through the service has two rows, both between its own address and itself.

use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{SERVICE_PORT, socket};

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("hairpin", "rules 2, 3", run);

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P2, P2, tcp(8080)), Row::inbound(ADDRESS, P2, P2, tcp(8080))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.p2.serve_tcp(P2, 8080)?;
    let agent = lab.agent().ready()?;
    w.p2.actor().burst(Burst::new(socket(SERVICE, SERVICE_PORT), 20, 100, 30_000))?;
    lab.settles(agent, EXPECTED)
}
