//! Copies rows and series into a [`Snapshot`] for the endpoints. At most two are alive; their buffers are reused.

use std::sync::Arc;

use super::pipeline::Pipeline;
use crate::clock::Now;
use crate::flow::Split;
use crate::rows::Push;
use crate::snapshot::{RowView, SeriesView, Snapshot};
use crate::stats::Withheld;

/// Makes pictures.
#[derive(Default)]
pub struct Painter {
    /// The picture that was replaced last, once its readers are done with it.
    spare: Option<Arc<Snapshot>>,
}

impl Painter {
    /// A picture of the rows as they are, or `None` while readers hold both.
    pub fn paint(&mut self, pipeline: &Pipeline, now: Now) -> Option<Arc<Snapshot>> {
        let mut canvas = self.spare.take().unwrap_or_default();
        let Some(snapshot) = Arc::get_mut(&mut canvas) else {
            self.spare = Some(canvas);
            return None;
        };
        snapshot.taken = now;
        snapshot.rows.clear();
        snapshot.names.clear();
        let names = &mut snapshot.names;
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
            is_sum: row.split != Split::Known,
            local: row.key.local,
            remote: row.key.remote,
            unsettled: match row.push {
                Push::No(Withheld::NoDakr) => row.total,
                _ => row.open + row.frozen,
            },
            total: row.total,
            changed_wall_ns: row.changed_wall_ns,
        }));
        snapshot.series.clear();
        snapshot.series.extend(pipeline.series().iter().map(|series| SeriesView {
            owner: series.key.owner.0,
            protocol: series.protocol_name(),
            direction: series.key.direction,
            class: series.key.class,
            total: series.total,
        }));
        snapshot.owners.clear();
        snapshot.owners.extend_from_slice(pipeline.owners().all());
        Some(canvas)
    }

    /// Takes back a picture that was replaced.
    pub fn put_back(&mut self, old: Option<Arc<Snapshot>>) {
        if old.is_some() {
            self.spare = old;
        }
    }
}
