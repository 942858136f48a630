//! One entry of Cilium's conntrack maps (Cilium `bpf/lib/common.h`, since 1.19 `bpf/lib/conntrack.h`), releases 1.10 on.
//!
//! The maps say neither who wrote them nor in which layout, and sizes are the same in all. Until 1.15 a value counts
//! each way apart ([`Layout::Split`]). Since 1.16 it holds one sum ([`Layout::Sum`]). Since 1.19 the bytes of one of
//! the old pairs may hold an address. [`Survey`] tells them apart by what the entries hold. Knows nothing of maps or
//! pods.

use super::Malformed;
use super::conntrack::{OneWay, has_ports};
use crate::flow::{Addr, Connection, ConnectionKey, Counts, Ends, Reading, Split, Traffic};

/// Bytes of a key of the IPv4 maps (`struct ipv4_ct_tuple`).
pub const KEY4_BYTES: usize = 14;
/// Bytes of a key of the IPv6 maps (`struct ipv6_ct_tuple`).
pub const KEY6_BYTES: usize = 38;
/// Bytes of a value (`struct ct_entry`).
pub const VALUE_BYTES: usize = 56;
/// Bytes of Ethernet header that each counted packet has beside its layer-3 length.
pub const FRAME_HEADER_BYTES: u64 = 14;

/// Bits of the key's last byte; none of them is `OUT`.
mod flag {
    pub const IN: u8 = 1;
    pub const RELATED: u8 = 2;
    pub const SERVICE: u8 = 4;
}

/// Bits of the value's flags.
mod mark {
    pub const LB_LOOPBACK: u16 = 1 << 3;
    pub const NODE_PORT: u16 = 1 << 5;
    pub const DSR: u16 = 1 << 7;
}

/// Reports that lie so close to the newest are of the same time: a minute by Cilium's usual clock.
const RECENT: u32 = 64;

/// How values count. The bytes are the same in both: the second pair always counts, only its meaning differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// No entry has shown it yet.
    #[default]
    Unknown,
    /// Received and sent apart.
    Split,
    /// One sum of both directions.
    Sum,
    /// The same in a map that an older Cilium began: its entries' received counters stand still, and stay as they are.
    SumAfterSplit,
}

impl Layout {
    /// Whether tx and rx are known apart.
    pub fn is_split(self) -> bool {
        self == Layout::Split
    }
}

/// What kind of entry it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The originator's.
    Out,
    /// The responder's.
    In,
    /// A service's choice of a backend; the backend's entry counts its traffic.
    Service,
    /// Lets ICMP errors through.
    Related,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    src: Addr,
    dst: Addr,
    sport: u16,
    dport: u16,
    protocol: u8,
    family: u8,
    /// Offset 0 and 8: what came in, in the split layout.
    first: Counts,
    /// Offset 16 and 24: what went out, or the sum.
    second: Counts,
    marks: u16,
    /// TCP flags were seen in a packet from the peer, or a report of one was made.
    peer_was_heard: bool,
    /// The newer of the two reports, in whatever unit Cilium's clock has.
    reported: u32,
}

/// So many bytes of an array at an offset. A macro, for at `opt-level = "z"` a function (and `Index` of a range, which is
/// one) is called for each field.
macro_rules! at {
    ($bytes:ident, $at:literal, 2) => {
        [$bytes[$at], $bytes[$at + 1]]
    };
    ($bytes:ident, $at:literal, 4) => {
        [$bytes[$at], $bytes[$at + 1], $bytes[$at + 2], $bytes[$at + 3]]
    };
    ($bytes:ident, $at:literal, 6) => {
        [$bytes[$at], $bytes[$at + 1], $bytes[$at + 2], $bytes[$at + 3], $bytes[$at + 4], $bytes[$at + 5]]
    };
    ($bytes:ident, $at:literal, 8) => {{
        let [a, b, c, d, e, f] = at!($bytes, $at, 6);
        [a, b, c, d, e, f, $bytes[$at + 6], $bytes[$at + 7]]
    }};
    ($bytes:ident, $at:literal, 16) => {{
        let [a, b, c, d] = at!($bytes, $at, 4);
        let [e, f, g, h] = [$bytes[$at + 4], $bytes[$at + 5], $bytes[$at + 6], $bytes[$at + 7]];
        let [i, j, k, l] = [$bytes[$at + 8], $bytes[$at + 9], $bytes[$at + 10], $bytes[$at + 11]];
        let [m, n, o, p] = [$bytes[$at + 12], $bytes[$at + 13], $bytes[$at + 14], $bytes[$at + 15]];
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }};
}

