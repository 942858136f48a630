//! A cgroup, two namespaces joined by a veth pair, nftables counters as the truth, and a source with all it has said.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

use netmon::clock::{self, Now, SECOND};
use netmon::flow::{Addr, Connection, Counts, Ends, Reading, Traffic, TxRx, protocol};
use netmon::source::ebpf::{Ebpf, Settings};
use netmon::source::{Source, Sweep};
use netmon::stats::Stats;
use netmon::sys::cgroup;
use nix::sched::{CloneFlags, setns};

pub const A4: &str = "10.77.0.1";
pub const B4: &str = "10.77.0.2";
pub const A6: &str = "fd77::1";
pub const B6: &str = "fd77::2";

pub static TURN: Mutex<()> = Mutex::new(());
pub static SERIAL: AtomicU32 = AtomicU32::new(0);

/// Two namespaces `a` and `b` joined by a veth pair, and a cgroup in which this process is. Gone when dropped.
pub struct Bench {
    pub cgroup: PathBuf,
    pub home: PathBuf,
    pub a: String,
    pub b: String,
    _turn: MutexGuard<'static, ()>,
}

impl Bench {
    pub fn new() -> Bench {
        let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let home = cgroup::find(None).expect("the host's cgroup2");
        let name = format!("nm-ebpf-{}-{}", std::process::id(), SERIAL.fetch_add(1, Relaxed));
        let bench =
            Bench { cgroup: home.join(&name), home, a: format!("{name}-a"), b: format!("{name}-b"), _turn: turn };
        fs::create_dir(&bench.cgroup).expect("create the test's cgroup (root needed)");
        enter_cgroup(&bench.cgroup);
        let (a, b) = (&bench.a, &bench.b);
        run(&format!("ip netns add {a} && ip netns add {b}"));
        run(&format!("ip -n {a} link add v0 type veth peer name v0 netns {b}"));
        for (ns, v4, v6) in [(a, A4, A6), (b, B4, B6)] {
            run(&format!("ip -n {ns} link set lo up && ip -n {ns} link set v0 up"));
            run(&format!("ip -n {ns} addr add {v4}/24 dev v0 && ip -n {ns} addr add {v6}/64 dev v0 nodad"));
            bench.nft(ns, "");
        }
        bench
    }

    /// Counters per family, protocol and hook, without loopback; `extra` is more of the table.
    pub fn nft(&self, ns: &str, extra: &str) {
        let mut rules = [("input", "iifname"), ("output", "oifname")].map(|(hook, device)| {
            format!("chain {hook} {{ type filter hook {hook} priority 0; {device} \"lo\" return;")
        });
        let mut counters = String::new();
        for family in ["ipv4", "ipv6"] {
            for protocol in ["tcp", "udp", "sctp"] {
                for (hook, chain) in ["input", "output"].iter().zip(&mut rules) {
                    let name = format!("{family}_{protocol}_{hook}");
                    counters += &format!("counter {name} {{}}\n");
                    *chain += &format!("meta nfproto {family} meta l4proto {protocol} counter name {name};");
                }
            }
        }
        let table = format!("table inet t {{\n{counters}{} }}\n{} }}\n{extra}\n}}", rules[0], rules[1]);
        run_with(&format!("ip netns exec {ns} nft -f -"), &table);
    }

    /// What nft counted in a namespace, of one family and protocol: sent (output) and received (input).
    pub fn truth(&self, ns: &str, family: u8, protocol: &str) -> TxRx {
        let json = run(&format!("ip netns exec {ns} nft -j list counters table inet t"));
        let json: serde_json::Value = serde_json::from_str(&json).expect("nft speaks JSON");
        let counter = |hook: &str| {
            let name = format!("ipv{family}_{protocol}_{hook}");
            let found = json["nftables"].as_array().expect("a list").iter().find(|c| c["counter"]["name"] == *name);
            let found = found.unwrap_or_else(|| panic!("no counter {name}"));
            Counts {
                bytes: found["counter"]["bytes"].as_u64().expect("a number"),
                packets: found["counter"]["packets"].as_u64().expect("a number"),
            }
        };
        TxRx { tx: counter("output"), rx: counter("input") }
    }

    /// Returns once nft has counted nothing for a while: a delayed acknowledgement of an emulated machine takes longer
    /// than any one pause.
    pub fn comes_to_rest(&self) {
        let seen = || [&self.a, &self.b].map(|ns| [4, 6].map(|family| self.truth(ns, family, "tcp")));
        let mut before = seen();
        for _ in 0..50 {
            clock::sleep_ns(100 * clock::MS);
            let now = seen();
            if now == before {
                return;
            }
            before = now;
        }
        panic!("the traffic of the test does not end");
    }

    pub fn open(&self, settings: Settings) -> Counting {
        let settings = Settings { cgroup_root: Some(self.cgroup.clone()), ..settings };
        let source = Ebpf::open(&settings, Arc::new(Stats::default()), now(0)).expect("open the source");
        Counting { source, records: Vec::new(), total: Sweep::default() }
    }

    /// Runs `work` in a namespace; sockets it makes stay there.
    pub fn within<T: Send>(&self, ns: &str, work: impl FnOnce() -> T + Send) -> T {
        let handle = fs::File::open(format!("/run/netns/{ns}")).expect("the namespace");
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                setns(handle, CloneFlags::CLONE_NEWNET).expect("enter the namespace");
                work()
            });
            worker.join().expect("the work in the namespace")
        })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        enter_cgroup(&self.home);
        for ns in [&self.a, &self.b] {
            let _ = Command::new("ip").args(["netns", "del", ns]).status();
        }
        for entry in fs::read_dir(&self.cgroup).into_iter().flatten().flatten() {
            let _ = fs::remove_dir(entry.path());
        }
        let _ = fs::remove_dir(&self.cgroup);
    }
}

