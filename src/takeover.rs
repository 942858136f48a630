//! Restores the state of the previous process. Opens the state folder, and restores tables, source and push from its
//! file: all of them or none.

use std::path::Path;
use std::sync::Arc;

use log::{info, warn};

use crate::clock::{self, Now, SECOND};
use crate::collect::freezer::{Freezer, Sender};
use crate::collect::persist;
use crate::collect::pipeline::Pipeline;
use crate::config::{Config, SourceKind};
use crate::export::dakr::persister::Persister;
use crate::export::dakr::push::Push;
use crate::export::dakr::transport::Transport;
use crate::health::{Component, Health, Status};
use crate::source::Source;
use crate::state::store::{self, Left, OPEN_NS, Store};
use crate::state::{self, State};
use crate::stats::Stats;
use crate::stop::Stop;
use crate::wire::Malformed;

/// The collector's tables.
pub struct Tables {
    pub pipeline: Pipeline,
    pub freezer: Freezer,
}

impl Tables {
    /// Creates empty tables of the configured sizes.
    pub fn new(config: &Config, max_connections: u32, started: Now) -> Tables {
        let sender = Sender {
            node_name: config.node_name.clone(),
            cluster_id: config.dakr.as_ref().map(|dakr| dakr.cluster_id.clone()).unwrap_or_default(),
        };
        Tables { pipeline: Pipeline::new(config, max_connections, started.wall_ns), freezer: Freezer::new(sender) }
    }
}

/// The result of opening the state folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TakenOver {
    /// Whether the state is written from now on.
    pub persists: bool,
    /// Whether the push continues with a batch of the previous process.
    pub out: bool,
}

/// Where the result is reported.
pub struct Audience {
    /// Limits the wait for the disk when the agent stops.
    pub stop: Arc<Stop>,
    /// Shows whether the state file can be written.
    pub health: Arc<Health>,
    /// Counts failures.
    pub stats: Arc<Stats>,
}

/// Opens the folder. A fault is logged and counted, and the agent starts without the state; a folder that cannot be used
/// is tried again later.
pub fn open<T: Transport>(
    dir: &Path,
    fresh: impl Fn() -> Tables,
    tables: &mut Tables,
    source: &mut dyn Source,
    push: &mut Push<T>,
    audience: Audience,
) -> TakenOver {
    let Audience { stop, health, stats } = audience;
    let place = match store::here() {
        Ok(place) => place,
        Err(error) => {
            warn!("cannot read the boot id: {error}; without it no state file can be written");
            health.set(Component::StateFile, Status::Degraded, &format!("cannot read the boot id: {error}"));
            stats.state_failures.inc();
            return TakenOver::default();
        }
    };
    let (store, opened) = Store::open(dir, OPEN_NS);
    let mut persister = Persister::new(store, place.clone(), stop, health, Arc::clone(&stats));
    let left = opened.unwrap_or_else(|why| {
        persister.cannot_open(why);
        None
    });
    push.persist_in(persister);
    let Some(Left { file, written_wall_ns }) = left else {
        info!("no state file in {}: counting starts afresh", dir.display());
        return TakenOver { persists: true, out: false };
    };
    let now = clock::now();
    let why = match state::decode(&file, &place) {
        Ok(state) => {
            let gone = state.gone;
            match restore(state, now, tables, source, push) {
                Ok(out) => {
                    let (connections, rows) = (tables.pipeline.baselines().len(), tables.pipeline.rows().len());
                    info!(
                        "restored {connections} connections and {rows} rows from the state file in {}",
                        dir.display()
                    );
                    match gone {
                        Some(gone) => warn!("the connections of the state file cannot be used: {gone}"),
                        None => warn!("{}", gap(source.facts().kind, now.wall_ns.checked_sub(written_wall_ns))),
                    }
                    return TakenOver { persists: true, out };
                }
                Err(Malformed) => "its content does not fit the tables".to_owned(),
            }
        }
        Err(unfit) => unfit.to_string(),
    };
    warn!("the state file in {} is not used, the agent starts afresh: {why}", dir.display());
    stats.state_failures.inc();
    *tables = fresh();
    push.discard_state();
    TakenOver { persists: true, out: false }
}

/// Describes what a source could not count while no agent ran (rule 14). Logged at each start that uses a state file.
fn gap(source: SourceKind, since_written_ns: Option<u64>) -> String {
    let what = match source {
        SourceKind::Ebpf => "traffic since then is in no counter, because the programs that count end with the agent",
        SourceKind::Auto => {
            "traffic of pods with sockets since then is in no counter, because the programs that count end with the agent. \
             Conntrack counts the rest, except the last bytes of connections that ended meanwhile"
        }
        SourceKind::Cilium => {
            "traffic since then is counted from Cilium's maps, except entries that Cilium removed meanwhile"
        }
        SourceKind::Netfilter | SourceKind::Replay => {
            "traffic since then is counted from conntrack, except the last bytes of connections that ended meanwhile"
        }
    };
    match since_written_ns {
        Some(ns) => {
            format!("the state file was last written {}.{} s ago: {what}", ns / SECOND, ns % SECOND / (SECOND / 10))
        }
        None => format!("the state file was written before the wall clock was set back: {what}"),
    }
}

/// Restores all parts. Returns whether a batch is still to be settled.
fn restore<T: Transport>(
    state: State,
    now: Now,
    tables: &mut Tables,
    source: &mut dyn Source,
    push: &mut Push<T>,
) -> Result<bool, Malformed> {
    let (pipeline, freezer) = (&mut tables.pipeline, &mut tables.freezer);
    persist::restore(&state.tables, state.gone, now, source, pipeline, freezer)?;
    let (settlements, out) = push.resume(state)?;
    let (rows, ledger, _) = pipeline.books();
    for (first_item, items, verdict) in settlements {
        rows.settle(first_item, items, verdict, ledger);
    }
    // Frozen rows without a batch would never be settled.
    if !out && !ledger.frozen.is_zero() { Err(Malformed) } else { Ok(out) }
}

#[cfg(test)]
mod tests;
