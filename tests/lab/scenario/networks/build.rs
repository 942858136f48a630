//! How each network is made out of the lab's usual world.

use crate::lab::Lab;
use crate::netns::Netns;
use crate::topology::Host;
use crate::topology::addr::*;

/// The usual world.
#[allow(clippy::unnecessary_wraps, reason = "as the others")]
pub fn routed(_: &Lab) -> Result<(), String> {
    Ok(())
}

const PODS: [(&str, &str, &str); 3] =
    [("veth-p1", P1, "02:00:00:00:02:01"), ("veth-p2", P2, "02:00:00:00:02:02"), ("veth-p3", P3, "02:00:00:00:02:03")];

/// The pods' ends are ports of a bridge, whose packets pass the node's rules or do not.
pub fn bridge(lab: &Lab, by_rules: bool) -> Result<(), String> {
    let w = &lab.world;
    let mut node = "link add cni0 address 02:00:00:00:05:01 type bridge\nlink set cni0 addrgenmode none\n".to_owned();
    for (dev, pod, mac) in PODS {
        node += &format!(
            "addr del {GATEWAY}/32 dev {dev}\nlink set {dev} down\nlink set {dev} master cni0\nlink set {dev} up\n\
             neigh replace {pod} lladdr {mac} dev cni0 nud permanent\n"
        );
    }
    node += &format!("link set cni0 up\naddr add {GATEWAY}/24 dev cni0\n");
    lab.node().ip(&node)?;
    for (host, address) in [(&w.p1, P1), (&w.p2, P2), (&w.p3, P3)] {
        let mut far = "neigh replace 169.254.1.1 lladdr 02:00:00:00:05:01 dev eth0 nud permanent\n".to_owned();
        for (_, pod, mac) in PODS.iter().filter(|(_, pod, _)| *pod != address) {
            far += &format!(
                "route add {pod} dev eth0 src {address}\nneigh replace {pod} lladdr {mac} dev eth0 nud permanent\n"
            );
        }
        host.netns.ip(&far)?;
    }
    // Of this namespace, where the kernel has it at all.
    match lab.node().sysctl("net/bridge/bridge-nf-call-iptables", if by_rules { "1" } else { "0" }) {
        Err(why) if by_rules => Err(why),
        _ => Ok(()),
    }
}

/// What the first pod exchanges with the other node is taken out of tracking.
pub fn notrack(lab: &Lab) -> Result<(), String> {
    lab.node().nft(&format!(
        "table inet lab_notrack {{
            chain early {{ type filter hook prerouting priority raw; ip saddr {P1} notrack; ip daddr {P1} notrack; }}
        }}"
    ))
}

/// A port that the other end's switch gave to the pod alone: the node has no part in it.
pub fn moved_device(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    lab.node().ip("link del veth-p1\n")?;
    let p1 = w.p1.netns.path();
    w.peer.netns.ip(&format!(
        "link add vf0 address 02:00:00:00:06:01 type veth peer name eth0 address 02:00:00:00:06:02 netns {p1}
         link set vf0 addrgenmode none
         link set vf0 up
         route add {P1} dev vf0 src {REMOTE_POD}
         neigh replace {P1} lladdr 02:00:00:00:06:02 dev vf0 nud permanent\n"
    ))?;
    onto_the_wire(&w.p1, "02:00:00:00:06:01")
}

