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
mod tests {
    use super::*;
    use crate::clock::MS;

    const DEFAULT: SweepPace = SweepPace { read_interval_ns: 5 * SECOND, given: false, flush_interval_ns: 60 * SECOND };

    fn facts(cost_ms: u64) -> Facts {
        Facts { cost_ns: cost_ms * MS, ends_are_told: true, may_end_untold: false }
    }

    #[test]
    fn the_default_stretches_until_sweeps_cost_two_percent() {
        assert_eq!(DEFAULT.interval_ns(facts(11)), 5 * SECOND);
        assert_eq!(DEFAULT.interval_ns(facts(650)), 32_500 * MS);
        assert_eq!(DEFAULT.interval_ns(facts(5_000)), 60 * SECOND, "never past the flush");
    }

    #[test]
    fn it_stays_short_while_ends_may_go_untold() {
        assert_eq!(DEFAULT.interval_ns(Facts { may_end_untold: true, ..facts(650) }), 8 * SECOND);
        assert_eq!(DEFAULT.interval_ns(Facts { ends_are_told: false, ..facts(650) }), 5 * SECOND);
    }

    #[test]
    fn a_given_interval_is_obeyed() {
        let given = SweepPace { read_interval_ns: 100 * MS, given: true, ..DEFAULT };
        assert_eq!(given.interval_ns(facts(650)), 100 * MS);
        let long = SweepPace { read_interval_ns: 120 * SECOND, ..given };
        assert_eq!(long.interval_ns(facts(1)), 120 * SECOND);
    }
}
