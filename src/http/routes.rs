//! Maps paths to answers.

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use super::request::{Accept, Refusal, Request};
use super::response::{Content, Response, TEXT};
use crate::clock::{self, MS, Now, SECOND};
use crate::config::{Config, MetricsFormat, Readers, in_force};
use crate::export::prometheus::{self, Labels, Metrics};
use crate::export::view::query::{Format, Query};
use crate::export::view::{About, Head, View};
use crate::flow::{Addr, Cidr, Class};
use crate::health::{Health, Life, Pulse, Status};
use crate::snapshot::{Snapshot, SnapshotKind, SnapshotsByKind};
use crate::stats::{Cell, Stats};
use crate::stop::Stop;
use crate::sys::process;

/// Only the page's own script and style may run. A test compares the hashes with the page.
const PAGE_POLICY: &str = concat!(
    "Content-Security-Policy: default-src 'none'; script-src 'sha256-OGxQYpWCSW0op00j4aw4YaaQ6V1XRTlApNyi0AnBGOw='; ",
    "style-src 'sha256-DgeCgHox4u1DAoKP7CwWE4uXQHRKuHOj2cvcj6Aj1oM='; connect-src 'self'; img-src data:; ",
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
);
const JSON: &str = "application/json";
const PATHS: &str = "/         status page for browsers\n\
                     /flows    all rows as JSON; ?by= sort= match= class= scope= limit= format= choose\n\
                     /history  what had been carried at the sweeps of the last hour\n\
                     /metrics  Prometheus text\n\
                     /config   the settings in force, and where each comes from\n\
                     /healthz  200 while the agent counts\n\
                     /readyz   whether it counts\n";

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub addr: Addr,
    /// The connection comes from this host itself, by whatever address of it.
    pub is_this_host: bool,
}

/// The data behind the answers.
#[derive(Debug)]
pub struct Context {
    /// The `node_name` of the JSON.
    pub node_name: Arc<str>,
    /// The format of `/metrics` for a client that requests none.
    pub metrics_format: MetricsFormat,
    /// Clients that may read more than the probes.
    pub readers: Readers,
    /// What is near besides this host.
    pub cluster: Vec<Cidr>,
    /// Names that the endpoint answers to, beside addresses and names without a dot.
    pub hosts: Vec<String>,
    /// The source that was wanted and the one that runs.
    pub labels: Labels,
    /// The settings that were given.
    pub given: Vec<(&'static str, String)>,
    pub stats: Arc<Stats>,
    pub health: Arc<Health>,
    /// Signs of life of the collector.
    pub pulse: Arc<Pulse>,
    pub snapshots: Arc<SnapshotsByKind>,
    /// Ends the endpoint. It is not the agent's own `Stop`: probes are answered until all other threads have ended.
    pub end: Arc<Stop>,
}

impl Context {
    /// Takes the settings and the state that the agent's threads share.
    pub fn new(
        config: &Config,
        labels: Labels,
        stats: &Arc<Stats>,
        health: &Arc<Health>,
        pulse: &Arc<Pulse>,
        snapshots: &Arc<SnapshotsByKind>,
        end: &Arc<Stop>,
    ) -> Context {
        Context {
            node_name: config.node_name.as_str().into(),
            metrics_format: config.metrics_format,
            readers: config.metrics_allow.clone(),
            cluster: if config.standalone { Vec::new() } else { config.cluster_cidrs.clone() },
            // In a pod the host's name is the pod's.
            hosts: nix::unistd::gethostname()
                .ok()
                .and_then(|name| name.into_string().ok())
                .into_iter()
                .chain([config.node_name.clone()])
                .chain(config.metrics_hosts.iter().cloned())
                .collect(),
            labels,
            given: config.given.clone(),
            stats: Arc::clone(stats),
            health: Arc::clone(health),
            pulse: Arc::clone(pulse),
            snapshots: Arc::clone(snapshots),
            end: Arc::clone(end),
        }
    }

    fn may_read(&self, peer: Peer) -> bool {
        let is_in = |ranges: &[Cidr]| ranges.iter().any(|range| range.contains(peer.addr));
        match &self.readers {
            Readers::Near => peer.is_this_host || is_in(&self.cluster),
            Readers::Everyone => true,
            Readers::Of(ranges) => is_in(ranges),
        }
    }

