//! Persists and restores the rows.

use super::{Level, Marks, Push, Row, RowKey, RowTable};
use crate::audit::Path;
use crate::class::Classes;
use crate::flow::{Class, Direction, Further, Split, TxRx};
use crate::ledger::Ledger;
use crate::persist_as_number;
use crate::state::bytes::{In, Numbered, Persist, persist};
use crate::stats::{Lost, Withheld};
use crate::wire::Malformed;

persist_as_number!(Direction { Outbound = 0, Inbound = 1 });
persist_as_number!(Class { Inside = 0, Outside = 1, Overlay = 2, Multicast = 3 });
persist_as_number!(Level { Named = 0, Prefix = 1, All = 2 });
persist_as_number!(Withheld { InboundInside = 0, InboundNone = 1, Overlay = 2, NoDakr = 3, Multicast = 4 });
persist!(RowKey { local, remote, owner, port, protocol, direction, class, level, way });
persist!(Row {
    key, open, frozen, total, changed_mono_ns, item, place, push, marks, more; mark: 0; rate: [0.0; 2]; rated: [0; 2]
});

impl Persist for Further {
    fn put(&self, out: &mut Vec<u8>) {
        self.get().put(out);
    }
    fn take(from: &mut In<'_>) -> Result<Further, Malformed> {
        let mut further = Further::ZERO;
        further.add(TxRx::take(from)?);
        Ok(further)
    }
}

// The number of a path means nothing to another process.
impl Persist for Marks {
    fn put(&self, out: &mut Vec<u8>) {
        self.split().put(out);
        out.push(u8::from(self.is_estimated()));
    }
    fn take(from: &mut In<'_>) -> Result<Marks, Malformed> {
        let split = Split::take(from)?;
        Ok(Marks::new(split, Path::UNKNOWN, u8::take(from)? != 0))
    }
}

impl Persist for Push {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(match self {
            Push::Yes => 0,
            Push::No(reason) => reason.number() + 1,
        });
    }
    fn take(from: &mut In<'_>) -> Result<Push, Malformed> {
        match u8::take(from)? {
            0 => Ok(Push::Yes),
            number => Withheld::of_number(number - 1).map(Push::No).ok_or(Malformed),
        }
    }
}

impl RowTable {
    #[allow(clippy::cast_possible_truncation, reason = "fewer rows than slots")]
    pub fn persist(&self, out: &mut Vec<u8>) {
        (self.table.len() + self.homeless.len() as u32).put(out);
        for row in self.iter() {
            row.put(out);
        }
    }

    /// Restores the rows of the previous process into a table that is still empty, and may be smaller than theirs. What
    /// is open and frozen in them enters the books as counted. What does not fit is folded (rule 13).
    ///
    /// # Errors
    /// When the bytes cannot be what [`RowTable::persist`] wrote; the table is of no use then.
    pub fn restore(&mut self, from: &mut In<'_>, classes: &Classes, ledger: &mut Ledger) -> Result<(), Malformed> {
        let mut folds = true;
        for _ in 0..u32::take(from)? {
            let row = Row::take(from)?;
            ledger.counted += row.open + row.frozen;
            ledger.open += row.open;
            ledger.frozen += row.frozen;
            if !self.place(row, &mut folds, classes, ledger) {
                self.place_without_room(row, classes, ledger);
            }
        }
        Ok(())
    }

    /// The rows were last changed by the clock of another boot, or not later than now.
    pub fn reset_times(&mut self, same_boot: bool, now_ns: u64) {
        for row in self.table.iter_mut().chain(&mut self.homeless) {
            row.changed_mono_ns = if same_boot { row.changed_mono_ns.min(now_ns) } else { now_ns };
        }
    }

    /// `folds`: that folding makes room, as it does until nothing is left that is not frozen.
    fn place(&mut self, row: Row, folds: &mut bool, classes: &Classes, ledger: &mut Ledger) -> bool {
        if self.table.find(&row.key).is_some() {
            return false;
        }
        let is_settled = row.open.is_zero() && row.frozen.is_zero();
        if row.key.level != Level::All && self.named() >= self.named_capacity() && *folds && !is_settled {
            self.fold(classes, ledger);
            *folds = self.named() < self.named_capacity();
        }
        let has_room = match row.key.level {
            Level::All => self.catch_alls < self.catch_all_capacity(),
            Level::Named | Level::Prefix => self.named() < self.named_capacity(),
        };
        // What rows were folded into may bear this very name.
        if !has_room || self.table.find(&row.key).is_some() || self.table.insert(row).is_err() {
            return false;
        }
        self.catch_alls += u32::from(row.key.level == Level::All);
        true
    }

    fn place_without_room(&mut self, row: Row, classes: &Classes, ledger: &mut Ledger) {
        if !row.frozen.is_zero() {
            self.homeless.push(Row { open: TxRx::ZERO, ..row });
        }
        if !row.open.is_zero() {
            self.fold_in(&Row { frozen: TxRx::ZERO, ..row }, classes, ledger);
        }
    }

    /// What came back to rows without a place is folded.
    pub fn fold_homeless(&mut self, classes: &Classes, ledger: &mut Ledger) {
        if self.homeless.is_empty() {
            return;
        }
        let (back, frozen) = std::mem::take(&mut self.homeless).into_iter().partition(|row| row.frozen.is_zero());
        self.homeless = frozen;
        let back: Vec<Row> = back;
        back.iter().filter(|row| !row.open.is_zero()).for_each(|row| self.fold_in(row, classes, ledger));
    }

    /// Folds what is open in a row without a place into its owner's catch-all row.
    fn fold_in(&mut self, row: &Row, classes: &Classes, ledger: &mut Ledger) {
        if self.merge_into_catch_all(row, classes) {
            ledger.folded_rows += 1;
            ledger.folded_bytes += row.open.total_bytes();
        } else {
            ledger.open = ledger.open - row.open;
            ledger.lost[Lost::RowTableFull as usize] += row.open;
        }
    }
}