/// Reads one entry.
///
/// # Errors
/// [`Malformed`] where a size is none of Cilium's, or without a protocol (Cilium's own tools take that for no entry).
#[inline(always)]
pub fn parse(key: &[u8], value: &[u8]) -> Result<Entry, Malformed> {
    let value: &[u8; VALUE_BYTES] = value.try_into().map_err(|_| Malformed)?;
    // Addresses stand the other way round than their names in the source say; in service entries the ports do.
    let (src, dst, rest, family) = if let Ok(key) = <&[u8; KEY4_BYTES]>::try_from(key) {
        (Addr::from_v4(at!(key, 0, 4)), Addr::from_v4(at!(key, 4, 4)), at!(key, 8, 6), 4)
    } else if let Ok(key) = <&[u8; KEY6_BYTES]>::try_from(key) {
        (Addr::from_v6(at!(key, 0, 16)), Addr::from_v6(at!(key, 16, 16)), at!(key, 32, 6), 6)
    } else {
        return Err(Malformed);
    };
    let [dport0, dport1, sport0, sport1, protocol, flags] = rest;
    if protocol == 0 {
        return Err(Malformed);
    }
    let kind = match flags {
        f if f & flag::SERVICE != 0 => Kind::Service,
        f if f & flag::RELATED != 0 => Kind::Related,
        f if f & flag::IN != 0 => Kind::In,
        _ => Kind::Out,
    };
    let (tx_report, rx_report) = (u32::from_le_bytes(at!(value, 48, 4)), u32::from_le_bytes(at!(value, 52, 4)));
    let first = [u64::from_le_bytes(at!(value, 0, 8)), u64::from_le_bytes(at!(value, 8, 8))];
    let second = [u64::from_le_bytes(at!(value, 16, 8)), u64::from_le_bytes(at!(value, 24, 8))];
    Ok(Entry {
        kind,
        src,
        dst,
        sport: u16::from_be_bytes([sport0, sport1]),
        dport: u16::from_be_bytes([dport0, dport1]),
        protocol,
        family,
        first: Counts { packets: first[0], bytes: first[1] },
        second: Counts { packets: second[0], bytes: second[1] },
        marks: u16::from_le_bytes(at!(value, 36, 2)),
        peer_was_heard: value[43] != 0 || rx_report != 0,
        reported: tx_report.max(rx_report),
    })
}

/// Writes the key of a conversation's entry of this kind and returns its bytes. `way` is the originator's direction; it
/// is the same before and after all translation.
pub fn key<'a>(kind: Kind, way: &OneWay, buffer: &'a mut [u8; KEY6_BYTES]) -> &'a [u8] {
    let flags = match kind {
        Kind::Out => 0,
        Kind::In => flag::IN,
        Kind::Related => flag::RELATED,
        Kind::Service => flag::SERVICE,
    };
    // A SERVICE entry stands as the answer would.
    let [first, second] = if kind == Kind::Service {
        [(way.dst, way.dport), (way.src, way.sport)]
    } else {
        [(way.src, way.sport), (way.dst, way.dport)]
    };
    let from = if way.src.is_v4() { 12 } else { 0 };
    let address = 16 - from;
    let ports = 2 * address;
    buffer[..address].copy_from_slice(&first.0.octets()[from..]);
    buffer[address..ports].copy_from_slice(&second.0.octets()[from..]);
    buffer[ports..ports + 2].copy_from_slice(&second.1.to_be_bytes());
    buffer[ports + 2..ports + 4].copy_from_slice(&first.1.to_be_bytes());
    buffer[ports + 4] = way.protocol;
    buffer[ports + 5] = flags;
    &buffer[..ports + 6]
}

impl Entry {
    /// Whether traffic passes that is not counted: it is alive, and every counter is 0.
    #[inline(always)]
    pub fn is_silent(&self) -> bool {
        self.second.is_zero() && !(self.kind == Kind::In && self.has_received())
    }

    /// A pod that reaches itself through a service, and stands in its entries as an address of the link.
    pub fn is_to_itself(&self) -> bool {
        self.marks & mark::LB_LOOPBACK != 0
    }

    /// Which backend a SERVICE entry has chosen, in every layout; see [`super::cilium_backend`].
    pub fn backend_id(&self) -> Option<u32> {
        u32::try_from(self.first.bytes).ok().filter(|_| self.kind == Kind::Service)
    }

    /// Whether the first pair can be counters: an address in its place is no likely number of packets of likely size.
    #[inline(always)]
    fn has_received(&self) -> bool {
        const PACKETS: std::ops::Range<u64> = 1..1 << 40;
        const LARGEST_BYTES: u64 = 1 << 20;
        let Counts { packets, bytes } = self.first;
        // No division, of which there would be two for each entry: the products fit.
        PACKETS.contains(&packets)
            && bytes >= packets * FRAME_HEADER_BYTES
            && bytes < packets * (LARGEST_BYTES + 1)
            && self.marks & mark::DSR == 0
    }

