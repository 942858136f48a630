//! How much memory the agent keeps resident, names included: idle, with 10,000 connections of a row each, and with 250,000
//! connections of 44,000 rows while a whole batch is frozen and a snapshot of all rows is published. Bounds: 4, 8 and
//! 49 MiB; 48 are aimed at, and were held by 176 to 372 KiB in four runs.
//!
//! Judges the binary that `LAB_BINARY` names, for the bounds are those of the static one (`script/test` builds it); is
//! skipped without. Traffic is UDP to as many addresses and ports, in network namespaces of the test's own.
//!
//! Needs root, `ip` and cgroup2.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use netmon::clock::{self, MS, SECOND};
use netmon::sys::cgroup;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tiny_http::{Header, Response, Server};

const MIB: u64 = 1 << 20;
const AGENT: &str = "127.0.0.1:8081";
/// For any one thing to happen.
const PATIENCE_NS: u64 = 60 * SECOND;
const FLUSH: &str = "6s";
const PORTS: u16 = 1_000;

fn main() -> ExitCode {
    let binary = std::env::var("LAB_BINARY").unwrap_or_default();
    let why = match nix::unistd::geteuid().is_root() {
        false => "needs root",
        true if binary.is_empty() => "needs LAB_BINARY, the static binary",
        true => "",
    };
    if std::env::args().any(|argument| argument == "--list") {
        println!("root_memory: test");
        return ExitCode::SUCCESS;
    }
    if !why.is_empty() {
        println!("test root_memory ... skipped: {why}\n\ntest result: ok. 0 passed; 0 failed; 1 skipped");
        return ExitCode::SUCCESS;
    }
    match measure(&binary) {
        Ok(()) => {
            println!("\ntest result: ok. 1 passed; 0 failed; 0 skipped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("{error}\n\ntest result: FAILED. 0 passed; 1 failed; 0 skipped");
            ExitCode::FAILURE
        }
    }
}

fn measure(binary: &str) -> Result<(), String> {
    let _far = far_namespace()?;
    let dakr = Dakr::start()?;
    // The programs that read names hang in a cgroup of the test's own, which nobody is in.
    let path = cgroup::find(None).map_err(text)?.join(format!("nm-memory-{}", std::process::id()));
    fs::create_dir(&path).map_err(|error| format!("cannot create the cgroup {}: {error}", path.display()))?;
    let cgroup = Cgroup(path);
    let agent = Agent::start(binary, &dakr.url, &[&format!("-cgroup-root={}", cgroup.0.display())])?;
    if !get("/metrics")?.1.contains("netmon_component_health{component=\"dns\",state=\"healthy\"} 1") {
        return Err("the agent learns no names".to_owned());
    }
    // What only the start needed is given back after ten seconds.
    clock::sleep_ns(11 * SECOND);
    agent.holds("idle", 4)?;
    let idle_kib = agent.resident_kib()?;
    drop(agent);

    // The same with a table of a large cluster, plain and as one pod publishes it.
    let ranges = std::env::temp_dir().join(format!("nm-memory-ranges-{}", std::process::id()));
    for packed in [false, true] {
        fs::write(&ranges, table(15_000, packed)?).map_err(text)?;
        let (root, file) = (format!("-cgroup-root={}", cgroup.0.display()), format!("-topology={}", ranges.display()));
        let agent = Agent::start(binary, &dakr.url, &[&root, &file])?;
        if metric("netmon_topology_ranges")? != 15_000 {
            return Err("the table is not in use".to_owned());
        }
        clock::sleep_ns(11 * SECOND);
        let kib = agent.resident_kib()?;
        println!(
            "idle with 15,000 ranges (packed: {packed}): {kib} KiB resident, {idle_kib} KiB without, bound + 512 KiB"
        );
        if kib > idle_kib + 512 {
            return Err(format!("15,000 ranges take {} KiB", kib - idle_kib));
        }
    }
    let _ = fs::remove_file(&ranges);
    let agent = Agent::start(binary, &dakr.url, &[&format!("-cgroup-root={}", cgroup.0.display())])?;

    let sockets: Vec<UdpSocket> =
        (0..6).map(|_| UdpSocket::bind("10.9.0.1:0")).collect::<Result<_, _>>().map_err(text)?;
    // Read before they are sent: the flush may well come while the start's memory is waited for.
    let before = metric("netmon_acknowledged_bytes_total")?;
    send(&sockets[0], 0..10)?;
    clock::sleep_ns(11 * SECOND);
    eventually("10,000 rows", || Ok(metric("netmon_rows")? >= 10_000 && metric("netmon_connections")? >= 10_000))?;
    eventually("a batch of them to be taken", || Ok(metric("netmon_acknowledged_bytes_total")? > before))?;
    agent.holds("10,000 connections, 10,000 rows", 8)?;

    for socket in &sockets[..5] {
        send(socket, 0..44)?;
    }
    send(&sockets[5], 0..30)?;
    eventually("250,000 connections", || {
        Ok(metric("netmon_rows")? >= 44_000 && metric("netmon_connections")? >= 250_000)
    })?;
    // Right behind a flush, so that the next one freezes what is sent to all rows now.
    let before = metric("netmon_acknowledged_bytes_total")?;
    eventually("the batch before", || {
        Ok(metric("netmon_acknowledged_bytes_total")? > before && metric("netmon_frozen_bytes")? == 0)
    })?;
    dakr.silent.store(true, Relaxed);
    send(&sockets[0], 0..44)?;
    let all = 44 * u64::from(PORTS) * 29;
    eventually("a frozen batch of all rows", || Ok(metric("netmon_frozen_bytes")? >= all))?;
    // The first of its kind: a sweep of 250,000 connections may come before it.
    eventually("/flows with all rows", || Ok(get("/flows")?.1.matches("\"dst_port\"").count() >= 44_000))?;
    agent.holds("250,000 connections, 44,000 rows, all frozen, a snapshot", 49)
}

/// So many ranges in ninety zones, as they are published.
fn table(count: u32, packed: bool) -> Result<Vec<u8>, String> {
    let mut lines = format!("# zxporter-netmon topology 1 generation 1 ranges {count}\n");
    for n in 0..count {
        let (a, b) = (n >> 8, n & 255);
        lines += &format!("10.{a}.{b}.0/24 zone=region-{}-zone-{} region=region-{}\n", n % 30, n % 90, n % 30);
    }
    if !packed {
        return Ok(lines.into_bytes());
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(lines.as_bytes()).and_then(|()| encoder.finish()).map_err(text)
}

/// Goes with the test, and after the agent.
struct Cgroup(PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// One packet of 29 bytes to each port of these addresses: a connection each, from this socket.
fn send(socket: &UdpSocket, addresses: std::ops::Range<u8>) -> Result<(), String> {
    for address in addresses {
        for port in 0..PORTS {
            socket.send_to(b"x", (Ipv4Addr::new(10, 9, 1, address + 1), 20_000 + port)).map_err(text)?;
        }
    }
    Ok(())
}

/// Enters a namespace with 10.9.0.1/16 on a device whose other end lies in the namespace that is returned.
fn far_namespace() -> Result<File, String> {
    let another = || {
        unshare(CloneFlags::CLONE_NEWNET).map_err(text)?;
        File::open("/proc/thread-self/ns/net").map_err(text)
    };
    let (far, near) = (another()?, another()?);
    ip("link set lo up")?;
    ip(&format!("link add near type veth peer name far netns /proc/{}/fd/{}", std::process::id(), far.as_raw_fd()))?;
    // Nobody answers there: frames go out without anybody being asked for an address.
    ip("link set near arp off up")?;
    ip("addr add 10.9.0.1/16 dev near")?;
    setns(&far, CloneFlags::CLONE_NEWNET).map_err(text)?;
    ip("link set far up")?;
    setns(&near, CloneFlags::CLONE_NEWNET).map_err(text)?;
    // On a busy machine some connections would end before the last is there.
    fs::write("/proc/sys/net/netfilter/nf_conntrack_udp_timeout", "600").map_err(text)?;
    Ok(far)
}

fn ip(arguments: &str) -> Result<(), String> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().map_err(text)?;
    let said = || format!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    output.status.success().then_some(()).ok_or_else(said)
}

/// The agent, ended when dropped.
struct Agent(Child);

impl Agent {
    /// Returns after its first sweep.
    fn start(binary: &str, dakr_url: &str, more: &[&str]) -> Result<Agent, String> {
        let child = Command::new(binary)
            .args(["-standalone", "-fallback=none", "-read-interval=500ms", "-log-level=error"])
            .args(more)
            .arg(format!("-metrics-bind-address={AGENT}"))
            .envs([("DAKR_URL", dakr_url), ("CLUSTER_TOKEN", "token"), ("FLUSH_INTERVAL", FLUSH)])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|error| format!("cannot start {binary}: {error}"))?;
        let agent = Agent(child);
        eventually("the first sweep", || Ok(get("/readyz")?.0 == 200))?;
        get("/metrics")?;
        Ok(agent)
    }

    /// Says what is resident, and judges it. The bound is that of the state named, which has one snapshot: while the next
    /// is filled there are two, for some milliseconds, and the peak says so.
    fn holds(&self, what: &str, most_mib: u64) -> Result<(), String> {
        let mut judged = self.holds_now(what, most_mib);
        for _ in 0..20 {
            if judged.is_ok() {
                break;
            }
            clock::sleep_ns(100 * MS);
            judged = self.holds_now(what, most_mib);
        }
        judged
    }

    /// The least of some looks: what was needed for the start is given back by and by.
    fn resident_kib(&self) -> Result<u64, String> {
        let mut least = u64::MAX;
        for _ in 0..20 {
            let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).map_err(text)?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
            least = least.min(line.trim().trim_end_matches(" kB").parse().map_err(|error| format!("VmRSS: {error}"))?);
            clock::sleep_ns(100 * MS);
        }
        Ok(least)
    }

    fn holds_now(&self, what: &str, most_mib: u64) -> Result<(), String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).map_err(text)?;
        let kib = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
            line.trim().trim_end_matches(" kB").parse::<u64>().map_err(|error| format!("{field}: {error}"))
        };
        let (now, peak, anonymous) = (kib("VmRSS:")?, kib("VmHWM:")?, kib("RssAnon:")?);
        println!("{what}: {now} KiB resident ({anonymous} anonymous, at most {peak} until now), bound {most_mib} MiB");
        if now * 1_024 > most_mib * MIB {
            return Err(format!("{what}: {now} KiB are more than {most_mib} MiB"));
        }
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// Takes every push until it falls silent; from then on it keeps requests without an answer.
struct Dakr {
    url: String,
    silent: Arc<AtomicBool>,
}

