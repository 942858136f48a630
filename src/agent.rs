//! Builds the parts, starts the threads, waits for a signal and ends in time.
//!
//! Threads: `main` (here), `collect`, `push`, `kube`, `http`, `dns`, `locate`, `nodes`. At the start everything that
//! can fail runs before the first thread. So a failed start is one line and exit status 1.

mod cgroups;
mod error;
mod greeting;
mod locating;
mod once;
mod shared;
mod threads;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{bounded, unbounded};
use log::{info, warn};

use self::cgroups::{askers, open_socket_owners};
pub use self::error::StartError;
use self::greeting::say_what_is_pushed;
use self::locating::{Locating, kube_settings, locator, start_locating};
pub use self::once::once;
use self::shared::Shared;
use self::threads::Threads;
use crate::audit::{Audit, Knows};
use crate::clock::{self, MS, Now, SECOND};
use crate::collect::handover::Handover;
use crate::collect::player::{self, Player};
use crate::collect::run::{Collector, Parts};
use crate::collect::trouble::{PODS_AS_NODE, Trouble};
use crate::config::{Config, CtZone, Dakr, Fallback, Mode, SourceKind};
use crate::export::dakr::jitter;
use crate::export::dakr::push::Push;
use crate::export::prometheus::Labels;
use crate::health::{Component, Status};
use crate::http::server::{Context, Server};
use crate::kube::{self, Kube};
use crate::limits;
use crate::names;
use crate::owner::pods::Published;
use crate::privileges::{self, Talks, settle_talker};
use crate::source::recorder::Recorder;
use crate::source::replay::{self, Replay};
use crate::source::{self, Source, SourceError};
use crate::stop::Stop;
use crate::sys::addresses::HostAddresses;
use crate::sys::links::Links;
use crate::sys::privileges::drop_all_in_this_thread;
use crate::sys::process;
use crate::sys::signals::{self, Signals};
use crate::sys::waker::Waker;
use crate::takeover::{self, Tables};

/// From SIGTERM to the end, whatever hangs.
const STOP_NS: u64 = 15 * SECOND;
/// A signal this soon after another is the same signal.
const SAME_SIGNAL_NS: u64 = 100 * MS;

/// After so long what only the start needed is given back.
const SETTLED_NS: u64 = 10 * SECOND;

/// Time that the endpoint gets even after the deadline.
const ENDPOINT_NS: u64 = SECOND / 10;

/// Runs the agent until a signal ends it.
///
/// # Errors
/// [`StartError`] where it cannot start; once it runs, nothing ends it but a signal.
pub fn run(mut config: Config) -> Result<(), StartError> {
    let signals = Signals::block().map_err(|error| StartError::Resources("signal handling", error))?;
    signals::ignore_hangup();
    privileges::begin();
    if matches!(config.mode, Mode::Replay(_)) && config.dakr.take().is_some() {
        info!("nothing is pushed: the traffic of a recording was counted when it was recorded");
    }
    // Where another source falls back to them the kernel's memory for their maps is taken as well.
    let own_programs = match config.mode {
        Mode::Ebpf | Mode::Cilium | Mode::Auto => true,
        Mode::Netfilter | Mode::Replay(_) => false,
    };
    let sizes = limits::sizes(own_programs).map_err(StartError::Memory)?;
    config.max_connections.get_or_insert(sizes.connections);
    if config.max_rows == limits::MOST_ROWS {
        config.max_rows = sizes.rows;
    }
    let config = Arc::new(config);
    let started = clock::now();
    let shared = Shared::new(&config, started);
    privileges::say_landlock(&shared.stats);
    say_what_is_pushed(&config);
    let agent = match &config.mode {
        Mode::Replay(recording) => start_player(recording, false, &config, &shared)?,
        _ => start_collector(&config, &shared, started)?,
    };
    drop_all_in_this_thread();
    signals.wait_for(SETTLED_NS);
    process::give_back_code();

    // An error here means a broken kernel; the agent can only stop.
    if let Err(error) = signals.wait() {
        warn!("cannot wait for signals: {error}");
    }
    agent.end(signals, &shared);
    Ok(())
}

