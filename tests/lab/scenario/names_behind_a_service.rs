//! The cluster's DNS has a service address that the node translates: for a pod outside of its namespace, for the node's
//! own sockets within, between socket and program. An answer is matched with its question as the socket knows both, also
//! where the service's backend listens on another port.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::agent::eventually;
use crate::dns::{Dnsmasq, dig};
use crate::drive::Burst;
use crate::lab::{Lab, Source};
use crate::scenario::{Scenario, names};
use crate::topology::addr::*;
use crate::topology::socket;

/// See the file's head.
pub const SCENARIO: Scenario = Scenario::new("names_behind_a_service", "names", run).needing(&["dnsmasq", "dig"]);

/// Service addresses of two servers, both on p2: port 53, and port 5353 behind 53.
const DNS: &str = "10.96.0.53";
const DNS_5353: &str = "10.96.0.54";

/// Client and name.
const LOOKUPS: &[(&str, &str)] =
    &[(P1, "pod.shop.lab"), (WAN, "node.shop.lab"), (WAN, "port.shop.lab"), (WAN, "tcp.shop.lab")];

fn run(lab: &Lab) -> Result<(), String> {
    let w = &lab.world;
    w.outside.serve_tcp(OUTSIDE, 8080)?;
    let services = [(DNS, 53), (DNS_5353, 5353)].map(|(service, port)| {
        ["udp", "tcp"].map(|protocol| {
            format!("add rule inet lab_nat services ip daddr {service} {protocol} dport 53 dnat ip to {P2}:{port}\n")
        })
    });
    w.node.netns.nft(&services.concat().concat())?;
    let _servers = ["53", "5353"].map(|port| {
        let records = ["pod", "node", "port", "tcp", "loose"].map(|name| format!("{name}.shop.lab")).join(",");
        Dnsmasq::start(&w.p2, P2, &[&format!("--port={port}"), &format!("--host-record={records},{OUTSIDE}")])
    });
    let agent = lab.agent_with_names()?.flag("-dns-ports", "53,5353").ready()?;

    dig(&w.p1, DNS, &["pod.shop.lab", "A"])?;
    dig(&w.node, DNS, &["node.shop.lab", "A"])?;
    dig(&w.node, DNS_5353, &["port.shop.lab", "A"])?;
    dig(&w.node, DNS_5353, &["+tcp", "tcp.shop.lab", "A"])?;
    // What a socket asks that is not connected, nobody knows but the packet, and that is translated.
    if !w.node.actor().ask_dns_unconnected(socket(DNS, 53), "loose.shop.lab")? {
        return Err("no answer came from the service".to_owned());
    }
    eventually("all answers are judged", Duration::from_secs(10), || {
        let count = |name: &str| agent.metric(&format!("netmon_dns_{name}")).map(|n| n as u64);
        let got = (count("answers_total")?, count("lookups_total")?, count("skipped_total{reason=\"unasked\"}")?);
        if got == (5, 4, 1) { Ok(()) } else { Err(format!("answers, lookups, unasked: {got:?}")) }
    })?;
    w.p1.actor().burst(Burst::new(socket(OUTSIDE, 8080), 5, 100, 1_000))?;
    w.node.actor().burst(Burst::new(socket(OUTSIDE, 8080), 5, 100, 1_000))?;
    eventually("rows bear their names", Duration::from_secs(10), || {
        let flows = agent.flows()?;
        names::named(&flows, (P1, OUTSIDE, "pod.shop.lab", ""))?;
        // Cilium has no entries of the node's own.
        if lab.source == Source::Cilium { Ok(()) } else { names::named(&flows, (WAN, OUTSIDE, "tcp.shop.lab", "")) }
    })?;
    names::closes(&agent)?;
    let requests = lab.dakr.traffic()?;
    let delivered = requests.iter().flat_map(|r| &r.dns_lookups).map(|l| (l.client_ip.as_str(), l.domain.as_str()));
    let (delivered, expected): (BTreeSet<_>, BTreeSet<_>) = (delivered.collect(), LOOKUPS.iter().copied().collect());
    if delivered != expected {
        return Err(format!("lookups {delivered:?}"));
    }
    agent.terminate()
}
