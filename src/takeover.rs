//! Restores the state of the previous process: opens the state folder, and restores tables, source and push from its
//! file, either all of them or none.

use std::path::Path;
use std::sync::Arc;

use log::{info, warn};

use crate::clock::Now;
use crate::collect::freezer::{Freezer, Sender};
use crate::collect::persist;
use crate::collect::pipeline::Pipeline;
use crate::config::Config;
use crate::export::dakr::persister::Persister;
use crate::export::dakr::push::Push;
use crate::export::dakr::transport::Transport;
use crate::health::{Component, Health};
use crate::source::Source;
use crate::state::store::{self, Store};
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

/// Opens the folder. A fault is logged and counted, and the agent starts without a state.
pub fn open<T: Transport>(
    dir: &Path,
    fresh: impl Fn() -> Tables,
    tables: &mut Tables,
    source: &mut dyn Source,
    push: &mut Push<T>,
    audience: Audience,
) -> TakenOver {
    let Audience { stop, health, stats } = audience;
    let place = store::here().map_err(|error| format!("cannot read the boot id: {error}"));
    let opened = place.and_then(|place| Ok((place, Store::open(dir)?)));
    let (place, (store, left)) = match opened {
        Ok(opened) => opened,
        Err(why) => {
            warn!("cannot use the state folder {}: {why}; the next restart starts afresh", dir.display());
            health.note(Component::DakrTransport, "state_file", &format!("cannot be used: {why}"));
            stats.state_failures.inc();
            return TakenOver::default();
        }
    };
    let found = left.map(|bytes| state::decode(&bytes, &place));
    push.persist_in(Persister::new(store, place, stop, health, Arc::clone(&stats)));
    let why = match found {
        None => {
            info!("there is no state file in {} yet", dir.display());
            return TakenOver { persists: true, out: false };
        }
        Some(Ok(state)) => match restore(state, tables, source, push) {
            Ok(out) => {
                let (connections, rows) = (tables.pipeline.baselines().len(), tables.pipeline.rows().len());
                info!("restored {connections} connections and {rows} rows from the state file in {}", dir.display());
                return TakenOver { persists: true, out };
            }
            Err(Malformed) => "its content does not fit the tables".to_owned(),
        },
        Some(Err(unfit)) => unfit.to_string(),
    };
    warn!("the state file in {} is not used, the agent starts afresh: {why}", dir.display());
    stats.state_failures.inc();
    *tables = fresh();
    push.discard_state();
    TakenOver { persists: true, out: false }
}

/// Returns whether the push continues with a batch.
fn restore<T: Transport>(
    state: State,
    tables: &mut Tables,
    source: &mut dyn Source,
    push: &mut Push<T>,
) -> Result<bool, Malformed> {
    persist::restore(&state.tables, source, &mut tables.pipeline, &mut tables.freezer)?;
    let (settlements, out) = push.resume(state)?;
    let (rows, ledger, _) = tables.pipeline.books();
    for (first_item, items, verdict) in settlements {
        rows.settle(first_item, items, verdict, ledger);
    }
    // Frozen rows without a batch would never be settled.
    if !out && !ledger.frozen.is_zero() { Err(Malformed) } else { Ok(out) }
}