    /// What a request gets, or which snapshot it needs first.
    pub fn route(&self, request: &Request<'_>, peer: Peer, now: Now) -> Answer {
        match request.path {
            "/healthz" => return Answer::Now(self.probe(self.pulse.alive(now.mono_ns))),
            "/readyz" => return Answer::Now(self.probe(self.pulse.ready())),
            _ => {}
        }
        if !self.may_read(peer) {
            let text = "your address is not in -metrics-allow: give the agent -metrics-allow everyone, or your range\n";
            return Answer::Now(Response::text("403 Forbidden", text));
        }
        if !self.answers_to(request.host) {
            return Answer::Now(Response::text(
                "421 Misdirected Request",
                "no name of this agent's: see -metrics-hosts\n",
            ));
        }
        let json = match request.accept {
            Accept::Json => true,
            Accept::Text => false,
            Accept::Any => self.metrics_format == MetricsFormat::Json,
        };
        match request.path {
            "/" => Answer::Now(Response {
                status: "200 OK",
                content_type: "text/html; charset=utf-8",
                extra: PAGE_POLICY,
                body: Content::Page(0),
            }),
            "/config" => Answer::Now(Response {
                status: "200 OK",
                content_type: TEXT,
                extra: "",
                body: Content::Bytes(in_force::lines(&self.given).into_bytes(), 0),
            }),
            "/flows" => flows(request.query),
            "/history" => Answer::Now(match history(&self.snapshots, request.query) {
                Some(text) => Response::ok(JSON, Content::Bytes(text, 0)),
                None => Response::text("400 Bad Request", history_takes()),
            }),
            "/metrics" if json => flows(request.query),
            "/metrics" => Answer::Snapshot(Wanted::new(Show::Metrics)),
            _ => Answer::Now(Response::text("404 Not Found", PATHS)),
        }
    }

    /// Whether a host of a request is one of this agent's. A foreign page can let its own name point here and read what
    /// its visitor may read (DNS rebinding). That name has a dot and is none of these.
    fn answers_to(&self, host: &str) -> bool {
        let name = host.strip_suffix('.').unwrap_or(host);
        !name.contains('.')
            || name.parse::<std::net::IpAddr>().is_ok()
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// What is shown with a snapshot, or without one.
    pub fn show(&self, wanted: Wanted, snapshot: Option<Arc<Snapshot>>) -> Response {
        match (wanted.show, snapshot) {
            (Show::Metrics, snapshot) => {
                self.stats.process_resident.set(process::resident_bytes());
                self.stats.process_open_fds.set(process::open_descriptors());
                self.stats.process_cpu_ns.set(clock::process_cpu_ns());
                let metrics = Metrics::new(&self.stats, &self.health, &self.labels, snapshot);
                Response::ok(prometheus::CONTENT_TYPE, Content::Metrics(Box::new(metrics)))
            }
            (Show::Flows(query), Some(snapshot)) => {
                // Not later than the snapshot, which does not contain a sweep that began after it.
                let swept_ns = self.stats.sweep_wall_ms.get().saturating_mul(MS);
                let swept_wall_ns = if swept_ns > snapshot.taken.wall_ns { 0 } else { swept_ns };
                let status = self.health.overall().as_str();
                let agent = about(&self.stats);
                let head = Head { node_name: Arc::clone(&self.node_name), status, swept_wall_ns, agent };
                let content_type = match query.map_or(Format::Json, |query| query.format) {
                    Format::Json => JSON,
                    Format::Csv => "text/csv; charset=utf-8",
                    Format::Tsv => "text/tab-separated-values; charset=utf-8",
                };
                Response::ok(content_type, Content::Flows(Box::new(View::new(snapshot, head, query.as_ref()))))
            }
            (Show::Flows(_), None) => Response {
                extra: "Retry-After: 2\r\n",
                ..Response::text("503 Service Unavailable", "no snapshot is available yet\n")
            },
        }
    }

    /// The incumbent's body: Go's field names, the status as a number.
    fn probe(&self, life: Life) -> Response {
        let error = match life {
            Life::Well => None,
            Life::NotSwept => Some("the first sweep is not complete yet".to_owned()),
            Life::Stopping => Some("the agent is stopping".to_owned()),
            Life::Stuck(ns) => Some(format!("the collector is stuck: no completed cycle for {} s", ns / SECOND)),
        };
        let overall = match life {
            Life::Stuck(_) => Status::Unhealthy,
            _ => self.health.overall(),
        };
        let components = self.health.components();
        let components = components
            .iter()
            .map(|c| {
                let metadata = c.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                (c.name, ProbeComponent { status: c.status as u8, message: &c.message, metadata })
            })
            .collect();
        let body = ProbeBody { components, error: error.as_deref(), status: overall.as_str() };
        let mut text = serde_json::to_vec(&body).unwrap_or_default();
        text.push(b'\n');
        let status = if error.is_none() { "200 OK" } else { "503 Service Unavailable" };
        Response { status, content_type: JSON, extra: "", body: Content::Bytes(text, 0) }
    }
}

#[derive(Serialize)]
struct ProbeBody<'a> {
    components: std::collections::BTreeMap<&'a str, ProbeComponent<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    status: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProbeComponent<'a> {
    status: u8,
    message: &'a str,
    metadata: std::collections::BTreeMap<&'a str, &'a str>,
}

/// The rows, as the query asks for them.
fn flows(query: &str) -> Answer {
    match Query::parse(query) {
        Ok(query) => Answer::Snapshot(Wanted::new(Show::Flows(query))),
        Err(refused) => Answer::Now(Response::text("400 Bad Request", format!("{refused}\n"))),
    }
}

/// The agent's own times, and its books as of the last cycle.
fn about(stats: &Stats) -> About {
    let sum = |cells: &[Cell]| cells.iter().map(Cell::get).sum::<u64>();
    About {
        started_wall_ns: stats.process_start_ms.get().saturating_mul(MS),
        pushed_wall_ns: stats.last_push_ms.get().saturating_mul(MS),
        books: [
            stats.counted_tx_bytes.get().saturating_add(stats.counted_rx_bytes.get()),
            stats.acknowledged_bytes.get(),
            stats.open_bytes.get().saturating_add(stats.frozen_bytes.get()).saturating_add(stats.held_bytes.get()),
            sum(&stats.not_pushed_bytes),
            sum(&stats.unattributed_bytes),
            sum(&stats.lost_bytes),
        ],
    }
}

/// What may be asked of `/history`.
fn history_takes() -> String {
    format!("want class={}, and after=MILLISECONDS since the epoch\n", Class::WORDS.join("|"))
}

/// `[milliseconds since the epoch, bytes sent, bytes received]` for each sweep, the oldest first; `None` where what is
/// asked is not what [`history_takes`] says.
fn history(snapshots: &SnapshotsByKind, query: &str) -> Option<Vec<u8>> {
    let (mut class, mut after_ns) = (None, 0);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=')? {
            ("class", name) => class = Some(Class::from_text(name)?),
            ("after", ms) => after_ns = ms.parse::<u64>().ok()?.saturating_mul(MS),
            _ => return None,
        }
    }
    let past = snapshots.history.since(after_ns);
    let mut text = String::with_capacity(48 * past.len() + 2);
    for (n, past) in past.iter().enumerate() {
        let [tx_bytes, rx_bytes] = past.bytes(class);
        // Writing to a String cannot fail.
        let _ = write!(text, "{}[{},{tx_bytes},{rx_bytes}]", if n == 0 { "[" } else { "," }, past.wall_ns / MS);
    }
    text.push_str(if text.is_empty() { "[]" } else { "]" });
    Some(text.into_bytes())
}

