//! The agent under test: the real binary in the node's namespace, and what its endpoints say.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use netmon::clock;
use netmon::flow::{Counts, TxRx};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::dakr::{FakeDakr, TOKEN};
use crate::process;
use crate::rows::{Key, Shown};
use crate::topology::{Host, LOCAL_CIDRS};

/// `NODE_NAME` of the agent in the lab.
pub const NODE_NAME: &str = "lab-node";

/// `Status` of a component that is not well.
pub const DEGRADED: u64 = 2;

/// A running agent.
pub struct Agent<'a> {
    child: Child,
    node: &'a Host,
    endpoint: SocketAddr,
    log: PathBuf,
}

/// How to start one.
pub struct Start<'a> {
    node: &'a Host,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    log: PathBuf,
}

impl<'a> Start<'a> {
    /// With what every scenario wants: standalone, the lab's pod ranges, sweeps every 200 ms, nothing pushed, no names.
    pub fn new(node: &'a Host, mode: &str, log: PathBuf) -> Start<'a> {
        let start = Start { node, flags: Vec::new(), environment: Vec::new(), log };
        let start = match std::env::var_os("LAB_ON_DEMAND") {
            Some(_) => start,
            None => start.flag("-read-interval", "200ms"),
        };
        // Rows leave `/flows` after a minute without traffic, which an emulated machine may need for what follows.
        let start = if patience() > 1 { start.flag("-cleanup-interval", "1h") } else { start };
        start
            .flag("-standalone", "true")
            .flag("-collector-mode", mode)
            .flag("-fallback", "none")
            .flag("-local-cidrs", LOCAL_CIDRS)
            .flag("-dns", "off")
            .flag("-metrics-bind-address", "127.0.0.1:8081")
            .environment("NODE_NAME", NODE_NAME)
            .environment("FLUSH_INTERVAL", "1s")
            .environment("RUST_LOG", "info")
    }

    /// Sets a flag, in place of an earlier value.
    pub fn flag(mut self, name: &str, value: &str) -> Start<'a> {
        let prefix = format!("{name}=");
        self.flags.retain(|f| !f.starts_with(&prefix));
        self.flags.push(prefix + value);
        self
    }

    /// Takes a flag away.
    pub fn without(mut self, name: &str) -> Start<'a> {
        self.flags.retain(|f| !f.starts_with(&format!("{name}=")));
        self
    }

    /// In a cluster instead of standalone, with the API server that the kubeconfig file names.
    pub fn in_cluster(self, kubeconfig: &std::path::Path) -> Start<'a> {
        self.without("-standalone").without("-local-cidrs").flag("-metrics-kubeconfig", &kubeconfig.to_string_lossy())
    }

    /// Sets a variable of the environment.
    pub fn environment(mut self, name: &str, value: &str) -> Start<'a> {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Pushes to `dakr`.
    pub fn pushing_to(self, dakr: &FakeDakr) -> Start<'a> {
        self.environment("DAKR_URL", &dakr.url).environment("CLUSTER_TOKEN", TOKEN).environment("CLUSTER_ID", "lab")
    }

    /// Starts it, without waiting.
    pub fn spawn(self) -> Result<Agent<'a>, String> {
        let log = File::options().create(true).append(true).open(&self.log).map_err(|e| format!("no log file: {e}"))?;
        let errors = log.try_clone().map_err(|e| format!("no log file: {e}"))?;
        let mut command: Command = process::command(&binary(), &self.node.place);
        command.args(&self.flags).envs(self.environment).stdout(log).stderr(errors);
        for inherited in ["DAKR_URL", "CLUSTER_TOKEN", "CLUSTER_ID", "KUBECONFIG", "NODE_NAME", "FLUSH_INTERVAL"] {
            if !command.get_envs().any(|(name, _)| name == inherited) {
                command.env_remove(inherited);
            }
        }
        let child = self.node.netns.enter(|| command.spawn()).map_err(|e| format!("cannot start the agent: {e}"))?;
        let bind = self.flags.iter().find_map(|flag| flag.strip_prefix("-metrics-bind-address="));
        let endpoint = bind.and_then(|bind| bind.parse().ok()).ok_or("the lab binds to addresses")?;
        Ok(Agent { child, node: self.node, endpoint, log: self.log })
    }

    /// Starts it and waits until the first sweep is complete: what begins from now on is counted in full.
    pub fn ready(self) -> Result<Agent<'a>, String> {
        let mut agent = self.spawn()?;
        agent.wait_ready()?;
        Ok(agent)
    }
}

/// The binary that is judged.
pub fn binary() -> String {
    std::env::var("LAB_BINARY").unwrap_or(env!("CARGO_BIN_EXE_zxporter-netmon").to_owned())
}

