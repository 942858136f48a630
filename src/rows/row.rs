//! A row and its name: what it is found by, its sums, and the marks that say how sure they are. It does not know the table
//! that it lies in.

use std::hash::{Hash, Hasher};

use crate::audit::Path;
use crate::flow::{Addr, Class, Direction, Further, Split, TxRx};
use crate::owner::OwnerId;
use crate::stats::Withheld;
use crate::table::Entry;
use crate::topology::Way;

/// A row's name.
#[derive(Clone, Copy, Debug, Eq)]
pub struct RowKey {
    /// The local end.
    pub local: Addr,
    /// The far end.
    pub remote: Addr,
    /// Owner of the local end.
    pub owner: OwnerId,
    /// The responder's port; 0 where the protocol has none.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Who opened the connections.
    pub direction: Direction,
    /// Where the remote address lies.
    pub class: Class,
    /// How much of the remote address is left.
    pub level: Level,
    /// Scope, via and service. A named row is found whatever they are, for they are decided when it is made. Of folded
    /// rows there is one for each.
    pub way: Way,
}

impl RowKey {
    /// What tells folded rows apart, and them from rows by name.
    #[inline(always)]
    fn fold(&self) -> u64 {
        match self.level {
            Level::Named => 0,
            level => u64::from(self.way.number()) << 2 | level as u64,
        }
    }

    /// All fields except the addresses and the way, as one word.
    #[inline(always)]
    fn rest(&self) -> u64 {
        let kind = u64::from(self.protocol) | (self.direction as u64) << 8 | (self.class as u64) << 12;
        kind | u64::from(self.port) << 16 | u64::from(self.owner.0) << 32
    }
}

// Three words instead of seven fields, as for a connection's key.
impl PartialEq for RowKey {
    #[inline(always)]
    fn eq(&self, other: &RowKey) -> bool {
        let addresses = (self.local.number() ^ other.local.number()) | (self.remote.number() ^ other.remote.number());
        addresses == 0 && self.rest() == other.rest() && self.fold() == other.fold()
    }
}

impl Hash for RowKey {
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.local.hash(state);
        self.remote.hash(state);
        // Above the port, where few owners have bits.
        state.write_u64(self.rest() ^ self.fold() << 48);
    }
}

/// The part of the remote address that a row still has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Level {
    /// All of it.
    #[default]
    Named,
    /// Its /24 or /64.
    Prefix,
    /// None: one row for each owner, direction, protocol, class and way.
    All,
}

/// Whether a row is pushed. Decided when the row is made; it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    Yes,
    /// Shown only, for this reason.
    No(Withheld),
}

/// One row. In this order, 208 bytes; adding to it touches the first 160, three or four lines of 64: see `far_end`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Row {
    pub key: RowKey,
    pub(super) mark: u32,
    /// Since the last freeze.
    pub open: TxRx,
    /// In the batch under way.
    pub frozen: TxRx,
    /// Since the row appeared.
    pub total: TxRx,
    /// When it last grew, monotonic.
    pub changed_mono_ns: u64,
    /// Its item in the batch under way.
    pub(super) item: u32,
    /// Number of the zone and region of the remote end; 0 is not known.
    pub place: u16,
    pub push: Push,
    /// Whether tx and rx are known apart, which way its packets go, and whether `more` is an estimate.
    pub(super) marks: Marks,
    /// Bytes sent and received in a second, over the time between the last two sweeps.
    pub rate: [f32; 2],
    /// Bytes of `total` at the last sweep.
    pub(super) rated: [u64; 2],
    /// What is more of `total` on the wire: frames beyond one for each packet, and their headers (rule 17).
    pub more: Further,
}

/// [`Split`], [`Path`] and a bit in one byte, so that a row is no longer for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    const ESTIMATED: u8 = 4;

    pub(super) fn new(split: Split, path: Path, is_estimated: bool) -> Marks {
        Marks(path.number() << 3 | if is_estimated { Marks::ESTIMATED } else { 0 } | split as u8)
    }
    pub(super) fn is_estimated(self) -> bool {
        self.0 & Marks::ESTIMATED != 0
    }
    pub(super) fn split(self) -> Split {
        match self.0 & 3 {
            0 => Split::Known,
            1 => Split::Undecided,
            _ => Split::Unknown,
        }
    }
    pub(super) fn path(self) -> Path {
        Path::of_number(self.0 >> 3)
    }
}

impl Entry for Row {
    type Key = RowKey;
    fn key(&self) -> &RowKey {
        &self.key
    }
    fn mark(&self) -> u32 {
        self.mark
    }
    fn set_mark(&mut self, mark: u32) {
        self.mark = mark;
    }
    // Offsets 0 (within the key), 48, 112 and 152; the mark is at 44.
    #[allow(clippy::cast_possible_truncation, reason = "the low bits spread rows over cells")]
    fn far_end(&self) -> u32 {
        self.key.local.number() as u32 ^ (self.open.tx.bytes ^ self.total.tx.bytes) as u32 ^ self.item
    }
}

impl Row {
    /// Whether it has its own remote address, not a folded one.
    pub fn is_named(&self) -> bool {
        self.key.level == Level::Named
    }

    /// Whether tx and rx are known apart.
    pub fn split(&self) -> Split {
        self.marks.split()
    }

    /// Which way its packets go, by the route when it was made or used again.
    pub fn path(&self) -> Path {
        self.marks.path()
    }

    /// Whether some of `more` is an estimate.
    pub fn is_estimated(&self) -> bool {
        self.marks.is_estimated()
    }

    /// Adds an increment.
    pub(super) fn grow(&mut self, increment: TxRx, at_ns: u64) {
        self.open += increment;
        self.total += increment;
        self.changed_mono_ns = self.changed_mono_ns.max(at_ns);
    }

    pub(super) fn join_split(&mut self, split: Split) {
        self.marks = Marks::new(self.split().and(split), self.path(), self.is_estimated());
    }

    pub(super) fn lengthen(&mut self, more: TxRx, is_estimated: bool) {
        self.more.add(more);
        self.marks = Marks::new(self.split(), self.path(), self.is_estimated() || is_estimated);
    }
}
