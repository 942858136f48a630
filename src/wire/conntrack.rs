//! One conntrack entry as ctnetlink tells it (`include/uapi/linux/netfilter/nfnetlink_conntrack.h`).
//!
//! Reads dump entries and DESTROY events alike into a [`Record`]; whether it is to be believed is decided elsewhere.

mod usual;

use super::Malformed;
use super::netlink::{Attributes, Writer, u16_be, u32_be, u64_be};
use crate::flow::{Addr, Connection, ConnectionKey, Counts, Ends, Reading, Traffic, protocol};

/// `NFNL_SUBSYS_CTNETLINK << 8`: the subsystem in the type of a message.
pub const SUBSYSTEM: u16 = 1 << 8;
/// `IPCTNL_MSG_CT_NEW`: an entry of a dump.
pub const MESSAGE_NEW: u16 = SUBSYSTEM;
/// `IPCTNL_MSG_CT_GET`: the request for one.
pub const MESSAGE_GET: u16 = SUBSYSTEM | 1;
/// `IPCTNL_MSG_CT_DELETE`: in an event, the end of a connection.
pub const MESSAGE_DELETE: u16 = SUBSYSTEM | 2;
/// `IPCTNL_MSG_CT_GET_STATS`.
pub const MESSAGE_GET_STATS: u16 = SUBSYSTEM | 5;
/// `NFNLGRP_CONNTRACK_DESTROY`.
pub const GROUP_DESTROY: u32 = 3;
/// `IPS_DYING` in the status of an entry that has already ended.
pub const STATUS_DYING: u32 = 1 << 9;

/// `IPS_ASSURED`: more than a question and its answer went both ways.
const STATUS_ASSURED: u32 = 1 << 2;

/// `struct nfgenmsg`.
const GENERIC_HEADER: usize = 4;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

mod attribute {
    pub const TUPLE_ORIG: u16 = 1;
    pub const TUPLE_REPLY: u16 = 2;
    pub const STATUS: u16 = 3;
    pub const PROTOINFO: u16 = 4;
    pub const COUNTERS_ORIG: u16 = 9;
    pub const COUNTERS_REPLY: u16 = 10;
    pub const ID: u16 = 12;
    pub const ZONE: u16 = 18;
    pub const TIMESTAMP: u16 = 20;

    pub const TUPLE_IP: u16 = 1;
    pub const TUPLE_PROTO: u16 = 2;
    pub const TUPLE_ZONE: u16 = 3;

    pub const IP_V4_SRC: u16 = 1;
    pub const IP_V4_DST: u16 = 2;
    pub const IP_V6_SRC: u16 = 3;
    pub const IP_V6_DST: u16 = 4;

    pub const PROTO_NUM: u16 = 1;
    pub const PROTO_SRC_PORT: u16 = 2;
    pub const PROTO_DST_PORT: u16 = 3;
    pub const PROTO_ICMP_ID: u16 = 4;
    pub const PROTO_ICMP_TYPE: u16 = 5;
    pub const PROTO_ICMP_CODE: u16 = 6;
    pub const PROTO_ICMPV6_ID: u16 = 7;
    pub const PROTO_ICMPV6_TYPE: u16 = 8;
    pub const PROTO_ICMPV6_CODE: u16 = 9;

    pub const COUNTERS_PACKETS: u16 = 1;
    pub const COUNTERS_BYTES: u16 = 2;
    pub const COUNTERS32_PACKETS: u16 = 3;
    pub const COUNTERS32_BYTES: u16 = 4;

    pub const TIMESTAMP_START: u16 = 1;

    pub const PROTOINFO_TCP: u16 = 1;
    pub const TCP_STATE: u16 = 1;
    pub const TCP_FLAGS_ORIGINAL: u16 = 4;
}

/// What one message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// The connection; `reading` is what the caller said.
    pub connection: Connection,
    /// `CTA_STATUS`, 0 where absent.
    pub status: u32,
    /// Whether both directions' counters are there. An entry made before accounting was on never has them.
    pub has_counters: bool,
    /// `CTA_PROTOINFO_TCP_STATE`, 0 where absent.
    pub tcp_state: u8,
    /// `CTA_PROTOINFO_TCP_FLAGS_ORIGINAL`, 0 where absent.
    pub tcp_flags: u8,
}

