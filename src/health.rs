//! What works and what does not: components, their states, and the whole as the worst of them.
//!
//! Written by the threads that own the components, read by the endpoint and the heartbeat.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// State of a component, ordered by severity; the numbers are those of DAKR's `HealthStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Status {
    /// Nothing is known yet.
    #[default]
    Unspecified = 0,
    /// Works.
    Healthy = 1,
    /// Works in part; the message says what is missing.
    Degraded = 2,
    /// Does not work.
    Unhealthy = 3,
}

impl Status {
    /// `unspecified`, `healthy`, `degraded` or `unhealthy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Unspecified => "unspecified",
            Status::Healthy => "healthy",
            Status::Degraded => "degraded",
            Status::Unhealthy => "unhealthy",
        }
    }
}

/// The parts that have a state of their own. The first four are the incumbent's names, which DAKR knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Component {
    /// Counting: the source and the collector.
    Monitor,
    /// The push.
    DakrTransport,
    /// The BPF programs, where they are wanted.
    EbpfTracer,
    /// The Kubernetes client.
    PodCache,
    /// DNS names. The whole does not follow it.
    Dns,
}

impl Component {
    const ALL: [(Component, &'static str); 5] = [
        (Component::Monitor, "monitor"),
        (Component::DakrTransport, "dakr_transport"),
        (Component::EbpfTracer, "ebpf_tracer"),
        (Component::PodCache, "pod_cache"),
        (Component::Dns, "dns"),
    ];
}

/// One component's state, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentState {
    /// Its name on the wire.
    pub name: &'static str,
    /// Its state.
    pub status: Status,
    /// What is to be said of it.
    pub message: String,
    /// More of it, as pairs; sorted by key.
    pub metadata: Vec<(String, String)>,
}

/// State, message and metadata.
type State = (Status, String, Vec<(String, String)>);

/// The states of all components in use.
#[derive(Debug, Default)]
pub struct Health {
    // Held for the time of a copy, never across I/O.
    states: Mutex<[Option<State>; Component::ALL.len()]>,
}

impl Health {
    /// Sets a component's state and message; its metadata stays.
    pub fn set(&self, component: Component, status: Status, message: &str) {
        let mut states = self.states.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let state = states[component as usize].get_or_insert_default();
        state.0 = status;
        if state.1 != message {
            state.1 = message.to_owned();
        }
    }

    /// Sets one pair of a component's metadata.
    pub fn note(&self, component: Component, key: &str, value: &str) {
        let mut states = self.states.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let state = states[component as usize].get_or_insert_default();
        match state.2.binary_search_by(|(k, _)| k.as_str().cmp(key)) {
            Ok(at) => value.clone_into(&mut state.2[at].1),
            Err(at) => state.2.insert(at, (key.to_owned(), value.to_owned())),
        }
    }

    /// The components in use, in a fixed order.
    pub fn components(&self) -> Vec<ComponentState> {
        let states = self.states.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Component::ALL
            .iter()
            .zip(states.iter())
            .filter_map(|((_, name), state)| {
                let (status, message, metadata) = state.clone()?;
                Some(ComponentState { name, status, message, metadata })
            })
            .collect()
    }

    /// The worst state of all components but `dns`.
    pub fn overall(&self) -> Status {
        self.components().iter().filter(|c| c.name != "dns").map(|c| c.status).max().unwrap_or_default()
    }
}

/// Signs of life of the collector, for the probes: written by it, read without a lock.
#[derive(Debug, Default)]
pub struct Pulse {
    cycle_mono_ns: AtomicU64,
    interval_ns: AtomicU64,
    stopping: AtomicBool,
}

/// Effective intervals without a cycle after which the collector counts as stuck.
const STUCK_INTERVALS: u64 = 5;

impl Pulse {
    /// The collector has completed a cycle, the first complete sweep behind it, and means to sweep every
    /// `interval_ns`.
    pub fn cycle_completed(&self, mono_ns: u64, interval_ns: u64) {
        self.interval_ns.store(interval_ns, Relaxed);
        self.cycle_mono_ns.store(mono_ns.max(1), Relaxed);
    }

    /// The agent ends.
    pub fn stop(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// `/readyz`: whether the first complete sweep is made and the agent does not end.
    pub fn is_ready(&self) -> bool {
        self.cycle_mono_ns.load(Relaxed) != 0 && !self.is_stopping()
    }

    /// Whether the agent ends.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// `/healthz`: whether the collector has completed no cycle for five effective intervals. Before the first one
    /// it is starting, not stuck; while the agent ends it is busy with that.
    pub fn is_stuck(&self, now_mono_ns: u64) -> bool {
        let (cycle, interval) = (self.cycle_mono_ns.load(Relaxed), self.interval_ns.load(Relaxed));
        cycle != 0
            && !self.is_stopping()
            && now_mono_ns.saturating_sub(cycle) > interval.saturating_mul(STUCK_INTERVALS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probes_follow_the_collector_alone() {
        let pulse = Pulse::default();
        assert!(!pulse.is_ready() && !pulse.is_stuck(u64::MAX));
        pulse.cycle_completed(100, 10);
        assert!(pulse.is_ready() && !pulse.is_stuck(150) && pulse.is_stuck(151));
        pulse.stop();
        assert!(!pulse.is_ready() && !pulse.is_stuck(1_000));
    }

    #[test]
    fn dns_does_not_decide_the_whole() {
        let health = Health::default();
        health.set(Component::Monitor, Status::Healthy, "collecting");
        health.set(Component::Dns, Status::Degraded, "no BTF");
        health.note(Component::Monitor, "b", "2");
        health.note(Component::Monitor, "a", "1");
        assert_eq!(health.overall(), Status::Healthy);
        let metadata = &health.components()[0].metadata;
        assert_eq!(metadata[0], ("a".to_owned(), "1".to_owned()));
    }
}
