//! The world of the lab: a node that routes, its pods, another node, and a host outside, each in its own namespace.
//!
//! ```text
//!   p1 10.244.1.11 ─┐                            ┌─ eth0 ── peer 10.10.0.2, with the remote pod 10.244.2.10
//!   p2 10.244.1.12 ─┼─ node 10.10.0.1 (cluster) ─┤
//!   p3 10.244.1.13 ─┘        203.0.113.1 (wan)   └─ wan0 ── outside 192.0.2.99
//! ```
//!
//! Every host has an IPv6 address beside each IPv4 one. Neighbours are static, duplicate address detection and
//! autoconfiguration are off, no interface has a link-local address: what crosses the node is what a scenario sends.
//! TCP options that would make the size of a segment vary (timestamps, SACK, window scaling) are off, so that what was
//! sent predicts the bytes on the wire.

use std::net::{IpAddr, SocketAddr};

use crate::drive::Actor;
use crate::netns::Netns;
use crate::process::Place;

/// Addresses, as text for tables of expected rows.
pub mod addr {
    #![allow(missing_docs)]
    pub const P1: &str = "10.244.1.11";
    pub const P2: &str = "10.244.1.12";
    pub const P3: &str = "10.244.1.13";
    pub const P1_V6: &str = "fd00:244:1::11";
    pub const P2_V6: &str = "fd00:244:1::12";
    pub const P3_V6: &str = "fd00:244:1::13";
    /// The node, as the cluster knows it.
    pub const NODE: &str = "10.10.0.1";
    pub const NODE_V6: &str = "fd00:10::1";
    /// The node's address for its pods.
    pub const GATEWAY: &str = "10.244.1.1";
    /// The node, as the world knows it.
    pub const WAN: &str = "203.0.113.1";
    pub const WAN_V6: &str = "2001:db8:1::1";
    /// The other node, and a pod on it.
    pub const PEER: &str = "10.10.0.2";
    pub const PEER_V6: &str = "fd00:10::2";
    pub const REMOTE_POD: &str = "10.244.2.10";
    pub const REMOTE_POD_V6: &str = "fd00:244:2::10";
    /// Beyond the cluster.
    pub const OUTSIDE: &str = "192.0.2.99";
    pub const OUTSIDE_V6: &str = "2001:db8:99::99";
    /// The service, port 80, with the one backend p2:8080.
    pub const SERVICE: &str = "10.96.0.10";
    pub const SERVICE_V6: &str = "fd00:96::10";
}

/// What `-local-cidrs` says in the lab.
pub const LOCAL_CIDRS: &str = "10.244.1.0/24,fd00:244:1::/64";
/// Port of the service.
pub const SERVICE_PORT: u16 = 80;
/// Port that backends listen on.
pub const BACKEND_PORT: u16 = 8080;
/// NodePort to p2, and to the remote pod.
pub const NODE_PORT_LOCAL: u16 = 30080;
/// See [`NODE_PORT_LOCAL`].
pub const NODE_PORT_REMOTE: u16 = 30081;

/// A host behind the node.
pub struct Host {
    /// Its namespace.
    pub netns: Netns,
    /// The node's interface towards it.
    pub node_dev: &'static str,
    /// Where its processes are put.
    pub place: Place,
    actor: Actor,
}

impl Host {
    fn new(node_dev: &'static str, place: Place) -> Result<Host, String> {
        let netns = Netns::new()?;
        harden(&netns)?;
        let actor = netns.enter(|| Actor::start(&place))?;
        Ok(Host { netns, node_dev, place, actor })
    }

    /// The helper process that sends and answers here.
    pub fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Answers TCP here.
    pub fn serve_tcp(&self, at: &str, port: u16) -> Result<(), String> {
        self.actor.serve_tcp(socket(at, port))
    }

    /// Answers UDP here.
    pub fn serve_udp(&self, at: &str, port: u16) -> Result<(), String> {
        self.actor.serve_udp(socket(at, port))
    }

