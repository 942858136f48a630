//! A NodePort whose backend runs on another node: the node passes it on, the bytes cross its wire twice, and two rows
//! of the host say so, both with the address that was asked and the backend's port.

use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{HOST, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{NODE_PORT_REMOTE, socket};

/// BPF at sockets does not see what is forwarded, Cilium has entries for some of it (rule 15).
pub const SCENARIO: Scenario =
    Scenario::new("nodeport_remote", "rules 5, 9", run).only(&[Source::Netfilter, Source::Auto]);

const EXPECTED: &[Row] = &[
    Row::inbound(HOST, WAN, OUTSIDE, tcp(8080)).outside().carried(OUTSIDE, REMOTE_POD),
    Row::outbound(HOST, WAN, REMOTE_POD, tcp(8080)).carried(OUTSIDE, REMOTE_POD),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    let agent = lab.agent().ready()?;
    w.outside.actor().burst(Burst::new(socket(WAN, NODE_PORT_REMOTE), 20, 100, 30_000))?;
    lab.settles(agent, EXPECTED)
}
