//! The netfilter source against the real kernel, in network namespaces of the test's own. Needs root.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use netmon::baseline::{BaselineTable, Judged};
use netmon::clock;
use netmon::flow::{Connection, Reading, protocol};
use netmon::source::netfilter::{Netfilter, Options};
use netmon::source::recorder::Recorder;
use netmon::source::replay::Replay;
use netmon::source::{Source, SourceError, Sweep};
use netmon::stats::Skip;
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, unshare};
use nix::unistd::Pid;

/// Runs in a network namespace of its own, joined to a second one by a veth pair: 10.9.0.1 here, 10.9.0.2 there.
/// Conntrack looks at what crosses it.
fn in_namespace<T: Send>(body: impl FnOnce(&str) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root, to make a network namespace");
            let peer = format!("nm-nf-{}-{:?}", std::process::id(), std::thread::current().id())
                .replace(['(', ')'], "")
                .replace("ThreadId", "t");
            let _guard = Namespace::make(&peer);
            for line in [
                "ip link set lo up".to_owned(),
                format!("ip link add veth0 type veth peer name veth1 netns {peer}"),
                "ip addr add 10.9.0.1/24 dev veth0".to_owned(),
                "ip -6 addr add fd09::1/64 dev veth0 nodad".to_owned(),
                "ip link set veth0 up".to_owned(),
                format!("ip -n {peer} addr add 10.9.0.2/24 dev veth1"),
                format!("ip -n {peer} -6 addr add fd09::2/64 dev veth1 nodad"),
                format!("ip -n {peer} link set veth1 up"),
                format!("ip -n {peer} link set lo up"),
            ] {
                sh(&line);
            }
            body(&peer)
        });
        run.join().expect("the test's thread")
    })
}

struct Namespace(String);

impl Namespace {
    fn make(name: &str) -> Namespace {
        sh(&format!("ip netns add {name}"));
        Namespace(name.to_owned())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn sh(line: &str) {
    let mut words = line.split_whitespace();
    let status = Command::new(words.next().expect("a command")).args(words).status().expect("it can be started");
    assert!(status.success(), "{line}: {status}");
}

/// Deletes what is tracked of TCP, and returns what the source is told of it. The command's dump may miss the entry, or show
/// it twice and fail, while a neighbouring test resizes the table, which is the machine's own; so the event is awaited.
fn deleted(source: &mut Netfilter) -> Vec<Connection> {
    let mut ended = Vec::new();
    for _ in 0..20 {
        let _ = Command::new("conntrack").args(["-D", "-p", "tcp"]).output().expect("conntrack can be started");
        source.drain(clock::now(), &mut |c| ended.push(*c)).expect("events");
        if !ended.is_empty() {
            return ended;
        }
        clock::sleep_ns(100 * clock::MS);
    }
    panic!("no end is told");
}

/// Opens a server in the peer namespace; sockets stay in the namespace in which they were made.
fn there<T: Send>(peer: &str, open: impl FnOnce() -> T + Send) -> T {
    let path = format!("/run/netns/{peer}");
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            let file = std::fs::File::open(path).expect("the namespace");
            nix::sched::setns(file, CloneFlags::CLONE_NEWNET).expect("root, to enter it");
            open()
        });
        run.join().expect("the thread there")
    })
}

const STANDALONE: Options = Options { manage_conntrack: true, standalone: true };

fn open() -> Netfilter {
    let mut source = Netfilter::open(STANDALONE, Recorder::off()).expect("root, and conntrack");
    assert_eq!(source.upkeep(clock::now()).degraded, "");
    source
}

fn sweep(source: &mut Netfilter) -> (Sweep, Vec<Connection>) {
    let mut seen = Vec::new();
    let sweep = source.sweep(clock::now(), &mut |c| seen.push(*c)).expect("a dump");
    (sweep, seen)
}

