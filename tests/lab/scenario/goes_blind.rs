//! Traffic that nobody tracks is not counted, and the agent says on which interface it is blind; once it sees again it
//! says that too.

use std::time::Duration;

use crate::agent::{DEGRADED, eventually};
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// BPF sees what conntrack is told not to track.
pub const SCENARIO: Scenario = Scenario::new("goes_blind", "rule 16", run).only(&[Source::Netfilter]);

/// Only what p3 sends is tracked.
const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P3, OUTSIDE, tcp(80)).outside()];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    lab.node().nft(&format!(
        "table inet lab_blind {{
            chain early {{ type filter hook prerouting priority raw; ip saddr {P1} notrack; ip daddr {P1} notrack; }}
        }}"
    ))?;
    w.outside.serve_tcp(OUTSIDE, 80)?;
    let agent = lab.agent().ready()?;
    let untracked = w.p1.actor().open(socket(OUTSIDE, 80))?;
    eventually("the agent says that it is blind", Duration::from_secs(20), || {
        untracked.exchange(1_000, 2_000_000)?;
        let (status, message) = agent.monitor()?;
        if status == DEGRADED && message.contains("wan0") && message.contains("unexplained") {
            Ok(())
        } else {
            Err(format!("{status}: {message}"))
        }
    })?;
    let tracked = w.p3.actor().open(socket(OUTSIDE, 80))?;
    eventually("the agent says that it sees", Duration::from_secs(20), || {
        tracked.exchange(1_000, 2_000_000)?;
        let (status, message) = agent.monitor()?;
        // The rule is there still, and what it matches is not counted.
        let sees = status == DEGRADED && message.contains("notrack") && !message.contains("unexplained");
        if sees { Ok(()) } else { Err(format!("{status}: {message}")) }
    })?;
    lab.truth()?;
    agent.wait_sweeps(2)?;
    for (flags, status) in [(&[][..], 1), (&["-for", "1s"], 0)] {
        let (ended, said) = agent.audit(flags)?;
        if ended != Some(status) || said["closes"] != (status == 0) {
            return Err(format!("audit {flags:?} ends with {ended:?}: {said}"));
        }
    }
    w.p3.actor().burst(Burst::new(socket(OUTSIDE, 80), 5, 100, 1_000))?;
    lab.settles(agent, EXPECTED)
}
