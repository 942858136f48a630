//! Persists and restores the baselines.

use super::{Baseline, BaselineTable, DECIDED, MAY_END_UNTOLD, OPENER, RESTORED};
use crate::state::bytes::{In, Persist, persist};
use crate::table::{Full, NONE};
use crate::wire::Malformed;

persist!(Baseline { key, traffic, id, start, flags; mark: 0; next: NONE; seen: 0; absences: 0; born: 0 });

impl BaselineTable {
    /// Appends every followed connection. Between sweeps only, when there are no tombstones.
    pub fn persist(&self, out: &mut Vec<u8>) {
        debug_assert!(!self.sweeping && self.tombstones.is_empty());
        self.placed_all.put(out);
        self.overflowed.put(out);
        self.table.len().put(out);
        for (_, baseline) in self.table.iter() {
            baseline.put(out);
        }
    }

    /// Restores an empty table. Afterwards an unknown key is a new connection (rule 10), unless the previous process did
    /// not follow every connection.
    ///
    /// # Errors
    /// If the bytes are malformed; the table must then be discarded.
    pub fn restore(&mut self, from: &mut In<'_>) -> Result<(), Malformed> {
        self.placed_all = Persist::take(from)?;
        self.overflowed = Persist::take(from)?;
        for _ in 0..u32::take(from)? {
            let mut baseline = Baseline::take(from)?;
            baseline.flags = baseline.flags & (MAY_END_UNTOLD | OPENER) | RESTORED;
            self.any_decided |= baseline.flags & DECIDED != 0;
            if self.table.find(&baseline.key).is_some() {
                return Err(Malformed);
            }
            match self.table.insert(baseline) {
                Ok(_) => self.may_end_untold += u32::from(baseline.flags & MAY_END_UNTOLD != 0),
                // A table that is smaller now: whatever finds no place comes again as an old connection.
                Err(Full) => self.placed_all = false,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
