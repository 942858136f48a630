//! One reading, live or recorded, through the tables, and what it says of itself on `/metrics`.
//!
//! Knows neither where the records come from nor when the next reading is due.

use super::pipeline::{Pipeline, SweepEnd};
use crate::clock::{self, MS, Now};
use crate::source::{Each, SourceError, Sweep};
use crate::stats::{Lost, Stats};

/// What a sweep came to.
pub(super) struct Swept {
    /// What the source says of it.
    pub result: Result<Sweep, SourceError>,
    /// What the tables say of it.
    pub end: SweepEnd,
    /// CPU time of this thread.
    pub cost_ns: u64,
}

/// Takes the records of a sweep that `read` hands over.
pub(super) fn sweep(
    pipeline: &mut Pipeline,
    stats: &Stats,
    now: Now,
    read: impl FnOnce(Each<'_>) -> Result<Sweep, SourceError>,
) -> Swept {
    let cpu_ns = clock::thread_cpu_ns();
    pipeline.begin_sweep();
    let result = read(&mut |c| pipeline.record(c, now));
    let sweep = result.as_ref().copied().unwrap_or_default();
    let end = pipeline.end_sweep(&sweep, now);
    let cost_ns = clock::thread_cpu_ns().saturating_sub(cpu_ns);
    stats.sweeps.inc();
    stats.sweep_wall_ms.set(now.wall_ns / MS);
    stats.sweep_cpu_ns.add(cost_ns);
    stats.sweep_last_ns.set(clock::now().mono_ns.saturating_sub(now.mono_ns));
    stats.lose_events(Lost::Vanished, end.vanished_untold);
    stats.lose_events(Lost::ConnectionTableFull, end.not_followed);
    stats.lose_events(Lost::Restart, end.ended_while_away);
    book(&sweep, stats);
    Swept { result, end, cost_ns }
}

/// Takes the ends that `read` hands over.
pub(super) fn drain(
    pipeline: &mut Pipeline,
    stats: &Stats,
    now: Now,
    read: impl FnOnce(Each<'_>) -> Result<Sweep, SourceError>,
) -> Result<Sweep, SourceError> {
    let drained = read(&mut |c| pipeline.hear(c, now));
    pipeline.end_drain(now);
    if let Ok(drained) = &drained {
        pipeline.note_source_losses(drained);
        book(drained, stats);
    }
    drained
}

fn book(reading: &Sweep, stats: &Stats) {
    stats.records.add(reading.seen);
    for (cell, n) in stats.skipped.iter().zip(reading.skipped.0) {
        cell.add(n);
    }
    if reading.overflows > 0 {
        // At least one event per overflow, where the kernel does not say how many.
        stats.lose_events(Lost::EventQueueFull, reading.events_lost.max(reading.overflows));
    }
}
