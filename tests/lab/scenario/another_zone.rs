//! Zone 0 holds no local end: pods count in the zone that does.

use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("another_zone", "rule 7", run).only(&[Source::Netfilter, Source::Auto]);

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];
const ZONES: &str = "table inet lab_zones {
    chain arriving { type filter hook prerouting priority raw; ct zone set 7; }
    chain leaving { type filter hook output priority raw; oifname != lo ct zone set 7; }
}";

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    lab.node().nft(ZONES)?;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let held = w.p1.actor().open(socket(REMOTE_POD, 8080))?;
    held.exchange(100, 100)?;
    let before = lab.truth()?;
    let agent = lab.agent().ready()?;
    agent.wait_sweeps(1)?;
    held.exchange(1_000, 300_000)?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 50, 100, 5_000))?;
    let truth = lab.truth()?.since(&before);
    lab.shows(&agent, EXPECTED, &truth)?;
    lab.delivers(agent, EXPECTED, &truth)
}
