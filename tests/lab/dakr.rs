//! A DAKR of our own: takes pushes and heartbeats, decodes them by an independent protobuf implementation, keeps every
//! body, and fails, hangs or asks for a full pass when told to.

use std::collections::BTreeSet;
use std::io::Read;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use flate2::read::GzDecoder;
use netmon::flow::{Counts, TxRx};
use prost::Message;
use tiny_http::{Header, Request, Response, Server};

use crate::dakr_schema::{
    NetworkTrafficItem, ReportHealthRequest, ReportHealthResponse, SendNetworkTrafficMetricsRequest,
    SendNetworkTrafficMetricsResponse,
};
use crate::rows::{Pushed, WireKey};

/// How a push is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Counted and acknowledged.
    Take,
    /// Refused: 503 with Retry-After, so surely not counted.
    Refuse,
    /// Counted, but the answer says 500: the sender cannot know.
    TakeAndFail,
    /// Refused for its size: 413, so surely not counted.
    TooLarge,
    /// Refused for its token: 401, so surely not counted.
    Denied,
    /// Neither counted nor answered, and no heartbeat is either.
    Hang,
}

/// How a heartbeat is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beats {
    /// Acknowledged.
    Take,
    /// Not before the next word.
    Hold,
    /// By asking for a full pass.
    CollectNow,
}

#[derive(Clone, Copy)]
struct Manner {
    mood: Mood,
    beats: Beats,
}

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Path of the URL.
    pub path: String,
    /// `X-Netmon-Batch`, empty if absent.
    pub batch: String,
    /// The body, inflated.
    pub body: Vec<u8>,
    /// Whether DAKR counted it (a byte-identical repeat of what it counted is dropped).
    pub counted: bool,
    /// Whether it is such a repeat.
    pub repeated: bool,
}

#[derive(Default)]
struct Kept {
    requests: Vec<Recorded>,
    faults: Vec<String>,
    unanswered: usize,
}

