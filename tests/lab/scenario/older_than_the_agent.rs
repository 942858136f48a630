//! A connection older than the agent is counted from the first sweep on, never before, and to its end.

use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("older_than_the_agent", "rule 10", run);

/// Of the first only what passes while the agent runs; the second began and ended before it, and is nowhere.
const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.peer.serve_tcp(REMOTE_POD, 8081)?;
    let held = w.p1.actor().open(socket(REMOTE_POD, 8080))?;
    held.exchange(1_000, 1_000_000)?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8081), 50, 100, 5_000))?;
    let before = lab.truth()?;
    let agent = lab.agent().ready()?;
    held.exchange(2_000, 30_000)?;
    agent.wait_sweeps(2)?;
    held.exchange(40_000, 100)?;
    held.reset()?;
    let truth = lab.truth()?.since(&before);
    lab.shows(&agent, EXPECTED, &truth)?;
    lab.delivers(agent, EXPECTED, &truth)
}
