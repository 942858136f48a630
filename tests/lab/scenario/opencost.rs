//! OpenCost's own queries, asked word for word of a real Prometheus that scrapes the agent, say what nft counts: for every
//! class that OpenCost prices, over a restart of the agent, and for a pod that is gone before its series are shown.

mod itself;

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::unbounded;
use netmon::clock;

use crate::agent::{Agent, eventually};
use crate::api::{TOKEN, pod};
use crate::drive::Burst;
use crate::fake_kube::{FakeKube, Part, WATCH_HEAD, fixtures, json};
use crate::lab::{Lab, Source};
use crate::process::{self, Place};
use crate::rows::{self, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;
use crate::truth::Truth;

/// See the file's head.
pub const SCENARIO: Scenario =
    Scenario::new("opencost", "rule 18", run).only(&[Source::Netfilter]).needing(&["prometheus", "promtool"]);

const WEB: &str = "pod shop/web";
const DATABASE: &str = "pod shop/database";
const BRIEF: &str = "pod shop/brief";

const EXPECTED: &[Row] = &[
    Row::outbound(WEB, P1, P2, tcp(8080)),
    Row::inbound(DATABASE, P2, P1, tcp(8080)),
    Row::outbound(WEB, P1, PEER, tcp(9100)),
    Row::outbound(WEB, P1, REMOTE_POD, tcp(8080)),
    Row::outbound(WEB, P1_V6, REMOTE_POD_V6, tcp(8080)),
    Row::outbound(WEB, P1, OUTSIDE, tcp(443)).outside(),
    Row::outbound(WEB, P1_V6, OUTSIDE_V6, tcp(443)).outside(),
    Row::outbound(BRIEF, P3, OUTSIDE, tcp(443)).outside(),
];

const TABLE: &str = "10.0.0.0/8 zone=z1 region=r1\n10.244.2.0/24 zone=z2 region=r1\nfd00:244:2::/64 zone=y1 region=r2\n\
                     192.0.2.0/24 scope=internet via=nat service=mirror\n";

/// Sweeps every 200 ms and scrapes every second: a step of OpenCost is a minute here.
const HOLD: u64 = 75;
const GIB: f64 = 1_073_741_824.0;

/// A question, the remote addresses whose rows answer it, and whether it asks for what was sent.
struct Asked {
    query: &'static str,
    remotes: &'static [&'static str],
    sent: bool,
}

/// `modules/prometheus-source/pkg/prom/metricsquerier.go` of OpenCost: no filter, a step of a minute, no cluster label.
const ASKED: &[Asked] = &[
    Asked {
        query: "sum(increase(kubecost_pod_network_egress_bytes_total{internet=\"false\", same_zone=\"false\", \
                same_region=\"true\", }[1h:1m])) by (pod_name, namespace, uid, cluster_id) / 1024 / 1024 / 1024",
        remotes: &[REMOTE_POD],
        sent: true,
    },
    Asked {
        query: "sum(increase(kubecost_pod_network_egress_bytes_total{internet=\"false\", same_zone=\"false\", \
                same_region=\"false\", }[1h:1m])) by (pod_name, namespace, uid, cluster_id) / 1024 / 1024 / 1024",
        remotes: &[REMOTE_POD_V6],
        sent: true,
    },
    Asked {
        query: "sum(increase(kubecost_pod_network_egress_bytes_total{internet=\"true\", }[1h:1m])) by \
                (pod_name, namespace, uid, cluster_id) / 1024 / 1024 / 1024",
        remotes: &[OUTSIDE, OUTSIDE_V6],
        sent: true,
    },
    Asked {
        query: "sum(increase(kubecost_pod_network_egress_bytes_total{nat_gateway=\"true\", }[1h:1m])) by \
                (pod_name, namespace, service, uid, cluster_id) / 1024 / 1024 / 1024",
        remotes: &[OUTSIDE],
        sent: true,
    },
    Asked {
        query: "sum(increase(kubecost_pod_network_ingress_bytes_total{nat_gateway=\"true\", }[1h:1m])) by \
                (pod_name, namespace, service, uid, cluster_id) / 1024 / 1024 / 1024",
        remotes: &[OUTSIDE],
        sent: false,
    },
    // Not one of OpenCost's, which never prices it.
    Asked {
        query: "sum(increase(kubecost_pod_network_egress_bytes_total{same_zone=\"true\"}[1h:1m])) by \
                (pod_name, namespace) / 1024 / 1024 / 1024",
        remotes: &[P1, P2, PEER],
        sent: true,
    },
];

