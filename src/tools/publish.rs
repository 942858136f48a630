//! `zxporter-netmon topology publish`: one pod that follows the nodes, and writes what they tell into a ConfigMap that the
//! agents mount as their `-topology`.
//!
//! It writes at most once a minute, and only what is other than what is there. So two of them write what one would; without
//! any the agents keep what they have.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use log::{LevelFilter, info, warn};

use crate::clock::{self, Now, SECOND};
use crate::config::tools::Given;
use crate::kube::client::{Client, Followed, Timeouts};
use crate::kube::config_map::{self, Place, Written};
use crate::kube::credentials::{self, own_namespace};
use crate::kube::endpoint::Endpoint;
use crate::kube::places::Places;
use crate::kube::stopper::Stopper;
use crate::kube::watch::{Failure, WatchPace};
use crate::kube::{self, Kube};
use crate::locate::file;
use crate::logging::{self, Format};
use crate::stats::Stats;
use crate::sys::poll;
use crate::sys::privileges::drop_all_in_this_thread;
use crate::sys::signals::Signals;
use crate::sys::waker::Waker;
use crate::topology::cluster::Found;
use crate::topology::publish::Body;

/// From one attempt to write to the next.
const WRITE_NS: u64 = 60 * SECOND;
/// From one look at what is there to the next, though nothing changed here: somebody may have removed it.
const CHECK_NS: u64 = 600 * SECOND;
/// From look to look at the file.
const LOOK_NS: u64 = 10 * SECOND;

/// Whether the pods are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// Where a node has no range of its own.
    Auto,
    Always,
    Never,
}

/// What is published, where to and when.
pub struct Publisher {
    client: Client,
    place: Place,
    file: Option<PathBuf>,
    /// The text of the file as it was last well.
    lines: String,
    pods: Pods,
    /// What is there, as far as is known.
    there: Option<Body>,
    /// No attempt before.
    due_ns: u64,
    checked_ns: Option<u64>,
    /// What was refused last, so that it is told once.
    refused: String,
}

impl Publisher {
    /// One that knows nothing of what is there.
    pub fn new(client: Client, place: Place, file: Option<PathBuf>, pods: Pods) -> Publisher {
        Publisher {
            client,
            place,
            file,
            lines: String::new(),
            pods,
            there: None,
            due_ns: 0,
            checked_ns: None,
            refused: String::new(),
        }
    }

    /// Whether the pods have to be followed.
    pub fn needs_pods(&self, places: &Places) -> bool {
        let cluster = places.lock();
        match self.pods {
            Pods::Always => true,
            Pods::Never => false,
            Pods::Auto => cluster.has_nodes && cluster.needs_pods(),
        }
    }

    /// Writes where it is time, and what is known is other than what is there. What is known in part only, or not at all,
    /// is not written.
    pub fn turn(&mut self, now: Now, places: &Places) {
        if now.mono_ns < self.due_ns {
            return;
        }
        let needs_pods = self.needs_pods(places);
        let found = {
            let cluster = places.lock();
            if !cluster.has_nodes || cluster.nodes() == 0 || (needs_pods && !cluster.has_pods) {
                return;
            }
            cluster.ranges()
        };
        self.look();
        let body = found.map_err(|_| "more ranges than a table holds".to_owned()).and_then(|found| self.body(&found));
        let body = match body {
            Ok(body) => body,
            Err(why) => return self.refuse(format!("nothing is published: {why}")),
        };
        let is_checked = self.checked_ns.is_some_and(|at| now.mono_ns.saturating_sub(at) < CHECK_NS);
        if is_checked && self.there.as_ref() == Some(&body) {
            return;
        }
        self.due_ns = now.mono_ns.saturating_add(WRITE_NS);
        match self.publish(now, &body) {
            Ok(()) => {
                self.checked_ns = Some(now.mono_ns);
                self.refused.clear();
            }
            Err(failure) => {
                if failure == Failure::Unauthorized {
                    self.client.forget_credentials();
                }
                let Place { namespace, name, .. } = &self.place;
                self.refuse(format!("cannot publish to ConfigMap {namespace}/{name}: {}", words(&failure)));
            }
        }
    }

    fn refuse(&mut self, why: String) {
        if self.refused != why {
            warn!("{why}");
            self.refused = why;
        }
    }

    /// The file where it is well; else what it was.
    fn look(&mut self) {
        let Some(path) = self.file.clone() else { return };
        match file::read(&path) {
            Ok((text, _)) => match Body::new(&text, &Found::default()) {
                Ok(_) => self.lines = text,
                Err(error) => self.refuse(format!("topology {}: {error}; its lines stay as they were", path.display())),
            },
            Err(error) => self.refuse(format!("topology {}: {error}; its lines stay as they were", path.display())),
        }
    }

    fn body(&self, found: &Found) -> Result<Body, String> {
        Body::new(&self.lines, found).map_err(|error| error.to_string())
    }

