//! The plain `Copy` words that everything below shares: addresses, connections, counters, directions.
//!
//! Knows nothing of where a connection was seen, whose it is, or where its bytes go.

mod addr;
mod further;

use std::hash::{Hash, Hasher};
use std::ops::{Add, AddAssign, Sub};

use crate::listed;

pub use self::addr::{Addr, AddressChange, Cidr};
pub use self::further::Further;

/// IP protocol numbers that the code names (IANA).
pub mod protocol {
    pub const ICMP: u8 = 1;
    pub const IPIP: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const GRE: u8 = 47;
    pub const ESP: u8 = 50;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    pub const SCTP: u8 = 132;
}

/// Bytes and packets that went one way. Bytes are layer-3 lengths (rule 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Layer-3 bytes, IP header included.
    pub bytes: u64,
    /// Packets as the kernel hands them over.
    pub packets: u64,
}

impl Counts {
    pub const ZERO: Counts = Counts { bytes: 0, packets: 0 };

    /// Whether nothing was counted.
    pub fn is_zero(&self) -> bool {
        self.bytes == 0 && self.packets == 0
    }
}

impl Add for Counts {
    type Output = Counts;
    fn add(self, other: Counts) -> Counts {
        Counts { bytes: self.bytes.saturating_add(other.bytes), packets: self.packets.saturating_add(other.packets) }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        *self = *self + other;
    }
}

impl Sub for Counts {
    type Output = Counts;
    fn sub(self, other: Counts) -> Counts {
        Counts { bytes: self.bytes.saturating_sub(other.bytes), packets: self.packets.saturating_sub(other.packets) }
    }
}

/// What a connection carried, seen from the connection: `orig` from the originator, `reply` from the responder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Originator to responder.
    pub orig: Counts,
    /// Responder to originator.
    pub reply: Counts,
}

impl Traffic {
    pub const ZERO: Traffic = Traffic { orig: Counts::ZERO, reply: Counts::ZERO };

    /// Whether nothing was carried either way.
    pub fn is_zero(&self) -> bool {
        self.orig.is_zero() && self.reply.is_zero()
    }

    /// As the end with this direction sees it (`outbound`: the originator).
    pub fn seen_by(&self, direction: Direction) -> TxRx {
        match direction {
            Direction::Outbound => TxRx { tx: self.orig, rx: self.reply },
            Direction::Inbound => TxRx { tx: self.reply, rx: self.orig },
        }
    }

    /// Whether any of the four counters is below that of `base`: proof of a new connection (rule 10).
    pub fn any_below(&self, base: &Traffic) -> bool {
        self.orig.bytes < base.orig.bytes
            || self.orig.packets < base.orig.packets
            || self.reply.bytes < base.reply.bytes
            || self.reply.packets < base.reply.packets
    }
}

impl Traffic {
    /// Less `header_bytes` for each packet.
    pub fn without_headers(self, header_bytes: u8) -> Traffic {
        let cut = |c: Counts| {
            let headers = c.packets.saturating_mul(u64::from(header_bytes));
            Counts { bytes: c.bytes.saturating_sub(headers), ..c }
        };
        Traffic { orig: cut(self.orig), reply: cut(self.reply) }
    }
}

impl Sub for Traffic {
    type Output = Traffic;
    fn sub(self, base: Traffic) -> Traffic {
        Traffic { orig: self.orig - base.orig, reply: self.reply - base.reply }
    }
}

impl Add for Traffic {
    type Output = Traffic;
    fn add(self, other: Traffic) -> Traffic {
        Traffic { orig: self.orig + other.orig, reply: self.reply + other.reply }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Traffic) {
        *self = *self + other;
    }
}

/// What a local end sent and received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxRx {
    /// Sent by the local end.
    pub tx: Counts,
    /// Received by the local end.
    pub rx: Counts,
}

impl TxRx {
    /// Nothing sent or received.
    pub const ZERO: TxRx = TxRx { tx: Counts::ZERO, rx: Counts::ZERO };

    /// Whether nothing was sent or received.
    pub fn is_zero(&self) -> bool {
        self.tx.is_zero() && self.rx.is_zero()
    }

    /// Bytes in both directions, the measure by which rows are called small.
    pub fn total_bytes(&self) -> u64 {
        self.tx.bytes.saturating_add(self.rx.bytes)
    }
}

impl Add for TxRx {
    type Output = TxRx;
    fn add(self, other: TxRx) -> TxRx {
        TxRx { tx: self.tx + other.tx, rx: self.rx + other.rx }
    }
}

impl AddAssign for TxRx {
    fn add_assign(&mut self, other: TxRx) {
        *self = *self + other;
    }
}

impl Sub for TxRx {
    type Output = TxRx;
    fn sub(self, other: TxRx) -> TxRx {
        TxRx { tx: self.tx - other.tx, rx: self.rx - other.rx }
    }
}

listed! {
    /// Who opened a connection, seen from its local end.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum Direction {
        /// The local end is the originator.
        Outbound => "outbound",
        /// The local end is the responder.
        Inbound => "inbound",
    }
}

listed! {
    /// Where the remote address of a row lies (rules 6 and 9).
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum Class {
        /// Within the cluster's ranges.
        Inside => "inside",
        /// Beyond them.
        Outside => "outside",
        /// The node's own tunnel to an inside address: shown, never pushed.
        Overlay => "overlay",
        /// To many at once, multicast or broadcast: shown, never pushed.
        Multicast => "multicast",
    }
}

