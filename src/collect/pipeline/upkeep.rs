//! Takes rates, removes what is no longer needed, and copies sizes and books to the counters.

use super::{Pipeline, SERIES_IDLE_NS};
use crate::clock::Now;
use crate::owner::{Owner, OwnerId};
use crate::stats::Stats;

impl Pipeline {
    /// Takes the rows' rates, once everything of a sweep is in its row.
    pub fn take_rates(&mut self, swept_mono_ns: u64) {
        self.rows.take_rates(swept_mono_ns);
    }

    /// Removes rows, series and owners that are no longer needed.
    pub fn cleanup(&mut self, now: Now, idle_ns: u64) {
        self.rows.cleanup(now.mono_ns, idle_ns);
        // Once for all, for thousands of pods may end at once: no series looks through rows or owners.
        let mut lives = vec![false; self.owners.all().len()];
        for (mark, owner) in lives.iter_mut().zip(self.owners.all()) {
            *mark = match owner {
                Owner::Pod(pod) => self.local.pods().by_uid(&pod.uid).is_some(),
                Owner::Group(_) => false,
                Owner::Host | Owner::Address | Owner::Other => true,
            };
        }
        for row in self.rows.iter() {
            if let Some(mark) = lives.get_mut(row.key.owner.0 as usize) {
                *mark = true;
            }
        }
        let lives = |id: OwnerId| lives.get(id.0 as usize).copied().unwrap_or(true);
        let heirs = self.owners.by_name(lives);
        let heir = |id: OwnerId| match self.owners.get(id) {
            Owner::Pod(pod) if !lives(id) => heirs.get(&(&*pod.namespace, &*pod.name)).copied(),
            // A unit that is gone has no heir: the host did not carry what it did.
            Owner::Group(_) if !lives(id) => None,
            _ => Some(id),
        };
        self.series.cleanup(now.mono_ns, SERIES_IDLE_NS, heir);
        // Costs show a unit as the host, whose sum must not fall.
        let heir =
            |id: OwnerId| heir(id).or_else(|| matches!(self.owners.get(id), Owner::Group(_)).then_some(OwnerId::HOST));
        self.costs.cleanup(now.mono_ns, self.costs_idle_ns, heir);
        let mut used = vec![false; self.owners.all().len()];
        let owners = self.rows.iter().map(|row| row.key.owner).chain(self.series.iter().map(|s| s.key.owner));
        let owners = owners.chain(self.costs.iter().map(|cost| cost.key.owner));
        for owner in owners {
            if let Some(mark) = used.get_mut(owner.0 as usize) {
                *mark = true;
            }
        }
        self.owners.keep_only(|id| used.get(id.0 as usize).copied().unwrap_or(false));
    }

    /// Copies sizes and books to the counters of `/metrics`.
    pub fn publish(&mut self, stats: &Stats) {
        self.ledger.publish(stats);
        stats.connections.set(u64::from(self.baselines.len()));
        stats.connections_max.set(u64::from(self.baselines.capacity()));
        stats.rows.set(u64::from(self.rows.len()));
        stats.rows_max.set(u64::from(self.rows.capacity()));
        stats.waiting.set(u64::from(self.waiting.len()));
        stats.conntrack_roles_guessed.add(self.openers.take_guessed());
        stats.ends.add(std::mem::take(&mut self.ends));
        stats.cost_series.set(u64::from(self.costs.len()));
        stats.groups_refused.add(self.owners.take_refused());
        stats.cost_joined_bytes.add(self.costs.take_joined_bytes());
        for (cell, n) in stats.skipped.iter().zip(self.take_skipped().0) {
            cell.add(n);
        }
    }
}
