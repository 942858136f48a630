//! Where a failed request failed: the real transport against servers that fail at every byte of request and answer.

#[path = "dakr_transport/tls.rs"]
mod tls;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use netmon::clock::{self, MS, SECOND};
use netmon::export::dakr::framing::Reply;
use netmon::export::dakr::transport::{Call, Failure, Http, Transport, without_credentials};
use netmon::net::flight::Flight;
use nix::sys::socket::{setsockopt, sockopt};

/// How a server fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Reset,
    Close,
    Stall,
}

const FAULTS: [Fault; 3] = [Fault::Reset, Fault::Close, Fault::Stall];

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: 2\r\n\r\n\x08\x02";

/// A fault and the request that it is aimed at. A stall ends the request itself once it has begun, for a time-out that is
/// short enough for hundreds of cases may pass before a busy machine has even connected.
#[derive(Clone)]
struct Aimed {
    fault: Fault,
    flight: Arc<OnceLock<Arc<Flight>>>,
}

impl Aimed {
    fn new(fault: Fault) -> Aimed {
        Aimed { fault, flight: Arc::default() }
    }

    /// Sends one request into the fault.
    fn send(&self, mut http: Http, body: &[u8]) -> Result<Reply, Failure> {
        assert!(self.flight.set(http.flight()).is_ok(), "one request each");
        send(&mut http, body, 30 * SECOND)
    }

    fn strike(&self, stream: &TcpStream) {
        fail(stream, self.fault, || {
            clock::sleep_ns(2 * MS);
            self.flight.wait().set_ceiling(0);
        });
    }
}

fn fail(stream: &TcpStream, fault: Fault, stalled: impl FnOnce()) {
    match fault {
        Fault::Reset => {
            let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
            setsockopt(stream, sockopt::Linger, &linger).expect("linger");
        }
        Fault::Close => {}
        // Until the client goes away.
        Fault::Stall => {
            stalled();
            let _ = stream.set_read_timeout(Some(Duration::from_secs(20)));
            while stream.peek_one().is_some() {
                clock::sleep_ns(MS);
            }
        }
    }
}

trait PeekOne {
    fn peek_one(&self) -> Option<u8>;
}

impl PeekOne for TcpStream {
    /// A byte that waits; `None` once the peer is gone.
    fn peek_one(&self) -> Option<u8> {
        let mut byte = [0];
        match self.peek(&mut byte) {
            Ok(1) => Some(byte[0]),
            _ => None,
        }
    }
}

/// Reads at most `most` bytes, or up to the end of the whole request; says how many, and whether it was whole.
fn read_some(stream: &mut impl Read, most: usize) -> (usize, bool) {
    let mut raw = Vec::new();
    let mut chunk = vec![0; 16 << 10];
    loop {
        let head = raw.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&raw[..head]).to_ascii_lowercase();
            let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
            if raw.len() >= head + length.and_then(|l| l.parse::<usize>().ok()).unwrap_or(0) {
                return (raw.len(), true);
            }
        }
        let room = chunk.len().min(most - raw.len());
        if room == 0 {
            return (raw.len(), false);
        }
        match stream.read(&mut chunk[..room]) {
            Ok(read @ 1..) => raw.extend_from_slice(&chunk[..read]),
            _ => return (raw.len(), false),
        }
    }
}

/// A server that handles each connection by `each`.
fn serve(each: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let each = Arc::new(each);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let each = each.clone();
            std::thread::spawn(move || each(stream.expect("a connection")));
        }
    });
    port
}

fn send(http: &mut Http, body: &[u8], timeout_ns: u64) -> Result<Reply, Failure> {
    let headers =
        [("content-type", "application/proto".to_owned()), ("authorization", "Bearer dakr-secret".to_owned())];
    http.send(&Call { path: "/p", headers: &headers, body }, clock::now().mono_ns + timeout_ns)
}

fn to(port: u16) -> Http {
    Http::new(&format!("http://127.0.0.1:{port}"), None, None)
}

/// More than the socket buffers of both sides hold on loopback.
fn large_body() -> Vec<u8> {
    vec![b'x'; 16 << 20]
}