/// A sweep that no resize by another test has voided.
fn whole_sweep(source: &mut Netfilter) -> Vec<Connection> {
    for _ in 0..5 {
        let (sweep, seen) = sweep(source);
        if sweep.complete {
            return seen;
        }
    }
    panic!("no sweep is complete");
}

#[test]
fn root_both_families_in_one_sweep_with_exact_counters() {
    in_namespace(|peer| {
        let mut source = open();
        let (v4, v6) = there(peer, || {
            (UdpSocket::bind("10.9.0.2:5353").expect("bind"), UdpSocket::bind("[fd09::2]:5353").expect("bind"))
        });
        for (local, remote, server) in [("10.9.0.1:0", "10.9.0.2:5353", &v4), ("[fd09::1]:0", "[fd09::2]:5353", &v6)] {
            let client = UdpSocket::bind(local).expect("bind");
            client.send_to(&[0; 100], remote).expect("send");
            let (_, from) = server.recv_from(&mut [0; 200]).expect("receive");
            server.send_to(&[0; 1_000], from).expect("answer");
            client.recv_from(&mut [0; 2_000]).expect("receive");
        }
        let seen = whole_sweep(&mut source);
        let udp = |family| {
            let c = seen.iter().find(|c| c.key.family == family && c.key.protocol == protocol::UDP).expect("seen");
            (c.traffic.orig.bytes, c.traffic.orig.packets, c.traffic.reply.bytes, c.traffic.reply.packets)
        };
        assert_eq!(udp(4), (100 + 28, 1, 1_000 + 28, 1));
        assert_eq!(udp(6), (100 + 48, 1, 1_000 + 48, 1));
    });
}

#[test]
fn root_an_end_is_told_with_its_final_counters() {
    in_namespace(|peer| {
        let mut source = open();
        let server = there(peer, || TcpListener::bind("10.9.0.2:80").expect("bind"));
        drop(TcpStream::connect("10.9.0.2:80").expect("connect"));
        drop(server.accept().expect("accept"));
        let ended = deleted(&mut source);
        assert_eq!(ended.len(), 1, "{ended:?}");
        assert!(ended[0].reading.is_end());
        assert!(ended[0].traffic.orig.packets >= 3 && ended[0].traffic.reply.packets >= 2);
    });
}

#[test]
fn root_f31_a_connection_cut_off_and_picked_up_in_its_midst_is_told() {
    in_namespace(|peer| {
        let mut source = open();
        let server = there(peer, || TcpListener::bind("10.9.0.2:80").expect("bind"));
        let mut client = TcpStream::connect("10.9.0.2:80").expect("connect");
        let (mut answering, _) = server.accept().expect("accept");
        let ended = deleted(&mut source);
        assert_eq!((ended.len(), ended[0].reading, ended[0].key.dport), (1, Reading::CutOff, 80));
        answering.write_all(b"first").expect("send");
        client.read_exact(&mut [0; 5]).expect("receive");
        let seen: Vec<Connection> = whole_sweep(&mut source).into_iter().filter(|c| c.key.sport == 80).collect();
        assert_eq!(seen.len(), 1, "the server is taken for the originator: {seen:?}");
        assert_eq!(seen[0].reading, Reading::PickedUp);
    });
}

/// The sum of a number that `conntrack -S` tells for each CPU.
fn statistic(name: &str) -> u64 {
    let told = Command::new("conntrack").arg("-S").output().expect("conntrack");
    let text = String::from_utf8_lossy(&told.stdout).into_owned();
    let numbers = text.split_whitespace().filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    numbers.filter_map(|number| number.parse::<u64>().ok()).sum()
}

/// Two threads, each on a processor of its own, send a datagram each from one socket at the same moment, for many sockets.
fn race(sockets: &[UdpSocket]) {
    let arrived = AtomicUsize::new(0);
    let send_all = |processor| {
        let mut own = CpuSet::new();
        own.set(processor).expect("a processor");
        sched_setaffinity(Pid::from_raw(0), &own).expect("stay on one processor");
        for (n, socket) in sockets.iter().enumerate() {
            arrived.fetch_add(1, Ordering::SeqCst);
            let mut spins = 0;
            while arrived.load(Ordering::SeqCst) < 2 * (n + 1) {
                spins += 1;
                if spins > 10_000 {
                    std::thread::yield_now();
                }
            }
            let _ = socket.send(&[0; 100]);
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| send_all(0));
        scope.spawn(|| send_all(1));
    });
}

