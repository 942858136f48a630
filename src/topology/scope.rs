//! How far away a remote end is, and by which way one gets there.

use crate::listed;

listed! {
    /// How far away the remote end is, as far as prices go. The numbers are those of the state file.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Scope {
        /// This node.
        Node => "node",
        /// The same zone.
        Zone => "zone",
        /// The same region, another zone.
        Region => "region",
        /// Another region.
        CrossRegion => "cross_region",
        /// The internet.
        Internet => "internet",
        /// Not known.
        Unknown => "unknown",
        /// The node's own tunnels: what they carry is counted already.
        Overlay => "overlay",
    }
}

impl Scope {
    /// Those that a line may say.
    pub const SAYABLE: [Scope; 5] = [Scope::Node, Scope::Zone, Scope::Region, Scope::CrossRegion, Scope::Internet];
}

listed! {
    /// What stands on the way and is paid for by itself. The numbers are those of the state file.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
    pub enum Via {
        /// Nothing that is known.
        #[default]
        None => "",
        /// A NAT gateway.
        Nat => "nat",
        /// A load balancer.
        Lb => "lb",
        /// A private endpoint of a service.
        PrivateLink => "privatelink",
        /// Peered networks.
        Peering => "peering",
        /// A transit gateway or hub.
        Tgw => "tgw",
        /// A VPN.
        Vpn => "vpn",
        /// A leased line.
        Interconnect => "interconnect",
    }
}
