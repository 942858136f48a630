//! Whatever crosses an uplink is counted or named, to the byte: each kind of traffic, with the interface counting what
//! packets are cut from and with it counting frames.

use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, eventually};
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// Cilium's maps do not hold the node's own traffic.
pub const SCENARIO: Scenario = Scenario::new("books_close", "rule 19", run).only(&[Source::Netfilter, Source::Ebpf]);

const TUNNEL_POD: &str = "10.244.3.10";

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    tunnel(lab)?;
    for at in [OUTSIDE, OUTSIDE_V6] {
        w.outside.serve_tcp(at, 80)?;
    }
    for at in [REMOTE_POD, REMOTE_POD_V6, TUNNEL_POD] {
        w.peer.serve_tcp(at, 8080)?;
    }
    w.peer.serve_udp(REMOTE_POD, 5354)?;
    w.p2.serve_tcp(P2, 8080)?;
    let agent = lab.agent().ready()?;
    // An uplink of a node without devices is audited from its first row on.
    for to in [socket(OUTSIDE, 80), socket(REMOTE_POD, 8080)] {
        w.p1.actor().burst(Burst::new(to, 1, 100, 100))?;
    }
    eventually("eth0 and wan0 are audited", Duration::from_secs(8), || {
        let found = sides(&agent)?;
        if found.len() == 4 { Ok(()) } else { Err(format!("{found:?}")) }
    })?;
    let small = Burst::new(socket(OUTSIDE, 80), 200, 100, 300);
    let large = |to| Burst::new(to, 2, 3_000_000, 3_000_000);
    let p1 = w.p1.actor();
    let both = |name: &str| -> Result<(), String> {
        closes(lab, &agent, &format!("short connections{name}"), || p1.burst(small).map(|_| ()))?;
        closes(lab, &agent, &format!("TCP{name}"), || p1.burst(large(socket(OUTSIDE, 80))).map(|_| ()))?;
        closes(lab, &agent, &format!("IPv6{name}"), || p1.burst(large(socket(OUTSIDE_V6, 80))).map(|_| ()))?;
        closes(lab, &agent, &format!("between two pods{name}"), || p1.burst(large(socket(P2, 8080))).map(|_| ()))
    };
    both("")?;
    closes(lab, &agent, "small UDP", || p1.udp(socket(REMOTE_POD, 5354), 5, 100, 64, 64))?;
    closes(lab, &agent, "large UDP", || p1.udp(socket(REMOTE_POD, 5354), 5, 20, 1_400, 1_400))?;
    closes(lab, &agent, "NodePort", || {
        w.outside.actor().burst(Burst::new(socket(WAN, 30_080), 20, 100, 30_000)).map(|_| ())
    })?;
    let within = Burst::new(socket(TUNNEL_POD, 8080), 20, 100, 30_000);
    closes(lab, &agent, "VXLAN", || w.p3.actor().burst(within).map(|_| ()))?;
    if lab.source == Source::Netfilter {
        // BPF sees neither what has no socket here nor fragments of what is sent.
        closes(lab, &agent, "what is forwarded", || {
            w.outside.actor().burst(Burst::new(socket(WAN, 30_081), 20, 100, 30_000)).map(|_| ())
        })?;
        closes(lab, &agent, "fragmented UDP", || p1.udp(socket(REMOTE_POD, 5354), 5, 4, 8_000, 8_000))?;
    }
    for (netns, device) in [(lab.node(), "wan0"), (&w.outside.netns, "eth0")] {
        // A packet of more segments than that is cut before the driver sees it.
        netns.ip(&format!("link set {device} gso_max_segs 1\n"))?;
    }
    let before = part(&sides(&agent)?, "wan0", "tx", "segmentation");
    both(" without offloads")?;
    let after = part(&sides(&agent)?, "wan0", "tx", "segmentation");
    if before != 0 || after < 50_000 {
        return Err(format!("segmentation was {before} and is {after} bytes where frames are counted"));
    }
    agent.terminate()
}

/// vxlan1 between the nodes, with a pod behind it.
fn tunnel(lab: &Lab) -> Result<(), String> {
    let end = |own_mac: &str, local: &str, remote: &str| {
        format!(
            "link set eth0 mtu 1600
             link add vxlan1 address {own_mac} type vxlan id 1 dev eth0 local {local} remote {remote} dstport 4789 nolearning
             link set vxlan1 addrgenmode none mtu 1500\n"
        )
    };
    lab.node().ip(&end("02:00:00:00:04:01", NODE, PEER))?;
    lab.world.peer.netns.ip(&end("02:00:00:00:04:02", PEER, NODE))?;
    for netns in [lab.node(), &lab.world.peer.netns] {
        // Or the kernel tells multicast listeners of the tunnel's IPv6 through the tunnel.
        netns.sysctl("net/ipv6/conf/vxlan1/disable_ipv6", "1")?;
    }
    lab.node().ip(&format!(
        "link set vxlan1 up\nroute add {TUNNEL_POD} dev vxlan1\n\
         neigh replace {TUNNEL_POD} lladdr 02:00:00:00:04:02 dev vxlan1 nud permanent\n"
    ))?;
    lab.world.peer.netns.ip(&format!(
        "link set vxlan1 up\naddr add {TUNNEL_POD}/32 dev vxlan1\nroute add {P3} dev vxlan1\n\
         neigh replace {P3} lladdr 02:00:00:00:04:01 dev vxlan1 nud permanent\n"
    ))
}

/// The equations of all uplinks, as `/flows` shows them.
fn sides(agent: &Agent<'_>) -> Result<Vec<Value>, String> {
    agent.flows()?["interfaces"].as_array().cloned().ok_or_else(|| "/flows has no interfaces".to_owned())
}

fn part(sides: &[Value], interface: &str, flow: &str, part: &str) -> i64 {
    let side = sides.iter().find(|side| side["interface"] == interface && side["flow"] == flow);
    side.and_then(|side| side["parts"][part].as_i64()).unwrap_or(i64::MIN)
}

/// After this traffic nothing is unexplained anywhere.
fn closes(
    lab: &Lab,
    agent: &Agent<'_>,
    what: &str,
    traffic: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    traffic()?;
    lab.truth()?;
    let swept = || agent.flows().map(|flows| flows["swept"].to_string());
    // A snapshot is up to a second old, and a sweep may have been under way.
    for _ in 0..2 {
        let before = swept()?;
        eventually("another sweep is shown", Duration::from_secs(8), || {
            let now = swept()?;
            if now == before { Err(now) } else { Ok(()) }
        })?;
    }
    eventually(&format!("the books close after {what}"), Duration::from_secs(8), || {
        let sides = sides(agent)?;
        match sides.iter().find(|side| side["parts"]["unexplained"] != 0) {
            None => Ok(()),
            Some(side) => Err(side.to_string()),
        }
    })
}
