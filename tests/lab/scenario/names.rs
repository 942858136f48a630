//! Rows bear the name that their owner asked for: A, AAAA and a chain of three CNAMEs lead back to it, over UDP and TCP,
//! each client by its own; who asked for nothing gets the node's last. Lookups and names go with the batch. Lies change
//! nobody's names.

use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, eventually};
use crate::dns::{Dnsmasq, dig};
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("names", "names", run).needing(&["dnsmasq", "dig"]);

const SHOP: &str = "www.shop.lab";

/// Local and remote address of a row at port 8080, its name, and whose question gave it.
const EXPECTED: &[(&str, &str, &str, &str)] = &[
    (P1, OUTSIDE, SHOP, ""),
    (P1_V6, OUTSIDE_V6, SHOP, ""),
    (P2, OUTSIDE, "direct.shop.lab", ""),
    (P3, OUTSIDE, "cached.shop.lab", "node"),
    (WAN, OUTSIDE, "cached.shop.lab", ""),
    (P3, PEER, "", ""),
];

/// Client, name, and what it was told.
const LOOKUPS: &[(&str, &str, &str)] = &[
    (P1, SHOP, OUTSIDE),
    (P1_V6, SHOP, OUTSIDE_V6),
    (P2, "direct.shop.lab", OUTSIDE),
    ("127.0.0.1", "cached.shop.lab", OUTSIDE),
];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    for (host, at) in [(&w.outside, OUTSIDE), (&w.outside, OUTSIDE_V6), (&w.peer, PEER)] {
        host.serve_tcp(at, 8080)?;
    }
    let end = format!("e7.edge.lab,{OUTSIDE},{OUTSIDE_V6}");
    let others = format!("direct.shop.lab,cached.shop.lab,{OUTSIDE}");
    let _server = Dnsmasq::start(
        &w.outside,
        &format!("{OUTSIDE},{OUTSIDE_V6}"),
        &[
            &format!("--host-record={end}"),
            &format!("--host-record={others}"),
            "--cname=www.shop.lab,shop.cdn.lab",
            "--cname=shop.cdn.lab,edge.cdn.lab",
            "--cname=edge.cdn.lab,e7.edge.lab",
        ],
    )?;
    let _cache = Dnsmasq::start(&w.node, "127.0.0.53", &[&format!("--server={OUTSIDE}")])?;
    w.peer.actor().serve_dns(socket(PEER, 53))?;
    let agent = lab.agent_with_names()?.ready()?;

    let chain = dig(&w.p1, OUTSIDE, &[SHOP, "A"])?;
    if chain.lines().count() != 4 {
        return Err(format!("no chain of three: {chain:?}"));
    }
    dig(&w.p1, OUTSIDE_V6, &[SHOP, "AAAA"])?;
    dig(&w.p2, OUTSIDE, &["+tcp", "direct.shop.lab", "A"])?;
    dig(&w.node, "127.0.0.53", &["cached.shop.lab", "A"])?;
    // Each of four answers is a lie of its own kind.
    let lies = w.p3.actor().ask_dns(socket(PEER, 53), "liar", 1, 1)?;
    if lies != 4 {
        return Err(format!("{lies} lies came, not 4"));
    }
    eventually("all is judged", Duration::from_secs(10), || {
        let count = |name: &str| agent.metric(name).map(|n| n as u64);
        let skipped = |reason: &str| count(&format!("netmon_dns_skipped_total{{reason=\"{reason}\"}}"));
        let got = (skipped("unasked")?, skipped("malformed")?, count("netmon_dns_names")?);
        // Four clients have a name each, and the cache that asked for one of them.
        if got == (2, 2, 5) { Ok(()) } else { Err(format!("unasked, malformed, names: {got:?}")) }
    })?;

    let up = |n| if n == 0 { 20_000 } else { 100 };
    for (n, (host, to)) in
        [(&w.p1, OUTSIDE), (&w.p1, OUTSIDE_V6), (&w.p2, OUTSIDE), (&w.p3, OUTSIDE), (&w.node, OUTSIDE), (&w.p3, PEER)]
            .into_iter()
            .enumerate()
    {
        host.actor().burst(Burst::new(socket(to, 8080), 5, up(n), 1_000))?;
    }
    eventually("rows bear their names", Duration::from_secs(10), || {
        let flows = agent.flows()?;
        // Cilium has no entries of the node's own.
        let rows = EXPECTED.iter().filter(|(local, ..)| lab.source != Source::Cilium || *local != WAN);
        rows.copied().try_for_each(|expected| named(&flows, expected))
    })?;
    eventually("lookups and names are delivered", Duration::from_secs(10), || delivered(lab))?;
    closes(&agent)?;
    agent.terminate()
}

