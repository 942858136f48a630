//! How long to wait between sweeps, so that reading costs next to nothing and loses nothing.
//!
//! Counters are cumulative and ends are told, so a longer interval gives the same totals; the kernel's own work is
//! what a sweep costs. An interval that was given is obeyed.

use crate::clock::SECOND;

/// One part in this many of a core may go into sweeps: 2 %.
const SHARE: u64 = 50;
/// With connections whose end may never be told: the shortest time for which the kernel keeps an entry after its
/// last packet is 10 s (CLOSE), so each is seen once more if sweeps are at most this far apart.
const UNTOLD_NS: u64 = 8 * SECOND;

/// What the next interval depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// CPU time of the last sweep.
    pub cost_ns: u64,
    /// Whether ends are being told.
    pub ends_are_told: bool,
    /// Whether connections are followed whose end may never be told, or some vanished without an end.
    pub may_end_untold: bool,
}

/// The rule and its settings.
#[derive(Clone, Copy, Debug)]
pub struct SweepPace {
    /// `-read-interval`.
    pub read_interval_ns: u64,
    /// Whether it was given.
    pub given: bool,
    /// `FLUSH_INTERVAL`: never sweep more rarely than rows are flushed.
    pub flush_interval_ns: u64,
}

impl SweepPace {
    /// From the start of one sweep to the start of the next.
    pub fn interval_ns(&self, facts: Facts) -> u64 {
        if self.given || !facts.ends_are_told {
            return self.read_interval_ns;
        }
        let longest = if facts.may_end_untold { UNTOLD_NS } else { u64::MAX };
        let longest = longest.min(self.flush_interval_ns).max(self.read_interval_ns);
        facts.cost_ns.saturating_mul(SHARE).clamp(self.read_interval_ns, longest)
    }
}

#[cfg(test)]
mod tests;
