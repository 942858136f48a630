//! What is counted: TCP, UDP, both families, whose sockets are whose.

use std::collections::HashMap;
use std::fs;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::process::Command;

use netmon::flow::{Counts, Ends, protocol};
use netmon::source::ebpf::Settings;
use netmon::stats::Skip;

use crate::bench::*;

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
