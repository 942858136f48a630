use std::net::TcpListener;

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::{RcvBuf, SndBuf};

use super::*;
use crate::clock;
use crate::config::MetricsFormat;
use crate::export::prometheus::Labels;
use crate::health::Pulse;
use crate::http::response::Response;
use crate::http::routes::Peer;

fn at(seconds: u64) -> Now {
    Now { mono_ns: seconds * SECOND, wall_ns: 0 }
}

/// A reader that gets 4 MiB through the buffers of the server, from second 0 on.
fn reader(context: &Context, queue: &mut Queues) -> (TcpStream, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let peer = TcpStream::connect(listener.local_addr().expect("bound")).expect("connect");
    let (stream, _) = listener.accept().expect("accept");
    setsockopt(&peer, RcvBuf, &PIECE_BYTES).expect("small");
    setsockopt(&stream, SndBuf, &PIECE_BYTES).expect("small");
    stream.set_nonblocking(true).expect("a socket");
    let mut connection = Connection::new(
        stream,
        Peer { addr: crate::flow::Addr::from_v4([127, 0, 0, 1]), is_this_host: true },
        Vec::new(),
        at(0),
    );
    let body = Response::text("200 OK", "").write_head(&mut connection.out, false, false);
    connection.out.resize(4 << 20, b'x');
    assert_eq!(connection.answer(body, at(0)), Fate::Keep);
    assert!(matches!(connection.state, State::Writing(_)), "it does not fit");
    assert_eq!(connection.step(true, context, queue, at(0)), Fate::Keep);
    (peer, connection)
}

/// Ten seconds for the whole answer hit a steady reader of 5 MB.
#[test]
fn f22_a_reader_is_cut_when_it_takes_nothing_for_ten_seconds() {
    let context = Context {
        node_name: "node-a".into(),
        metrics_format: MetricsFormat::Prometheus,
        readers: crate::config::Readers::Near,
        cluster: Vec::new(),
        hosts: Vec::new(),
        given: Vec::new(),
        labels: Labels::default(),
        stats: Arc::default(),
        health: Arc::default(),
        pulse: Arc::new(Pulse::new(0, SECOND)),
        snapshots: Arc::default(),
        end: Arc::default(),
    };
    let mut queue = Queues::default();
    let (mut peer, mut connection) = reader(&context, &mut queue);
    let (mut sip, mut seconds) = (vec![0; PIECE_BYTES], 0);
    while matches!(connection.state, State::Writing(_)) {
        assert!(peer.read(&mut sip).expect("some of it") > 0);
        seconds += 2;
        // The acknowledgement is on its way.
        clock::sleep_ns(clock::MS);
        assert_eq!(connection.step(true, &context, &mut queue, at(seconds)), Fate::Keep, "{seconds}");
    }
    assert!(seconds > 20, "{seconds} s prove nothing");

    let (_peer, mut connection) = reader(&context, &mut queue);
    assert_eq!(connection.step(true, &context, &mut queue, at(9)), Fate::Keep);
    assert_eq!(connection.step(true, &context, &mut queue, at(11)), Fate::Cut);
}
