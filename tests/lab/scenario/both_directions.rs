//! tx is what the local end sent, whoever opened the connection; the port is the responder's in both directions.

use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("both_directions", "rules 2, 4, 9", run);

/// The second is not pushed: its originator is inside, so the other node reports it.
const EXPECTED: &[Row] =
    &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080)), Row::inbound(ADDRESS, P1, PEER, tcp(9000))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.p1.serve_tcp(P1, 9000)?;
    let agent = lab.agent().ready()?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 10, 100, 50_000))?;
    w.peer.actor().burst(Burst::new(socket(P1, 9000), 10, 70_000, 100))?;
    lab.settles(agent, EXPECTED)
}
