//! In a cluster the rows are the pods'. What was counted before the API server named them waits for its owner, and an
//! address that another pod takes over divides what was before from what comes after.

use std::time::Duration;

use netmon::clock;
use serde_json::{Value, json};

use crate::agent::eventually;
use crate::api::{Api, pod};
use crate::drive::Burst;
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

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.p2.serve_tcp(P2, 8080)?;
    w.peer.serve_tcp(REMOTE_POD_V6, 8080)?;
    w.node.serve_tcp(NODE, 9100)?;
    let mut api = Api::start(lab);
    let agent = lab.agent_in_cluster(&api)?.ready()?;

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
    api.list(&[web.clone(), pod("database", 2, &[P2, P2_V6], since_s - 600)])?;
    lab.shows(&agent, EARLY, &early)?;
    names_both_ends(&agent.flows()?)?;

    // The next second, for start times have no parts of one.
    clock::sleep_ns(1_500 * clock::MS);
    api.tell("DELETED", &web, "11")?;
    clock::sleep_ns(1_500 * clock::MS);
    // The address is in use again before the API server says by whom.
    let since_s = (clock::now().wall_ns / clock::SECOND) as i64;
    w.p1.actor().burst(Burst::new(socket(P2, 8080), 20, 100, 7_000))?;
    eventually("the newcomer's bytes wait", Duration::from_secs(5), || {
        let held = agent.metric("netmon_held_bytes")? + agent.metric("netmon_waiting")?;
        if held > 0.0 { Ok(()) } else { Err("nothing waits".to_owned()) }
    })?;
    agent.wait_sweeps(2)?;
    api.tell("ADDED", &pod("newcomer", 3, &[P1, P1_V6], since_s), "12")?;
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

/// Beside its pod each row names what controls it, and the pod at its other end where that is on this node.
fn names_both_ends(flows: &Value) -> Result<(), String> {
    let items = flows["items"].as_array().ok_or("/flows has no items")?;
    let to_database = items.iter().find(|item| item["src_ip"] == P1 && item["dst_ip"] == P2).ok_or("no row of web")?;
    let workload = json!({"kind": "Deployment", "name": "web"});
    let remote = &to_database["remote_owner"];
    if to_database["owner"]["workload"] != workload || remote["name"] != "database" || remote["kind"] != "pod" {
        return Err(format!("not named as it should be: {to_database}"));
    }
    let beyond = items.iter().filter(|item| item["dst_ip"] == REMOTE_POD_V6 || item["dst_ip"] == NODE);
    match beyond.clone().count() == 2 && beyond.clone().all(|item| item.get("remote_owner").is_none()) {
        true => Ok(()),
        false => Err(format!("another node's pod and the node itself are no pods of this node: {items:?}")),
    }
}
