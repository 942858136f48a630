//! The collector's loop: it does what is due, then waits.

use std::sync::Arc;

use log::{debug, info, warn};

use super::blind::Watch;
use super::freezer::Freezer;
use super::handover::{Handover, settle_waiting};
use super::hourly::Hourly;
use super::pace::SweepPace;
use super::pipeline::Pipeline;
use super::reading::{self, Swept};
use super::snapshot::Snapshotter;
use super::trouble::{Reporter, Trouble};
use super::unseen::Unseen;
use crate::clock::{self, MS, Now, SECOND, WallClock};
use crate::config::Config;
use crate::health::{Health, Pulse};
use crate::logging::Rare;
use crate::owner::pods::Published;
use crate::owner::socket_owners::SocketOwners;
use crate::snapshot::SnapshotsByKind;
use crate::source::recorder::Recorder;
use crate::source::{Source, SourceError, Sweep};
use crate::stats::Stats;
use crate::stop::Stop;
use crate::sys::addresses::HostAddresses;
use crate::sys::poll;
use crate::sys::waker::Waker;
use crate::topology;

mod after;
mod follow;
mod needs;
use needs::Known;

/// Delay before queued ends of connections are read, so that one wake-up serves many.
const DRAIN_NAP_NS: u64 = 50 * MS;
/// Time between checks of the source's kernel settings.
const UPKEEP_NS: u64 = 60 * SECOND;
/// Shortest time for which settled rows stay visible.
pub(super) const LEAST_IDLE_NS: u64 = 60 * SECOND;
/// Complete sweeps for which the interval stays short after a baseline vanished.
const WARY_SWEEPS: u8 = 12;

/// The collector's parts.
pub struct Parts {
    pub config: Arc<Config>,
    pub source: Box<dyn Source>,
    pub addresses: HostAddresses,
    /// Records changes of the host's addresses.
    pub recorder: Recorder,
    /// The published topology.
    pub topology: Arc<topology::published::Published>,
    /// The published pod index; `None` in standalone mode.
    pub pods: Option<Arc<Published>>,
    pub pipeline: Pipeline,
    /// The channel to the push; `None` without a DAKR.
    pub handover: Option<Handover>,
    pub freezer: Freezer,
    pub stats: Arc<Stats>,
    pub health: Arc<Health>,
    /// Signs of life for the probes.
    pub pulse: Arc<Pulse>,
    pub snapshots: Arc<SnapshotsByKind>,
    pub stop: Arc<Stop>,
    pub waker: Waker,
}

/// The times at which something is due, monotonic.
struct Schedule {
    /// A sweep that is asked for at once; `u64::MAX` if none is. [`needs`] says when one is due by itself.
    sweep: u64,
    /// When the host's sockets are looked at between sweeps.
    look: u64,
    flush: u64,
    cleanup: u64,
    upkeep: u64,
    /// When queued ends of connections are read; `u64::MAX` if none is queued.
    drain: u64,
    /// When the node is looked at for what hides traffic.
    structure: u64,
}

pub struct Collector {
    p: Parts,
    due: Schedule,
    pace: SweepPace,
    snapshotter: Snapshotter,
    watch: Watch,
    unseen: Unseen,
    trouble: Trouble,
    reporter: Reporter,
    hourly: Hourly,
    /// Generation of the topology in use; 0 is the one of the start.
    topology_generation: u64,
    /// Start of the last sweep, monotonic.
    swept_ns: u64,
    /// CPU time of the last sweep; with what followed it.
    cost_ns: u64,
    whole_cost_ns: u64,
    known: Known,
    /// Complete sweeps for which the interval stays short because a baseline vanished.
    wary: u8,
    /// Limits the log of a broken event socket, which fails at every drain.
    unread_ends: Rare,
    /// Tells when somebody sets it.
    wall_clock: WallClock,
}

impl Collector {
    /// The first flush is due `flush_phase_ns` from now, which spreads the nodes over the interval.
    pub fn new(parts: Parts, trouble: Trouble, now: Now, flush_phase_ns: u64) -> Collector {
        let config = &parts.config;
        let due = Schedule {
            sweep: now.mono_ns,
            look: u64::MAX,
            flush: now.mono_ns + flush_phase_ns,
            cleanup: now.mono_ns + config.cleanup_interval_ns,
            upkeep: now.mono_ns,
            drain: u64::MAX,
            structure: now.mono_ns,
        };
        let pace = SweepPace { read_interval_ns: config.read_interval_ns, given: config.read_interval_given };
        let reporter = Reporter::new(parts.source.facts().component, &parts.health);
        Collector {
            p: parts,
            due,
            pace,
            snapshotter: Snapshotter::default(),
            watch: Watch::default(),
            unseen: Unseen::new(now.mono_ns),
            trouble,
            reporter,
            hourly: Hourly::default(),
            topology_generation: 0,
            swept_ns: now.mono_ns,
            cost_ns: 0,
            whole_cost_ns: 0,
            known: Known::default(),
            wary: 0,
            unread_ends: Rare::new(),
            wall_clock: WallClock::default(),
        }
    }

