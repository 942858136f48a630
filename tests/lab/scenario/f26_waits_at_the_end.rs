//! What waits for its pod when the agent is stopped stands in the ledger, in the last log line and in the state file: the
//! next process delivers it once the API server has named the pod.

use std::time::Duration;

use netmon::clock;

use crate::agent::eventually;
use crate::api::{Api, pod};
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{self, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("f26_waits_at_the_end", "rules 8, 14", run).only(&[Source::Netfilter]);

const EXPECTED: &[Row] = &[Row::outbound("pod shop/job", P1, REMOTE_POD, tcp(8080))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let state = lab.file("state");
    let mut api = Api::start(lab);
    let start = || Ok::<_, String>(lab.agent_in_cluster(&api)?.flag("-state-dir", &state.to_string_lossy()));
    let agent = start()?.ready()?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 20, 100, 5_000))?;
    let truth = lab.truth()?;
    let bytes: u64 = rows::shown(EXPECTED, &truth).values().map(|counts| counts.total_bytes()).sum();
    eventually("all of it is held", Duration::from_secs(5), || match agent.metric("netmon_held_bytes")? as u64 {
        held if held == bytes && bytes > 0 => Ok(()),
        held => Err(format!("{held} bytes are held, {bytes} wait")),
    })?;
    let log = agent.log_file();
    agent.terminate()?;
    let log = std::fs::read_to_string(log).map_err(|error| error.to_string())?;
    let last = log.lines().last().unwrap_or_default();
    if !last.contains(&format!("the state file holds {bytes} bytes that DAKR has not acknowledged yet")) {
        return Err(format!("{bytes} bytes wait, and the last line says: {last}"));
    }

    let agent = start()?.ready()?;
    let held = agent.metric("netmon_held_bytes")? as u64;
    if held != bytes {
        return Err(format!("{bytes} bytes waited, and {held} are held by the next process"));
    }
    api.list(&[pod("job", 1, &[P1], (clock::now().wall_ns / clock::SECOND) as i64 - 600)])?;
    lab.shows(&agent, EXPECTED, &truth)?;
    lab.balances(&agent)?;
    agent.terminate()?;
    lab.received(&rows::pushed(EXPECTED, &truth), &rows::opened(EXPECTED, &truth).1)
}