#[test]
fn root_f30_two_entries_of_one_tuple_count_once_each() {
    in_namespace(|peer| {
        let mut source = open();
        for n in 3..6 {
            sh(&format!("ip -n {peer} addr add 10.9.0.{n}/24 dev veth1"));
        }
        sh("ip route add 10.96.0.0/16 via 10.9.0.2");
        sh("nft add table ip lb");
        sh("nft add chain ip lb out { type nat hook output priority -100 ; }");
        sh("nft add rule ip lb out ip daddr 10.96.0.10 udp dport 53 dnat to numgen random mod 4 map \
            { 0 : 10.9.0.2 , 1 : 10.9.0.3 , 2 : 10.9.0.4 , 3 : 10.9.0.5 }");
        sh(&format!("ip netns exec {peer} nft add table ip truth"));
        sh(&format!("ip netns exec {peer} nft add chain ip truth in {{ type filter hook input priority 0 ; }}"));
        sh(&format!("ip netns exec {peer} nft add rule ip truth in udp dport 53 counter"));
        // Nobody reads; what finds no room is dropped behind the counter.
        let _server = there(peer, || UdpSocket::bind("0.0.0.0:53").expect("bind"));
        let mut table = BaselineTable::with_capacity(65_536, 1);
        let mut counted = 0;
        let mut judge = |table: &mut BaselineTable, c: &Connection| {
            let judged = if c.reading.is_end() { table.ended(c) } else { table.live(c) };
            if let (Judged::Increment(traffic), 53) = (judged, c.key.dport) {
                counted += traffic.orig.bytes;
            }
        };
        let mut sweep_all = |source: &mut Netfilter, table: &mut BaselineTable| {
            table.begin_sweep();
            let sweep = source.sweep(clock::now(), &mut |c| judge(table, c)).expect("a dump");
            table.end_sweep(sweep.complete);
            sweep.complete
        };
        while !sweep_all(&mut source, &mut table) {}
        for _ in 0..300 {
            let sockets: Vec<UdpSocket> = (0..200)
                .map(|_| {
                    let socket = UdpSocket::bind("10.9.0.1:0").expect("bind");
                    socket.connect("10.96.0.10:53").expect("connect");
                    socket
                })
                .collect();
            race(&sockets);
            if statistic("clash_resolve") >= 10 {
                break;
            }
        }
        assert!(statistic("clash_resolve") > 0, "no packets raced");
        // The winners are followed; then the losers, whose time is a second, end beside them.
        sweep_all(&mut source, &mut table);
        for _ in 0..3 {
            clock::sleep_ns(clock::SECOND);
            sweep_all(&mut source, &mut table);
        }
        sh("conntrack -F");
        sweep_all(&mut source, &mut table);
        sweep_all(&mut source, &mut table);
        let listed = Command::new("ip")
            .args(["netns", "exec", peer, "nft", "list", "chain", "ip", "truth", "in"])
            .output()
            .expect("nft");
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let truth = text.split_whitespace().skip_while(|word| *word != "bytes").nth(1).and_then(|n| n.parse().ok());
        assert_eq!(Some(counted), truth);
    });
}

#[test]
fn root_an_entry_made_before_accounting_is_left_out_and_named() {
    in_namespace(|peer| {
        sh("sysctl -qw net.netfilter.nf_conntrack_acct=0");
        sh("nft add table inet t");
        sh("nft add chain inet t c");
        sh("nft add rule inet t c ct state new");
        let server = there(peer, || UdpSocket::bind("10.9.0.2:53").expect("bind"));
        UdpSocket::bind("10.9.0.1:0").expect("bind").send_to(&[0; 9], "10.9.0.2:53").expect("send");
        server.recv_from(&mut [0; 20]).expect("receive");
        let (sweep, seen) = sweep(&mut open());
        assert!(seen.is_empty(), "{seen:?}");
        assert_eq!(sweep.skipped.0[Skip::NoCounters as usize], 1);
    });
}

