//! The BPF source against the kernel's own counters: real traffic between two network namespaces, from a cgroup of
//! the test's own, compared byte for byte with nftables counters at the input and output hooks.
//!
//! Needs root, cgroup2, nft and ip. Tests take turns, for the process itself moves into the test's cgroup.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};

#[path = "support/counting.rs"]
mod counting;

use counting::{Counting as Allocator, allocations};
use netmon::clock::{self, Now, SECOND};
use netmon::flow::{Addr, Connection, Counts, Ends, Reading, Traffic, TxRx, protocol};
use netmon::source::ebpf::{Ebpf, Settings, cgroup};
use netmon::source::{Skip, Source, Sweep};
use netmon::stats::Stats;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::sockopt::UdpGsoSegment;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, sendto, setsockopt, socket,
};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

const A4: &str = "10.77.0.1";
const B4: &str = "10.77.0.2";
const A6: &str = "fd77::1";
const B6: &str = "fd77::2";

// ---- the bench: a cgroup, two namespaces, counters -------------------------------------------------------------

static TURN: Mutex<()> = Mutex::new(());
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// Two namespaces `a` and `b` joined by a veth pair, and a cgroup in which this process is. Gone when dropped.
struct Bench {
    cgroup: PathBuf,
    home: PathBuf,
    a: String,
    b: String,
    _turn: MutexGuard<'static, ()>,
}