#[test]
fn no_fault_at_any_byte_of_a_small_request_is_taken_for_an_answer_or_for_unsent_when_it_was_whole() {
    let body = b"0123456789";
    let whole_len = {
        let (tell, told) = crossbeam_channel::bounded(1);
        let port = serve(move |mut stream| {
            let (len, whole) = read_some(&mut stream, usize::MAX);
            assert!(whole);
            stream.write_all(ANSWER).expect("written");
            tell.send(len).expect("wanted");
        });
        let reply = send(&mut to(port), body, 5 * SECOND).expect("an answer");
        assert_eq!((reply.status, &reply.body[..], reply.cut), (200, &[8, 2][..], false));
        told.recv().expect("a length")
    };
    for fault in FAULTS {
        for offset in 0..=whole_len {
            let aimed = Aimed::new(fault);
            let server = aimed.clone();
            let port = serve(move |mut stream| {
                read_some(&mut stream, offset);
                server.strike(&stream);
            });
            match aimed.send(to(port), body) {
                // The kernel took the little request whole, whether the server read it or not: in doubt.
                Err(Failure::Unknown(_)) => {}
                // Only if it surely was not whole.
                Err(Failure::Unsent(_)) => assert!(offset < whole_len, "{fault:?} at {offset}"),
                Ok(reply) => panic!("{fault:?} at {offset} of the request: {reply:?}"),
            }
        }
    }
}

#[test]
fn a_request_that_does_not_fit_is_unsent_until_its_last_byte_is_taken() {
    let body = Arc::new(large_body());
    for fault in FAULTS {
        for offset in [0, 1, 17, 100, 4096, 65_537, 1 << 20] {
            let aimed = Aimed::new(fault);
            let server = aimed.clone();
            let port = serve(move |mut stream| {
                let (_, whole) = read_some(&mut stream, offset);
                assert!(!whole);
                server.strike(&stream);
            });
            match aimed.send(to(port), &body) {
                Err(Failure::Unsent(_)) => {}
                other => panic!("{fault:?} at {offset}: {other:?}"),
            }
        }
        // Read whole: in doubt from then on.
        let aimed = Aimed::new(fault);
        let server = aimed.clone();
        let port = serve(move |mut stream| {
            let (_, whole) = read_some(&mut stream, usize::MAX);
            assert!(whole);
            server.strike(&stream);
        });
        match aimed.send(to(port), &body) {
            Err(Failure::Unknown(_)) => {}
            other => panic!("{fault:?} after the request: {other:?}"),
        }
    }
}

#[test]
fn no_prefix_of_an_answer_is_taken_for_the_answer() {
    for fault in FAULTS {
        for offset in 0..=ANSWER.len() {
            let whole = offset == ANSWER.len();
            let aimed = Aimed::new(fault);
            let server = aimed.clone();
            let port = serve(move |mut stream| {
                assert!(read_some(&mut stream, usize::MAX).1);
                stream.write_all(&ANSWER[..offset]).expect("written");
                match whole && fault == Fault::Stall {
                    true => fail(&stream, fault, || {}),
                    false => server.strike(&stream),
                }
            });
            let result = aimed.send(to(port), b"x");
            match result {
                Ok(reply) if whole => assert!(!reply.cut && reply.body == [8, 2], "{fault:?}: {reply:?}"),
                Ok(reply) => assert!(reply.cut, "{fault:?} at {offset}: {reply:?}"),
                Err(Failure::Unknown(_)) => assert!(!whole, "{fault:?} at {offset}"),
                Err(Failure::Unsent(cause)) => panic!("{fault:?} at {offset} of the answer: {cause}"),
            }
        }
    }
}

#[test]
fn a_refusal_is_read_though_the_server_stopped_reading() {
    let port = serve(|mut stream| {
        read_some(&mut stream, 1000);
        stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").expect("written");
        clock::sleep_ns(50 * MS);
        // Closed with unread bytes: a reset.
    });
    let reply = send(&mut to(port), &large_body(), 10 * SECOND).expect("an answer");
    assert_eq!(reply.status, 413);
}

#[test]
fn nobody_there_is_unsent() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("bound").port()
    };
    assert!(matches!(send(&mut to(port), b"x", SECOND), Err(Failure::Unsent(_))));
    for url in ["http://nowhere.invalid", "http://[::1]:9", "https://127.0.0.1:9"] {
        let result = send(&mut Http::new(url, None, None), b"x", 10 * SECOND);
        assert!(matches!(result, Err(Failure::Unsent(_))), "{url}: {result:?}");
    }
}

