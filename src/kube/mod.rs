//! Follows the pods of this node through the Kubernetes API: one list, then watches, on a thread of its own.
//!
//! It publishes a whole [`PodIndex`](crate::owner::PodIndex) after each change. The rest of the agent never waits for the
//! API server: its failures appear as health of the component `pod_cache` and as counters. Where it is wanted, the nodes
//! of the cluster or all its pods are followed in the same way ([`places`]).
//!
//! ```text
//!  credentials, kubeconfig, exec ──▶ client ──▶ decode ──▶ index ──▶ PodIndex
//!                                       ▲ which request, and when: watch
//! ```

pub mod client;
pub mod config_map;
pub mod credentials;
pub mod decode;
pub mod endpoint;
pub mod exec;
mod failure;
pub mod index;
pub mod kubeconfig;
mod lenient;
pub mod places;
mod pods;
mod reflector;
pub mod report;
pub mod secret;
pub mod stopper;
mod time;
mod tls;
pub mod watch;
mod workload;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use client::{Client, Followed, Timeouts};
use crossbeam_channel::Receiver;
use endpoint::{Auth, Endpoint};
use places::{PlaceStore, Places};
use pods::PodStore;
use reflector::{Reflector, Store};
use report::Report;
use stopper::Stopper;
use watch::{Machine, WatchPace};

use crate::clock;
use crate::health::Health;
use crate::owner::pods::Published;
use crate::privileges::{Talks, settle_talker};
use crate::stats::Stats;
use crate::sys::privileges::drop_all_in_this_thread;

/// The settings of the thread.
pub struct Settings {
    pub endpoint: Endpoint,
    /// This node, whose pods [`spawn`] follows; it refuses an empty name, which would select the whole cluster.
    pub node_name: String,
    /// Waiting times of list and watch.
    pub pace: WatchPace,
    /// Time limits for the parts of a request.
    pub timeouts: Timeouts,
}

/// Where the thread writes its results.
pub struct Outlets {
    pub published: Arc<Published>,
    /// Component `pod_cache`.
    pub health: Arc<Health>,
    pub stats: Arc<Stats>,
    /// Called after each publication.
    pub wake: Box<dyn Fn() + Send>,
}

/// A handle of the running thread.
pub struct Kube {
    stopper: Arc<Stopper>,
    done: Receiver<()>,
    thread: JoinHandle<()>,
}

/// Starts the thread `kube`.
///
/// # Errors
/// If the node has no name, or the thread cannot be started.
pub fn spawn(settings: Settings, outlets: Outlets) -> io::Result<Kube> {
    if settings.node_name.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "NODE_NAME is empty: the agent would watch the pods of the whole cluster",
        ));
    }
    let Outlets { published, health, stats, wake } = outlets;
    let followed = Followed::PodsOf(settings.node_name.clone());
    let store = Box::new(PodStore::new(published, wake));
    start("kube", settings, followed, Some(health), stats, store)
}

/// Starts a thread that follows the nodes of the cluster, or all its pods. `wake` is called after each change.
///
/// # Errors
/// If the thread cannot be started.
pub fn spawn_places(
    settings: Settings,
    followed: Followed,
    places: Arc<Places>,
    stats: Arc<Stats>,
    wake: Box<dyn Fn() + Send>,
) -> io::Result<Kube> {
    let name = if followed == Followed::Nodes { "nodes" } else { "pods" };
    let store = Box::new(PlaceStore::new(&followed, places, wake));
    start(name, settings, followed, None, stats, store)
}

fn start(
    name: &str,
    settings: Settings,
    followed: Followed,
    health: Option<Arc<Health>>,
    stats: Arc<Stats>,
    store: Box<dyn Store>,
) -> io::Result<Kube> {
    let Settings { endpoint, node_name, pace, timeouts } = settings;
    if endpoint.insecure {
        log::warn!("the API server's certificate is not checked (insecure-skip-tls-verify in {})", endpoint.origin);
    }
    let stopper = Arc::new(Stopper::default());
    let (ended, done) = crossbeam_channel::bounded::<()>(0);
    let now = clock::now();
    let seed = node_name.bytes().fold(now.wall_ns, |seed, b| seed.wrapping_mul(0x0100_0000_01B3) ^ u64::from(b));
    let in_cluster = matches!(endpoint.auth, Auth::TokenFile(_)) && endpoint.origin == "in-cluster";
    let executes = matches!(endpoint.auth, Auth::Plugin(_));
    let report = Report::new(health, stats.clone(), &endpoint.url, followed.clone(), in_cluster);
    let client = Client::following(endpoint, &followed, timeouts, stopper.clone());
    let machine = Machine::new(pace, seed, now.mono_ns);
    let reflector = Reflector::new(client, followed.list_kind(), machine, store, stopper.clone(), report, stats);
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // `stop` waits until the end of the thread drops this.
        let _ended = ended;
        match executes {
            true => drop_all_in_this_thread(),
            false => settle_talker(Talks::Out),
        }
        reflector.run();
    })?;
    Ok(Kube { stopper, done, thread })
}

impl Kube {
    /// Ends the current request and the thread, without waiting for it.
    pub fn request_stop(&self) {
        self.stopper.stop();
    }

    /// Ends the current request and the thread, and waits for it. Returns false if a connection was being set up and
    /// the thread did not end in time. It then ends by its own time limits.
    pub fn stop(self, within: Duration) -> bool {
        self.stopper.stop();
        match self.done.recv_timeout(within) {
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => self.thread.join().is_ok(),
            _ => false,
        }
    }
}