#[test]
fn root_tracking_goes_with_the_process_that_holds_it() {
    in_namespace(|_| {
        let tables = || {
            let output = Command::new("nft").args(["list", "tables"]).output().expect("nft");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        assert_eq!(tables(), "");
        let source = open();
        assert!(tables().contains("zxporter-netmon-"), "{}", tables());
        drop(source);
        assert_eq!(tables(), "", "an owned table goes with its socket");
    });
}

#[test]
fn root_an_event_queue_that_overflows_asks_for_a_sweep() {
    in_namespace(|peer| {
        let mut source = Netfilter::open_with_queue(STANDALONE, Recorder::off(), 2_304).expect("root, and conntrack");
        source.upkeep(clock::now());
        let _server = there(peer, || UdpSocket::bind("10.9.0.2:53").expect("bind"));
        for port in 20_000..20_500 {
            UdpSocket::bind(("10.9.0.1", port)).expect("bind").send_to(&[0; 9], "10.9.0.2:53").expect("send");
        }
        assert!(source.ends_are_told());
        sh("conntrack -F");
        let mut ended = 0u64;
        let drained = source.drain(clock::now(), &mut |_| ended += 1).expect("events");
        assert!(drained.overflows >= 1 && drained.sweep_soon, "{drained:?}");
        assert!(!source.ends_are_told());
        assert_eq!(ended + drained.events_lost, 500, "what was lost is counted: {drained:?}");
        whole_sweep(&mut source);
        assert!(source.ends_are_told(), "a complete sweep has made up for it");
    });
}

/// Writes `nf_conntrack_buckets`, which only the first network namespace may, and puts it back at the end.
struct Buckets(String);

const BUCKETS: &str = "/proc/sys/net/netfilter/nf_conntrack_buckets";

impl Buckets {
    fn note() -> Buckets {
        Buckets(fs::read_to_string(BUCKETS).expect("conntrack").trim().to_owned())
    }

    fn write(&self, value: &str) {
        std::thread::scope(|scope| {
            let run = scope.spawn(|| {
                // That of the main thread, which has never left it.
                let first = fs::File::open("/proc/self/ns/net").expect("root");
                nix::sched::setns(first, CloneFlags::CLONE_NEWNET).expect("root, to enter it");
                fs::write(BUCKETS, value)
            });
            run.join().expect("the thread there").expect("the first network namespace may");
        });
    }
}

impl Drop for Buckets {
    fn drop(&mut self) {
        self.write(&self.0);
    }
}

#[test]
fn root_a_resize_in_mid_dump_voids_it() {
    in_namespace(|peer| {
        let mut source = open();
        let _server = there(peer, || UdpSocket::bind("10.9.0.2:53").expect("bind"));
        for port in 20_000..20_300 {
            UdpSocket::bind(("10.9.0.1", port)).expect("bind").send_to(&[0; 9], "10.9.0.2:53").expect("send");
        }
        assert_eq!(whole_sweep(&mut source).len(), 300);
        let buckets = Buckets::note();
        let other = buckets.0.parse::<u64>().expect("a number") / 2;
        let mut resized = false;
        let voided = source.sweep(clock::now(), &mut |_| {
            if !std::mem::replace(&mut resized, true) {
                buckets.write(&other.to_string());
            }
        });
        assert!(resized);
        assert!(!voided.expect("it is read all the same").complete);
        drop(buckets);
        assert_eq!(whole_sweep(&mut source).len(), 300, "the next one is whole again");
    });
}

#[test]
fn root_what_is_recorded_plays_to_the_same_records() {
    in_namespace(|peer| {
        let path = std::env::temp_dir().join(format!("netmon-root-record-{}", std::process::id()));
        let recorder = Recorder::create(&path, clock::now()).expect("a file");
        let mut source = Netfilter::open(STANDALONE, recorder).expect("root, and conntrack");
        source.upkeep(clock::now());
        let _server = there(peer, || UdpSocket::bind("10.9.0.2:53").expect("bind"));
        let send = |from| {
            for port in from..from + 300 {
                UdpSocket::bind(("10.9.0.1", port)).expect("bind").send_to(&[0; 9], "10.9.0.2:53").expect("send");
            }
        };
        let (mut live, mut live_sweeps) = (Vec::new(), Vec::new());
        for round in 0..3u16 {
            send(20_000 + 1_000 * round);
            let now = clock::now();
            live_sweeps.push(source.sweep(now, &mut |c| live.push((now, *c))).expect("a dump"));
            sh("conntrack -F");
            let now = clock::now();
            live_sweeps.push(source.drain(now, &mut |c| live.push((now, *c))).expect("events"));
        }
        drop(source);
        assert!(live.len() >= 1_800, "{}", live.len());

        let mut replay = Replay::open(&path).expect("a recording");
        fs::remove_file(&path).expect("it was made");
        let (mut played, mut played_sweeps) = (Vec::new(), Vec::new());
        while let Some(upcoming) = replay.upcoming() {
            let mut each = |c: &Connection| played.push((upcoming.at, *c));
            played_sweeps.push(replay.play(&mut each).expect("a reading"));
        }
        assert!(matches!(replay.play(&mut |_| {}), Err(SourceError::Finished)));
        assert_eq!(played_sweeps, live_sweeps);
        assert!(played == live, "{} played, {} live", played.len(), live.len());
    });
}

/// The agent's binary where any user may run it.
struct Agent(PathBuf);

impl Agent {
    fn copy() -> Agent {
        static COPIES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COPIES.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("netmon-root-agent-{}-{number}", std::process::id()));
        fs::copy(env!("CARGO_BIN_EXE_zxporter-netmon"), &path).expect("a copy");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        Agent(path)
    }

    /// As user 65532 with these capabilities and no others, in this thread's network namespace, `/proc/sys` read-only.
    fn unprivileged(&self, capabilities: &str, arguments: &str) -> Command {
        let line = format!(
            "mount --bind /proc/sys /proc/sys && mount -o remount,bind,ro /proc/sys && exec setpriv --reuid 65532 \
             --regid 65532 --clear-groups --inh-caps=-all{capabilities} --ambient-caps=-all{capabilities} \
             --bounding-set=-all{capabilities} {} {arguments}",
            self.0.display()
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &line]);
        command
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn root_net_admin_alone_switches_accounting_on() {
    in_namespace(|_| {
        let accounting = || {
            let text = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_acct").expect("conntrack");
            text.trim() == "1"
        };
        sh("sysctl -qw net.netfilter.nf_conntrack_acct=0");
        assert!(!accounting());
        let agent = Agent::copy();
        let arguments = "-standalone -metrics-bind-address 127.0.0.1:18081";
        let mut command = agent.unprivileged(",+net_admin", arguments);
        let mut running = Running(command.stderr(Stdio::null()).spawn().expect("it can be started"));
        for _ in 0..100 {
            assert!(running.0.try_wait().expect("our child").is_none(), "it ended");
            if accounting() {
                return;
            }
            clock::sleep_ns(50 * clock::MS);
        }
        panic!("accounting is still off");
    });
}

#[test]
fn root_without_net_admin_the_start_says_so() {
    in_namespace(|_| {
        let agent = Agent::copy();
        let arguments = "-standalone -fallback none -metrics-bind-address 127.0.0.1:18081";
        let output = agent.unprivileged("", arguments).output().expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot join conntrack's DESTROY events: EPERM (CAP_NET_ADMIN missing?)"), "{said}");
    });
}