impl Record {
    /// Whether conntrack saw the connection begin in its midst, so that its originator is whoever sent first since. The
    /// kernel marks such an entry as liberal. Open vSwitch marks its entries so too, but they saw the handshake and
    /// with it the window scale.
    pub fn is_picked_up(&self) -> bool {
        const WINDOW_SCALE: u8 = 1;
        const BE_LIBERAL: u8 = 8;
        self.tcp_flags & (WINDOW_SCALE | BE_LIBERAL) == BE_LIBERAL
    }

    /// Whether the entry ended before its connection did: by hand, or idle beyond its time-out. Before Linux 5.11 the end
    /// of an entry does not tell the state, and every TCP connection may have gone on.
    pub fn is_cut_off(&self) -> bool {
        const ESTABLISHED: u8 = 3;
        match self.connection.key.protocol {
            protocol::TCP => matches!(self.tcp_state, 0 | ESTABLISHED),
            protocol::UDP => self.status & STATUS_ASSURED != 0,
            _ => false,
        }
    }
}

/// One direction of an entry. Addresses are numbers, which stay in registers. As bytes they would be put together in
/// memory piece by piece, and a read of the whole would wait for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tuple {
    src: u128,
    dst: u128,
    sport: u16,
    dport: u16,
    protocol: u8,
    ct_zone: u16,
    /// Bit n - 1 for attribute n of `CTA_TUPLE_IP`.
    addresses: u8,
    has_protocol: bool,
}

/// Both addresses of a family, as bits of [`Tuple::addresses`].
const V4_BITS: u8 = 0b0011;
const V6_BITS: u8 = 0b1100;

/// Reads the payload of a conntrack message (what follows `struct nlmsghdr`).
///
/// # Errors
/// [`Malformed`] where a length is wrong, or one of the two tuples that name the connection is missing. So it is where
/// an address is not of the message's family.
pub fn parse(payload: &[u8], reading: Reading) -> Result<Record, Malformed> {
    let (family, addresses) = match payload.first() {
        Some(&AF_INET) => (4, V4_BITS),
        Some(&AF_INET6) => (6, V6_BITS),
        _ => return Err(Malformed),
    };
    let attributes = payload.get(GENERIC_HEADER..).ok_or(Malformed)?;
    // The walk carries where the large values stand, not what they say: their bytes would be moved from turn to turn.
    let (mut orig, mut reply): (Option<&[u8]>, Option<&[u8]>) = (None, None);
    let (mut orig_counts, mut reply_counts): (Option<&[u8]>, Option<&[u8]>) = (None, None);
    let (mut status, mut id, mut ct_zone, mut start_ns) = (0, 0, None, 0);
    let mut protoinfo: Option<&[u8]> = None;
    for attribute in Attributes::of(attributes) {
        let attribute = attribute?;
        let value = attribute.value;
        match attribute.kind {
            attribute::TUPLE_ORIG => orig = Some(value),
            attribute::TUPLE_REPLY => reply = Some(value),
            attribute::STATUS => status = u32_be(value).ok_or(Malformed)?,
            attribute::PROTOINFO => protoinfo = Some(value),
            attribute::COUNTERS_ORIG => orig_counts = Some(value),
            attribute::COUNTERS_REPLY => reply_counts = Some(value),
            attribute::ID => id = u32_be(value).ok_or(Malformed)?,
            attribute::ZONE => ct_zone = Some(u16_be(value).ok_or(Malformed)?),
            attribute::TIMESTAMP => start_ns = start(value)?,
            _ => {}
        }
    }
    let orig = read_tuple(orig.ok_or(Malformed)?)?;
    let reply = read_tuple(reply.ok_or(Malformed)?)?;
    let (orig_counts, reply_counts) = (read_counts(orig_counts)?, read_counts(reply_counts)?);
    if orig.addresses != addresses || reply.addresses != addresses {
        return Err(Malformed);
    }
    let connection = Connection {
        key: ConnectionKey {
            src: Addr::from_number(orig.src),
            dst: Addr::from_number(orig.dst),
            sport: orig.sport,
            dport: orig.dport,
            // A zone for one direction alone stands in that direction's tuple. The kernel looks an original tuple up in
            // the zone of its own direction. So that zone tells equal tuples apart; the reply's does not.
            ct_zone: ct_zone.unwrap_or(orig.ct_zone),
            protocol: orig.protocol,
            family,
            realm: 0,
        },
        backend: Addr::from_number(reply.src),
        backend_port: if has_ports(reply.protocol) { reply.sport } else { 0 },
        ends: Ends::Both,
        reading,
        id,
        start_ns,
        traffic: Traffic { orig: orig_counts.unwrap_or_default(), reply: reply_counts.unwrap_or_default() },
        more: None,
        cgroup: 0,
    };
    let has_counters = orig_counts.is_some() && reply_counts.is_some();
    let (tcp_state, tcp_flags) = protoinfo.map_or(Ok((0, 0)), tcp_info)?;
    Ok(Record { connection, status, has_counters, tcp_state, tcp_flags })
}

