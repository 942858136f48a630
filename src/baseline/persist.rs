//! The baselines in the state file, and from it.

use super::{Baseline, BaselineTable, MAY_END_UNTOLD, RESTORED};
use crate::state::bytes::{In, Persist, persist};
use crate::table::{Full, NONE};
use crate::wire::Malformed;

persist!(Baseline { key, traffic, id, start, flags; mark: 0; next: NONE; seen: 0; absences: 0 });

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

    /// Follows what was followed by the process before, in a table that is still empty. Then a key that was not
    /// saved is new (rule 10), unless the process before had not placed every connection either.
    ///
    /// # Errors
    /// When the bytes cannot be what [`BaselineTable::persist`] wrote; the table is of no use then.
    pub fn restore(&mut self, from: &mut In<'_>) -> Result<(), Malformed> {
        self.placed_all = Persist::take(from)?;
        self.overflowed = Persist::take(from)?;
        for _ in 0..u32::take(from)? {
            let mut baseline = Baseline::take(from)?;
            baseline.flags = baseline.flags & MAY_END_UNTOLD | RESTORED;
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
mod tests {
    use super::super::tests::{bytes, connection, sweep, warm};
    use super::super::{BaselineTable, Judged, Vanished};
    use super::*;

    fn restarted(before: &BaselineTable, capacity: u32) -> BaselineTable {
        let mut out = Vec::new();
        before.persist(&mut out);
        let mut table = BaselineTable::with_capacity(capacity, 1);
        table.restore(&mut In(&out)).expect("as it was saved");
        for len in 0..out.len() {
            assert_eq!(BaselineTable::with_capacity(capacity, 1).restore(&mut In(&out[..len])), Err(Malformed));
        }
        table
    }

    #[test]
    fn rule_10_with_a_state_file_a_key_that_it_lacks_is_new() {
        let mut table = restarted(&warm(8, &[connection(1, 7, 1000)]), 8);
        let (judged, _) = sweep(&mut table, &[connection(1, 7, 1300), connection(2, 8, 50)]);
        assert_eq!(judged.into_iter().map(bytes).collect::<Vec<_>>(), [300, 50]);
        assert_eq!(table.may_end_untold(), 2, "both may be older than our listener");
        assert_eq!(bytes(table.ended(&connection(3, 9, 70))), 70);
    }

    #[test]
    fn rule_12_what_ended_while_no_agent_ran_is_told() {
        let mut table = restarted(&warm(8, &[connection(1, 7, 1000)]), 8);
        for _ in 0..2 {
            assert_eq!(sweep(&mut table, &[]).1, Vanished::default());
        }
        assert_eq!(sweep(&mut table, &[]).1, Vanished { while_away: 1, ..Vanished::default() });
        assert!(table.is_empty());
    }

    #[test]
    fn a_table_that_is_smaller_now_takes_what_it_lacks_for_old() {
        let before = warm(8, &[connection(1, 7, 1000), connection(2, 8, 1000)]);
        let mut table = restarted(&before, 1);
        let judged = table.ended(&connection(2, 8, 1200));
        assert!(matches!(judged, Judged::BeforeFirstSweep | Judged::Increment(_)), "{judged:?}");
        assert_eq!(table.ended(&connection(9, 9, 1200)), Judged::BeforeFirstSweep);
    }
}