/// The pod's device is a child of the node's: `kind` is what `ip link add` takes. With a VLAN's number the other node
/// has its end of it.
pub fn child(lab: &Lab, kind: &str, vlan: Option<u16>) -> Result<(), String> {
    let w = &lab.world;
    let p1 = w.p1.netns.path();
    lab.node().ip(&format!(
        "link del veth-p1
         link add link eth0 name pod0 {kind}
         link set pod0 netns {p1}\n"
    ))?;
    w.p1.netns.ip("link set pod0 name eth0\n")?;
    let (mac_node, mac_peer) = ("02:00:00:00:01:04", "02:00:00:00:02:04");
    let mac_pod = if kind.contains("macvlan") {
        w.p1.netns.ip("link set eth0 address 02:00:00:00:06:02\n")?;
        "02:00:00:00:06:02"
    } else {
        mac_node
    };
    let dev = match vlan {
        Some(number) => {
            w.peer.netns.ip(&format!(
                "link add link eth0 name eth0.{number} type vlan id {number}\nlink set eth0.{number} up\n"
            ))?;
            format!("eth0.{number}")
        }
        None => "eth0".to_owned(),
    };
    w.peer.netns.ip(&format!(
        "route add {P1} dev {dev} src {REMOTE_POD}\nneigh replace {P1} lladdr {mac_pod} dev {dev} nud permanent\n"
    ))?;
    onto_the_wire(&w.p1, mac_peer)
}

/// Gives a pod's new device the pod's address, and the other node as its way out.
fn onto_the_wire(pod: &Host, mac_peer: &str) -> Result<(), String> {
    pod.netns.ip(&format!(
        "link set eth0 addrgenmode none
         link set eth0 up
         addr add {P1}/32 dev eth0
         neigh replace 169.254.1.1 lladdr {mac_peer} dev eth0 nud permanent
         route add default via 169.254.1.1 dev eth0 src {P1} onlink\n"
    ))
}

/// The pods' ends are in a VRF, with the way to the other node.
pub fn vrf(lab: &Lab) -> Result<(), String> {
    lab.node().ip("link add vrf0 type vrf table 10\nlink set vrf0 up\n")?;
    let mut node = String::new();
    for (dev, pod, mac) in PODS {
        node += &format!("link set {dev} master vrf0\nroute replace {pod} dev {dev} table 10\n");
        // A change of the VRF takes the neighbours away.
        node += &format!("neigh replace {pod} lladdr {mac} dev {dev} nud permanent\n");
        node += &format!("route replace {pod} dev {dev}\n");
    }
    node += &format!("route add {REMOTE_POD} dev eth0 table 10\n");
    node += &format!("neigh replace {REMOTE_POD} lladdr 02:00:00:00:02:04 dev eth0 nud permanent\n");
    lab.node().ip(&node)
}

/// A tunnel device between the nodes.
#[derive(Clone, Copy)]
pub struct Tunnel {
    /// Before the device, on both nodes.
    before: &'static str,
    /// What `ip link add tunnel0` takes before the addresses, and behind them.
    kind: (&'static str, &'static str),
    /// Whether it has neighbours.
    is_ethernet: bool,
}

/// On a port that no tunnel has by custom.
pub const VXLAN: Tunnel =
    Tunnel { before: "", kind: ("type vxlan id 1 nolearning", "dstport 5000"), is_ethernet: true };
/// The same.
pub const GENEVE: Tunnel = Tunnel { before: "", kind: ("type geneve id 1", "dstport 5001"), is_ethernet: true };
/// IP in IP.
pub const IPIP: Tunnel = Tunnel { before: "", kind: ("type ipip", ""), is_ethernet: false };
/// Generic routing encapsulation.
pub const GRE: Tunnel = Tunnel { before: "", kind: ("type gre", ""), is_ethernet: false };
/// IP in IP in UDP.
pub const FOU: Tunnel = Tunnel {
    before: "fou add port 5555 ipproto 4\n",
    kind: ("type ipip", "encap fou encap-sport 5555 encap-dport 5555"),
    is_ethernet: false,
};

/// The way to the other node's pod is a tunnel.
pub fn tunnel(lab: &Lab, tunnel: Tunnel) -> Result<(), String> {
    let w = &lab.world;
    let Tunnel { before, kind: (kind, options), is_ethernet } = tunnel;
    let ends = [(lab.node(), "02:00:00:00:04:01", NODE, PEER), (&w.peer.netns, "02:00:00:00:04:02", PEER, NODE)];
    for (netns, mac, local, remote) in ends {
        // Geneve takes no address of its own.
        let local = if kind.contains("geneve") { String::new() } else { format!("local {local}") };
        let mac = if is_ethernet { format!("address {mac}") } else { String::new() };
        netns.ip(&format!(
            "link set eth0 mtu 1600
             {before}link add tunnel0 {mac} {kind} {local} remote {remote} {options}
             link set tunnel0 addrgenmode none mtu 1400\n"
        ))?;
        netns.sysctl("net/ipv6/conf/tunnel0/disable_ipv6", "1")?;
        netns.ip("link set tunnel0 up\n")?;
    }
    by_tunnel(lab, is_ethernet)
}

