//! A VXLAN tunnel between the nodes: the traffic within is counted and pushed once, the tunnel itself only shown.

use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, HOST, Row, tcp, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// The kernel's tunnel has no socket that BPF would see (rule 15).
pub const SCENARIO: Scenario =
    Scenario::new("tunnel", "rules 6, 9", run).only(&[Source::Netfilter, Source::Cilium, Source::Auto]);

const FAR_POD: &str = "10.244.3.10";
const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1, FAR_POD, tcp(8080)),
    Row::outbound(HOST, NODE, PEER, udp(5000)).overlay(),
    Row::inbound(HOST, NODE, PEER, udp(5000)).overlay(),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    let end = |own_mac: &str, local: &str, remote: &str| {
        format!(
            "link set eth0 mtu 1600
             link add vxlan1 address {own_mac} type vxlan id 1 local {local} remote {remote} dstport 5000 nolearning
             link set vxlan1 addrgenmode none mtu 1500\n"
        )
    };
    lab.node().ip(&end("02:00:00:00:04:01", NODE, PEER))?;
    w.peer.netns.ip(&end("02:00:00:00:04:02", PEER, NODE))?;
    for netns in [lab.node(), &w.peer.netns] {
        // Or the kernel tells multicast listeners of the tunnel's IPv6 through the tunnel.
        netns.sysctl("net/ipv6/conf/vxlan1/disable_ipv6", "1")?;
    }
    lab.node().ip(&format!(
        "link set vxlan1 up\nroute add {FAR_POD} dev vxlan1\n\
         neigh replace {FAR_POD} lladdr 02:00:00:00:04:02 dev vxlan1 nud permanent\n"
    ))?;
    w.peer.netns.ip(&format!(
        "link set vxlan1 up\naddr add {FAR_POD}/32 dev vxlan1\nroute add {P1} dev vxlan1\n\
         neigh replace {P1} lladdr 02:00:00:00:04:01 dev vxlan1 nud permanent\n"
    ))?;
    w.peer.serve_tcp(FAR_POD, 8080)?;
    let agent = lab.agent().ready()?;
    w.p1.actor().burst(Burst::new(socket(FAR_POD, 8080), 20, 100, 30_000))?;
    lab.settles(agent, EXPECTED)
}
