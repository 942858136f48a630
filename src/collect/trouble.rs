//! What is wrong with counting, as one message of the component `monitor`.

use crate::collect::blind::Sight;
use crate::health::{Component, Health, Status};

/// What is wrong where the cgroups of sockets cannot be told.
pub const PODS_AS_NODE: &str = "pods on the node's network are counted as the node";

/// Everything that can be wrong at once. Compared with what was said last, so that nothing is formatted or logged
/// while nothing changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// What the source says of itself; empty when all is well.
    pub source: String,
    /// Why the last sweep failed; empty when it did not.
    pub sweep: String,
    /// The mode that runs is not the one that was wanted, and why; empty where it is.
    pub fallback: String,
    /// Why it is not known which sockets are a pod's; empty where it is, and where nobody needs to know.
    pub socket_owners: String,
    /// Whether the kernel dropped events since the last complete sweep.
    pub events_lost: bool,
    /// Whether local ends appear only in zones that are not counted (rule 7).
    pub other_ct_zone: bool,
    /// Connections that found no place in the table.
    pub not_followed: u64,
    /// What the interfaces carried against what was seen (rule 16).
    pub sight: Option<Sight>,
}

/// Says it when it changes.
#[derive(Debug, Default)]
pub struct Teller {
    said: Option<Trouble>,
}

impl Teller {
    /// Tells health, and the log where it is news.
    pub fn tell(&mut self, trouble: &Trouble, first_sweep_done: bool, health: &Health) {
        if !first_sweep_done && trouble.sweep.is_empty() {
            return;
        }
        if self.said.as_ref() == Some(trouble) {
            return;
        }
        let message = trouble.message();
        if message.is_empty() {
            if self.said.is_some() {
                log::info!("counting is well again");
            }
            health.set(Component::Monitor, Status::Healthy, "collecting");
        } else {
            log::warn!("counting is impaired: {message}");
            health.set(Component::Monitor, Status::Degraded, &message);
        }
        self.said = Some(trouble.clone());
    }
}

impl Trouble {
    fn message(&self) -> String {
        let said = [&self.fallback, &self.sweep, &self.source, &self.socket_owners];
        let mut parts: Vec<String> = said.into_iter().filter(|s| !s.is_empty()).cloned().collect();
        if self.events_lost {
            parts.push("the kernel dropped conntrack events: ends of connections are missing".into());
        }
        if self.other_ct_zone {
            parts.push("local ends appear only in conntrack zones that are not counted (-conntrack-zone)".into());
        }
        if self.not_followed > 0 {
            parts.push(format!(
                "the connection table is full: {} connections are not followed (-max-connections)",
                self.not_followed
            ));
        }
        if let Some(Sight::Blind { interface_bytes, seen_bytes }) = self.sight {
            parts.push(format!(
                "the busiest interface carried {interface_bytes} bytes, connections show {seen_bytes}: NOTRACK rules, \
                 Cilium host routing, Calico's eBPF data plane, bridge-nf-call-iptables off, or a flowtable without \
                 `counter`?"
            ));
        }
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests;