impl Bench {
    fn new() -> Bench {
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
    fn nft(&self, ns: &str, extra: &str) {
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
    fn truth(&self, ns: &str, family: u8, protocol: &str) -> TxRx {
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

    fn open(&self, settings: Settings) -> Counting {
        let settings = Settings { cgroup_root: Some(self.cgroup.clone()), ..settings };
        let source = Ebpf::open(&settings, Arc::new(Stats::default()), now(0)).expect("open the source");
        Counting { source, records: Vec::new(), total: Sweep::default() }
    }

    /// Runs `work` in a namespace; sockets it makes stay there.
    fn within<T: Send>(&self, ns: &str, work: impl FnOnce() -> T + Send) -> T {
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
struct Counting {
    source: Ebpf,
    records: Vec<Connection>,
    total: Sweep,
}

impl Counting {
    fn sweep(&mut self) -> &mut Counting {
        self.sweep_at(now(0))
    }

    fn sweep_at(&mut self, now: Now) -> &mut Counting {
        let records = &mut self.records;
        let sweep = self.source.sweep(now, &mut |record| records.push(*record)).expect("sweep");
        self.add(sweep);
        self
    }

    fn drain(&mut self) -> &mut Counting {
        let records = &mut self.records;
        let sweep = self.source.drain(now(0), &mut |record| records.push(*record)).expect("drain");
        self.add(sweep);
        self
    }

    fn add(&mut self, sweep: Sweep) {
        assert!(sweep.complete);
        self.total.seen += sweep.seen;
        self.total.lost_tx_bytes += sweep.lost_tx_bytes;
        self.total.lost_rx_bytes += sweep.lost_rx_bytes;
        for (total, n) in self.total.skipped.0.iter_mut().zip(sweep.skipped.0) {
            *total += n;
        }
    }

    fn of(&self, local: &str, protocol: u8) -> Vec<&Connection> {
        let local: Addr = ip(local).into();
        self.records.iter().filter(|r| self.local(r) == local && r.key.protocol == protocol).collect()
    }

    fn local(&self, record: &Connection) -> Addr {
        assert_eq!(record.reading, Reading::Increment);
        match record.ends {
            Ends::Originator => record.key.src,
            Ends::Responder => record.key.dst,
            Ends::Both | Ends::Neither => panic!("a socket is one end"),
        }
    }

    /// What all records of a local end and protocol say.
    fn sum(&self, local: &str, protocol: u8) -> TxRx {
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

fn now(seconds: u64) -> Now {
    Now { mono_ns: (1_000 + seconds) * SECOND, wall_ns: 0 }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip(address), port)
}

fn enter_cgroup(path: &Path) {
    fs::write(path.join("cgroup.procs"), std::process::id().to_string()).expect("enter the cgroup");
}

fn cgroup_id(path: &Path) -> u64 {
    fs::metadata(path).expect("the cgroup").ino()
}

fn run(command: &str) -> String {
    run_with(command, "")
}

fn run_with(command: &str, input: &str) -> String {
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
fn converse(bench: &Bench, listen: SocketAddr, connect: SocketAddr, up: usize, down: usize) {
    let listener = bench.within(&bench.b, || TcpListener::bind(listen).expect("listen"));
    talk(&listener, up, down, || bench.within(&bench.a, || TcpStream::connect(connect).expect("connect")));
}

fn talk(listener: &TcpListener, up: usize, down: usize, connect: impl FnOnce() -> TcpStream) {
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
    // The last ACK is on its way through softirq by now; the server's socket must see it before we count.
    clock::sleep_ns(50 * clock::MS);
}

#[track_caller]
fn assert_same(counting: &Counting, bench: &Bench, family: u8, name: &str, number: u8) {
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
fn assert_same_but_for_a_syn_ack(counting: &Counting, bench: &Bench) {
    assert_eq!(counting.sum(A6, protocol::TCP), bench.truth(&bench.a, 6, "tcp"));
    let (seen, truth) = (counting.sum(B6, protocol::TCP), bench.truth(&bench.b, 6, "tcp"));
    let missing = truth.tx - seen.tx;
    assert_eq!(seen.rx, truth.rx);
    assert!(seen.tx + missing == truth.tx && missing.packets <= 1 && missing.bytes <= 80, "{missing:?}");
}

fn kernel_is_before(version: (u32, u32)) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let mut numbers = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) < (Some(version.0), Some(version.1))
}

// ---- what is counted ---------------------------------------------------------------------------------------------

#[test]
fn root_tcp_equals_nft_in_both_families() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    // Large enough for GSO on the way out and GRO on the way in.
    converse(&bench, at(B4, 7001), at(B4, 7001), 3_000_000, 1_000_000);
    converse(&bench, at(B6, 7002), at(B6, 7002), 500_000, 2_000_000);
    counting.sweep();
    assert_same(&counting, &bench, 4, "tcp", protocol::TCP);
    if kernel_is_before((6, 6)) {
        assert_same_but_for_a_syn_ack(&counting, &bench);
    } else {
        assert_same(&counting, &bench, 6, "tcp", protocol::TCP);
    }
    for (local, ends) in [(A4, Ends::Originator), (A6, Ends::Originator), (B4, Ends::Responder), (B6, Ends::Responder)]
    {
        let records = counting.of(local, protocol::TCP);
        assert!(records.iter().all(|r| r.ends == ends), "{local} is {ends:?}");
        assert!(records.iter().all(|r| r.cgroup == cgroup_id(&bench.cgroup)));
        assert!(records.iter().all(|r| matches!(r.backend_port, 7001 | 7002) && r.key.dport == r.backend_port));
    }
}

#[test]
fn root_ipv4_on_a_dual_stack_socket_counts_as_ipv4() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    converse(&bench, at("::", 7003), at(B4, 7003), 10_000, 20_000);
    // And the client's: an IPv6 socket that talks to a mapped address.
    converse(&bench, at(B4, 7004), at(&format!("::ffff:{B4}"), 7004), 10_000, 20_000);
    counting.sweep();
    assert_same(&counting, &bench, 4, "tcp", protocol::TCP);
    assert!(counting.records.iter().all(|r| r.key.family == 4 && r.cgroup != 0));
}

#[test]
fn root_udp_servers_count_connected_or_not() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    let server = bench.within(&bench.b, || UdpSocket::bind(at(B4, 7010)).expect("bind"));
    let connected = bench.within(&bench.b, || UdpSocket::bind(at(B6, 7011)).expect("bind"));
    let clients = bench.within(&bench.a, || [A4, A4, A6].map(|local| UdpSocket::bind(at(local, 0)).expect("bind")));
    connected.connect(clients[2].local_addr().expect("bound")).expect("connect");
    clients[2].connect(at(B6, 7011)).expect("connect");
    let mut buffer = [0; 2048];
    for round in 0..50 {
        for client in &clients[..2] {
            client.send_to(&[1; 100], at(B4, 7010)).expect("send");
            let (n, from) = server.recv_from(&mut buffer).expect("receive");
            server.send_to(&buffer[..n + round], from).expect("answer");
            client.recv(&mut buffer).expect("the answer");
        }
        clients[2].send(&[1; 200]).expect("send");
        connected.recv(&mut buffer).expect("receive");
        connected.send(&[2; 1400]).expect("answer");
        clients[2].recv(&mut buffer).expect("the answer");
    }
    counting.sweep();
    assert_same(&counting, &bench, 4, "udp", protocol::UDP);
    assert_same(&counting, &bench, 6, "udp", protocol::UDP);
    for (local, ends) in [(A4, Ends::Originator), (A6, Ends::Originator), (B4, Ends::Responder), (B6, Ends::Responder)]
    {
        assert!(counting.of(local, protocol::UDP).iter().all(|r| r.ends == ends), "{local} is {ends:?}");
    }
    assert_eq!(counting.of(B4, protocol::UDP).len(), 2, "one record per client");
}

#[test]
fn root_large_udp_datagrams_count_whole() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    for (a, b, family) in [(A4, B4, 4), (A6, B6, 6)] {
        let server = bench.within(&bench.b, || UdpSocket::bind(at(b, 7020)).expect("bind"));
        let client = bench.within(&bench.a, || UdpSocket::bind(at(a, 0)).expect("bind"));
        for size in [1_000, 10_000, 40_000] {
            client.send_to(&vec![1; size], at(b, 7020)).expect("send");
            assert_eq!(server.recv(&mut vec![0; 65_000]).expect("receive"), size);
        }
        counting.sweep();
        let header = if family == 4 { 28 } else { 48 };
        // One packet each, however many fragments crossed the wire.
        let expected = Counts { bytes: 51_000 + 3 * header, packets: 3 };
        assert_eq!(counting.sum(a, protocol::UDP).tx, expected);
        assert_eq!(counting.sum(b, protocol::UDP).rx, expected);
    }
}

#[test]
fn root_loopback_is_not_counted() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    for address in ["127.0.0.1", "::1", A4, A6] {
        let (server, client) = bench.within(&bench.a, || {
            (UdpSocket::bind(at(address, 7030)).expect("bind"), UdpSocket::bind(at(address, 0)).expect("bind"))
        });
        client.send_to(&[1; 100], at(address, 7030)).expect("send");
        server.recv(&mut [0; 200]).expect("receive");
    }
    counting.sweep();
    assert_eq!(counting.records, []);
    assert_eq!(counting.total.skipped.0[Skip::Loopback as usize], 8);
}

#[test]
fn root_an_inherited_socket_counts_after_fork_and_exec() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    let server = bench.within(&bench.b, || UdpSocket::bind(at(B4, 7040)).expect("bind"));
    let client = bench.within(&bench.a, || UdpSocket::bind(at(A4, 0)).expect("bind"));
    client.connect(at(B4, 7040)).expect("connect");
    client.send(b"from the parent").expect("send");
    let inherited = OwnedFd::from(client.try_clone().expect("dup"));
    let child = Command::new("sh").args(["-c", "printf 'from the child' >&0"]).stdin(inherited).status().expect("sh");
    assert!(child.success());
    for _ in 0..2 {
        server.recv(&mut [0; 100]).expect("receive");
    }
    counting.sweep();
    assert_same_one_way(&counting, &bench);
    assert_eq!(counting.of(A4, protocol::UDP).len(), 1);
    assert_eq!(counting.sum(A4, protocol::UDP).tx, Counts { bytes: 28 + 15 + 28 + 14, packets: 2 });
}

