//! Sweeps are far apart where nobody needs them; a pod that goes needs one. What it carried since the last sweep is its
//! own, though the next pod goes on with the very same tuples. A flood of readers causes one sweep in a read interval.

use std::time::Duration;

use netmon::clock::{self, MS, SECOND};

use crate::agent::{Agent, eventually};
use crate::api::{Api, pod};
use crate::lab::{Lab, Source};
use crate::rows::{self, Row, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario =
    Scenario::new("owners_between_sweeps", "rules 2, 8", run).only(&[Source::Netfilter, Source::Ebpf, Source::Auto]);

const WEB: &str = "pod shop/web";
const DATABASE: &str = "pod shop/database";
const NEWCOMER: &str = "pod shop/newcomer";

const EARLY: &[Row] = &[Row::outbound(WEB, P1, P2, udp(5353)), Row::inbound(DATABASE, P2, P1, udp(5353))];
const LATE: &[Row] = &[Row::outbound(NEWCOMER, P1, P2, udp(5353)), Row::inbound(DATABASE, P2, P1, udp(5353))];

/// More than the read interval: the last sweep is too old.
const WHILE_NS: u64 = 6 * SECOND;

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.p2.serve_udp(P2, 5353)?;
    let mut api = Api::start(lab);
    let start = lab.agent_in_cluster(&api)?.without("-read-interval").environment("FLUSH_INTERVAL", "300s");
    let agent = start.ready()?;
    let since_s = (clock::now().wall_ns / SECOND) as i64;
    let web = pod("web", 1, &[P1], since_s - 600);
    api.list(&[web.clone(), pod("database", 2, &[P2], since_s - 600)])?;
    // The first ones follow each other closely.
    eventually("the first sweeps are over", Duration::from_secs(60), || {
        let sweeps = sweeps(&agent)?;
        clock::sleep_ns(SECOND);
        if sweeps > 8.0 { Ok(()) } else { Err(format!("{sweeps} sweeps")) }
    })?;

    w.p1.actor().udp(socket(P2, 5353), 20, 5, 100, 300)?;
    let early = lab.truth()?;
    clock::sleep_ns(WHILE_NS);
    api.tell("DELETED", &web, "11")?;
    clock::sleep_ns(1_500 * MS);
    let since_s = (clock::now().wall_ns / SECOND) as i64;
    w.p1.actor().udp(socket(P2, 5353), 20, 7, 100, 300)?;
    api.tell("ADDED", &pod("newcomer", 3, &[P1], since_s), "12")?;
    let truth = lab.truth()?;
    let late = truth.since(&early);
    let want = rows::sum(&rows::shown(EARLY, &early), &rows::shown(LATE, &late));
    eventually("old and new owner have their own", Duration::from_secs(15), || {
        rows::equal("/flows", &want, &agent.shown()?)
    })?;
    lab.balances(&agent)?;

    clock::sleep_ns(WHILE_NS);
    let before = sweeps(&agent)?;
    let until_ns = clock::now().mono_ns + 4 * SECOND;
    let mut readers = 0;
    while clock::now().mono_ns < until_ns {
        agent.metrics()?;
        readers += 1;
    }
    let swept = sweeps(&agent)? - before;
    if swept > 1.0 || readers < 20 {
        return Err(format!("{readers} readers in 4 s caused {swept} sweeps"));
    }
    agent.terminate()
}

fn sweeps(agent: &Agent<'_>) -> Result<f64, String> {
    agent.metric("netmon_sweeps_total")
}
