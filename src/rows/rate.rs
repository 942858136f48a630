//! The rate of each row over the last sweep, for who looks at rows: nothing that is counted depends on it.

use super::RowTable;
use crate::clock::MS;

/// Sweeps that follow each other sooner are one: over so short a time a rate says nothing.
const LEAST_NS: u64 = 90 * MS;

impl RowTable {
    /// Takes the rates at the end of a sweep that began at `mono_ns`. The first time there is nothing to compare with.
    #[allow(clippy::cast_precision_loss, reason = "seven digits of a rate are enough")]
    pub fn take_rates(&mut self, mono_ns: u64) {
        let since_ns = self.rated_ns.map_or(0, |rated_ns| mono_ns.saturating_sub(rated_ns));
        if self.rated_ns.is_some() && since_ns < LEAST_NS {
            return;
        }
        self.rated_ns = Some(mono_ns);
        let per_second = if since_ns == 0 { 0.0 } else { 1e9 / since_ns as f32 };
        for row in self.table.iter_mut() {
            let now = [row.total.tx.bytes, row.total.rx.bytes];
            row.rate = [0, 1].map(|way| now[way].saturating_sub(row.rated[way]) as f32 * per_second);
            row.rated = now;
        }
    }
}
