//! What stands in the lists of the JSON: rows, owners, lookups, uplinks and sums, key by key.

use serde::{Serialize, Serializer};

use super::{Shown, Timestamp, whole};
use crate::audit::Account;
use crate::audit::equation::{Closed, Part};
use crate::flow::{Addr, TxRx};
use crate::names::Origin;
use crate::owner::{Owner, Workload};
use crate::snapshot::{LookupView, RowView, Snapshot};

#[derive(Serialize)]
pub(super) struct LookupItem<'a> {
    client_ip: Shown<Addr>,
    domain: &'a str,
    resolved_ips: Vec<Shown<Addr>>,
    timestamp: Shown<Timestamp>,
    #[serde(skip_serializing_if = "str::is_empty")]
    src_pod_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    src_pod_namespace: &'a str,
}

impl<'a> LookupItem<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, at: usize, lookup: &'a LookupView) -> LookupItem<'a> {
        let start = at.checked_sub(1).and_then(|before| snapshot.lookups.get(before)).map_or(0, |l| l.resolved_end);
        let resolved = snapshot.resolved.get(start..lookup.resolved_end).unwrap_or_default();
        LookupItem {
            client_ip: Shown(lookup.client),
            domain: &lookup.name,
            resolved_ips: resolved.iter().map(|addr| Shown(*addr)).collect(),
            timestamp: Shown(Timestamp(lookup.answered_wall_ns)),
            src_pod_name: lookup.pod.as_ref().map_or("", |pod| &pod.name),
            src_pod_namespace: lookup.pod.as_ref().map_or("", |pod| &pod.namespace),
        }
    }
}

#[derive(Serialize)]
pub(super) struct Item<'a> {
    src_ip: Shown<Addr>,
    dst_ip: Shown<Addr>,
    #[serde(skip_serializing_if = "str::is_empty")]
    src_pod_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    src_pod_namespace: &'a str,
    protocol: u8,
    dst_port: u16,
    tx_bytes: u64,
    rx_bytes: u64,
    tx_packets: u64,
    rx_packets: u64,
    timestamp: Shown<Timestamp>,
    direction: &'static str,
    class: &'static str,
    scope: &'static str,
    source: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    via: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    service: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    remote_zone: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    remote_region: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<&'static str>,
    owner: OwnerItem<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_owner: Option<OwnerItem<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    dst_domain: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    dst_domain_from: &'static str,
    total_tx_bytes: u64,
    total_rx_bytes: u64,
    total_tx_packets: u64,
    total_rx_packets: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tx_rate: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rx_rate: Option<u64>,
    tx_wire_bytes: u64,
    rx_wire_bytes: u64,
    tx_frames: u64,
    rx_frames: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    wire: Option<&'static str>,
}

