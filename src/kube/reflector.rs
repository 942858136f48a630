//! The thread `kube`: executes the steps of [`Machine`] with [`Client`], and updates the [`Index`].

use std::sync::Arc;

use super::client::Client;
use super::decode::{Event, Events, PodView, read_list};
use super::failure::{broken, told};
use super::index::{Index, PODS_MAX};
use super::report::{Report, Stage};
use super::stopper::Stopper;
use super::watch::{Failure, ListVersion, Machine, Step};
use crate::clock::{self, Now};
use crate::owner::pods::Published;
use crate::stats::{KubeSkip, Stats};

/// Limit on the pages of a list. We request no pages; a server that sends more than this loops.
const PAGES_MAX: u32 = 1000;

pub struct Reflector {
    client: Client,
    machine: Machine,
    index: Index,
    stopper: Arc<Stopper>,
    report: Report,
    stats: Arc<Stats>,
    published: Arc<Published>,
    wake: Box<dyn Fn() + Send>,
}

impl Reflector {
    pub fn new(
        client: Client,
        machine: Machine,
        stopper: Arc<Stopper>,
        report: Report,
        stats: Arc<Stats>,
        published: Arc<Published>,
        wake: Box<dyn Fn() + Send>,
    ) -> Reflector {
        Reflector { client, machine, index: Index::default(), stopper, report, stats, published, wake }
    }

    /// Runs until the stopper is called.
    pub fn run(mut self) {
        while !self.stopper.stopped() {
            let now = clock::now();
            match self.machine.step(now.mono_ns) {
                Step::Wait { until_ns } => self.stopper.wait(until_ns.saturating_sub(now.mono_ns)),
                Step::List { version } => match self.list(now, &version) {
                    Ok(()) => {}
                    Err(failure) => self.failed(Stage::Listing, &failure),
                },
                Step::Watch { version, timeout_seconds } => self.watch(now, &version, timeout_seconds),
            }
        }
    }

    fn list(&mut self, now: Now, version: &ListVersion) -> Result<(), Failure> {
        let mut pods: Vec<PodView> = Vec::new();
        let mut more: Option<String> = None;
        let mut pages = 0;
        let listed = loop {
            self.stats.kube_lists.inc();
            let answer = self.client.list(now, version, more.as_deref())?;
            let stats = &self.stats;
            let list = read_list(answer, |pod| match pod {
                Some(pod) if pods.len() < PODS_MAX => pods.push(pod),
                Some(_) => stats.kube_skipped[KubeSkip::TooMany as usize].inc(),
                None => stats.kube_skipped[KubeSkip::NoPod as usize].inc(),
            });
            let list = list.map_err(broken)?;
            pages += 1;
            match list.more {
                Some(_) if pages >= PAGES_MAX => {
                    return Err(Failure::Unreadable("a list that does not end".to_owned()));
                }
                Some(_) => more = list.more,
                // The version is the same on all pages.
                None => break list.version,
            }
        };
        let now = clock::now();
        let left_out = self.index.replace(now, pods);
        self.stats.kube_skipped[KubeSkip::TooMany as usize].add(left_out);
        self.machine.listed(now.mono_ns, listed);
        self.publish();
        self.report.listed(now, self.index.living());
        Ok(())
    }

    fn watch(&mut self, now: Now, version: &str, timeout_seconds: u32) {
        self.stats.kube_watches.inc();
        let answer = match self.client.watch(now, version, timeout_seconds) {
            Ok(answer) => answer,
            Err(failure) => return self.failed(Stage::Opening, &failure),
        };
        self.machine.watching();
        self.report.watching(clock::now(), self.index.living());
        let mut events = Events::new(answer);
        let failure = loop {
            match events.next() {
                None => break Failure::Ended,
                Some(Err(error)) => break broken(error),
                Some(Ok(Event::Error(status))) => break told(&status),
                Some(Ok(event)) => self.event(event),
            }
            if self.stopper.stopped() {
                return;
            }
        };
        self.failed(Stage::Reading, &failure);
    }

    fn event(&mut self, event: Event) {
        let now = clock::now();
        self.stats.kube_events.inc();
        let skip = |reason: KubeSkip| self.stats.kube_skipped[reason as usize].inc();
        let version = match event {
            Event::Changed { version, pod } => {
                match pod.map(|pod| self.index.upsert(now, pod)) {
                    Some(true) => {}
                    Some(false) => skip(KubeSkip::TooMany),
                    None => skip(KubeSkip::NoPod),
                }
                version
            }
            Event::Deleted { version, pod } => {
                match pod {
                    Some(pod) => self.index.remove(now, &pod.uid),
                    None => skip(KubeSkip::NoPod),
                }
                version
            }
            Event::Bookmark { version } => {
                self.index.forget(now);
                version
            }
            Event::Unknown { version } => {
                skip(KubeSkip::UnknownType);
                version
            }
            // An error event ended the watch already.
            Event::Error(_) => None,
        };
        self.machine.event(now.mono_ns, version);
        self.publish();
        self.report.alive(now, self.index.living());
    }

    fn failed(&mut self, stage: Stage, failure: &Failure) {
        if self.stopper.stopped() {
            return;
        }
        match failure {
            Failure::Unauthorized => self.client.forget_credentials(),
            // The server's certificate may be from a new authority; ours may have been renewed.
            Failure::Tls(_) | Failure::Clock(_) | Failure::Credentials(_) => self.client.recheck_tls(),
            _ => {}
        }
        let now = clock::now();
        let relist = self.machine.failed(now.mono_ns, failure);
        self.report.failed(now, stage, failure, relist);
        self.report.renewals_failed(self.client.renewals_failed);
    }

    fn publish(&mut self) {
        if let Some(index) = self.index.snapshot() {
            self.published.publish(index);
            (self.wake)();
        }
    }
}