    /// Sends `count` echo requests with `payload` bytes each to `to`; all must be answered.
    pub fn ping(&self, to: &str, count: u32, payload: u32) -> Result<(), String> {
        let (count_text, payload) = (count.to_string(), payload.to_string());
        self.netns.run(&["ping", "-n", "-q", "-i", "0.002", "-c", &count_text, "-s", &payload, "-W", "5", to], "")?;
        Ok(())
    }
}

/// Address and port, of either family.
pub fn socket(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(address), port)
}

/// An address of the tables above.
pub fn ip(address: &str) -> IpAddr {
    address.parse().unwrap_or_else(|_| panic!("{address} is no address"))
}

/// What differs between the worlds that scenarios want.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Service, NodePorts and masquerade: rules that make the kernel track connections.
    pub nat: bool,
    /// Conntrack accounting (`nf_conntrack_acct`) before the agent starts.
    pub accounting: bool,
    /// `nf_conntrack_events` before the agent starts.
    pub events: &'static str,
}

impl Wish {
    /// What most want.
    pub const USUAL: Wish = Wish { nat: true, accounting: true, events: "2" };
}

/// The world.
pub struct World {
    /// The node: the agent runs here.
    pub node: Host,
    /// A pod.
    pub p1: Host,
    /// A pod, the backend of the service and of one NodePort.
    pub p2: Host,
    /// A pod.
    pub p3: Host,
    /// Another node with a pod on it (one namespace for both).
    pub peer: Host,
    /// A host outside the cluster.
    pub outside: Host,
}

impl World {
    /// Builds it. `place` says where the processes of each host are put, by the host's name.
    pub fn new(wish: Wish, place: &dyn Fn(&str) -> Place) -> Result<World, String> {
        use addr::*;
        let world = World {
            node: Host::new("lo", place("node"))?,
            p1: Host::new("veth-p1", place("p1"))?,
            p2: Host::new("veth-p2", place("p2"))?,
            p3: Host::new("veth-p3", place("p3"))?,
            peer: Host::new("eth0", place("peer"))?,
            outside: Host::new("wan0", place("outside"))?,
        };
        world.link(1, &world.p1, &[GATEWAY], &[P1, P1_V6])?;
        world.link(2, &world.p2, &[GATEWAY], &[P2, P2_V6])?;
        world.link(3, &world.p3, &[GATEWAY], &[P3, P3_V6])?;
        world.link(4, &world.peer, &[NODE, NODE_V6], &[PEER, PEER_V6, REMOTE_POD, REMOTE_POD_V6])?;
        world.link(5, &world.outside, &[WAN, WAN_V6], &[OUTSIDE, OUTSIDE_V6])?;
        let node = &world.node.netns;
        node.ip(&format!(
            "link set lo up
             route add default via {OUTSIDE} dev wan0 src {WAN} onlink
             route add default via {OUTSIDE_V6} dev wan0 src {WAN_V6} onlink
             route add {SERVICE} via {PEER} dev eth0 src {NODE} onlink
             route add {SERVICE_V6} via {PEER_V6} dev eth0 src {NODE_V6} onlink\n"
        ))?;
        node.sysctl("net/ipv4/ip_forward", "1")?;
        node.sysctl("net/ipv6/conf/all/forwarding", "1")?;
        node.sysctl("net/netfilter/nf_conntrack_acct", if wish.accounting { "1" } else { "0" })?;
        // Before 5.19 there is no 2 (for whoever listens), and 1 is the default.
        let events = "net/netfilter/nf_conntrack_events";
        node.sysctl(events, wish.events).or_else(|why| match wish.events {
            "2" => node.sysctl(events, "1"),
            _ => Err(why),
        })?;
        if wish.nat {
            node.nft(&nat_rules())?;
        }
        Ok(world)
    }