    fn publish(&mut self, now: Now, body: &Body) -> Result<(), Failure> {
        let found = config_map::read(&mut self.client, now, &self.place)?;
        let there = found.as_ref().and_then(|found| found.value.as_ref()).and_then(|value| value.read());
        if let Some((head, text)) = &there
            && (head.ranges, text) == (body.ranges, &body.text)
        {
            self.there = Some(body.clone());
            return Ok(());
        }
        // Newer than what is there, whatever the clock of whoever wrote that.
        let newer = there.map_or(0, |(head, _)| head.generation.saturating_add(1));
        let generation = newer.max(now.wall_ns / SECOND);
        let value = body.with_head(generation);
        match config_map::write(&mut self.client, now, &self.place, found.as_ref(), &value)? {
            Written::Done => {
                let Place { namespace, name, .. } = &self.place;
                let (ranges, bytes) = (body.ranges, value.len());
                info!(
                    "published {ranges} ranges ({bytes} bytes, generation {generation}) to ConfigMap {namespace}/{name}"
                );
                self.there = Some(body.clone());
            }
            // What the other wrote is looked at in a minute.
            Written::Overtaken => self.there = None,
        }
        Ok(())
    }
}

fn words(failure: &Failure) -> String {
    match failure {
        Failure::Forbidden(message) => format!("{message} (the service account needs get, create and patch on it)"),
        Failure::Refused { code, message } | Failure::Server { code, message, .. } => {
            format!("status {code}: {message}")
        }
        Failure::Network(why) | Failure::Tls(why) | Failure::Clock(why) => why.clone(),
        Failure::Unreadable(why) | Failure::Credentials(why) => why.clone(),
        other => format!("{other:?}"),
    }
}

/// Publishes until a signal. Status 2 where it is not said where to, 1 where there is no API server.
pub fn run(given: &Given) -> ExitCode {
    logging::init(LevelFilter::Info, Format::Text);
    let kubeconfig = given.option("kubeconfig").map(PathBuf::from);
    let namespace = given.word("namespace").map(str::to_owned).or_else(own_namespace);
    let Some(namespace) = namespace else {
        crate::logging::complain(&format_args!("topology publish: not in a pod: say -namespace"));
        return ExitCode::from(2);
    };
    let word = |name, default: &str| given.word(name).unwrap_or(default).to_owned();
    let place = Place { namespace, name: word("configmap", "zxporter-netmon-topology"), key: word("key", "topology") };
    let pods = match given.word("pods") {
        Some("always") => Pods::Always,
        Some("never") => Pods::Never,
        _ => Pods::Auto,
    };
    let endpoint = match credentials::discover(kubeconfig.as_deref(), &|name| std::env::var(name).ok()) {
        Ok(endpoint) => endpoint,
        Err(error) => {
            crate::logging::complain(&error);
            return ExitCode::FAILURE;
        }
    };
    match start(endpoint, place, given.option("topology").map(PathBuf::from), pods) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::logging::complain(&format_args!("topology publish: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn start(endpoint: Endpoint, place: Place, file: Option<PathBuf>, pods: Pods) -> std::io::Result<()> {
    let signals = Signals::block()?;
    let waker = Waker::open()?;
    let places = Arc::new(Places::default());
    let client = Client::new(endpoint.clone(), "", Timeouts::default(), Arc::new(Stopper::default()));
    let nodes = follow(&endpoint, Followed::Nodes, &places, &waker)?;
    let mut publisher = Publisher::new(client, place, file, pods);
    std::thread::Builder::new().name("publish".to_owned()).spawn(move || {
        drop_all_in_this_thread();
        let _nodes = nodes;
        let mut pods: Option<Kube> = None;
        loop {
            if pods.is_none() && publisher.needs_pods(&places) {
                match follow(&endpoint, Followed::Pods, &places, &waker) {
                    Ok(thread) => pods = Some(thread),
                    Err(error) => warn!("cannot follow the pods: {error}"),
                }
            }
            publisher.turn(clock::now(), &places);
            waker.clear();
            let mut fds = [-1; poll::MAX_FDS];
            fds[0] = waker.raw_fd();
            poll::readable(&fds, LOOK_NS);
        }
    })?;
    drop_all_in_this_thread();
    signals.wait()
}

fn follow(endpoint: &Endpoint, followed: Followed, places: &Arc<Places>, waker: &Waker) -> std::io::Result<Kube> {
    let settings = kube::Settings {
        endpoint: endpoint.clone(),
        node_name: std::env::var("HOSTNAME").unwrap_or_default(),
        pace: WatchPace::default(),
        timeouts: Timeouts::default(),
    };
    let waker = waker.clone();
    let wake = Box::new(move || waker.wake());
    kube::spawn_places(settings, followed, Arc::clone(places), Arc::new(Stats::default()), wake)
}