/// A row to port 8080 bears the name that is expected.
pub fn named(flows: &Value, (local, remote, name, from): (&str, &str, &str, &str)) -> Result<(), String> {
    let text = |item: &Value, key: &str| item[key].as_str().unwrap_or_default().to_owned();
    let items = flows["items"].as_array().ok_or("no items")?;
    let item = items
        .iter()
        .find(|i| i["dst_port"] == 8080 && text(i, "src_ip") == local && text(i, "dst_ip") == remote)
        .ok_or_else(|| format!("no row from {local} to {remote}"))?;
    let got = (text(item, "dst_domain"), text(item, "dst_domain_from"));
    if got == (name.to_owned(), from.to_owned()) { Ok(()) } else { Err(format!("{local} to {remote}: {got:?}")) }
}

fn delivered(lab: &Lab) -> Result<(), String> {
    let requests = lab.dakr.traffic()?;
    for (client, name, address) in LOOKUPS {
        let found = requests.iter().flat_map(|r| &r.dns_lookups).any(|lookup| {
            lookup.client_ip == *client && lookup.domain == *name && lookup.resolved_ips == [address.to_string()]
        });
        if !found {
            return Err(format!("no lookup of {name} by {client}"));
        }
    }
    let names: Vec<(&String, &String)> = requests.iter().flat_map(|r| &r.ip2domain).collect();
    for (address, name) in [(OUTSIDE, SHOP), (OUTSIDE_V6, SHOP)] {
        if !names.iter().any(|(a, n)| *a == address && *n == name) {
            return Err(format!("{address} is not {name} in ip2domain: {names:?}"));
        }
    }
    let bad = |name: &str| name.contains("edge") || name.contains("cdn") || name.contains("liar") || name.is_empty();
    let lookups = requests.iter().flat_map(|r| &r.dns_lookups).map(|lookup| &lookup.domain);
    match lookups.chain(names.iter().map(|(_, name)| *name)).find(|name| bad(name)) {
        None => Ok(()),
        Some(name) => Err(format!("{name} was never asked for, or never answered")),
    }
}

/// The sums of the books of names close.
pub fn closes(agent: &Agent<'_>) -> Result<(), String> {
    eventually("the books of names close", Duration::from_secs(15), || {
        let metrics = agent.metrics()?;
        let get = |name: &str| metrics.get(&format!("netmon_dns_{name}")).map(|n| *n as u64).unwrap_or_default();
        let lost = |reason: &str| get(&format!("lost_total{{reason=\"{reason}\"}}"));
        let skipped: u64 = ["malformed", "unasked", "truncated", "segmented", "empty"]
            .iter()
            .map(|reason| get(&format!("skipped_total{{reason=\"{reason}\"}}")))
            .sum();
        let answers = get("lookups_total") + get("folded_total") + skipped + lost("ring_full");
        let lookups = get("acknowledged_total") + get("pending") + lost("lookups_full") + lost("undelivered");
        if get("answers_total") == answers && get("lookups_total") == lookups && get("pending") == 0 {
            return Ok(());
        }
        let books: Vec<_> = metrics.iter().filter(|(name, _)| name.starts_with("netmon_dns_")).collect();
        Err(format!("{books:?}"))
    })
}
