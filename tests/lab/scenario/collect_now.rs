//! DAKR answers a heartbeat by asking for a full pass: what was sent before arrives, long before a sweep or a flush is
//! due.

use std::time::Duration;

use netmon::clock::{self, SECOND};
use netmon::export::dakr::jitter;

use crate::agent::{NODE_NAME, eventually};
use crate::dakr::Beats;
use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{self, ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("collect_now", "DAKR's heartbeat", run);

/// Of connections that have ended, and of one that lives: only a sweep counts that one.
const EXPECTED: &[Row] =
    &[Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080)), Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8081))];

/// Within which everything has to happen.
const SOON_NS: u64 = 25 * SECOND;
/// The first sweep after that at the start, and the first flush, come later.
const READ_INTERVAL: &str = "60s";

/// A flush interval, in seconds, whose first flush, a moment of this node's own, is not due for long.
fn flush_interval() -> Result<u64, String> {
    let hash = jitter::hash([NODE_NAME, ""]);
    let long = |seconds: &u64| hash % (seconds * SECOND) > 2 * SOON_NS;
    (60..600).find(long).ok_or_else(|| "no flush interval fits".to_owned())
}

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.peer.serve_tcp(REMOTE_POD, 8081)?;
    // The first heartbeat goes out at once; it is answered when there is something to collect.
    lab.dakr.set_beats(Beats::Hold);
    let began_ns = clock::now().mono_ns;
    let agent = lab
        .agent()
        .flag("-read-interval", READ_INTERVAL)
        .environment("FLUSH_INTERVAL", &format!("{}s", flush_interval()?))
        .ready()?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 20, 100, 3_000))?;
    let held = w.p1.actor().open(socket(REMOTE_POD, 8081))?;
    held.exchange(500, 20_000)?;
    let truth = lab.truth()?;
    let want = rows::pushed(EXPECTED, &truth);
    let opened = rows::opened(EXPECTED, &truth).1;
    let swept = agent.metric("netmon_sweeps_total")?;
    // Nobody asked yet.
    clock::sleep_ns(SECOND);
    if !lab.dakr.pushed()?.is_empty() || lab.dakr.unanswered() != 1 {
        return Err(format!("{:?} came before it was asked for", lab.dakr.pushed()?));
    }
    lab.dakr.set_beats(Beats::CollectNow);
    eventually("what was sent before arrives", Duration::from_secs(5), || lab.received(&want, &opened))?;
    let took_ns = clock::now().mono_ns - began_ns;
    if took_ns > SOON_NS {
        return Err(format!("it took {} s, so perhaps it came by itself", took_ns / SECOND));
    }
    let sweeps = agent.metric("netmon_sweeps_total")? - swept;
    // A dump during which the table was resized is repeated.
    if !(1.0..=2.0).contains(&sweeps) {
        return Err(format!("{sweeps} sweeps for one request"));
    }
    drop(held);
    agent.terminate()
}
