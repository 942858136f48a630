//! 20,000 and then 40,000 new flows a second, for 20 seconds each (LAB_HURRY=1: for two), against our own programs; then
//! 40,000 a second while the agent sleeps. The rows and what found no slot are together, to the byte, what nft counted.
//!
//! The truth is taken where the sender's packets leave its stack: behind that two cores may drop some.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::agent::{Agent, eventually};
use crate::drive::NewFlows;
use crate::lab::{Lab, Source};
use crate::rows::{ADDRESS, Row, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::{Wish, socket};

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("new_flows", "rules 11, 12, 14", run)
    .only(&[Source::Ebpf])
    .within(Wish { nat: false, ..Wish::USUAL })
    .alone();

/// Ports of the responder; each is a row.
const PORTS: u16 = 40;

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.p1.netns
        .nft("table inet sent { chain output { type filter hook output priority 0; meta l4proto udp counter; }; }")?;
    // Nobody answers, not even to say so.
    w.peer.netns.nft("table inet d { chain p { type filter hook prerouting priority 0; meta l4proto udp drop; }; }")?;
    let agent = lab.agent().flag("-read-interval", "5s").ready()?;
    let seconds = if std::env::var_os("LAB_HURRY").is_some() { 2 } else { 20 };
    let mut expected = Vec::new();
    let mut flows = 0;
    for (per_second, seconds, first_port, asleep) in
        [(20_000, seconds, 5000, false), (40_000, seconds, 6000, false), (40_000, 3, 7000, true)]
    {
        let plan =
            NewFlows { to: socket(REMOTE_POD, first_port), flows: per_second * seconds, ports: PORTS, per_second };
        if asleep {
            agent.signal(Signal::SIGSTOP)?;
        }
        let took_ms = w.p1.actor().new_flows(plan)?;
        if asleep {
            agent.signal(Signal::SIGCONT)?;
        }
        flows += plan.flows;
        expected.extend(
            (first_port..first_port + PORTS).map(|port| Row::outbound(ADDRESS, P1, REMOTE_POD, udp(port)).key()),
        );
        let (rows, lost, sent) = judged(lab, &agent, &expected, flows)?;
        println!(
            "  {} new flows a second{}: {rows} bytes in rows + {lost} without a slot = {sent} of nft",
            plan.flows * 1_000 / took_ms.max(1),
            if asleep { ", the agent asleep" } else { "" }
        );
        if asleep == (lost == 0) {
            return Err(format!("{lost} bytes found no slot, the agent asleep: {asleep}"));
        }
    }
    lab.balances(&agent)?;
    agent.terminate()
}

/// Waits until rows and loss make the whole; returns both and the whole, in bytes.
fn judged(lab: &Lab, agent: &Agent<'_>, expected: &[crate::rows::Key], flows: u64) -> Result<(u64, u64, u64), String> {
    let text = lab.world.p1.netns.run(&["nft", "-j", "list", "chain", "inet", "sent", "output"], "")?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| format!("nft prints no JSON: {e}"))?;
    let mut words = json["nftables"].as_array().into_iter().flatten();
    let counter = words.find_map(|word| word["rule"]["expr"].as_array()?.iter().find_map(|e| e.get("counter")));
    let counter = counter.ok_or_else(|| format!("no counter in {text}"))?;
    let sent = counter["bytes"].as_u64().ok_or("no bytes")?;
    if counter["packets"] != flows {
        return Err(format!("{flows} flows of a packet each were sent, {} left", counter["packets"]));
    }
    let mut found = (0, 0, sent);
    eventually("rows and loss make the whole", Duration::from_secs(20), || {
        let lost = agent.metric("netmon_lost_bytes_total{reason=\"bpf_map_full\"}")? as u64;
        let shown = agent.shown()?;
        if let Some((key, _)) = shown.iter().find(|(key, counts)| !expected.contains(key) || counts.rx.bytes > 0) {
            return Err(format!("an unexpected row: {key}"));
        }
        let rows = shown.values().map(|counts| counts.tx.bytes).sum::<u64>();
        found = (rows, lost, sent);
        if rows + lost == sent { Ok(()) } else { Err(format!("{rows} in rows and {lost} lost are not {sent}")) }
    })?;
    Ok(found)
}