#[track_caller]
fn assert_same_one_way(counting: &Counting, bench: &Bench) {
    assert_eq!(counting.sum(A4, protocol::UDP), bench.truth(&bench.a, 4, "udp"));
    assert_eq!(counting.sum(B4, protocol::UDP), bench.truth(&bench.b, 4, "udp"));
}

#[test]
fn root_a_socket_stays_with_the_cgroup_it_was_made_in() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    let [first, second] = ["first", "second"].map(|name| {
        let path = bench.cgroup.join(name);
        fs::create_dir(&path).expect("create a cgroup");
        path
    });
    let server = bench.within(&bench.b, || UdpSocket::bind(at(B4, 7050)).expect("bind"));
    let send = |socket: &UdpSocket| {
        socket.send_to(&[1; 100], at(B4, 7050)).expect("send");
        server.recv(&mut [0; 200]).expect("receive");
    };
    enter_cgroup(&first);
    let before = bench.within(&bench.a, || UdpSocket::bind(at(A4, 0)).expect("bind"));
    send(&before);
    counting.sweep();
    enter_cgroup(&second);
    let after = bench.within(&bench.a, || UdpSocket::bind(at(A4, 0)).expect("bind"));
    send(&before);
    send(&after);
    counting.sweep();
    enter_cgroup(&bench.cgroup);
    assert_same_one_way(&counting, &bench);
    let by_port: HashMap<u16, Vec<u64>> = counting.of(A4, protocol::UDP).iter().fold(HashMap::new(), |mut map, r| {
        map.entry(r.key.sport).or_insert_with(Vec::new).push(r.cgroup);
        map
    });
    let port = |socket: &UdpSocket| socket.local_addr().expect("bound").port();
    assert_eq!(by_port[&port(&before)], [cgroup_id(&first), cgroup_id(&first)]);
    assert_eq!(by_port[&port(&after)], [cgroup_id(&second)]);
}

// ---- service addresses -------------------------------------------------------------------------------------------

const C4: &str = "10.77.1.2";
const SERVICE: &str = "10.96.0.10";

/// A client `a` behind node `b`, a server `c` behind it on another device; the node translates the service's address,
/// and masquerades what it sends itself.
struct Node {
    bench: Bench,
    c: String,
}

impl Node {
    fn new() -> Node {
        let bench = Bench::new();
        let (a, b, c) = (bench.a.clone(), bench.b.clone(), bench.a.replace("-a", "-c"));
        run(&format!("ip netns add {c}"));
        let node = Node { bench, c };
        let c = &node.c;
        run(&format!("ip -n {b} link add v1 type veth peer name v0 netns {c}"));
        run(&format!("ip -n {b} addr add 10.77.1.1/24 dev v1 && ip -n {b} link set v1 up"));
        run(&format!("ip -n {c} addr add {C4}/24 dev v0 && ip -n {c} link set v0 up"));
        run(&format!("ip -n {c} route add default via 10.77.1.1 && ip -n {a} route add default via {B4}"));
        run(&format!("ip -n {b} route add 10.96.0.0/16 via {A4}"));
        run(&format!("ip netns exec {b} sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'"));
        let dnat = format!("ip daddr {SERVICE} tcp dport 80 dnat to {C4}:8080");
        run_with(
            &format!("ip netns exec {b} nft -f -"),
            &format!(
                "table ip nat {{
                   chain pre {{ type nat hook prerouting priority -100; {dnat}; }}
                   chain out {{ type nat hook output priority -100; {dnat}; }}
                   chain post {{ type nat hook postrouting priority 100; oifname \"v1\" ip saddr {B4} masquerade; }}
                 }}\n"
            ),
        );
        node
    }

    fn ask_the_service(&self, from: &str) {
        let listener = self.bench.within(&self.c, || TcpListener::bind(at(C4, 8080)).expect("listen"));
        talk(&listener, 5_000, 50_000, || {
            self.bench.within(from, || TcpStream::connect(at(SERVICE, 80)).expect("connect"))
        });
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.c]).status();
    }
}

