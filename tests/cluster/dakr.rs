//! A DAKR that runs as a Deployment: takes pushes and heartbeats by the protocol, sums what it counted by what names an
//! item on the wire, and shows the sums at `/kept`. Byte-identical repeats are dropped, as the platform does. What it took
//! stands in a file of the node, for the platform forgets nothing when the node is drained.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::process::ExitCode;

use flate2::read::GzDecoder;
use prost::Message;
use serde::{Deserialize, Serialize};
use tiny_http::{Header, Request, Response, Server};

use crate::dakr_schema::{
    ReportHealthRequest, ReportHealthResponse, SendNetworkTrafficMetricsRequest, SendNetworkTrafficMetricsResponse,
};

/// All that it knows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    /// What was counted, by the key of the wire.
    pub items: Vec<Item>,
    /// Pushes that were counted, and those that were dropped as repeats.
    pub pushes: u64,
    pub repeats: u64,
    /// The tokens that pushes came with, each once.
    pub tokens: Vec<String>,
    /// Names of addresses.
    pub names: BTreeMap<String, String>,
    /// What the last heartbeat said of the agent.
    pub version: String,
    pub commit: String,
    pub status: i32,
    /// Requests that it could not take.
    pub faults: Vec<String>,
}

/// One sum.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub namespace: String,
    pub pod: String,
    pub src: String,
    pub dst: String,
    pub protocol: i32,
    pub port: i32,
    pub tx_bytes: i64,
    pub rx_bytes: i64,
    pub tx_packets: i64,
    pub rx_packets: i64,
}

/// Pushes as they came, each behind its length.
const BOOKS: &str = "dakr.books";

type Key = (String, String, String, String, i32, i32);

#[derive(Default)]
struct Books {
    sums: BTreeMap<Key, [i64; 4]>,
    seen: HashSet<Vec<u8>>,
    kept: Kept,
    file: Option<File>,
}

/// Serves for ever.
pub fn run(port: &str) -> ExitCode {
    crate::actor::end_at_sigterm();
    let server = match Server::http(format!("0.0.0.0:{port}")) {
        Ok(server) => server,
        Err(error) => {
            eprintln!("cannot listen on port {port}: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut books = match Books::opened(&format!("{}/{BOOKS}", crate::actor::MEETING)) {
        Ok(books) => books,
        Err(error) => {
            eprintln!("{BOOKS}: {error}");
            return ExitCode::FAILURE;
        }
    };
    for request in server.incoming_requests() {
        books.answer(request);
    }
    ExitCode::SUCCESS
}

impl Books {
    /// Those of the process before, if there was one.
    fn opened(path: &str) -> Result<Books, String> {
        let mut books = Books::default();
        let mut file =
            OpenOptions::new().create(true).read(true).append(true).open(path).map_err(|e| format!("{path}: {e}"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|e| format!("{path}: {e}"))?;
        let mut rest = &bytes[..];
        while let Some((length, after)) = rest.split_first_chunk() {
            let Some((body, after)) = after.split_at_checked(u32::from_be_bytes(*length) as usize) else { break };
            books.count(body.to_vec())?;
            rest = after;
        }
        books.file = Some(file);
        Ok(books)
    }

    fn answer(&mut self, mut request: Request) {
        let header = |name: &'static str| {
            let found = request.headers().iter().find(|h| h.field.equiv(name));
            found.map(|h| h.value.to_string()).unwrap_or_default()
        };
        let (gzip, token) = (header("Content-Encoding") == "gzip", header("Authorization"));
        let mut body = Vec::new();
        let read = if gzip {
            GzDecoder::new(request.as_reader()).read_to_end(&mut body)
        } else {
            request.as_reader().read_to_end(&mut body)
        };
        let answer = match (request.url(), read) {
            ("/kept", _) => Ok(serde_json::to_vec(&self.show()).expect("plain data")),
            (_, Err(error)) => Err(format!("unreadable body: {error}")),
            ("/api.v1.MetricsCollectorService/SendNetworkTrafficMetrics", _) => self.take(body, token),
            ("/api.v1.OperatorHealthService/ReportHealth", _) => self.hear(&body),
            (path, _) => Err(format!("no such procedure: {path}")),
        };
        let kind = if request.url() == "/kept" { "application/json" } else { "application/proto" };
        let response = match answer {
            Ok(bytes) => Response::from_data(bytes),
            Err(fault) => {
                self.kept.faults.push(fault.clone());
                Response::from_data(fault).with_status_code(400)
            }
        };
        let kind = Header::from_bytes("Content-Type", kind).expect("a header");
        let _ = request.respond(response.with_header(kind));
    }

    fn take(&mut self, body: Vec<u8>, token: String) -> Result<Vec<u8>, String> {
        if !self.kept.tokens.contains(&token) {
            self.kept.tokens.push(token);
        }
        let processed_count = self.count(body)?;
        Ok(SendNetworkTrafficMetricsResponse { processed_count }.encode_to_vec())
    }

    /// Counts a push, once, and says how many items it has.
    fn count(&mut self, body: Vec<u8>) -> Result<i32, String> {
        let decoded =
            SendNetworkTrafficMetricsRequest::decode(&body[..]).map_err(|e| format!("undecodable traffic: {e}"))?;
        let items = decoded.items.len() as i32;
        if items > 0 {
            if self.seen.contains(&body) {
                self.kept.repeats += 1;
                return Ok(items);
            }
            if let Some(file) = &mut self.file {
                let entry = [&(body.len() as u32).to_be_bytes()[..], &body].concat();
                file.write_all(&entry).map_err(|e| format!("cannot keep a push: {e}"))?;
            }
            self.seen.insert(body);
        }
        self.kept.pushes += 1;
        self.kept.names.extend(decoded.ip2domain);
        for item in decoded.items {
            let key =
                (item.src_pod_namespace, item.src_pod_name, item.src_ip, item.dst_ip, item.protocol, item.dst_port);
            let sums = self.sums.entry(key).or_default();
            let counts = [item.tx_bytes, item.rx_bytes, item.tx_packets, item.rx_packets];
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        }
        Ok(items)
    }

    fn hear(&mut self, body: &[u8]) -> Result<Vec<u8>, String> {
        let beat = ReportHealthRequest::decode(body).map_err(|e| format!("undecodable heartbeat: {e}"))?;
        (self.kept.version, self.kept.commit, self.kept.status) = (beat.version, beat.commit, beat.overall_status);
        Ok(ReportHealthResponse { collect_now: false }.encode_to_vec())
    }

    fn show(&mut self) -> &Kept {
        let items = self.sums.iter().map(|((namespace, pod, src, dst, protocol, port), counts)| Item {
            namespace: namespace.clone(),
            pod: pod.clone(),
            src: src.clone(),
            dst: dst.clone(),
            protocol: *protocol,
            port: *port,
            tx_bytes: counts[0],
            rx_bytes: counts[1],
            tx_packets: counts[2],
            rx_packets: counts[3],
        });
        self.kept.items = items.collect();
        &self.kept
    }
}
