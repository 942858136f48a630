//! The pipeline's tables in the state file, and from it.

use super::Pipeline;
use crate::baseline::BaselineTable;
use crate::flow::Direction;
use crate::state::bytes::In;
use crate::wire::Malformed;

/// What a followed connection or a row comes to at most, nearly always.
const ENTRY_BYTES: usize = 72;

impl Pipeline {
    /// About as many bytes as [`Pipeline::persist`] appends: so that the buffer is made once.
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

    /// Takes over the tables of the process before; its baselines only if they are of `same_source` and zone.
    ///
    /// # Errors
    /// When the bytes cannot be what [`Pipeline::persist`] wrote, or do not fit; the pipeline is of no use then.
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
