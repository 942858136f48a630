//! Sums of increments by row: (owner, local address, remote address, responder port, protocol, direction).
//!
//! A row ([`row`]) has three sums: open (since the last freeze), frozen (in the batch under way) and total (since it
//! appeared). It also has the rate of the last sweep ([`rate`]). A full table folds rows ([`fold`]) and never drops
//! bytes. It knows neither connections nor DAKR.

mod fold;
mod freeze;
mod persist;
mod rate;
mod row;

pub use self::row::{Level, Push, Row, RowKey};

use self::row::Marks;
use crate::audit::Path;
use crate::class::Classes;
use crate::flow::{Further, Split, TxRx};
use crate::ledger::Ledger;
use crate::names::RowName;
use crate::stats::Lost;
use crate::table::Table;
use crate::topology::{Charge, Way};

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
        row.grow(increment, at_ns);
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

#[cfg(test)]
mod tests;
