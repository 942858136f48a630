//! Whether names can be had, and that it is said: in the log once, and as the health of the component `dns`.
//!
//! Knows neither programs nor clocks: it is told what was seen, and when.

use std::sync::Arc;

use log::{info, warn};

use crate::clock::SECOND;
use crate::health::{Component, Health, Status};

/// How long a node may see no answer before it is said aloud.
const SILENCE_NS: u64 = 600 * SECOND;
/// What is said of a node that sees no answers.
const SILENT: &str = "no DNS answer was seen for ten minutes: encrypted DNS alone, or other ports than -dns-ports?";
/// What is said of programs that somebody took away.
const DETACHED: &str = "the DNS programs were detached from their cgroup: restart the agent";
const WELL: &str = "reading DNS answers";

/// See the module.
pub struct NamesHealth {
    health: Arc<Health>,
    /// When the last answer was seen, or the programs were attached; monotonic.
    answer_ns: u64,
    /// What was last said to be wrong.
    trouble: Option<String>,
}

impl NamesHealth {
    /// Programs were attached at `now_ns`.
    pub fn new(health: Arc<Health>, now_ns: u64) -> NamesHealth {
        health.set(Component::Dns, Status::Healthy, WELL);
        NamesHealth { health, answer_ns: now_ns, trouble: None }
    }

    /// Answers were seen.
    pub fn answered(&mut self, now_ns: u64) {
        self.answer_ns = now_ns;
        self.say(None);
    }

    /// The programs were looked at.
    pub fn looked(&mut self, are_attached: bool, now_ns: u64) {
        if !are_attached {
            self.failed(DETACHED.to_owned());
        } else if now_ns.saturating_sub(self.answer_ns) >= SILENCE_NS {
            self.failed(SILENT.to_owned());
        }
    }

    /// Something went wrong.
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
