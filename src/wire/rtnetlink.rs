//! Links, their counters and routes as rtnetlink says them (rtnetlink(7); `include/uapi/linux/if_link.h`, `rtnetlink.h`).
//!
//! Knows how requests and answers are written, and nothing of sockets.

use super::genetlink::Family;
use super::netlink::{Attributes, Writer, u16_be, u16_ne, u32_ne};
use crate::flow::{Addr, Cidr, Counts, TxRx};

/// `RTM_NEWLINK`.
pub const NEW_LINK: u16 = 16;
/// `RTM_NEWROUTE`.
pub const NEW_ROUTE: u16 = 24;
/// `RTM_NEWSTATS`.
pub const NEW_STATS: u16 = 92;

/// `RTM_NEWRULE`.
pub const NEW_RULE: u16 = 32;
/// `RTM_GETROUTE`.
pub const GET_ROUTE: u16 = 26;
/// `RTM_GETRULE`.
pub const GET_RULE: u16 = 34;
/// `AF_INET`.
pub const AF_INET: u8 = 2;
/// `AF_INET6`.
pub const AF_INET6: u8 = 10;
/// `RT_TABLE_LOCAL`: the host's own addresses.
pub const TABLE_LOCAL: u32 = 255;
/// `RT_TABLE_MAIN`.
pub const TABLE_MAIN: u32 = 254;
/// `RT_TABLE_DEFAULT`.
pub const TABLE_DEFAULT: u32 = 253;
/// Groups that hear of what decides where packets go: links, addresses (IPv4 drops routes with them in silence), routes
/// and rules of both families. Bit n - 1 is group n.
pub const ROUTE_GROUPS: u32 = 1 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 18;

const GET_LINK: u16 = 18;
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
const IFLA_VXLAN_PORT: u16 = 15;
const IFLA_GENEVE_PORT: u16 = 5;
const IFLA_IPTUN_ENCAP_TYPE: u16 = 15;
const IFLA_IPTUN_ENCAP_DPORT: u16 = 18;
const IFLA_GRE_ENCAP_TYPE: u16 = 14;
const IFLA_GRE_ENCAP_DPORT: u16 = 17;
/// `TUNNEL_ENCAP_FOU`: a header of UDP before the packet.
const ENCAP_FOU: u16 = 1;
/// `TUNNEL_ENCAP_GUE`: 4 bytes of its own behind that header.
const ENCAP_GUE: u16 = 2;
const IFLA_EXT_MASK: u16 = 29;
/// Leaves out counters, which `RTM_GETSTATS` has in a tenth of the bytes.
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
const IFLA_STATS_LINK_64: u16 = 1;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PRIORITY: u16 = 6;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
/// `RTNH_F_DEAD` and `RTNH_F_LINKDOWN`.
const RTNH_F_UNUSABLE: u32 = 1 | 16;
const RTN_THROW: u8 = 9;
/// `FR_ACT_TO_TBL`.
const ACTION_TABLE: u8 = 1;
/// `FIB_RULE_INVERT`, `FIB_RULE_UNRESOLVED` and `FIB_RULE_FIND_SADDR`.
const FIB_RULE_ODD: u32 = 2 | 4 | 0x10000;
const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_PROTOCOL: u16 = 21;
const RTAX_MTU: u16 = 2;
const RTN_UNICAST: u8 = 1;
const RTN_LOCAL: u8 = 2;
const RTN_BROADCAST: u8 = 3;
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
    /// The same, and its slaves exchange packets by it.
    Bridge,
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
    /// The UDP port at which the far ends of a VXLAN, Geneve, FoU or GUE tunnel answer; 0 where there is none.
    pub port: u16,
    /// Who knows of more ports of it.
    pub more_ports: Option<Family>,
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
    let octets = addr.octets();
    let (family, length, bytes) =
        if addr.is_v4() { (AF_INET, 32, octets.get(12..)) } else { (AF_INET6, 128, Some(&octets[..])) };
    let mut writer = Writer::reusing(buffer);
    writer.message(GET_ROUTE, NLM_F_REQUEST, 1);
    writer.raw(&[family, length, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    writer.attribute(RTA_DST, bytes.unwrap_or_default());
    writer.finish()
}

/// Asks for all routes or rules of a family: `struct rtmsg` and `struct fib_rule_hdr` are of one size.
pub fn all_of(kind: u16, family: u8) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.message(kind, NLM_F_REQUEST | NLM_F_DUMP, 1);
    writer.raw(&[family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
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
        port: 0,
        more_ports: None,
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
                link.kind = kind_of(name_of(kind.value));
                let data = within().find(|inner| inner.kind == IFLA_INFO_DATA).map_or(&[][..], |data| data.value);
                read_tunnel(&mut link, name_of(kind.value), data);
            }
            _ => {}
        }
    }
    Some(link)
}