/// A source and all it has said.
pub struct Counting {
    pub source: Ebpf,
    pub records: Vec<Connection>,
    pub total: Sweep,
}

impl Counting {
    pub fn sweep(&mut self) -> &mut Counting {
        self.sweep_at(now(0))
    }

    pub fn sweep_at(&mut self, now: Now) -> &mut Counting {
        let records = &mut self.records;
        let sweep = self.source.sweep(now, &mut |record| records.push(*record)).expect("sweep");
        self.add(sweep);
        self
    }

    pub fn drain(&mut self) -> &mut Counting {
        let records = &mut self.records;
        let sweep = self.source.drain(now(0), &mut |record| records.push(*record)).expect("drain");
        self.add(sweep);
        self
    }

    pub fn add(&mut self, sweep: Sweep) {
        assert!(sweep.complete);
        self.total.seen += sweep.seen;
        self.total.lost_tx_bytes += sweep.lost_tx_bytes;
        self.total.lost_rx_bytes += sweep.lost_rx_bytes;
        for (total, n) in self.total.skipped.0.iter_mut().zip(sweep.skipped.0) {
            *total += n;
        }
    }

    pub fn of(&self, local: &str, protocol: u8) -> Vec<&Connection> {
        let local: Addr = ip(local).into();
        self.records.iter().filter(|r| self.local(r) == local && r.key.protocol == protocol).collect()
    }

    pub fn local(&self, record: &Connection) -> Addr {
        assert_eq!(record.reading, Reading::Increment);
        match record.ends {
            Ends::Originator => record.key.src,
            Ends::Responder => record.key.dst,
            Ends::Both | Ends::Neither => panic!("a socket is one end"),
        }
    }

    /// What all records of a local end and protocol say.
    pub fn sum(&self, local: &str, protocol: u8) -> TxRx {
        let mut sum = TxRx::default();
        for record in self.of(local, protocol) {
            let Traffic { orig, reply } = record.traffic;
            sum += if record.ends == Ends::Originator {
                TxRx { tx: orig, rx: reply }
            } else {
                TxRx { tx: reply, rx: orig }
            };
        }
        sum
    }
}

pub fn now(seconds: u64) -> Now {
    Now { mono_ns: (1_000 + seconds) * SECOND, wall_ns: 0 }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(address), port)
}

pub fn enter_cgroup(path: &Path) {
    fs::write(path.join("cgroup.procs"), std::process::id().to_string()).expect("enter the cgroup");
}

pub fn cgroup_id(path: &Path) -> u64 {
    fs::metadata(path).expect("the cgroup").ino()
}

pub fn run(command: &str) -> String {
    run_with(command, "")
}

pub fn run_with(command: &str, input: &str) -> String {
    let mut child = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sh");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("write");
    let output = child.wait_with_output().expect("wait");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// One TCP conversation: `up` bytes to the server, `down` bytes back, closed so that no segment meets a closed socket.
pub fn converse(bench: &Bench, listen: SocketAddr, connect: SocketAddr, up: usize, down: usize) {
    let listener = bench.within(&bench.b, || TcpListener::bind(listen).expect("listen"));
    talk(bench, &listener, up, down, || bench.within(&bench.a, || TcpStream::connect(connect).expect("connect")));
}

pub fn talk(bench: &Bench, listener: &TcpListener, up: usize, down: usize, connect: impl FnOnce() -> TcpStream) {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut got = vec![0; up];
            stream.read_exact(&mut got).expect("read");
            stream.write_all(&vec![7; down]).expect("write");
            stream.shutdown(Shutdown::Write).expect("shut down");
            stream.read_to_end(&mut got).expect("end");
        });
        let mut stream = connect();
        stream.write_all(&vec![1; up]).expect("write");
        let mut got = Vec::new();
        stream.read_to_end(&mut got).expect("read");
        assert_eq!(got.len(), down);
    });
    bench.comes_to_rest();
}

#[track_caller]
pub fn assert_same(counting: &Counting, bench: &Bench, family: u8, name: &str, number: u8) {
    let (a, b) = if family == 4 { (A4, B4) } else { (A6, B6) };
    for (ns, local) in [(&bench.a, a), (&bench.b, b)] {
        let truth = bench.truth(ns, family, name);
        assert_eq!(counting.sum(local, number), truth, "{name} of {local} against nft");
        assert!(!truth.is_zero(), "no {name} traffic at {local}: the test proves nothing");
    }
}

/// Before "bpf, net: Check skb ownership against full socket" the kernel did not show the programs an IPv6 SYN-ACK, which
/// belongs to a request socket that is not the sending one.
#[track_caller]
pub fn assert_same_but_for_a_syn_ack(counting: &Counting, bench: &Bench) {
    assert_eq!(counting.sum(A6, protocol::TCP), bench.truth(&bench.a, 6, "tcp"));
    let (seen, truth) = (counting.sum(B6, protocol::TCP), bench.truth(&bench.b, 6, "tcp"));
    let missing = truth.tx - seen.tx;
    assert_eq!(seen.rx, truth.rx);
    assert!(seen.tx + missing == truth.tx && missing.packets <= 1 && missing.bytes <= 80, "{missing:?}");
}

pub fn kernel_is_before(version: (u32, u32)) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let mut numbers = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) < (Some(version.0), Some(version.1))
}

#[track_caller]
pub fn assert_same_one_way(counting: &Counting, bench: &Bench) {
    assert_eq!(counting.sum(A4, protocol::UDP), bench.truth(&bench.a, 4, "udp"));
    assert_eq!(counting.sum(B4, protocol::UDP), bench.truth(&bench.b, 4, "udp"));
}
