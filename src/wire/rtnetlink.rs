//! Links, their counters and routes as rtnetlink says them (rtnetlink(7); `include/uapi/linux/if_link.h`, `rtnetlink.h`).
//!
//! Knows how requests and answers are written, and nothing of sockets.

use super::netlink::{Attributes, Writer, u16_ne, u32_ne};
use crate::flow::{Addr, Counts, TxRx};

/// `RTM_NEWLINK`.
pub const NEW_LINK: u16 = 16;
/// `RTM_NEWROUTE`.
pub const NEW_ROUTE: u16 = 24;
/// `RTM_NEWSTATS`.
pub const NEW_STATS: u16 = 92;

const GET_LINK: u16 = 18;
const GET_ROUTE: u16 = 26;
const GET_STATS: u16 = 94;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// `struct ifinfomsg`.
const LINK_HEADER: usize = 16;
/// `struct rtmsg`.
const ROUTE_HEADER: usize = 12;
/// `struct if_stats_msg`.
const STATS_HEADER: usize = 12;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VXLAN_LINK: u16 = 3;
const IFLA_EXT_MASK: u16 = 29;
/// Leaves out counters, which `RTM_GETSTATS` has in a tenth of the bytes.
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
const IFLA_STATS_LINK_64: u16 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_METRICS: u16 = 8;
const RTAX_MTU: u16 = 2;
const RTN_UNICAST: u8 = 1;
const RTN_MULTICAST: u8 = 5;

/// What a link is, as far as it matters who carries its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// A device of the machine, or of no kind that is listed here.
    Plain,
    /// The loopback device.
    Loopback,
    /// The end of a pair.
    Veth,
    /// Carries its packets by those that are its slaves.
    Gathered,
    /// Carries its packets by the link below it, with a tag.
    Vlan,
    /// Carries its packets within others.
    Tunnel {
        /// Bytes that the kernel puts before each packet, over IPv4; 0 where a program does it, whose socket is seen.
        overhead: u8,
    },
    /// Carries nothing.
    Dummy,
}

/// One link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number.
    pub index: u32,
    /// Its name, with zeros behind it.
    pub name: [u8; 16],
    /// What it is.
    pub kind: LinkKind,
    /// The link below it, 0 if none.
    pub lower: u32,
    /// The bond or bridge that it is a slave of, 0 if none.
    pub master: u32,
    /// Largest layer-3 length.
    pub mtu: u32,
    /// Whether its frames have Ethernet headers.
    pub is_ethernet: bool,
}

