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
mod tests {
    use super::*;
    use crate::export::prometheus::{Labels, Metrics};
    use crate::stats::Stats;

    const MINUTE_NS: u64 = 60 * SECOND;
    const BEGIN_NS: u64 = 7 * SECOND;

    struct Bench {
        health: Arc<Health>,
        condition: NamesHealth,
    }

    impl Bench {
        fn new() -> Bench {
            let health = Arc::new(Health::default());
            health.set(Component::Monitor, Status::Healthy, "");
            Bench { condition: NamesHealth::new(Arc::clone(&health), BEGIN_NS), health }
        }

        /// Minutes `from` to `to` pass without an answer.
        fn quiet(&mut self, from: u64, to: u64) {
            (from..to).for_each(|minute| self.condition.looked(true, BEGIN_NS + minute * MINUTE_NS));
        }

        fn state(&self) -> (Status, String) {
            let dns = self.health.components().into_iter().find(|c| c.name == "dns").expect("it is in use");
            (dns.status, dns.message)
        }

        fn metric(&self, state: &str) -> bool {
            let mut metrics = Metrics::new(&Stats::default(), &self.health, &Labels::default(), None);
            let mut text = Vec::new();
            assert!(metrics.fill(&mut text, usize::MAX), "without a snapshot it is short");
            let line = format!("netmon_component_health{{component=\"dns\",state=\"{state}\"}} 1\n");
            String::from_utf8(text).expect("text").contains(&line)
        }
    }

    #[test]
    fn ten_minutes_without_an_answer_are_said_until_one_comes() {
        let mut b = Bench::new();
        b.quiet(1, 10);
        assert_eq!(b.state(), (Status::Healthy, WELL.to_owned()), "nine minutes");
        b.quiet(10, 11);
        let (status, said) = b.state();
        assert_eq!(status, Status::Degraded);
        assert!(said.contains("no DNS answer was seen for ten minutes"), "{said}");
        assert!(said.contains("encrypted DNS") && said.contains("-dns-ports"), "likely causes, {said}");
        assert!(b.metric("degraded") && !b.metric("healthy"));
        assert_eq!(b.health.overall(), Status::Healthy, "the whole does not follow");
        b.condition.answered(BEGIN_NS + 11 * MINUTE_NS);
        assert_eq!(b.state(), (Status::Healthy, WELL.to_owned()));
        assert!(b.metric("healthy") && !b.metric("degraded"));
        // And ten minutes later again.
        b.quiet(12, 21);
        assert_eq!(b.state().0, Status::Healthy);
        b.quiet(21, 22);
        assert_eq!(b.state().0, Status::Degraded);
    }

    #[test]
    fn programs_that_are_gone_are_said_before_the_silence_that_follows() {
        let mut b = Bench::new();
        (1..30).for_each(|minute| b.condition.looked(false, BEGIN_NS + minute * MINUTE_NS));
        assert_eq!(b.state(), (Status::Degraded, DETACHED.to_owned()));
        b.condition.failed("cannot read DNS answers: x".to_owned());
        assert_eq!(b.state().1, "cannot read DNS answers: x");
    }
}
