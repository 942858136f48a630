//! A Connect server that is not ours (connect-node, `tests/interop/connect_node_server.mjs`) takes what we send, in all
//! three framings, and its errors are understood.
//!
//! Needs `node` (18.14 or newer, which is what connect-node 2.0 asks for) and `npm`. Where one is missing every case is counted as skipped, which is why this program
//! brings its own `main` (libtest cannot decide that while it runs); with `CI=true` it is a failure.

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use netmon::batch::{Batch, Message, Parcel, Settled, Verdict};
use netmon::clock::{self, SECOND};
use netmon::config::DakrProtocol;
use netmon::export::dakr::client::Client;
use netmon::export::dakr::framing::{Answer, Code, Framing};
use netmon::export::dakr::push::Push;
use netmon::export::dakr::settings::Settings;
use netmon::export::dakr::token::Token;
use netmon::export::dakr::transport::{Call, Http, Transport};
use netmon::health::Health;
use netmon::stats::Stats;
use prost::Message as _;
use support::dakr_schema::SendNetworkTrafficMetricsRequest;

const TRAFFIC: &str = "/api.v1.MetricsCollectorService/SendNetworkTrafficMetrics";

/// The server, stopped when dropped.
struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Installs what the server needs (into a directory that git ignores) and starts it on a free port.
    fn start() -> Server {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop");
        if !directory.join("node_modules/@connectrpc/connect-node").exists() {
            run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&directory));
        }
        let mut child = Command::new("node")
            .arg("connect_node_server.mjs")
            .arg("../golden/dakr/netmon.binpb")
            .arg("0")
            .current_dir(&directory)
            .stdout(Stdio::piped())
            .spawn()
            .expect("node starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut server = Server { child, lines, url: String::new() };
        let port = server.line()["listening"].as_u64().expect("a port");
        server.url = format!("http://127.0.0.1:{port}");
        server
    }

    /// The next call that it decoded.
    fn line(&mut self) -> serde_json::Value {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("readable");
        serde_json::from_str(&line).expect("a line of JSON")
    }
}

fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn golden(file: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/dakr").join(file)).expect("golden")
}

/// The push thread delivers a small message and one that is compressed, and a heartbeat.
fn pushed(framing: Framing) {
    let mut server = Server::start();
    let http = Http::new(&server.url, None, None);
    let flight = http.flight();
    let settings = Settings {
        node_name: "node-a".to_owned(),
        cluster_id: "collect-now".to_owned(),
        boot: "b".to_owned(),
        protocol: match framing {
            Framing::Connect => DakrProtocol::Connect,
            Framing::GrpcWeb => DakrProtocol::GrpcWeb,
            Framing::Grpc => DakrProtocol::Grpc,
        },
        flush_interval_ns: SECOND,
        started_ns: 1,
    };
    let (stats, health) = (Arc::new(Stats::default()), Arc::new(Health::default()));
    let (report, settled) = crossbeam_channel::unbounded();
    let client = Client::new(http, Token::new("dakr-t", None), clock::now);
    let push = Push::new(client, flight, settings, health, stats.clone(), move |what| {
        let _ = report.send(what);
    });
    let (batches, batch) = crossbeam_channel::bounded(1);
    let (handle, thread) = push.start(batch).expect("a thread");

    let name = match framing {
        Framing::Connect => "connect",
        Framing::GrpcWeb => "grpc-web",
        Framing::Grpc => "grpc",
    };
    let beat = server.line();
    assert_eq!((beat["rpc"].as_str(), beat["protocol"].as_str()), (Some("ReportHealth"), Some(name)));
    assert_eq!(beat["message"]["operatorType"], "OPERATOR_TYPE_NETWORK");
    assert_eq!(beat["message"]["components"][0]["name"], "dakr_transport");
    assert!(matches!(settled.recv_timeout(Duration::from_secs(10)), Ok(Settled::CollectNow)));

    let bodies = [golden("traffic_basic.bin"), golden("traffic_200_flows.bin")];
    let mut first_item = 0;
    let mut sent = Batch { seq: 3, frozen_wall_ns: 0, messages: Vec::new() };
    for (part, body) in (0..).zip(&bodies) {
        let items = SendNetworkTrafficMetricsRequest::decode(&body[..]).expect("golden").items.len() as u32;
        sent.messages.push(Message { part, first_item, items, total_bytes: 0, body: body.clone() });
        first_item += items;
    }
    batches.send(Parcel::Batch(sent, None)).expect("running");
    for (part, body) in (0..).zip(&bodies) {
        let expected = SendNetworkTrafficMetricsRequest::decode(&body[..]).expect("golden");
        let call = server.line();
        assert_eq!((call["rpc"].as_str(), call["protocol"].as_str()), (Some("SendNetworkTrafficMetrics"), Some(name)));
        assert_eq!(call["headers"]["x-netmon-batch"], format!("node-a/b/3.{part}"));
        assert_eq!(call["headers"]["authorization"], "Bearer dakr-t");
        let message = &call["message"];
        assert_eq!(message["nodeName"], expected.node_name);
        let items = message["items"].as_array().expect("items");
        assert_eq!(items.len(), expected.items.len());
        for (item, expected) in items.iter().zip(&expected.items) {
            // int64 are strings in protobuf's JSON; zero is left out.
            let number = |key: &str| item[key].as_str().map_or(0, |n| n.parse::<i64>().expect("a number"));
            assert_eq!(item["srcIp"], expected.src_ip);
            assert_eq!(item["dstIp"], expected.dst_ip);
            assert_eq!(item["dstPort"].as_i64().unwrap_or(0), i64::from(expected.dst_port));
            assert_eq!((number("txBytes"), number("rxBytes")), (expected.tx_bytes, expected.rx_bytes));
            assert_eq!((number("txPackets"), number("rxPackets")), (expected.tx_packets, expected.rx_packets));
        }
        assert_eq!(message["ip2domain"].as_object().map_or(0, |map| map.len()), expected.ip2domain.len());
    }
    let verdicts: Vec<Verdict> = settled
        .iter()
        .take_while(|what| !matches!(what, Settled::Batch(_)))
        .filter_map(|what| match what {
            Settled::Items { verdict, .. } => Some(verdict),
            _ => None,
        })
        .collect();
    assert_eq!(verdicts, [Verdict::Acknowledged, Verdict::Acknowledged]);
    assert_eq!((stats.pushes_miscounted.get(), stats.heartbeats_ok.get()), (0, 1));
    drop(batches);
    handle.stop(clock::now(), clock::now().mono_ns + 15 * SECOND);
    thread.join().expect("no panic");
}

