//! Prometheus text (exposition format 0.0.4), written piece by piece: the agent's own counters, its health, and
//! traffic per owner, direction, protocol and class.
//!
//! Owners with the same name share one series, because labels contain a pod's name and not its uid. A name that returns
//! (a StatefulSet's) continues its series.

mod audit;
mod costs;
mod text;

use std::cmp::Ordering;
use std::sync::Arc;

use costs::Costs;
use text::{head, names_of, sample, workload_of};

use crate::health::{Health, Status};
use crate::snapshot::{SeriesView, Snapshot};
use crate::stats::{FamilyView, Kind, Stats};

/// `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Label values that are constant while the agent runs.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// The mode of `-collector-mode`.
    pub wanted: String,
    /// The mode that runs.
    pub running: String,
    /// Whether the series that OpenCost asks for are shown, and for how long a new one is shown as 0.
    pub opencost_hold_ns: Option<u64>,
}

/// Writes one scrape.
pub struct Metrics {
    snapshot: Option<Arc<Snapshot>>,
    /// The agent's own counters and states: a few kilobytes, rendered at the start so that all are from one moment.
    own: Vec<u8>,
    /// Indices of the series, sorted so that equal labels are adjacent.
    order: Vec<u32>,
    costs: Costs,
    next: usize,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Own,
    Bytes,
    Packets,
    Wire,
    Costs,
    Done,
}

impl Metrics {
    /// `snapshot` is `None` before anything was counted: then there is no traffic to show.
    #[allow(clippy::cast_possible_truncation, reason = "fewer series than slots")]
    pub fn new(stats: &Stats, health: &Health, labels: &Labels, snapshot: Option<Arc<Snapshot>>) -> Metrics {
        let mut own = Vec::with_capacity(16 * 1024);
        write_own(&mut own, stats, health, labels);
        audit::write(&mut own, snapshot.as_ref().map_or(&[], |snapshot| &snapshot.interfaces[..]));
        let mut order: Vec<u32> = snapshot.iter().flat_map(|p| 0..p.series.len() as u32).collect();
        if let Some(snapshot) = &snapshot {
            order.sort_by(|a, b| match (series(snapshot, *a), series(snapshot, *b)) {
                (Some(a), Some(b)) => by_labels(snapshot, a, b),
                _ => Ordering::Equal,
            });
        }
        let costs = Costs::new(snapshot.as_deref(), labels.opencost_hold_ns);
        Metrics { snapshot, own, order, costs, next: 0, stage: Stage::Own }
    }

    /// The snapshot it writes.
    pub fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        self.snapshot.as_ref()
    }

    /// Appends to `out` until it holds about `limit` bytes. Returns whether the text is complete.
    pub fn fill(&mut self, out: &mut Vec<u8>, limit: usize) -> bool {
        while self.stage != Stage::Done && out.len() < limit {
            match self.stage {
                Stage::Own => {
                    let room = limit.saturating_sub(out.len());
                    let rest = self.own.get(self.next..).unwrap_or_default();
                    let piece = rest.get(..room).unwrap_or(rest);
                    out.extend_from_slice(piece);
                    self.next += piece.len();
                    if self.next >= self.own.len() {
                        self.own = Vec::new();
                        self.begin(out, Stage::Bytes);
                    }
                }
                Stage::Bytes => {
                    if !self.group(out, "netmon_traffic_bytes_total", |s| [s.total.tx.bytes, s.total.rx.bytes]) {
                        self.begin(out, Stage::Packets);
                    }
                }
                Stage::Packets => {
                    if !self.group(out, "netmon_traffic_packets_total", |s| [s.total.tx.packets, s.total.rx.packets]) {
                        self.begin(out, Stage::Wire);
                    }
                }
                Stage::Wire => {
                    let wire = |bytes: u64, more: u64| bytes.saturating_add(more);
                    let unit = |s: &SeriesView| {
                        [wire(s.total.tx.bytes, s.more_bytes[0]), wire(s.total.rx.bytes, s.more_bytes[1])]
                    };
                    if !self.group(out, "netmon_traffic_wire_bytes_total", unit) {
                        self.stage = Stage::Costs;
                    }
                }
                Stage::Costs => {
                    if !self.snapshot.as_ref().is_some_and(|snapshot| self.costs.write_next(snapshot, out)) {
                        self.stage = Stage::Done;
                    }
                }
                Stage::Done => {}
            }
        }
        self.stage == Stage::Done
    }

    fn begin(&mut self, out: &mut Vec<u8>, stage: Stage) {
        self.next = 0;
        self.stage = stage;
        let (name, help) = match stage {
            Stage::Bytes => (
                "netmon_traffic_bytes_total",
                "Layer-3 bytes sent (tx) and received (rx) by local ends. An empty pod label is the host or a -local-cidrs address.",
            ),
            Stage::Wire => (
                "netmon_traffic_wire_bytes_total",
                "Layer-3 bytes of the frames that these were on the wire: exact in ebpf mode, else estimated by the route's MTU.",
            ),
            _ => ("netmon_traffic_packets_total", "Packets sent (tx) and received (rx) by local ends."),
        };
        // Checkers of the format reject a family without samples.
        if !self.order.is_empty() {
            head(out, name, help, Kind::Counter);
        }
    }

    /// Writes the next series, the sum of those with equal labels. Returns false after the last.
    fn group(&mut self, out: &mut Vec<u8>, name: &str, unit: impl Fn(&SeriesView) -> [u64; 2]) -> bool {
        let Some(snapshot) = &self.snapshot else { return false };
        let Some(first) = self.order.get(self.next).and_then(|at| series(snapshot, *at)) else { return false };
        let rest = self.order.get(self.next..).unwrap_or_default();
        let same = rest
            .iter()
            .map_while(|at| series(snapshot, *at).filter(|other| by_labels(snapshot, first, other) == Ordering::Equal));
        let (count, total) = same.fold((0, [0_u64; 2]), |(count, [tx, rx]), series| {
            let [more_tx, more_rx] = unit(series);
            (count + 1, [tx.saturating_add(more_tx), rx.saturating_add(more_rx)])
        });
        self.next += count;
        for (flow, value) in ["tx", "rx"].into_iter().zip(total) {
            let mut shown = [("", ""); LABELS + 1];
            for (shown, (label, text, _)) in shown.iter_mut().zip(labels(snapshot, first)) {
                *shown = (label, text);
            }
            shown[LABELS] = ("flow", flow);
            sample(out, name, &shown, value, 1);
        }
        true
    }
}

