//! Reports whether DNS names are available, as health of the component `dns` and once in the log.
//!
//! It knows neither programs nor clocks: its callers report what they saw, and when.

use std::sync::Arc;

use log::{info, warn};

use crate::clock::SECOND;
use crate::health::{Component, Health, Status};

/// Time without an answer after which the node is reported as degraded.
const SILENCE_NS: u64 = 600 * SECOND;
/// The message for a node that sees no answers.
const SILENT: &str = "no DNS answer was seen for ten minutes: only encrypted DNS, or ports missing in -dns-ports?";
/// The message for programs that are no longer attached.
const DETACHED: &str = "something detached the DNS programs from their cgroup: restart the agent";
const WELL: &str = "reading DNS answers";

pub struct NamesHealth {
    health: Arc<Health>,
    /// Time of the last answer, at first that of the attachment; monotonic.
    answer_ns: u64,
    /// The fault reported last.
    trouble: Option<String>,
}

impl NamesHealth {
    /// The programs were attached at `now_ns`.
    pub fn new(health: Arc<Health>, now_ns: u64) -> NamesHealth {
        health.set(Component::Dns, Status::Healthy, WELL);
        NamesHealth { health, answer_ns: now_ns, trouble: None }
    }

    /// Answers were seen.
    pub fn answered(&mut self, now_ns: u64) {
        self.answer_ns = now_ns;
        self.say(None);
    }

    /// The programs were checked.
    pub fn looked(&mut self, are_attached: bool, now_ns: u64) {
        if !are_attached {
            self.failed(DETACHED.to_owned());
        } else if now_ns.saturating_sub(self.answer_ns) >= SILENCE_NS {
            self.failed(SILENT.to_owned());
        }
    }

    /// A fault occurred.
    pub fn failed(&mut self, trouble: String) {
        self.say(Some(trouble));
    }

    fn say(&mut self, trouble: Option<String>) {
        if trouble == self.trouble {
            return;
        }
        match &trouble {
            Some(trouble) => {
                warn!("DNS names: {trouble}");
                self.health.set(Component::Dns, Status::Degraded, trouble);
            }
            None => {
                info!("DNS answers are read again");
                self.health.set(Component::Dns, Status::Healthy, WELL);
            }
        }
        self.trouble = trouble;
    }
}

#[cfg(test)]
mod tests;
