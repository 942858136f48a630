//! Sums of increments by row: (owner, local address, remote address, responder port, protocol, direction).
//!
//! A row has three sums: open (since the last freeze), frozen (in the batch under way) and total (since it appeared), and
//! the rate of the last sweep ([`rate`]). A full table folds rows ([`fold`]) and never drops bytes. It knows neither
//! connections nor DAKR.

mod fold;
mod freeze;
mod persist;
mod rate;

use std::hash::{Hash, Hasher};

use crate::audit::Path;
use crate::class::Classes;
use crate::flow::{Addr, Class, Direction, Further, Split, TxRx};
use crate::ledger::Ledger;
use crate::names::RowName;
use crate::owner::OwnerId;
use crate::stats::{Lost, Withheld};
use crate::table::{Entry, Table};
use crate::topology::{Charge, Way};

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
    /// Scope, via and service. A row by name is found whatever they are, for they are decided when it is made; of folded
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
    mark: u32,
    /// Since the last freeze.
    pub open: TxRx,
    /// In the batch under way.
    pub frozen: TxRx,
    /// Since the row appeared.
    pub total: TxRx,
    /// When it last grew, monotonic.
    pub changed_mono_ns: u64,
    /// Its item in the batch under way.
    item: u32,
    /// Number of the zone and region of the remote end; 0 is not known.
    pub place: u16,
    pub push: Push,
    /// Whether tx and rx are known apart, which way its packets go, and whether `more` is an estimate.
    pub(crate) marks: Marks,
    /// Bytes sent and received in a second, over the time between the last two sweeps.
    pub rate: [f32; 2],
    /// Bytes of `total` at the last sweep.
    rated: [u64; 2],
    /// What is more of `total` on the wire: frames beyond one for each packet, and their headers (rule 17).
    pub more: Further,
}

/// [`Split`], [`Path`] and a bit in one byte, so that a row is no longer for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u8);

impl Marks {
    const ESTIMATED: u8 = 4;

    fn new(split: Split, path: Path, is_estimated: bool) -> Marks {
        Marks(path.number() << 3 | if is_estimated { Marks::ESTIMATED } else { 0 } | split as u8)
    }
    fn is_estimated(self) -> bool {
        self.0 & Marks::ESTIMATED != 0
    }
    fn split(self) -> Split {
        match self.0 & 3 {
            0 => Split::Known,
            1 => Split::Undecided,
            _ => Split::Unknown,
        }
    }
    fn path(self) -> Path {
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

    fn join_split(&mut self, split: Split) {
        self.marks = Marks::new(self.split().and(split), self.path(), self.is_estimated());
    }

    fn lengthen(&mut self, more: TxRx, is_estimated: bool) {
        self.more.add(more);
        self.marks = Marks::new(self.split(), self.path(), self.is_estimated() || is_estimated);
    }
}

/// What a local end sent and received since the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Increment {
    /// How much.
    pub counts: TxRx,
    /// Until when, monotonic.
    pub at_ns: u64,
    /// Whether tx and rx are known apart.
    pub split: Split,
}

/// What became of an increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Added {
    /// The way that it was counted under.
    pub way: Way,
    /// The slot of the row that took it; none if a row without a remote address took it, or it is lost.
    pub slot: Option<u32>,
    /// Whether that row is new, or used again after it was settled: it is to be named, and its way to be asked for.
    pub is_new: bool,
    /// Whether no row had room for it.
    pub is_lost: bool,
}

/// The rows of this node.
pub struct RowTable {
    table: Table<Row>,
    /// Number of rows of level `All`, for which a sixteenth of the slots is reserved.
    catch_alls: u32,
    /// Frozen in rows of the process before that have no place in this table: until they are settled.
    homeless: Vec<Row>,
    order: Vec<u32>,
    smallest: Vec<(u64, u32)>,
    /// New rows until the next search for rows to fold, after one that found too few; and whether that one found any.
    pause: u32,
    found_some: bool,
    /// Searches so far.
    #[cfg(test)]
    searches: u32,
    /// By slot: the name that the remote end was asked by.
    names: Vec<Option<RowName>>,
    /// When rates were taken last, monotonic.
    rated_ns: Option<u64>,
}

impl RowTable {
    /// Creates a table for at most `capacity` rows (at least 32).
    pub fn with_capacity(capacity: u32) -> RowTable {
        let capacity = capacity.max(32);
        RowTable {
            table: Table::with_capacity(capacity),
            catch_alls: 0,
            homeless: Vec::new(),
            order: Vec::with_capacity(capacity as usize),
            smallest: Vec::with_capacity(capacity as usize),
            pause: 0,
            found_some: false,
            #[cfg(test)]
            searches: 0,
            names: Vec::with_capacity(capacity as usize),
            rated_ns: None,
        }
    }

    pub fn len(&self) -> u32 {
        self.table.len()
    }

    /// Largest number of rows.
    pub fn capacity(&self) -> u32 {
        self.table.capacity()
    }