    /// A veth pair between the node and `host`: `here` on the node's side, `there` on the host's, all by /32 and /128.
    fn link(&self, number: u8, host: &Host, here: &[&str], there: &[&str]) -> Result<(), String> {
        let (dev, path) = (host.node_dev, host.netns.path());
        let (mac_here, mac_there) = (format!("02:00:00:00:01:{number:02x}"), format!("02:00:00:00:02:{number:02x}"));
        let mut node = format!(
            "link add {dev} address {mac_here} type veth peer name eth0 address {mac_there} netns {path}\n\
             link set {dev} addrgenmode none\nlink set {dev} up\n"
        );
        for address in here {
            node += &format!("addr add {address} dev {dev} {}\n", if ip(address).is_ipv6() { "nodad" } else { "" });
        }
        let mut far = "link set lo up\nlink set eth0 addrgenmode none\nlink set eth0 up\n".to_owned();
        for address in there {
            let v6 = ip(address).is_ipv6();
            let source = here.iter().find(|a| ip(a).is_ipv6() == v6).map_or(String::new(), |a| format!("src {a}"));
            node += &format!("route add {address} dev {dev} {source}\n");
            node += &format!("neigh replace {address} lladdr {mac_there} dev {dev} nud permanent\n");
            far += &format!("addr add {address} dev eth0 {}\n", if v6 { "nodad" } else { "" });
        }
        for gateway in ["169.254.1.1", "fe80::1"] {
            let source = there.iter().find(|a| ip(a).is_ipv6() == gateway.contains(':')).expect("both families");
            far += &format!("neigh replace {gateway} lladdr {mac_here} dev eth0 nud permanent\n");
            far += &format!("route add default via {gateway} dev eth0 src {source} onlink\n");
        }
        self.node.netns.ip(&node)?;
        host.netns.ip(&far)
    }
}

/// Makes a namespace quiet and its packets predictable.
fn harden(netns: &Netns) -> Result<(), String> {
    for (key, value) in [
        // Some of it is inherited from the machine.
        ("net/ipv4/conf/all/rp_filter", "0"),
        ("net/ipv4/conf/default/rp_filter", "0"),
        ("net/ipv6/conf/all/accept_dad", "0"),
        ("net/ipv6/conf/default/accept_dad", "0"),
        ("net/ipv6/conf/default/router_solicitations", "0"),
        ("net/ipv6/conf/default/accept_ra", "0"),
        ("net/ipv6/conf/default/autoconf", "0"),
        ("net/ipv4/tcp_timestamps", "0"),
        ("net/ipv4/tcp_sack", "0"),
        ("net/ipv4/tcp_window_scaling", "0"),
        ("net/ipv4/tcp_ecn", "0"),
        ("net/ipv4/tcp_no_metrics_save", "1"),
        ("net/ipv4/tcp_max_syn_backlog", "16384"),
        ("net/ipv4/tcp_syncookies", "0"),
        // The truth tells responders from originators by their ports: nothing listens at or above this range.
        ("net/ipv4/ip_local_port_range", "32768 65535"),
        ("net/ipv4/icmp_ratelimit", "0"),
    ] {
        netns.sysctl(key, value)?;
    }
    Ok(())
}

fn nat_rules() -> String {
    use addr::*;
    format!(
        "table inet lab_nat {{
            chain services {{
                ip daddr {SERVICE} tcp dport {SERVICE_PORT} dnat ip to {P2}:{BACKEND_PORT}
                ip daddr {SERVICE} udp dport {SERVICE_PORT} dnat ip to {P2}:{BACKEND_PORT}
                ip6 daddr {SERVICE_V6} tcp dport {SERVICE_PORT} dnat ip6 to [{P2_V6}]:{BACKEND_PORT}
                ip daddr {{ {WAN}, {NODE} }} tcp dport {NODE_PORT_LOCAL} dnat ip to {P2}:{BACKEND_PORT}
                ip daddr {{ {WAN}, {NODE} }} tcp dport {NODE_PORT_REMOTE} dnat ip to {REMOTE_POD}:{BACKEND_PORT}
            }}
            chain prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
            chain output {{ type nat hook output priority -100; jump services; }}
            chain postrouting {{
                type nat hook postrouting priority srcnat;
                oifname wan0 ip saddr 10.244.0.0/16 masquerade
                oifname wan0 ip6 saddr fd00:244::/32 masquerade
                ip saddr {P2} ip daddr {P2} masquerade
                ip6 saddr {P2_V6} ip6 daddr {P2_V6} masquerade
                ct status dnat tcp dport {BACKEND_PORT} ct original ip daddr {{ {WAN}, {NODE} }} masquerade
            }}
        }}"
    )
}
