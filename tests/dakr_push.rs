//! The push thread over real sockets against a small HTTP server on the loopback address.

#[path = "dakr_push/doubt.rs"]
mod doubt;
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use netmon::batch::{Batch, Message, Parcel, Settled, Verdict};
use netmon::clock::{self, SECOND};
use netmon::config::DakrProtocol;
use netmon::export::dakr::client::Client;
use netmon::export::dakr::push::{Push, PushHandle};
use netmon::export::dakr::settings::Settings;
use netmon::export::dakr::token::Token;
use netmon::export::dakr::transport::Http;
use netmon::health::Health;
use netmon::stats::Stats;
use prost::Message as _;
use support::dakr_schema::{NetworkTrafficItem, ReportHealthRequest, SendNetworkTrafficMetricsRequest};

/// A request as the server saw it.
#[derive(Debug)]
struct Seen {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|h| h.0 == name).map_or("", |h| &h.1)
    }
}

/// Reads one request; `None` when the peer is gone.
fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut raw = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 32];
        let mut request = httparse::Request::new(&mut headers);
        if let Ok(httparse::Status::Complete(head)) = request.parse(&raw) {
            let headers: Vec<(String, String)> = request
                .headers
                .iter()
                .map(|h| (h.name.to_ascii_lowercase(), String::from_utf8_lossy(h.value).into_owned()))
                .collect();
            let length = headers.iter().find(|h| h.0 == "content-length").map_or(0, |h| h.1.parse().expect("a number"));
            if raw.len() >= head + length {
                let path = request.path.expect("a path").to_owned();
                return Some(Seen { path, headers, body: raw[head..head + length].to_vec() });
            }
        }
        match stream.read(&mut chunk) {
            Ok(read @ 1..) => raw.extend_from_slice(&chunk[..read]),
            _ => return None,
        }
    }
}

