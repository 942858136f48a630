//! Persists and restores the pipeline's tables.

use std::sync::Arc;

use super::Pipeline;
use crate::baseline::BaselineTable;
use crate::clock::Now;
use crate::owner::waiting::WaitingRow;
use crate::state::bytes::{In, Persist, put_block};
use crate::topology::Topology;
use crate::topology::names::{Learner, MAX_PLACES, MAX_SERVICES, Names};
use crate::wire::Malformed;

/// Upper bound of the encoded size of a connection or row in nearly all cases.
const ENTRY_BYTES: usize = 72;

impl Pipeline {
    /// Approximate size of the result of [`Pipeline::persist`], so that its buffer is allocated once.
    pub fn persisted_bytes(&self) -> usize {
        (self.baselines.len() + self.rows.len() * 2 + self.waiting.len() * 2) as usize * ENTRY_BYTES + 4_096
    }

    /// Appends zone, owners, baselines, rows, what waits, the names of services and places, and the cost series.
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.ct_zone.persist(out);
        self.owners.persist(out);
        self.baselines.persist(out);
        self.rows.persist(out);
        self.waiting.persist(out);
        let names = self.topology.names();
        names.services().count().put(out);
        names.services().for_each(|name| put_block(out, name.as_bytes()));
        names.places().count().put(out);
        names
            .places()
            .for_each(|(zone, region)| [zone, region].iter().for_each(|word| put_block(out, word.as_bytes())));
        self.costs.persist(out);
    }

    /// Restores the tables of the previous process; baselines only with `same_source` and the same conntrack zone. Its
    /// times are of another clock unless it ran in the same boot.
    ///
    /// # Errors
    /// When the bytes cannot be what [`Pipeline::persist`] wrote; the pipeline is of no use then.
    pub fn restore(
        &mut self,
        from: &mut In<'_>,
        same_source: bool,
        same_boot: bool,
        now: Now,
    ) -> Result<(), Malformed> {
        let same_ct_zone = self.ct_zone.restore(from)?;
        self.owners.restore(from)?;
        if same_source && same_ct_zone {
            self.baselines.restore(from)?;
            self.baselines.note_births(now.mono_ns);
        } else {
            BaselineTable::with_capacity(1, 0).restore(from)?;
        }
        self.rows.restore(from, &self.policy.classes, &mut self.ledger)?;
        self.rows.reset_times(same_boot, now.mono_ns);
        self.waiting.restore(from, same_boot, now.mono_ns)?;
        self.waiting.iter().filter_map(WaitingRow::held).for_each(|held| self.ledger.hold(held));
        let names = restore_names(from)?;
        self.topology = Arc::new(Topology::new(Arc::default(), Arc::new(names), 0));
        self.costs.restore(from)
    }
}

/// The names under the numbers that they had.
fn restore_names(from: &mut In<'_>) -> Result<Names, Malformed> {
    let mut learner = Learner::new(Names::default());
    let text = |from: &mut In<'_>| std::str::from_utf8(from.block()?).map(str::to_owned).map_err(|_| Malformed);
    let services = usize::take(from)?;
    for number in 0..services.min(MAX_SERVICES + 1) {
        let name = text(from)?;
        if learner.service(&name).map(usize::from) != Ok(number) {
            return Err(Malformed);
        }
    }
    let places = usize::take(from)?;
    for number in 0..places.min(MAX_PLACES + 1) {
        let (zone, region) = (text(from)?, text(from)?);
        if learner.place(&zone, &region).map(usize::from) != Ok(number) {
            return Err(Malformed);
        }
    }
    Ok(learner.finish())
}
