//! A DAKR of our own: takes pushes and heartbeats, decodes them with structures written from the protocol's schema (not
//! with the agent's encoder), keeps every body, and fails when told to.

use std::collections::{BTreeMap, HashMap};
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

use crate::rows::{Pushed, WireKey};

/// `api.v1.NetworkTrafficItem`.
#[derive(Clone, PartialEq, Message)]
pub struct NetworkTrafficItem {
    #[prost(string, tag = "1")]
    pub src_ip: String,
    #[prost(string, tag = "2")]
    pub dst_ip: String,
    #[prost(string, tag = "3")]
    pub src_pod_name: String,
    #[prost(string, tag = "4")]
    pub src_pod_namespace: String,
    #[prost(int32, tag = "5")]
    pub protocol: i32,
    #[prost(int32, tag = "6")]
    pub dst_port: i32,
    #[prost(int64, tag = "7")]
    pub tx_bytes: i64,
    #[prost(int64, tag = "8")]
    pub rx_bytes: i64,
    #[prost(int64, tag = "9")]
    pub tx_packets: i64,
    #[prost(int64, tag = "10")]
    pub rx_packets: i64,
    #[prost(message, optional, tag = "11")]
    pub timestamp: Option<prost_types::Timestamp>,
}

/// `api.v1.DnsLookupItem`.
#[derive(Clone, PartialEq, Message)]
pub struct DnsLookupItem {
    #[prost(string, tag = "1")]
    pub client_ip: String,
    #[prost(string, tag = "2")]
    pub domain: String,
    #[prost(string, repeated, tag = "3")]
    pub resolved_ips: Vec<String>,
    #[prost(message, optional, tag = "4")]
    pub timestamp: Option<prost_types::Timestamp>,
    #[prost(string, tag = "5")]
    pub src_pod_name: String,
    #[prost(string, tag = "6")]
    pub src_pod_namespace: String,
}

/// `api.v1.SendNetworkTrafficMetricsRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct TrafficRequest {
    #[prost(string, tag = "1")]
    pub cluster_id: String,
    #[prost(string, tag = "2")]
    pub team_id: String,
    #[prost(string, tag = "3")]
    pub node_name: String,
    #[prost(message, repeated, tag = "4")]
    pub items: Vec<NetworkTrafficItem>,
    #[prost(message, repeated, tag = "5")]
    pub dns_lookups: Vec<DnsLookupItem>,
    #[prost(map = "string, string", tag = "6")]
    pub ip2domain: HashMap<String, String>,
    #[prost(string, optional, tag = "7")]
    pub operator_version: Option<String>,
    #[prost(string, optional, tag = "8")]
    pub operator_commit: Option<String>,
}

/// `api.v1.SendNetworkTrafficMetricsResponse`.
#[derive(Clone, PartialEq, Message)]
struct TrafficResponse {
    #[prost(int32, tag = "1")]
    processed_count: i32,
}

/// `api.v1.ComponentHealth`.
#[derive(Clone, PartialEq, Message)]
pub struct ComponentHealth {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(int32, tag = "2")]
    pub status: i32,
    #[prost(string, tag = "3")]
    pub message: String,
    #[prost(map = "string, string", tag = "4")]
    pub metadata: HashMap<String, String>,
}

/// `api.v1.ReportHealthRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct HealthRequest {
    #[prost(string, tag = "1")]
    pub cluster_id: String,
    #[prost(int32, tag = "2")]
    pub operator_type: i32,
    #[prost(string, tag = "3")]
    pub version: String,
    #[prost(int32, tag = "4")]
    pub overall_status: i32,
    #[prost(message, repeated, tag = "5")]
    pub components: Vec<ComponentHealth>,
    #[prost(message, optional, tag = "6")]
    pub uptime_since: Option<prost_types::Timestamp>,
    #[prost(string, tag = "7")]
    pub commit: String,
}

/// How a push is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Counted and acknowledged.
    Take,
    /// Refused: 503 with Retry-After, so surely not counted.
    Refuse,
    /// Counted, but the answer says 500: the sender cannot know.
    TakeAndFail,
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
}

#[derive(Default)]
struct Kept {
    requests: Vec<Recorded>,
    faults: Vec<String>,
}