fn series(snapshot: &Snapshot, at: u32) -> Option<&SeriesView> {
    snapshot.series.get(at as usize)
}

fn names<'a>(snapshot: &'a Snapshot, series: &SeriesView) -> (&'a str, &'a str) {
    names_of(snapshot, series.owner)
}

/// Labels of a series, `flow` aside.
const LABELS: usize = 7;

/// All labels of a series, each with its text and its place among those that are not sorted by their text. Series are
/// summed up by these and shown with them.
fn labels<'a>(snapshot: &'a Snapshot, series: &SeriesView) -> [(&'static str, &'a str, u8); LABELS] {
    let (namespace, pod) = names(snapshot, series);
    let (workload_kind, workload) = workload_of(snapshot, series.owner);
    let (direction, class) = (series.direction, series.class);
    [
        ("namespace", namespace, 0),
        ("pod", pod, 0),
        ("workload_kind", workload_kind, 0),
        ("workload", workload, 0),
        ("direction", direction.as_str(), direction as u8),
        ("protocol", series.protocol, 0),
        ("class", class.as_str(), class as u8),
    ]
}

fn by_labels(snapshot: &Snapshot, a: &SeriesView, b: &SeriesView) -> Ordering {
    let in_order = |series| labels(snapshot, series).map(|(_, text, place)| (place, text));
    in_order(a).cmp(&in_order(b))
}

fn write_own(out: &mut Vec<u8>, stats: &Stats, health: &Health, labels: &Labels) {
    head(out, "netmon_build_info", "Version and commit of the agent.", Kind::Gauge);
    sample(out, "netmon_build_info", &[("version", crate::VERSION), ("commit", crate::COMMIT)], 1, 1);
    head(out, "netmon_source", "Source of connections: the wanted mode and the running one.", Kind::Gauge);
    sample(out, "netmon_source", &[("wanted", &labels.wanted), ("running", &labels.running)], 1, 1);
    let components = health.components();
    if !components.is_empty() {
        head(
            out,
            "netmon_component_health",
            "1 for the current state of each component, 0 for the others.",
            Kind::Gauge,
        );
        for component in &components {
            for state in Status::ALL.into_iter().filter(|state| *state != Status::Unspecified) {
                let labels = [("component", component.name), ("state", state.as_str())];
                sample(out, "netmon_component_health", &labels, u64::from(component.status == state), 1);
            }
        }
    }
    for family in stats.families() {
        write_family(out, &family);
    }
}

fn write_family(out: &mut Vec<u8>, family: &FamilyView<'_>) {
    head(out, family.name, family.help, family.kind);
    for (value, cell) in &family.cells {
        let label = [(family.label, *value)];
        let labels = if family.label.is_empty() { &[][..] } else { &label[..] };
        sample(out, family.name, labels, cell.get(), family.per);
    }
}

#[cfg(test)]
mod tests;
