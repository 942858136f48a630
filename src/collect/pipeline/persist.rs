//! Persists and restores the pipeline's tables.

use super::Pipeline;
use crate::baseline::BaselineTable;
use crate::flow::Direction;
use crate::state::bytes::In;
use crate::wire::Malformed;

/// Upper bound of the encoded size of a connection or row in nearly all cases.
const ENTRY_BYTES: usize = 72;

impl Pipeline {
    /// Approximate size of the result of [`Pipeline::persist`], so that its buffer is allocated once.
    pub fn persisted_bytes(&self) -> usize {
        (self.baselines.len() + self.rows.len() * 2 + self.waiting.len() * 2) as usize * ENTRY_BYTES + 4_096
    }

    /// Appends zone, owners, baselines, rows and what waits.
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.ct_zone.persist(out);
        self.owners.persist(out);
        self.baselines.persist(out);
        self.rows.persist(out);
        self.waiting.persist(out);
    }

    /// Restores the tables of the previous process; baselines only with `same_source` and the same conntrack zone.
    ///
    /// # Errors
    /// If the bytes are malformed or do not fit the tables, which must then be discarded.
    pub fn restore(&mut self, from: &mut In<'_>, same_source: bool) -> Result<(), Malformed> {
        let same_ct_zone = self.ct_zone.restore(from)?;
        self.owners.restore(from)?;
        if same_source && same_ct_zone {
            self.baselines.restore(from)?;
        } else {
            BaselineTable::with_capacity(1, 0).restore(from)?;
        }
        self.rows.restore(from, &mut self.ledger)?;
        self.waiting.restore(from)?;
        let waiting = self.waiting.iter().filter(|row| !row.key.beside);
        waiting.for_each(|row| self.ledger.hold(row.traffic.seen_by(Direction::Outbound)));
        Ok(())
    }
}
