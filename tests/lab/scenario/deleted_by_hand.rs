//! Connections that somebody deletes from conntrack: each end is counted, and so are its bytes.

use std::time::Duration;

use crate::agent::eventually;
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, Row, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario =
    Scenario::new("deleted_by_hand", "rule 11", run).only(&[Source::Netfilter, Source::Auto]);

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, udp(5353))];
const CONNECTIONS: u16 = 20;

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_udp(REMOTE_POD, 5353)?;
    let agent = lab.agent().ready()?;
    w.p1.actor().udp(socket(REMOTE_POD, 5353), CONNECTIONS, 1, 72, 0)?;
    agent.wait_sweeps(1)?;
    let ends = || agent.metric("netmon_ends_total");
    let before = ends()?;
    // `conntrack -D -p udp`, until none is left.
    lab.end_connections("udp")?;
    eventually("each end is counted", Duration::from_secs(10), || match ends()? - before {
        counted if counted == f64::from(CONNECTIONS) => Ok(()),
        counted => Err(format!("{counted} ends were counted, {CONNECTIONS} connections were deleted")),
    })?;
    lab.settles(agent, EXPECTED)
}
