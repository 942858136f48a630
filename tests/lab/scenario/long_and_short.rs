//! Connections that live through many sweeps and connections that live through none give one row per responder's port.

use crate::drive::Burst;
use crate::lab::{Lab, Sent};
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("long_and_short", "rules 1, 4, 9, 10", run);

const EXPECTED: &[Row] =
    &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080)), Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8443))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.peer.serve_tcp(REMOTE_POD, 8443)?;
    let agent = lab.agent().ready()?;
    let held = w.p1.actor().open(socket(REMOTE_POD, 8443))?;
    held.exchange(1_000, 2_000_000)?;
    agent.wait_sweeps(2)?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 200, 300, 4_000))?;
    held.exchange(500_000, 24)?;
    agent.wait_sweeps(2)?;
    held.exchange(24, 24)?;
    held.close()?;
    let truth = lab.truth()?;
    lab.sent_tcp(&truth, EXPECTED[0].flow(), Sent { connections: 200, up: 200 * 300, down: 200 * 4_000 })?;
    lab.sent_tcp(&truth, EXPECTED[1].flow(), Sent { connections: 1, up: 501_024, down: 2_000_048 })?;
    lab.settles(agent, EXPECTED)
}
