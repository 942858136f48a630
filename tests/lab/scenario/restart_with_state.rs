//! An agent that restarts with its state file goes on where it stood: what passed while none ran is counted too, once;
//! a state file that is harmed is not used, and said and counted.

use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{self, ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("restart_with_state", "rules 10, 14", run).only(&[Source::Netfilter]);

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let state = lab.file("state");
    let start = || lab.agent().flag("-state-dir", &state.to_string_lossy());
    let first = start().ready()?;
    let held = w.p1.actor().open(socket(REMOTE_POD, 8080))?;
    held.exchange(1_000, 1_000_000)?;
    first.terminate()?;
    lab.received(&rows::pushed(EXPECTED, &lab.truth()?), &rows::opened(EXPECTED, &lab.truth()?).1)?;

    held.exchange(3_000, 200_000)?;
    // Born while no agent runs, and not at its end yet.
    let young = w.p1.actor().open(socket(REMOTE_POD, 8080))?;
    young.exchange(500, 20_000)?;

    let second = start().ready()?;
    held.exchange(5_000, 70_000)?;
    young.close()?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 50, 100, 5_000))?;
    second.wait_sweeps(2)?;
    second.terminate()?;
    let whole = lab.truth()?;
    lab.received(&rows::pushed(EXPECTED, &whole), &rows::opened(EXPECTED, &whole).1)?;

    let file = state.join("state");
    let mut bytes = std::fs::read(&file).map_err(|e| format!("no state file: {e}"))?;
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).map_err(|e| format!("cannot harm the state file: {e}"))?;
    held.exchange(9_000, 90_000)?;
    let before = lab.truth()?;
    let third = start().ready()?;
    if third.metric("netmon_state_failures_total")? != 1.0
        || !third.log_tail().contains("is not used, the agent starts afresh")
    {
        return Err(format!("a harmed state file is neither counted nor named:\n{}", third.log_tail()));
    }
    held.exchange(2_000, 30_000)?;
    held.close()?;
    third.wait_sweeps(2)?;
    third.terminate()?;
    let by_third = lab.truth()?.since(&before);
    let want = rows::sum(&rows::pushed(EXPECTED, &whole), &rows::pushed(EXPECTED, &by_third));
    lab.received(&want, &rows::opened(EXPECTED, &lab.truth()?).1)
}
