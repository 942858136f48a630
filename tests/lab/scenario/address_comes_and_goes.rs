//! An address that the node gains is the host's from then on; when it goes, what its connections carried still is.

use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{HOST, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// Cilium mode leaves the node's own traffic out (rule 15).
pub const SCENARIO: Scenario =
    Scenario::new("address_comes_and_goes", "rules 2, 8; local ends of the standalone mode", run).only(&[
        Source::Netfilter,
        Source::Ebpf,
        Source::Auto,
    ]);

const GUEST: &str = "10.10.0.77";
const EXPECTED: &[Row] = &[Row::inbound(HOST, GUEST, PEER, tcp(9100)), Row::outbound(HOST, GUEST, PEER, tcp(9101))];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(PEER, 9101)?;
    // So slow that the address has gone again before the sweep that sees its connections.
    let agent = lab.agent().flag("-read-interval", "3s").ready()?;
    lab.node().ip(&format!("addr add {GUEST}/32 dev eth0\nroute replace {PEER} dev eth0 src {GUEST}\n"))?;
    w.node.serve_tcp(GUEST, 9100)?;
    w.peer.actor().burst(Burst::new(socket(GUEST, 9100), 20, 100, 5_000))?;
    w.node.actor().burst(Burst::new(socket(PEER, 9101), 20, 100, 5_000))?;
    lab.node().ip(&format!("addr del {GUEST}/32 dev eth0\nroute replace {PEER} dev eth0 src {NODE}\n"))?;
    lab.settles(agent, EXPECTED)
}
