//! Pods in the node's network are told from the node and from each other by the cgroups of their sockets, as kubelets
//! make them with either driver. What they send before the API server names them waits.

use std::time::Duration;

use netmon::clock;

use crate::agent::eventually;
use crate::api::{Api, host_pod, pod};
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{HOST, Row, tcp, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// Cilium mode leaves the node's own traffic out (rule 15).
pub const SCENARIO: Scenario =
    Scenario::new("host_network", "rules 8, 9", run).only(&[Source::Netfilter, Source::Ebpf, Source::Auto]);

const WEB: &str = "pod shop/web";
const EXPORTER: &str = "pod shop/exporter";
const PROXY: &str = "pod shop/proxy";

const EXPECTED: &[Row] = &[
    // Who answers, by the listening socket.
    Row::outbound(WEB, P1, NODE, tcp(9100)),
    Row::inbound(EXPORTER, NODE, P1, tcp(9100)),
    Row::inbound(EXPORTER, WAN, OUTSIDE, tcp(9100)).outside(),
    Row::outbound(WEB, P1, NODE, udp(9200)),
    Row::inbound(PROXY, NODE, P1, udp(9200)),
    Row::outbound(WEB, P1, NODE, tcp(22)),
    Row::inbound(HOST, NODE, P1, tcp(22)),
    // Who asks, by the connected one.
    Row::outbound(PROXY, WAN, OUTSIDE, tcp(443)).outside(),
    Row::outbound(EXPORTER, NODE_V6, PEER_V6, tcp(8443)),
    Row::outbound(HOST, NODE, PEER, tcp(8443)),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    let systemd = "kubepods.slice/kubepods-burstable.slice/\
        kubepods-burstable-pod00000001_0000_4000_8000_000000000000.slice/cri-containerd-e.scope";
    let exporter = lab.process(&w.node, systemd)?;
    exporter.serve_tcp(socket("0.0.0.0", 9100))?;
    w.node.serve_tcp(NODE, 22)?;
    w.outside.serve_tcp(OUTSIDE, 443)?;
    w.peer.serve_tcp(PEER, 8443)?;
    w.peer.serve_tcp(PEER_V6, 8443)?;
    let mut api = Api::start(lab);
    let agent = lab.agent_in_cluster(&api)?.ready()?;

    // A pod that comes while the agent runs.
    let proxy = lab.process(&w.node, "kubepods/besteffort/pod00000002-0000-4000-8000-000000000000/4d5c1b2a")?;
    proxy.serve_udp(socket(NODE, 9200))?;
    let held = [
        proxy.open(socket(OUTSIDE, 443))?,
        exporter.open(socket(PEER_V6, 8443))?,
        w.node.actor().open(socket(PEER, 8443))?,
    ];
    for connection in &held {
        connection.exchange(1_000, 20_000)?;
    }
    w.p1.actor().burst(Burst::new(socket(NODE, 9100), 20, 100, 5_000))?;
    w.outside.actor().burst(Burst::new(socket(WAN, 9100), 20, 100, 6_000))?;
    w.p1.actor().burst(Burst::new(socket(NODE, 22), 20, 100, 7_000))?;
    w.p1.actor().udp(socket(NODE, 9200), 5, 4, 200, 300)?;
    eventually("what has no owner yet is held", Duration::from_secs(5), || {
        let held = agent.metric("netmon_held_bytes")?;
        if held > 0.0 { Ok(()) } else { Err("nothing is held".to_owned()) }
    })?;
    agent.wait_sweeps(2)?;

    let since_s = (clock::now().wall_ns / clock::SECOND) as i64 - 600;
    let pods = [
        pod("web", 3, &[P1, P1_V6], since_s),
        host_pod("exporter", 1, NODE, since_s),
        host_pod("proxy", 2, NODE, since_s),
    ];
    api.list(&pods)?;
    agent.wait_sweeps(2)?;
    for connection in &held {
        connection.exchange(500, 10_000)?;
    }
    lab.settles(agent, EXPECTED)
}