/// The server. Stops when dropped.
pub struct FakeDakr {
    /// Its URL within the namespace in which it was started.
    pub url: String,
    kept: Arc<Mutex<Kept>>,
    manner: Arc<Mutex<Manner>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Path of the traffic procedure.
pub const TRAFFIC: &str = "/api.v1.MetricsCollectorService/SendNetworkTrafficMetrics";
/// Path of the heartbeat procedure.
pub const HEALTH: &str = "/api.v1.OperatorHealthService/ReportHealth";
/// The token that it wants to see.
pub const TOKEN: &str = "dakr-lab-token";

impl FakeDakr {
    /// Listens on loopback in the caller's network namespace.
    pub fn start() -> Result<FakeDakr, String> {
        let server = Server::http("127.0.0.1:0").map_err(|e| format!("cannot start the fake DAKR: {e}"))?;
        let port = server.server_addr().to_ip().ok_or("the fake DAKR has no port")?.port();
        let (kept, stop) = (Arc::new(Mutex::new(Kept::default())), Arc::new(AtomicBool::new(false)));
        let manner = Arc::new(Mutex::new(Manner { mood: Mood::Take, beats: Beats::Take }));
        let (keep, ended, manners) = (kept.clone(), stop.clone(), manner.clone());
        let thread = std::thread::spawn(move || {
            let mut unanswered = Vec::new();
            while !ended.load(Relaxed) {
                let request = server.recv_timeout(Duration::from_millis(100));
                let manner = *manners.lock().expect("never poisoned");
                answer_late(&mut unanswered, manner);
                if let Ok(Some(request)) = request {
                    unanswered.extend(answer(request, manner, &keep));
                }
                keep.lock().expect("never poisoned").unanswered = unanswered.len();
            }
        });
        Ok(FakeDakr { url: format!("http://127.0.0.1:{port}"), kept, manner, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> std::net::SocketAddr {
        self.url.trim_start_matches("http://").parse().expect("as it was made")
    }

    /// What a sink that drops nothing has twice: byte-identical requests beyond the first, and their bytes, tx and rx.
    pub fn repeats(&self) -> (u64, u64) {
        let requests = self.requests();
        let repeated = requests.iter().filter(|r| r.repeated);
        repeated.fold((0, 0), |(count, bytes), request| {
            let decoded = SendNetworkTrafficMetricsRequest::decode(request.body.as_slice()).unwrap_or_default();
            let sum: i64 = decoded.items.iter().map(|item| item.tx_bytes + item.rx_bytes).sum();
            (count + 1, bytes + sum as u64)
        })
    }

    /// How pushes are answered from now on.
    pub fn set_mood(&self, mood: Mood) {
        self.manner.lock().expect("never poisoned").mood = mood;
    }

    /// How heartbeats are answered from now on, and those that were held.
    pub fn set_beats(&self, beats: Beats) {
        self.manner.lock().expect("never poisoned").beats = beats;
    }

    /// How many requests it has and does not answer.
    pub fn unanswered(&self) -> usize {
        self.kept.lock().expect("never poisoned").unanswered
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.kept.lock().expect("never poisoned").requests.clone()
    }

    /// The heartbeats so far.
    pub fn heartbeats(&self) -> Vec<ReportHealthRequest> {
        let requests = self.requests();
        let bodies = requests.iter().filter(|r| r.path == HEALTH).map(|r| r.body.as_slice());
        bodies.filter_map(|body| ReportHealthRequest::decode(body).ok()).collect()
    }

    /// The requests that were counted, decoded.
    pub fn traffic(&self) -> Result<Vec<SendNetworkTrafficMetricsRequest>, String> {
        let counted = self.requests().into_iter().filter(|r| r.counted);
        let decode = |r: Recorded| SendNetworkTrafficMetricsRequest::decode(r.body.as_slice());
        counted.map(|r| decode(r).map_err(|e| format!("undecodable: {e}"))).collect()
    }

    /// What was counted, summed; an error if anything that came was not as the protocol wants it.
    pub fn pushed(&self) -> Result<Pushed, String> {
        let kept = self.kept.lock().expect("never poisoned");
        if let Some(fault) = kept.faults.first() {
            return Err(format!("a request that DAKR cannot take: {fault}"));
        }
        let mut sums = Pushed::new();
        for recorded in kept.requests.iter().filter(|r| r.counted) {
            let request = SendNetworkTrafficMetricsRequest::decode(recorded.body.as_slice())
                .map_err(|e| format!("undecodable: {e}"))?;
            let mut in_message = BTreeSet::new();
            for item in &request.items {
                let (key, counts, at) = read(item)?;
                if !in_message.insert((key.clone(), at)) {
                    return Err(format!("two items of one message have the same key and time: {key}"));
                }
                *sums.entry(key).or_default() += counts;
            }
        }
        Ok(sums)
    }
}

impl Drop for FakeDakr {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn read(item: &NetworkTrafficItem) -> Result<(WireKey, TxRx, String), String> {
    let bad = |what: &str| format!("{what} in {item:?}");
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| bad("no address"));
    let count = |n: i64| u64::try_from(n).map_err(|_| bad("a negative counter"));
    let at = item.timestamp.as_ref().ok_or_else(|| bad("no timestamp"))?;
    let key = WireKey {
        pod: (item.src_pod_namespace.clone(), item.src_pod_name.clone()),
        src: address(&item.src_ip)?,
        dst: address(&item.dst_ip)?,
        protocol: u8::try_from(item.protocol).map_err(|_| bad("no protocol"))?,
        port: u16::try_from(item.dst_port).map_err(|_| bad("no port"))?,
    };
    let counts = TxRx {
        tx: Counts { bytes: count(item.tx_bytes)?, packets: count(item.tx_packets)? },
        rx: Counts { bytes: count(item.rx_bytes)?, packets: count(item.rx_packets)? },
    };
    if counts.is_zero() {
        return Err(bad("an item that says nothing"));
    }
    Ok((key, counts, format!("{}.{:09}", at.seconds, at.nanos)))
}

fn header<'a>(request: &'a Request, name: &'static str) -> &'a str {
    request.headers().iter().find(|h| h.field.equiv(name)).map_or("", |h| h.value.as_str())
}

/// Answers the heartbeats that were held and drops the pushes that hung, once that is over.
fn answer_late(unanswered: &mut Vec<Request>, manner: Manner) {
    if manner.mood == Mood::Hang {
        return;
    }
    let beats = |request: &Request| request.url() == HEALTH;
    for request in unanswered.extract_if(.., |request| !beats(request) || manner.beats != Beats::Hold) {
        if beats(&request) {
            respond(request, Mood::Take, health(manner.beats));
        }
    }
}

/// Takes a request; returns it where it is not to be answered yet.
fn answer(mut request: Request, manner: Manner, kept: &Mutex<Kept>) -> Option<Request> {
    let path = request.url().to_owned();
    let batch = header(&request, "X-Netmon-Batch").to_owned();
    let mut fault = String::new();
    let mut want = |name: &'static str, value: &str| {
        let got = header(&request, name);
        if got != value {
            fault = format!("{path}: header {name} is {got:?}, not {value:?}");
        }
    };
    want("Content-Type", "application/proto");
    want("Connect-Protocol-Version", "1");
    want("Authorization", &format!("Bearer {TOKEN}"));
    let gzip = header(&request, "Content-Encoding") == "gzip";
    let mut body = Vec::new();
    let read = if gzip {
        GzDecoder::new(request.as_reader()).read_to_end(&mut body)
    } else {
        request.as_reader().read_to_end(&mut body)
    };
    if let Err(error) = read {
        fault = format!("{path}: unreadable body: {error}");
    }
    let mut reply = Vec::new();
    let mut is_empty = true;
    match path.as_str() {
        TRAFFIC => match SendNetworkTrafficMetricsRequest::decode(body.as_slice()) {
            Ok(decoded) => {
                let items = decoded.items.len();
                is_empty = items == 0 && decoded.dns_lookups.is_empty();
                if decoded.node_name != crate::agent::NODE_NAME {
                    fault = format!("node_name is {:?}", decoded.node_name);
                }
                if batch.is_empty() {
                    fault = "a push without X-Netmon-Batch".to_owned();
                }
                reply = SendNetworkTrafficMetricsResponse { processed_count: items as i32 }.encode_to_vec();
            }
            Err(error) => fault = format!("undecodable traffic: {error}"),
        },
        HEALTH => {
            if let Err(error) = ReportHealthRequest::decode(body.as_slice()) {
                fault = format!("undecodable heartbeat: {error}");
            }
            reply = health(manner.beats);
        }
        _ => fault = format!("no such procedure: {path}"),
    }
    let mood = manner.mood;
    let hangs = mood == Mood::Hang || path == HEALTH && manner.beats == Beats::Hold;
    let mood = if path == TRAFFIC { mood } else { Mood::Take };
    {
        let mut kept = kept.lock().expect("never poisoned");
        let repeated = kept.requests.iter().any(|r| r.counted && r.batch == batch && r.body == body);
        let counts = matches!(mood, Mood::Take | Mood::TakeAndFail);
        let counted = path == TRAFFIC && counts && !repeated && !is_empty;
        if !fault.is_empty() {
            kept.faults.push(fault);
        }
        kept.requests.push(Recorded { path, batch, body, counted, repeated });
    }
    if hangs {
        return Some(request);
    }
    respond(request, mood, reply);
    None
}

fn health(beats: Beats) -> Vec<u8> {
    ReportHealthResponse { collect_now: beats == Beats::CollectNow }.encode_to_vec()
}

fn respond(request: Request, mood: Mood, reply: Vec<u8>) {
    // A server may repeat what it was sent.
    let authorization = header(&request, "Authorization").to_owned();
    let header = |name: &str, value: &str| Header::from_bytes(name, value).expect("a header of ours");
    let error = |status: u16, code: &str| {
        Response::from_data(format!("{{\"code\":\"{code}\",\"message\":\"as told by {authorization}\"}}"))
            .with_status_code(status)
            .with_header(header("Content-Type", "application/json"))
    };
    let response = match mood {
        Mood::Take => Response::from_data(reply).with_header(header("Content-Type", "application/proto")),
        Mood::Refuse => error(503, "unavailable").with_header(header("Retry-After", "1")),
        Mood::TooLarge => Response::from_data("too large").with_status_code(413),
        Mood::Denied => error(401, "unauthenticated"),
        Mood::TakeAndFail | Mood::Hang => error(500, "internal"),
    };
    // The agent may have gone away meanwhile.
    let _ = request.respond(response);
}
