//! A server in a process of its own, with made-up rows and a thread that publishes them as the collector does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use netmon::clock::{self, MS, SECOND};
use netmon::config::{MetricsFormat, Readers};
use netmon::export::prometheus::Labels;
use netmon::flow::{Addr, Class, Counts, Direction, TxRx};
use netmon::health::{Component, Health, Pulse, Status};
use netmon::http::server::{Context, Server};
use netmon::owner::{Owner, Pod};
use netmon::snapshot::{RowView, SeriesView, Snapshot, SnapshotsByKind};
use netmon::stats::Stats;
use netmon::stop::Stop;
use netmon::topology::Way;
use nix::sys::resource::{Resource, setrlimit};

/// A running server.
pub struct Served {
    child: Child,
    stdin: Option<ChildStdin>,
    pub addr: SocketAddr,
}

impl Served {
    /// With so many rows; `descriptors` is how many the process may have beyond those it starts with, 0 for no bound.
    pub fn start(rows: u32, descriptors: u32) -> Result<Served, String> {
        let exe = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut child = Command::new(exe)
            .args(["@serve", &rows.to_string(), &descriptors.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start the server: {e}"))?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        let stdout = child.stdout.take().ok_or("no output")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|e| e.to_string())?;
        let port: u16 = line.trim().parse().map_err(|_| format!("the server did not start: {line}"))?;
        Ok(Served { child, stdin, addr: SocketAddr::from(([127, 0, 0, 1], port)) })
    }

    fn proc(&self, what: &str) -> String {
        format!("/proc/{}/{what}", self.child.id())
    }

    /// A field of `/proc/PID/status`, in KiB.
    pub fn status_kib(&self, field: &str) -> Result<u64, String> {
        let status = std::fs::read_to_string(self.proc("status")).map_err(|e| format!("the server has gone: {e}"))?;
        let line = status.lines().find_map(|l| l.strip_prefix(field)).ok_or("no such field")?;
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().map_err(|_| line.to_owned())
    }

    /// Starts a new peak of the resident set.
    pub fn reset_peak(&self) -> Result<(), String> {
        std::fs::write(self.proc("clear_refs"), "5").map_err(|e| format!("cannot reset the peak: {e}"))
    }

    /// Open descriptors and threads.
    pub fn descriptors_and_threads(&self) -> Result<(usize, usize), String> {
        let count = |what: &str| std::fs::read_dir(self.proc(what)).map(Iterator::count).map_err(|e| e.to_string());
        Ok((count("fd")?, count("task")?))
    }

    /// Tells it to end and waits; an error unless it ends by itself, with status 0, within two seconds.
    pub fn end(mut self) -> Result<Duration, String> {
        let began = clock::now().mono_ns;
        drop(self.stdin.take());
        loop {
            let waited = clock::now().mono_ns - began;
            match self.child.try_wait().map_err(|e| e.to_string())? {
                Some(status) if status.success() => return Ok(Duration::from_nanos(waited)),
                Some(status) => return Err(format!("the server ended with {status}")),
                None if waited > 2 * SECOND => return Err("the server does not end".to_owned()),
                None => clock::sleep_ns(2 * MS),
            }
        }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The child's side: serves until its input ends.
pub fn serve(args: &[String]) -> ExitCode {
    let number = |at: usize| args.get(at).and_then(|a| a.parse::<u32>().ok()).expect("a number");
    let (rows, descriptors) = (number(1), number(2));
    let snapshots = Arc::<SnapshotsByKind>::default();
    let stats = Arc::<Stats>::default();
    let health = Arc::<Health>::default();
    health.set(Component::Monitor, Status::Healthy, "collecting");
    let pulse = Arc::new(Pulse::new(clock::now().mono_ns, 3600 * SECOND));
    pulse.sweep_completed();
    let end = Arc::<Stop>::default();
    let context = Context {
        node_name: "node-a".into(),
        metrics_format: MetricsFormat::Prometheus,
        readers: Readers::Everyone,
        cluster: Vec::new(),
        hosts: Vec::new(),
        labels: Labels { wanted: "netfilter".into(), running: "netfilter".into(), opencost_hold_ns: None },
        given: Vec::new(),
        stats: Arc::clone(&stats),
        health,
        pulse,
        snapshots: Arc::clone(&snapshots),
        end: Arc::clone(&end),
    };
    let server = Server::listen("[::]:0".parse().expect("a literal")).expect("a free port");
    let port = server.local_addr().expect("bound").port();
    let ended = Arc::clone(&end);
    let snapshotter = std::thread::spawn(move || publish(rows, &snapshots, &stats, &ended));
    if descriptors > 0 {
        let open = std::fs::read_dir("/proc/self/fd").map(Iterator::count).expect("proc") as u64;
        setrlimit(Resource::RLIMIT_NOFILE, open + u64::from(descriptors), open + u64::from(descriptors)).expect("less");
    }
    let thread = std::thread::spawn(move || server.run(context));
    println!("{port}");
    std::io::stdout().flush().expect("a pipe");
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    end.request(1);
    thread.join().expect("the server's thread");
    snapshotter.join().expect("the publishing thread");
    ExitCode::SUCCESS
}

/// Two buffers, used in turn; none is filled while a reader holds it.
fn publish(rows: u32, both: &SnapshotsByKind, stats: &Stats, end: &Stop) {
    let rows: Vec<RowView> = (0..rows).map(row).collect();
    let pod = |n: u32| Pod {
        uid: format!("u-{n}").into(),
        namespace: "shop".into(),
        name: format!("web-{n}").into(),
        workload: None,
        host_network: false,
    };
    let owners: Vec<Owner> = [Owner::Host].into_iter().chain((0..99).map(|n| Owner::Pod(Arc::new(pod(n))))).collect();
    let mut spares: [Option<Arc<Snapshot>>; 2] = [None, None];
    while !end.requested() {
        for (snapshots, spare) in [&both.flows, &both.metrics].into_iter().zip(&mut spares) {
            let Some(ticket) = snapshots.asked() else { continue };
            let mut buffer = spare.take().unwrap_or_default();
            if let Some(snapshot) = Arc::get_mut(&mut buffer) {
                snapshot.taken = clock::now();
                snapshot.stale_ns = u64::MAX;
                snapshot.rows.clone_from(&rows);
                snapshot.series.clear();
                snapshot.series.extend(rows.iter().take(600).map(|row| SeriesView {
                    owner: row.owner,
                    protocol: "tcp",
                    direction: row.direction,
                    class: row.class,
                    total: row.total,
                    more_bytes: [0; 2],
                }));
                snapshot.owners.clone_from(&owners);
                // Counts snapshots, for the test that asks how many were made.
                stats.records.inc();
                *spare = snapshots.publish(buffer, ticket);
            } else {
                *spare = Some(buffer);
            }
        }
        clock::sleep_ns(5 * MS);
    }
}

fn row(n: u32) -> RowView {
    let counts = Counts { bytes: u64::from(n) * 1000, packets: u64::from(n) };
    RowView {
        name: u32::MAX,
        owner: n % 100,
        remote_owner: None,
        port: 443,
        protocol: 6,
        direction: if n.is_multiple_of(2) { Direction::Outbound } else { Direction::Inbound },
        class: Class::Outside,
        way: Way::UNKNOWN,
        place: 0,
        is_sum: false,
        source: netmon::config::SourceKind::Netfilter,
        local: Addr::from_v4([10, 244, 1, n as u8]),
        remote: Addr::from_v4([198, 51, (n >> 8) as u8, n as u8]),
        unsettled: TxRx { tx: counts, rx: counts },
        total: TxRx { tx: counts, rx: counts },
        more: netmon::flow::Further::ZERO,
        is_estimated: false,
        changed_wall_ns: 1_790_000_000_000_000_000,
        rate: [0.0; 2],
    }
}
