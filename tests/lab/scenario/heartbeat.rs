//! DAKR hears at once that the agent lives, which parts it has and how they are.

use std::time::Duration;

use crate::agent::eventually;
use crate::lab::Lab;
use crate::scenario::Scenario;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("heartbeat", "DAKR's heartbeat", run);

/// `OPERATOR_TYPE_NETWORK`.
const NETWORK: i32 = 5;
/// Components that a standalone agent with a DAKR has at least.
const EXPECTED: &[&str] = &["monitor", "dakr_transport"];

fn run(lab: &Lab) -> Result<(), String> {
    let agent = lab.agent().ready()?;
    eventually("a heartbeat arrives", Duration::from_secs(5), || {
        if lab.dakr.heartbeats().is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })?;
    agent.terminate()?;
    // Every fault of the protocol in any request is an error here.
    lab.dakr.pushed()?;
    let beat = lab.dakr.heartbeats().remove(0);
    let named = |name: &&str| beat.components.iter().any(|c| c.name == **name);
    let worst = beat.components.iter().filter(|c| c.name != "dns").map(|c| c.status).max();
    if beat.operator_type == NETWORK
        && beat.cluster_id == "lab"
        && !beat.version.is_empty()
        && beat.uptime_since.is_some()
        && EXPECTED.iter().all(named)
        && worst == Some(beat.overall_status)
    {
        Ok(())
    } else {
        Err(format!("{beat:#?}"))
    }
}
