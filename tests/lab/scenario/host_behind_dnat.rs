//! A process on the node's network behind destination NAT: one row, in both directions, though its socket is seen to receive at one address and to send from another.

use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{HOST, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head. Cilium's maps tell nothing of the node.
pub const SCENARIO: Scenario =
    Scenario::new("host_behind_dnat", "rules 3, 4", run).only(&[Source::Netfilter, Source::Ebpf, Source::Auto]);

const EXPECTED: &[Row] =
    &[Row::inbound(HOST, NODE, OUTSIDE, tcp(9443)).outside(), Row::inbound(HOST, NODE, PEER, tcp(9443))];

const NAT: &str = "table ip lab_dnat {
    chain arriving {
        type nat hook prerouting priority dstnat;
        ip daddr { 203.0.113.1, 10.10.0.1 } tcp dport 31099 dnat to 10.10.0.1:9443
    }
}";

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    lab.node().nft(NAT)?;
    w.node.serve_tcp(NODE, 9443)?;
    let agent = lab.agent().ready()?;
    w.outside.actor().burst(Burst::new(socket(WAN, 31099), 20, 100, 30_000))?;
    w.peer.actor().burst(Burst::new(socket(NODE, 31099), 20, 200, 3_000))?;
    lab.settles(agent, EXPECTED)
}