/// A running agent.
struct Running {
    threads: Threads,
    kube: Option<Kube>,
    locating: Locating,
    endpoint: Endpoint,
}

impl Running {
    /// Ends everything within [`STOP_NS`].
    fn end(self, signals: Signals, shared: &Shared) {
        let signalled_ns = clock::now().mono_ns;
        let deadline_ns = signalled_ns + STOP_NS;
        info!("stopping: one last sweep and push, at most {} s", STOP_NS / SECOND);
        shared.pulse.stopping();
        exit_on_second_signal(signals, signalled_ns);
        shared.stop.request(deadline_ns);
        // Stopped first: the last sweep uses the pods that are known.
        if let Some(kube) = &self.kube {
            kube.request_stop();
        }
        self.locating.request_stop();
        self.threads.join(deadline_ns);
        // A thread that is still busy is left behind: the deadline is for the whole agent.
        if let Some(kube) = self.kube {
            let left_ns = deadline_ns.saturating_sub(clock::now().mono_ns);
            kube.stop(std::time::Duration::from_nanos(left_ns.min(SECOND)));
        }
        self.endpoint.end(deadline_ns);
    }
}

/// The thread `http`. It ends last, so that probes are answered until then.
struct Endpoint {
    threads: Threads,
    end: Arc<Stop>,
}

impl Endpoint {
    fn start(server: Server, config: &Config, labels: Labels, shared: &Shared) -> Result<Endpoint, StartError> {
        let end = Arc::new(Stop::default());
        let Shared { stats, health, pulse, snapshots, .. } = shared;
        let context = Context::new(config, labels, stats, health, pulse, snapshots, &end);
        let mut threads = Threads::default();
        threads.spawn("http", move || {
            settle_talker(Talks::In);
            server.run(context);
        })?;
        Ok(Endpoint { threads, end })
    }

    fn end(self, deadline_ns: u64) {
        self.end.request(deadline_ns);
        let now_ns = clock::now().mono_ns;
        self.threads.join(deadline_ns.clamp(now_ns + ENDPOINT_NS, now_ns + SECOND));
    }
}