    /// The entry as a record. `map` is the id of the map that holds it.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "a frame's header has 14 bytes")]
    pub fn connection(&self, layout: Layout, map: u32) -> Connection {
        let is_in = self.kind == Kind::In;
        let rx = match layout {
            Layout::Split | Layout::SumAfterSplit if self.has_received() => self.first,
            _ => Counts::ZERO,
        };
        // The local end is the responder of an IN entry.
        let (orig, reply) = if is_in { (rx, self.second) } else { (self.second, rx) };
        let passes_through = self.kind == Kind::Out && self.marks & (mark::NODE_PORT | mark::DSR) != 0;
        let with_ports = has_ports(self.protocol);
        Connection {
            key: ConnectionKey {
                src: if self.is_to_itself() { self.dst } else { self.src },
                dst: self.dst,
                sport: self.sport,
                dport: self.dport,
                ct_zone: 0,
                protocol: self.protocol,
                family: self.family,
                // Ids are positive and of 31 bits.
                realm: map << 1 | u32::from(is_in),
            },
            backend: self.dst,
            backend_port: if with_ports { self.dport } else { 0 },
            ends: match self.kind {
                _ if passes_through => Ends::Neither,
                Kind::In => Ends::Responder,
                _ => Ends::Originator,
            },
            reading: Reading::Partial {
                split: match layout {
                    Layout::Unknown => Split::Undecided,
                    Layout::Split => Split::Known,
                    Layout::Sum | Layout::SumAfterSplit => Split::Unknown,
                },
                header_bytes: FRAME_HEADER_BYTES as u8,
            },
            id: 0,
            start_ns: 0,
            traffic: Traffic { orig, reply },
            more: None,
            cgroup: 0,
        }
    }
}

/// What the entries of one sweep, over all maps, show about their writer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Survey {
    /// The newest report of an entry that only the split layout explains.
    split: Option<u32>,
    /// Of an IN entry that only a sum explains: it was made by who writes sums.
    sum_in: Option<u32>,
    /// Of an OUT entry of that kind. Weaker: Cilium sets its parts one after the other.
    sum_out: Option<u32>,
    counted: Option<u32>,
    silent: Option<u32>,
}

/// What becomes of bytes, as the last sweep showed it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accounting {
    /// Nothing has told.
    #[default]
    Unknown,
    /// Entries count.
    On,
    /// Some entries of today count, others do not.
    Partly,
    /// No entry of today counts.
    Off,
}

impl Survey {
    /// Takes one OUT or IN entry.
    #[inline(always)]
    pub fn note(&mut self, entry: &Entry) {
        let newest = |place: &mut Option<u32>| {
            if place.is_none_or(|known| known < entry.reported) {
                *place = Some(entry.reported);
            }
        };
        if entry.is_silent() {
            newest(&mut self.silent);
        } else {
            newest(&mut self.counted);
        }
        // Releases up to 1.14 add a copy of the OUT entry as IN where a pod reaches itself.
        let is_copy = entry.is_to_itself();
        // In the split layout a packet that is counted as received makes an IN entry. One that is counted as sent makes
        // an OUT entry. A peer that was heard was counted.
        match entry.kind {
            _ if entry.has_received() => newest(&mut self.split),
            _ if is_copy => {}
            Kind::In if entry.first.packets == 0 => newest(&mut self.sum_in),
            Kind::Out if entry.first.packets == 0 && (entry.second.packets == 0 || entry.peer_was_heard) => {
                newest(&mut self.sum_out);
            }
            _ => {}
        }
    }

    /// The layout in force, `before` being the one believed until now.
    pub fn layout(&self, before: Layout) -> Layout {
        let sum = if before == Layout::Split { self.sum_in } else { self.sum_in.max(self.sum_out) };
        match (self.split, sum) {
            (None, None) => before,
            // An entry that an older Cilium made goes on; who makes new ones decides.
            (Some(split), Some(sum)) if sum.saturating_add(RECENT) < split => Layout::Split,
            (Some(_), None) => Layout::Split,
            (split, Some(_)) => match before {
                Layout::Sum => Layout::Sum,
                Layout::Unknown if split.is_none() => Layout::Sum,
                _ => Layout::SumAfterSplit,
            },
        }
    }

    /// Whether Cilium counts. An entry made while it did not stays at 0 until its next packet, so old ones say nothing.
    pub fn accounting(&self) -> Accounting {
        let newest = self.counted.max(self.silent);
        let is_recent = |at: Option<u32>| at.is_some() && at.map(|at| at.saturating_add(RECENT)) >= newest;
        match (is_recent(self.counted), is_recent(self.silent)) {
            (false, false) => Accounting::Unknown,
            (true, false) => Accounting::On,
            (true, true) => Accounting::Partly,
            (false, true) => Accounting::Off,
        }
    }
}

#[cfg(test)]
mod tests;
