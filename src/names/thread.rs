//! The `dns` thread: empties the ring buffer, counts what the programs lost, and says when names cannot be had.

use std::sync::Arc;

use log::{info, warn};

use super::Names;
use super::capture::{Capture, Seen};
use super::judge::Judge;
use crate::clock::{self, MS, SECOND};
use crate::config::{Config, Dns, Mode};
use crate::health::{Component, Health, Status};
use crate::privileges;
use crate::stats::{DnsLost, Stats};
use crate::stop::Stop;
use crate::sys::poll;
use crate::sys::waker::Waker;

/// Between a burst of answers and the reading of what the programs counted.
const COUNT_NS: u64 = 200 * MS;
/// Between looks at the programs and at names whose time is over.
const UPKEEP_NS: u64 = 60 * SECOND;
/// How long a node may see no answer before it is said aloud.
const SILENCE_NS: u64 = 600 * SECOND;

/// What is said of a node that sees no answers.
const SILENT: &str = "no DNS answer was seen for ten minutes: encrypted DNS alone, or other ports than -dns-ports?";

/// Attaches the programs, and returns the names with what the thread `dns` is to run; `None` where they are not wanted or
/// cannot be had, which is said. Call it before threads start.
pub fn start(
    config: &Config,
    stats: &Arc<Stats>,
    health: &Arc<Health>,
    stop: &Arc<Stop>,
) -> Option<(Arc<Names>, impl FnOnce() + Send + use<>)> {
    if config.dns == Dns::Off || matches!(config.mode, Mode::Replay(_)) {
        return None;
    }
    let names = Arc::new(Names::new(Arc::clone(stats), config.dakr.is_some()));
    let mut judge = Judge::new(Arc::clone(&names), Arc::clone(stats));
    let each = move |seen: &super::capture::Captured<'_>| judge.take(seen, clock::now());
    let opened = Capture::open(config.cgroup_root.as_deref(), &config.dns_ports, each)
        .map_err(|error| error.to_string())
        .and_then(|capture| Ok((capture, Waker::open().map_err(|error| error.to_string())?)));
    let (capture, waker) = match opened {
        Ok(opened) => opened,
        Err(cause) => {
            warn!("no DNS names: {cause} (-dns off ends the attempt)");
            health.set(Component::Dns, Status::Degraded, &cause);
            return None;
        }
    };
    stop.wakes(&waker);
    health.set(Component::Dns, Status::Healthy, "reading DNS answers");
    let thread = Thread {
        capture,
        waker,
        names: Arc::clone(&names),
        stats: Arc::clone(stats),
        health: Arc::clone(health),
        stop: Arc::clone(stop),
        seen: Seen::default(),
        trouble: None,
    };
    Some((names, move || thread.run()))
}

struct Thread {
    capture: Capture,
    waker: Waker,
    names: Arc<Names>,
    stats: Arc<Stats>,
    health: Arc<Health>,
    stop: Arc<Stop>,
    seen: Seen,
    /// What was last said to be wrong.
    trouble: Option<String>,
}

impl Thread {
    fn run(mut self) {
        privileges::settle_dns();
        let mut upkeep_ns = clock::now().mono_ns + UPKEEP_NS;
        let mut count_ns = u64::MAX;
        let mut answer_ns = clock::now().mono_ns;
        while !self.stop.requested() {
            let now_ns = clock::now().mono_ns;
            let next_ns = upkeep_ns.min(count_ns);
            let fds = [self.waker.raw_fd(), self.capture.fd()];
            let ready = poll::readable(&fds, next_ns.saturating_sub(now_ns));
            let now = clock::now();
            if ready & 2 != 0 {
                if let Err(error) = self.capture.consume() {
                    self.say(Some(format!("cannot read DNS answers: {error}")));
                }
                count_ns = count_ns.min(now.mono_ns + COUNT_NS);
            }
            if now.mono_ns >= count_ns {
                count_ns = u64::MAX;
                if self.count() {
                    answer_ns = now.mono_ns;
                    self.say(None);
                }
            }
            if now.mono_ns >= upkeep_ns {
                upkeep_ns = now.mono_ns + UPKEEP_NS;
                self.names.purge(now);
                if !self.capture.is_attached() {
                    self.say(Some("the DNS programs were detached from their cgroup: restart the agent".to_owned()));
                } else if now.mono_ns - answer_ns >= SILENCE_NS {
                    self.say(Some(SILENT.to_owned()));
                }
            }
        }
        self.count();
    }

    /// Takes over what the programs counted; returns whether answers came.
    fn count(&mut self) -> bool {
        let seen = match self.capture.seen() {
            Ok(seen) => seen,
            Err(error) => {
                self.say(Some(format!("cannot read the counters of the DNS programs: {error}")));
                return false;
            }
        };
        let answers = seen.answers - self.seen.answers;
        self.stats.dns_answers.add(answers);
        self.stats.dns_lost[DnsLost::RingFull as usize].add(seen.answers_lost - self.seen.answers_lost);
        self.stats.dns_questions_lost.add(seen.questions_lost - self.seen.questions_lost);
        self.seen = seen;
        answers > 0
    }

    /// Says what is wrong, or that all is well, once.
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
                self.health.set(Component::Dns, Status::Healthy, "reading DNS answers");
            }
        }
        self.trouble = trouble;
    }
}