#[test]
fn root_a_service_address_becomes_its_backend() {
    let node = Node::new();
    let bench = &node.bench;
    // Conntrack is read in the namespace that the source is opened in: the node's.
    let mut counting = bench.within(&bench.b, || bench.open(Settings::default()));
    node.ask_the_service(&bench.a);
    node.ask_the_service(&bench.b);
    counting.sweep();
    let service: Addr = ip(SERVICE).into();
    let backend: Addr = ip(C4).into();
    assert!(counting.records.iter().all(|r| (r.backend, r.backend_port) == (backend, 8080)), "{:?}", counting.records);
    for client in [A4, B4] {
        let records = counting.of(client, protocol::TCP);
        assert!(records.iter().all(|r| r.ends == Ends::Originator && r.key.dst == service && r.key.dport == 80));
        // The server's records name the client, not the address that it was masqueraded with.
        let client: Addr = ip(client).into();
        let served = counting.records.iter().filter(|r| r.ends == Ends::Responder && r.key.src == client);
        let (mut to_server, mut to_client) = (Counts::ZERO, Counts::ZERO);
        for record in served {
            to_server += record.traffic.orig;
            to_client += record.traffic.reply;
        }
        let sent: Traffic = records.iter().fold(Traffic::ZERO, |sum, r| sum + r.traffic);
        assert_eq!((sent.orig.bytes, sent.reply.bytes), (to_server.bytes, to_client.bytes));
        assert!(sent.orig.bytes > 5_000 && sent.reply.bytes > 50_000);
    }
}

/// Rule 15: what a node forwards ends in no socket of its own; the ends' sockets count it, the node does not.
#[test]
fn root_forwarded_traffic_counts_at_its_ends_alone() {
    let node = Node::new();
    let bench = &node.bench;
    let mut counting = bench.open(Settings::default());
    node.ask_the_service(&bench.a);
    counting.sweep();
    let [a, c] = [A4, C4].map(|end| counting.sum(end, protocol::TCP));
    assert_eq!((a.tx.bytes, a.rx.bytes), (c.rx.bytes, c.tx.bytes));
    assert_eq!(a, bench.truth(&bench.a, 4, "tcp"));
    let ends: [Addr; 2] = [ip(A4).into(), ip(C4).into()];
    assert!(counting.records.iter().all(|r| ends.contains(&counting.local(r))), "{:?}", counting.records);
}

/// Rule 15: a kernel's tunnel socket sends packets that belong to the sockets within, so they count once, as those.
#[test]
fn root_a_kernel_tunnel_is_not_counted_beside_its_content() {
    let bench = Bench::new();
    for (ns, far, inner) in [(&bench.a, B4, "10.79.0.1"), (&bench.b, A4, "10.79.0.2")] {
        run(&format!("ip -n {ns} link add vx type vxlan id 7 remote {far} dstport 4789 dev v0"));
        run(&format!("ip -n {ns} addr add {inner}/24 dev vx && ip -n {ns} link set vx up"));
    }
    let mut counting = bench.open(Settings::default());
    let server = bench.within(&bench.b, || UdpSocket::bind(at("10.79.0.2", 7100)).expect("bind"));
    let client = bench.within(&bench.a, || UdpSocket::bind(at("10.79.0.1", 0)).expect("bind"));
    for _ in 0..10 {
        client.send_to(&[1; 500], at("10.79.0.2", 7100)).expect("send");
        server.recv(&mut [0; 600]).expect("receive");
    }
    counting.sweep();
    assert_eq!(counting.sum("10.79.0.1", protocol::UDP).tx, Counts { bytes: 5280, packets: 10 });
    assert_eq!(counting.sum("10.79.0.2", protocol::UDP).rx, Counts { bytes: 5280, packets: 10 });
    assert_eq!((counting.sum(A4, protocol::UDP), counting.sum(B4, protocol::UDP)), (TxRx::ZERO, TxRx::ZERO));
    // What nft counts is both.
    let both = bench.truth(&bench.a, 4, "udp").tx;
    assert!(both.packets >= 20, "{both:?}: nothing went through the tunnel");
}

/// Rule 15: the kernel answers an echo request without a socket of the pod's.
#[test]
fn root_an_echo_reply_is_not_counted_where_no_socket_sends_it() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    run(&format!("ip netns exec {} ping -qc 3 -i 0.2 {B4}", bench.a));
    counting.sweep();
    let asker = counting.sum(A4, protocol::ICMP);
    assert_eq!((asker.tx.packets, asker.rx.packets, asker.tx.bytes), (3, 3, 3 * 84));
    assert!(counting.of(A4, protocol::ICMP).iter().all(|r| r.ends == Ends::Originator && r.backend_port == 0));
    // Before 5.18 each namespace had answering sockets of its own, which belong to the cgroup that made the namespace: here
    // the test's, in a cluster the container runtime's.
    let answers = counting.sum(B4, protocol::ICMP);
    let of_the_maker = TxRx { tx: Counts { bytes: 3 * 84, packets: 3 }, rx: Counts::ZERO };
    assert!(answers.is_zero() || (kernel_is_before((5, 18)) && answers == of_the_maker), "{answers:?}");
}

