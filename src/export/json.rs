//! The incumbent's JSON with our additions, written piece by piece from a shared snapshot.
//!
//! Keys and their order are those of the incumbent's `/metrics` (Go's `encoding/json`): an empty name is left out,
//! times are RFC 3339 in UTC. Additions follow them:
//!
//! - `direction`, `class`, and what prices depend on ([`crate::topology`]): `scope`, `via`, `service`, `remote_zone`,
//!   `remote_region`;
//! - `split`: `unknown` where tx holds rx too, for the source knows only their sum;
//! - `owner` of the local end, and `remote_owner` where the other end is a pod of this node;
//! - `dst_domain`, with `dst_domain_from` where another client of the node asked for it;
//! - `total_*`: sums since the row appeared, also on the wire (rule 17): `*_wire_bytes`, `*_frames`, and `wire`
//!   (`estimated` where they are);
//! - beside the items: `timestamp` (of the snapshot), `swept` (the start of the last sweep), the number of rows, and sums
//!   since the start (`totals`);
//! - `interfaces`: what the uplinks carried and what became of it (rule 19); left out while nothing is audited.
//!
//! `dns_lookups` holds what DAKR has not acknowledged, as the counters of the items do. It is `null` while there is
//! none, as Go writes a nil slice. `ip2domain` names the remote addresses of the items. Where pods asked by different
//! names, it holds that of the item with the most bytes. It is left out while it is empty.

mod items;

use std::cmp::Reverse;
use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use serde::{Serialize, Serializer};

pub(super) use self::items::Totals;
use self::items::{InterfaceItem, Item, LookupItem};
use crate::snapshot::{RowView, Snapshot};

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
