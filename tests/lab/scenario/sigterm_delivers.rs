//! SIGTERM sweeps once more and delivers all that was counted, though neither a sweep nor a flush was due, and though the
//! signal is told twice, as timeout(1) does.

use nix::sys::signal::Signal;

use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("sigterm_delivers", "rules 11, 14", run);

const EXPECTED: &[Row] =
    &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080)), Row::outbound(ADDRESS, P3, OUTSIDE, tcp(443)).outside()];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.outside.serve_tcp(OUTSIDE, 443)?;
    let agent = lab.agent().flag("-read-interval", "30s").environment("FLUSH_INTERVAL", "60s").ready()?;
    let held = w.p1.actor().open(socket(REMOTE_POD, 8080))?;
    held.exchange(1_000, 1_000_000)?;
    w.p3.actor().burst(Burst::new(socket(OUTSIDE, 443), 100, 100, 5_000))?;
    let truth = lab.truth()?;
    agent.signal(Signal::SIGTERM)?;
    lab.delivers(agent, EXPECTED, &truth)
}