    /// Runs until the stop is requested, then delivers the open window.
    pub fn run(mut self) {
        while !self.p.stop.requested() {
            self.turn();
            self.wait();
        }
        self.finish();
    }

    /// Does what is due.
    fn turn(&mut self) {
        self.p.waker.clear();
        self.follow_addresses();
        self.follow_pods();
        self.follow_topology();
        if let Some(handover) = &mut self.p.handover {
            handover.settle(&mut self.p.freezer, &mut self.p.pipeline);
            if handover.take_collect_now() {
                self.due.sweep = 0;
                self.due.flush = self.due.flush.min(clock::now().mono_ns);
            }
        }
        let now = clock::now();
        if let Some(step) = self.wall_clock.look(now) {
            warn!("the wall clock was set {step}; what is counted, and as whose, does not depend on it");
        }
        if now.mono_ns >= self.due.upkeep {
            self.due.upkeep = now.mono_ns + UPKEEP_NS;
            self.trouble.source = self.p.source.upkeep(now);
            self.p.pipeline.look_at_links();
        }
        if now.mono_ns >= self.due.drain {
            self.drain(now);
        }
        if now.mono_ns >= self.next_sweep_ns(now.mono_ns) {
            self.sweep(now);
        }
        if now.mono_ns >= self.due.look {
            self.look(now);
        }
        let now = clock::now();
        if now.mono_ns >= self.due.flush || now.mono_ns >= self.again_ns() {
            self.flush(now);
        }
        if now.mono_ns >= self.due.cleanup {
            self.due.cleanup = now.mono_ns + self.p.config.cleanup_interval_ns;
            // As of the last sweep: what grows with every sweep is not idle between two that are far apart.
            let swept = Now { mono_ns: self.swept_ns, ..now };
            self.p.pipeline.cleanup(swept, self.p.config.flush_interval_ns.max(LEAST_IDLE_NS));
        }
        // Before the snapshot, whose readers show these figures beside it.
        self.p.pipeline.publish(&self.p.stats);
        self.trouble.show(&self.p.stats);
        let stale_ns = self.swept_ns.saturating_add(self.p.config.read_interval_ns);
        self.snapshotter.publish(&self.p.snapshots, &self.p.pipeline, &self.p.freezer, stale_ns, clock::now);
        if let Some(line) = self.hourly.look(now, &self.p.stats, self.p.pipeline.series(), self.p.pipeline.owners()) {
            info!("{line}");
        }
        let first_sweep_done = self.p.pipeline.baselines().first_sweep_done();
        self.reporter.report(&self.trouble, first_sweep_done, &self.p.health, now);
    }

    /// Waits until something is due or happens.
    fn wait(&mut self) {
        let now_ns = clock::now().mono_ns;
        if self.due.look == u64::MAX {
            self.due.look = self.next_look_ns(now_ns);
        }
        let due = &self.due;
        let next = due.look.min(due.flush).min(due.cleanup).min(due.upkeep).min(due.drain).min(self.again_ns());
        let wait_ns = next.min(self.next_sweep_ns(now_ns)).saturating_sub(now_ns);
        self.p.pulse.cycle_completed(now_ns, wait_ns);
        let mut fds = [-1; poll::MAX_FDS];
        fds[0] = self.p.waker.raw_fd();
        fds[1] = self.p.addresses.fd();
        // Once a drain is due, further events would only wake the thread early.
        if self.due.drain == u64::MAX {
            fds.iter_mut().skip(2).zip(self.p.source.poll_fds()).for_each(|(to, from)| *to = *from);
        }
        let ready = poll::readable(&fds, wait_ns);
        if ready >> 2 != 0 {
            self.due.drain = clock::now().mono_ns + DRAIN_NAP_NS;
        }
    }

    fn again_ns(&self) -> u64 {
        self.p.handover.as_ref().map_or(u64::MAX, Handover::again_ns)
    }

    fn drain(&mut self, now: Now) {
        self.due.drain = u64::MAX;
        let (source, pipeline) = (&mut self.p.source, &mut self.p.pipeline);
        match reading::drain(pipeline, &self.p.stats, now, |each| source.drain(now, each)) {
            Ok(drained) => self.note(&drained),
            Err(error) => {
                if let Some(suppressed) = self.unread_ends.allow(now) {
                    warn!("cannot read connection events: {error}{suppressed}");
                }
            }
        }
    }