/// Every code that the server can fail with arrives as itself; over gRPC its reason is lost with the trailers.
fn failures(framing: Framing) {
    let mut server = Server::start();
    let mut http = Http::new(&server.url, None, None);
    for code in Code::ALL {
        let request =
            SendNetworkTrafficMetricsRequest { node_name: format!("fail-{}", code.as_str()), ..Default::default() };
        let mut body = Vec::new();
        let headers = framing.request(&request.encode_to_vec(), 10_000, &mut body);
        let call = Call { path: TRAFFIC, headers: &headers, body: &body };
        let reply = http.send(&call, clock::now().mono_ns + 10 * SECOND).expect("an answer");
        let expected = match framing {
            Framing::Grpc => Answer::Unreadable,
            _ => Answer::Error { code: *code, message: "asked to fail".to_owned() },
        };
        assert_eq!(framing.answer(&reply), expected);
        assert_eq!(server.line()["message"]["nodeName"], request.node_name);
    }
    // A method that exists and is not served, and a path that does not exist.
    let mut body = Vec::new();
    let headers = framing.request(&[], 10_000, &mut body);
    let path = "/api.v1.MetricsCollectorService/SendTelemetryLogs";
    let call = Call { path, headers: &headers, body: &body };
    let reply = http.send(&call, clock::now().mono_ns + 10 * SECOND).expect("an answer");
    match framing {
        Framing::Grpc => assert_eq!(framing.answer(&reply), Answer::Unreadable),
        _ => assert!(matches!(framing.answer(&reply), Answer::Error { code: Code::Unimplemented, .. })),
    }
    let call = Call { path: "/nowhere", headers: &headers, body: &body };
    let reply = http.send(&call, clock::now().mono_ns + 10 * SECOND).expect("an answer");
    assert_eq!((reply.status, framing.answer(&reply)), (404, Answer::Foreign));
}

fn main() {
    let missing: Vec<&str> = ["node", "npm"]
        .into_iter()
        .filter(|tool| !Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success()))
        .collect();
    let cases = Framing::ALL.into_iter().flat_map(|framing| {
        [("pushed", pushed as fn(Framing)), ("failures", failures)].map(|(kind, case)| {
            let name = format!("interop_{kind}_{}", framing.as_str());
            (name, Box::new(move || case(framing)) as Box<dyn FnOnce()>)
        })
    });
    support::harness::run(cases, &missing.join(" and "));
}
