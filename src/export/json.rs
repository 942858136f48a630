//! The incumbent's JSON with our additions, written piece by piece from a shared snapshot.
//!
//! Keys and their order are those of the incumbent's `/metrics` (Go's `encoding/json`): a name that is empty is left
//! out, times are RFC 3339 in UTC. Additions stand behind them: `direction`, `class`, `scope`, `via`, `service`, `remote_zone`,
//! `remote_region` (what prices depend on: [`crate::topology`]), `split` (`unknown` where tx holds
//! rx too, for the source knows only their sum), `owner` (of the local end), `remote_owner` where the other end is a
//! pod of this node, `dst_domain` (with `dst_domain_from` where another of the node asked for it), `total_*`, since the row
//! appeared too what that is on the wire: `*_wire_bytes`, `*_frames`, `wire` (`estimated` where it is; rule 17); beside the
//! items when the snapshot was taken (`timestamp`) and when the last sweep began (`swept`), how many rows there are, sums
//! since the start (`totals`),
//! and what the uplinks carried and what became of it (`interfaces`, rule 19; left out while nothing is audited).
//!
//! `dns_lookups` holds what DAKR has not acknowledged, as the counters of the items do; it is `null` while there is none,
//! as Go writes a nil slice. `ip2domain` names the remote addresses of the items; where pods asked by different names, it
//! holds that of the item with the most bytes. It is left out while it is empty.

use std::cmp::Reverse;
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use crate::audit::Account;
use crate::audit::equation::{Closed, Part};
use crate::flow::{Addr, TxRx};
use crate::names::Origin;
use crate::owner::{Owner, Workload};
use crate::snapshot::{LookupView, RowView, Snapshot};

/// Writes one snapshot.
pub struct Flows {
    snapshot: Arc<Snapshot>,
    node_name: Arc<str>,
    /// The rows to show, as indices; `None` is all of them.
    chosen: Option<(Vec<u32>, Answered)>,
    /// When the last sweep began, nanoseconds since the epoch; 0 before the first.
    swept_wall_ns: u64,
    /// The rows that give an address its entry in `ip2domain`, as indices.
    domains: Vec<u32>,
    /// The next item of the current stage.
    next: usize,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    Items,
    Lookups,
    Domains,
    Tail,
    Done,
}

impl Flows {
    /// All rows, or those chosen, in this order and with their rates. `swept_wall_ns`: when the last sweep began, 0 before
    /// the first.
    pub fn new(
        snapshot: Arc<Snapshot>,
        node_name: Arc<str>,
        chosen: Option<(Vec<u32>, Answered)>,
        swept_wall_ns: u64,
    ) -> Flows {
        let domains = named(&snapshot, chosen.as_ref().map(|(rows, _)| &**rows));
        Flows { snapshot, node_name, chosen, swept_wall_ns, domains, next: 0, stage: Stage::Head }
    }

    /// The snapshot it writes.
    pub fn snapshot(&self) -> &Arc<Snapshot> {
        &self.snapshot
    }

    /// Appends to `out` until about `limit` bytes are in it. Returns whether that was all.
    pub fn fill(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        while self.stage != Stage::Done && out.len() < limit {
            match self.stage {
                Stage::Head => {
                    out.extend_from_slice(b"{\"node_name\":");
                    write(out, &*self.node_name);
                    out.extend_from_slice(b",\"items\":[");
                    self.stage = Stage::Items;
                }
                Stage::Items => match self.row() {
                    Some(row) => {
                        if self.next > 0 {
                            out.extend_from_slice(b",\n");
                        }
                        write(out, &Item::new(&self.snapshot, row, self.chosen.is_some()));
                        self.next += 1;
                    }
                    None => {
                        let none = self.snapshot.lookups.is_empty();
                        out.extend_from_slice(if none { b"],\"dns_lookups\":null" } else { b"],\"dns_lookups\":[" });
                        self.enter(if none { Stage::Domains } else { Stage::Lookups });
                    }
                },
                Stage::Lookups => match self.snapshot.lookups.get(self.next) {
                    Some(lookup) => {
                        if self.next > 0 {
                            out.extend_from_slice(b",\n");
                        }
                        write(out, &LookupItem::new(&self.snapshot, self.next, lookup));
                        self.next += 1;
                    }
                    None => {
                        out.push(b']');
                        self.enter(Stage::Domains);
                    }
                },
                Stage::Domains => {
                    match self.domains.get(self.next).and_then(|at| self.snapshot.rows.get(*at as usize)) {
                        Some(row) => {
                            out.extend_from_slice(if self.next > 0 { b",\n" } else { b",\"ip2domain\":{" });
                            write(out, &Shown(row.remote));
                            out.push(b':');
                            write(out, self.snapshot.names.get(row.name as usize).map_or("", |name| &*name.text));
                            self.next += 1;
                        }
                        None => {
                            if self.next > 0 {
                                out.push(b'}');
                            }
                            self.enter(Stage::Tail);
                        }
                    }
                }
                Stage::Tail => {
                    out.extend_from_slice(b",\"timestamp\":");
                    write(out, &Shown(Timestamp(self.snapshot.taken.wall_ns)));
                    if self.swept_wall_ns != 0 {
                        out.extend_from_slice(b",\"swept\":");
                        write(out, &Shown(Timestamp(self.swept_wall_ns)));
                    }
                    out.extend_from_slice(b",\"rows\":");
                    write(out, &self.snapshot.rows.len());
                    if let Some((_, answered)) = &self.chosen {
                        answered.write(out);
                    }
                    out.extend_from_slice(b",\"totals\":");
                    write(out, &Totals::from(self.snapshot.since_start()));
                    if !self.snapshot.interfaces.is_empty() {
                        out.extend_from_slice(b",\"interfaces\":");
                        write(out, &self.snapshot.interfaces.iter().map(InterfaceItem::from).collect::<Vec<_>>());
                    }
                    out.extend_from_slice(b"}\n");
                    self.enter(Stage::Done);
                }
                Stage::Done => {}
            }
        }
        self.stage == Stage::Done
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.next = 0;
    }

