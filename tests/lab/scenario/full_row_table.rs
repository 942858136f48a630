//! More rows than the table holds: names are folded away, sums per owner, direction, protocol and class are not, nor is
//! what is pushed and what is not.

use std::collections::BTreeMap;
use std::time::Duration;

use netmon::flow::TxRx;

use crate::agent::eventually;
use crate::lab::Lab;
use crate::rows::{self, ADDRESS, Row, udp};
use crate::scenario::Scenario;
use crate::topology::addr::*;
use crate::topology::socket;
use crate::truth::Truth;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("full_row_table", "rules 9, 13", run);

/// Remote addresses of each kind; each would be a row of its own.
const REMOTES: u8 = 200;
const MAX_ROWS: usize = 64;
/// What the sums must be: one line per owner, direction, protocol and class, as though each had been one row.
const EXPECTED: &[&str] = &[
    "address outbound protocol 17 inside",
    "address outbound protocol 17 outside",
    "address inbound protocol 17 inside",
];

/// Where what was folded goes.
fn group(owner: &str, direction: &str, protocol: u8, class: &str) -> String {
    format!("{owner} {direction} protocol {protocol} {class}")
}

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    lab.node().ip(&format!(
        "route add 10.244.8.0/21 via {PEER} dev eth0 onlink\nroute add 198.18.0.0/16 via {OUTSIDE} dev wan0 onlink\n"
    ))?;
    w.peer.netns.ip("route add local 10.244.8.0/21 dev lo\n")?;
    w.outside.netns.ip("route add local 198.18.0.0/16 dev lo\n")?;
    w.peer.serve_udp("0.0.0.0", 5353)?;
    w.outside.serve_udp("0.0.0.0", 5353)?;
    w.p1.serve_udp(P1, 5353)?;
    let agent = lab.agent().flag("-max-rows", &MAX_ROWS.to_string()).ready()?;
    for n in 0..REMOTES {
        // Several networks, so that folding to a /24 is not enough.
        w.p1.actor().udp(socket(&format!("10.244.{}.{n}", 8 + n % 8), 5353), 1, 1, 100 + u64::from(n), 0)?;
        w.p1.actor().udp(socket(&format!("198.18.{}.{n}", n % 100), 5353), 1, 2, 300 + u64::from(n), 0)?;
    }
    w.peer.actor().udp(socket(P1, 5353), 20, 1, 500, 600)?;
    let truth = lab.truth()?;

    let want = by_group(&truth);
    if want.keys().map(String::as_str).ne(BTreeMap::from_iter(EXPECTED.iter().map(|e| (*e, ()))).into_keys()) {
        return Err(format!("the truth has other groups than those expected: {want:?}"));
    }
    eventually("the sums are right", Duration::from_secs(5), || {
        let shown = agent.shown()?;
        if shown.len() > MAX_ROWS {
            return Err(format!("{} rows in a table of {MAX_ROWS}", shown.len()));
        }
        let mut got: BTreeMap<String, TxRx> = BTreeMap::new();
        for (key, counts) in &shown {
            *got.entry(group(&key.owner, &key.direction, key.protocol, &key.class)).or_default() += *counts;
        }
        rows::equal("sums at /flows", &want, &got)
    })?;
    for name in ["netmon_folded_rows_total", "netmon_folded_bytes_total"] {
        if agent.metric(name)? == 0.0 {
            return Err(format!("{name} is 0"));
        }
    }
    agent.terminate()?;
    let pushed = want.iter().filter(|(group, _)| group.contains("outbound")).fold(TxRx::ZERO, |a, (_, c)| a + *c);
    let received = lab.dakr.pushed()?.values().fold(TxRx::ZERO, |a, c| a + *c);
    if received == pushed { Ok(()) } else { Err(format!("DAKR received {received:?}, not {pushed:?}")) }
}

fn by_group(truth: &Truth) -> BTreeMap<String, TxRx> {
    let mut groups: BTreeMap<String, TxRx> = BTreeMap::new();
    for (flow, traffic) in truth.iter() {
        let (client, server) = (flow.client.to_string(), flow.server.to_string());
        let row = match client == P1 {
            true if server.starts_with("198.18.") => Row::outbound(ADDRESS, P1, OUTSIDE, udp(5353)).outside(),
            true => Row::outbound(ADDRESS, P1, REMOTE_POD, udp(5353)),
            false => Row::inbound(ADDRESS, P1, PEER, udp(5353)),
        };
        let key = row.key();
        let name = group(&key.owner, &key.direction, key.protocol, &key.class);
        *groups.entry(name).or_default() += rows::as_known(traffic.seen_by(row.direction()));
    }
    groups
}
