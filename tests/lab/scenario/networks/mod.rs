//! The networks that clusters have, each with the same traffic, in each mode. A mode shows every row of a pod and of the
//! node to the byte, or it says in the health message what hides the traffic from it. Mode `auto` shows every row, but
//! where IPVS keeps no conntrack.
//!
//! The truth is counted in the namespaces of the ends: the node does not see all of it. `script/networks` runs those that
//! this kernel cannot make within kernels that can.

mod build;
mod judge;
mod record;

use judge::Hidden::{Caused, Says};
use judge::{Network, Way};

use super::Scenario;
use crate::lab::Source;

const MODES: &[Source] = &[Source::Netfilter, Source::Ebpf, Source::Auto];
/// Pods and node, to another node, on this node, and by a service.
const ALL_WAYS: &[Way] = &[Way::Away, Way::Near, Way::Service, Way::NodeAway, Way::NodeService];
/// Where the node's rules do not reach the pods.
const BESIDE: &[Way] = &[Way::Away, Way::NodeAway];

/// Each as a scenario `net_NAME`.
macro_rules! networks {
    ($($name:ident: $kernel:expr, $network:expr;)*) => {
        /// See the file's head.
        pub const ALL: &[Scenario] = &[$(
            Scenario::new(concat!("net_", stringify!($name)), "networks", {
                const NETWORK: Network = $network;
                |lab| NETWORK.judge(lab, stringify!($name))
            })
            .only(MODES)
            .on_kernels_that($kernel)
        ),*];
    };
}

networks! {
    routed: "", Network::new(build::routed, ALL_WAYS);
    bridge_tracked: "ip link add name br7 type bridge", Network::new(|lab| build::bridge(lab, true), ALL_WAYS);
    bridge: "ip link add name br7 type bridge",
        Network::new(|lab| build::bridge(lab, false), &[Way::Away, Way::Near, Way::NodeAway])
            .hidden_from(&[Source::Netfilter], Caused("bridge"));
    notrack: "", Network::new(build::notrack, BESIDE).hidden_from(&[Source::Netfilter], Caused("notrack"));
    moved_device: "", Network::new(build::moved_device, BESIDE).hidden_from(&[Source::Netfilter], Says("never seen"));
    macvlan: "ip link add name ve7 type veth
        ip link add link ve7 name ch7 type macvlan mode bridge",
        Network::new(|lab| build::child(lab, "type macvlan mode bridge", None), BESIDE)
            .hidden_from(&[Source::Netfilter], Says("never seen"));
    ipvlan_l2: "ip link add name ve7 type veth
        ip link add link ve7 name ch7 type ipvlan mode l2",
        Network::new(|lab| build::child(lab, "type ipvlan mode l2", None), BESIDE)
            .hidden_from(&[Source::Netfilter], Says("never seen"));
    ipvlan_l3: "ip link add name ve7 type veth
        ip link add link ve7 name ch7 type ipvlan mode l3",
        Network::new(|lab| build::child(lab, "type ipvlan mode l3", None), BESIDE)
            .hidden_from(&[Source::Netfilter], Says("unexplained"));
    ipvlan_l3s: "ip link add name ve7 type veth
        ip link add link ve7 name ch7 type ipvlan mode l3s",
        Network::new(|lab| build::child(lab, "type ipvlan mode l3s", None), BESIDE)
            .hidden_from(&[Source::Netfilter], Caused("ipvlan"));
    vlan: "ip link add name ve7 type veth
        ip link add link ve7 name ch7 type vlan id 7",
        Network::new(|lab| build::child(lab, "type vlan id 7", Some(7)), BESIDE)
            .hidden_from(&[Source::Netfilter], Says("never seen"));
    vrf: "ip link add name tu7 type vrf table 10", Network::new(build::vrf, &[Way::Away, Way::Near]);
    vxlan: "ip link add name tu7 type vxlan id 1 remote 10.0.0.1 dstport 5000",
        Network::new(|lab| build::tunnel(lab, build::VXLAN), ALL_WAYS);
    geneve: "ip link add name tu7 type geneve id 1 remote 10.0.0.1 dstport 5001",
        Network::new(|lab| build::tunnel(lab, build::GENEVE), ALL_WAYS);
    ipip: "ip link add name tu7 type ipip local 10.0.0.1 remote 10.0.0.2",
        Network::new(|lab| build::tunnel(lab, build::IPIP), ALL_WAYS);
    gre: "ip link add name tu7 type gre local 10.0.0.1 remote 10.0.0.2",
        Network::new(|lab| build::tunnel(lab, build::GRE), ALL_WAYS);
    fou: "ip fou add port 5555 ipproto 4", Network::new(|lab| build::tunnel(lab, build::FOU), ALL_WAYS);
    wireguard: "ip link add name tu7 type wireguard", Network::new(|lab| build::wireguard(lab, 51820), ALL_WAYS);
    wireguard_elsewhere: "ip link add name tu7 type wireguard", Network::new(|lab| build::wireguard(lab, 4444), ALL_WAYS);
    ipsec: build::ESP_PROBE, Network::new(build::ipsec, ALL_WAYS).hidden_from(&[Source::Ebpf], Caused("IPsec"));
    flow_table_counted: build::FLOW_TABLE_PROBE, Network::new(|lab| build::flow_table(lab, true), ALL_WAYS);
    flow_table: build::FLOW_TABLE_PROBE,
        Network::new(|lab| build::flow_table(lab, false), ALL_WAYS).hidden_from(&[Source::Netfilter], Caused("flow table"));
    ipvs: build::IPVS_PROBE, Network::new(|lab| build::ipvs(lab, true), &[Way::Away, Way::Near, Way::Ipvs, Way::NodeIpvs])
        .hidden_from(&[Source::Ebpf], Caused("IPVS"));
    ipvs_untracked: build::IPVS_PROBE, Network::new(|lab| build::ipvs(lab, false), &[Way::Away, Way::Near, Way::Ipvs, Way::NodeIpvs])
        .hidden_from(MODES, Caused("IPVS"));
    sandbox: "", Network::new(build::routed, &[Way::Sandbox]).hidden_from(&[Source::Ebpf], Says("never seen"));
}
