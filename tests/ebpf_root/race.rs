//! Two segments of one connection on two processors, each of which would make its socket (F46).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use netmon::flow::protocol;
use netmon::source::ebpf::Settings;
use netmon::stats::Skip;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, socket};
use nix::unistd::Pid;

use crate::bench::*;

const CONNECTIONS: usize = 500;
/// Some of the first hundred race on two real processors.
const ROUNDS: usize = 20;
/// Longer than a segment that was dropped at a full queue takes to come again.
const SILENCE: Duration = Duration::from_secs(10);

/// While a connection is opened its segments are filtered by the listener's socket. The kernel filters the one that loses
/// the race again, by the connection's socket.
#[test]
fn root_f46_a_segment_that_lost_the_race_for_its_socket_counts_once() {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return println!("skipped: needs two processors");
    }
    let bench = Bench::new();
    // What the client gets is handled by the second processor, so its acknowledgement is sent there, while the first sends
    // data.
    run(&format!("ip netns exec {} sh -c 'echo 2 > /sys/class/net/v0/queues/rx-0/rps_cpus'", bench.a));
    let mut counting = bench.open(Settings::default());
    for (family, server) in [(4, at(B4, 7300)), (6, at(B6, 7300))] {
        let listener = bench.within(&bench.b, || TcpListener::bind(server).expect("listen"));
        let before = counting.total.skipped.0[Skip::SameSegment as usize];
        let raced = (0..ROUNDS).any(|_| {
            open_many(&bench, &listener, server);
            counting.sweep().total.skipped.0[Skip::SameSegment as usize] > before
        });
        bench.comes_to_rest();
        counting.sweep();
        let truth = bench.truth(&bench.b, family, "tcp");
        let seen = counting.sum(if family == 4 { B4 } else { B6 }, protocol::TCP);
        assert_eq!(seen.rx, truth.rx, "IPv{family}");
        assert!(raced, "IPv{family}: no two segments raced: the test proves nothing");
    }
}

fn open_many(bench: &Bench, listener: &TcpListener, server: SocketAddr) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for stream in listener.incoming().take(CONNECTIONS) {
                let mut stream = stream.expect("accept");
                // Now and then the kernel answers the segment that lost with a reset. Then the client is gone, and the end
                // of this connection never comes.
                stream.set_read_timeout(Some(SILENCE)).expect("a time-out");
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        bench.within(&bench.a, || {
            let mut first = CpuSet::new();
            first.set(0).expect("a processor");
            sched_setaffinity(Pid::from_raw(0), &first).expect("stay on one processor");
            (0..CONNECTIONS).for_each(|_| open_and_send(server));
        });
    });
}

/// Sends at the first moment at which the kernel takes it.
fn open_and_send(server: SocketAddr) {
    let family = if server.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK, None).expect("socket");
    let _ = connect(fd.as_raw_fd(), &SockaddrStorage::from(server));
    let mut stream = TcpStream::from(fd);
    loop {
        match stream.write(&[1; 100]) {
            Ok(_) => return,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {}
            Err(error) => panic!("cannot send: {error}"),
        }
    }
}
