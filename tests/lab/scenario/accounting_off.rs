//! Accounting is off at start: the agent switches it on. What began before shows no counters, ever, and is named.

use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{Wish, socket};

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("accounting_off", "rules 10, 12", run)
    .within(Wish { accounting: false, ..Wish::USUAL })
    .only(&[Source::Netfilter]);

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.peer.serve_tcp(REMOTE_POD, 8081)?;
    let held = w.p1.actor().open(socket(REMOTE_POD, 8081))?;
    held.exchange(1_000, 1_000_000)?;
    let agent = lab.agent().ready()?;
    held.exchange(1_000, 50_000)?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 50, 100, 5_000))?;
    lab.shows(&agent, EXPECTED, &lab.truth()?)?;
    if agent.metric("netmon_skipped_total{reason=\"no_counters\"}")? == 0.0 {
        return Err("the connection without counters is not named".to_owned());
    }
    lab.settles(agent, EXPECTED)
}