/// Ends with the scenario.
pub(super) struct Prometheus(Child);

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `namespace` is a label of the target, as an operator sets it.
const SCRAPE: &str = "global: {scrape_interval: 1s, evaluation_interval: 1m}\n\
                      scrape_configs:\n- job_name: netmon\n  honor_labels: true\n  static_configs:\n  \
                      - targets: ['127.0.0.1:8081']\n    labels: {namespace: devzero-system, pod: netmon-abc}\n\
                      - job_name: opencost\n  honor_labels: true\n  static_configs:\n  - targets: ['127.0.0.1:9003']\n";

/// A Prometheus on the node with this configuration.
pub(super) fn scraped_by(lab: &Lab, scrape: &str) -> Result<Prometheus, String> {
    let (config, data) = (lab.file("prometheus.yml"), lab.file("prometheus"));
    fs::write(&config, scrape).map_err(|error| format!("cannot write: {error}"))?;
    let mut command = process::command("prometheus", &Place::default());
    command
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.display()))
        .arg("--web.listen-address=127.0.0.1:9090")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    lab.node().enter(|| command.spawn()).map(Prometheus).map_err(|error| format!("cannot start prometheus: {error}"))
}

/// An API server that answers every list, for the agent comes twice.
fn api(lab: &Lab, listed: &Arc<Mutex<Vec<u8>>>) -> Result<(FakeKube, crossbeam_channel::Sender<Vec<u8>>), String> {
    let (events, watched) = unbounded::<Vec<u8>>();
    let list = Arc::clone(listed);
    let server = lab.node().enter(|| {
        // OpenCost watches the pods too; it goes on knowing the one that ends.
        let at_first = list.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
        FakeKube::start_tls(None, move |request| {
            if let Some(parts) = itself::answers(request, &at_first) {
                return parts;
            }
            match request.watch {
                true => vec![Part::Bytes(WATCH_HEAD.to_vec()), Part::Stream(watched.clone())],
                false => json(&list.lock().unwrap_or_else(|poisoned| poisoned.into_inner())),
            }
        })
    });
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\ncontexts:\n- name: lab\n  context: {{cluster: lab, user: lab}}\n\
         clusters:\n- name: lab\n  cluster: {{server: '{}'}}\nusers:\n- name: lab\n  user: {{token: {TOKEN}}}\n",
        server.url()
    );
    fs::write(lab.file("kubeconfig"), text).map_err(|error| format!("cannot write the kubeconfig: {error}"))?;
    Ok((server, events))
}

fn start<'a>(lab: &'a Lab) -> Result<Agent<'a>, String> {
    lab.agent()
        .in_cluster(&lab.file("kubeconfig"))
        .flag("-topology", &lab.file("topology").to_string_lossy())
        .flag("-state-dir", &lab.file("state").to_string_lossy())
        .flag("-opencost-series", "true")
        .flag("-opencost-hold", &format!("{HOLD}s"))
        .environment("NODE_ZONE", "z1")
        .environment("NODE_REGION", "r1")
        .ready()
}

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    for (host, at, port) in
        [(&w.p2, P2, 8080), (&w.peer, PEER, 9100), (&w.peer, REMOTE_POD, 8080), (&w.peer, REMOTE_POD_V6, 8080)]
    {
        host.serve_tcp(at, port)?;
    }
    w.outside.serve_tcp(OUTSIDE, 443)?;
    w.outside.serve_tcp(OUTSIDE_V6, 443)?;
    fs::write(lab.file("topology"), TABLE).map_err(|error| format!("cannot write the table: {error}"))?;
    let started_s = (clock::now().wall_ns / clock::SECOND) as i64 - 600;
    let web = pod("web", 1, &[P1, P1_V6], started_s);
    let database = pod("database", 2, &[P2, P2_V6], started_s);
    let brief = pod("brief", 3, &[P3, P3_V6], started_s);
    let listed = Arc::new(Mutex::new(fixtures::list(&[web.clone(), database.clone(), brief.clone()], "10")));
    let (_server, events) = api(lab, &listed)?;
    let _prometheus = scraped_by(lab, SCRAPE)?;
    let agent = start(lab)?;
    eventually("the pods are known", Duration::from_secs(10), || match agent.metric("netmon_pods")? {
        3.0 => Ok(()),
        pods => Err(format!("{pods} pods")),
    })?;

    let opencost = itself::start(lab)?;

    let web_sends = |bytes: u64| -> Result<(), String> {
        let to =
            [(P2, 8080), (PEER, 9100), (REMOTE_POD, 8080), (REMOTE_POD_V6, 8080), (OUTSIDE, 443), (OUTSIDE_V6, 443)];
        to.iter().zip(1u64..).try_for_each(|((at, port), n)| {
            w.p1.actor().burst(Burst::new(socket(at, *port), 20, 100, bytes + 1_000 * n)).map(|_| ())
        })
    };
    web_sends(5_000)?;
    w.p3.actor().burst(Burst::new(socket(OUTSIDE, 443), 20, 100, 50_000))?;
    agent.wait_sweeps(3)?;
    let begun_s = clock::now().wall_ns / clock::SECOND;
    *listed.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = fixtures::list(&[web, database], "12");
    events
        .send(fixtures::event("DELETED", &brief, "11").into_bytes())
        .map_err(|_| "the API server is gone".to_owned())?;
    clock::sleep_ns(5 * clock::SECOND);
    agent.terminate()?;
    let agent = start(lab)?;
    web_sends(70_000)?;
    agent.wait_sweeps(3)?;
    let truth = lab.truth()?;

    // Until the hold is over and a step behind it, on which the window ends.
    let at_s = (begun_s + HOLD + 8).div_ceil(60) * 60;
    let now_s = clock::now().wall_ns / clock::SECOND;
    clock::sleep_ns((at_s + 2).saturating_sub(now_s) * clock::SECOND);
    if opencost.is_some() {
        opencost_agrees(lab, at_s, &truth)?;
    }
    for asked in ASKED {
        let want = sums(&truth, asked.remotes, asked.sent);
        eventually("OpenCost's query says what nft counts", Duration::from_secs(5), || {
            let said = asked_of_prometheus(lab, asked.query, at_s)?;
            compare(&said, &want).map_err(|why| format!("{}\n{why}", asked.query))
        })?;
    }
    agent.terminate()
}