/// One direction of a connection with ports, as asked for by [`request`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OneWay {
    /// Who sends.
    pub src: Addr,
    /// Who receives.
    pub dst: Addr,
    /// The sender's port.
    pub sport: u16,
    /// The receiver's port.
    pub dport: u16,
    /// IP protocol number; one with ports.
    pub protocol: u8,
    /// 4 or 6.
    pub family: u8,
}

impl OneWay {
    /// The other direction.
    pub fn reversed(&self) -> OneWay {
        OneWay { src: self.dst, dst: self.src, sport: self.dport, dport: self.sport, ..*self }
    }
}

/// Writes the request for the entry that has `tuple` as either of its directions, in the default zone. The kernel
/// answers with one message: the entry, or an error (`ENOENT`).
pub fn request(buffer: Vec<u8>, seq: u32, tuple: &OneWay) -> Vec<u8> {
    // NLM_F_REQUEST
    const FLAGS: u16 = 1;
    let mut writer = Writer::reusing(buffer);
    writer.message(MESSAGE_GET, FLAGS, seq);
    writer.raw(&[if tuple.family == 4 { AF_INET } else { AF_INET6 }, 0, 0, 0]);
    writer.nested(attribute::TUPLE_ORIG, |writer| {
        writer.nested(attribute::TUPLE_IP, |writer| {
            let (src, dst) = (tuple.src.octets(), tuple.dst.octets());
            if tuple.family == 4 {
                writer.attribute(attribute::IP_V4_SRC, &src[12..]);
                writer.attribute(attribute::IP_V4_DST, &dst[12..]);
            } else {
                writer.attribute(attribute::IP_V6_SRC, src);
                writer.attribute(attribute::IP_V6_DST, dst);
            }
        });
        writer.nested(attribute::TUPLE_PROTO, |writer| {
            writer.attribute(attribute::PROTO_NUM, &[tuple.protocol]);
            writer.attribute(attribute::PROTO_SRC_PORT, &tuple.sport.to_be_bytes());
            writer.attribute(attribute::PROTO_DST_PORT, &tuple.dport.to_be_bytes());
        });
    });
    writer.finish()
}

/// Others have none, though conntrack keeps something of theirs where ports stand (ICMP's id, GRE's key).
pub(super) fn has_ports(number: u8) -> bool {
    const DCCP: u8 = 33;
    const UDPLITE: u8 = 136;
    matches!(number, protocol::TCP | protocol::UDP | protocol::SCTP | DCCP | UDPLITE)
}

#[inline(always)]
fn read_tuple(value: &[u8]) -> Result<Tuple, Malformed> {
    match usual::tuple(value) {
        Some(tuple) => Ok(tuple),
        None => tuple(value),
    }
}

#[inline(always)]
fn read_counts(value: Option<&[u8]>) -> Result<Option<Counts>, Malformed> {
    let Some(value) = value else { return Ok(None) };
    match usual::counts(value) {
        None => counts(value),
        read => Ok(read),
    }
}

