//! The class of a remote address: inside the cluster's ranges, outside, the far end of the node's own tunnels, or many at
//! once.
//!
//! It knows only address ranges and tunnel ports; [`crate::owner`] decides who is local.

use crate::flow::{Addr, Cidr, Class, protocol};

/// UDP ports (of the responder) that node-to-node tunnels use: VXLAN, Geneve, flannel's VXLAN, WireGuard, IPsec NAT
/// traversal. Calico runs WireGuard at 51820 and 51821, Cilium at 51871.
const OVERLAY_PORTS: [u16; 7] = [4789, 6081, 8472, 51820, 51821, 51871, 4500];
/// Ports at most, those that are given and those that the kernel tells: each UDP record is compared with all.
const PORTS_MAX: usize = 64;
/// Protocols that carry packets within packets: IP in IP, 6in4, GRE, ESP, AH.
const OVERLAY_PROTOCOLS: [u8; 5] = [protocol::IPIP, protocol::IPV6, protocol::GRE, protocol::ESP, protocol::AH];

/// The ranges and ports that decide a row's class (rules 6 and 9).
#[derive(Clone, Debug)]
pub struct Classes {
    inside: Vec<Cidr>,
    outside: Vec<Cidr>,
    overlay_ports: Vec<u16>,
}

impl Classes {
    /// Inside is `cluster_cidrs` minus `outside_cidrs`. `more_overlay_ports` extend the well-known ones.
    pub fn new(cluster_cidrs: &[Cidr], outside_cidrs: &[Cidr], more_overlay_ports: &[u16]) -> Classes {
        let mut overlay_ports = OVERLAY_PORTS.to_vec();
        overlay_ports.extend_from_slice(more_overlay_ports);
        Classes { inside: cluster_cidrs.to_vec(), outside: outside_cidrs.to_vec(), overlay_ports }
    }

    /// Adds the port of a tunnel that the kernel has; it stays, for its connections outlive the tunnel.
    pub fn learn_tunnel(&mut self, port: u16) {
        if !self.overlay_ports.contains(&port) && self.overlay_ports.len() < PORTS_MAX {
            self.overlay_ports.push(port);
        }
    }

    /// Whether an address is of many: multicast (224.0.0.0/4, ff00::/8) or the broadcast of every network.
    pub fn is_of_many(addr: Addr) -> bool {
        let octets = addr.octets();
        match addr.is_v4() {
            true => octets[12] >> 4 == 0xe || octets[12..] == [0xff; 4],
            false => octets[0] == 0xff,
        }
    }

    /// Whether an address lies inside.
    pub fn is_inside(&self, addr: Addr) -> bool {
        self.inside.iter().any(|range| range.contains(addr)) && !self.outside.iter().any(|range| range.contains(addr))
    }

    /// Whether an address lies in `-cluster-cidrs`, whatever `-outside-cidrs` cuts out of them.
    pub fn is_in_cluster(&self, addr: Addr) -> bool {
        self.inside.iter().any(|range| range.contains(addr))
    }

    /// Whether protocol and responder's port belong to a tunnel. Between `host` and an inside address its content is
    /// counted already (rule 6).
    pub fn is_tunnel(&self, proto: u8, port: u16) -> bool {
        OVERLAY_PROTOCOLS.contains(&proto) || (proto == protocol::UDP && self.overlay_ports.contains(&port))
    }

    /// The range of `addr` that a folded row stands for: its /24 or /64. `None` if the border between inside and outside
    /// crosses that range, because folding would then change the class.
    pub fn prefix_of(&self, addr: Addr) -> Option<Addr> {
        let bits = if addr.is_v4() { 24 } else { 64 };
        let prefix = Cidr::new(addr, bits)?;
        let crossed = self.inside.iter().chain(&self.outside).any(|range| range.is_narrower_within(&prefix));
        (!crossed).then(|| prefix.first())
    }

    /// The address that stands for all remote addresses of a class and family: the first address of the first inside
    /// range, or `0.0.0.0` / `::`.
    pub fn stand_in(&self, class: Class, v4: bool) -> Addr {
        let unspecified = if v4 { Addr::UNSPECIFIED_V4 } else { Addr::UNSPECIFIED_V6 };
        match class {
            Class::Outside | Class::Multicast => unspecified,
            Class::Inside | Class::Overlay => {
                self.inside.iter().find(|range| range.is_v4() == v4).map_or(unspecified, Cidr::first)
            }
        }
    }
}

#[cfg(test)]
mod tests;
