//! The only reader of clocks. Everyone else is handed a [`Now`], so tests run on virtual time.
//!
//! Intervals, back-off and deadlines use `mono_ns`; the wall clock only stamps what leaves the node.

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

pub fn now() -> Now {
    Now { mono_ns: read(ClockId::CLOCK_MONOTONIC), wall_ns: read(ClockId::CLOCK_REALTIME) }
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