#[cold]
fn tuple(value: &[u8]) -> Result<Tuple, Malformed> {
    let mut tuple = Tuple::default();
    for part in Attributes::of(value) {
        let part = part?;
        match part.kind {
            attribute::TUPLE_IP => addresses(part.value, &mut tuple)?,
            attribute::TUPLE_PROTO => ports(part.value, &mut tuple)?,
            attribute::TUPLE_ZONE => tuple.ct_zone = u16_be(part.value).ok_or(Malformed)?,
            _ => {}
        }
    }
    if tuple.has_protocol { Ok(tuple) } else { Err(Malformed) }
}

fn addresses(value: &[u8], tuple: &mut Tuple) -> Result<(), Malformed> {
    for part in Attributes::of(value) {
        let part = part?;
        let address = match part.kind {
            attribute::IP_V4_SRC | attribute::IP_V4_DST => Addr::from_v4(part.value.try_into().map_err(|_| Malformed)?),
            attribute::IP_V6_SRC | attribute::IP_V6_DST => Addr::from_v6(part.value.try_into().map_err(|_| Malformed)?),
            _ => continue,
        };
        if part.kind == attribute::IP_V4_SRC || part.kind == attribute::IP_V6_SRC {
            tuple.src = address.number();
        } else {
            tuple.dst = address.number();
        }
        tuple.addresses |= 1 << (part.kind - 1);
    }
    Ok(())
}

#[allow(clippy::cast_possible_truncation, reason = "netlink's attribute of one byte")]
fn ports(value: &[u8], tuple: &mut Tuple) -> Result<(), Malformed> {
    for part in Attributes::of(value) {
        let part = part?;
        let byte = || part.value.first().copied().map(u16::from).ok_or(Malformed);
        match part.kind {
            attribute::PROTO_NUM => {
                tuple.protocol = byte()? as u8;
                tuple.has_protocol = true;
            }
            attribute::PROTO_SRC_PORT | attribute::PROTO_ICMP_ID | attribute::PROTO_ICMPV6_ID => {
                tuple.sport = u16_be(part.value).ok_or(Malformed)?;
            }
            attribute::PROTO_DST_PORT => tuple.dport = u16_be(part.value).ok_or(Malformed)?,
            attribute::PROTO_ICMP_TYPE | attribute::PROTO_ICMPV6_TYPE => tuple.dport |= byte()? << 8,
            attribute::PROTO_ICMP_CODE | attribute::PROTO_ICMPV6_CODE => tuple.dport |= byte()?,
            _ => {}
        }
    }
    Ok(())
}

#[cold]
fn counts(value: &[u8]) -> Result<Option<Counts>, Malformed> {
    let (mut bytes, mut packets) = (None, None);
    for part in Attributes::of(value) {
        let part = part?;
        match part.kind {
            attribute::COUNTERS_PACKETS => packets = Some(u64_be(part.value).ok_or(Malformed)?),
            attribute::COUNTERS_BYTES => bytes = Some(u64_be(part.value).ok_or(Malformed)?),
            attribute::COUNTERS32_PACKETS => packets = Some(u64::from(u32_be(part.value).ok_or(Malformed)?)),
            attribute::COUNTERS32_BYTES => bytes = Some(u64::from(u32_be(part.value).ok_or(Malformed)?)),
            _ => {}
        }
    }
    Ok(bytes.zip(packets).map(|(bytes, packets)| Counts { bytes, packets }))
}

/// State and flags, of TCP.
fn tcp_info(value: &[u8]) -> Result<(u8, u8), Malformed> {
    let (mut state, mut flags) = (0, 0);
    for part in Attributes::of(value) {
        let part = part?;
        if part.kind != attribute::PROTOINFO_TCP {
            continue;
        }
        for part in Attributes::of(part.value) {
            let part = part?;
            match part.kind {
                attribute::TCP_STATE => state = part.value.first().copied().unwrap_or(0),
                attribute::TCP_FLAGS_ORIGINAL => flags = part.value.first().copied().unwrap_or(0),
                _ => {}
            }
        }
    }
    Ok((state, flags))
}

fn start(value: &[u8]) -> Result<u64, Malformed> {
    let mut start_ns = 0;
    for part in Attributes::of(value) {
        let part = part?;
        if part.kind == attribute::TIMESTAMP_START {
            start_ns = u64_be(part.value).ok_or(Malformed)?;
        }
    }
    Ok(start_ns)
}

#[cfg(test)]
pub(crate) mod tests;