#[test]
fn endless_slow_and_odd_answers_end() {
    let script = |bytes: &'static [u8], endless: bool, pause_ns: u64| {
        serve(move |mut stream| {
            read_some(&mut stream, usize::MAX);
            let _ = stream.write_all(bytes);
            while endless && stream.write_all(if pause_ns == 0 { &[b'x'; 4096] } else { b"x" }).is_ok() {
                clock::sleep_ns(pause_ns);
            }
            fail(&stream, Fault::Stall, || {});
        })
    };
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: 10000000000\r\n\r\n";
    let reply = send(&mut to(script(head, true, 0)), b"x", 5 * SECOND).expect("a status");
    assert!(reply.cut && reply.body.is_empty());
    let reply = send(&mut to(script(head, true, 50 * MS)), b"x", 2 * SECOND).expect("a status");
    assert!(reply.cut);
    for bytes in [
        &b"HTTP/1.1 100 Continue\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nX: ",
        b"SSH-2.0-x\r\n",
        b"\x15\x03\x01\0\x02\x02\x46",
    ] {
        let result = send(&mut to(script(bytes, false, 0)), b"x", SECOND);
        assert!(matches!(result, Err(Failure::Unknown(_))), "{bytes:?}: {result:?}");
    }
    let result = send(&mut to(script(b"HTTP/1.1 200 OK\r\nX: ", true, 0)), b"x", 5 * SECOND);
    assert!(matches!(result, Err(Failure::Unknown(_))), "an endless header: {result:?}");
    // Never silent, never done.
    let port = serve(|mut stream| {
        read_some(&mut stream, usize::MAX);
        while stream.write_all(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)).is_ok() {}
    });
    let result = send(&mut to(port), b"x", 2 * SECOND);
    assert!(matches!(result, Err(Failure::Unknown(_))), "100 for ever: {result:?}");
    let moved = b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(send(&mut to(script(moved, false, 0)), b"x", SECOND).expect("an answer").status, 307);
}

#[test]
fn a_connection_is_used_again_and_one_that_was_closed_is_not() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let port = serve(move |mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        // Two requests each, then the end.
        for _ in 0..2 {
            if !read_some(&mut stream, usize::MAX).1 || stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    });
    let mut http = to(port);
    for _ in 0..6 {
        assert_eq!(send(&mut http, b"x", 5 * SECOND).expect("an answer").status, 200);
        clock::sleep_ns(5 * MS);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[test]
fn every_wait_ends_at_once_when_it_is_cut_from_another_thread() {
    let silent = serve(|stream| fail(&stream, Fault::Stall, || {}));
    let deaf = serve(|_stream| clock::sleep_ns(10 * SECOND));
    for (port, body, unsent) in [(silent, b"x".to_vec(), false), (deaf, large_body(), true)] {
        let mut http = to(port);
        let flight = http.flight();
        let started_ns = clock::now().mono_ns;
        let cut = std::thread::spawn(move || {
            clock::sleep_ns(200 * MS);
            flight.set_ceiling(0);
        });
        let result = send(&mut http, &body, 15 * SECOND);
        assert_eq!(matches!(result, Err(Failure::Unsent(_))), unsent, "{result:?}");
        // Not the 15 s that it had.
        assert!(clock::now().mono_ns - started_ns < 5 * SECOND);
        cut.join().expect("no panic");
        // And nothing is begun any more.
        assert!(matches!(send(&mut http, b"x", 15 * SECOND), Err(Failure::Unsent(_))));
    }
}

static LOGGED: Mutex<String> = Mutex::new(String::new());

struct Capture;

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        // The agent's log has none of it either (lab `secrets`).
        if record.target() == netmon::logging::DUMPS {
            return;
        }
        let line = format!("{} {}\n", record.target(), record.args());
        LOGGED.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push_str(&line);
    }
    fn flush(&self) {}
}

#[test]
fn neither_the_token_nor_the_credentials_of_a_url_are_logged_at_any_level() {
    log::set_logger(&Capture).expect("the only logger");
    log::set_max_level(log::LevelFilter::Trace);
    let port = serve(|mut stream| {
        let mut raw = Vec::new();
        let mut chunk = [0; 1024];
        while !raw.ends_with(b"\r\n\r\nx") {
            match stream.read(&mut chunk) {
                Ok(read @ 1..) => raw.extend_from_slice(&chunk[..read]),
                _ => return,
            }
        }
        let text = String::from_utf8_lossy(&raw).into_owned();
        assert!(text.contains("Bearer dakr-secret") && !text.contains("hunter2"), "{text}");
        stream.write_all(ANSWER).expect("written");
    });
    let url = format!("http://user:hunter2@127.0.0.1:{port}/base//");
    assert_eq!(without_credentials(&url), format!("http://127.0.0.1:{port}/base//"));
    send(&mut Http::new(&url, None, None), b"x", 5 * SECOND).expect("an answer");
    for bad in [
        "http://user:hunter2@127.0.0.1:1/",
        "http://user:hunter2@nowhere.invalid",
        "http://user:hunter2@@/",
        "x://user:hunter2@h",
    ] {
        match send(&mut Http::new(bad, None, None), b"x", 5 * SECOND) {
            Err(Failure::Unsent(cause)) => assert!(!cause.contains("hunter2"), "{cause}"),
            other => panic!("{bad}: {other:?}"),
        }
    }
    let logged = LOGGED.lock().expect("not poisoned");
    assert!(logged.contains("ureq"), "ureq says something at trace level, or this test proves nothing");
    for secret in ["dakr-secret", "hunter2"] {
        assert!(!logged.contains(secret), "{}", logged.lines().find(|l| l.contains(secret)).unwrap_or_default());
    }
}
