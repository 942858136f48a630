//! Whatever crosses an uplink is counted or named, to the byte: each kind of traffic, with the interface counting what
//! packets are cut from and with it counting frames.

use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, eventually};
use crate::capture::Capture;
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{ip, socket};

/// Cilium's maps do not hold the node's own traffic.
pub const SCENARIO: Scenario =
    Scenario::new("books_close", "rule 19", run).only(&[Source::Netfilter, Source::Ebpf, Source::Auto]);

/// Pods of the peer's: behind a tunnel, a VLAN and a bridge, and a neighbour that has to be asked for.
const TUNNEL_POD: &str = "10.244.3.10";
const VLAN_POD: &str = "10.244.3.11";
const BRIDGE_POD: &str = "10.244.3.13";
const ARP_POD: &str = "10.244.3.12";

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    tunnel(lab)?;
    bridge(lab)?;
    let has_vlans = vlans(lab)?;
    for at in [OUTSIDE, OUTSIDE_V6] {
        w.outside.serve_tcp(at, 80)?;
    }
    for at in [REMOTE_POD, REMOTE_POD_V6, TUNNEL_POD, BRIDGE_POD] {
        w.peer.serve_tcp(at, 8080)?;
    }
    if has_vlans {
        w.peer.serve_tcp(VLAN_POD, 8080)?;
    }
    for at in [REMOTE_POD, ARP_POD, BRIDGE_POD] {
        w.peer.serve_udp(at, 5354)?;
    }
    w.outside.serve_udp(OUTSIDE, 5354)?;
    w.p2.serve_tcp(P2, 8080)?;
    let agent = lab.agent().ready()?;
    // An uplink of a node without devices is audited from its first row on: of one packet, so that none is under way then.
    for to in [OUTSIDE, REMOTE_POD, BRIDGE_POD] {
        w.p1.actor().udp(socket(to, 5354), 1, 1, 64, 0)?;
    }
    eventually("eth0, wan0, the bridge and the VLAN are audited", Duration::from_secs(8), || {
        let found = sides(&agent)?;
        if found.len() == if has_vlans { 8 } else { 6 } { Ok(()) } else { Err(format!("{found:?}")) }
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
    headers(lab, &agent, "bridge", "br1", BRIDGE_POD)?;
    if has_vlans {
        headers(lab, &agent, "VLAN", "eth0.7", VLAN_POD)?;
        let of_vlans = part(&sides(&agent)?, "eth0", "rx", "vlans");
        if of_vlans < 1_000 {
            return Err(format!("{of_vlans} bytes of eth0 are the VLAN's"));
        }
    }
    arp(lab, &agent)?;
    many(lab, &agent)?;
    if lab.source != Source::Ebpf {
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
    match agent.audit(&[])? {
        (Some(0), said) if said["closes"] == true && is_explained(lab, &said["unexplained"]) => agent.terminate(),
        said => Err(format!("audit ends with {said:?}")),
    }
}

/// The kernel counts frames of VLANs and bridges with a header where they are sent and without one where they are
/// received: if that were not measured, 14 bytes of each were unexplained.
fn headers(lab: &Lab, agent: &Agent<'_>, what: &str, interface: &str, pod: &str) -> Result<(), String> {
    let p2 = lab.world.p2.actor();
    eventually(&format!("the headers of the {what} are measured"), Duration::from_secs(20), || {
        // Few packets, which two sweeps seldom share.
        p2.burst(Burst::new(socket(pod, 8080), 1, 100, 300))?;
        sweep_twice(lab, agent)?;
        let sides = sides(agent)?;
        for (flow, header) in [("tx", 14), ("rx", 0)] {
            let side = sides.iter().find(|side| side["interface"] == interface && side["flow"] == flow);
            let side = side.ok_or_else(|| format!("{interface} is not audited"))?;
            if side["header"] != "measured" || side["header_bytes"] != header {
                return Err(side.to_string());
            }
        }
        Ok(())
    })?;
    closes(lab, agent, what, || p2.burst(Burst::new(socket(pod, 8080), 20, 100, 30_000)).map(|_| ()))
}

/// ARP is all that is not IP here, and each packet of it has 28 bytes.
fn arp(lab: &Lab, agent: &Agent<'_>) -> Result<(), String> {
    let not_ip = || sides(agent).map(|sides| ["tx", "rx"].map(|flow| part(&sides, "eth0", flow, "not_ip")));
    let before = not_ip()?;
    let far = Capture::start(&lab.world.peer.netns)?;
    closes(lab, agent, "ARP", || lab.world.p1.actor().udp(socket(ARP_POD, 5354), 1, 5, 64, 64))?;
    eventually("ARP is in no other part", Duration::from_secs(8), || {
        let (after, asked) = (not_ip()?, far.arp()?);
        let told = [after[0] - before[0], after[1] - before[1]];
        if asked[0] > 0 && told == asked.map(|packets| 28 * packets) {
            return Ok(());
        }
        Err(format!("{asked:?} packets of ARP came and went, {told:?} bytes are not IP: {:?}", sides(agent)?))
    })
}

/// The default route leads by wan0, but who sends to many by another address sends by its link.
fn many(lab: &Lab, agent: &Agent<'_>) -> Result<(), String> {
    let withheld = || sides(agent).map(|sides| ["eth0", "wan0"].map(|link| part(&sides, link, "tx", "withheld")));
    let before = withheld()?;
    // IPv6 has no default route for it.
    lab.node().ip("route add multicast ff15::/16 dev wan0 table local\n")?;
    closes(lab, agent, "multicast", || {
        let node = lab.world.node.actor();
        for from in [NODE, WAN] {
            node.udp_from(ip(from), socket("239.1.2.3", 5355), 10, if from == NODE { 200 } else { 100 })?;
        }
        node.udp(socket("ff15::1:2:3", 5355), 1, 10, 100, 0)
    })?;
    let after = withheld()?;
    if [after[0] - before[0], after[1] - before[1]] != [10 * 228, 10 * (128 + 148)] {
        return Err(format!("of what went to many eth0 and wan0 had {before:?} before and {after:?} after"));
    }
    Ok(())
}

/// br1 on the node, with a pair to the peer as its only port.
fn bridge(lab: &Lab) -> Result<(), String> {
    let (node, peer) = (lab.node(), &lab.world.peer.netns);
    node.ip(&format!(
        "link add br1 address 02:00:00:00:05:01 type bridge mcast_snooping 0
         link add x1 type veth peer name x1 address 02:00:00:00:05:02 netns {}
         link set x1 addrgenmode none master br1\nlink set br1 addrgenmode none\n",
        peer.path()
    ))?;
    for link in ["br1", "x1"] {
        node.sysctl(&format!("net/ipv6/conf/{link}/disable_ipv6"), "1")?;
    }
    peer.sysctl("net/ipv6/conf/x1/disable_ipv6", "1")?;
    node.ip(&format!(
        "link set x1 up\nlink set br1 up\nroute add {BRIDGE_POD} dev br1
         neigh replace {BRIDGE_POD} lladdr 02:00:00:00:05:02 dev br1 nud permanent\n"
    ))?;
    peer.ip(&format!(
        "link set x1 up\naddr add {BRIDGE_POD}/32 dev x1
         route add {P2} dev x1 src {BRIDGE_POD} table 7\nrule add from {BRIDGE_POD} lookup 7
         neigh replace {P2} lladdr 02:00:00:00:05:01 dev x1 nud permanent\n"
    ))
}

/// eth0.7 between the nodes, with a pod behind it; not where the kernel has no VLANs.
fn vlans(lab: &Lab) -> Result<bool, String> {
    let (node, peer) = (lab.node(), &lab.world.peer.netns);
    for netns in [node, peer] {
        if netns.ip("link add link eth0 name eth0.7 type vlan id 7\n").is_err() {
            println!("books_close: no VLAN, the kernel has none");
            return Ok(false);
        }
        netns.sysctl("net/ipv6/conf/eth0.7/disable_ipv6", "1")?;
    }
    node.ip(&format!(
        "link set eth0.7 mtu 1500 up\nroute add {VLAN_POD} dev eth0.7
         neigh replace {VLAN_POD} lladdr 02:00:00:00:02:04 dev eth0.7 nud permanent\n"
    ))?;
    peer.ip(&format!(
        "link set eth0.7 mtu 1500 up\naddr add {VLAN_POD}/32 dev eth0.7
         route add {P2} dev eth0.7 src {VLAN_POD} table 8\nrule add from {VLAN_POD} lookup 8
         neigh replace {P2} lladdr 02:00:00:00:01:04 dev eth0.7 nud permanent\n"
    ))?;
    Ok(true)
}

/// vxlan1 between the nodes, with a pod behind it, and a pod whose link address nobody knows yet.
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
         neigh replace {TUNNEL_POD} lladdr 02:00:00:00:04:02 dev vxlan1 nud permanent
         route add {ARP_POD} dev eth0 src {NODE}\n"
    ))?;
    lab.world.peer.netns.ip(&format!(
        "link set vxlan1 up\naddr add {TUNNEL_POD}/32 dev vxlan1\nroute add {P3} dev vxlan1\n\
         neigh replace {P3} lladdr 02:00:00:00:04:01 dev vxlan1 nud permanent
         addr add {ARP_POD}/32 dev eth0\n"
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
    sweep_twice(lab, agent)?;
    eventually(&format!("the books close after {what}"), Duration::from_secs(8), || {
        let sides = sides(agent)?;
        match sides.iter().find(|side| !is_explained(lab, &side["parts"]["unexplained"])) {
            None => Ok(()),
            Some(side) => Err(side.to_string()),
        }
    })
}

/// Nothing is left, or what rule 15 lets BPF programs miss: where the machine is slow a client's socket is gone before the
/// server's last segment arrives, and the kernel answers without a socket.
fn is_explained(lab: &Lab, unexplained: &Value) -> bool {
    let most_bytes = match lab.source {
        Source::Netfilter => 0,
        Source::Ebpf | Source::Auto | Source::Cilium => 160,
    };
    unexplained.as_i64().is_some_and(|bytes| (0..=most_bytes).contains(&bytes) && bytes % 40 == 0)
}

/// Waits until what has come is in the equations.
fn sweep_twice(lab: &Lab, agent: &Agent<'_>) -> Result<(), String> {
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
    Ok(())
}
