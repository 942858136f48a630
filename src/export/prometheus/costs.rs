//! Bytes by scope, via and service; and the two counters that OpenCost asks for, made of the same numbers.
//!
//! OpenCost's counters have exactly its labels and no `uid`: it adds up what a pod has under two of them. A new one is
//! shown as 0 for a while, for `increase()` loses what a counter holds when it is first seen. The node itself and its
//! tunnels have none.

use std::cmp::Ordering;

use super::text::{head, names_of, sample};
use crate::owner::Owner;
use crate::snapshot::{CostView, Snapshot};
use crate::stats::Kind;
use crate::topology::{Scope, Via};

const COST: &str = "netmon_cost_bytes_total";
const EGRESS: &str = "kubecost_pod_network_egress_bytes_total";
const INGRESS: &str = "kubecost_pod_network_ingress_bytes_total";

/// What is still to be written.
#[derive(Default)]
pub struct Costs {
    /// Indices of all series, equal labels side by side.
    order: Vec<u32>,
    /// Of those that OpenCost is shown, by its labels.
    opencost: Vec<u32>,
    hold_ns: u64,
    family: Family,
    next: usize,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Family {
    #[default]
    Cost,
    Egress,
    Ingress,
    Done,
}

/// OpenCost's labels but the names: `internet`, `same_region`, `same_zone`, and whether a NAT gateway is on the way.
type Class = (&'static str, &'static str, &'static str, bool);

/// None for what OpenCost is not shown. What is not known matches none of its queries: it is to be seen and has no price.
fn class(cost: &CostView) -> Option<Class> {
    let (internet, same_region, same_zone) = match cost.way.scope() {
        Scope::Node | Scope::Zone => ("false", "true", "true"),
        Scope::Region => ("false", "true", "false"),
        Scope::CrossRegion => ("false", "false", "false"),
        Scope::Internet => ("true", "false", "false"),
        Scope::Unknown => ("false", "unknown", "unknown"),
        Scope::Overlay => return None,
    };
    Some((internet, same_region, same_zone, cost.way.via() == Via::Nat))
}

impl Costs {
    /// `hold_ns`: whether OpenCost's counters are written, and how long a new one is shown as 0.
    #[allow(clippy::cast_possible_truncation, reason = "fewer series than slots")]
    pub fn new(snapshot: Option<&Snapshot>, hold_ns: Option<u64>) -> Costs {
        let Some(snapshot) = snapshot else { return Costs { family: Family::Done, ..Costs::default() } };
        let mut order: Vec<u32> = (0..snapshot.costs.len() as u32).collect();
        order.sort_by(|a, b| compare(snapshot, *a, *b, by_way));
        let mut opencost: Vec<u32> = Vec::new();
        if hold_ns.is_some() {
            opencost.extend(
                order.iter().filter(|at| cost(snapshot, **at).is_some_and(|cost| is_for_opencost(snapshot, cost))),
            );
            opencost.sort_by(|a, b| compare(snapshot, *a, *b, by_class));
        }
        Costs { order, opencost, hold_ns: hold_ns.unwrap_or(0), family: Family::Cost, next: 0 }
    }

    /// Writes the next series; `false` after the last.
    pub fn write_next(&mut self, snapshot: &Snapshot, out: &mut Vec<u8>) -> bool {
        let (list, same): (&[u32], Compare) = match self.family {
            Family::Cost => (&self.order, by_way),
            Family::Egress | Family::Ingress => (&self.opencost, by_class),
            Family::Done => return false,
        };
        let rest = list.get(self.next..).unwrap_or_default();
        let Some(first) = rest.first().and_then(|at| cost(snapshot, *at)) else {
            self.next = 0;
            self.family = match self.family {
                Family::Cost => Family::Egress,
                Family::Egress => Family::Ingress,
                Family::Ingress | Family::Done => Family::Done,
            };
            return self.family != Family::Done;
        };
        if self.next == 0 {
            introduce(out, self.family);
        }
        let group =
            rest.iter().map_while(|at| cost(snapshot, *at).filter(|other| same(snapshot, first, other).is_eq()));
        let (mut count, mut tx, mut rx, mut since) = (0, 0u64, 0u64, u64::MAX);
        for member in group {
            count += 1;
            tx = tx.saturating_add(member.tx_bytes);
            rx = rx.saturating_add(member.rx_bytes);
            since = since.min(member.since_mono_ns);
        }
        self.next += count;
        let is_held = snapshot.taken.mono_ns.saturating_sub(since) < self.hold_ns;
        match self.family {
            Family::Cost => write_cost(snapshot, out, first, tx, rx),
            Family::Egress => write_opencost(snapshot, out, EGRESS, first, if is_held { 0 } else { tx }),
            Family::Ingress | Family::Done => {
                write_opencost(snapshot, out, INGRESS, first, if is_held { 0 } else { rx })
            }
        }
        true
    }
}

type Compare = fn(&Snapshot, &CostView, &CostView) -> Ordering;

fn cost(snapshot: &Snapshot, at: u32) -> Option<&CostView> {
    snapshot.costs.get(at as usize)
}

fn compare(snapshot: &Snapshot, a: u32, b: u32, by: Compare) -> Ordering {
    match (cost(snapshot, a), cost(snapshot, b)) {
        (Some(a), Some(b)) => by(snapshot, a, b),
        _ => Ordering::Equal,
    }
}

fn by_way(snapshot: &Snapshot, a: &CostView, b: &CostView) -> Ordering {
    names_of(snapshot, a.owner).cmp(&names_of(snapshot, b.owner)).then(a.way.cmp(&b.way))
}

fn by_class(snapshot: &Snapshot, a: &CostView, b: &CostView) -> Ordering {
    let names = names_of(snapshot, a.owner).cmp(&names_of(snapshot, b.owner));
    names.then_with(|| class(a).cmp(&class(b))).then(a.way.service().cmp(&b.way.service()))
}

fn is_for_opencost(snapshot: &Snapshot, cost: &CostView) -> bool {
    matches!(snapshot.owners.get(cost.owner as usize), Some(Owner::Pod(_))) && class(cost).is_some()
}

fn introduce(out: &mut Vec<u8>, family: Family) {
    let (name, help) = match family {
        Family::Cost => (
            COST,
            "Layer-3 bytes sent (tx) and received (rx) by local ends, by what their price depends on. An empty pod is the host or a given address.",
        ),
        Family::Egress => (EGRESS, "Bytes that a pod sent, with the labels that OpenCost asks for."),
        Family::Ingress | Family::Done => {
            (INGRESS, "Bytes that a pod received, with the labels that OpenCost asks for.")
        }
    };
    head(out, name, help, Kind::Counter);
}

fn write_cost(snapshot: &Snapshot, out: &mut Vec<u8>, cost: &CostView, tx: u64, rx: u64) {
    let (namespace, pod) = names_of(snapshot, cost.owner);
    for (flow, bytes) in [("tx", tx), ("rx", rx)] {
        let labels = [
            ("namespace", namespace),
            ("pod", pod),
            ("scope", cost.way.scope().as_str()),
            ("via", cost.way.via().as_str()),
            ("service", snapshot.places.service(cost.way.service())),
            ("flow", flow),
        ];
        sample(out, COST, &labels, bytes, 1);
    }
}

fn write_opencost(snapshot: &Snapshot, out: &mut Vec<u8>, name: &str, cost: &CostView, bytes: u64) {
    let (namespace, pod) = names_of(snapshot, cost.owner);
    let Some((internet, same_region, same_zone, is_nat)) = class(cost) else { return };
    let labels = [
        ("pod_name", pod),
        ("namespace", namespace),
        ("internet", internet),
        ("same_region", same_region),
        ("same_zone", same_zone),
        ("service", snapshot.places.service(cost.way.service())),
        ("nat_gateway", "true"),
    ];
    let shown = if is_nat { &labels[..] } else { &labels[..6] };
    sample(out, name, shown, bytes, 1);
}

#[cfg(test)]
mod tests;
