//! In a cluster the rows are the pods'. What was counted before the API server named them waits for its owner, and an
//! address that another pod takes over divides what was before from what comes after.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use k8s_openapi::api::core::v1::{Pod, PodIP};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use netmon::clock;

use crate::agent::eventually;
use crate::drive::Burst;
use crate::fake_kube::{FakeKube, Part, WATCH_HEAD, fixtures};
use crate::lab::Lab;
use crate::rows::{self, HOST, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("pods", "rules 2, 8, 9", run);

const WEB: &str = "pod shop/web";
const DATABASE: &str = "pod shop/database";
const NEWCOMER: &str = "pod shop/newcomer";

/// Sent before the first list has arrived.
const EARLY: &[Row] = &[
    Row::outbound(WEB, P1, P2, tcp(8080)),
    Row::inbound(DATABASE, P2, P1, tcp(8080)),
    Row::outbound(WEB, P1_V6, REMOTE_POD_V6, tcp(8080)),
    Row::inbound(HOST, NODE, P1, tcp(9100)),
    Row::outbound(WEB, P1, NODE, tcp(9100)),
];
/// Sent after the newcomer has taken over P1's addresses.
const LATE: &[Row] = &[Row::outbound(NEWCOMER, P1, P2, tcp(8080)), Row::inbound(DATABASE, P2, P1, tcp(8080))];

fn pod(name: &str, number: u32, addresses: &[&str], since_s: i64) -> Pod {
    let mut pod = fixtures::pod(name, &fixtures::uid(number), addresses[0]);
    if let Some(status) = &mut pod.status {
        status.pod_ips = Some(addresses.iter().map(|a| PodIP { ip: (*a).to_owned() }).collect());
        status.start_time = Timestamp::from_second(since_s).ok().map(Time);
    }
    pod
}

/// An API server that answers the list with what `lists` brings, and then tells the events that it is given.
struct Api {
    server: FakeKube,
    events: Sender<Vec<u8>>,
}

impl Api {
    fn start(lab: &Lab, lists: Receiver<Vec<u8>>) -> Api {
        let (events, watched) = unbounded();
        let server = lab.node().enter(|| {
            FakeKube::start(move |request| match request.watch {
                true => vec![Part::Bytes(WATCH_HEAD.to_vec()), Part::Stream(watched.clone())],
                false => vec![Part::Bytes(WATCH_HEAD.to_vec()), Part::Stream(lists.clone())],
            })
        });
        Api { server, events }
    }

    /// Says an event.
    fn tell(&self, kind: &str, pod: &Pod, version: &str) -> Result<(), String> {
        let line = fixtures::event(kind, pod, version);
        self.events.send(line.into_bytes()).map_err(|_| "the fake API server is gone".to_owned())
    }
}

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.p2.serve_tcp(P2, 8080)?;
    w.peer.serve_tcp(REMOTE_POD_V6, 8080)?;
    w.node.serve_tcp(NODE, 9100)?;
    let (list, lists) = unbounded();
    let api = Api::start(lab, lists);
    let kubeconfig = lab.file("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
         contexts:\n- name: lab\n  context:\n    cluster: lab\n    user: lab\n\
         clusters:\n- name: lab\n  cluster:\n    server: {}\n\
         users:\n- name: lab\n  user:\n    token: lab-token\n",
        api.server.url()
    );
    std::fs::write(&kubeconfig, text).map_err(|e| format!("cannot write the kubeconfig: {e}"))?;
    let agent = lab.agent().in_cluster(&kubeconfig).ready()?;

    w.p1.actor().burst(Burst::new(socket(P2, 8080), 20, 100, 5_000))?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD_V6, 8080), 20, 100, 5_000))?;
    w.p1.actor().burst(Burst::new(socket(NODE, 9100), 20, 100, 5_000))?;
    let early = lab.truth()?;
    let waiting = early.iter().filter(|(flow, _)| flow.port == 8080);
    let waiting: u64 = waiting.map(|(_, t)| t.orig.bytes + t.reply.bytes).sum();
    eventually("what has no owner yet is held", Duration::from_secs(5), || {
        let held = agent.metric("netmon_held_bytes")? as u64;
        if held >= waiting { Ok(()) } else { Err(format!("{held} bytes are held, at least {waiting} wait")) }
    })?;

    let since_s = (clock::now().wall_ns / clock::SECOND) as i64;
    let web = pod("web", 1, &[P1, P1_V6], since_s - 600);
    let body = fixtures::list(&[web.clone(), pod("database", 2, &[P2, P2_V6], since_s - 600)], "10");
    list.send(body).map_err(|_| "the fake API server is gone")?;
    drop(list);
    lab.shows(&agent, EARLY, &early)?;

    // The next second, for start times have no parts of one.
    clock::sleep_ns(1_500 * clock::MS);
    api.tell("DELETED", &web, "11")?;
    let since_s = (clock::now().wall_ns / clock::SECOND) as i64;
    api.tell("ADDED", &pod("newcomer", 3, &[P1, P1_V6], since_s), "12")?;
    clock::sleep_ns(500 * clock::MS);
    w.p1.actor().burst(Burst::new(socket(P2, 8080), 20, 100, 7_000))?;
    let truth = lab.truth()?;
    let late = truth.since(&early);
    let want = rows::sum(&rows::shown(EARLY, &early), &rows::shown(LATE, &late));
    eventually("old and new owner have their own", Duration::from_secs(10), || {
        rows::equal("/flows", &want, &agent.shown()?)
    })?;
    lab.balances(&agent)?;
    agent.terminate()?;
    let all = [EARLY, LATE].concat();
    let want = rows::sum(&rows::pushed(EARLY, &early), &rows::pushed(LATE, &late));
    lab.received(&want, &rows::opened(&all, &truth).1)
}
