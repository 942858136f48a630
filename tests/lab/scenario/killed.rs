//! An agent that is killed takes with it what it had not delivered, and its successor counts none of it again.

use nix::sys::signal::Signal;

use netmon::clock;

use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{self, ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("killed", "rules 10, 14", run);

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let first = lab.agent().ready()?;
    let held = w.p1.actor().open(socket(REMOTE_POD, 8080))?;
    for _ in 0..20 {
        held.exchange(1_000, 50_000)?;
        w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 5, 100, 1_000))?;
        clock::sleep_ns(100 * clock::MS);
    }
    first.signal(Signal::SIGKILL)?;
    drop(first);
    // What was under way to DAKR has arrived or never will.
    clock::sleep_ns(300 * clock::MS);
    let delivered = lab.dakr.pushed()?;
    let before = lab.truth()?;

    let second = lab.agent().ready()?;
    held.exchange(5_000, 70_000)?;
    held.close()?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 20, 100, 5_000))?;
    let by_second = lab.truth()?.since(&before);
    lab.shows(&second, EXPECTED, &by_second)?;
    second.terminate()?;
    let want = rows::sum(&delivered, &rows::pushed(EXPECTED, &by_second));
    lab.received(&want, &rows::opened(EXPECTED, &by_second).1)
}
