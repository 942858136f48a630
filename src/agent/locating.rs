//! Starts what tells how far away remote ends are: the file of ranges, and one question to the API server.

use std::sync::Arc;

use super::error::StartError;
use super::shared::Shared;
use super::threads::Threads;
use crate::collect::pipeline::Pipeline;
use crate::config::Config;
use crate::kube::client::{Client, Timeouts};
use crate::kube::credentials;
use crate::kube::endpoint::Auth;
use crate::kube::stopper::Stopper;
use crate::locate::own::NodeQuestion;
use crate::locate::{self, Locator, Own};
use crate::privileges::{Talks, settle_talker};
use crate::sys::privileges::drop_all_in_this_thread;
use crate::sys::waker::Waker;
use crate::topology::published;

/// The locator of remote ends; the pipeline gets what it says at the start.
pub(super) fn locator(config: &Config, shared: &Shared, pipeline: &mut Pipeline) -> Locator {
    let names = pipeline.topology().names().as_ref().clone();
    let mut locator = Locator::new(locate_settings(config), names, Arc::clone(&shared.stats));
    let first = locator.look().unwrap_or_else(|| locator.topology());
    pipeline.set_topology(first);
    locator
}

/// Follows the file of ranges and the own node's place, where there is a file.
pub(super) fn start_locating(
    config: &Arc<Config>,
    shared: &Shared,
    waker: &Waker,
    pipeline: &mut Pipeline,
    threads: &mut Threads,
) -> Result<(Arc<published::Published>, Arc<Stopper>), StartError> {
    let known = Arc::new(published::Published::default());
    let node_stopper = Arc::new(Stopper::default());
    let locator = locator(config, shared, pipeline);
    if config.topology.is_some() {
        let question = open_question(config, &locator, &node_stopper)?;
        let waker = waker.clone();
        let (ranges, stop) = (Arc::clone(&known), Arc::clone(&shared.stop));
        let own_waker = Waker::open().map_err(|error| StartError::Resources("the waker of thread locate", error))?;
        threads.spawn("locate", move || {
            match question.as_ref().is_some_and(|(_, executes)| *executes) {
                true => drop_all_in_this_thread(),
                false => settle_talker(Talks::Out),
            }
            let question = question.map(|(question, _)| question);
            locate::run(locator, question, &ranges, &stop, &own_waker, &|| waker.wake());
        })?;
    }
    Ok((known, node_stopper))
}

fn locate_settings(config: &Config) -> locate::Settings {
    let own = |zone: &String, region: &String| Own { zone: zone.clone(), region: region.clone() };
    locate::Settings {
        file: config.topology.clone(),
        labels: own(&config.node_zone, &config.node_region),
        fallback: own(&config.zone, &config.region),
    }
}

/// How the API server is asked where this node is, where it is to be, and whether that executes a program.
fn open_question(
    config: &Config,
    locator: &Locator,
    stopper: &Arc<Stopper>,
) -> Result<Option<(NodeQuestion, bool)>, StartError> {
    if config.standalone || !locator.asks_for_node() {
        return Ok(None);
    }
    let endpoint = credentials::discover(config.kubeconfig.as_deref(), &|name| std::env::var(name).ok())
        .map_err(StartError::Credentials)?;
    let executes = matches!(endpoint.auth, Auth::Plugin(_));
    let client = Client::new(endpoint, &config.node_name, Timeouts::default(), Arc::clone(stopper));
    Ok(Some((NodeQuestion::new(client, &config.node_name), executes)))
}
