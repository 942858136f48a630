//! The pods of this node, from the Kubernetes API: one list, then watches, on a thread of its own.
//!
//! What comes out is a [`PodIndex`](crate::owner::PodIndex), published whole whenever it changed. Whatever the API
//! server does, the rest of the agent goes on: trouble is a state of the component `pod_cache` and counters.
//!
//! ```text
//!  credentials, kubeconfig, exec ──▶ client ──▶ decode ──▶ index ──▶ PodIndex
//!                                       ▲ what to ask, and when: watch
//! ```

pub mod client;
pub mod credentials;
pub mod decode;
pub mod endpoint;
pub mod exec;
pub mod index;
pub mod kubeconfig;
mod lenient;
mod reflector;
mod report;
pub mod secret;
mod time;
mod tls;
pub mod watch;
mod workload;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use client::{Client, Stopper, Timeouts};
use crossbeam_channel::Receiver;
use endpoint::{Auth, Endpoint};
use reflector::Reflector;
use report::Report;
use watch::{Machine, WatchPace};

use crate::clock;
use crate::health::Health;
use crate::owner::pods::Published;
use crate::privileges::{Talks, settle_talker};
use crate::stats::Stats;
use crate::sys::privileges::drop_all_in_this_thread;

/// What the thread is told.
pub struct Settings {
    /// The API server.
    pub endpoint: Endpoint,
    /// The node whose pods are wanted: empty would be the whole cluster's, so [`spawn`] refuses it.
    pub node_name: String,
    /// How long everything waits.
    pub pace: WatchPace,
    /// How long each part of a request may take.
    pub timeouts: Timeouts,
}

/// Where the thread leaves what it learns.
pub struct Outlets {
    /// The index.
    pub published: Arc<Published>,
    /// Component `pod_cache`.
    pub health: Arc<Health>,
    /// Counters.
    pub stats: Arc<Stats>,
    /// Called after an index was published.
    pub wake: Box<dyn Fn() + Send>,
}

/// The running thread.
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
    let Settings { endpoint, node_name, pace, timeouts } = settings;
    if node_name.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "NODE_NAME is empty: the pods of the whole cluster would be watched",
        ));
    }
    if endpoint.insecure {
        log::warn!("the API server's certificate is not checked (insecure-skip-tls-verify in {})", endpoint.origin);
    }
    let stopper = Arc::new(Stopper::default());
    let (ended, done) = crossbeam_channel::bounded::<()>(0);
    let now = clock::now();
    let seed = node_name.bytes().fold(now.wall_ns, |seed, b| seed.wrapping_mul(0x0100_0000_01B3) ^ u64::from(b));
    let in_cluster = matches!(endpoint.auth, Auth::TokenFile(_)) && endpoint.origin == "in-cluster";
    let executes = matches!(endpoint.auth, Auth::Plugin(_));
    let report = Report::new(outlets.health, outlets.stats.clone(), &endpoint.url, &node_name, in_cluster);
    let client = Client::new(endpoint, &node_name, timeouts, stopper.clone());
    let machine = Machine::new(pace, seed, now.mono_ns);
    let (published, stats, wake) = (outlets.published, outlets.stats, outlets.wake);
    let reflector = Reflector::new(client, machine, stopper.clone(), report, stats, published, wake);
    let thread = std::thread::Builder::new().name("kube".to_owned()).spawn(move || {
        // Dropped at the end of the thread, which is what `stop` waits for.
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
    /// Ends the request at hand and the thread, without waiting for it.
    pub fn request_stop(&self) {
        self.stopper.stop();
    }

    /// Ends the request at hand and the thread, and waits for it. `false` where it did not end in time (a connection
    /// was being set up): then it is left alone, and ends by its time-outs.
    pub fn stop(self, within: Duration) -> bool {
        self.stopper.stop();
        match self.done.recv_timeout(within) {
            Err(crossbeam_channel::RecvTimeoutError::Disconnected) => self.thread.join().is_ok(),
            _ => false,
        }
    }
}