/// Answers every request by `answer`, and tells what it saw.
fn serve(answer: impl Fn(&Seen) -> Vec<u8> + Send + Sync + 'static) -> (String, Receiver<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let (seen, sees) = unbounded();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, seen, answer) = (stream.expect("a connection"), seen.clone(), answer.clone());
            std::thread::spawn(move || {
                while let Some(request) = read_request(&mut stream) {
                    let bytes = answer(&request);
                    let _ = seen.send(request);
                    if bytes.is_empty() || stream.write_all(&bytes).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, sees)
}

fn ok(body: &[u8]) -> Vec<u8> {
    let mut answer =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: {}\r\n\r\n", body.len())
            .into_bytes();
    answer.extend_from_slice(body);
    answer
}

struct Pushing {
    batches: Option<Sender<Parcel>>,
    settled: Receiver<Settled>,
    handle: PushHandle,
    thread: std::thread::JoinHandle<()>,
    stats: Arc<Stats>,
    health: Arc<Health>,
}

fn push(url: &str, token: Token) -> Pushing {
    let (stats, health) = (Arc::new(Stats::default()), Arc::new(Health::default()));
    let (report, settled) = unbounded();
    let (batches, batch) = bounded(1);
    let http = Http::new(url, None, None);
    let settings = Settings {
        node_name: "node-a".to_owned(),
        cluster_id: "cluster-1".to_owned(),
        boot: "b00t".to_owned(),
        protocol: DakrProtocol::Auto,
        flush_interval_ns: SECOND,
        started_ns: 1_790_000_000 * SECOND,
    };
    let flight = http.flight();
    let client = Client::new(http, token, clock::now);
    let push = Push::new(client, flight, settings, health.clone(), stats.clone(), move |what| {
        let _ = report.send(what);
    });
    let (handle, thread) = push.start(batch).expect("a thread");
    Pushing { batches: Some(batches), settled, handle, thread, stats, health }
}

fn batch(seq: u64, items: &[u32]) -> Batch {
    let mut first_item = 0;
    let messages = items
        .iter()
        .enumerate()
        .map(|(part, items)| {
            let request = SendNetworkTrafficMetricsRequest {
                node_name: "node-a".to_owned(),
                items: (0..*items)
                    .map(|i| NetworkTrafficItem { tx_bytes: 1 + i64::from(i), ..Default::default() })
                    .collect(),
                ..Default::default()
            };
            let message = Message {
                part: part as u32,
                first_item,
                items: *items,
                total_bytes: request.items.iter().map(|i| i.tx_bytes as u64).sum(),
                body: request.encode_to_vec(),
            };
            first_item += items;
            message
        })
        .collect();
    Batch { seq, frozen_wall_ns: 0, messages }
}

/// What is settled up to and including the batch that comes back.
fn until_batch(settled: &Receiver<Settled>) -> (Vec<(u32, u32, Verdict)>, Batch) {
    let mut found = Vec::new();
    loop {
        match settled.recv_timeout(Duration::from_secs(20)).expect("the batch is settled") {
            Settled::Items { first_item, items, verdict, .. } => found.push((first_item, items, verdict)),
            Settled::Batch(batch) => return (found, batch),
            Settled::Lookups { .. } | Settled::CollectNow => {}
            Settled::Left | Settled::Persisted(_) => panic!("there is no state file"),
        }
    }
}

fn end(mut pushing: Pushing) {
    let now = clock::now();
    pushing.handle.stop(now, now.mono_ns + 15 * SECOND);
    pushing.batches = None;
    pushing.thread.join().expect("no panic");
}

#[test]
fn a_batch_is_delivered_message_by_message_with_the_headers_that_dakr_knows() {
    let (url, sees) = serve(|request| match request.path.ends_with("ReportHealth") {
        true => ok(&[8, 1]),
        false => ok(&[8, if request.header("x-netmon-batch").ends_with(".0") { 3 } else { 2 }]),
    });
    let pushing = push(&format!("{url}/base/"), Token::new("dakr-secret", None));
    // collect_now was asked for by the first heartbeat.
    assert!(matches!(pushing.settled.recv_timeout(Duration::from_secs(10)), Ok(Settled::CollectNow)));
    let beat = sees.recv().expect("a heartbeat");
    assert_eq!(beat.path, "/base/api.v1.OperatorHealthService/ReportHealth");
    let decoded = ReportHealthRequest::decode(&beat.body[..]).expect("protobuf");
    assert_eq!((decoded.operator_type, decoded.cluster_id.as_str()), (5, "cluster-1"));
    assert_eq!(decoded.components[0].metadata["node"], "node-a");

    let sent = batch(7, &[3, 2]);
    pushing.batches.as_ref().expect("open").send(Parcel::Batch(sent.clone(), None)).expect("running");
    let (settled, back) = until_batch(&pushing.settled);
    assert_eq!(settled, [(0, 3, Verdict::Acknowledged), (3, 2, Verdict::Acknowledged)]);
    assert_eq!(back, sent);
    for part in 0..2 {
        let request = sees.recv().expect("a push");
        assert_eq!(request.path, "/base/api.v1.MetricsCollectorService/SendNetworkTrafficMetrics");
        assert_eq!(request.body, sent.messages[part].body);
        assert_eq!(request.header("x-netmon-batch"), format!("node-a/b00t/7.{part}"));
        assert_eq!(request.header("authorization"), "Bearer dakr-secret");
        assert_eq!(request.header("x-client"), format!("zxporter/{}", env!("CARGO_PKG_VERSION")));
        assert_eq!(request.header("x-operator-type"), "zxporter");
        assert_eq!(request.header("x-operator-version"), env!("CARGO_PKG_VERSION"));
        assert!(!request.header("x-operator-git-sha").is_empty());
        assert_eq!(request.header("content-type"), "application/proto");
        assert_eq!(request.header("connect-protocol-version"), "1");
    }
    assert_eq!((pushing.stats.pushes_ok.get(), pushing.stats.pushes_failed.get()), (2, 0));
    assert_eq!((pushing.stats.pushes_miscounted.get(), pushing.stats.heartbeats_ok.get()), (0, 1));
    let transport = pushing.health.components().into_iter().find(|c| c.name == "dakr_transport").expect("in use");
    assert_eq!(transport.message, "connected");
    end(pushing);
}

fn status(line: &str) -> Vec<u8> {
    format!("HTTP/1.1 {line}\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

fn is_beat(request: &Seen) -> bool {
    request.path.ends_with("ReportHealth")
}

/// Pushes only, in the order they came.
fn next_push(sees: &Receiver<Seen>) -> Seen {
    loop {
        let seen = sees.recv_timeout(Duration::from_secs(20)).expect("a push");
        if !is_beat(&seen) {
            return seen;
        }
    }
}

fn give(pushing: &Pushing, batch: Batch) {
    pushing.batches.as_ref().expect("open").send(Parcel::Batch(batch, None)).expect("running");
}

#[test]
fn a_missing_health_service_says_nothing_about_the_traffic_service() {
    let (url, sees) = serve(|request| if is_beat(request) { status("404 Not Found") } else { ok(&[8, 1]) });
    let pushing = push(&url, Token::new("t", None));
    give(&pushing, batch(1, &[1]));
    assert_eq!(until_batch(&pushing.settled).0, [(0, 1, Verdict::Acknowledged)]);
    assert_eq!(next_push(&sees).header("content-type"), "application/proto");
    assert_eq!(pushing.stats.heartbeats_failed.get(), 1);
    end(pushing);
}

#[test]
fn a_server_that_speaks_another_framing_is_found_and_remembered() {
    let (url, sees) = serve(|request| match request.header("content-type") {
        "application/grpc-web+proto" => {
            let mut answer =
                b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc-web+proto\r\nContent-Length: 28\r\n\r\n".to_vec();
            answer.extend_from_slice(&[0, 0, 0, 0, 2, 8, 1, 0x80, 0, 0, 0, 16]);
            answer.extend_from_slice(b"grpc-status: 0\r\n");
            answer
        }
        _ => status("415 Unsupported Media Type"),
    });
    let pushing = push(&url, Token::new("t", None));
    for (seq, tries) in [(1, 2), (2, 1)] {
        give(&pushing, batch(seq, &[1]));
        assert_eq!(until_batch(&pushing.settled).0, [(0, 1, Verdict::Acknowledged)]);
        for _ in 0..tries {
            assert_eq!(next_push(&sees).header("x-netmon-batch"), format!("node-a/b00t/{seq}.0"));
        }
    }
    end(pushing);
}

#[test]
fn a_refused_token_is_read_again_from_its_file() {
    let file = std::env::temp_dir().join(format!("netmon-push-token-{}", std::process::id()));
    std::fs::write(&file, "dakr-old\n").expect("written");
    let rotated = file.clone();
    let (url, sees) = serve(move |request| match request.header("authorization") {
        "Bearer dakr-new" => ok(&[8, 1]),
        said => {
            // Rotated in the very moment of the refusal. The server is careless enough to repeat the old one.
            std::fs::write(&rotated, "dakr-new\n").expect("written");
            let body = format!(r#"{{"code":"unauthenticated","message":"bad token {said}"}}"#);
            let head = "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length:";
            format!("{head} {}\r\n\r\n{body}", body.len()).into_bytes()
        }
    });
    let pushing = push(&url, Token::new("from-env", Some(file.clone())));
    // The heartbeat was refused first; put the old token back for the push.
    let beat = sees.recv_timeout(Duration::from_secs(10)).expect("a heartbeat");
    assert_eq!(beat.header("authorization"), "Bearer dakr-old");
    clock::sleep_ns(50_000_000);
    std::fs::write(&file, "dakr-older\n").expect("written");
    give(&pushing, batch(1, &[1]));
    assert_eq!(until_batch(&pushing.settled).0, [(0, 1, Verdict::Merge)]);
    assert_eq!(next_push(&sees).header("authorization"), "Bearer dakr-older");
    let transport = pushing.health.components().into_iter().find(|c| c.name == "dakr_transport").expect("in use");
    assert!(
        transport.message.contains("unauthenticated") && !transport.message.contains("dakr-"),
        "{}",
        transport.message
    );
    give(&pushing, batch(2, &[1]));
    assert_eq!(until_batch(&pushing.settled).0, [(0, 1, Verdict::Acknowledged)]);
    assert_eq!(next_push(&sees).header("authorization"), "Bearer dakr-new");
    std::fs::remove_file(&file).expect("removed");
    end(pushing);
}

#[test]
fn too_large_a_message_goes_in_halves_with_their_own_names() {
    let (url, sees) = serve(|request| {
        if is_beat(request) {
            return ok(&[]);
        }
        let items = SendNetworkTrafficMetricsRequest::decode(&request.body[..]).expect("protobuf").items.len();
        if items > 2 { status("413 Content Too Large") } else { ok(&[8, items as u8]) }
    });
    let pushing = push(&url, Token::new("t", None));
    give(&pushing, batch(5, &[3]));
    let acked = Verdict::Acknowledged;
    assert_eq!(until_batch(&pushing.settled).0, [(0, 2, acked), (2, 1, acked)]);
    let names: Vec<String> = (0..3).map(|_| next_push(&sees).header("x-netmon-batch").to_owned()).collect();
    assert_eq!(names, ["node-a/b00t/5.0", "node-a/b00t/5.0.0", "node-a/b00t/5.0.1"]);
    end(pushing);
}

#[test]
fn an_unanswered_message_is_resent_as_it_was() {
    let answered = std::sync::atomic::AtomicUsize::new(0);
    let (url, sees) = serve(move |request| match is_beat(request) {
        true => ok(&[]),
        // Two connections closed without an answer, then one.
        false if answered.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2 => Vec::new(),
        false => ok(&[8, 2]),
    });
    let pushing = push(&url, Token::new("t", None));
    give(&pushing, batch(1, &[2]));
    assert_eq!(until_batch(&pushing.settled).0, [(0, 2, Verdict::Acknowledged)]);
    let sends: Vec<Seen> = (0..3).map(|_| next_push(&sees)).collect();
    for send in &sends {
        assert_eq!(send.body, sends[0].body);
        assert_eq!(send.header("x-netmon-batch"), "node-a/b00t/1.0");
    }
    assert_eq!((pushing.stats.pushes_ok.get(), pushing.stats.pushes_failed.get()), (1, 2));
    end(pushing);
}

#[test]
fn the_stop_delivers_the_last_batch() {
    let (url, _sees) = serve(|_| ok(&[8, 1]));
    let mut pushing = push(&url, Token::new("t", None));
    let now = clock::now();
    pushing.handle.stop(now, now.mono_ns + 15 * SECOND);
    clock::sleep_ns(50_000_000);
    give(&pushing, batch(1, &[1, 1]));
    let acked = Verdict::Acknowledged;
    assert_eq!(until_batch(&pushing.settled).0, [(0, 1, acked), (1, 1, acked)]);
    pushing.batches = None;
    pushing.thread.join().expect("no panic");
    assert!(clock::now().mono_ns - now.mono_ns < 5 * SECOND);
}

#[test]
fn the_stop_does_not_wait_for_a_heartbeat() {
    let (url, _sees) = serve(|request| {
        if is_beat(request) {
            clock::sleep_ns(60 * SECOND);
        }
        ok(&[8, 1])
    });
    let mut pushing = push(&url, Token::new("t", None));
    clock::sleep_ns(200_000_000);
    give(&pushing, batch(1, &[1]));
    let now = clock::now();
    pushing.handle.stop(now, now.mono_ns + 15 * SECOND);
    assert_eq!(until_batch(&pushing.settled).0, [(0, 1, Verdict::Acknowledged)]);
    pushing.batches = None;
    pushing.thread.join().expect("no panic");
    assert!(clock::now().mono_ns - now.mono_ns < 5 * SECOND);
}

#[test]
fn a_stop_in_a_send_that_hangs_settles_everything_by_the_deadline() {
    let (url, _sees) = serve(|request| {
        if !is_beat(request) {
            clock::sleep_ns(60 * SECOND);
        }
        ok(&[])
    });
    let mut pushing = push(&url, Token::new("t", None));
    give(&pushing, batch(1, &[1, 1]));
    clock::sleep_ns(300_000_000);
    let now = clock::now();
    pushing.handle.stop(now, now.mono_ns + 2 * SECOND);
    // The first was sent and hangs; for the second no time is left.
    let unknown = Verdict::Drop(netmon::stats::Lost::ShutdownAmbiguous);
    assert_eq!(until_batch(&pushing.settled).0, [(0, 1, unknown), (1, 1, Verdict::Merge)]);
    // A batch that comes too late goes back.
    let _ = pushing.batches.take().map(|batches| batches.send(Parcel::Batch(batch(2, &[1]), None)));
    pushing.thread.join().expect("no panic");
    assert!(clock::now().mono_ns - now.mono_ns < 6 * SECOND);
}
