//! The netfilter source against the real kernel, in network namespaces of the test's own. Needs root.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;

use netmon::clock;
use netmon::flow::{Connection, Reading, protocol};
use netmon::source::netfilter::{Netfilter, Options};
use netmon::source::replay::Recorder;
use netmon::source::{Skip, Source, Sweep};
use nix::sched::{CloneFlags, unshare};

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
        let (sweep, seen) = sweep(&mut source);
        assert!(sweep.complete);
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
        sh("sysctl -qw net.netfilter.nf_conntrack_tcp_timeout_time_wait=1");
        let server = there(peer, || TcpListener::bind("10.9.0.2:80").expect("bind"));
        drop(TcpStream::connect("10.9.0.2:80").expect("connect"));
        drop(server.accept().expect("accept"));
        sh("conntrack -D -p tcp");
        let mut ended = Vec::new();
        source.drain(clock::now(), &mut |c| ended.push(*c)).expect("events");
        assert_eq!(ended.len(), 1, "{ended:?}");
        assert_eq!(ended[0].reading, Reading::Ended);
        assert!(ended[0].traffic.orig.packets >= 3 && ended[0].traffic.reply.packets >= 2);
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
        assert!(sweep(&mut source).0.complete);
        assert!(source.ends_are_told(), "a complete sweep has made up for it");
    });
}
