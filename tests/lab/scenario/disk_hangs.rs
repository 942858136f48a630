//! The disk under the state file hangs: counting and sending go on, it is said and counted, and the agent still ends in
//! time with everything delivered.

use std::time::Duration;

use netmon::clock::{self, SECOND};

use crate::agent::eventually;
use crate::drive::Burst;
use crate::hang::Hang;
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("disk_hangs", "rule 14", run).only(&[Source::Netfilter]);

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let state = lab.file("state");
    let agent = lab.agent().flag("-state-dir", &state.to_string_lossy()).ready()?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 20, 100, 3_000))?;
    let _hang = Hang::on(&state).map_err(|error| format!("cannot make the folder hang: {error}"))?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 20, 100, 3_000))?;
    eventually("the late disk is counted", Duration::from_secs(20), || {
        let failures = agent.metric("netmon_state_failures_total")?;
        if failures > 0.0 { Ok(()) } else { Err("it is not".to_owned()) }
    })?;
    if !agent.log_tail().contains("the disk did not answer for 5 s; the agent pushes on without it") {
        return Err(format!("the late disk is not named:\n{}", agent.log_tail()));
    }
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 20, 100, 3_000))?;
    let truth = lab.truth()?;
    lab.shows(&agent, EXPECTED, &truth)?;
    let began_ns = clock::now().mono_ns;
    lab.delivers(agent, EXPECTED, &truth)?;
    let took_ns = clock::now().mono_ns - began_ns;
    if took_ns > 16 * SECOND {
        return Err(format!("the end took {} s", took_ns / SECOND));
    }
    Ok(())
}