impl Agent<'_> {
    /// Waits for `/readyz` to say 200.
    pub fn wait_ready(&mut self) -> Result<(), String> {
        let mut ended = None;
        eventually("the agent is ready", Duration::from_secs(15), || {
            ended = self.child.try_wait().map_err(|e| e.to_string())?;
            if ended.is_some() {
                return Ok(());
            }
            let (status, body) = self.get("/readyz")?;
            if status == 200 { Ok(()) } else { Err(format!("/readyz says {status}: {body}")) }
        })?;
        ended.map_or(Ok(()), |status| Err(format!("the agent ended with {status}\n{}", self.log_tail())))
    }

    /// What it has logged, the last of it.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Where it logs.
    pub fn log_file(&self) -> PathBuf {
        self.log.clone()
    }

    /// Its command line, as everybody may read it.
    pub fn command_line(&self) -> Result<String, String> {
        let line = std::fs::read(format!("/proc/{}/cmdline", self.pid())).map_err(|e| e.to_string())?;
        Ok(String::from_utf8_lossy(&line).replace('\0', " "))
    }

    /// Status and body of a GET.
    pub fn get(&self, path: &str) -> Result<(u16, String), String> {
        self.get_as(path, "*/*")
    }

    /// Status and body of a GET that wants a media type.
    pub fn get_as(&self, path: &str, accept: &str) -> Result<(u16, String), String> {
        self.node.netns.enter(|| get(self.endpoint, path, accept)).map_err(|e| format!("GET {path}: {e}"))
    }

    /// `/flows`, as JSON.
    pub fn flows(&self) -> Result<Value, String> {
        let (status, body) = self.get("/flows")?;
        if status != 200 {
            return Err(format!("/flows says {status}: {body}"));
        }
        serde_json::from_str(&body).map_err(|e| format!("/flows is no JSON ({e}): {body}"))
    }

    /// The status with which `zxporter-netmon audit` ends, and what it prints as JSON.
    pub fn audit(&self, flags: &[&str]) -> Result<(Option<i32>, Value), String> {
        let mut command = Command::new(binary());
        command.args(["audit", "-format", "json", "-address", &self.endpoint.to_string()]).args(flags);
        let done = self.node.netns.enter(|| command.output()).map_err(|e| format!("cannot start audit: {e}"))?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let json = serde_json::from_str(&said).map_err(|e| format!("audit prints no JSON ({e}): {done:?}"))?;
        Ok((done.status.code(), json))
    }

    /// The rows at `/flows`, with their totals.
    pub fn shown(&self) -> Result<Shown, String> {
        shown(&self.flows()?)
    }

    /// Every sample of `/metrics`, by name with labels as it stands there.
    pub fn metrics(&self) -> Result<BTreeMap<String, f64>, String> {
        let (status, body) = self.get("/metrics")?;
        if status != 200 {
            return Err(format!("/metrics says {status}: {body}"));
        }
        let mut samples = BTreeMap::new();
        for line in body.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
            let (name, value) = line.rsplit_once(' ').ok_or_else(|| format!("no sample: {line}"))?;
            let value = value.parse().map_err(|_| format!("no number: {line}"))?;
            if samples.insert(name.to_owned(), value).is_some() {
                return Err(format!("/metrics shows a sample twice: {name}"));
            }
        }
        Ok(samples)
    }

    /// One sample of `/metrics`; absent is an error, for a counter that is never shown cannot be held to anything.
    pub fn metric(&self, name: &str) -> Result<f64, String> {
        let metrics = self.metrics()?;
        metrics.get(name).copied().ok_or_else(|| format!("/metrics has no {name}"))
    }

    /// State and message of the part that counts, as `/healthz` shows them.
    pub fn monitor(&self) -> Result<(u64, String), String> {
        let (_, body) = self.get("/healthz")?;
        let json: Value = serde_json::from_str(&body).map_err(|e| format!("/healthz is no JSON ({e}): {body}"))?;
        let monitor = &json["components"]["monitor"];
        let status = monitor["Status"].as_u64().ok_or_else(|| format!("no monitor in {body}"))?;
        Ok((status, monitor["Message"].as_str().unwrap_or_default().to_owned()))
    }

    /// Waits for `sweeps` more sweeps to have begun and ended.
    pub fn wait_sweeps(&self, sweeps: u64) -> Result<(), String> {
        let before = self.metric("netmon_sweeps_total")?;
        eventually("more sweeps", Duration::from_secs(30), || {
            let now = self.metric("netmon_sweeps_total")?;
            // One may have been under way.
            if now > before + sweeps as f64 { Ok(()) } else { Err(format!("{before} sweeps, then {now}")) }
        })
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> Result<(), String> {
        kill(self.pid(), signal).map_err(|e| format!("cannot send {signal} to the agent: {e}"))
    }

    /// Its resident set.
    pub fn resident_kib(&self) -> Result<u64, String> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).map_err(|e| e.to_string())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        line.trim().trim_end_matches(" kB").parse().map_err(|_| format!("VmRSS is {line:?}"))
    }

    /// CPU time that it has taken, in milliseconds.
    pub fn cpu_ms(&self) -> Result<u64, String> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).map_err(|e| e.to_string())?;
        let fields = stat.rsplit_once(')').ok_or("no name in stat")?.1.split_ascii_whitespace();
        let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        // USER_HZ is 100 on every Linux.
        Ok(ticks * 10)
    }

    /// How many descriptors it has open.
    pub fn descriptors(&self) -> Result<usize, String> {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).map(Iterator::count).map_err(|e| e.to_string())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>, String> {
        self.child.try_wait().map_err(|e| format!("cannot wait for the agent: {e}"))
    }

    /// SIGTERM, and waits for it to end with status 0.
    pub fn terminate(mut self) -> Result<(), String> {
        self.signal(Signal::SIGTERM)?;
        eventually("the agent ends after SIGTERM", Duration::from_secs(20), || {
            match self.child.try_wait().map_err(|e| e.to_string())? {
                None => Err("it still runs".to_owned()),
                Some(status) if status.success() => Ok(()),
                Some(status) => Err(format!("it ended with {status}\n{}", self.log_tail())),
            }
        })
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The rows of a `/flows` document, with their totals.
pub fn shown(document: &Value) -> Result<Shown, String> {
    let mut rows = Shown::new();
    for item in document["items"].as_array().ok_or("/flows has no items")? {
        let bad = |what: &str| format!("/flows: {what} in {item}");
        let text = |key: &str| item[key].as_str().map(str::to_owned).ok_or_else(|| bad(key));
        let number = |key: &str| item[key].as_u64().ok_or_else(|| bad(key));
        let owner = &item["owner"];
        let owner = match owner["kind"].as_str() {
            Some("pod") => format!(
                "pod {}/{}",
                owner["namespace"].as_str().ok_or_else(|| bad("owner"))?,
                owner["name"].as_str().ok_or_else(|| bad("owner"))?
            ),
            Some(kind @ ("unit" | "container")) => {
                format!("{kind} {}", owner["name"].as_str().ok_or_else(|| bad("owner"))?)
            }
            Some(kind) => kind.to_owned(),
            None => return Err(bad("no owner")),
        };
        let key = Key {
            owner,
            direction: text("direction")?,
            local: text("src_ip")?.parse().map_err(|_| bad("src_ip"))?,
            remote: text("dst_ip")?.parse().map_err(|_| bad("dst_ip"))?,
            protocol: u8::try_from(number("protocol")?).map_err(|_| bad("protocol"))?,
            port: u16::try_from(number("dst_port")?).map_err(|_| bad("dst_port"))?,
            class: text("class")?,
        };
        let counts = TxRx {
            tx: Counts { bytes: number("total_tx_bytes")?, packets: number("total_tx_packets")? },
            rx: Counts { bytes: number("total_rx_bytes")?, packets: number("total_rx_packets")? },
        };
        if rows.insert(key.clone(), counts).is_some() {
            return Err(format!("/flows shows a row twice: {key}"));
        }
    }
    Ok(rows)
}

/// One GET over a connection of its own.
fn get(endpoint: SocketAddr, path: &str, accept: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&endpoint, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: lab\r\nAccept: {accept}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let malformed = || std::io::Error::other(format!("malformed answer: {}", String::from_utf8_lossy(&answer)));
    let Ok(httparse::Status::Complete(at)) = head.parse(&answer) else { return Err(malformed()) };
    let status = head.code.ok_or_else(malformed)?;
    let named = |name: &str| head.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value);
    let body = answer.get(at..).ok_or_else(malformed)?;
    let body = if named("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case(b"chunked")) {
        unchunk(body).ok_or_else(malformed)?
    } else {
        body.to_vec()
    };
    if let Some(length) = named("content-length")
        && std::str::from_utf8(length).ok().and_then(|l| l.parse::<usize>().ok()) != Some(body.len())
    {
        return Err(malformed());
    }
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

fn unchunk(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((at, length))) = httparse::parse_chunk_size(body) else { return None };
        let chunk = body.get(at..at + length as usize)?;
        if chunk.is_empty() {
            return Some(whole);
        }
        whole.extend_from_slice(chunk);
        body = body.get(at + length as usize + 2..)?;
    }
}

/// How many times as long everything may take: in a machine that is emulated.
fn patience() -> u32 {
    std::env::var("LAB_PATIENCE").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// Tries until it succeeds; the last failure if it does not in time.
pub fn eventually(
    what: &str,
    patience: Duration,
    mut attempt: impl FnMut() -> Result<(), String>,
) -> Result<(), String> {
    let patience = patience * self::patience();
    let deadline = clock::now().mono_ns + patience.as_nanos() as u64;
    // Each question to the agent is a connection, which a recording would hold.
    let pause_ns = if std::env::var_os("LAB_RECORDINGS").is_some() { clock::SECOND } else { 30 * clock::MS };
    loop {
        match attempt() {
            Ok(()) => return Ok(()),
            Err(why) if clock::now().mono_ns > deadline => {
                return Err(format!("in vain for {patience:?}: {what}: {why}"));
            }
            Err(_) => clock::sleep_ns(pause_ns),
        }
    }
}