impl Dakr {
    fn start() -> Result<Dakr, String> {
        let server = Server::http("127.0.0.1:0").map_err(text)?;
        let url = format!("http://{}", server.server_addr());
        let silent = Arc::new(AtomicBool::new(false));
        let is_silent = Arc::clone(&silent);
        std::thread::spawn(move || {
            let mut unanswered = Vec::new();
            while let Ok(mut request) = server.recv() {
                if is_silent.load(Relaxed) {
                    unanswered.push(request);
                    continue;
                }
                let _ = std::io::copy(request.as_reader(), &mut std::io::sink());
                let kind = Header::from_bytes("Content-Type", "application/proto").expect("a header");
                let _ = request.respond(Response::from_data([]).with_header(kind));
            }
        });
        Ok(Dakr { url, silent })
    }
}

fn get(path: &str) -> Result<(u16, String), String> {
    let mut stream = TcpStream::connect(AGENT).map_err(text)?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).map_err(text)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: test\r\n\r\n").map_err(text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(text)?;
    let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or("no status")?;
    Ok((status, answer))
}

fn metric(name: &str) -> Result<u64, String> {
    let text = get("/metrics")?.1;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.and_then(|value| value.parse().ok()).ok_or_else(|| format!("/metrics has no {name}"))
}

/// Asks until it is so; what fails on the way counts as not yet.
fn eventually(what: &str, mut holds: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
    let until = clock::now().mono_ns + PATIENCE_NS;
    loop {
        let answer = holds();
        if answer == Ok(true) {
            return Ok(());
        }
        if clock::now().mono_ns > until {
            return Err(format!("waited in vain for {what}: {answer:?}"));
        }
        clock::sleep_ns(100 * MS);
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
