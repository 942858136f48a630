//! Every row says how far away its remote end is, by which way, and what service it is; the series by scope are those of
//! the rows, to the byte; a table that comes later changes nothing that was shown, and a bad one nothing at all.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, eventually};
use crate::drive::Burst;
use crate::lab::Lab;
use crate::rows::{self, ADDRESS, HOST, Row, tcp, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("scopes", "rule 18", run);

const EXPECTED: &[Row] = &[
    Row::outbound(ADDRESS, P1, P2, tcp(8080)),
    Row::inbound(ADDRESS, P2, P1, tcp(8080)),
    Row::outbound(ADDRESS, P1, PEER, tcp(9100)),
    Row::outbound(ADDRESS, P1, REMOTE_POD, tcp(8080)),
    Row::outbound(ADDRESS, P1_V6, REMOTE_POD_V6, tcp(8080)),
    Row::outbound(ADDRESS, P1_V6, PEER_V6, tcp(9100)),
    Row::outbound(HOST, NODE, PEER, udp(TUNNEL)).overlay(),
    Row::outbound(ADDRESS, P3, OUTSIDE, tcp(443)).outside(),
    Row::outbound(ADDRESS, P3_V6, OUTSIDE_V6, tcp(443)).outside(),
];

/// Remote address, scope, via, service, zone of the remote end.
const SCOPES: &[(&str, &str, &str, &str, &str)] = &[
    (P1, "node", "", "", "z1"),
    (P2, "node", "", "", "z1"),
    (PEER, "zone", "", "", "z1"),
    (PEER_V6, "unknown", "", "", ""),
    (REMOTE_POD, "region", "peering", "", "z2"),
    (REMOTE_POD_V6, "cross_region", "", "", "y1"),
    (OUTSIDE, "internet", "nat", "mirror", ""),
    (OUTSIDE_V6, "internet", "", "", ""),
];

/// Port of a tunnel between nodes: what goes there has its scope by that, whatever the table says of the address.
const TUNNEL: u16 = 4789;

/// Scope, via, service and zone that a row is to have.
fn expected(remote: &str, port: u64) -> Option<(&'static str, &'static str, &'static str, &'static str)> {
    if port == u64::from(TUNNEL) {
        return Some(("overlay", "", "", ""));
    }
    let (_, scope, via, service, zone) = SCOPES.iter().find(|(at, ..)| *at == remote)?;
    Some((scope, via, service, zone))
}

const TABLE: &str = "\
# nested, and the longest wins
10.0.0.0/8 zone=z1 region=r1
10.244.2.0/24 zone=z2 region=r1 via=peering
fd00:244:2::/64 zone=y1 region=r2
192.0.2.0/24 scope=internet via=nat service=mirror
";

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.p2.serve_tcp(P2, 8080)?;
    w.peer.serve_udp(PEER, TUNNEL)?;
    for (at, port) in [(PEER, 9100), (PEER_V6, 9100), (REMOTE_POD, 8080), (REMOTE_POD_V6, 8080)] {
        w.peer.serve_tcp(at, port)?;
    }
    w.outside.serve_tcp(OUTSIDE, 443)?;
    w.outside.serve_tcp(OUTSIDE_V6, 443)?;
    let table = lab.file("topology");
    let write = |text: &str| std::fs::write(&table, text).map_err(|error| format!("cannot write the table: {error}"));
    write(TABLE)?;
    let start = lab.agent().flag("-topology", &table.to_string_lossy()).flag("-zone", "z1").flag("-region", "r1");
    let agent = start.ready()?;
    w.p1.actor().burst(Burst::new(socket(P2, 8080), 20, 100, 5_000))?;
    w.p1.actor().burst(Burst::new(socket(PEER, 9100), 20, 100, 6_000))?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD, 8080), 20, 100, 7_000))?;
    w.p1.actor().burst(Burst::new(socket(REMOTE_POD_V6, 8080), 20, 100, 8_000))?;
    w.p1.actor().burst(Burst::new(socket(PEER_V6, 9100), 20, 100, 4_000))?;
    w.node.actor().udp(socket(PEER, TUNNEL), 10, 2, 300, 200)?;
    w.p3.actor().burst(Burst::new(socket(OUTSIDE, 443), 20, 100, 9_000))?;
    w.p3.actor().burst(Burst::new(socket(OUTSIDE_V6, 443), 20, 100, 10_000))?;
    let truth = lab.truth()?;
    lab.shows(&agent, EXPECTED, &truth)?;
    says_scopes(&agent.flows()?)?;

    let mut want: BTreeMap<String, f64> = BTreeMap::new();
    for (key, counts) in rows::shown(EXPECTED, &truth) {
        let remote = key.remote.to_string();
        let (scope, via, service, _) = expected(&remote, u64::from(key.port)).ok_or(remote)?;
        for (flow, counts) in [("tx", counts.tx), ("rx", counts.rx)] {
            let labels = format!(
                "{{namespace=\"\",pod=\"\",scope=\"{scope}\",via=\"{via}\",service=\"{service}\",flow=\"{flow}\"}}"
            );
            *want.entry(format!("netmon_cost_bytes_total{labels}")).or_default() += counts.bytes as f64;
        }
    }
    eventually("the series by scope are those of the rows", Duration::from_secs(10), || {
        let mut got = agent.metrics()?;
        got.retain(|name, _| name.starts_with("netmon_cost_bytes_total"));
        if got == want { Ok(()) } else { Err(format!("expected {want:#?}\ngot {got:#?}")) }
    })?;
    if agent.metric("netmon_topology_ranges")? != 4.0 {
        return Err("the table has four ranges".to_owned());
    }

    bad_tables_change_nothing(&agent, &write)?;
    says_scopes(&agent.flows()?)?;
    lab.settles(agent, EXPECTED)
}

fn says_scopes(flows: &Value) -> Result<(), String> {
    let items = flows["items"].as_array().ok_or("/flows has no items")?;
    for item in items {
        let remote = item["dst_ip"].as_str().unwrap_or_default();
        let port = item["dst_port"].as_u64().unwrap_or_default();
        let Some((scope, via, service, zone)) = expected(remote, port) else { continue };
        let text = |key: &str| item[key].as_str().unwrap_or_default().to_owned();
        let got = (text("scope"), text("via"), text("service"), text("remote_zone"));
        let want = (scope.to_owned(), via.to_owned(), service.to_owned(), zone.to_owned());
        if got != want {
            return Err(format!("expected {want:?} in {item}"));
        }
    }
    Ok(())
}

/// The agent looks every ten seconds.
fn bad_tables_change_nothing(agent: &Agent<'_>, write: &dyn Fn(&str) -> Result<(), String>) -> Result<(), String> {
    let refused = |reason: &str| agent.metric(&format!("netmon_topology_refused_total{{reason=\"{reason}\"}}"));
    for (text, reason, says) in [
        (
            "10.0.0.0/8 zone=z9 region=r9\n10.0.0.1/8 zone=z1\n",
            "line",
            "line 2: \"10.0.0.1/8\" has bits behind its prefix",
        ),
        ("10.0.0.0/8 zone=z9 region=r", "cut", "line 1: the text ends within this line"),
    ] {
        write(text)?;
        eventually("a bad table is counted", Duration::from_secs(25), || {
            if refused(reason)? >= 1.0 { Ok(()) } else { Err(format!("nothing refused for {reason}")) }
        })?;
        let log = agent.log_tail();
        if !log.contains(says) || agent.metric("netmon_topology_ranges")? != 4.0 {
            return Err(format!("the line is not named, or the table before is gone:\n{log}"));
        }
    }
    Ok(())
}
