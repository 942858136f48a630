//! Health of the agent: components and their states. The overall state is the worst of them.
//!
//! The threads that own the components write it; the HTTP endpoint and the heartbeat read it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use crate::clock::SECOND;
use crate::listed;

listed! {
    /// State of a component, ordered by severity. The order is that of DAKR's `HealthStatus`, whose numbers start at 0.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    #[repr(u8)]
    pub enum Status {
        /// No state is known yet.
        #[default]
        Unspecified => "unspecified",
        Healthy => "healthy",
        /// Works in part; the message names what is missing.
        Degraded => "degraded",
        Unhealthy => "unhealthy",
    }
}

listed! {
    /// The parts of the agent that report a state. The first four are the incumbent's names, which DAKR knows.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(usize)]
    pub enum Component {
        /// The source and the collector.
        Monitor => "monitor",
        /// The push to DAKR.
        DakrTransport => "dakr_transport",
        /// The BPF programs that count connections: set if mode ebpf is wanted or its programs run.
        EbpfTracer => "ebpf_tracer",
        /// The Kubernetes client.
        PodCache => "pod_cache",
        /// DNS names. The overall state ignores it: only names are missing without them.
        Dns => "dns",
        /// The state file, where one is asked for.
        StateFile => "state_file",
    }
}

impl Component {
    /// Whether the whole is no better than this part.
    fn counts_for_the_whole(self) -> bool {
        match self {
            Component::Monitor | Component::DakrTransport | Component::EbpfTracer | Component::PodCache => true,
            Component::StateFile => true,
            Component::Dns => false,
        }
    }
}

/// One component's state, as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentState {
    /// The component's name on the wire.
    pub name: &'static str,
    pub status: Status,
    /// Cause and cure in one line; empty while the state is unspecified.
    pub message: String,
    /// Further facts, sorted by key.
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
            .filter_map(|(component, state)| {
                let (status, message, metadata) = state.clone()?;
                Some(ComponentState { name: component.as_str(), status, message, metadata })
            })
            .collect()
    }

    /// The worst state of all components but `dns`.
    pub fn overall(&self) -> Status {
        let states = self.states.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let of_the_whole = |(component, state): (Component, &Option<State>)| {
            state.as_ref().filter(|_| component.counts_for_the_whole()).map(|(status, ..)| *status)
        };
        Component::ALL.into_iter().zip(states.iter()).filter_map(of_the_whole).max().unwrap_or_default()
    }
}

/// The state behind the probes. The collector writes it, at the end `main`; readers need no lock.
#[derive(Debug)]
pub struct Pulse {
    cycle_mono_ns: AtomicU64,
    patience_ns: AtomicU64,
    /// `-read-interval`.
    interval_ns: u64,
    swept: AtomicBool,
    stopping: AtomicBool,
}

/// What a probe answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// The agent works.
    Well,
    /// The first sweep is not complete yet.
    NotSwept,
    /// The agent is stopping.
    Stopping,
    /// The collector has completed no cycle for this time, in nanoseconds.
    Stuck(u64),
}

/// Read intervals after which a collector counts as stuck that has not begun its next cycle.
const MISSED: u64 = 5;
/// The shortest time after which it does: with a short interval the sweep of a large table takes several intervals.
const LEAST_STUCK_NS: u64 = 10 * SECOND;
/// Until the first cycle has ended the interval counts as at least so long. A start that is throttled (a tenth of a
/// processor on a slow node) took 40 s. Whoever kills it only begins anew.
const LEAST_START_INTERVAL_NS: u64 = 60 * SECOND;

impl Pulse {
    /// Starts at `mono_ns`, with the read interval.
    pub fn new(mono_ns: u64, interval_ns: u64) -> Pulse {
        Pulse {
            cycle_mono_ns: AtomicU64::new(mono_ns),
            patience_ns: AtomicU64::new(interval_ns.max(LEAST_START_INTERVAL_NS).saturating_mul(MISSED)),
            interval_ns,
            swept: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        }
    }

    /// Called by the collector at the end of a cycle, whatever it did; the next cycle follows after `wait_ns`.
    pub fn cycle_completed(&self, mono_ns: u64, wait_ns: u64) {
        let patience_ns = self.interval_ns.saturating_mul(MISSED).max(LEAST_STUCK_NS);
        self.patience_ns.store(patience_ns.saturating_add(wait_ns), Relaxed);
        self.cycle_mono_ns.store(mono_ns, Relaxed);
    }

    /// Called by the collector after a complete sweep; returns whether this was the first.
    pub fn sweep_completed(&self) -> bool {
        !self.swept.swap(true, Relaxed)
    }

    /// Called by `main` once a signal ends the agent.
    pub fn stopping(&self) {
        self.stopping.store(true, Relaxed);
    }

    /// The answer of `/healthz`: well, or stuck.
    pub fn alive(&self, mono_ns: u64) -> Life {
        let silent_ns = mono_ns.saturating_sub(self.cycle_mono_ns.load(Relaxed));
        if silent_ns > self.patience_ns.load(Relaxed) { Life::Stuck(silent_ns) } else { Life::Well }
    }

    /// The answer of `/readyz`: well from the first complete sweep until the agent stops.
    pub fn ready(&self) -> Life {
        if self.stopping.load(Relaxed) {
            Life::Stopping
        } else if self.swept.load(Relaxed) {
            Life::Well
        } else {
            Life::NotSwept
        }
    }
}

#[cfg(test)]
mod tests;
