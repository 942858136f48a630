//! Says when the next sweep is due: when somebody needs it, and not otherwise.
//!
//! Counters are cumulative and the kernel reports closed connections, so sweeps that are further apart give the same
//! totals. The cost of a sweep is mostly the kernel's own work. A given interval is fixed, whatever is needed.
//!
//! | who needs a sweep | so long after the last one at the latest |
//! | --- | --- |
//! | a reader of the endpoints, a flush | the read interval, whatever sweeps cost |
//! | a source that does not report ends | the read interval, whatever sweeps cost |
//! | the start, a full table, owners that changed, a suspicion, a sweep that failed | the read interval; longer while sweeps cost more than 2 % of a core |
//! | a choice that is open (rule 21) | the same, at most 8 s |
//! | connections whose end may go untold | 8 s |
//! | the audit, and all that must not become too old | a minute |

use crate::clock::SECOND;

/// Sweeps may use one part in this many of a core: 2 %.
const SHARE: u64 = 50;
/// The kernel keeps an entry for at least 10 s after its last packet (state CLOSE). So a sweep sees each of them once
/// more.
const ENTRY_NS: u64 = 8 * SECOND;
/// The longest time between two sweeps where none is given.
pub const LONGEST_NS: u64 = 60 * SECOND;

/// Who needs a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Need {
    /// Somebody reads the endpoints.
    Reader = 1,
    /// A window ends.
    Flush = 2,
    /// The source does not report the ends of connections.
    Ends = 4,
    /// The first windows of rule 16, and a table into which not everything has found a place yet.
    Start = 8,
    /// Addresses have changed hands since the last sweep.
    Owners = 16,
    /// What waits for a choice between two sources, which is made by sweeps alone (rule 21).
    Choice = 32,
    /// Rule 16 wants to look again before it says anything.
    Sight = 64,
    /// The last sweep was not complete.
    Failed = 128,
    /// Connections are followed that may end unreported, or some vanished without an end.
    Untold = 256,
}

/// The needs that exist at a time, beside that of the audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs(u16);

impl Needs {
    /// Adds one if `exists`.
    #[must_use]
    pub fn with(self, need: Need, exists: bool) -> Needs {
        Needs(if exists { self.0 | need as u16 } else { self.0 })
    }

    fn has(self, needs: &[Need]) -> bool {
        needs.iter().any(|need| self.0 & *need as u16 != 0)
    }
}

/// The settings of the rule.
#[derive(Clone, Copy, Debug)]
pub struct SweepPace {
    /// `-read-interval`.
    pub read_interval_ns: u64,
    /// Whether `-read-interval` was given.
    pub given: bool,
}

impl SweepPace {
    /// Time from the start of one sweep, which took `cost_ns` of CPU time, to the start of the next.
    pub fn interval_ns(&self, needs: Needs, cost_ns: u64) -> u64 {
        let shortest = self.read_interval_ns;
        let longest = if needs.has(&[Need::Untold, Need::Choice]) { ENTRY_NS } else { LONGEST_NS };
        let longest = longest.max(shortest);
        if self.given || needs.has(&[Need::Reader, Need::Flush, Need::Ends]) {
            shortest
        } else if needs.has(&[Need::Start, Need::Owners, Need::Choice, Need::Sight, Need::Failed]) {
            cost_ns.saturating_mul(SHARE).clamp(shortest, longest)
        } else {
            longest
        }
    }
}

/// Time until the node is looked at again for what hides traffic (rule 16), after a look that took `cost_ns` of CPU time.
/// What was found may be mended soon. Every rule of nf_tables is read: 20,000 of them take 0.2 s.
pub fn look_again_ns(has_found: bool, cost_ns: u64) -> u64 {
    const RARELY_NS: u64 = 600 * SECOND;
    if has_found { cost_ns.saturating_mul(1_000).clamp(60 * SECOND, RARELY_NS) } else { RARELY_NS }
}

#[cfg(test)]
mod tests;
