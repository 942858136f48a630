//! Bounds: full maps, draining in time, churn, allocations, swapping under load.

use std::net::UdpSocket;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use netmon::clock::{self, SECOND};
use netmon::flow::{Reading, protocol};
use netmon::source::auto::Auto;
use netmon::source::ebpf::{Ebpf, Settings};
use netmon::source::recorder::Recorder;
use netmon::source::{Source, netfilter};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::bench::*;
use crate::counting::allocations;

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
fn root_a_sweep_of_both_sources_is_one_dump_and_allocates_nothing_once_warm() {
    let bench = Bench::new();
    run_with(
        &format!("ip netns exec {} nft -f -", bench.a),
        "table inet t { chain c { type filter hook output priority 0; ct state new counter; }; }",
    );
    let (mut auto, client) = bench.within(&bench.a, || {
        let options = netfilter::Options { manage_conntrack: true, standalone: false };
        let conntrack = netfilter::Netfilter::open(options, Recorder::off()).expect("conntrack");
        let settings = Settings { cgroup_root: Some(bench.cgroup.clone()), ..Settings::default() };
        let programs = Ebpf::open(&settings, std::sync::Arc::default(), now(0)).expect("programs");
        let mut auto = Auto::new(conntrack, programs);
        auto.upkeep(now(0));
        (auto, UdpSocket::bind(at(A4, 0)).expect("bind"))
    });
    let mut seen = [[0, 0]; 4];
    let mut allocated = [0; 4];
    for round in 0..4 {
        for port in 1..=500 {
            client.send_to(&[1; 64], at(B4, port)).expect("send");
        }
        let [live, increments] = &mut seen[round];
        let before = allocations();
        let sweep = auto.sweep(now(round as u64), &mut |record| match record.reading {
            Reading::Live => *live += 1,
            _ => *increments += 1,
        });
        allocated[round] = allocations() - before;
        assert!(sweep.expect("sweep").complete);
    }
    assert_eq!(seen, [[500, 500]; 4], "each entry and each flow once");
    assert_eq!(allocated[2..], [0, 0], "{allocated:?}");
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
