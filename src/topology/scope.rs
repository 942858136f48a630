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

/// Scope, via and service in two bytes: what rows are kept apart by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Way(u16);

impl Way {
    /// Nothing is known.
    pub const UNKNOWN: Way = Way::new(Scope::Unknown, Via::None, 0);

    /// `service` is a number of [`super::names::Names`].
    pub const fn new(scope: Scope, via: Via, service: u8) -> Way {
        Way(service as u16 | (scope as u16) << 8 | (via as u16) << 11)
    }

    /// One with this number; none where a number means nothing.
    pub fn from_number(number: u16) -> Option<Way> {
        let is_scope = usize::from(number >> 8 & 7) < Scope::ALL.len();
        (is_scope && number >> 14 == 0).then_some(Way(number))
    }

    /// Below 2^14.
    #[inline(always)]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// How far away the remote end is.
    pub fn scope(self) -> Scope {
        Scope::ALL.get(usize::from(self.0 >> 8 & 7)).copied().unwrap_or(Scope::Unknown)
    }

    /// What stands on the way.
    pub fn via(self) -> Via {
        Via::ALL.get(usize::from(self.0 >> 11 & 7)).copied().unwrap_or_default()
    }

    /// Number of the service; 0 is none.
    #[allow(clippy::cast_possible_truncation, reason = "the lowest byte is the service")]
    pub fn service(self) -> u8 {
        self.0 as u8
    }
}

impl std::fmt::Debug for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?} {}", self.scope(), self.via(), self.service())
    }
}