/// Routes what the pods and the other node's pod exchange into `tunnel0`.
fn by_tunnel(lab: &Lab, is_ethernet: bool) -> Result<(), String> {
    let w = &lab.world;
    let mut node = format!("route replace {REMOTE_POD} dev tunnel0 src {NODE}\n");
    let mut peer = String::new();
    for (_, pod, _) in PODS {
        peer += &format!("route replace {pod} dev tunnel0 src {REMOTE_POD}\n");
        if is_ethernet {
            peer += &format!("neigh replace {pod} lladdr 02:00:00:00:04:01 dev tunnel0 nud permanent\n");
        }
    }
    if is_ethernet {
        node += &format!("neigh replace {REMOTE_POD} lladdr 02:00:00:00:04:02 dev tunnel0 nud permanent\n");
    }
    lab.node().ip(&node)?;
    w.peer.netns.ip(&peer)
}

/// WireGuard cuts segmentation-offloaded packets behind the counter of the end that sent them, and joins what it received
/// before that of the other: packets that are neither are the same ones everywhere.
fn whole_packets(netns: &Netns, dev: &str) -> Result<(), String> {
    netns.ip(&format!("link set {dev} gso_max_segs 1\nlink set {dev} gro_max_size 1\n"))
}

/// WireGuard on a port.
pub fn wireguard(lab: &Lab, port: u16) -> Result<(), String> {
    let w = &lab.world;
    for pod in [&w.p1, &w.p2, &w.p3] {
        whole_packets(&pod.netns, "eth0")?;
    }
    let ends = [(lab.node(), PEER, "10.244.2.0/24"), (&w.peer.netns, NODE, "10.244.1.0/24,10.10.0.1/32")];
    let mut keys = Vec::new();
    for (netns, ..) in ends {
        netns.ip(
            "link set eth0 mtu 1600\nlink add tunnel0 type wireguard\nlink set tunnel0 addrgenmode none mtu 1400\n",
        )?;
        whole_packets(netns, "tunnel0")?;
        netns.sysctl("net/ipv6/conf/tunnel0/disable_ipv6", "1")?;
        let private = netns.run(&["wg", "genkey"], "")?;
        let public = netns.run(&["wg", "pubkey"], &private)?;
        let file = lab.file(&format!("key{}", keys.len()));
        std::fs::write(&file, private).map_err(|e| format!("cannot write a key: {e}"))?;
        keys.push((file, public.trim().to_owned()));
    }
    for (n, (netns, remote, allowed)) in ends.into_iter().enumerate() {
        let (own, other) = (keys[n].0.to_string_lossy(), &keys[1 - n].1);
        let (port, endpoint) = (port.to_string(), format!("{remote}:{port}"));
        let own: &str = &own;
        netns.run(
            &[
                "wg",
                "set",
                "tunnel0",
                "listen-port",
                &port,
                "private-key",
                own,
                "peer",
                other,
                "endpoint",
                &endpoint,
                "allowed-ips",
                allowed,
            ],
            "",
        )?;
        netns.ip("link set tunnel0 up\n")?;
    }
    by_tunnel(lab, false)?;
    // The first packets wait for the handshake, and a machine that is slow sends them twice.
    lab.world.node.ping(REMOTE_POD, 1, 8)
}

/// Whether the kernel has ESP.
pub const ESP_PROBE: &str = "ip xfrm state add src 10.0.0.1 dst 10.0.0.2 proto esp spi 1 mode tunnel \
                             aead 'rfc4106(gcm(aes))' 0x000102030405060708090a0b0c0d0e0f10111213 128";