/// The ports of a tunnel of this kind, and the link below a VXLAN, from what its kind alone has (`IFLA_INFO_DATA`).
fn read_tunnel(link: &mut Link, kind: &[u8], data: &[u8]) {
    let of =
        |kind: u16| Attributes::of(data).map_while(Result::ok).find(|said| said.kind == kind).map(|said| said.value);
    let port = |kind: u16| of(kind).and_then(u16_be).unwrap_or(0);
    let (encap, at) = match kind {
        b"vxlan" => {
            link.lower = of(IFLA_VXLAN_LINK).and_then(|value| u32_ne(value, 0)).unwrap_or(link.lower);
            link.port = port(IFLA_VXLAN_PORT);
            return;
        }
        b"geneve" => {
            link.port = port(IFLA_GENEVE_PORT);
            return;
        }
        b"wireguard" => {
            link.more_ports = Some(Family::WireGuard);
            return;
        }
        b"ipip" | b"sit" | b"ip6tnl" => (IFLA_IPTUN_ENCAP_TYPE, IFLA_IPTUN_ENCAP_DPORT),
        b"gre" | b"gretap" | b"ip6gre" | b"ip6gretap" => (IFLA_GRE_ENCAP_TYPE, IFLA_GRE_ENCAP_DPORT),
        _ => return,
    };
    let more = match of(encap).and_then(|value| u16_ne(value, 0)) {
        Some(ENCAP_FOU) => 8,
        Some(ENCAP_GUE) => 12,
        _ => return,
    };
    link.port = port(at);
    link.more_ports = Some(Family::Fou);
    if let LinkKind::Tunnel { overhead: overhead @ 1.. } = &mut link.kind {
        *overhead += more;
    }
}

fn name_of(value: &[u8]) -> &[u8] {
    value.strip_suffix(b"\0").unwrap_or(value)
}

fn kind_of(name: &[u8]) -> LinkKind {
    match name {
        b"veth" | b"netkit" => LinkKind::Veth,
        b"bond" | b"team" => LinkKind::Gathered,
        b"bridge" | b"openvswitch" => LinkKind::Bridge,
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
    if ![RTN_UNICAST, RTN_BROADCAST, RTN_MULTICAST].contains(&kind) {
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

/// One route of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub range: Cidr,
    /// The table that it is in.
    pub table: u32,
    /// Less is better.
    pub metric: u32,
    /// What the kernel answers by it; none where that depends on more than the address.
    pub hop: Option<Hop>,
    /// The link that has the address, where it leads to an address of the host's own; else 0.
    pub own_link: u32,
}

/// A route, of an `RTM_NEWROUTE` message of a dump.
pub fn route(payload: &[u8]) -> Option<Route> {
    let [family, prefix, source_prefix, tos, table, _, _, kind] = *payload.first_chunk()?;
    let any = if family == AF_INET { Addr::from_v4([0; 4]) } else { Addr::from_v6([0; 16]) };
    let (mut first, mut table, mut metric) = (any, u32::from(table), 0);
    let (mut link, mut is_single) = (0, true);
    for attribute in Attributes::of(payload.get(ROUTE_HEADER..)?).map_while(Result::ok) {
        match attribute.kind {
            RTA_DST if family == AF_INET => first = Addr::from_v4(attribute.value.try_into().ok()?),
            RTA_DST => first = Addr::from_v6(attribute.value.try_into().ok()?),
            RTA_OIF => link = u32_ne(attribute.value, 0)?,
            RTA_PRIORITY => metric = u32_ne(attribute.value, 0)?,
            RTA_MULTIPATH => is_single = false,
            RTA_TABLE => table = u32_ne(attribute.value, 0)?,
            _ => {}
        }
    }
    let is_known = kind < RTN_THROW && (link != 0 || kind != RTN_UNICAST);
    let is_usable = u32_ne(payload, 8)? & RTNH_F_UNUSABLE == 0;
    let is_plain = is_single && is_known && is_usable && source_prefix == 0 && tos == 0;
    let hop = if is_plain { hop(payload) } else { None };
    let own_link = if kind == RTN_LOCAL { link } else { 0 };
    Some(Route { range: Cidr::new(first, prefix)?, table, metric, hop, own_link })
}

/// What a rule means for a packet of which only the destination is known. It has no mark and no source, and no link
/// received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Nothing: it is for others.
    Never,
    /// The table is asked.
    Table {
        /// Which.
        table: u32,
        /// Whether for every destination.
        is_for_all: bool,
    },
    /// It depends.
    Odd,
}

/// A rule, of an `RTM_NEWRULE` message.
pub fn rule(payload: &[u8]) -> Option<Rule> {
    let [_, prefix, source_prefix, tos, table, _, _, action] = *payload.first_chunk()?;
    let mut table = u32::from(table);
    let mut is_odd = tos != 0 || action != ACTION_TABLE;
    let mut is_never = source_prefix > 0;
    for attribute in Attributes::of(payload.get(ROUTE_HEADER..)?).map_while(Result::ok) {
        match attribute.kind {
            FRA_TABLE => table = u32_ne(attribute.value, 0)?,
            FRA_FWMARK if u32_ne(attribute.value, 0)? != 0 => is_never = true,
            FRA_IIFNAME if attribute.value != b"lo\0" => is_never = true,
            FRA_SUPPRESS_PREFIXLEN if u32_ne(attribute.value, 0)? == u32::MAX => {}
            // The destination, and what does not matter.
            RTA_DST | FRA_PRIORITY | FRA_PROTOCOL => {}
            // The source of one that is never asked.
            _ => is_odd = true,
        }
    }
    Some(match () {
        () if u32_ne(payload, 8)? & FIB_RULE_ODD != 0 => Rule::Odd,
        () if is_never => Rule::Never,
        () if is_odd => Rule::Odd,
        () => Rule::Table { table, is_for_all: prefix == 0 },
    })
}

#[cfg(test)]
mod tests;