/// How a request is answered.
#[derive(Debug)]
pub enum Answer {
    /// It is answered at once.
    Now(Response),
    /// It needs a snapshot.
    Snapshot(Wanted),
}

impl Answer {
    /// The answer to a refused request.
    pub fn refusal(refusal: Refusal) -> Answer {
        Answer::Now(match refusal {
            Refusal::Malformed => Response::text("400 Bad Request", "not an HTTP/1.1 request\n"),
            Refusal::Body => Response::text("400 Bad Request", "requests with a body are refused\n"),
            Refusal::Method => Response {
                extra: "Allow: GET, HEAD\r\n",
                ..Response::text("405 Method Not Allowed", "GET and HEAD only\n")
            },
            Refusal::TooLarge => {
                Response::text("431 Request Header Fields Too Large", "the request is longer than 8 KiB\n")
            }
        })
    }
}

/// What is to be shown once there is a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    show: Show,
    /// Whether only the head of the answer is wanted.
    pub head_only: bool,
    /// Whether the peer understands chunks.
    pub chunks: bool,
}

#[derive(Clone, Copy, Debug)]
enum Show {
    Flows(Option<Query>),
    Metrics,
}

impl Wanted {
    fn new(show: Show) -> Wanted {
        Wanted { show, head_only: false, chunks: false }
    }

    /// Where its snapshot comes from.
    pub fn kind(&self) -> SnapshotKind {
        match self.show {
            Show::Flows(_) => SnapshotKind::Flows,
            Show::Metrics => SnapshotKind::Metrics,
        }
    }
}

#[cfg(test)]
mod tests;
