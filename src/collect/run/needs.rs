//! Who needs a sweep now ([`pace`](crate::collect::pace) says how soon), and what is done between two sweeps.

use crate::clock::Now;
use crate::collect::arbiter::Arbiter;
use crate::collect::blind::Sight;
use crate::collect::pace::{Need, Needs};
use crate::collect::reading;
use crate::owner::socket_owners::SocketOwners;

use super::Collector;

/// Complete sweeps at the start that follow each other closely: two windows of rule 16, and what opens the first.
const FIRST_SWEEPS: u8 = 7;

/// What is known since the last sweep.
#[derive(Default)]
pub(super) struct Known {
    /// Complete sweeps so far.
    pub(super) swept: u8,
    /// The last sweep was not complete.
    pub(super) failed: bool,
    /// Addresses have changed hands, or the host has others.
    pub(super) owners_changed: bool,
    /// Flows were read since the last sweep: of two sources one is ahead of the other.
    pub(super) glanced: bool,
    /// Of two sources one does not run any more, and a sweep was asked for.
    pub(super) programs_are_gone: bool,
}

impl Collector {
    /// When the next sweep is due, by what is needed at `now_ns`.
    pub(super) fn next_sweep_ns(&self, now_ns: u64) -> u64 {
        let interval_ns = self.pace.interval_ns(self.needs(now_ns), self.whole_cost_ns);
        self.due.sweep.min(self.swept_ns.saturating_add(interval_ns))
    }

    fn needs(&self, now_ns: u64) -> Needs {
        let (pipeline, both) = (&self.p.pipeline, &self.p.snapshots);
        let (baselines, shows) = (pipeline.baselines(), matches!(self.trouble.sight, Some(Sight::Blind { .. })));
        let is_filling = pipeline.arbiter().is_some_and(Arbiter::is_filling);
        Needs::default()
            .with(Need::Reader, both.flows.asked().is_some() || both.metrics.asked().is_some())
            .with(Need::Flush, now_ns >= self.due.flush)
            .with(Need::Ends, !self.p.source.ends_are_told())
            .with(Need::Start, self.known.swept < FIRST_SWEEPS || !baselines.has_placed_all() || is_filling)
            .with(Need::Owners, self.known.owners_changed)
            .with(Need::Choice, pipeline.arbiter().is_some() && pipeline.some_wait())
            .with(Need::Sight, self.watch.is_suspect() && !shows)
            .with(Need::Failed, self.known.failed)
            .with(Need::Untold, baselines.may_end_untold() > 0 || self.wary > 0)
    }

    /// When something is to be done between two sweeps: owners and translations are as exact as if there were one in every
    /// read interval.
    pub(super) fn next_look_ns(&mut self, now_ns: u64) -> u64 {
        let pipeline = &mut self.p.pipeline;
        let waits = pipeline.some_wait() || self.p.source.facts().asks_conntrack;
        let looks = waits || pipeline.socket_owners().is_some_and(|owners| owners.looks());
        if looks && !self.pace.given { now_ns.saturating_add(self.pace.read_interval_ns) } else { u64::MAX }
    }

    /// Reads what may not wait for the next sweep, looks at sockets, and settles what waits. Sockets show what opens
    /// and closes between two sweeps.
    pub(super) fn look(&mut self, now: Now) {
        if self.p.source.facts().asks_conntrack {
            let (source, pipeline) = (&mut self.p.source, &mut self.p.pipeline);
            match reading::drain(pipeline, &self.p.stats, now, |each| source.glance(now, each)) {
                Ok(glanced) => {
                    self.known.glanced = self.p.pipeline.arbiter().is_some();
                    self.note(&glanced);
                    // Conntrack counts in their place from the next sweep on.
                    if glanced.programs_are_gone && !std::mem::replace(&mut self.known.programs_are_gone, true) {
                        self.due.sweep = 0;
                    }
                }
                // The next sweep meets the same, and says it.
                Err(_) => self.due.sweep = 0,
            }
        }
        self.look_at_processes(now, SocketOwners::glance);
        self.p.pipeline.settle_waiting(now);
        self.due.look = self.next_look_ns(now.mono_ns);
    }
}
