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
    b.condition.failed("cannot read DNS answers: x".to_owned(), BEGIN_NS);
    assert_eq!(b.state().1, "cannot read DNS answers: x");
}
