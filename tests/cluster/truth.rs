//! What crossed the node, counted by nftables per client, server and server's port: packets once each, after the
//! destination was translated and before the source is. Who serves is told by the port: below 32768.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde_json::Value;

use crate::kube::{run, run_with};

/// All conversations of one client with one port of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    pub client: IpAddr,
    pub server: IpAddr,
    pub protocol: u8,
    pub port: u16,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} port {} protocol {}", self.client, self.server, self.port, self.protocol)
    }
}

/// Bytes and packets, of the client and of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub client: (u64, u64),
    pub server: (u64, u64),
}

/// What was counted up to some moment.
#[derive(Clone, Debug, Default)]
pub struct Truth {
    carried: BTreeMap<Flow, Carried>,
    /// TCP connections that were opened.
    opened: BTreeMap<Flow, u64>,
}

/// Lays the counters.
pub fn install() -> Result<(), String> {
    let mut table = String::from("table inet truth {\n");
    for (n, family) in [("4", "ipv4"), ("6", "ipv6")] {
        for set in ["to", "from", "syn"] {
            table += &format!(
                "set {set}{n} {{ type {family}_addr . {family}_addr . inet_proto . inet_service; flags dynamic; size 65535; }}\n"
            );
        }
    }
    table += "chain count {\nmeta l4proto != { tcp, udp, sctp } return\n";
    for (n, ip) in [("4", "ip"), ("6", "ip6")] {
        let syn = "tcp flags & (syn | ack) == syn ";
        for (set, more, port) in [("to", "", "dport"), ("from", "", "sport"), ("syn", syn, "dport")] {
            table += &format!(
                "meta nfproto ipv{n} {more}th {port} < 32768 update @{set}{n} {{ {ip} saddr . {ip} daddr . meta l4proto . th {port} counter }}\n"
            );
        }
    }
    table += "}\nchain arriving { type filter hook prerouting priority -50; iifname != lo jump count; }\n";
    table += "chain leaving { type filter hook output priority -50; oifname != lo jump count; }\n}\n";
    run_with("nft", &["-f", "-"], &table).map(drop)
}

impl Truth {
    /// Reads the counters.
    pub fn read() -> Result<Truth, String> {
        let text = run("nft", &["-j", "-n", "list", "table", "inet", "truth"])?;
        let json: Value = serde_json::from_str(&text).map_err(|e| format!("nft prints no JSON: {e}"))?;
        let mut truth = Truth::default();
        for set in json["nftables"].as_array().into_iter().flatten().filter_map(|o| o.get("set")) {
            let name = set["name"].as_str().unwrap_or_default();
            let served = name.starts_with("from");
            for element in set["elem"].as_array().into_iter().flatten().map(|e| &e["elem"]) {
                let (flow, counts) = counted(element, served).ok_or_else(|| format!("no counter: {element}"))?;
                if name.starts_with("syn") {
                    truth.opened.insert(flow, counts.1);
                    continue;
                }
                let carried = truth.carried.entry(flow).or_default();
                *(if served { &mut carried.server } else { &mut carried.client }) = counts;
            }
        }
        Ok(truth)
    }

    /// What one flow carried since `earlier`.
    pub fn of(&self, flow: &Flow, earlier: &Truth) -> Carried {
        let (now, then) = (self.at(flow), earlier.at(flow));
        let less = |a: (u64, u64), b: (u64, u64)| (a.0 - b.0, a.1 - b.1);
        Carried { client: less(now.client, then.client), server: less(now.server, then.server) }
    }

    /// How many TCP connections were opened since `earlier` in the flows that `is_of` takes.
    pub fn opened_by(&self, earlier: &Truth, is_of: impl Fn(&Flow) -> bool) -> u64 {
        let of = |(flow, count): (&Flow, &u64)| count - earlier.opened.get(flow).copied().unwrap_or_default();
        self.opened.iter().filter(|(flow, _)| is_of(flow)).map(of).sum()
    }

    /// Flows that carried something since `earlier`, as text.
    pub fn list(&self, earlier: &Truth) -> String {
        let changed = self.carried.keys().filter(|flow| self.of(flow, earlier) != Carried::default());
        changed.map(|flow| format!("    {flow}: {:?}\n", self.of(flow, earlier))).collect()
    }

    fn at(&self, flow: &Flow) -> Carried {
        self.carried.get(flow).copied().unwrap_or_default()
    }
}

fn counted(element: &Value, served: bool) -> Option<(Flow, (u64, u64))> {
    let (parts, counter) = (&element["val"]["concat"], &element["counter"]);
    let address = |at: usize| parts[at].as_str()?.parse::<IpAddr>().ok();
    let protocol = match (parts[2].as_str(), parts[2].as_u64()) {
        (Some("tcp"), _) => 6,
        (Some("udp"), _) => 17,
        (Some("sctp"), _) => 132,
        (Some(text), _) => text.parse().ok()?,
        (None, number) => number? as u8,
    };
    let (client, server) = if served { (address(1)?, address(0)?) } else { (address(0)?, address(1)?) };
    let flow = Flow { client, server, protocol, port: parts[3].as_u64()? as u16 };
    Some((flow, (counter["bytes"].as_u64()?, counter["packets"].as_u64()?)))
}
