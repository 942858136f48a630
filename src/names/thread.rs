//! The thread `dns`: reads the ring buffer and the loss counters of the programs.

use std::sync::Arc;

use log::{info, warn};

use super::capture::{Capture, Captured, Seen};
use super::health::NamesHealth;
use super::judge::Judge;
use super::{Askers, Names};
use crate::clock::{self, MS, SECOND};
use crate::config::{Config, Dns};
use crate::health::{Component, Health, Status};
use crate::privileges;
use crate::stats::{DnsLost, Stats};
use crate::stop::Stop;
use crate::sys::poll;
use crate::sys::privileges::{Capabilities, held};
use crate::sys::waker::Waker;

/// Delay from a burst of answers to the reading of the programs' counters.
const COUNT_NS: u64 = 200 * MS;
/// Delay from a failed reading to the next.
const REST_NS: u64 = SECOND;
/// Time between checks of the attachment and of expired names.
const UPKEEP_NS: u64 = 60 * SECOND;

/// Attaches the programs. Returns the names, and the function that the thread `dns` runs. `None` if names are switched
/// off or cannot be learned; the latter is logged. Call it before threads start.
pub fn start(
    config: &Config,
    stats: &Arc<Stats>,
    health: &Arc<Health>,
    stop: &Arc<Stop>,
    askers: Option<Askers>,
) -> Option<(Arc<Names>, impl FnOnce() + Send + use<>)> {
    if config.dns == Dns::Off {
        return None;
    }
    let names = Arc::new(Names::new(Arc::clone(stats), config.dakr.is_some()));
    let mut judge = Judge::new(Arc::clone(&names), Arc::clone(stats));
    judge.set_askers(askers);
    let each = move |seen: &Captured<'_>| judge.take(seen, clock::now().mono_ns);
    let opened = Capture::open(config.cgroup_root.as_deref(), &config.dns_ports, each)
        .map_err(|error| error.to_string())
        .and_then(|capture| Ok((capture, Waker::open().map_err(|error| error.to_string())?)));
    let (capture, waker) = match opened {
        Ok(opened) => opened,
        Err(_) if config.dns == Dns::Auto && !is_granted() => {
            info!("no DNS names: CAP_BPF is not granted (-dns on makes this a fault)");
            health.set(Component::Dns, Status::Unspecified, "off: CAP_BPF is not granted");
            return None;
        }
        Err(cause) => {
            warn!("no DNS names: {cause} (-dns off disables them)");
            health.set(Component::Dns, Status::Degraded, &cause);
            return None;
        }
    };
    stop.wakes(&waker);
    let thread = Thread {
        capture,
        waker,
        names: Arc::clone(&names),
        stats: Arc::clone(stats),
        condition: NamesHealth::new(Arc::clone(health), clock::now().mono_ns),
        stop: Arc::clone(stop),
        seen: Seen::default(),
    };
    Some((names, move || thread.run()))
}

/// Whether this process was meant to load programs. Where that is not known, what failed is a fault.
fn is_granted() -> bool {
    held().map_or(true, |held| held.effective.contains(Capabilities::BPF))
}

struct Thread {
    capture: Capture,
    waker: Waker,
    names: Arc<Names>,
    stats: Arc<Stats>,
    condition: NamesHealth,
    stop: Arc<Stop>,
    seen: Seen,
}

impl Thread {
    fn run(mut self) {
        privileges::settle_dns();
        let mut upkeep_ns = clock::now().mono_ns + UPKEEP_NS;
        let mut count_ns = u64::MAX;
        let mut rest_ns = 0;
        while !self.stop.requested() {
            let now_ns = clock::now().mono_ns;
            // After a failure the descriptor may stay readable, and the loop would spin.
            let rests = now_ns < rest_ns;
            let next_ns = upkeep_ns.min(count_ns).min(if rests { rest_ns } else { u64::MAX });
            let fds = [self.waker.raw_fd(), self.capture.fd()];
            let fds = if rests { &fds[..1] } else { &fds[..] };
            let ready = poll::readable(fds, next_ns.saturating_sub(now_ns));
            let now = clock::now();
            if ready & 2 != 0 {
                if let Err(error) = self.capture.consume() {
                    rest_ns = now.mono_ns + REST_NS;
                    self.condition.failed(format!("cannot read DNS answers: {error}"), now.mono_ns);
                }
                count_ns = count_ns.min(now.mono_ns + COUNT_NS);
            }
            if now.mono_ns >= count_ns {
                count_ns = u64::MAX;
                if self.count() {
                    self.condition.answered(now.mono_ns);
                }
            }
            if now.mono_ns >= upkeep_ns {
                upkeep_ns = now.mono_ns + UPKEEP_NS;
                self.names.purge(now.mono_ns);
                self.condition.looked(self.capture.is_attached(), now.mono_ns);
            }
        }
        self.count();
    }

    /// Copies the programs' counters; returns whether answers arrived.
    fn count(&mut self) -> bool {
        let seen = match self.capture.seen() {
            Ok(seen) => seen,
            Err(error) => {
                self.condition
                    .failed(format!("cannot read the counters of the DNS programs: {error}"), clock::now().mono_ns);
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
}
