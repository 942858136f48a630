//! Reports the state of DAKR to health and log, from the outcomes of sends.
//!
//! It knows outcomes and causes, not the messages. Pushes decide. Until the first push has ended heartbeats decide, so
//! that a wrong address or token shows at once.

use std::sync::Arc;

use super::outcome::Outcome;
use crate::clock::SECOND;
use crate::health::{Component, Health, Status};

/// Time after which the log repeats the same failure.
const SAY_AGAIN_NS: u64 = 600 * SECOND;

/// The last report.
pub struct PushHealth {
    health: Arc<Health>,
    has_pushed: bool,
    /// The failure logged last, and when.
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

    /// DAKR acknowledged a push, in this framing.
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
        self.complain("push to", outcome, cause, now_ns);
    }

    /// DAKR acknowledged a heartbeat.
    pub fn beat_taken(&mut self) {
        if !self.has_pushed && self.said.take().is_some() {
            self.health.set(Component::DakrTransport, Status::Healthy, "connected");
            log::info!("DAKR accepts heartbeats now");
        }
    }

    /// A heartbeat failed. A DAKR without a health service still counts as healthy.
    pub fn beat_failed(&mut self, outcome: Outcome, cause: &str, now_ns: u64) {
        match outcome {
            Outcome::NotCounted | Outcome::Denied | Outcome::Unknown if !self.has_pushed => {
                self.complain("send a heartbeat to", outcome, cause, now_ns);
            }
            _ => log::debug!("heartbeat failed: {cause}"),
        }
    }

    /// Logs a failure when it starts, when its kind changes, and at long intervals, so that an outage does not flood the
    /// log.
    fn complain(&mut self, what: &str, outcome: Outcome, cause: &str, now_ns: u64) {
        self.health.set(Component::DakrTransport, Status::Degraded, cause);
        let lately = |at_ns: u64| now_ns.saturating_sub(at_ns) < SAY_AGAIN_NS;
        if self.said.is_some_and(|(said, at_ns)| said == outcome && lately(at_ns)) {
            log::debug!("cannot {what} {cause}");
        } else {
            log::warn!("cannot {what} {cause}");
            self.said = Some((outcome, now_ns));
        }
    }
}
