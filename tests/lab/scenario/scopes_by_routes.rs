//! `-topology-source routes`: the file has nodes alone, and the kernel's routes say which node a pod is behind: one by the
//! node's own address, one by a VXLAN as Flannel builds it (gateway, neighbour, forwarding entry). Beside Cilium a third
//! has no such route, and its map of addresses tells.

use std::time::Duration;

use crate::agent::eventually;
use crate::cilium::Writer;
use crate::drive::Burst;
use crate::lab::Lab;
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("scopes_by_routes", "rule 18", run);

/// A pod of another node behind the tunnel, and the address of that node's end of it.
const FAR_POD: &str = "10.244.3.10";
const FAR_END: &str = "10.244.3.0";
/// The node's own end.
const END: &str = "10.244.1.0";
/// The other node's second address, in another region: the tunnel goes there.
const FAR_NODE: &str = "10.10.9.2";
/// A pod there that no route with a gateway tells of.
const UNROUTED_POD: &str = "10.244.4.10";
/// It in `cilium_ipcache`: the bits of the key, the family and the address; the identity, the node and the rest.
const UNROUTED: &str = "raw cilium_ipcache 40000000000000010af4040a fe6f00000a0a090200000300";

const TABLE: &str = "10.10.0.0/24 zone=z2 region=r1\n10.10.9.0/24 zone=y1 region=r2\n";

fn run(lab: &Lab) -> Result<(), String> {
    let (node, peer) = (&lab.world.node.netns, &lab.world.peer);
    node.ip(&format!(
        "route del {REMOTE_POD} dev eth0\nroute add 10.244.2.0/24 via {PEER} dev eth0 src {NODE} onlink\n\
         route add {FAR_NODE} dev eth0 src {NODE}\n\
         neigh replace {FAR_NODE} lladdr 02:00:00:00:02:04 dev eth0 nud permanent\n"
    ))?;
    peer.netns.ip(&format!("addr add {FAR_NODE}/32 dev eth0\n"))?;
    for (netns, own, own_mac, remote) in
        [(node, NODE, "02:00:00:00:05:01", FAR_NODE), (&peer.netns, FAR_NODE, "02:00:00:00:05:02", NODE)]
    {
        netns.ip(&format!(
            "link add flannel.1 address {own_mac} type vxlan id 1 local {own} dstport 8472 nolearning\n\
             link set flannel.1 addrgenmode none mtu 1450\n"
        ))?;
        netns.sysctl("net/ipv6/conf/flannel.1/disable_ipv6", "1")?;
        netns.ip("link set flannel.1 up\n")?;
        let far_mac = if remote == NODE { "02:00:00:00:05:01" } else { "02:00:00:00:05:02" };
        netns.run(&["bridge", "fdb", "append", far_mac, "dev", "flannel.1", "dst", remote], "")?;
    }
    node.ip(&format!(
        "addr add {END}/32 dev flannel.1\nneigh replace {FAR_END} lladdr 02:00:00:00:05:02 dev flannel.1 nud permanent\n\
         route add 10.244.3.0/24 via {FAR_END} dev flannel.1 onlink\n"
    ))?;
    peer.netns.ip(&format!(
        "addr add {FAR_END}/32 dev flannel.1\naddr add {FAR_POD}/32 dev flannel.1\n\
         neigh replace {END} lladdr 02:00:00:00:05:01 dev flannel.1 nud permanent\n\
         route add 10.244.1.0/24 via {END} dev flannel.1 src {FAR_POD} onlink\n"
    ))?;
    node.ip(&format!(
        "route add {UNROUTED_POD} dev eth0 src {NODE}\n\
         neigh replace {UNROUTED_POD} lladdr 02:00:00:00:02:04 dev eth0 nud permanent\n"
    ))?;
    peer.netns.ip(&format!("addr add {UNROUTED_POD}/32 dev eth0\n"))?;
    let beside_cilium = lab.bpf_root().map(|root| {
        let writer = Writer::new(&root.join("tc/globals"));
        writer.tell(&format!("map cilium_ipcache type=11 key=24 value=12 entries=64 flags=1\n{UNROUTED}"));
    });
    let unrouted = if beside_cilium.is_some() { ("cross_region", "y1") } else { ("unknown", "") };
    for at in [REMOTE_POD, FAR_POD, UNROUTED_POD] {
        peer.serve_tcp(at, 8080)?;
    }

    let table = lab.file("topology");
    std::fs::write(&table, TABLE).map_err(|error| format!("cannot write the table: {error}"))?;
    let start = lab.agent().flag("-topology", &table.to_string_lossy()).flag("-topology-source", "routes");
    let agent = start.flag("-zone", "z1").flag("-region", "r1").ready()?;
    for at in [REMOTE_POD, FAR_POD, UNROUTED_POD] {
        lab.world.p1.actor().burst(Burst::new(socket(at, 8080), 5, 100, 5_000))?;
    }
    let (scope, zone) = unrouted;
    let places = [(REMOTE_POD, "region", "z2"), (FAR_POD, "cross_region", "y1"), (UNROUTED_POD, scope, zone)];
    for (remote, scope, zone) in places {
        eventually("a row is where its route leads", Duration::from_secs(5), || {
            let flows = agent.flows()?;
            let items = flows["items"].as_array().ok_or("/flows has no items")?;
            let of_pod: Vec<_> = items.iter().filter(|item| item["src_ip"] == P1 && item["dst_ip"] == remote).collect();
            match of_pod[..] {
                [item] if item["scope"] == scope && item["remote_zone"].as_str().unwrap_or_default() == zone => Ok(()),
                _ => Err(format!("expected {scope} and {zone} of {remote}: {of_pod:?}")),
            }
        })?;
    }
    agent.terminate()
}
