//! A connection between two pods of the node is one row for each, tx and rx swapped; only the originator's is pushed.

use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("two_local_ends", "rules 2, 9", run);

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, P2, tcp(8080)), Row::inbound(ADDRESS, P2, P1, tcp(8080))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.p2.serve_tcp(P2, 8080)?;
    let agent = lab.agent().ready()?;
    w.p1.actor().burst(Burst::new(socket(P2, 8080), 20, 100, 30_000))?;
    lab.settles(agent, EXPECTED)
}
