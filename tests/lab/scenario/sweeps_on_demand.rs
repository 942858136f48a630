//! Without a given interval a sweep happens when somebody needs one: two agents see 1,000 connections a second, are
//! scraped every 30 s and flush every 60 s. Both have every byte in its row, and the one that sweeps on demand sweeps at
//! most half as often as the one that sweeps every 5 s, and takes at most half of its CPU time.
//!
//! Two minutes of it. LAB_HURRY=1: one minute of 200 connections a second, where the CPU time is too small to be
//! compared. A reader is never shown what is older than the read interval.

use netmon::clock::{self, SECOND};

use crate::agent::Agent;
use crate::drive::{Burst, Ending};
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario =
    Scenario::new("sweeps_on_demand", "rules 1, 10, 11", run).only(&[Source::Netfilter, Source::Auto]);

const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080)),
    Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8081)),
    Row::outbound(ADDRESS, P2, REMOTE_POD, tcp(8080)),
    Row::outbound(ADDRESS, P2, REMOTE_POD, tcp(8081)),
];
/// The default of `-read-interval`.
const READ_INTERVAL_NS: u64 = 5 * SECOND;
const SCRAPE_NS: u64 = 30 * SECOND;

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    // Entries come and go within the run.
    lab.node().sysctl("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "60")?;
    w.peer.serve_tcp(REMOTE_POD, 8080)?;
    w.peer.serve_tcp(REMOTE_POD, 8081)?;
    let fixed = lab
        .quiet_agent()
        .flag("-read-interval", "5s")
        .flag("-metrics-bind-address", "127.0.0.1:8082")
        .environment("FLUSH_INTERVAL", "60s")
        .ready()?;
    let on_demand = lab.agent().without("-read-interval").environment("FLUSH_INTERVAL", "60s").ready()?;
    // The first sweeps follow each other closely.
    clock::sleep_ns(40 * SECOND);
    let hurried = std::env::var_os("LAB_HURRY").is_some();
    // The second is of each row.
    let (seconds, per_second) = if hurried { (60, 50) } else { (120, 250) };
    let before = [fixed.cpu_ms()?, on_demand.cpu_ms()?];
    let swept = [fixed.metric("netmon_sweeps_total")?, on_demand.metric("netmon_sweeps_total")?];
    let actors = EXPECTED.iter().enumerate().map(|(n, row)| {
        let to = socket(REMOTE_POD, row.flow().port);
        let host = if n < 2 { &w.p1 } else { &w.p2 };
        Ok((lab.process(host, if n < 2 { "p1" } else { "p2" })?, to))
    });
    let actors = actors.collect::<Result<Vec<_>, String>>()?;
    for (actor, to) in &actors {
        let burst = Burst::new(*to, per_second * seconds, 100, 1_000);
        actor.start_burst(Burst { per_second, ending: Ending::Server, ..burst })?;
    }
    let began_ns = clock::now().mono_ns;
    for scrape in 1..=seconds * SECOND / SCRAPE_NS {
        clock::sleep_ns((began_ns + scrape * SCRAPE_NS).saturating_sub(clock::now().mono_ns));
        for agent in [&fixed, &on_demand] {
            is_fresh(agent)?;
        }
    }
    let cpu = [fixed.cpu_ms()? - before[0], on_demand.cpu_ms()? - before[1]];
    let swept = [fixed.metric("netmon_sweeps_total")? - swept[0], on_demand.metric("netmon_sweeps_total")? - swept[1]];
    for (actor, _) in &actors {
        let took_ms = actor.finish()?;
        if took_ms > seconds * 1_500 {
            return Err(format!("the connections took {took_ms} ms: the machine is too busy for this load"));
        }
    }
    println!("every 5 s: {} ms in {} sweeps; on demand: {} ms in {} sweeps", cpu[0], swept[0], cpu[1], swept[1]);
    if swept[1] * 2.0 > swept[0] {
        return Err(format!("{} sweeps on demand, {} with a sweep every 5 s", swept[1], swept[0]));
    }
    if !hurried && cpu[1] * 2 > cpu[0] {
        return Err(format!("{} ms of CPU time on demand, {} ms with a sweep every 5 s", cpu[1], cpu[0]));
    }
    let truth = lab.truth()?;
    lab.shows(&fixed, EXPECTED, &truth)?;
    fixed.terminate()?;
    lab.settles(on_demand, EXPECTED)
}

/// What is shown was read at most a read interval ago.
fn is_fresh(agent: &Agent<'_>) -> Result<(), String> {
    let asked_ms = clock::now().wall_ns / clock::MS;
    let swept = agent.metric("netmon_last_sweep_timestamp_seconds")?;
    let age_ms = asked_ms as f64 - swept * 1_000.0;
    // The figure is cut to whole milliseconds.
    if age_ms > (READ_INTERVAL_NS / clock::MS) as f64 + 1.0 {
        return Err(format!("/metrics shows what was read {age_ms} ms ago"));
    }
    Ok(())
}
