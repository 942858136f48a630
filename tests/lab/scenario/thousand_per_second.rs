//! 1,000 connections a second for a minute (LAB_HURRY=1: for ten seconds), ending all the while.

use crate::drive::{Burst, Ending};
use crate::lab::{Lab, Sent};
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("thousand_per_second", "rules 1, 11", run).alone();

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080))];
const PER_SECOND: u64 = 1_000;

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    lab.node().sysctl("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "2")?;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let agent = lab.agent().flag("-read-interval", "5s").ready()?;
    let seconds = if std::env::var_os("LAB_HURRY").is_some() { 10 } else { 60 };
    let connections = PER_SECOND * seconds;
    let burst = Burst::new(socket(REMOTE_POD, 8080), connections, 100, 1_000);
    let took_ms = w.p1.actor().burst(Burst { per_second: PER_SECOND, ending: Ending::Server, ..burst })?;
    if took_ms > seconds * 1_500 {
        return Err(format!("{connections} connections took {took_ms} ms: the machine is too busy for this load"));
    }
    let truth = lab.truth()?;
    let sent = Sent { connections, up: 100 * connections, down: 1_000 * connections };
    lab.sent_tcp(&truth, EXPECTED[0].flow(), sent)?;
    lab.settles(agent, EXPECTED)
}