/// The server. Stops when dropped.
pub struct FakeDakr {
    /// Its URL within the namespace in which it was started.
    pub url: String,
    kept: Arc<Mutex<Kept>>,
    mood: Arc<Mutex<Mood>>,
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
        let mood = Arc::new(Mutex::new(Mood::Take));
        let (keep, ended, mood_now) = (kept.clone(), stop.clone(), mood.clone());
        let thread = std::thread::spawn(move || {
            while !ended.load(Relaxed) {
                if let Ok(Some(request)) = server.recv_timeout(Duration::from_millis(100)) {
                    let mood = *mood_now.lock().expect("never poisoned");
                    answer(request, mood, &keep);
                }
            }
        });
        Ok(FakeDakr { url: format!("http://127.0.0.1:{port}"), kept, mood, stop, thread: Some(thread) })
    }

    /// How pushes are answered from now on.
    pub fn set_mood(&self, mood: Mood) {
        *self.mood.lock().expect("never poisoned") = mood;
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.kept.lock().expect("never poisoned").requests.clone()
    }

    /// The heartbeats so far.
    pub fn heartbeats(&self) -> Vec<HealthRequest> {
        let requests = self.requests();
        let bodies = requests.iter().filter(|r| r.path == HEALTH).map(|r| r.body.as_slice());
        bodies.filter_map(|body| HealthRequest::decode(body).ok()).collect()
    }

    /// What was counted, summed; an error if anything that came was not as the protocol wants it.
    pub fn pushed(&self) -> Result<Pushed, String> {
        let kept = self.kept.lock().expect("never poisoned");
        if let Some(fault) = kept.faults.first() {
            return Err(format!("a request that DAKR cannot take: {fault}"));
        }
        let mut sums = Pushed::new();
        for recorded in kept.requests.iter().filter(|r| r.counted) {
            let request = TrafficRequest::decode(recorded.body.as_slice()).map_err(|e| format!("undecodable: {e}"))?;
            let mut in_message: BTreeMap<(WireKey, String), ()> = BTreeMap::new();
            for item in &request.items {
                let (key, counts, at) = read(item)?;
                if in_message.insert((key.clone(), at), ()).is_some() {
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

fn answer(mut request: Request, mood: Mood, kept: &Mutex<Kept>) {
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
    let mut items = 0;
    match path.as_str() {
        TRAFFIC => match TrafficRequest::decode(body.as_slice()) {
            Ok(decoded) => {
                items = decoded.items.len();
                if decoded.node_name != crate::agent::NODE_NAME {
                    fault = format!("node_name is {:?}", decoded.node_name);
                }
                if batch.is_empty() {
                    fault = "a push without X-Netmon-Batch".to_owned();
                }
                reply = TrafficResponse { processed_count: items as i32 }.encode_to_vec();
            }
            Err(error) => fault = format!("undecodable traffic: {error}"),
        },
        HEALTH => {
            if let Err(error) = HealthRequest::decode(body.as_slice()) {
                fault = format!("undecodable heartbeat: {error}");
            }
        }
        _ => fault = format!("no such procedure: {path}"),
    }
    let mood = if path == TRAFFIC { mood } else { Mood::Take };
    {
        let mut kept = kept.lock().expect("never poisoned");
        let repeated = kept.requests.iter().any(|r| r.counted && r.batch == batch && r.body == body);
        let counted = path == TRAFFIC && mood != Mood::Refuse && !repeated && items > 0;
        if !fault.is_empty() {
            kept.faults.push(fault);
        }
        kept.requests.push(Recorded { path, batch, body, counted });
    }
    let header = |name: &str, value: &str| Header::from_bytes(name, value).expect("a header of ours");
    let error = |status: u16, code: &str| {
        Response::from_data(format!("{{\"code\":\"{code}\",\"message\":\"as told\"}}"))
            .with_status_code(status)
            .with_header(header("Content-Type", "application/json"))
    };
    let response = match mood {
        Mood::Take => Response::from_data(reply).with_header(header("Content-Type", "application/proto")),
        Mood::Refuse => error(503, "unavailable").with_header(header("Retry-After", "1")),
        Mood::TakeAndFail => error(500, "internal"),
    };
    // The agent may have gone away meanwhile.
    let _ = request.respond(response);
}
