//! One line an hour: what was counted, what of it lies outside, whose most of it is, what was pushed and lost.
//!
//! It keeps what it said last, and nothing in the first hour. Its amounts are those of series, so what has left them by now
//! is missing from the owners.

use std::fmt::Write as _;

use crate::clock::{Now, SECOND};
use crate::flow::Class;
use crate::logging::Bytes;
use crate::owner::{Owner, OwnerId, OwnerTable};
use crate::series::SeriesTable;
use crate::stats::{Cell, Stats};

const HOUR_NS: u64 = 3_600 * SECOND;
/// Owners that are named.
const NAMED: usize = 5;

/// What the last line said.
#[derive(Debug, Default)]
pub struct Hourly {
    due_ns: Option<u64>,
    totals: [u64; TOTALS],
    outside: u64,
    /// Sorted by number.
    owners: Vec<(OwnerId, u64)>,
}

/// Counted, pushed, failed, lost bytes, lost events.
const TOTALS: usize = 5;

impl Hourly {
    /// The line, once an hour.
    pub fn look(&mut self, now: Now, stats: &Stats, series: &SeriesTable, owners: &OwnerTable) -> Option<String> {
        let due_ns = *self.due_ns.get_or_insert(now.mono_ns.saturating_add(HOUR_NS));
        if now.mono_ns < due_ns {
            return None;
        }
        self.due_ns = Some(now.mono_ns.saturating_add(HOUR_NS));
        let sum = |cells: &[Cell]| cells.iter().map(Cell::get).sum::<u64>();
        let totals = [
            stats.counted_tx_bytes.get() + stats.counted_rx_bytes.get(),
            stats.pushes_ok.get(),
            stats.pushes_failed.get(),
            sum(&stats.lost_bytes),
            sum(&stats.lost_events),
        ];
        let (outside, by_owner) = amounts(series);
        let [counted, pushed, failed, lost, lost_events] =
            std::array::from_fn(|n| totals[n].saturating_sub(self.totals[n]));
        let mut most: Vec<(u64, OwnerId)> =
            by_owner.iter().map(|(id, total)| (total - self.of(*id).min(*total), *id)).collect();
        most.sort_unstable_by(|a, b| b.cmp(a));
        let mut line = format!(
            "the last hour: {} counted, {} of it outside; {pushed} pushes, {failed} failed; {} and {lost_events} events lost",
            Bytes(counted),
            Bytes(outside.saturating_sub(self.outside)),
            Bytes(lost),
        );
        for (n, (bytes, id)) in most.iter().filter(|(bytes, _)| *bytes > 0).take(NAMED).enumerate() {
            line += if n == 0 { "; most by " } else { ", " };
            let _ = match owners.get(*id) {
                Owner::Host => write!(line, "host"),
                Owner::Address => write!(line, "-local-cidrs"),
                Owner::Other => write!(line, "others"),
                Owner::Group(group) => write!(line, "{}", group.name()),
                Owner::Pod(pod) => write!(line, "{}/{}", pod.namespace, pod.name),
            };
            let _ = write!(line, " {}", Bytes(*bytes));
        }
        (self.totals, self.outside, self.owners) = (totals, outside, by_owner);
        Some(line)
    }

    fn of(&self, owner: OwnerId) -> u64 {
        self.owners.binary_search_by_key(&owner, |(id, _)| *id).map_or(0, |at| self.owners[at].1)
    }
}

/// Bytes outside, and by owner.
fn amounts(series: &SeriesTable) -> (u64, Vec<(OwnerId, u64)>) {
    let mut all: Vec<(OwnerId, u64)> = series.iter().map(|one| (one.key.owner, one.total.total_bytes())).collect();
    all.sort_unstable();
    let mut by_owner: Vec<(OwnerId, u64)> = Vec::new();
    for (owner, bytes) in all {
        match by_owner.last_mut().filter(|(last, _)| *last == owner) {
            Some((_, sum)) => *sum += bytes,
            None => by_owner.push((owner, bytes)),
        }
    }
    let outside = series.iter().filter(|one| one.key.class == Class::Outside).map(|one| one.total.total_bytes()).sum();
    (outside, by_owner)
}

#[cfg(test)]
mod tests;