/// The pods' packets in an IPsec tunnel between the nodes, the node's own in transport mode.
pub fn ipsec(lab: &Lab) -> Result<(), String> {
    let key = "0x000102030405060708090a0b0c0d0e0f10111213";
    let state = |src: &str, dst: &str, spi: u32, mode: &str| {
        format!(
            "xfrm state add src {src} dst {dst} proto esp spi {spi} reqid {spi} mode {mode} aead rfc4106(gcm(aes)) {key} 128\n"
        )
    };
    let policy = |src: &str, dst: &str, dir: &str, tunnel: &str, spi: u32, mode: &str| {
        format!("xfrm policy add src {src} dst {dst} dir {dir} tmpl {tunnel} proto esp reqid {spi} mode {mode}\n")
    };
    let pods = "10.244.1.0/24";
    let (out, back) = (format!("src {NODE} dst {PEER}"), format!("src {PEER} dst {NODE}"));
    let (own_out, own_back) = (format!("src {NODE} dst {REMOTE_POD}"), format!("src {REMOTE_POD} dst {NODE}"));
    let states = state(NODE, PEER, 1, "tunnel")
        + &state(PEER, NODE, 2, "tunnel")
        + &state(NODE, REMOTE_POD, 3, "transport")
        + &state(REMOTE_POD, NODE, 4, "transport");
    let far = format!("{REMOTE_POD}/32");
    let node = states.clone()
        + &policy(pods, &far, "out", &out, 1, "tunnel")
        + &policy(&far, pods, "in", &back, 2, "tunnel")
        + &policy(&far, pods, "fwd", &back, 2, "tunnel")
        + &policy(NODE, REMOTE_POD, "out", &own_out, 3, "transport")
        + &policy(REMOTE_POD, NODE, "in", &own_back, 4, "transport");
    let peer = states
        + &policy(&far, pods, "out", &back, 2, "tunnel")
        + &policy(pods, &far, "in", &out, 1, "tunnel")
        + &policy(REMOTE_POD, NODE, "out", &own_back, 4, "transport")
        + &policy(NODE, REMOTE_POD, "in", &own_out, 3, "transport");
    lab.node().ip(&format!("link set eth0 mtu 1600\n{node}"))?;
    lab.world.peer.netns.ip(&format!("link set eth0 mtu 1600\n{peer}"))
}

/// Whether the kernel has flow tables.
pub const FLOW_TABLE_PROBE: &str = "nft add table inet t
nft 'add flowtable inet t f { hook ingress priority 0; devices = { lo }; }'";

/// The kernel forwards established connections by a flow table, which counts for conntrack or does not.
pub fn flow_table(lab: &Lab, counts: bool) -> Result<(), String> {
    let counter = if counts { "counter;" } else { "" };
    lab.node().nft(&format!(
        "table inet lab_fast {{
            flowtable fast {{ hook ingress priority 0; devices = {{ veth-p1, veth-p2, veth-p3, eth0 }}; {counter} }}
            chain forward {{ type filter hook forward priority 0; meta l4proto {{ tcp, udp }} flow add @fast; }}
        }}"
    ))
}

/// Address of the service that IPVS has.
pub const IPVS_SERVICE: &str = "10.96.0.20";
/// Whether the kernel has IPVS, by its tool.
pub const IPVS_PROBE: &str = "ipvsadm -L";

/// A service by IPVS, with conntrack or without.
pub fn ipvs(lab: &Lab, tracked: bool) -> Result<(), String> {
    let node = lab.node();
    node.ip(&format!("addr add {IPVS_SERVICE}/32 dev lo\n"))?;
    let (service, backend) = (format!("{IPVS_SERVICE}:80"), format!("{P2}:8080"));
    node.run(&["ipvsadm", "-A", "-t", &service, "-s", "rr"], "")?;
    node.run(&["ipvsadm", "-a", "-t", &service, "-r", &backend, "-m"], "")?;
    node.sysctl("net/ipv4/vs/conntrack", if tracked { "1" } else { "0" })
}