/// Rule 15: a UDP packet of many segments, from a sender on this node, reaches a socket that did not ask for such as its
/// segments, each with headers of its own; conntrack saw one packet.
#[test]
fn root_udp_segments_count_as_their_socket_takes_them() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    let server = bench.within(&bench.b, || UdpSocket::bind(at(B4, 7110)).expect("bind"));
    let client = bench.within(&bench.a, || UdpSocket::bind(at(A4, 0)).expect("bind"));
    setsockopt(&client, UdpGsoSegment, &1000).expect("UDP_SEGMENT");
    client.send_to(&[1; 10_000], at(B4, 7110)).expect("send");
    for _ in 0..10 {
        assert_eq!(server.recv(&mut [0; 2000]).expect("receive"), 1000);
    }
    counting.sweep();
    let sent = counting.sum(A4, protocol::UDP).tx;
    assert_eq!((sent, sent), (bench.truth(&bench.a, 4, "udp").tx, Counts { bytes: 10_028, packets: 1 }));
    assert_eq!(counting.sum(B4, protocol::UDP).rx, Counts { bytes: 10_280, packets: 10 });
    // Before 5.18 the veth pair did not carry such packets whole, so that nft saw the segments, too.
    let truth = bench.truth(&bench.b, 4, "udp").rx;
    let segments = Counts { bytes: 10_280, packets: 10 };
    assert!(truth == sent || (kernel_is_before((5, 18)) && truth == segments), "{truth:?}");
}

// ---- odd packets -------------------------------------------------------------------------------------------------

/// The Internet checksum's running sum (RFC 1071).
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            sum += u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]) as u32;
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// A UDP datagram with its checksum.
fn datagram(src: &str, dst: &str, sport: u16, dport: u16, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let mut out = Vec::new();
    for field in [sport, dport, length, 0] {
        out.extend(field.to_be_bytes());
    }
    out.extend(payload);
    let octets = |text: &str| match ip(text) {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let pseudo = [0, protocol::UDP];
    let sum = checksum(&[&octets(src), &octets(dst), &pseudo, &length.to_be_bytes(), &out]);
    out[6..8].copy_from_slice(&sum.to_be_bytes());
    out
}

fn ipv4(protocol: u8, options: &[u8], fragment: u16, id: u16, payload: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let mut out = vec![0x40 | (header / 4) as u8, 0];
    out.extend(((header + payload.len()) as u16).to_be_bytes());
    out.extend(id.to_be_bytes());
    out.extend(fragment.to_be_bytes());
    out.extend([64, protocol, 0, 0]);
    for address in [A4, B4] {
        let IpAddr::V4(v4) = ip(address) else { unreachable!("a literal") };
        out.extend(v4.octets());
    }
    out.extend(options);
    let sum = checksum(&[&out]);
    out[10..12].copy_from_slice(&sum.to_be_bytes());
    out.extend(payload);
    out
}

fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x60, 0, 0, 0];
    out.extend((payload.len() as u16).to_be_bytes());
    out.extend([next, 64]);
    for address in [A6, B6] {
        let IpAddr::V6(v6) = ip(address) else { unreachable!("a literal") };
        out.extend(v6.octets());
    }
    out.extend(payload);
    out
}

/// Sends whole packets from namespace `a`.
fn send_raw(bench: &Bench, packets: &[Vec<u8>]) {
    bench.within(&bench.a, || {
        for packet in packets {
            let family = if packet[0] >> 4 == 4 { AddressFamily::Inet } else { AddressFamily::Inet6 };
            let raw = socket(family, SockType::Raw, SockFlag::empty(), SockProtocol::Raw).expect("a raw socket");
            let sent = if family == AddressFamily::Inet {
                let to: std::net::SocketAddrV4 = format!("{B4}:0").parse().expect("an address");
                sendto(raw.as_raw_fd(), packet, &SockaddrIn::from(to), MsgFlags::empty())
            } else {
                let to: std::net::SocketAddrV6 = format!("[{B6}]:0").parse().expect("an address");
                sendto(raw.as_raw_fd(), packet, &SockaddrIn6::from(to), MsgFlags::empty())
            };
            assert_eq!(sent, Ok(packet.len()));
        }
    });
}

#[test]
fn root_ip_options_and_extension_headers_are_passed_over() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    let servers = bench.within(&bench.b, || [B4, B6].map(|address| UdpSocket::bind(at(address, 7060)).expect("bind")));
    let udp4 = datagram(A4, B4, 6060, 7060, &[5; 64]);
    let udp6 = datagram(A6, B6, 6060, 7060, &[5; 64]);
    // Four no-operations; and a hop-by-hop and a destination header with padding (RFC 8200 4.3, 4.6).
    let four = ipv4(protocol::UDP, &[1, 1, 1, 1], 0, 1, &udp4);
    let hop_then_destination = [&[60, 0, 1, 4, 0, 0, 0, 0], &[17, 0, 1, 4, 0, 0, 0, 0], &udp6[..]].concat();
    let six = ipv6(0, &hop_then_destination);
    let lengths = [four.len() as u64, six.len() as u64];
    send_raw(&bench, &[four, six]);
    for server in &servers {
        assert_eq!(server.recv(&mut [0; 200]).expect("receive"), 64);
    }
    counting.sweep();
    for ((a, b), length) in [(A4, B4), (A6, B6)].into_iter().zip(lengths) {
        let one = Counts { bytes: length, packets: 1 };
        assert_eq!(counting.sum(a, protocol::UDP).tx, one);
        assert_eq!(counting.sum(b, protocol::UDP).rx, one);
        for local in [a, b] {
            let records = counting.of(local, protocol::UDP);
            assert_eq!(records.len(), 1);
            let ports = [records[0].key.sport, records[0].key.dport];
            assert!(ports.contains(&6060) && ports.contains(&7060), "{local}: {ports:?}");
        }
    }
}

