//! The only reader of clocks. Everyone else is handed a [`Now`], so tests run on virtual time.
//!
//! Intervals, back-off, deadlines and whose bytes are use `mono_ns`; the wall clock only stamps what leaves the node.
//! Stamps that others made by the wall clock become monotonic by a [`WallClock`] (rule 20).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::time::{ClockId, clock_gettime};

/// One millisecond in nanoseconds.
pub const MS: u64 = 1_000_000;
/// One second in nanoseconds.
pub const SECOND: u64 = 1_000_000_000;

/// A moment, on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds of `CLOCK_MONOTONIC`: never goes back.
    pub mono_ns: u64,
    /// Nanoseconds since the Unix epoch: may jump in either direction.
    pub wall_ns: u64,
}

impl Now {
    /// What the wall clock, as it is set now, showed at that monotonic time.
    pub fn wall_of(self, mono_ns: u64) -> u64 {
        self.wall_ns.saturating_sub(self.mono_ns.saturating_sub(mono_ns))
    }
}

/// Wall clock minus monotonic, as it was first read and since the last step; 0 before.
static OFFSET_NS: AtomicU64 = AtomicU64::new(0);

/// Both clocks. They run alike until one is set, and are read some nanoseconds apart. Their difference is taken once,
/// or one event would have another time in each answer.
pub fn now() -> Now {
    let mut now = Now::default();
    // A thread that is stopped between the two readings would seem to see the wall clock set.
    for _ in 0..3 {
        now = Now { mono_ns: read(ClockId::CLOCK_MONOTONIC), wall_ns: read(ClockId::CLOCK_REALTIME) };
        if read(ClockId::CLOCK_MONOTONIC) - now.mono_ns < MS {
            break;
        }
    }
    let (known, seen) = (OFFSET_NS.load(Relaxed), now.wall_ns.wrapping_sub(now.mono_ns));
    match known != 0 && known.abs_diff(seen) < MS {
        true => now.wall_ns = now.mono_ns.wrapping_add(known),
        false => OFFSET_NS.store(seen, Relaxed),
    }
    now
}

/// CPU time used by the calling thread, in nanoseconds; what a sweep costs is a difference of two readings.
pub fn thread_cpu_ns() -> u64 {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time used by this process, in nanoseconds.
pub fn process_cpu_ns() -> u64 {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// Sleeps the calling thread. Tests of waiting code use virtual time instead.
#[allow(clippy::disallowed_methods)]
pub fn sleep_ns(ns: u64) {
    std::thread::sleep(std::time::Duration::from_nanos(ns));
}

#[allow(clippy::cast_sign_loss, reason = "the kernel keeps nanoseconds below a billion and never below 0")]
fn read(id: ClockId) -> u64 {
    // clock_gettime fails only for an unknown clock id, and these are Linux 2.6 ones. Zero keeps every comparison
    // of times defined if it ever did.
    clock_gettime(id)
        .map_or(0, |t| (t.tv_sec().max(0) as u64).saturating_mul(SECOND).saturating_add(t.tv_nsec() as u64))
}

/// Steps that are remembered, so that stamps of before them are understood.
const STEPS_MAX: usize = 8;
/// A difference that is no step: two clocks are not read at once.
const STEP_NS: u64 = SECOND / 2;

/// How the wall clock ran beside the monotonic one, as far as somebody looked. It turns stamps of the wall clock into
/// monotonic time, whatever was set meanwhile.
#[derive(Clone, Debug, Default)]
pub struct WallClock {
    /// Each with the wall clock's lead over the monotonic one. A lead may be negative, so it wraps.
    spans: Vec<Span>,
    seen_mono_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    from_mono_ns: u64,
    lead_ns: u64,
}

/// The wall clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub is_back: bool,
    pub by_ns: u64,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let direction = if self.is_back { "back" } else { "forward" };
        write!(f, "{direction} by {}.{} s", self.by_ns / SECOND, self.by_ns % SECOND / (SECOND / 10))
    }
}

impl WallClock {
    /// Looks at both clocks. Returns the step if the wall clock was set since the last look.
    pub fn look(&mut self, now: Now) -> Option<Step> {
        let fresh = Span { from_mono_ns: now.mono_ns, lead_ns: now.wall_ns.wrapping_sub(now.mono_ns) };
        self.seen_mono_ns = self.seen_mono_ns.max(now.mono_ns);
        let Some(last) = self.spans.last() else {
            self.spans.push(Span { from_mono_ns: 0, ..fresh });
            return None;
        };
        let ahead_ns = fresh.lead_ns.wrapping_sub(last.lead_ns);
        let step = Step { is_back: ahead_ns > u64::MAX / 2, by_ns: ahead_ns.min(ahead_ns.wrapping_neg()) };
        if step.by_ns < STEP_NS {
            return None;
        }
        if self.spans.len() == STEPS_MAX {
            self.spans.remove(0);
        }
        self.spans.push(fresh);
        Some(step)
    }

    /// When the wall clock showed `wall_ns`, monotonic, 0 for any time before the boot. `None` if it never did, or more
    /// than once, as far as somebody looked.
    pub fn mono_of(&self, wall_ns: u64) -> Option<u64> {
        let mut times = self.times_of(wall_ns);
        times.next().filter(|_| times.next().is_none())
    }

    /// The same; of several times the first that is not before `since_ns`, else the last.
    pub fn mono_since(&self, wall_ns: u64, since_ns: u64) -> Option<u64> {
        let since = self.times_of(wall_ns).filter(|at_ns| *at_ns >= since_ns).last();
        since.or_else(|| self.times_of(wall_ns).next())
    }

    /// The last first.
    fn times_of(&self, wall_ns: u64) -> impl Iterator<Item = u64> {
        let mut until_ns = self.seen_mono_ns;
        self.spans.iter().enumerate().rev().filter_map(move |(at, span)| {
            let from_ns = span.from_mono_ns;
            let (slack_ns, last_ns) = (STEP_NS, std::mem::replace(&mut until_ns, from_ns));
            let at_ns = wall_ns.wrapping_sub(span.lead_ns);
            // Before the boot, and so before the first look.
            if at_ns > u64::MAX / 2 {
                return (at == 0).then_some(0);
            }
            let began = at == 0 || at_ns >= from_ns.saturating_sub(slack_ns);
            (began && at_ns <= last_ns.saturating_add(slack_ns)).then(|| at_ns.min(last_ns))
        })
    }
}

#[cfg(test)]
mod tests;