/// Starts counting from the kernel.
fn start_collector(config: &Arc<Config>, shared: &Shared, started: Now) -> Result<Running, StartError> {
    let mut trouble = Trouble::default();
    let recorder = match &config.record {
        Some(file) => Recorder::create(file, started).map_err(|error| StartError::Record(file.clone(), error))?,
        None => Recorder::off(),
    };
    let mut source = open_source(config, shared, &recorder, started, &mut trouble)?;
    let facts = source.facts();
    if let (CtZone::Fixed(ct_zone), SourceKind::Ebpf | SourceKind::Cilium) = (config.conntrack_zone, facts.kind) {
        warn!("-conntrack-zone {ct_zone} means nothing in mode {}, whose records have no zone", facts.kind.as_str());
    }
    let (names, reader) = names::start(config, &shared.stats, &shared.health, &shared.stop, askers(config)).unzip();
    let labels = labels(config, facts.kind.as_str());
    let server = Server::bind(config).map_err(StartError::Bind)?;
    let addresses = HostAddresses::open().map_err(StartError::Addresses)?;
    let waker = shared.collectors_waker()?;
    let (kube, pods) = match config.standalone {
        true => {
            shared.health.set(Component::PodCache, Status::Healthy, "standalone mode");
            (None, None)
        }
        false => Some(start_kube(config, shared, &waker)?).unzip(),
    };

    let mut threads = Threads::default();
    let mut tables = tables(config, started);
    tables.pipeline.read_by(facts.kind);
    let mut handover = None;
    if let Some(dakr) = &config.dakr {
        let (ours, push) = start_push(config, dakr, shared, started, &waker, &mut tables, source.as_mut())?;
        threads.add("push", push);
        handover = Some(ours);
    }
    match open_socket_owners(config, facts) {
        Ok(socket_owners) => tables.pipeline.set_socket_owners(socket_owners),
        Err(why) if config.standalone => info!("units and containers are counted as the host: {why} (-cgroup-fs)"),
        Err(why) => trouble.socket_owners = format!("{PODS_AS_NODE}: {why} (-cgroup-fs)"),
    }
    if let Some(names) = names {
        tables.pipeline.set_names(names);
    }
    if let Some(reader) = reader {
        threads.spawn("dns", reader)?;
    }
    match Links::open() {
        Ok(links) => tables.pipeline.set_audit(Audit::new(Box::new(links), knows(facts))),
        Err(error) => warn!("nothing is compared with the interfaces: cannot ask the kernel for links: {error}"),
    }
    let (known, locating) = start_locating(config, shared, &waker, &mut tables.pipeline, &mut threads)?;
    let parts = Parts {
        pipeline: tables.pipeline,
        topology: known,
        config: Arc::clone(config),
        source,
        addresses,
        recorder,
        pods,
        handover,
        freezer: tables.freezer,
        stats: Arc::clone(&shared.stats),
        health: Arc::clone(&shared.health),
        pulse: Arc::clone(&shared.pulse),
        snapshots: Arc::clone(&shared.snapshots),
        stop: Arc::clone(&shared.stop),
        waker,
    };
    let collector = Collector::new(parts, trouble, started, flush_phase_ns(config));
    let endpoint = Endpoint::start(server, config, labels, shared)?;
    let stats = Arc::clone(&shared.stats);
    threads.spawn("collect", move || {
        privileges::settle_collector(facts.needs, &stats);
        collector.run();
    })?;
    Ok(Running { threads, kube, locating, endpoint })
}

/// What the audit is told about the source.
fn knows(facts: &source::Facts) -> Knows {
    let at_sockets = facts.counts_at_sockets;
    let timestamps = std::fs::read("/proc/sys/net/ipv4/tcp_timestamps");
    Knows {
        tunnels: !at_sockets,
        invalid: at_sockets,
        timestamps: timestamps.map_or(true, |text| text.trim_ascii() != b"0"),
    }
}

/// Plays a recording instead of reading a source: without push, pods and names.
fn start_player(recording: &Path, once: bool, config: &Arc<Config>, shared: &Shared) -> Result<Running, StartError> {
    let recording = Replay::open(recording).map_err(StartError::Source)?;
    shared.health.set(Component::PodCache, Status::Healthy, "a recording holds no pods");
    let server = Server::bind(config).map_err(StartError::Bind)?;
    let waker = shared.collectors_waker()?;
    let Tables { mut pipeline, freezer } = tables(config, recording.played_at());
    locator(config, shared, &mut pipeline);
    let parts = player::Parts {
        recording,
        config: Arc::clone(config),
        pipeline,
        freezer,
        stats: Arc::clone(&shared.stats),
        health: Arc::clone(&shared.health),
        pulse: Arc::clone(&shared.pulse),
        snapshots: Arc::clone(&shared.snapshots),
        stop: Arc::clone(&shared.stop),
        waker,
        once,
    };
    let player = Player::new(parts, flush_phase_ns(config));
    let labels = labels(config, config.mode.name());
    let endpoint = Endpoint::start(server, config, labels, shared)?;
    let mut threads = Threads::default();
    let stats = Arc::clone(&shared.stats);
    threads.spawn("collect", move || {
        privileges::settle_collector(replay::FACTS.needs, &stats);
        player.run();
    })?;
    Ok(Running { threads, kube: None, locating: Locating::default(), endpoint })
}

fn labels(config: &Config, running: &str) -> Labels {
    Labels {
        wanted: config.mode.name().to_owned(),
        running: running.to_owned(),
        opencost_hold_ns: config.opencost_series.then_some(config.opencost_hold_ns),
    }
}

