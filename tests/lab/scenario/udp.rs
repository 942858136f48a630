//! UDP: many sockets, answered and unanswered, both families, in all directions.

use crate::lab::Lab;
use crate::rows::{ADDRESS, HOST, Row, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("udp", "rules 1, 2, 4", run);

const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1, REMOTE_POD, udp(5353)),
    Row::outbound(ADDRESS, P1_V6, REMOTE_POD_V6, udp(5353)),
    Row::outbound(ADDRESS, P3, OUTSIDE, udp(53)).outside(),
    Row::inbound(HOST, NODE, PEER, udp(5355)),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_udp(REMOTE_POD, 5353)?;
    w.peer.serve_udp(REMOTE_POD_V6, 5353)?;
    w.outside.serve_udp(OUTSIDE, 53)?;
    w.node.serve_udp(NODE, 5355)?;
    let agent = lab.agent().ready()?;
    w.p1.actor().udp(socket(REMOTE_POD, 5353), 100, 3, 100, 1_200)?;
    w.p1.actor().udp(socket(REMOTE_POD_V6, 5353), 50, 2, 64, 400)?;
    w.p3.actor().udp(socket(OUTSIDE, 53), 100, 1, 40, 120)?;
    w.peer.actor().udp(socket(NODE, 5355), 100, 2, 500, 0)?;
    let truth = lab.truth()?;
    lab.sent_datagrams(&truth, EXPECTED[0].flow(), (300, 100), (300, 1_200))?;
    lab.sent_datagrams(&truth, EXPECTED[1].flow(), (100, 64), (100, 400))?;
    lab.sent_datagrams(&truth, EXPECTED[2].flow(), (100, 40), (100, 120))?;
    lab.sent_datagrams(&truth, EXPECTED[3].flow(), (200, 500), (0, 0))?;
    lab.settles(agent, EXPECTED)
}