/// The key of a connection: the original tuple, with fields that distinguish equal tuples.
///
/// Laid out without padding; tables compare and hash it often.
#[derive(Clone, Copy, Debug, Eq, PartialOrd, Ord)]
pub struct ConnectionKey {
    /// The originator.
    pub src: Addr,
    /// Whom the originator asked for: before destination NAT, so a service address where there is one.
    pub dst: Addr,
    /// Port of the originator; for ICMP the id; 0 where the protocol has none.
    pub sport: u16,
    /// Port asked for; for ICMP type and code (`type << 8 | code`); 0 where the protocol has none.
    pub dport: u16,
    /// Conntrack zone (rule 7).
    pub ct_zone: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6, as in the packet.
    pub family: u8,
    /// 0; for a source with one entry per end twice the number of the table that holds it, plus 1 for the responder's.
    pub realm: u32,
}

impl ConnectionKey {
    /// The key of the entry that speaks for the responder, where a source has two.
    pub fn of_responder(self) -> ConnectionKey {
        ConnectionKey { realm: self.realm | 1, ..self }
    }

    /// All but the addresses, as one word.
    #[inline(always)]
    fn rest(&self) -> u128 {
        let ports = u64::from(self.sport) | u64::from(self.dport) << 16 | u64::from(self.ct_zone) << 32;
        let rest = u64::from(self.protocol) | u64::from(self.family) << 8 | u64::from(self.realm) << 16;
        u128::from(ports) | u128::from(rest) << 64
    }
}

// Three words instead of eight fields, and not one after the other, which would be made a comparison of bytes.
impl PartialEq for ConnectionKey {
    #[inline(always)]
    fn eq(&self, other: &ConnectionKey) -> bool {
        let (src, dst) = (self.src.number() ^ other.src.number(), self.dst.number() ^ other.dst.number());
        src | dst | (self.rest() ^ other.rest()) == 0
    }
}

impl Hash for ConnectionKey {
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.src.hash(state);
        self.dst.hash(state);
        state.write_u128(self.rest());
    }
}

/// The ends of a connection that a record covers (rule 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ends {
    /// Conntrack: one record for both.
    Both,
    /// A socket that connected; Cilium OUT.
    Originator,
    /// A socket that was connected to; Cilium IN.
    Responder,
    /// Cilium's entry for a node port or load balancer: the originator is elsewhere, and a responder on this node has
    /// its own entry.
    Neither,
}

impl Ends {
    /// Whether a record that covers these covers that end, too.
    pub fn has(self, end: Ends) -> bool {
        self == end || self == Ends::Both
    }

    /// These ends but for one.
    pub fn without(self, end: Ends) -> Ends {
        match (self, end) {
            (Ends::Both, Ends::Originator) => Ends::Responder,
            (Ends::Both, Ends::Responder) => Ends::Originator,
            (_, Ends::Both) => Ends::Neither,
            (ends, end) if ends == end => Ends::Neither,
            (ends, _) => ends,
        }
    }
}

/// The meaning of a record's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reading {
    /// Cumulative counters of a connection that lives (an entry of a dump).
    Live,
    /// The final cumulative counters of a connection that ended (a conntrack DESTROY).
    Ended,
    /// As [`Reading::Live`], of an entry that began in the midst of its connection: the originator may be the responder.
    PickedUp,
    /// As [`Reading::Ended`], of an entry that ended before its connection did.
    CutOff,
    /// Not cumulative: what was counted since the last sweep, to be taken as it is (drained BPF counters).
    Increment,
    /// As [`Reading::Increment`], of a tuple that conntrack was just found to count, too.
    Tracked,
    /// As [`Reading::Live`], of a source that has entries for some connections of the host's and not for others.
    Partial {
        /// Whether both ways are known apart.
        split: Split,
        /// Bytes of each packet that are counted and are not of layer 3 (rule 1).
        header_bytes: u8,
    },
}

impl Reading {
    /// Whether the counters are final.
    pub fn is_end(self) -> bool {
        matches!(self, Reading::Ended | Reading::CutOff)
    }

    /// Whether the counters are what was counted since the last reading.
    pub fn is_increment(self) -> bool {
        matches!(self, Reading::Increment | Reading::Tracked)
    }
}

/// Whether what the local end sent and what it received is known apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Split {
    #[default]
    Known,
    /// The source does not know yet.
    Undecided,
    /// Only the sum of both is known; it is stored as tx.
    Unknown,
}

impl Split {
    /// Combines two values: Undecided takes the other; Unknown wins over Known.
    pub fn and(self, other: Split) -> Split {
        match (self, other) {
            (Split::Undecided, other) | (other, Split::Undecided) => other,
            (Split::Known, Split::Known) => Split::Known,
            _ => Split::Unknown,
        }
    }
}

/// One record of a source about one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    pub key: ConnectionKey,
    /// Who answers: after destination NAT, before source NAT (conntrack: `reply.src`; rule 3).
    pub backend: Addr,
    /// The responder's port after NAT; 0 where the protocol has none (rule 4).
    pub backend_port: u16,
    /// The ends that it covers.
    pub ends: Ends,
    /// How to read `traffic`.
    pub reading: Reading,
    /// The kernel's id of the entry, 0 if it has none. A different id proves a new connection, an equal one nothing.
    pub id: u32,
    /// When the connection began, wall clock, 0 if unknown.
    pub start_ns: u64,
    pub traffic: Traffic,
    /// What is more of it on the wire: frames beyond one for each packet, and their headers. `None`: the source counts
    /// what the kernel hands over and no frames (rule 17).
    pub more: Option<Traffic>,
    /// The cgroup of the local socket, 0 if unknown.
    pub cgroup: u64,
}
#[cfg(test)]
mod tests;
