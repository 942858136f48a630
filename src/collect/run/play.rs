//! Plays a recording at once, on its own clock, then serves its result until the agent is stopped.
//!
//! It fills the same tables as live records. Nothing is pushed, because the traffic was counted when it was recorded.

use log::{info, warn};

use super::{Collector, LEAST_IDLE_NS};
use crate::clock::{self, Now};
use crate::source::{SourceError, Step};
use crate::sys::poll;

impl Collector {
    /// Plays, then waits for the end.
    pub(super) fn play(mut self) {
        while !self.p.stop.requested()
            && let Some(upcoming) = self.p.source.upcoming()
        {
            self.settle_before(upcoming.at);
            self.follow_addresses();
            match upcoming.step {
                Step::Drain => self.drain(upcoming.at),
                Step::Sweep => self.play_sweep(upcoming.at),
            }
            self.attend();
        }
        // Tells why nothing more is to come.
        match self.p.source.sweep(clock::now(), &mut |_| {}) {
            Err(SourceError::Finished) => info!("{}", SourceError::Finished),
            Err(error) => {
                warn!("{error}");
                self.trouble.sweep = error.to_string();
            }
            Ok(_) => {}
        }
        while !self.p.stop.requested() {
            self.attend();
            poll::readable(&[self.p.waker.raw_fd()], self.p.config.read_interval_ns);
        }
    }

    fn play_sweep(&mut self, at: Now) {
        match self.read(at) {
            Ok(true) => {}
            Ok(false) => self.p.stats.sweeps_voided.inc(),
            Err(error) => {
                self.p.stats.sweep_errors.inc();
                warn!("recorded: {error}");
            }
        }
    }

    /// Flushes and cleans up as the recording agent did: at their intervals, on its clock.
    fn settle_before(&mut self, at: Now) {
        loop {
            let due_ns = self.due.flush.min(self.due.cleanup);
            if due_ns > at.mono_ns {
                return;
            }
            let now = Now { mono_ns: due_ns, wall_ns: at.wall_ns.saturating_sub(at.mono_ns - due_ns) };
            if due_ns == self.due.flush {
                self.due.flush += self.p.config.flush_interval_ns;
                let nothing = self.p.freezer.freeze(&mut self.p.pipeline, 1, now);
                debug_assert!(nothing.is_none(), "a recording is not pushed");
            } else {
                self.due.cleanup += self.p.config.cleanup_interval_ns;
                self.p.pipeline.cleanup(now, self.p.config.flush_interval_ns.max(LEAST_IDLE_NS));
            }
        }
    }

    /// Answers the endpoint.
    fn attend(&mut self) {
        self.p.waker.clear();
        self.p.pulse.cycle_completed(clock::now().mono_ns, self.p.config.read_interval_ns);
        let first_sweep_done = self.p.pipeline.baselines().first_sweep_done();
        if first_sweep_done {
            self.p.pulse.sweep_completed();
        }
        if let Some(ticket) = self.p.snapshots.asked() {
            self.publish_snapshot(ticket);
        }
        self.p.pipeline.publish(&self.p.stats);
        self.reporter.report(&self.trouble, first_sweep_done, &self.p.health);
    }
}
