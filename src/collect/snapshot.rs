//! Copies rows and series into a [`Snapshot`] for the endpoints: into the latest one, unless somebody reads it. So one
//! is alive, and two while a reader is slow.

use std::sync::Arc;

use super::freezer::Freezer;
use super::pipeline::Pipeline;
use crate::clock::Now;
use crate::flow::Split;
use crate::names::Lookup;
use crate::rows::Push;
use crate::snapshot::{CostView, LookupView, RowView, SeriesView, Snapshot, Snapshots, SnapshotsByKind};
use crate::stats::Withheld;

/// Makes snapshots.
#[derive(Default)]
pub struct Snapshotter {
    /// Snapshots that were replaced while somebody read them.
    flows_spare: Option<Arc<Snapshot>>,
    metrics_spare: Option<Arc<Snapshot>>,
}

impl Snapshotter {
    /// Publishes the snapshots that are asked for, unless readers hold two of the kind. `stale_ns` is when what was read
    /// last is too old to be shown.
    pub fn publish(
        &mut self,
        both: &SnapshotsByKind,
        pipeline: &Pipeline,
        freezer: &Freezer,
        stale_ns: u64,
        now: impl FnOnce() -> Now,
    ) {
        let asked = [both.flows.asked(), both.metrics.asked()];
        if asked == [None; 2] {
            return;
        }
        let now = now();
        if let Some(ticket) = asked[0] {
            publish_one(&both.flows, ticket, &mut self.flows_spare, |snapshot| {
                snapshot.stale_ns = stale_ns;
                fill_sums(snapshot, pipeline, now);
                fill_rows(snapshot, pipeline, now);
                fill_lookups(snapshot, pipeline, freezer, now);
            });
        }
        if let Some(ticket) = asked[1] {
            publish_one(&both.metrics, ticket, &mut self.metrics_spare, |snapshot| {
                snapshot.stale_ns = stale_ns;
                fill_sums(snapshot, pipeline, now);
            });
        }
    }
}

fn publish_one(snapshots: &Snapshots, ticket: u64, spare: &mut Option<Arc<Snapshot>>, fill: impl Fn(&mut Snapshot)) {
    if snapshots.refill(ticket, &fill) {
        *spare = None;
        return;
    }
    let mut buffer = spare.take().unwrap_or_default();
    match Arc::get_mut(&mut buffer) {
        Some(blank) => {
            fill(blank);
            *spare = snapshots.publish(buffer, ticket);
        }
        None => *spare = Some(buffer),
    }
}

#[allow(clippy::cast_possible_truncation, reason = "fewer names than rows")]
fn fill_rows(snapshot: &mut Snapshot, pipeline: &Pipeline, now: Now) {
    snapshot.rows.clear();
    snapshot.names.clear();
    let names = &mut snapshot.names;
    let claimed = pipeline.claimed();
    snapshot.rows.extend(pipeline.rows().iter_named().map(|(row, name)| RowView {
        owner: row.key.owner.0,
        remote_owner: pipeline.remote_pod(row).map(|id| id.0),
        name: name.map_or(u32::MAX, |name| {
            names.push(name.clone());
            names.len() as u32 - 1
        }),
        port: row.key.port,
        protocol: row.key.protocol,
        direction: row.key.direction,
        class: row.key.class,
        way: row.key.way,
        place: row.place,
        is_sum: row.split() != Split::Known,
        source: pipeline.source_of(&row.key, &claimed),
        local: row.key.local,
        remote: row.key.remote,
        unsettled: match row.push {
            Push::No(Withheld::NoDakr) => row.total,
            _ => row.open + row.frozen,
        },
        total: row.total,
        more: row.more,
        is_estimated: row.is_estimated(),
        changed_wall_ns: now.wall_of(row.changed_mono_ns),
        rate: row.rate,
    }));
}

fn fill_sums(snapshot: &mut Snapshot, pipeline: &Pipeline, now: Now) {
    snapshot.taken = now;
    snapshot.series.clear();
    snapshot.series.extend(pipeline.series().iter().map(|series| SeriesView {
        owner: series.key.owner.0,
        protocol: series.protocol_name(),
        direction: series.key.direction,
        class: series.key.class,
        total: series.total,
        more_bytes: series.more_bytes,
    }));
    snapshot.gone = pipeline.series().gone();
    snapshot.costs.clear();
    snapshot.costs.extend(pipeline.costs().iter().map(|cost| CostView {
        owner: cost.key.owner.0,
        way: cost.key.way,
        tx_bytes: cost.tx_bytes,
        rx_bytes: cost.rx_bytes,
        since_mono_ns: cost.since_mono_ns,
    }));
    snapshot.interfaces.clear();
    snapshot.interfaces.extend_from_slice(pipeline.audit().accounts());
    snapshot.places = Arc::clone(pipeline.topology().names());
    snapshot.owners.clear();
    snapshot.owners.extend_from_slice(pipeline.owners().all());
}

/// Copies the lookups that DAKR has not acknowledged: those of the batch under way, then those of the open window.
fn fill_lookups(snapshot: &mut Snapshot, pipeline: &Pipeline, freezer: &Freezer, now: Now) {
    let Snapshot { lookups, resolved, .. } = snapshot;
    lookups.clear();
    resolved.clear();
    let Some(names) = pipeline.names() else { return };
    let mut add = |lookup: &Lookup| {
        resolved.extend_from_slice(&lookup.addresses);
        lookups.push(LookupView {
            client: lookup.client,
            name: Arc::clone(&lookup.name),
            resolved_end: resolved.len(),
            answered_wall_ns: now.wall_of(lookup.answered_mono_ns),
            pod: pipeline.pod_at(lookup.client, lookup.answered_mono_ns).cloned(),
        });
    };
    freezer.lookups().for_each(&mut add);
    names.each_lookup(&mut add);
}

#[cfg(test)]
mod tests;
