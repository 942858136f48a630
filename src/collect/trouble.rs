//! What is wrong with counting, as health of the component `monitor` and of the source's own component.

use std::path::Path;

use crate::clock::Now;
use crate::collect::blind::Sight;
use crate::flow::Addr;
use crate::health::{Component, Health, Status};
use crate::logging::{Condition, kind_of};
use crate::source::SourceHealth;
use crate::stats::{Impaired, Stats};

/// The consequence of sockets whose cgroup is unknown.
pub const PODS_AS_NODE: &str = "hostNetwork pods are counted as the node";

/// What it means that pods run and no cgroup of theirs is in the tree.
pub fn no_pods_cgroup(root: &Path) -> String {
    format!(
        "{PODS_AS_NODE}: no pod has its cgroup below {}. Mount the host's cgroup2 hierarchy read-only and name it with \
         -cgroup-fs. On a node with cgroup v1, or with both and driver cgroupfs, pods have none: boot it with \
         systemd.unified_cgroup_hierarchy=1",
        root.display()
    )
}

/// All faults that can exist at once. It is compared with the last report, so that nothing is formatted or logged
/// while nothing changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// The source's own report.
    pub source: SourceHealth,
    /// Why the last sweep failed; empty if it succeeded.
    pub sweep: String,
    /// Why another mode runs than the wanted one; empty if the wanted mode runs.
    pub fallback: String,
    /// Why sockets cannot be attributed to pods; empty if they can, or need not be.
    pub socket_owners: String,
    /// The node's address by its pods, if it is none of this network namespace.
    pub elsewhere: Option<Addr>,
    /// Whether the kernel dropped events since the last complete sweep.
    pub events_lost: bool,
    /// Whether local ends appear only in zones that are not counted (rule 7).
    pub other_ct_zone: bool,
    /// Connections that are not followed because the table is full.
    pub not_followed: u64,
    /// Whether the waiting table had no room for increments whose pod is not known yet (rule 8).
    pub hurried: bool,
    /// Whether there are connections without counters, made while accounting was off.
    pub uncounted: bool,
    /// What the audit says of the source's sight (rule 16).
    pub sight: Option<Sight>,
    /// What was found that may make it blind; empty where nothing was.
    pub causes: String,
    /// What was found that hides traffic, whether there is any or not; empty where nothing was.
    pub hidden: String,
    /// Running pods, where none of them was ever seen.
    pub unseen: Option<u32>,
}

/// Reports faults to health and log when they change.
#[derive(Debug, Default)]
pub struct Reporter {
    /// The source's own component.
    component: Option<Component>,
    reported: Option<Trouble>,
    /// Of two sources: how many addresses each counts, as told last.
    choices: [u32; 3],
    /// Of the trouble reported; `None` if there is none.
    kind: Option<u64>,
    condition: Condition,
}

impl Reporter {
    /// For a source that is open: its own component, if it has one, is healthy.
    pub fn new(component: Option<Component>, health: &Health) -> Reporter {
        let reporter =
            Reporter { component, reported: None, choices: [0; 3], kind: None, condition: Condition::default() };
        reporter.report_source(&Trouble::default(), health);
        reporter
    }

    /// Sets the state of the source's own component, which knows no other fault than the source's.
    fn report_source(&self, trouble: &Trouble, health: &Health) {
        let Some(component) = self.component else { return };
        let faults: Vec<&str> =
            [&*trouble.sweep, &*trouble.source.degraded].into_iter().filter(|s| !s.is_empty()).collect();
        match faults[..] {
            [] => health.set(component, Status::Healthy, &self.attached()),
            _ => health.set(component, Status::Degraded, &faults.join("; ")),
        }
    }

    fn attached(&self) -> String {
        match self.choices {
            [0, 0, 0] => "attached".to_owned(),
            [programs, conntrack, open] => format!(
                "attached; of this node's addresses seen so far the programs count {programs}, conntrack {conntrack} \
                 (without sockets here), and {open} are not decided"
            ),
        }
    }

    /// Says which source counts how many addresses: the programs, conntrack, not decided.
    pub fn say_choices(&mut self, choices: [u32; 3], health: &Health) {
        if self.choices != choices {
            self.choices = choices;
            let none = Trouble::default();
            self.report_source(self.reported.as_ref().unwrap_or(&none), health);
        }
    }

