//! Ends a request from another thread, and the waits between requests.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use ureq::Agent;

/// Stops the client from another thread.
#[derive(Default)]
pub struct Stopper {
    slot: Mutex<Slot>,
    changed: Condvar,
}

#[derive(Default)]
struct Slot {
    stopped: bool,
    agent: Option<Agent>,
}

impl Stopper {
    /// Ends the current request and refuses later ones. It does not interrupt a connection that is being set up; the
    /// time limits bound that.
    pub fn stop(&self) {
        let agent = {
            let mut slot = self.lock();
            slot.stopped = true;
            slot.agent.take()
        };
        self.changed.notify_all();
        if let Some(agent) = agent {
            agent.shutdown();
        }
    }

    /// Whether [`Stopper::stop`] was called.
    pub fn stopped(&self) -> bool {
        self.lock().stopped
    }

    /// Waits for `ns` nanoseconds, or until [`Stopper::stop`] is called.
    pub fn wait(&self, ns: u64) {
        let slot = self.lock();
        let wait = self.changed.wait_timeout_while(slot, Duration::from_nanos(ns), |slot| !slot.stopped);
        drop(wait);
    }

    pub(super) fn arm(&self, agent: &Agent) {
        let mut slot = self.lock();
        if slot.stopped {
            agent.clone().shutdown();
        } else {
            slot.agent = Some(agent.clone());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