/// What each pod sent to these addresses, or received from them, as nft counts.
fn sums(truth: &Truth, remotes: &[&str], sent: bool) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (key, counts) in rows::shown(EXPECTED, truth) {
        if remotes.contains(&key.remote.to_string().as_str()) {
            let name = key.owner.rsplit('/').next().unwrap_or_default().to_owned();
            *sums.entry(name).or_default() += if sent { counts.tx.bytes } else { counts.rx.bytes };
        }
    }
    sums
}

/// OpenCost itself says what nft counts. Versions of 2024 ask without steps, and `increase` then counts the part of a scrape
/// behind the last sample too: theirs is what Prometheus says to that.
fn opencost_agrees(lab: &Lab, at_s: u64, truth: &Truth) -> Result<(), String> {
    let said = itself::costs(lab, at_s - 600, at_s)?;
    for ((column, price), asked) in itself::PRICES.into_iter().zip(ASKED) {
        let exactly = sums(truth, asked.remotes, asked.sent);
        let without_steps = asked_of_prometheus(lab, &asked.query.replace("[1h:1m]", "[10m]"), at_s)?;
        for (pod, bytes) in &exactly {
            let cost = said[pod][column].as_f64().unwrap_or(0.0);
            let wants =
                [*bytes as f64, without_steps.get(pod).copied().unwrap_or(0.0)].map(|bytes| bytes / GIB * price);
            if !wants.iter().any(|want| (cost - want).abs() <= want / 10_000.0) {
                return Err(format!("{column} of {pod}: OpenCost says {cost}, expected {wants:?}"));
            }
        }
    }
    Ok(())
}

/// Bytes by pod; a pod without any is left out.
fn asked_of_prometheus(lab: &Lab, query: &str, at_s: u64) -> Result<BTreeMap<String, f64>, String> {
    let time = format!("--time={at_s}");
    let said = lab.node().run(&["promtool", "query", "instant", &time, "http://127.0.0.1:9090", query], "")?;
    let mut got: BTreeMap<String, f64> = BTreeMap::new();
    for line in said.lines().filter(|line| !line.trim().is_empty()) {
        let (labels, value) = line.split_once(" => ").ok_or_else(|| format!("no sample: {line}"))?;
        let name = labels.split("pod_name=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let number = value.split_whitespace().next().and_then(|n| n.parse::<f64>().ok()).ok_or("no number")?;
        *got.entry(name.to_owned()).or_default() += number * GIB;
    }
    got.retain(|_, bytes| *bytes > 0.0);
    Ok(got)
}

/// Within 1 in 10,000, and nobody else.
fn compare(got: &BTreeMap<String, f64>, want: &BTreeMap<String, u64>) -> Result<(), String> {
    let same_names = got.keys().eq(want.keys());
    let near = |(got, want): (&f64, &u64)| (got - *want as f64).abs() <= *want as f64 / 10_000.0;
    match same_names && got.values().zip(want.values()).all(near) {
        true => Ok(()),
        false => Err(format!("expected {want:?}, got {got:?}")),
    }
}