    /// Sets health, logs what changed, and reminds of what lasts. Figures are no change.
    pub fn report(&mut self, trouble: &Trouble, first_sweep_done: bool, health: &Health, now: Now) {
        if !first_sweep_done && trouble.sweep.is_empty() {
            return;
        }
        if self.reported.as_ref() != Some(trouble) {
            self.report_source(trouble, health);
            let message = trouble.message();
            match message.as_str() {
                "" => health.set(Component::Monitor, Status::Healthy, "collecting"),
                _ => health.set(Component::Monitor, Status::Degraded, &message),
            }
            self.reported = Some(trouble.clone());
            self.kind = (!message.is_empty()).then(|| kind_of(&message));
        }
        let Some(due) = self.condition.see(self.kind, now.mono_ns) else { return };
        match self.kind {
            None => log::info!("counting is healthy again{due}"),
            Some(_) => log::warn!("counting is degraded: {}{due}", trouble.message()),
        }
    }
}

impl Trouble {
    /// Sets `netmon_impaired`.
    pub fn show(&self, stats: &Stats) {
        for (cell, reason) in stats.impaired.iter().zip(Impaired::ALL) {
            cell.set(u64::from(self.is(reason)));
        }
    }

    fn is(&self, reason: Impaired) -> bool {
        match reason {
            Impaired::Blind => matches!(self.sight, Some(Sight::Blind { .. })),
            Impaired::Fallback => !self.fallback.is_empty(),
            Impaired::Sweep => !self.sweep.is_empty(),
            Impaired::Source => !self.source.degraded.is_empty(),
            Impaired::SocketOwners => !self.socket_owners.is_empty(),
            Impaired::Elsewhere => self.elsewhere.is_some(),
            Impaired::EventsLost => self.events_lost,
            Impaired::OtherZone => self.other_ct_zone,
            Impaired::TableFull => self.not_followed > 0,
            Impaired::WaitingFull => self.hurried,
            Impaired::Uncounted => self.uncounted,
            Impaired::AccountingOff => self.source.accounting_off,
            Impaired::Sums => self.source.sums,
            Impaired::Hidden => !self.hidden.is_empty(),
            Impaired::PodsUnseen => self.unseen.is_some(),
        }
    }

    fn message(&self) -> String {
        let texts = [&self.fallback, &self.sweep, &self.source.degraded, &self.socket_owners];
        let mut parts: Vec<String> = texts.into_iter().filter(|s| !s.is_empty()).cloned().collect();
        if let Some(node) = self.elsewhere {
            parts.push(format!(
                "the pods of this node run on {node}, which is no address here: the agent cannot see their traffic from \
                 this network namespace (hostNetwork: true)"
            ));
        }
        if self.events_lost {
            parts.push("the kernel dropped conntrack events: last bytes of closed connections are missing".into());
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
        if self.hurried {
            parts.push(
                "more traffic without a known pod than can wait for one: the oldest is settled without it \
                 (netmon_unattributed_bytes_total{reason=\"waiting_full\"}; is the API server reached?)"
                    .into(),
            );
        }
        if self.uncounted {
            parts.push(
                "connections made while accounting was off show no counters and are not counted \
                 (netmon_connections_uncounted says how many): restart their pods, or use -collector-mode auto"
                    .into(),
            );
        }
        if let Some(Sight::Blind { interface, is_tx, interface_bytes, unexplained_bytes }) = self.sight {
            let interface = String::from_utf8_lossy(&interface);
            let found = match self.causes.as_str() {
                "" => "No cause was found on this node (zxporter-netmon doctor looks again)".to_owned(),
                causes => format!("Found: {causes}"),
            };
            parts.push(format!(
                "{unexplained_bytes} of the {interface_bytes} bytes that interface {} {} are in no connection \
                 (part=\"unexplained\" of netmon_reconciled_bytes_total). {found}",
                interface.trim_end_matches('\0'),
                if is_tx { "sent" } else { "received" },
            ));
        }
        if !self.hidden.is_empty() {
            parts.push(format!("not all traffic can be seen: {}", self.hidden));
        }
        if let Some(pods) = self.unseen {
            parts.push(format!(
                "{pods} of {pods} running pods were never seen: this mode does not read where their packets pass \
                 (-collector-mode auto reads conntrack and sockets), or the agent is in another network namespace"
            ));
        }
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests;
