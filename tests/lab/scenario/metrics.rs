//! The series at `/metrics` sum up to the rows, and Prometheus' own checker finds nothing to complain about.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::agent::eventually;
use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{self, ADDRESS, HOST, Row, tcp, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("metrics", "rules 9, 14", run).needing(&["promtool"]);

const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1, P2, tcp(8080)),
    Row::inbound(ADDRESS, P2, P1, tcp(8080)),
    Row::outbound(ADDRESS, P3, OUTSIDE, udp(53)).outside(),
    Row::inbound(HOST, WAN, OUTSIDE, tcp(9100)).outside(),
    Row::inbound(HOST, NODE, PEER, tcp(9100)),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.p2.serve_tcp(P2, 8080)?;
    w.outside.serve_udp(OUTSIDE, 53)?;
    w.node.serve_tcp(WAN, 9100)?;
    w.node.serve_tcp(NODE, 9100)?;
    let agent = lab.agent().ready()?;
    w.p1.actor().burst(Burst::new(socket(P2, 8080), 20, 100, 5_000))?;
    w.p3.actor().udp(socket(OUTSIDE, 53), 20, 2, 40, 120)?;
    w.outside.actor().burst(Burst::new(socket(WAN, 9100), 20, 100, 5_000))?;
    w.peer.actor().burst(Burst::new(socket(NODE, 9100), 20, 100, 5_000))?;
    let truth = lab.truth()?;

    // One series per owner's name (no pod here), direction, protocol and class.
    let mut want: BTreeMap<String, f64> = BTreeMap::new();
    for (key, counts) in rows::shown(EXPECTED, &truth) {
        let protocol = if key.protocol == 6 { "tcp" } else { "udp" };
        for (flow, counts) in [("tx", counts.tx), ("rx", counts.rx)] {
            let labels = format!(
                "{{namespace=\"\",pod=\"\",workload_kind=\"\",workload=\"\",direction=\"{}\",protocol=\"{protocol}\",class=\"{}\",flow=\"{flow}\"}}",
                key.direction, key.class
            );
            *want.entry(format!("netmon_traffic_bytes_total{labels}")).or_default() += counts.bytes as f64;
            *want.entry(format!("netmon_traffic_packets_total{labels}")).or_default() += counts.packets as f64;
        }
    }
    eventually("the series are those of the rows", Duration::from_secs(10), || {
        let mut got = agent.metrics()?;
        got.retain(|name, _| name.starts_with("netmon_traffic_"));
        let (wire, got): (BTreeMap<_, _>, BTreeMap<_, _>) =
            got.into_iter().partition(|(name, _)| name.contains("_wire_"));
        // Never less than the bytes of which they are.
        let has_wire = |name: &String| wire.get(&name.replace("_bytes_", "_wire_bytes_")) >= got.get(name);
        if !got.keys().filter(|name| name.contains("_bytes_")).all(has_wire) {
            return Err(format!("wire bytes {wire:#?}\nof {got:#?}"));
        }
        if got == want { Ok(()) } else { Err(format!("expected {want:#?}\ngot {got:#?}")) }
    })?;
    let (_, page) = agent.get("/metrics")?;
    let complaints = lab.node().run(&["promtool", "check", "metrics"], &page)?;
    if !complaints.trim().is_empty() {
        return Err(format!("promtool complains: {complaints}"));
    }
    lab.settles(agent, EXPECTED)
}
