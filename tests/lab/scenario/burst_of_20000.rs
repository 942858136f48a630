//! 20,000 short connections as fast as the machine makes them, with timeouts so short that most end between sweeps.

use crate::drive::{Burst, Ending};
use crate::lab::{Lab, Sent};
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("burst_of_20000", "rules 1, 11", run).alone();

const EXPECTED: &[Row] =
    &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080)), Row::outbound(ADDRESS, P3, REMOTE_POD, tcp(8080))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    for state in ["time_wait", "close", "last_ack", "fin_wait", "close_wait"] {
        lab.node().sysctl(&format!("net/netfilter/nf_conntrack_tcp_timeout_{state}"), "1")?;
    }
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let agent = lab.agent().flag("-read-interval", "1s").ready()?;
    let burst = Burst::new(socket(REMOTE_POD, 8080), 10_000, 100, 1_000);
    w.p1.actor().start_burst(burst)?;
    w.p3.actor().start_burst(Burst { ending: Ending::Server, ..burst })?;
    w.p1.actor().finish()?;
    w.p3.actor().finish()?;
    let truth = lab.truth()?;
    for row in EXPECTED {
        lab.sent_tcp(&truth, row.flow(), Sent { connections: 10_000, up: 1_000_000, down: 10_000_000 })?;
    }
    lab.settles(agent, EXPECTED)
}
