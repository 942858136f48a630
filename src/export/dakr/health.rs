//! How DAKR is doing, as health and log say it, from how sends end.
//!
//! Knows outcomes and causes, not what is sent. Pushes decide; until the first of them has ended, heartbeats do, so that a
//! wrong address or token shows at once and not when the first rows are due.

use std::sync::Arc;

use super::outcome::Outcome;
use crate::clock::SECOND;
use crate::health::{Component, Health, Status};

/// How often the log repeats that sends fail in the same way.
const SAY_AGAIN_NS: u64 = 600 * SECOND;

/// What was said last.
pub struct PushHealth {
    health: Arc<Health>,
    has_pushed: bool,
    /// What failure the log said last, and when.
    said: Option<(Outcome, u64)>,
}

impl PushHealth {
    /// Nothing was sent yet.
    pub fn new(health: Arc<Health>, node_name: &str) -> PushHealth {
        health.set(Component::DakrTransport, Status::Healthy, "initialized");
        health.note(Component::DakrTransport, "node", node_name);
        PushHealth { health, has_pushed: false, said: None }
    }

    /// What heartbeats report.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// A push was taken, in this framing.
    pub fn push_taken(&mut self, framing: &str) {
        self.has_pushed = true;
        self.health.set(Component::DakrTransport, Status::Healthy, "connected");
        self.health.note(Component::DakrTransport, "framing", framing);
        if self.said.take().is_some() {
            log::info!("DAKR accepts pushes again");
        }
    }

    pub fn push_failed(&mut self, outcome: Outcome, cause: &str, now_ns: u64) {
        self.has_pushed = true;
        self.complain("push", outcome, cause, now_ns);
    }

    /// A heartbeat was taken.
    pub fn beat_taken(&mut self) {
        if !self.has_pushed && self.said.take().is_some() {
            self.health.set(Component::DakrTransport, Status::Healthy, "connected");
            log::info!("DAKR accepts heartbeats now");
        }
    }

    /// A heartbeat failed. A DAKR without a health service is well all the same.
    pub fn beat_failed(&mut self, outcome: Outcome, cause: &str, now_ns: u64) {
        match outcome {
            Outcome::NotCounted | Outcome::Denied | Outcome::Unknown if !self.has_pushed => {
                self.complain("heartbeat", outcome, cause, now_ns);
            }
            _ => log::debug!("heartbeat failed: {cause}"),
        }
    }

    /// Says it once when it begins or changes its kind, and now and then: an outage is no storm in the log.
    fn complain(&mut self, what: &str, outcome: Outcome, cause: &str, now_ns: u64) {
        self.health.set(Component::DakrTransport, Status::Degraded, cause);
        let lately = |at_ns: u64| now_ns.saturating_sub(at_ns) < SAY_AGAIN_NS;
        if self.said.is_some_and(|(said, at_ns)| said == outcome && lately(at_ns)) {
            log::debug!("{what} failed: {cause}");
        } else {
            log::warn!("{what} failed: {cause}");
            self.said = Some((outcome, now_ns));
        }
    }
}