impl<'a> Item<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, row: &RowView, with_rates: bool) -> Item<'a> {
        let owner = snapshot.owners.get(row.owner as usize).unwrap_or(&Owner::Other);
        let (src_pod_name, src_pod_namespace) = match owner {
            Owner::Pod(pod) => (&*pod.name, &*pod.namespace),
            Owner::Host | Owner::Address | Owner::Other | Owner::Group(_) => ("", ""),
        };
        let name = snapshot.names.get(row.name as usize);
        let wire = row.total + row.more.get();
        Item {
            src_ip: Shown(row.local),
            dst_ip: Shown(row.remote),
            src_pod_name,
            src_pod_namespace,
            protocol: row.protocol,
            dst_port: row.port,
            tx_bytes: row.unsettled.tx.bytes,
            rx_bytes: row.unsettled.rx.bytes,
            tx_packets: row.unsettled.tx.packets,
            rx_packets: row.unsettled.rx.packets,
            timestamp: Shown(Timestamp(row.changed_wall_ns)),
            direction: row.direction.as_str(),
            class: row.class.as_str(),
            scope: row.way.scope().as_str(),
            source: row.source.as_str(),
            via: row.way.via().as_str(),
            service: snapshot.places.service(row.way.service()),
            remote_zone: snapshot.places.zone(row.place),
            remote_region: snapshot.places.region(row.place),
            split: row.is_sum.then_some("unknown"),
            owner: OwnerItem::from(owner),
            remote_owner: row.remote_owner.and_then(|at| snapshot.owners.get(at as usize)).map(OwnerItem::from),
            dst_domain: name.map_or("", |name| &name.text),
            dst_domain_from: match name {
                Some(name) if name.origin == Origin::Node => "node",
                _ => "",
            },
            total_tx_bytes: row.total.tx.bytes,
            total_rx_bytes: row.total.rx.bytes,
            total_tx_packets: row.total.tx.packets,
            total_rx_packets: row.total.rx.packets,
            tx_rate: with_rates.then(|| whole(row.rate[0])),
            rx_rate: with_rates.then(|| whole(row.rate[1])),
            tx_wire_bytes: wire.tx.bytes,
            rx_wire_bytes: wire.rx.bytes,
            tx_frames: wire.tx.packets,
            rx_frames: wire.rx.packets,
            wire: row.is_estimated.then_some("estimated"),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum OwnerItem<'a> {
    Host,
    Address,
    Other,
    Unit {
        name: &'a str,
    },
    Container {
        name: &'a str,
    },
    Pod {
        namespace: &'a str,
        name: &'a str,
        uid: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        workload: Option<WorkloadItem<'a>>,
    },
}

#[derive(Serialize)]
struct WorkloadItem<'a> {
    kind: &'a str,
    name: &'a str,
}

impl<'a> From<&'a Owner> for OwnerItem<'a> {
    fn from(owner: &'a Owner) -> OwnerItem<'a> {
        let workload = |w: &'a Workload| WorkloadItem { kind: &w.kind, name: &w.name };
        match owner {
            Owner::Host => OwnerItem::Host,
            Owner::Address => OwnerItem::Address,
            Owner::Other => OwnerItem::Other,
            Owner::Group(group) if group.kind() == "container" => OwnerItem::Container { name: group.name() },
            Owner::Group(group) => OwnerItem::Unit { name: group.name() },
            Owner::Pod(pod) => OwnerItem::Pod {
                namespace: &pod.namespace,
                name: &pod.name,
                uid: &pod.uid,
                workload: pod.workload.as_ref().map(workload),
            },
        }
    }
}

/// The sum of everything.
#[derive(Serialize)]
pub(in crate::export) struct Totals {
    tx_bytes: u64,
    rx_bytes: u64,
    tx_packets: u64,
    rx_packets: u64,
}

impl From<TxRx> for Totals {
    fn from(sum: TxRx) -> Totals {
        Totals {
            tx_bytes: sum.tx.bytes,
            rx_bytes: sum.rx.bytes,
            tx_packets: sum.tx.packets,
            rx_packets: sum.rx.packets,
        }
    }
}

/// One direction of an uplink: what it carried, and what became of it.
#[derive(Serialize)]
pub(super) struct InterfaceItem<'a> {
    interface: &'a str,
    flow: &'static str,
    bytes: u64,
    header_bytes: u64,
    header: &'static str,
    parts: Parts,
}

impl<'a> From<&'a Account> for InterfaceItem<'a> {
    fn from(account: &'a Account) -> InterfaceItem<'a> {
        InterfaceItem {
            interface: account.interface(),
            flow: if account.is_tx { "tx" } else { "rx" },
            bytes: account.closed.layer3_bytes,
            header_bytes: account.header_bytes,
            header: if account.is_measured { "measured" } else { "by type" },
            parts: Parts(account.closed),
        }
    }
}

/// The parts of an equation, by their names.
struct Parts(Closed);

impl Serialize for Parts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Part::ALL.iter().map(|part| (part.as_str(), self.0.part(*part))))
    }
}
