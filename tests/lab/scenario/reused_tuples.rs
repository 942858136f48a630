//! The same ports again and again: a new connection under an old name is counted from zero, the old one to its end.

use crate::drive::{Burst, Ending};
use crate::lab::{Lab, Sent};
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("reused_tuples", "rules 10, 11", run);

const EXPECTED: &[Row] =
    &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080)), Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8081))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.peer.serve_tcp(REMOTE_POD, 8081)?;
    let agent = lab.agent().ready()?;
    // The server closes first, so the client's port is free at once and the next SYN reopens the entry in TIME_WAIT.
    let closed =
        Burst { ports: (40_000, 40), ending: Ending::Server, ..Burst::new(socket(REMOTE_POD, 8080), 4_000, 100, 900) };
    w.p1.actor().burst(closed)?;
    let reset =
        Burst { ports: (50_000, 40), ending: Ending::Reset, ..Burst::new(socket(REMOTE_POD, 8081), 4_000, 100, 900) };
    w.p1.actor().burst(reset)?;
    let truth = lab.truth()?;
    let sent = Sent { connections: 4_000, up: 400_000, down: 3_600_000 };
    lab.sent_tcp(&truth, EXPECTED[0].flow(), sent)?;
    lab.sent_tcp(&truth, EXPECTED[1].flow(), sent)?;
    lab.settles(agent, EXPECTED)
}