    fn row(&self) -> Option<&RowView> {
        let at = match &self.chosen {
            Some((chosen, _)) => *chosen.get(self.next)? as usize,
            None => self.next,
        };
        self.snapshot.rows.get(at)
    }
}

/// The agent that answers, and its books.
#[derive(Clone, Copy, Debug, Default)]
pub struct About {
    /// When it started, nanoseconds since the epoch.
    pub started_wall_ns: u64,
    /// When DAKR acknowledged a push last, likewise; 0 before the first.
    pub pushed_wall_ns: u64,
    /// Rule 14, bytes of both ways: counted, acknowledged, waiting, withheld, unattributed, lost.
    pub books: [u64; 6],
}

/// What an answer to a question says of the whole.
#[derive(Clone, Copy)]
pub struct Answered {
    /// How many rows matched, shown or cut by the limit.
    pub matched: u32,
    /// How many sums these make, likewise.
    pub groups: Option<usize>,
    pub agent: About,
}

impl Answered {
    /// Appends its fields, each behind a comma.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut field = |name: &str, value: &dyn fmt::Display| {
            // A Vec takes everything.
            let _ = write!(out, ",\"{name}\":{value}");
        };
        let About { started_wall_ns, pushed_wall_ns, books } = self.agent;
        field("matched", &self.matched);
        if let Some(groups) = &self.groups {
            field("groups", groups);
        }
        field("version", &format_args!("\"{}\"", crate::VERSION));
        for (name, wall_ns) in [("started", started_wall_ns), ("pushed", pushed_wall_ns)] {
            if wall_ns != 0 {
                field(name, &format_args!("\"{}\"", Timestamp(wall_ns)));
            }
        }
        let [counted, acknowledged, waiting, withheld, unattributed, lost] = books;
        field(
            "books",
            &format_args!(
                "{{\"counted\":{counted},\"acknowledged\":{acknowledged},\"waiting\":{waiting},\
                 \"withheld\":{withheld},\"unattributed\":{unattributed},\"lost\":{lost}}}"
            ),
        );
    }
}

/// Indices of the rows that name their remote address: of equal addresses the row with the most bytes. The name of a
/// service is not that of the backend, which is the row's remote end.
fn named(snapshot: &Snapshot, chosen: Option<&[u32]>) -> Vec<u32> {
    let has_name = |row: &RowView| snapshot.names.get(row.name as usize).is_some_and(|name| !name.is_service);
    let row = |at: &u32| snapshot.rows.get(*at as usize);
    let mut named: Vec<u32> = match chosen {
        Some(chosen) => chosen.iter().copied().filter(|at| row(at).is_some_and(has_name)).collect(),
        None => (0..).zip(&snapshot.rows).filter(|(_, row)| has_name(row)).map(|(at, _)| at).collect(),
    };
    named.sort_unstable_by_key(|at| row(at).map(|row| (row.remote, Reverse(row.total.total_bytes()), *at)));
    named.dedup_by_key(|at| row(at).map(|row| row.remote));
    named
}

#[derive(Serialize)]
struct LookupItem<'a> {
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
    fn new(snapshot: &'a Snapshot, at: usize, lookup: &'a LookupView) -> LookupItem<'a> {
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
struct Item<'a> {
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
    fn new(snapshot: &'a Snapshot, row: &RowView, with_rates: bool) -> Item<'a> {
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
pub(super) struct Totals {
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
struct InterfaceItem<'a> {
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

/// Serialized as the text it shows.
pub(super) struct Shown<T>(pub T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Nanoseconds since the Unix epoch; shown as Go's `RFC3339Nano` in UTC: trailing zeros of the fraction are left out.
pub struct Timestamp(pub u64);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every u64 is in range: it ends in 2554.
        let time = jiff::Timestamp::from_nanosecond(self.0.into()).unwrap_or_default();
        time.fmt(f)
    }
}

/// Bytes in a second.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate is positive, and a cast saturates")]
pub(super) fn whole(rate: f32) -> u64 {
    rate as u64
}

/// Appends a value.
pub(super) fn write(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // A Vec takes everything, and no type here has a map key or a Serialize that fails.
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok());
}

#[cfg(test)]
mod tests;
