//! Executes the steps of [`Machine`] with [`Client`], and hands what it reads to a [`Store`].

use std::sync::Arc;

use super::client::Client;
use super::decode::{Event, Events, Object, read_objects};
use super::failure::{broken, told};
use super::report::{Report, Stage};
use super::stopper::Stopper;
use super::watch::{Failure, ListVersion, Machine, Step};
use crate::clock::{self, Now};
use crate::stats::{KubeSkip, Stats};

/// Limit on the pages of a list. We request no pages; a server that sends more than this loops.
const PAGES_MAX: u32 = 1000;

/// Keeps the objects that are followed.
pub trait Store: Send {
    /// A list begins. What was listed of one that was cut is forgotten.
    fn begin(&mut self);

    /// An object of the list.
    ///
    /// # Errors
    /// Why it is not kept.
    fn listed(&mut self, object: Object) -> Result<(), KubeSkip>;

    /// The list is whole: what is not in it is gone. How many are beyond the capacity.
    fn complete(&mut self, now: Now) -> u64;

    /// An object is new, or other than before.
    ///
    /// # Errors
    /// Why it is not kept.
    fn changed(&mut self, now: Now, object: Object) -> Result<(), KubeSkip>;

    /// An object is gone.
    ///
    /// # Errors
    /// Why that cannot be used.
    fn gone(&mut self, now: Now, object: Object) -> Result<(), KubeSkip>;

    /// Time passed.
    fn forget(&mut self, now: Now);

    /// Objects that are there.
    fn living(&self) -> usize;

    /// Shows others what changed since the last call.
    fn publish(&mut self);
}

pub struct Reflector {
    client: Client,
    machine: Machine,
    store: Box<dyn Store>,
    list_kind: &'static str,
    stopper: Arc<Stopper>,
    report: Report,
    stats: Arc<Stats>,
}

impl Reflector {
    pub fn new(
        client: Client,
        list_kind: &'static str,
        machine: Machine,
        store: Box<dyn Store>,
        stopper: Arc<Stopper>,
        report: Report,
        stats: Arc<Stats>,
    ) -> Reflector {
        Reflector { client, machine, store, list_kind, stopper, report, stats }
    }

    /// Runs until the stopper is called.
    pub fn run(mut self) {
        while !self.stopper.stopped() {
            let now = clock::now();
            self.store.forget(now);
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
        let mut more: Option<String> = None;
        let mut pages = 0;
        self.store.begin();
        let listed = loop {
            self.stats.kube_lists.inc();
            let mut answer = self.client.list(now, version, more.as_deref())?;
            let (stats, store) = (&self.stats, &mut self.store);
            let list = read_objects(&mut answer, self.list_kind, &mut |object| {
                if let Err(reason) = store.listed(object) {
                    stats.kube_skipped[reason as usize].inc();
                }
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
        let left_out = self.store.complete(now);
        self.stats.kube_skipped[KubeSkip::TooMany as usize].add(left_out);
        self.machine.listed(now.mono_ns, listed);
        self.store.publish();
        self.report.listed(now, self.store.living());
        Ok(())
    }

    fn watch(&mut self, now: Now, version: &str, timeout_seconds: u32) {
        self.stats.kube_watches.inc();
        let answer = match self.client.watch(now, version, timeout_seconds) {
            Ok(answer) => answer,
            Err(failure) => return self.failed(Stage::Opening, &failure),
        };
        self.machine.watching();
        self.report.watching(clock::now(), self.store.living());
        let mut events = Events::new(answer);
        let failure = loop {
            match events.next_object() {
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

    fn event(&mut self, event: Event<Object>) {
        let now = clock::now();
        self.stats.kube_events.inc();
        let (version, kept) = match event {
            Event::Changed { version, object } => (version, self.store.changed(now, object)),
            Event::Deleted { version, object } => (version, self.store.gone(now, object)),
            Event::Bookmark { version } => {
                self.store.forget(now);
                (version, Ok(()))
            }
            Event::Unknown { version } => (version, Err(KubeSkip::UnknownType)),
            // An error event ended the watch already.
            Event::Error(_) => (None, Ok(())),
        };
        if let Err(reason) = kept {
            self.stats.kube_skipped[reason as usize].inc();
        }
        self.machine.event(now.mono_ns, version);
        self.store.publish();
        self.report.alive(now, self.store.living());
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
}
