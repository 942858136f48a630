//! The cost series in the state file, and from it: a restart resets none.

use super::{Cost, CostKey, CostTable};
use crate::state::bytes::{In, Persist, persist};
use crate::wire::Malformed;

persist!(CostKey { owner, way });
persist!(Cost { key, tx_bytes, rx_bytes, since_mono_ns, changed_mono_ns; mark: 0 });

impl CostTable {
    /// Appends every series.
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.table.len().put(out);
        for cost in self.iter() {
            cost.put(out);
        }
    }

    /// Takes over the series of the process before, into a table that is still empty.
    ///
    /// # Errors
    /// When the bytes cannot be what [`CostTable::persist`] wrote, or are more than the table holds.
    pub fn restore(&mut self, from: &mut In<'_>) -> Result<(), Malformed> {
        for _ in 0..u32::take(from)? {
            let cost = Cost::take(from)?;
            if self.table.find(&cost.key).is_some() {
                return Err(Malformed);
            }
            self.table.insert(cost).map_err(|_| Malformed)?;
        }
        Ok(())
    }
}
