//! On a host without pods the cgroups of sockets tell units and containers apart, whatever address they share; DAKR hears
//! of the host.

use std::time::Duration;

use crate::agent::eventually;
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, HOST, Row, tcp, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// Cilium mode leaves the node's own traffic out (rule 15).
pub const SCENARIO: Scenario =
    Scenario::new("bare_host", "rule 8", run).only(&[Source::Netfilter, Source::Ebpf, Source::Auto]);

const NGINX: &str = "unit nginx.service";
const BACKUP: &str = r"unit back\x1bup.service";
const DOCKER: &str = "container docker-3fa2b1c4d5e6";

const OF_THE_HOST: &[Row] = &[
    // Who answers, by the listening socket.
    Row::inbound(NGINX, WAN, OUTSIDE, tcp(8080)).outside(),
    Row::inbound(NGINX, NODE, PEER, udp(9200)),
    Row::inbound(HOST, NODE, PEER, tcp(22)),
    // Who asks, by the connected one.
    Row::outbound(NGINX, NODE, PEER, tcp(8444)),
    Row::outbound(BACKUP, WAN, OUTSIDE, tcp(443)).outside(),
    Row::outbound(DOCKER, NODE_V6, PEER_V6, tcp(8443)),
    Row::outbound(HOST, NODE, PEER, tcp(8443)),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.outside.serve_tcp(OUTSIDE, 443)?;
    w.outside.serve_tcp(OUTSIDE, 444)?;
    w.peer.serve_tcp(PEER, 8443)?;
    w.peer.serve_tcp(PEER, 8444)?;
    w.peer.serve_tcp(PEER_V6, 8443)?;
    w.node.serve_tcp(NODE, 22)?;
    let nginx = lab.process(&w.node, "system.slice/nginx.service")?;
    nginx.serve_tcp(socket("0.0.0.0", 8080))?;
    nginx.serve_udp(socket(NODE, 9200))?;
    let agent = lab.agent().ready()?;

    // Units and containers that begin while the agent runs: their first bytes are theirs.
    let id = "3fa2b1c4d5e6".to_owned() + &"0".repeat(52);
    let docker = lab.process(&w.node, &format!("system.slice/docker-{id}.scope"))?;
    let backup = lab.process(&w.node, "system.slice/back\u{1b}up.service")?;
    let held = [
        backup.open(socket(OUTSIDE, 443))?,
        docker.open(socket(PEER_V6, 8443))?,
        w.node.actor().open(socket(PEER, 8443))?,
    ];
    for connection in &held {
        connection.exchange(1_000, 20_000)?;
    }
    agent.wait_sweeps(2)?;
    let asks = nginx.open(socket(PEER, 8444))?;
    asks.exchange(1_000, 20_000)?;
    w.outside.actor().burst(Burst::new(socket(WAN, 8080), 20, 100, 5_000))?;
    w.peer.actor().burst(Burst::new(socket(NODE, 22), 20, 100, 7_000))?;
    w.peer.actor().udp(socket(NODE, 9200), 5, 4, 200, 300)?;
    // A container with a network of its own is told by the programs alone; both know that its range is local.
    let inner = lab.process(&w.p1, &format!("docker/{id}"))?;
    let own = inner.open(socket(OUTSIDE, 444))?;
    own.exchange(1_000, 20_000)?;
    let by = if lab.source.has_programs() { DOCKER } else { ADDRESS };
    let expected = [OF_THE_HOST, &[Row::outbound(by, P1, OUTSIDE, tcp(444)).outside()]].concat();
    eventually("series tell units and containers apart", Duration::from_secs(10), || {
        let series = agent.metrics()?;
        for (kind, name) in [("unit", "nginx.service"), ("container", "docker-3fa2b1c4d5e6"), ("", "")] {
            let labels = format!("namespace=\"\",pod=\"\",workload_kind=\"{kind}\",workload=\"{name}\"");
            let name = format!("netmon_traffic_bytes_total{{{labels},");
            if !series.keys().any(|key| key.starts_with(&name)) {
                return Err(format!("no {name} in {:?}", series.keys()));
            }
        }
        Ok(())
    })?;
    lab.settles(agent, &expected)
}