#[test]
fn root_fragments_count_as_their_socket_sends_and_receives_them() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    let servers = bench.within(&bench.b, || [B4, B6].map(|address| UdpSocket::bind(at(address, 7070)).expect("bind")));
    let udp4 = datagram(A4, B4, 60700, 7070, &[5; 120]);
    let udp6 = datagram(A6, B6, 60700, 7070, &[5; 120]);
    let (first4, rest4) = udp4.split_at(64);
    let (first6, rest6) = udp6.split_at(64);
    let fragment6 = |offset_and_more: u16, part: &[u8]| {
        let mut payload = vec![17, 0];
        payload.extend(offset_and_more.to_be_bytes());
        payload.extend([0, 0, 0, 9]);
        payload.extend(part);
        ipv6(44, &payload)
    };
    send_raw(
        &bench,
        &[
            ipv4(protocol::UDP, &[], 0x2000, 9, first4),
            ipv4(protocol::UDP, &[], 64 / 8, 9, rest4),
            fragment6(1, first6),
            fragment6(64, rest6),
        ],
    );
    for server in &servers {
        assert_eq!(server.recv(&mut [0; 200]).expect("receive"), 120);
    }
    counting.sweep();
    // The sender's raw socket sent two packets; the receiver's got one.
    assert_eq!(counting.sum(A4, protocol::UDP).tx, Counts { bytes: 20 * 2 + 128, packets: 2 });
    assert_eq!(counting.sum(B4, protocol::UDP).rx, Counts { bytes: 20 + 128, packets: 1 });
    assert_eq!(counting.sum(A6, protocol::UDP).tx, Counts { bytes: 48 * 2 + 128, packets: 2 });
    assert_eq!(counting.sum(B6, protocol::UDP).rx.packets, 1);
    for local in [A4, A6] {
        let mut ports: Vec<u16> = counting.of(local, protocol::UDP).iter().map(|r| r.key.sport).collect();
        ports.sort_unstable();
        assert_eq!(ports, [0, 60700], "the later fragment has no ports");
    }
}

#[test]
fn root_sctp_counts_with_ports_and_role() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    // From a raw socket, for this kernel may lack SCTP: source and destination port, tag, checksum, chunk. The server's
    // port is the higher one, so that guessing from the ports would fail.
    let chunk = |sport: u16, dport: u16, kind: u8| {
        let mut packet = Vec::new();
        packet.extend(sport.to_be_bytes());
        packet.extend(dport.to_be_bytes());
        packet.extend([0; 8]);
        packet.extend([kind, 0, 0, 20]);
        packet.extend([0; 16]);
        packet
    };
    let packets = [
        ipv4(protocol::SCTP, &[], 0, 1, &chunk(3000, 4000, 1)),
        ipv4(protocol::SCTP, &[], 0, 2, &chunk(3001, 4001, 2)),
        ipv6(protocol::SCTP, &chunk(3002, 4002, 1)),
    ];
    send_raw(&bench, &packets);
    counting.sweep();
    for (family, local) in [(4, A4), (6, A6)] {
        let truth = bench.truth(&bench.a, family, "sctp");
        assert_eq!(counting.sum(local, protocol::SCTP).tx, truth.tx);
        assert!(!truth.tx.is_zero());
    }
    let ends: HashMap<u16, Ends> = counting.records.iter().map(|r| (r.key.sport.min(r.key.dport), r.ends)).collect();
    assert_eq!((ends[&3000], ends[&3001], ends[&3002]), (Ends::Originator, Ends::Responder, Ends::Originator));
}

#[test]
fn root_a_raw_sockets_copy_is_not_counted_again() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    let server = bench.within(&bench.b, || UdpSocket::bind(at(B4, 7080)).expect("bind"));
    let _sniffers = bench.within(&bench.b, || {
        [0; 2].map(|_| {
            socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Udp).expect("a raw socket")
        })
    });
    let client = bench.within(&bench.a, || UdpSocket::bind(at(A4, 0)).expect("bind"));
    for _ in 0..10 {
        client.send_to(&[1; 100], at(B4, 7080)).expect("send");
        server.recv(&mut [0; 200]).expect("receive");
    }
    counting.sweep();
    assert_same_one_way(&counting, &bench);
    assert_eq!(counting.total.skipped.0[Skip::RawCopy as usize], 20);
}

#[test]
fn root_errors_about_traffic_are_not_traffic() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    let echo = |kind: u8| {
        let mut message = vec![kind, 0, 0, 0, 0, 1, 0, 1];
        let sum = checksum(&[&message]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        ipv4(protocol::ICMP, &[], 0, 1, &message)
    };
    // An echo request is a conversation of its own; "destination unreachable" speaks about another one.
    send_raw(&bench, &[echo(8), echo(3)]);
    counting.sweep();
    assert_eq!(counting.sum(A4, protocol::ICMP).tx, Counts { bytes: 28, packets: 1 });
    assert!(counting.records.iter().all(|r| r.key.protocol == protocol::ICMP), "{:?}", counting.records);
    // And perhaps multicast listener reports, from the sockets that the kernel made with the namespaces.
    assert!(counting.total.skipped.0[Skip::IcmpError as usize] >= 1);
}