/// Asks for all links.
pub fn all_links() -> Vec<u8> {
    let mut writer = Writer::default();
    writer.message(GET_LINK, NLM_F_REQUEST | NLM_F_DUMP, 1);
    writer.raw(&[0; LINK_HEADER]);
    writer.attribute(IFLA_EXT_MASK, &RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    writer.finish()
}

/// Asks for a link's counters, in the buffer of a request before.
pub fn counters_of(index: u32, buffer: Vec<u8>) -> Vec<u8> {
    let mut writer = Writer::reusing(buffer);
    writer.message(GET_STATS, NLM_F_REQUEST, 1);
    writer.raw(&[0; 4]);
    writer.raw(&index.to_ne_bytes());
    // The filter's bit n is attribute n + 1.
    writer.raw(&1_u32.to_ne_bytes());
    writer.finish()
}

/// Asks which way packets to an address go, in the buffer of a request before.
pub fn route_to(addr: Addr, buffer: Vec<u8>) -> Vec<u8> {
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    let octets = addr.octets();
    let (family, length, bytes) =
        if addr.is_v4() { (AF_INET, 32, octets.get(12..)) } else { (AF_INET6, 128, Some(&octets[..])) };
    let mut writer = Writer::reusing(buffer);
    writer.message(GET_ROUTE, NLM_F_REQUEST, 1);
    writer.raw(&[family, length, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    writer.attribute(RTA_DST, bytes.unwrap_or_default());
    writer.finish()
}

/// The link of an `RTM_NEWLINK` message.
pub fn link(payload: &[u8]) -> Option<Link> {
    const ARPHRD_ETHER: u16 = 1;
    const ARPHRD_LOOPBACK: u16 = 772;
    let arp_type = u16_ne(payload, 2)?;
    let mut link = Link {
        index: u32_ne(payload, 4)?,
        name: [0; 16],
        kind: if arp_type == ARPHRD_LOOPBACK { LinkKind::Loopback } else { LinkKind::Plain },
        lower: 0,
        master: 0,
        mtu: 0,
        is_ethernet: arp_type == ARPHRD_ETHER,
    };
    for attribute in Attributes::of(payload.get(LINK_HEADER..)?).map_while(Result::ok) {
        match attribute.kind {
            IFLA_IFNAME => link.name.iter_mut().zip(attribute.value).for_each(|(to, from)| *to = *from),
            IFLA_MTU => link.mtu = u32_ne(attribute.value, 0)?,
            IFLA_LINK => link.lower = u32_ne(attribute.value, 0)?,
            IFLA_MASTER => link.master = u32_ne(attribute.value, 0)?,
            IFLA_LINKINFO => {
                let within = || Attributes::of(attribute.value).map_while(Result::ok);
                let Some(kind) = within().find(|inner| inner.kind == IFLA_INFO_KIND) else { continue };
                link.kind = kind_of(kind.value);
                if kind.value.starts_with(b"vxlan")
                    && let Some(data) = within().find(|inner| inner.kind == IFLA_INFO_DATA)
                {
                    let said = Attributes::of(data.value).map_while(Result::ok);
                    let below = said.filter(|inner| inner.kind == IFLA_VXLAN_LINK).last();
                    link.lower = below.and_then(|below| u32_ne(below.value, 0)).unwrap_or(link.lower);
                }
            }
            _ => {}
        }
    }
    Some(link)
}

fn kind_of(name: &[u8]) -> LinkKind {
    match name.strip_suffix(b"\0").unwrap_or(name) {
        b"veth" | b"netkit" => LinkKind::Veth,
        b"bond" | b"team" | b"bridge" | b"openvswitch" => LinkKind::Gathered,
        b"vlan" | b"macvlan" | b"ipvlan" => LinkKind::Vlan,
        b"dummy" | b"ifb" | b"nlmon" | b"vrf" => LinkKind::Dummy,
        // IP 20, UDP 8, the header of the tunnel 8, and the Ethernet header within 14.
        b"vxlan" | b"geneve" => LinkKind::Tunnel { overhead: 50 },
        b"ipip" | b"sit" => LinkKind::Tunnel { overhead: 20 },
        b"gre" => LinkKind::Tunnel { overhead: 24 },
        b"gretap" => LinkKind::Tunnel { overhead: 38 },
        // IP 20, UDP 8, the message 32; what it pads is not known.
        b"wireguard" => LinkKind::Tunnel { overhead: 60 },
        b"tun" | b"ip6tnl" | b"ip6gre" | b"ip6gretap" | b"erspan" | b"xfrm" | b"vti" | b"vti6" => {
            LinkKind::Tunnel { overhead: 0 }
        }
        _ => LinkKind::Plain,
    }
}

/// What a link sent and received, of an `RTM_NEWSTATS` message: `struct rtnl_link_stats64` begins with `rx_packets`,
/// `tx_packets`, `rx_bytes`, `tx_bytes`.
pub fn counters(payload: &[u8]) -> Option<TxRx> {
    let mut all = Attributes::of(payload.get(STATS_HEADER..)?).map_while(Result::ok);
    let found = all.find(|attribute| attribute.kind == IFLA_STATS_LINK_64)?.value;
    let at = |number: usize| Some(u64::from_ne_bytes(*found.get(number * 8..)?.first_chunk()?));
    Some(TxRx { tx: Counts { bytes: at(3)?, packets: at(1)? }, rx: Counts { bytes: at(2)?, packets: at(0)? } })
}

/// Where packets to an address leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The link's number; 0 where they leave by none: the host's own address, or one that nobody knows the way to.
    pub link: u32,
    /// What the route says of the largest layer-3 length; 0 where it says nothing.
    pub mtu: u32,
}

/// The answer to [`route_to`], of an `RTM_NEWROUTE` message.
pub fn hop(payload: &[u8]) -> Option<Hop> {
    let kind = *payload.get(7)?;
    let mut hop = Hop { link: 0, mtu: 0 };
    if kind != RTN_UNICAST && kind != RTN_MULTICAST {
        return Some(hop);
    }
    for attribute in Attributes::of(payload.get(ROUTE_HEADER..)?).map_while(Result::ok) {
        match attribute.kind {
            RTA_OIF => hop.link = u32_ne(attribute.value, 0)?,
            RTA_METRICS => {
                let mut within = Attributes::of(attribute.value).map_while(Result::ok);
                let said = within.find(|metric| metric.kind == RTAX_MTU);
                hop.mtu = said.and_then(|metric| u32_ne(metric.value, 0)).unwrap_or(0);
            }
            _ => {}
        }
    }
    Some(hop)
}

#[cfg(test)]
mod tests;
