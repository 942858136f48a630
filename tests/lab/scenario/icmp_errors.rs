//! An ICMP error about a connection is in no row: nobody listens, every datagram is answered with "port unreachable".

use crate::lab::Lab;
use crate::rows::{ADDRESS, Row, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("icmp_errors", "rule 1", run);

const EXPECTED: &[Row] =
    &[Row::outbound(ADDRESS, P1, REMOTE_POD, udp(5399)), Row::outbound(ADDRESS, P1_V6, REMOTE_POD_V6, udp(5399))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    let agent = lab.agent().ready()?;
    for to in [REMOTE_POD, REMOTE_POD_V6] {
        w.p1.actor().udp(socket(to, 5399), 20, 1, 100, 0)?;
    }
    let errors = w.p1.netns.run(&["nstat", "-asz", "IcmpInDestUnreachs", "Icmp6InDestUnreachs"], "")?;
    let received = errors.lines().filter(|l| l.starts_with("Icmp") && l.split_whitespace().nth(1) != Some("0")).count();
    if received != 2 {
        return Err(format!("no ICMP errors came back:\n{errors}"));
    }
    let truth = lab.truth()?;
    for row in EXPECTED {
        lab.sent_datagrams(&truth, row.flow(), (20, 100), (0, 0))?;
    }
    lab.settles(agent, EXPECTED)
}