/// Empty tables of the configured sizes.
fn tables(config: &Config, started: Now) -> Tables {
    Tables::new(config, config.max_connections.unwrap_or(limits::DEFAULT_CONNECTIONS), started)
}

/// Spreads the flushes of many nodes over the interval.
fn flush_phase_ns(config: &Config) -> u64 {
    jitter::hash([&config.node_name, ""]) % config.flush_interval_ns.max(1)
}

/// Opens the wanted source, or under `-fallback auto` the next best that runs here.
fn open_source(
    config: &Config,
    shared: &Shared,
    recorder: &Recorder,
    started: Now,
    trouble: &mut Trouble,
) -> Result<Box<dyn Source>, StartError> {
    let mut refusals: Vec<String> = Vec::new();
    for mode in source::candidates(config) {
        match source::open(&mode, config, recorder, &shared.stats, started) {
            Ok(source) => {
                if !refusals.is_empty() {
                    trouble.fallback = format!("running {} instead: {}", source.name(), refusals.join("; "));
                    warn!("{}", trouble.fallback);
                }
                return Ok(source);
            }
            Err(error) if config.fallback == Fallback::Auto => {
                if let Some(component) = source::facts(mode.source()).component {
                    shared.health.set(component, Status::Degraded, &error.to_string());
                }
                refusals.push(error.to_string());
            }
            Err(error) => return Err(StartError::Source(error)),
        }
    }
    Err(StartError::Source(SourceError::Open(refusals.join("; "))))
}

fn start_kube(config: &Config, shared: &Shared, waker: &Waker) -> Result<(Kube, Arc<Published>), StartError> {
    let published = Arc::new(Published::default());
    let waker = waker.clone();
    let settings = kube_settings(config)?;
    let outlets = kube::Outlets {
        published: Arc::clone(&published),
        health: Arc::clone(&shared.health),
        stats: Arc::clone(&shared.stats),
        wake: Box::new(move || waker.wake()),
    };
    let kube = kube::spawn(settings, outlets).map_err(|error| StartError::Resources("thread kube", error))?;
    Ok((kube, published))
}

/// Restores the state of the previous process, and starts the push. Returns the collector's side and the thread.
fn start_push(
    config: &Config,
    dakr: &Dakr,
    shared: &Shared,
    started: Now,
    waker: &Waker,
    tables: &mut Tables,
    source: &mut dyn Source,
) -> Result<(Handover, JoinHandle<()>), StartError> {
    let (report, settled) = unbounded();
    let waker = waker.clone();
    let tell = move |news| {
        // The receiver is dropped only at the end, when nothing is left to settle.
        let _ = report.send(news);
        waker.wake();
    };
    let (health, stats) = (Arc::clone(&shared.health), Arc::clone(&shared.stats));
    let mut push = Push::over_http(dakr, &config.node_name, config.flush_interval_ns, started, health, stats, tell);
    let kind = source.facts().kind;
    let fresh = || {
        let mut tables = self::tables(config, started);
        tables.pipeline.read_by(kind);
        tables
    };
    let take_over = |dir: &PathBuf| takeover::open(dir, fresh, tables, source, &mut push, shared.audience());
    let taken = config.state_dir.as_ref().map(take_over).unwrap_or_default();
    let (parcels, to_push) = bounded(2);
    let (handle, thread) = push.start(to_push).map_err(|error| StartError::Resources("thread push", error))?;
    Ok((Handover::new(parcels, settled, handle, taken.out, taken.persists), thread))
}

/// Exits at once on a second signal. A signal within 100 ms of the first is the same signal: timeout(1), for one,
/// signals its child and then the child's process group.
fn exit_on_second_signal(signals: Signals, first_ns: u64) {
    let wait = move || {
        while signals.wait().is_ok() {
            if clock::now().mono_ns.saturating_sub(first_ns) >= SAME_SIGNAL_NS {
                warn!("second signal: exiting at once");
                std::process::exit(1);
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("signals".to_owned()).spawn(wait) {
        warn!("cannot wait for a second signal: {error}");
    }
}