    /// Reads the whole source. A voided dump is repeated at once, once (rule 11).
    fn sweep(&mut self, now: Now) {
        self.swept_ns = now.mono_ns;
        (self.known.owners_changed, self.known.glanced) = (false, false);
        let mut complete = self.read(now);
        if matches!(complete, Ok(false)) {
            self.p.stats.sweeps_voided.inc();
            complete = self.read(clock::now());
        }
        match &complete {
            Ok(_) => self.trouble.sweep.clear(),
            Err(error) => {
                self.p.stats.sweep_errors.inc();
                self.trouble.sweep = error.to_string();
            }
        }
        let owners_ns = self.look_at_processes(now, SocketOwners::look);
        self.whole_cost_ns = self.cost_ns + owners_ns;
        self.known.failed = !matches!(complete, Ok(true));
        self.p.pipeline.take_rates(now.mono_ns);
        self.p.snapshots.history.note(now.wall_ns, &self.p.pipeline.series().by_class());
        if matches!(complete, Ok(true)) {
            self.close_the_audit();
            self.find_what_hides(now);
        }
        // A sweep may request the next one; without a pause, sweeps could follow each other for ever.
        let soonest_ns = clock::now().mono_ns + self.cost_ns * 4;
        self.due.sweep = if self.due.sweep == 0 { soonest_ns } else { u64::MAX };
        self.due.look = self.next_look_ns(now.mono_ns);
        self.p.stats.sweep_interval_ms.set((self.next_sweep_ns(now.mono_ns) - now.mono_ns) / MS);
        if let Some(arbiter) = self.p.pipeline.arbiter() {
            self.reporter.say_choices(arbiter.tally(), &self.p.health);
        }
        if self.p.pipeline.baselines().first_sweep_done() && self.p.pulse.sweep_completed() {
            // Without this, an agent that is killed before its first flush would start afresh.
            if let Some(handover) = &mut self.p.handover {
                handover.checkpoint(self.p.source.as_ref(), &self.p.freezer, &self.p.pipeline);
            }
        }
    }

    fn read(&mut self, now: Now) -> Result<bool, SourceError> {
        let (source, pipeline) = (&mut self.p.source, &mut self.p.pipeline);
        let Swept { result, end, cost_ns } =
            reading::sweep(pipeline, &self.p.stats, now, |each| source.sweep(now, each));
        let sweep = result.as_ref().copied().unwrap_or_default();
        self.cost_ns = cost_ns;
        self.due.sweep = u64::MAX;
        self.note(&sweep);
        if sweep.complete {
            self.wary = if end.vanished_untold > 0 { WARY_SWEEPS } else { self.wary.saturating_sub(1) };
            self.known.swept = self.known.swept.saturating_add(1);
            self.trouble.events_lost = sweep.overflows > 0;
            self.trouble.other_ct_zone = self.p.pipeline.ct_zone().only_elsewhere();
            self.trouble.not_followed = end.not_followed;
            self.trouble.hurried = end.hurried > 0;
            self.trouble.uncounted = sweep.uncounted > 0 && self.p.pipeline.arbiter().is_none();
            self.trouble.elsewhere = self.p.pipeline.local_ends().node_elsewhere();
            self.p.stats.connections_uncounted.set(sweep.uncounted);
            self.p.pipeline.audit_mut().read();
        }
        if let Some(ct_zone) = end.new_ct_zone {
            // What is not in the next sweep's baselines is not counted.
            self.due.sweep = 0;
            info!("conntrack zone {ct_zone} holds the local ends; it is counted from the next sweep on");
        }
        result.map(|sweep| sweep.complete)
    }

    /// Does what a sweep or a drain asks for.
    fn note(&mut self, reading: &Sweep) {
        self.trouble.events_lost |= reading.overflows > 0;
        if reading.sweep_soon {
            self.due.sweep = 0;
        }
    }

    fn flush(&mut self, now: Now) {
        let interval_ns = self.p.config.flush_interval_ns;
        if now.mono_ns >= self.due.flush {
            self.due.flush += interval_ns * ((now.mono_ns - self.due.flush) / interval_ns + 1);
        }
        let now = clock::now();
        // The state file holds rows, not what waits for a look at sockets.
        self.p.pipeline.place_deferred();
        match &mut self.p.handover {
            Some(handover) if handover.is_open(now) => {
                handover.flush(self.p.source.as_ref(), &mut self.p.freezer, &mut self.p.pipeline, now);
            }
            // No freeze while a batch is under way: memory follows the number of rows, not the length of an outage.
            Some(handover) => handover.checkpoint(self.p.source.as_ref(), &self.p.freezer, &self.p.pipeline),
            None => {
                let nothing = self.p.freezer.freeze(&mut self.p.pipeline, 1, now);
                debug_assert!(nothing.is_none(), "without DAKR nothing is pushed");
            }
        }
    }

    /// Makes a last sweep, then delivers everything or books it as lost.
    fn finish(mut self) {
        let deadline_ns = self.p.stop.deadline_mono_ns();
        self.follow_addresses();
        self.sweep(clock::now());
        match &self.p.handover {
            Some(handover) if handover.persists() => self.p.pipeline.settle_ended(clock::now()),
            _ => settle_waiting(&mut self.p.pipeline),
        }
        if let Some(handover) = self.p.handover.take() {
            handover.finish(self.p.source.as_ref(), &mut self.p.freezer, &mut self.p.pipeline, deadline_ns);
        }
        self.p.pipeline.publish(&self.p.stats);
        debug!("the collector has ended: {:?}", self.p.pipeline.ledger());
    }
}
