//! Reports whether DNS names are available, as health of the component `dns` and once in the log.
//!
//! It knows neither programs nor clocks: its callers report what they saw, and when.

use std::sync::Arc;

use log::{info, warn};

use crate::clock::SECOND;
use crate::health::{Component, Health, Status};
use crate::logging::{Condition, kind_of};

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
    condition: Condition,
}

impl NamesHealth {
    /// The programs were attached at `now_ns`.
    pub fn new(health: Arc<Health>, now_ns: u64) -> NamesHealth {
        health.set(Component::Dns, Status::Healthy, WELL);
        NamesHealth { health, answer_ns: now_ns, trouble: None, condition: Condition::default() }
    }

    /// Answers were seen.
    pub fn answered(&mut self, now_ns: u64) {
        self.answer_ns = now_ns;
        self.say(None, now_ns);
    }

    /// The programs were checked.
    pub fn looked(&mut self, are_attached: bool, now_ns: u64) {
        if !are_attached {
            self.failed(DETACHED.to_owned(), now_ns);
        } else if now_ns.saturating_sub(self.answer_ns) >= SILENCE_NS {
            self.failed(SILENT.to_owned(), now_ns);
        }
    }

    /// A fault occurred.
    pub fn failed(&mut self, trouble: String, now_ns: u64) {
        self.say(Some(trouble), now_ns);
    }

    fn say(&mut self, trouble: Option<String>, now_ns: u64) {
        if trouble != self.trouble {
            match &trouble {
                Some(trouble) => self.health.set(Component::Dns, Status::Degraded, trouble),
                None => self.health.set(Component::Dns, Status::Healthy, WELL),
            }
            self.trouble = trouble;
        }
        let trouble = self.trouble.as_deref();
        let Some(due) = self.condition.see(trouble.map(kind_of), now_ns) else { return };
        match trouble {
            Some(trouble) => warn!("DNS names: {trouble}{due}"),
            None => info!("DNS answers are read again{due}"),
        }
    }
}

#[cfg(test)]
mod tests;
