//! Starts what tells how far away remote ends are. That is the file of ranges, the kernel's routes with Cilium's map of
//! addresses, or the cluster's nodes. It also asks the API server once.

use std::sync::Arc;

use super::error::StartError;
use super::shared::Shared;
use super::threads::Threads;
use crate::collect::pipeline::Pipeline;
use crate::config::{Config, TopologySource};
use crate::kube::client::{Client, Followed, Timeouts};
use crate::kube::endpoint::Auth;
use crate::kube::places::Places;
use crate::kube::stopper::Stopper;
use crate::kube::watch::WatchPace;
use crate::kube::{self, Kube, credentials};
use crate::locate::cilium::Ipcache;
use crate::locate::own::NodeQuestion;
use crate::locate::{self, Locator, Own, Sources};
use crate::privileges::settle_locator;
use crate::sys::privileges::drop_all_in_this_thread;
use crate::sys::routes::Routes;
use crate::sys::waker::Waker;
use crate::topology::published;

/// What ends the questions about where nodes are.
#[derive(Default)]
pub(super) struct Locating {
    own: Arc<Stopper>,
    nodes: Option<Kube>,
}

impl Locating {
    /// Ends the requests under way; the threads end then.
    pub(super) fn request_stop(&self) {
        self.own.stop();
        if let Some(nodes) = &self.nodes {
            nodes.request_stop();
        }
    }
}

/// The locator of remote ends; the pipeline gets what it says at the start.
pub(super) fn locator(config: &Config, shared: &Shared, pipeline: &mut Pipeline) -> Locator {
    let names = pipeline.topology().names().as_ref().clone();
    let mut locator = Locator::new(locate_settings(config), names, Arc::clone(&shared.stats));
    let first = locator.look().unwrap_or_else(|| locator.topology());
    pipeline.set_topology(first);
    locator
}

/// Follows the file of ranges, what is told besides, and the own node's place, where there is any of it.
pub(super) fn start_locating(
    config: &Arc<Config>,
    shared: &Shared,
    waker: &Waker,
    pipeline: &mut Pipeline,
    threads: &mut Threads,
) -> Result<(Arc<published::Published>, Locating), StartError> {
    let known = Arc::new(published::Published::default());
    let mut locating = Locating::default();
    let locator = locator(config, shared, pipeline);
    let is_of_nodes = config.topology_source == TopologySource::Nodes && !config.standalone;
    if config.topology.is_some() || config.topology_source != TopologySource::None {
        let question = open_question(config, &locator, &locating.own)?;
        let executes = question.as_ref().is_some_and(|(_, executes)| *executes);
        let own_waker = Waker::open().map_err(|error| StartError::Resources("the waker of thread locate", error))?;
        let (routes, cilium) = match config.topology_source {
            TopologySource::Routes => (
                Some(Routes::open().map_err(StartError::Addresses)?),
                Some(Ipcache::new(config.cilium_bpf_root.as_deref(), Arc::clone(&shared.stats))),
            ),
            TopologySource::None | TopologySource::Nodes => (None, None),
        };
        let nodes = match is_of_nodes {
            true => Some(follow_nodes(config, shared, &own_waker, &mut locating)?),
            false => None,
        };
        let sources = Sources { question: question.map(|(question, _)| question), nodes, routes, cilium };
        let waker = waker.clone();
        let (ranges, stop) = (Arc::clone(&known), Arc::clone(&shared.stop));
        threads.spawn("locate", move || {
            match executes {
                true => drop_all_in_this_thread(),
                false => settle_locator(sources.cilium.is_some()),
            }
            locate::run(locator, sources, &ranges, &stop, &own_waker, &|| waker.wake());
        })?;
    }
    Ok((known, locating))
}

/// Starts the thread that follows the nodes of the cluster; what it fills, and the name of this one.
fn follow_nodes(
    config: &Config,
    shared: &Shared,
    waker: &Waker,
    locating: &mut Locating,
) -> Result<(Arc<Places>, String), StartError> {
    let places = Arc::new(Places::default());
    let waker = waker.clone();
    let (stats, wake) = (Arc::clone(&shared.stats), Box::new(move || waker.wake()));
    let settings = kube_settings(config)?;
    let nodes = kube::spawn_places(settings, Followed::Nodes, Arc::clone(&places), stats, wake);
    locating.nodes = Some(nodes.map_err(|error| StartError::Resources("thread nodes", error))?);
    Ok((places, config.node_name.clone()))
}

/// How the API server is reached, and in which pace.
pub(super) fn kube_settings(config: &Config) -> Result<kube::Settings, StartError> {
    let endpoint = credentials::discover(config.kubeconfig.as_deref(), &|name| std::env::var(name).ok())
        .map_err(StartError::Credentials)?;
    Ok(kube::Settings {
        endpoint,
        node_name: config.node_name.clone(),
        pace: WatchPace::default(),
        timeouts: Timeouts::default(),
    })
}

fn locate_settings(config: &Config) -> locate::Settings {
    let own = |zone: &String, region: &String| Own { zone: zone.clone(), region: region.clone() };
    locate::Settings {
        file: config.topology.clone(),
        source: config.topology_source,
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