    /// The rows, those without a place included.
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.table.iter().map(|(_, row)| row).chain(&self.homeless)
    }

    /// The rows, each with its domain name if one is known.
    pub fn iter_named(&self) -> impl Iterator<Item = (&Row, Option<&RowName>)> {
        self.table.iter().map(|(slot, row)| (row, name_of(&self.names, slot)))
    }

    /// Sets or removes the domain name of the row in a slot.
    pub fn set_name(&mut self, slot: u32, name: Option<RowName>) {
        let at = slot as usize;
        if self.names.len() <= at && name.is_some() {
            // Within the capacity, so nothing is allocated.
            self.names.resize(at + 1, None);
        }
        if let Some(place) = self.names.get_mut(at) {
            *place = name;
        }
    }

    /// Reads ahead the rows that will be added to, in any order; see [`Table::warm`].
    pub fn warm<'a>(&self, keys: impl Iterator<Item = &'a RowKey>) {
        self.table.warm(keys);
    }

    /// Counts an increment of one local end, and folds rows if there is no room. `charge` is called for a row that is new
    /// or used again after it was settled (rule 18).
    pub fn add(
        &mut self,
        key: &RowKey,
        push: Push,
        Increment { counts: increment, at_ns, split }: Increment,
        classes: &Classes,
        ledger: &mut Ledger,
        charge: impl FnOnce() -> Charge,
    ) -> Added {
        ledger.counted += increment;
        if let Some(slot) = self.table.find(key) {
            return self.grow(slot, Increment { counts: increment, at_ns, split }, ledger, charge);
        }
        if self.named() >= self.named_capacity() {
            self.make_room(classes, ledger);
        }
        let Charge { way, place } = charge();
        let row = Row {
            key: RowKey { way, ..*key },
            mark: 0,
            open: increment,
            frozen: TxRx::ZERO,
            total: increment,
            changed_mono_ns: at_ns,
            item: 0,
            place,
            push,
            marks: Marks::new(split, Path::UNKNOWN, false),
            rate: [0.0; 2],
            rated: [0; 2],
            more: Further::ZERO,
        };
        if self.named() < self.named_capacity()
            && let Ok(slot) = self.table.insert(row)
        {
            ledger.open += increment;
            return Added { way, slot: Some(slot), is_new: true, is_lost: false };
        }
        let mut placed = self.merge_into_catch_all(&row, classes);
        if !placed && self.found_some {
            // Sums are sacred: rather a search more than bytes without a place.
            self.fold(classes, ledger);
            placed = self.merge_into_catch_all(&row, classes);
            if !placed
                && self.named() < self.named_capacity()
                && let Ok(slot) = self.table.insert(row)
            {
                ledger.open += increment;
                return Added { way, slot: Some(slot), is_new: true, is_lost: false };
            }
        }
        if placed {
            ledger.open += increment;
            ledger.folded_rows += 1;
            ledger.folded_bytes += increment.total_bytes();
        } else {
            ledger.lost[Lost::RowTableFull as usize] += increment;
        }
        Added { way, slot: None, is_new: false, is_lost: !placed }
    }

    /// Adds to a row that is there. What lies elsewhere now than when it was settled begins anew: nothing that was shown
    /// is shown under another scope.
    fn grow(
        &mut self,
        slot: u32,
        Increment { counts: increment, at_ns, split }: Increment,
        ledger: &mut Ledger,
        charge: impl FnOnce() -> Charge,
    ) -> Added {
        let nothing = Added { way: Way::UNKNOWN, slot: None, is_new: false, is_lost: false };
        let Some(row) = self.table.get_mut(slot) else { return nothing };
        let was_settled = row.open.is_zero() && row.frozen.is_zero();
        if was_settled && row.is_named() {
            let now = charge();
            if now != (Charge { way: row.key.way, place: row.place }) {
                row.total = TxRx::ZERO;
                row.rated = [0; 2];
                row.more = Further::ZERO;
                row.key.way = now.way;
                row.place = now.place;
            }
        }
        grow(row, increment, at_ns);
        row.join_split(split);
        ledger.open += increment;
        Added { way: row.key.way, slot: Some(slot), is_new: was_settled, is_lost: false }
    }

    /// Which way the packets of the row in a slot go.
    pub fn path(&self, slot: u32) -> Path {
        self.table.get(slot).map_or(Path::UNKNOWN, Row::path)
    }

    /// Sets it.
    pub fn set_path(&mut self, slot: u32, path: Path) {
        if let Some(row) = self.table.get_mut(slot) {
            row.marks = Marks::new(row.split(), path, row.is_estimated());
        }
    }

    /// Adds what an increment of the row in a slot is more on the wire, exact or estimated.
    pub fn lengthen(&mut self, slot: u32, more: TxRx, is_estimated: bool) {
        if let Some(row) = self.table.get_mut(slot) {
            row.lengthen(more, is_estimated);
        }
    }

    /// Removes settled rows that were idle for `idle_ns`.
    pub fn cleanup(&mut self, now_ns: u64, idle_ns: u64) {
        self.pause = 0;
        for slot in self.table.slots() {
            if let Some(row) = self.table.get(slot)
                && row.open.is_zero()
                && row.frozen.is_zero()
                && now_ns.saturating_sub(row.changed_mono_ns) >= idle_ns
            {
                self.take(slot);
            }
        }
    }

    fn take(&mut self, slot: u32) -> Option<Row> {
        let row = self.table.remove(slot)?;
        self.set_name(slot, None);
        self.catch_alls -= u32::from(row.key.level == Level::All);
        Some(row)
    }

    fn named(&self) -> u32 {
        self.table.len() - self.catch_alls
    }

    fn named_capacity(&self) -> u32 {
        self.table.capacity() - self.catch_all_capacity()
    }

    fn catch_all_capacity(&self) -> u32 {
        self.table.capacity() / 16
    }
}

fn name_of(names: &[Option<RowName>], slot: u32) -> Option<&RowName> {
    names.get(slot as usize)?.as_ref()
}

fn grow(row: &mut Row, increment: TxRx, at_ns: u64) {
    row.open += increment;
    row.total += increment;
    row.changed_mono_ns = row.changed_mono_ns.max(at_ns);
}

#[cfg(test)]
mod tests;
