//! Reports the state of DAKR to health and log, from the outcomes of sends.
//!
//! It knows outcomes and causes, not the messages. Pushes decide. Until the first push has ended heartbeats decide, so
//! that a wrong address or token shows at once.

use std::sync::Arc;

use super::outcome::Outcome;
use crate::health::{Component, Health, Status};
use crate::logging::{Bytes, Condition};
use crate::stats::Stats;

/// The last report.
pub struct PushHealth {
    health: Arc<Health>,
    stats: Arc<Stats>,
    has_pushed: bool,
    condition: Condition,
    /// Failures since the last line.
    failures: u64,
}

impl PushHealth {
    /// Nothing was sent yet.
    pub fn new(health: Arc<Health>, stats: Arc<Stats>, node_name: &str) -> PushHealth {
        health.set(Component::DakrTransport, Status::Healthy, "initialized");
        health.note(Component::DakrTransport, "node", node_name);
        PushHealth { health, stats, has_pushed: false, condition: Condition::default(), failures: 0 }
    }

    /// What heartbeats report.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// DAKR acknowledged a push, in this framing.
    pub fn push_taken(&mut self, framing: &str, now_ns: u64) {
        self.has_pushed = true;
        self.health.set(Component::DakrTransport, Status::Healthy, "connected");
        self.health.note(Component::DakrTransport, "framing", framing);
        self.well("pushes again", now_ns);
    }

    fn well(&mut self, what: &str, now_ns: u64) {
        if let Some(due) = self.condition.see(None, now_ns) {
            let failures = std::mem::take(&mut self.failures);
            log::info!("DAKR accepts {what} ({failures} failures since the last line){due}");
        }
    }

    pub fn push_failed(&mut self, outcome: Outcome, cause: &str, now_ns: u64) {
        self.has_pushed = true;
        self.complain("push to", outcome, cause, now_ns);
    }

    /// DAKR acknowledged a heartbeat.
    pub fn beat_taken(&mut self, now_ns: u64) {
        if !self.has_pushed {
            if self.condition.is_wrong() {
                self.health.set(Component::DakrTransport, Status::Healthy, "connected");
            }
            self.well("heartbeats now", now_ns);
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

    /// Logs a failure when it starts, when its kind changes, and every ten minutes, with what waits meanwhile.
    fn complain(&mut self, what: &str, outcome: Outcome, cause: &str, now_ns: u64) {
        self.health.set(Component::DakrTransport, Status::Degraded, cause);
        self.failures += 1;
        let Some(due) = self.condition.see(Some(outcome as u64), now_ns) else {
            log::debug!("cannot {what} {cause}");
            return;
        };
        let waiting = Bytes(self.stats.open_bytes.get().saturating_add(self.stats.frozen_bytes.get()));
        let failures = std::mem::take(&mut self.failures);
        log::warn!("cannot {what} {cause}; failures since the last line: {failures}, {waiting} wait{due}");
    }
}

#[cfg(test)]
mod tests;
