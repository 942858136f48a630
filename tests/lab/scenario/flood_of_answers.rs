//! 20,000 DNS answers a second for 5 s, most of them to names asked for once: memory stays bounded, every answer is in
//! one account, and counting goes on beside it.

use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{ADDRESS, Row, tcp};
use crate::scenario::{Scenario, names};
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("flood_of_answers", "names", run).alone();

const PER_SECOND: u64 = 20_000;
const ANSWERS: u64 = 5 * PER_SECOND;
/// Names, lookups, questions and ring at their bounds are 6 MiB; messages that carry 16,384 lookups, their encoded and
/// compressed bytes, and rows of the flood itself come on top.
const GROWTH_KIB: u64 = 16 * 1024;

const EXPECTED: &[Row] = &[Row::outbound(ADDRESS, P1, OUTSIDE, tcp(8080)).outside()];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.outside.actor().serve_dns(socket(OUTSIDE, 53))?;
    w.outside.serve_tcp(OUTSIDE, 8080)?;
    let agent = lab.agent_with_names()?.ready()?;
    agent.wait_sweeps(2)?;
    let before_kib = agent.resident_kib()?;
    w.p1.actor().burst(Burst::new(socket(OUTSIDE, 8080), 20, 100, 5_000))?;
    let came = w.p2.actor().ask_dns(socket(OUTSIDE, 53), "n", ANSWERS, PER_SECOND)?;
    names::closes(&agent)?;
    let seen = agent.metric("netmon_dns_answers_total")? as u64;
    let lost = agent.metric("netmon_dns_lost_total{reason=\"ring_full\"}")? as u64;
    let lookups = agent.metric("netmon_dns_lookups_total")? as u64;
    let grown_kib = agent.resident_kib()?.saturating_sub(before_kib);
    println!(
        "  {came} of {ANSWERS} answers came, {seen} seen, {lost} found no room, {lookups} lookups, +{grown_kib} KiB"
    );
    if seen < came || came < ANSWERS / 2 {
        return Err(format!("{came} answers came, {seen} were seen"));
    }
    if agent.metric("netmon_dns_names")? > 16_384.0 || grown_kib > GROWTH_KIB {
        return Err(format!("the agent grew by {grown_kib} KiB"));
    }
    let truth = lab.truth()?;
    let rows: Vec<Row> =
        EXPECTED.iter().copied().chain([Row::outbound(ADDRESS, P2, OUTSIDE, crate::rows::udp(53)).outside()]).collect();
    lab.shows(&agent, &rows, &truth)?;
    lab.balances(&agent)?;
    agent.terminate()
}