/// Rule 15: segments that meet no socket, or that the kernel sends from none, are not counted: at most 4 packets and
/// 160 bytes per connection and end, and never more than passed.
#[test]
fn root_socketless_tcp_segments_are_few() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    const CONNECTIONS: u64 = 12;
    let pause = || clock::sleep_ns(60 * clock::MS);
    for n in 0..CONNECTIONS {
        let listener = bench.within(&bench.b, || TcpListener::bind(at(B4, 7090)).expect("listen"));
        let mut client = bench.within(&bench.a, || TcpStream::connect(at(B4, 7090)).expect("connect"));
        let (mut server, _) = listener.accept().expect("accept");
        client.write_all(&[1; 1000]).expect("write");
        server.read_exact(&mut [0; 1000]).expect("read");
        drop(client);
        // Until the client's FIN is acknowledged; then a TIME_WAIT bucket stands where its socket was.
        pause();
        if n % 2 == 0 {
            // Data for a client that is gone: answered by a reset that no socket sends.
            server.write_all(&[2; 100]).expect("write");
            pause();
            let _ = server.write_all(&[2; 100]);
        }
    }
    clock::sleep_ns(50 * clock::MS);
    counting.sweep();
    for (ns, local) in [(&bench.a, A4), (&bench.b, B4)] {
        let truth = bench.truth(ns, 4, "tcp");
        let seen = counting.sum(local, protocol::TCP);
        for (truth, seen) in [(truth.tx, seen.tx), (truth.rx, seen.rx)] {
            let missing = truth - seen;
            assert!(seen.bytes <= truth.bytes && seen.packets <= truth.packets, "{local}: {seen:?} of {truth:?}");
            assert!(missing.packets <= 4 * CONNECTIONS, "{local}: {missing:?}");
        }
        let missing = (truth.tx - seen.tx) + (truth.rx - seen.rx);
        println!("{local}: {missing:?} of {CONNECTIONS} connections missing");
        assert!(missing.bytes <= 160 * CONNECTIONS, "{local}: {missing:?}");
        assert!(local == B4 || !missing.is_zero(), "no segment was socketless: the test proves nothing");
    }
}

// ---- bounds ------------------------------------------------------------------------------------------------------

#[test]
fn root_what_finds_no_slot_is_counted_to_the_byte() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings { slots_v4: 64, slots_v6: 32, ..Settings::default() });
    let (client4, client6) = bench
        .within(&bench.a, || (UdpSocket::bind(at(A4, 0)).expect("bind"), UdpSocket::bind(at(A6, 0)).expect("bind")));
    let server = bench.within(&bench.b, || UdpSocket::bind(at(B4, 9999)).expect("bind"));
    for port in 1..=1000 {
        client4.send_to(&[1; 100], at(B4, port)).expect("send");
        client6.send_to(&[1; 50], at(B6, port)).expect("send");
    }
    // And received: many clients of one server.
    let clients =
        bench.within(&bench.a, || (0..200).map(|_| UdpSocket::bind(at(A4, 0)).expect("bind")).collect::<Vec<_>>());
    for client in &clients {
        client.send_to(&[1; 300], at(B4, 9999)).expect("send");
        server.recv(&mut [0; 400]).expect("receive");
    }
    counting.sweep();
    let tx = bench.truth(&bench.a, 4, "udp").tx.bytes + bench.truth(&bench.a, 6, "udp").tx.bytes;
    let rows = counting.sum(A4, protocol::UDP).tx.bytes + counting.sum(A6, protocol::UDP).tx.bytes;
    assert_eq!(rows + counting.total.lost_tx_bytes, tx);
    assert_eq!(counting.records.len(), 64 + 32);
    // Only the server's socket takes what arrives; what meets no socket is in no row.
    assert_eq!(counting.sum(B4, protocol::UDP).rx.bytes + counting.total.lost_rx_bytes, 200 * 328);
    assert!(counting.total.lost_rx_bytes > 0 && counting.total.lost_tx_bytes > 0);
}

/// Whether the source says that a drain is due.
#[allow(unsafe_code)]
fn is_due(source: &Ebpf) -> bool {
    // SAFETY: the descriptor belongs to `source`, which outlives the borrow.
    let fd = unsafe { BorrowedFd::borrow_raw(source.poll_fds()[0]) };
    poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], PollTimeout::ZERO).expect("poll") == 1
}

#[test]
fn root_a_filling_buffer_asks_to_be_drained() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings { slots_v4: 256, ..Settings::default() });
    let client = bench.within(&bench.a, || UdpSocket::bind(at(A4, 0)).expect("bind"));
    for round in 0..4u16 {
        for n in 0..200 {
            assert_eq!(is_due(&counting.source), n >= 192, "at three quarters, in round {round} after {n}");
            client.send_to(&[1; 100], at(B4, 1 + round * 200 + n)).expect("send");
        }
        counting.drain();
    }
    assert!(!is_due(&counting.source));
    assert_eq!(counting.total.lost_tx_bytes, 0);
    assert_eq!(counting.sum(A4, protocol::UDP).tx, bench.truth(&bench.a, 4, "udp").tx);
}

