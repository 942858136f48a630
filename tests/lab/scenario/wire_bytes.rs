//! Wire bytes are those of the frames that arrive beyond: exact where our programs count, estimated and marked so elsewhere.

use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, eventually};
use crate::capture::{Capture, Wire};
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// What Cilium's maps hold is estimated as conntrack's is. In mode auto these are the programs'.
pub const SCENARIO: Scenario =
    Scenario::new("wire_bytes", "rule 17", run).only(&[Source::Netfilter, Source::Ebpf, Source::Auto]);

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    // Nothing is cut or joined beyond the uplink, so what the far interface counts is the frames.
    for (netns, device) in [(lab.node(), "wan0"), (&w.outside.netns, "eth0")] {
        // A packet of more segments than that is cut before the driver sees it.
        netns.ip(&format!("link set {device} gso_max_segs 1\n"))?;
    }
    // As everywhere but in the lab: estimates count on TCP's options.
    for netns in [lab.node(), &w.p1.netns, &w.outside.netns] {
        for option in ["tcp_window_scaling", "tcp_timestamps", "tcp_sack"] {
            netns.sysctl(&format!("net/ipv4/{option}"), "1")?;
        }
    }
    for at in [OUTSIDE, OUTSIDE_V6] {
        w.outside.serve_tcp(at, 80)?;
        w.outside.serve_udp(at, 5354)?;
    }
    let agent = lab.agent().ready()?;
    let far = Capture::start(&w.outside.netns)?;
    let (before, shown_before) = (far.counted()?, shown(&agent)?);
    let held = [w.p1.actor().open(socket(OUTSIDE, 80))?, w.p1.actor().open(socket(OUTSIDE_V6, 80))?];
    for (connection, (up, down)) in held.iter().zip([(5_000_000, 24), (24, 5_000_000)]) {
        for _ in 0..3 {
            connection.exchange(up, down)?;
        }
    }
    judge(lab, &agent, "bulk", 1_000, (before, shown_before), &far)?;
    let (before, shown_before) = (far.counted()?, shown(&agent)?);
    w.p1.actor().udp(socket(OUTSIDE, 5354), 5, 200, 64, 1_400)?;
    for connection in &held {
        for _ in 0..50 {
            connection.exchange(200, 20_000)?;
        }
    }
    if lab.source == Source::Netfilter {
        w.p1.actor().burst(Burst::new(socket(OUTSIDE, 80), 50, 100, 3_000))?;
    }
    judge(lab, &agent, "mix", 100, (before, shown_before), &far)?;
    agent.terminate()
}

/// One of `share` may be missing or too much where it is an estimate.
fn judge(
    lab: &Lab,
    agent: &Agent<'_>,
    what: &str,
    share: u64,
    (before, shown_before): (Wire, Wire),
    far: &Capture,
) -> Result<(), String> {
    lab.truth()?;
    let after = far.counted()?;
    // A snapshot is up to a second old.
    eventually(&format!("wire bytes of {what}"), Duration::from_secs(8), || {
        let shown_after = shown(agent)?;
        for way in 0..2 {
            let wire = (after[way].0 - before[way].0, after[way].1 - before[way].1);
            let told = (shown_after[way].0 - shown_before[way].0, shown_after[way].1 - shown_before[way].1);
            let is_near = told.0.abs_diff(wire.0) * share <= wire.0;
            if if lab.source.has_programs() { told != wire } else { !is_near } {
                return Err(format!("way {way}: (bytes, frames) on the wire {wire:?}, in rows {told:?}"));
            }
        }
        Ok(())
    })?;
    let estimated = agent.flows()?["items"].as_array().into_iter().flatten().any(|item| item["wire"] == "estimated");
    if estimated != (lab.source == Source::Netfilter) {
        return Err(format!("rows say that they are estimated: {estimated}"));
    }
    Ok(())
}

/// The same by the rows.
fn shown(agent: &Agent<'_>) -> Result<Wire, String> {
    let flows = agent.flows()?;
    let mut sums = [(0, 0); 2];
    let far = |item: &&Value| item["dst_ip"] == OUTSIDE || item["dst_ip"] == OUTSIDE_V6;
    for item in flows["items"].as_array().ok_or("no items")?.iter().filter(far) {
        for (sum, way) in sums.iter_mut().zip(["tx", "rx"]) {
            sum.0 += item[format!("{way}_wire_bytes")].as_u64().ok_or("no wire bytes")?;
            sum.1 += item[format!("{way}_frames")].as_u64().ok_or("no frames")?;
        }
    }
    Ok(sums)
}
