//! An agent that restarts without state counts no history again; what passed while none ran is nobody's.

use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{self, ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("restart", "rules 10, 14", run);

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let first = lab.agent().ready()?;
    let held = w.p1.actor().open(socket(REMOTE_POD, 8080))?;
    held.exchange(1_000, 1_000_000)?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 50, 100, 5_000))?;
    let by_first = lab.truth()?;
    lab.shows(&first, EXPECTED, &by_first)?;
    lab.delivers(first, EXPECTED, &by_first)?;

    held.exchange(3_000, 200_000)?;
    let between = lab.truth()?;

    let second = lab.agent().ready()?;
    held.exchange(5_000, 70_000)?;
    held.close()?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 50, 100, 5_000))?;
    let by_second = lab.truth()?.since(&between);
    lab.shows(&second, EXPECTED, &by_second)?;
    second.terminate()?;
    let want = rows::sum(&rows::pushed(EXPECTED, &by_first), &rows::pushed(EXPECTED, &by_second));
    let opened = rows::opened(EXPECTED, &lab.truth()?).1;
    lab.received(&want, &opened)
}