/// 40,000 new flows per second against small buffers, drained when the source asks for it: whatever was too fast is in
/// the loss, and rows and loss together are what nft counted.
#[test]
fn root_churn_is_rows_or_loss() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings { slots_v4: 16_384, ..Settings::default() });
    run_with(
        &format!("ip netns exec {} nft -f -", bench.b),
        "table inet d { chain p { type filter hook prerouting priority 0; meta l4proto udp drop; }; }",
    );
    const PER_SECOND: u64 = 40_000;
    const SECONDS: u64 = 3;
    let done = AtomicBool::new(false);
    let mut drains = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let began = clock::now().mono_ns;
            for burst in 0..SECONDS * 100 {
                let socket = bench.within(&bench.a, || UdpSocket::bind(at(A4, 0)).expect("bind"));
                for n in 0..PER_SECOND / 100 {
                    socket.send_to(&[1; 64], at(B4, 1 + n as u16)).expect("send");
                }
                let due = began + (burst + 1) * 10 * clock::MS;
                clock::sleep_ns(due.saturating_sub(clock::now().mono_ns));
            }
            done.store(true, Relaxed);
        });
        while !done.load(Relaxed) {
            if is_due(&counting.source) {
                counting.drain();
                drains += 1;
            }
            clock::sleep_ns(clock::MS);
        }
    });
    counting.sweep();
    let truth = bench.truth(&bench.a, 4, "udp").tx;
    let rows = counting.sum(A4, protocol::UDP).tx;
    assert_eq!(rows.bytes + counting.total.lost_tx_bytes, truth.bytes);
    assert_eq!(truth.packets, PER_SECOND * SECONDS);
    assert!(drains > 3, "{drains} drains");
    println!("{drains} drains, {} of {} bytes found no slot", counting.total.lost_tx_bytes, truth.bytes);
}

#[test]
fn root_a_sweep_allocates_nothing_once_warm() {
    let bench = Bench::new();
    let mut source = bench.open(Settings::default()).source;
    let clients = bench.within(&bench.a, || [A4, A6].map(|local| UdpSocket::bind(at(local, 0)).expect("bind")));
    let mut seen = [0, 0, 0];
    let mut allocated = [0, 0, 0];
    for round in 0..3 {
        for port in 1..=1000 {
            clients[0].send_to(&[1; 64], at(B4, port)).expect("send");
            clients[1].send_to(&[1; 64], at(B6, port)).expect("send");
        }
        let before = allocations();
        let sweep = source.sweep(now(round as u64), &mut |_| ()).expect("sweep");
        allocated[round] = allocations() - before;
        seen[round] = sweep.seen;
    }
    assert_eq!(seen, [2000; 3]);
    assert_eq!(allocated[2], 0, "{allocated:?}");
}

#[test]
fn root_65k_flows_in_a_second_are_all_counted() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    let client = bench.within(&bench.a, || UdpSocket::bind(at(A4, 0)).expect("bind"));
    // They are not to be answered.
    run_with(
        &format!("ip netns exec {} nft -f -", bench.b),
        "table inet d { chain p { type filter hook prerouting priority 0; meta l4proto udp drop; }; }",
    );
    let began = clock::now().mono_ns;
    for port in 1..=65_000 {
        client.send_to(&[1; 64], at(B4, port)).expect("send");
    }
    let took_ns = clock::now().mono_ns - began;
    counting.sweep();
    assert_eq!(counting.sum(A4, protocol::UDP).tx, bench.truth(&bench.a, 4, "udp").tx);
    assert_eq!(counting.records.len(), 65_000);
    assert_eq!(counting.total.lost_tx_bytes, 0);
    println!("65,000 flows in {} ms", took_ns / clock::MS);
}

#[test]
fn root_swapping_under_load_loses_nothing() {
    let bench = Bench::new();
    let mut counting = bench.open(Settings::default());
    let stop = AtomicBool::new(false);
    let (a, b) = bench
        .within(&bench.a, || (UdpSocket::bind(at(A4, 0)).expect("bind"), UdpSocket::bind(at(A6, 0)).expect("bind")));
    let mut swaps = 0;
    std::thread::scope(|scope| {
        for (socket, to) in [(&a, B4), (&b, B6)] {
            let stop = &stop;
            scope.spawn(move || {
                let mut port = 0u16;
                while !stop.load(Relaxed) {
                    port = port % 16 + 1;
                    socket.send_to(&[1; 64], at(to, port)).expect("send");
                }
            });
        }
        let began = clock::now().mono_ns;
        while clock::now().mono_ns - began < 2 * SECOND {
            counting.sweep();
            swaps += 1;
        }
        stop.store(true, Relaxed);
    });
    counting.sweep();
    assert_eq!(counting.sum(A4, protocol::UDP).tx, bench.truth(&bench.a, 4, "udp").tx);
    assert_eq!(counting.sum(A6, protocol::UDP).tx, bench.truth(&bench.a, 6, "udp").tx);
    assert_eq!((counting.total.lost_tx_bytes, counting.total.lost_rx_bytes), (0, 0));
    println!("{swaps} swaps under {} packets", counting.sum(A4, protocol::UDP).tx.packets);
}
