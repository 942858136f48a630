//! Connections older than accounting have no counters in conntrack, ever: in mode auto the programs count them, of pods
//! and of the node, and nothing is degraded.

use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, HOST, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{Wish, socket};

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("older_than_accounting", "rule 21", run)
    .within(Wish { accounting: false, ..Wish::USUAL })
    .only(&[Source::Auto]);

const EXPECTED: &[Row] =
    &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8081)), Row::outbound(HOST, NODE, PEER, tcp(8443))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8081)?;
    w.peer.serve_tcp(PEER, 8443)?;
    let of_pod = w.p1.actor().open(socket(REMOTE_POD, 8081))?;
    let of_node = w.node.actor().open(socket(PEER, 8443))?;
    of_pod.exchange(1_000, 1_000_000)?;
    of_node.exchange(1_000, 1_000_000)?;
    let before = lab.truth()?;
    let agent = lab.agent().ready()?;
    of_pod.exchange(1_000, 50_000)?;
    of_node.exchange(2_000, 60_000)?;
    agent.wait_sweeps(2)?;
    of_pod.exchange(1_000, 50_000)?;
    of_node.exchange(2_000, 60_000)?;
    let truth = lab.truth()?.since(&before);
    lab.shows(&agent, EXPECTED, &truth)?;
    if agent.metric("netmon_connections_uncounted")? == 0.0 {
        return Err("the connections without counters are not told".to_owned());
    }
    lab.delivers(agent, EXPECTED, &truth)
}
