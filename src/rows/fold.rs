//! Folds the smallest rows to make room: they lose their remote address, never their bytes (rule 13).

use super::{Level, Row, RowKey, RowTable};
use crate::class::Classes;
use crate::flow::Addr;
use crate::ledger::Ledger;

impl RowTable {
    /// Folds, unless a search a moment ago found too little to be worth another. While a batch is under way all rows
    /// may be frozen. After such a search an eighth as many rows go straight into the owner's catch-all rows. So a new
    /// row costs the same however large the table is.
    pub(super) fn make_room(&mut self, classes: &Classes, ledger: &mut Ledger) {
        match self.pause.checked_sub(1) {
            Some(left) => self.pause = left,
            None => self.fold(classes, ledger),
        }
    }

    /// Folds the smallest eighth by bytes of the open window. First each remote address becomes its /24 or /64. If that
    /// frees less than half of the rows, they go into the owner's catch-all rows. Rows of the batch under way stay.
    pub(super) fn fold(&mut self, classes: &Classes, ledger: &mut Ledger) {
        #[cfg(test)]
        {
            self.searches += 1;
        }
        self.smallest.clear();
        let candidates = self.table.iter().filter(|(_, row)| row.key.level != Level::All && row.frozen.is_zero());
        self.smallest.extend(candidates.map(|(slot, row)| (row.open.total_bytes(), slot)));
        let wanted = (self.named_capacity() / 8).max(1);
        (self.pause, self.found_some) = (wanted, false);
        let eighth = (wanted as usize).min(self.smallest.len());
        if eighth == 0 {
            return;
        }
        if eighth < self.smallest.len() {
            self.smallest.select_nth_unstable(eighth - 1);
            self.smallest.truncate(eighth);
        }
        let before = self.table.len();
        let mut smallest = std::mem::take(&mut self.smallest);
        for (_, slot) in &mut smallest {
            *slot = self.fold_one(*slot, classes, ledger);
        }
        for (_, slot) in &smallest {
            if (before - self.table.len()) as usize >= eighth.div_ceil(2) {
                break;
            }
            if self.table.get(*slot).is_some_and(|row| row.key.level == Level::Prefix && row.frozen.is_zero()) {
                self.fold_one(*slot, classes, ledger);
            }
        }
        self.smallest = smallest;
        let freed = before - self.table.len();
        self.found_some = freed > 0;
        if freed >= wanted / 2 {
            self.pause = 0;
        }
    }

    /// Folds one row by one step, or by two if it has no prefix. Returns the slot of the row that took its bytes.
    fn fold_one(&mut self, slot: u32, classes: &Classes, ledger: &mut Ledger) -> u32 {
        let Some(row) = self.table.get(slot).copied() else { return slot };
        if row.is_named()
            && let Some(prefix) = classes.prefix_of(row.key.remote)
        {
            let key = RowKey { remote: prefix, level: Level::Prefix, ..row.key };
            self.take(slot);
            note(&row, ledger);
            return self.merge(&key, &row).unwrap_or(slot);
        }
        // The catch-all row takes the bytes before this row is removed, so that no bytes are lost if it is full.
        if self.merge_into_catch_all(&row, classes) {
            self.take(slot);
            note(&row, ledger);
        }
        slot
    }

    /// Adds a row's sums to the catch-all row of its owner, direction, protocol, class and way. Returns false if that row
    /// does not exist and the share of the catch-all rows is used up.
    pub(super) fn merge_into_catch_all(&mut self, row: &Row, classes: &Classes) -> bool {
        let v4 = row.key.remote.is_v4();
        let key = RowKey {
            local: if v4 { Addr::UNSPECIFIED_V4 } else { Addr::UNSPECIFIED_V6 },
            remote: classes.stand_in(row.key.class, v4),
            port: 0,
            level: Level::All,
            ..row.key
        };
        if self.table.find(&key).is_none() && self.catch_alls >= self.catch_all_capacity() {
            return false;
        }
        self.merge(&key, row).is_some()
    }

    /// Scopes, ways and services are part of a folded row's key: none are joined.
    fn merge(&mut self, key: &RowKey, row: &Row) -> Option<u32> {
        if let Some(slot) = self.table.find(key) {
            let into = self.table.get_mut(slot)?;
            into.open += row.open;
            into.total += row.total;
            into.lengthen(row.more.get(), row.is_estimated());
            into.join_split(row.split());
            into.rated = [into.rated[0] + row.rated[0], into.rated[1] + row.rated[1]];
            into.rate = [into.rate[0] + row.rate[0], into.rate[1] + row.rate[1]];
            into.changed_mono_ns = into.changed_mono_ns.max(row.changed_mono_ns);
            if into.place != row.place {
                into.place = 0;
            }
            return Some(slot);
        }
        let slot = self.table.insert(Row { key: *key, ..*row }).ok()?;
        self.catch_alls += u32::from(key.level == Level::All);
        Some(slot)
    }
}

fn note(row: &Row, ledger: &mut Ledger) {
    ledger.folded_rows += 1;
    ledger.folded_bytes += row.open.total_bytes();
}
