//! DAKR refuses, then takes what it says it did not take, then recovers: every byte arrives, and once.

use std::time::Duration;

use crate::agent::eventually;
use crate::dakr::Mood;
use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("dakr_fails", "rule 14", run);

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let agent = lab.agent().ready()?;
    for mood in [Mood::Refuse, Mood::Take, Mood::TakeAndFail, Mood::Take] {
        lab.dakr.set_mood(mood);
        let seen = lab.dakr.requests().len();
        w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 20, 100, 3_000))?;
        // Each failure in a row makes the next wait longer.
        eventually(
            &format!("something is sent while DAKR is in the mood to {mood:?}"),
            Duration::from_secs(20),
            || {
                if lab.dakr.requests().len() > seen { Ok(()) } else { Err("nothing came".to_owned()) }
            },
        )?;
    }
    lab.settles(agent, EXPECTED)
}
