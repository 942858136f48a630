//! Reports the state of the API server to health and log: the kind of failure, its meaning and the cure.

use std::sync::Arc;

use super::client::Followed;
use super::watch::Failure;
use crate::clock::{Now, SECOND};
use crate::health::{Component, Health, Status};
use crate::logging::{Condition, kind_of};
use crate::stats::Stats;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Listing,
    /// A watch that did not start.
    Opening,
    /// A watch that had started.
    Reading,
}

/// Reports for the component `pod_cache`, or where others than the node's pods are followed to the log alone.
pub struct Report {
    health: Option<Arc<Health>>,
    stats: Arc<Stats>,
    url: String,
    followed: Followed,
    in_cluster: bool,
    /// Time of the last list, event or bookmark, monotonic; `None` before the first list.
    heard_ns: Option<u64>,
    /// The number of pods last reported as healthy; `None` after a failure.
    well: Option<usize>,
    condition: Condition,
    /// Failures since the last line.
    failures: u64,
}

impl Report {
    /// Nothing is known yet.
    pub fn new(
        health: Option<Arc<Health>>,
        stats: Arc<Stats>,
        url: &str,
        followed: Followed,
        in_cluster: bool,
    ) -> Report {
        let url = url.to_owned();
        let report = Report {
            health,
            stats,
            url,
            followed,
            in_cluster,
            heard_ns: None,
            well: None,
            condition: Condition::default(),
            failures: 0,
        };
        report.set(Status::Unspecified, "waiting for the first list of pods");
        report
    }

    fn set(&self, status: Status, message: &str) {
        if let Some(health) = &self.health {
            health.set(Component::PodCache, status, message);
        }
    }

    fn note(&self, key: &str, value: &str) {
        if let Some(health) = &self.health {
            health.note(Component::PodCache, key, value);
        }
    }

    fn what(&self) -> &'static str {
        match self.followed {
            Followed::PodsOf(_) | Followed::Pods => "pods",
            Followed::Nodes => "nodes",
        }
    }

    pub fn listed(&mut self, now: Now, count: usize) {
        if self.heard_ns.is_none() {
            match &self.followed {
                Followed::PodsOf(node) => log::info!("{count} pods run on node {node} (API server {})", self.url),
                Followed::Pods | Followed::Nodes => {
                    log::info!("the cluster has {count} {} (API server {})", self.what(), self.url);
                }
            }
        }
        self.watching(now, count);
    }

    pub fn watching(&mut self, now: Now, pods: usize) {
        self.well = None;
        self.alive(now, pods);
    }

    /// An event or a bookmark arrived.
    pub fn alive(&mut self, now: Now, pods: usize) {
        self.heard_ns = Some(now.mono_ns);
        if let Some(due) = self.condition.see(None, now.mono_ns) {
            let failures = std::mem::take(&mut self.failures);
            log::info!("the API server {} answers again ({failures} failures since the last line){due}", self.url);
        }
        let Followed::PodsOf(node) = &self.followed else { return };
        self.stats.pods.set(pods as u64);
        if self.well == Some(pods) {
            return;
        }
        self.well = Some(pods);
        // The agent itself is a pod of the node.
        if pods == 0 && self.in_cluster {
            let message = format!("no pod runs on node {node:?}, not even this agent: is NODE_NAME right?");
            self.set(Status::Degraded, &message);
            log::warn!("{message}");
        } else {
            self.set(Status::Healthy, "informer synced");
        }
        self.note("pods", &pods.to_string());
    }

    /// A request failed. `relist`: whether the pods are listed again because of it.
    pub fn failed(&mut self, now: Now, stage: Stage, failure: &Failure, relist: bool) {
        let (kind, message) = words(failure, &self.url, self.what());
        if relist {
            self.note("listed_again", kind);
        }
        let usual = stage == Stage::Reading && matches!(failure, Failure::Ended | Failure::Idle | Failure::Network(_));
        if usual || (stage != Stage::Listing && *failure == Failure::Gone) {
            log::debug!("a watch of {} ended: {message}", self.what());
            return;
        }
        self.stats.kube_failures.inc();
        let known = match self.heard_ns {
            Some(heard_ns) => {
                format!("{} as of {} s ago", self.what(), now.mono_ns.saturating_sub(heard_ns) / SECOND)
            }
            None => format!("no {} known yet", self.what()),
        };
        self.well = None;
        self.set(Status::Degraded, &format!("{kind}: {message}; {known}"));
        self.failures += 1;
        if let Some(due) = self.condition.see(Some(kind_of(kind)), now.mono_ns) {
            let failures = std::mem::take(&mut self.failures);
            log::warn!(
                "the API server {} fails: {kind}: {message}; {known}; failures since the last line: {failures}{due}",
                self.url
            );
        }
    }

    /// Sets the number of failed certificate renewals since the start.
    pub fn renewals_failed(&self, count: u64) {
        let counted = self.stats.kube_renewals_failed.get();
        self.stats.kube_renewals_failed.add(count.saturating_sub(counted));
    }
}

/// Returns the kind of failure in one word, and its description; `what` was asked for.
pub fn words(failure: &Failure, url: &str, what: &str) -> (&'static str, String) {
    let text = |text: &str| text.to_owned();
    match failure {
        Failure::Ended => ("ended", text("the server ended the watch")),
        Failure::Idle => ("silence", text("no event or bookmark arrived in time")),
        Failure::Gone => ("too old", format!("the server dropped the resource version; {what} are listed again")),
        Failure::TooLarge => ("too old", text("the server's data are older than before (restored from a backup?)")),
        Failure::Overloaded { .. } => ("overload", text("the server is overloaded (429)")),
        Failure::Server { code, message, .. } => ("server", format!("status {code}: {message}")),
        Failure::Unauthorized => ("credentials", text("the server refuses our token or certificate (401)")),
        Failure::Forbidden(message) => {
            ("RBAC", format!("{message} (the service account needs list and watch on {what})"))
        }
        Failure::Refused { code, message } => ("refused", format!("status {code}: {message}")),
        Failure::Tls(message) => ("TLS", message.clone()),
        Failure::Clock(message) => ("clock", format!("{message}: is the clock of this node or of the server wrong?")),
        Failure::Network(message) => ("network", format!("{message} ({url})")),
        Failure::Unreadable(message) => ("answer", message.clone()),
        Failure::Credentials(message) => ("credentials", message.clone()),
    }
}
