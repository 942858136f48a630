//! What a run recorded gives the same rows when it is played, byte for byte.

use std::time::Duration;

use crate::agent::{Agent, eventually};
use crate::drive::{Burst, Ending};
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, HOST, Row, tcp, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{SERVICE_PORT, socket};

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("recording", "the recorder; rules 10, 11", run).only(&[Source::Netfilter]);

const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1, P2, tcp(8080)),
    Row::inbound(ADDRESS, P2, P1, tcp(8080)),
    Row::outbound(ADDRESS, P3, OUTSIDE, udp(53)).outside(),
    Row::inbound(HOST, NODE, PEER, tcp(9100)),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    lab.node().sysctl("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "1")?;
    w.p2.serve_tcp(P2, 8080)?;
    w.node.serve_tcp(NODE, 9100)?;
    w.outside.serve_udp(OUTSIDE, 53)?;
    let file = lab.file("recording");
    let file = file.to_str().ok_or("the scratch directory has no plain name")?;
    // What is settled depends on when a flush came, and a busy machine flushes late: here none comes.
    let start = || lab.quiet_agent().environment("FLUSH_INTERVAL", "1h");
    let old = w.p1.actor().open(socket(SERVICE, SERVICE_PORT))?;
    old.exchange(1_000, 200_000)?;
    let before = lab.truth()?;
    let agent = start().flag("-record", file).ready()?;
    old.exchange(2_000, 3_000)?;
    w.p1.actor().burst(Burst {
        ports: (40_000, 16),
        ending: Ending::Server,
        ..Burst::new(socket(P2, 8080), 400, 100, 900)
    })?;
    w.p3.actor().udp(socket(OUTSIDE, 53), 50, 2, 40, 120)?;
    w.peer.actor().burst(Burst::new(socket(NODE, 9100), 20, 100, 2_000))?;
    agent.wait_sweeps(2)?;
    old.exchange(500, 700)?;
    old.close()?;
    let truth = lab.truth()?.since(&before);
    lab.shows(&agent, EXPECTED, &truth)?;
    let recorded = rows_as_text(&agent)?;
    agent.terminate()?;

    let player = start().flag("-collector-mode", &format!("replay:{file}")).ready()?;
    eventually("the rows of the recording are those recorded", Duration::from_secs(10), || {
        let played = rows_as_text(&player)?;
        if played == recorded { Ok(()) } else { Err(format!("recorded:\n{recorded:#?}\nplayed:\n{played:#?}")) }
    })
}

/// Every row as it stands in `/flows`, in an order of its own.
fn rows_as_text(agent: &Agent<'_>) -> Result<Vec<String>, String> {
    let document = agent.flows()?;
    let mut rows: Vec<String> = document["items"].as_array().into_iter().flatten().map(|i| i.to_string()).collect();
    rows.sort();
    if rows.is_empty() { Err("no rows".to_owned()) } else { Ok(rows) }
}
