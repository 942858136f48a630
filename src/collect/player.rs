//! Plays a recording at once, on its own clock, then serves its result until the agent is stopped.
//!
//! A driver beside the collector, over the same tables. Nothing is pushed, because the traffic was counted when it was
//! recorded.

use std::sync::Arc;

use log::{info, warn};

use super::freezer::Freezer;
use super::pipeline::Pipeline;
use super::reading;
use super::run::LEAST_IDLE_NS;
use super::snapshot::Snapshotter;
use super::trouble::{Reporter, Trouble};
use crate::clock::{self, Now};
use crate::config::Config;
use crate::flow::AddressChange;
use crate::health::{Health, Pulse};
use crate::snapshot::SnapshotsByKind;
use crate::source::SourceError;
use crate::source::replay::{Replay, Step, Upcoming};
use crate::stats::Stats;
use crate::stop::Stop;
use crate::sys::poll;
use crate::sys::waker::Waker;

/// What the player is given.
pub struct Parts {
    /// What is played.
    pub recording: Replay,
    /// The settings.
    pub config: Arc<Config>,
    /// The tables.
    pub pipeline: Pipeline,
    /// Settles the windows.
    pub freezer: Freezer,
    /// The agent's counters.
    pub stats: Arc<Stats>,
    /// The agent's health.
    pub health: Arc<Health>,
    /// Signs of life for the probes.
    pub pulse: Arc<Pulse>,
    /// Where snapshots are published.
    pub snapshots: Arc<SnapshotsByKind>,
    /// Says when to end.
    pub stop: Arc<Stop>,
    /// Wakes this thread.
    pub waker: Waker,
    /// Whether it ends with the recording, and leaves a last snapshot.
    pub once: bool,
}

/// The thread's state.
pub struct Player {
    p: Parts,
    snapshotter: Snapshotter,
    trouble: Trouble,
    reporter: Reporter,
    /// When the next flush and clean-up are due, on the recording's clock.
    flush_ns: u64,
    cleanup_ns: u64,
}

impl Player {
    /// Ready to run. The first flush comes `flush_phase_ns` after the beginning, as it did when it was recorded.
    pub fn new(parts: Parts, flush_phase_ns: u64) -> Player {
        let began_ns = parts.recording.played_at().mono_ns;
        Player {
            flush_ns: began_ns + flush_phase_ns,
            cleanup_ns: began_ns + parts.config.cleanup_interval_ns,
            p: parts,
            snapshotter: Snapshotter::default(),
            trouble: Trouble::default(),
            reporter: Reporter::default(),
        }
    }

    /// Plays, then waits for the end.
    pub fn run(mut self) {
        while !self.p.stop.requested()
            && let Some(upcoming) = self.p.recording.upcoming()
        {
            self.settle_before(upcoming.at);
            self.follow_addresses();
            self.play(upcoming);
            self.attend();
        }
        // Says why nothing more is to come.
        match self.p.recording.play(&mut |_| {}) {
            Err(SourceError::Finished) => info!("{}", SourceError::Finished),
            Err(error) => {
                warn!("{error}");
                self.trouble.sweep = error.to_string();
            }
            Ok(_) => {}
        }
        if self.p.once {
            self.p.snapshots.flows.ask();
            self.attend();
            return;
        }
        while !self.p.stop.requested() {
            self.attend();
            poll::readable(&[self.p.waker.raw_fd()], self.p.config.read_interval_ns);
        }
    }

    fn play(&mut self, Upcoming { step, at }: Upcoming) {
        let Parts { recording, pipeline, stats, .. } = &mut self.p;
        let read = |each: crate::source::Each<'_>| recording.play(each);
        let result = match step {
            Step::Drain => reading::drain(pipeline, stats, at, read),
            Step::Sweep => {
                let swept = reading::sweep(pipeline, stats, at, read);
                pipeline.take_rates(at.mono_ns);
                match &swept.result {
                    Ok(sweep) if sweep.complete => {
                        self.trouble.events_lost = false;
                        self.trouble.other_ct_zone = pipeline.ct_zone().only_elsewhere();
                        self.trouble.not_followed = swept.end.not_followed;
                    }
                    Ok(_) => stats.sweeps_voided.inc(),
                    Err(_) => stats.sweep_errors.inc(),
                }
                swept.result
            }
        };
        match result {
            Ok(reading) => self.trouble.events_lost |= reading.overflows > 0,
            Err(error) => warn!("recorded: {error}"),
        }
    }

    /// The host's addresses, as they were.
    fn follow_addresses(&mut self) {
        let local = self.p.pipeline.local_ends();
        self.p.recording.addresses(&mut |change| match change {
            AddressChange::Added(addr) => local.add_host(addr),
            AddressChange::Removed(addr) => local.remove_host(addr),
        });
    }

    /// Flushes and cleans up as the recording agent did: at their intervals, on its clock.
    fn settle_before(&mut self, at: Now) {
        loop {
            let due_ns = self.flush_ns.min(self.cleanup_ns);
            if due_ns > at.mono_ns {
                return;
            }
            let now = Now { mono_ns: due_ns, wall_ns: at.wall_ns.saturating_sub(at.mono_ns - due_ns) };
            let config = &self.p.config;
            if due_ns == self.flush_ns {
                self.flush_ns += config.flush_interval_ns;
                let nothing = self.p.freezer.freeze(&mut self.p.pipeline, 1, now);
                debug_assert!(nothing.is_none(), "a recording is not pushed");
            } else {
                self.cleanup_ns += config.cleanup_interval_ns;
                self.p.pipeline.cleanup(now, config.flush_interval_ns.max(LEAST_IDLE_NS));
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
        let Parts { snapshots, pipeline, freezer, recording, .. } = &self.p;
        // What was recorded is as old as it is.
        self.snapshotter.publish(snapshots, pipeline, freezer, u64::MAX, || recording.played_at());
        self.p.pipeline.publish(&self.p.stats);
        self.trouble.show(&self.p.stats);
        self.reporter.report(&self.trouble, first_sweep_done, &self.p.health, clock::now());
    }
}
