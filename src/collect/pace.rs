//! Computes the interval between sweeps, so that sweeps cost little CPU time and lose nothing.
//!
//! Counters are cumulative and the kernel reports closed connections, so a longer interval gives the same totals. The
//! cost of a sweep is mostly the kernel's own work. A given interval is fixed.

use crate::clock::SECOND;

/// Sweeps may use one part in this many of a core: 2 %.
const SHARE: u64 = 50;
/// Longest interval while some connections may end unreported. The kernel keeps an entry for at least 10 s after its
/// last packet (state CLOSE), so a sweep sees each of them once more.
const UNTOLD_NS: u64 = 8 * SECOND;

/// The facts that decide the next interval.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    /// CPU time of the last sweep.
    pub cost_ns: u64,
    /// Whether the kernel reports closed connections.
    pub ends_are_told: bool,
    /// Whether some followed connections may end unreported, or some vanished without an end.
    pub may_end_untold: bool,
}

/// The settings of the rule.
#[derive(Clone, Copy, Debug)]
pub struct SweepPace {
    /// `-read-interval`.
    pub read_interval_ns: u64,
    /// Whether `-read-interval` was given.
    pub given: bool,
    /// `FLUSH_INTERVAL`: the upper bound of the interval.
    pub flush_interval_ns: u64,
}

impl SweepPace {
    /// Time from the start of one sweep to the start of the next.
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
