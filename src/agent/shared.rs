//! What all threads share: counters, health, snapshots, and the request to stop.

use std::sync::Arc;

use super::error::StartError;
use crate::clock::{MS, Now};
use crate::config::Config;
use crate::health::{Component, Health, Pulse, Status};
use crate::snapshot::SnapshotsByKind;
use crate::stats::Stats;
use crate::stop::Stop;
use crate::sys::waker::Waker;
use crate::takeover::Audience;

pub(super) struct Shared {
    pub(super) stats: Arc<Stats>,
    pub(super) health: Arc<Health>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) snapshots: Arc<SnapshotsByKind>,
    pub(super) stop: Arc<Stop>,
}

impl Shared {
    pub(super) fn new(config: &Config, started: Now) -> Shared {
        let health = Arc::<Health>::default();
        // The first heartbeat may be sent before the first sweep, and has to name the monitor too.
        health.set(Component::Monitor, Status::Unspecified, "");
        let stats = Arc::<Stats>::default();
        stats.process_start_ms.set(started.wall_ns / MS);
        Shared {
            stats,
            health,
            pulse: Arc::new(Pulse::new(started.mono_ns, config.read_interval_ns)),
            snapshots: Arc::default(),
            stop: Arc::default(),
        }
    }

    /// Opens the waker of the collector, which a stop and a request for a snapshot use.
    pub(super) fn collectors_waker(&self) -> Result<Waker, StartError> {
        let waker = Waker::open().map_err(|error| StartError::Resources("the collector's waker", error))?;
        self.stop.wakes(&waker);
        let of_snapshots = waker.clone();
        self.snapshots.wake_collector_by(move || of_snapshots.wake());
        Ok(waker)
    }

    pub(super) fn audience(&self) -> Audience {
        Audience { stop: self.stop.clone(), health: self.health.clone(), stats: self.stats.clone() }
    }
}
