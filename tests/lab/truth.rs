//! What really crossed the node, counted by nftables: layer-3 bytes and packets per flow, without conntrack's help.
//!
//! Two hooks see every packet once: `prerouting` what arrives, `output` what the node sends, both after destination
//! NAT and (replies) after source NAT has been undone, which is the view of rule 3. What runs over loopback is left
//! out (rule 1). Who answers is told by the port: in the lab responders listen below 32768 and originators send from
//! 32768 up, so a flow is `client -> server:port` without a look at any connection.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use netmon::flow::{Counts, Traffic, protocol};
use serde_json::Value;

use crate::agent::eventually;
use crate::netns::Netns;
use crate::process::{self, Place};
use crate::topology::ip;

/// All conversations of one client with one port of one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// The originator.
    pub client: IpAddr,
    /// The responder.
    pub server: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// The responder's port; 0 for ICMP.
    pub port: u16,
}

impl Flow {
    /// From text.
    pub fn new(client: &str, server: &str, protocol: u8, port: u16) -> Flow {
        Flow { client: ip(client), server: ip(server), protocol, port }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} port {} protocol {}", self.client, self.server, self.port, self.protocol)
    }
}

/// What was counted up to some moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    carried: BTreeMap<Flow, Traffic>,
    /// SYNs that were sent, one for each TCP connection unless one was repeated.
    opened: BTreeMap<Flow, u64>,
    /// What conntrack let pass without counting it: see [`Truth::uncounted`].
    uncounted: BTreeMap<Flow, Traffic>,
}

impl Truth {
    /// Lays the counters into the node's namespace.
    ///
    /// `ignored` are further conditions under which a packet is not to be counted, as nft matches
    /// (`iifname "patch1"`); one rule each.
    ///
    /// `by_conntrack`: what conntrack lets pass uncounted is counted apart. Conntrack runs while such a rule stands.
    pub fn install(node: &Netns, ignored: &[&str], by_conntrack: bool) -> Result<(), String> {
        let ignored: String = ignored.iter().map(|i| format!("{i} return\n")).collect();
        let passed = match by_conntrack {
            true => {
                "meta nfproto ipv4 tcp flags & (syn | ack) == syn ct status confirmed jump passed
                    meta nfproto ipv4 meta l4proto tcp ct state invalid jump passed"
            }
            false => "",
        };
        node.nft(&format!(
            "table inet lab_truth {{
                set to4 {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags dynamic; size 65535; }}
                set from4 {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags dynamic; size 65535; }}
                set to6 {{ type ipv6_addr . ipv6_addr . inet_proto . inet_service; flags dynamic; size 65535; }}
                set from6 {{ type ipv6_addr . ipv6_addr . inet_proto . inet_service; flags dynamic; size 65535; }}
                set syn4 {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags dynamic; size 65535; }}
                set syn6 {{ type ipv6_addr . ipv6_addr . inet_proto . inet_service; flags dynamic; size 65535; }}
                set pass_to4 {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags dynamic; size 65535; }}
                set pass_from4 {{ type ipv4_addr . ipv4_addr . inet_proto . inet_service; flags dynamic; size 65535; }}
                set echo4 {{ type ipv4_addr . ipv4_addr . icmp_type; flags dynamic; size 65535; }}
                set echo6 {{ type ipv6_addr . ipv6_addr . icmpv6_type; flags dynamic; size 65535; }}
                chain passed {{
                    th dport < 32768 update @pass_to4 {{ ip saddr . ip daddr . meta l4proto . th dport counter }}
                    th sport < 32768 update @pass_from4 {{ ip saddr . ip daddr . meta l4proto . th sport counter }}
                }}
                chain count {{
                    {ignored}
                    icmp type {{ echo-request, echo-reply }} update @echo4 {{ ip saddr . ip daddr . icmp type counter }}
                    icmpv6 type {{ echo-request, echo-reply }} update @echo6 {{ ip6 saddr . ip6 daddr . icmpv6 type counter }}
                    meta l4proto {{ icmp, icmpv6 }} return
                    {passed}
                    meta nfproto ipv4 tcp flags & (syn | ack) == syn update @syn4 {{ ip saddr . ip daddr . meta l4proto . th dport counter }}
                    meta nfproto ipv6 tcp flags & (syn | ack) == syn update @syn6 {{ ip6 saddr . ip6 daddr . meta l4proto . th dport counter }}
                    meta nfproto ipv4 th dport < 32768 update @to4 {{ ip saddr . ip daddr . meta l4proto . th dport counter }}
                    meta nfproto ipv4 th sport < 32768 update @from4 {{ ip saddr . ip daddr . meta l4proto . th sport counter }}
                    meta nfproto ipv6 th dport < 32768 update @to6 {{ ip6 saddr . ip6 daddr . meta l4proto . th dport counter }}
                    meta nfproto ipv6 th sport < 32768 update @from6 {{ ip6 saddr . ip6 daddr . meta l4proto . th sport counter }}
                }}
                chain arriving {{ type filter hook prerouting priority -50; iifname != lo jump count; }}
                chain leaving {{ type filter hook output priority -50; oifname != lo jump count; }}
            }}"
        ))
    }

    /// Reads the counters.
    pub fn read(node: &Netns) -> Result<Truth, String> {
        let text = node.run(&["nft", "-j", "-n", "list", "table", "inet", "lab_truth"], "")?;
        let json: Value = serde_json::from_str(&text).map_err(|e| format!("nft prints no JSON: {e}"))?;
        let mut truth = Truth::default();
        let objects = json["nftables"].as_array().into_iter().flatten();
        for set in objects.filter_map(|o| o.get("set")) {
            let name = set["name"].as_str().unwrap_or_default();
            for element in set["elem"].as_array().into_iter().flatten() {
                let element = &element["elem"];
                let counted = &element["counter"];
                let counts = Counts {
                    bytes: counted["bytes"].as_u64().ok_or_else(|| format!("no counter in {element}"))?,
                    packets: counted["packets"].as_u64().ok_or_else(|| format!("no counter in {element}"))?,
                };
                let (flow, reply) = flow_of(name, &element["val"]["concat"])?;
                if name.starts_with("syn") {
                    *truth.opened.entry(flow).or_default() += counts.packets;
                    continue;
                }
                let flows = if name.starts_with("pass") { &mut truth.uncounted } else { &mut truth.carried };
                let traffic = flows.entry(flow).or_default();
                *(if reply { &mut traffic.reply } else { &mut traffic.orig }) += counts;
            }
        }
        Ok(truth)
    }

    /// What one flow carried.
    pub fn of(&self, flow: Flow) -> Traffic {
        self.carried.get(&flow).copied().unwrap_or_default()
    }

    /// What of it conntrack let pass without counting it: packets that it calls invalid, and a SYN whose tuple has an
    /// entry already. That is a repeated one, or one for an entry that is closed but not yet known to be dead (a packet
    /// of the server's crossed the reset). The answer to such a SYN opens the old entry anew. Of IPv4 alone.
    pub fn uncounted(&self, flow: Flow) -> Traffic {
        self.uncounted.get(&flow).copied().unwrap_or_default()
    }

    /// Without what conntrack let pass uncounted.
    pub fn by_conntrack(mut self) -> Truth {
        for (flow, passed) in std::mem::take(&mut self.uncounted) {
            let carried = self.of(flow);
            self.carried.insert(flow, carried - passed);
        }
        self
    }

    /// How many TCP connections one flow is made of.
    pub fn opened(&self, flow: Flow) -> u64 {
        self.opened.get(&flow).copied().unwrap_or_default()
    }

    /// Both together.
    pub fn and(&self, other: &Truth) -> Truth {
        let mut both = self.clone();
        other.iter().for_each(|(flow, traffic)| *both.carried.entry(flow).or_default() += traffic);
        other.opened.iter().for_each(|(flow, opened)| *both.opened.entry(*flow).or_default() += opened);
        other.uncounted.iter().for_each(|(flow, passed)| *both.uncounted.entry(*flow).or_default() += *passed);
        both
    }

    /// What was counted since `earlier`.
    pub fn since(&self, earlier: &Truth) -> Truth {
        let carried = self.carried.iter().map(|(flow, now)| (*flow, *now - earlier.of(*flow)));
        let opened = self.opened.iter().map(|(flow, now)| (*flow, now - earlier.opened(*flow)));
        let uncounted = self.uncounted.iter().map(|(flow, now)| (*flow, *now - earlier.uncounted(*flow)));
        Truth {
            carried: carried.filter(|(_, t)| !t.is_zero()).collect(),
            opened: opened.collect(),
            uncounted: uncounted.collect(),
        }
    }

    /// Every flow.
    pub fn iter(&self) -> impl Iterator<Item = (Flow, Traffic)> {
        self.carried.iter().map(|(f, t)| (*f, *t))
    }
}

/// The flow that a set element stands for, and whether it counts what the responder sent.
fn flow_of(set: &str, concat: &Value) -> Result<(Flow, bool), String> {
    let bad = || format!("set {set} holds {concat}");
    let address = |at: usize| concat[at].as_str().and_then(|a| a.parse().ok()).ok_or_else(bad);
    let (source, destination) = (address(0)?, address(1)?);
    let (reply, protocol, port) = match set {
        "echo4" => (named(&concat[2], &[("echo-reply", 0), ("echo-request", 8)]) == Some(0), protocol::ICMP, 0),
        "echo6" => (named(&concat[2], &[("echo-reply", 129), ("echo-request", 128)]) == Some(129), protocol::ICMPV6, 0),
        _ => {
            let protocol = named(&concat[2], &[("tcp", 6), ("udp", 17), ("sctp", 132)]).ok_or_else(bad)?;
            let port = concat[3].as_u64().ok_or_else(bad)?;
            (set.contains("from"), protocol as u8, port as u16)
        }
    };
    let (client, server) = if reply { (destination, source) } else { (source, destination) };
    Ok((Flow { client, server, protocol, port }, reply))
}

/// nft prints some values by number and some by name, by version.
fn named(value: &Value, names: &[(&str, u64)]) -> Option<u64> {
    let text = match value.as_u64() {
        Some(number) => return Some(number),
        None => value.as_str()?,
    };
    text.parse().ok().or_else(|| names.iter().find(|(name, _)| *name == text).map(|(_, number)| *number))
}

/// What conntrack itself counted, summed like [`Truth`]: the proof that the two count alike, without an agent between
/// them. Only what lives in the table, by `conntrack -L`.
pub fn conntrack_table(node: &Netns) -> Result<Truth, String> {
    let mut truth = Truth::default();
    for family in ["ipv4", "ipv6"] {
        truth.add_conntrack(&node.run(&["conntrack", "-L", "-f", family, "-o", "extended"], "")?)?;
    }
    Ok(truth)
}

/// What conntrack says at the end of connections, by `conntrack -E`. Its queue is short, and its `-b` does not lengthen
/// it (conntrack-tools 1.4.7): what ends at one stroke overflows it.
pub struct Ends {
    child: Child,
    file: PathBuf,
}

impl Ends {
    /// Listens from now on, writing to `file`.
    pub fn listen(node: &Netns, file: PathBuf) -> Result<Ends, String> {
        let output = File::create(&file).map_err(|e| format!("no file for conntrack -E: {e}"))?;
        let child = node.enter(|| {
            // Line by line, or the last ends stay in its buffer.
            process::command("stdbuf", &Place::default())
                .args(["-oL", "conntrack", "-E", "-e", "DESTROY", "-o", "extended"])
                .stdout(output)
                .stderr(Stdio::null())
                .spawn()
        });
        let ends = Ends { child: child.map_err(|e| format!("cannot run conntrack -E: {e}"))?, file };
        // There is no word when it listens; a second netlink socket of this namespace is the sign.
        let listening = || node.enter(|| std::fs::read_to_string("/proc/thread-self/net/netlink"));
        eventually("conntrack -E listens", Duration::from_secs(5), || {
            let sockets = listening().map_err(|e| e.to_string())?;
            // Columns: sk Eth Pid Groups; protocol 12 is netfilter, group 3 is DESTROY.
            let joined = sockets.lines().any(|l| {
                let words: Vec<&str> = l.split_whitespace().collect();
                words.get(1) == Some(&"12") && words.get(3) == Some(&"00000004")
            });
            if joined { Ok(()) } else { Err(sockets) }
        })?;
        Ok(ends)
    }

    /// What the connections carried that have ended so far.
    pub fn read(&self) -> Result<Truth, String> {
        let mut truth = Truth::default();
        truth.add_conntrack(&std::fs::read_to_string(&self.file).map_err(|e| format!("no ends to read: {e}"))?)?;
        Ok(truth)
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Truth {
    /// Adds what lines of the `conntrack` command say: client is `orig.src`, server `reply.src:reply.sport` (rule 3).
    fn add_conntrack(&mut self, text: &str) -> Result<(), String> {
        for line in text.lines() {
            let mut seen: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (key, value) in line.split_whitespace().filter_map(|word| word.split_once('=')) {
                seen.entry(key).or_default().push(value);
            }
            let word = |key: &str, at: usize| seen.get(key).and_then(|v| v.get(at)).copied();
            let number = |key: &str, at: usize| -> Result<u64, String> {
                let text = word(key, at).ok_or_else(|| format!("no {key} in {line}"))?;
                text.parse().map_err(|_| format!("{key} is no number in {line}"))
            };
            let address = |at: usize| word("src", at).map(ip).ok_or_else(|| format!("no src in {line}"));
            let (client, server) = (address(0)?, address(1)?);
            if client.is_loopback() {
                continue;
            }
            let mut words = line.split_whitespace();
            words.find(|w| ["tcp", "udp", "icmp", "icmpv6", "sctp"].contains(w));
            let protocol = words.next().and_then(|p| p.parse().ok()).ok_or_else(|| format!("no protocol in {line}"))?;
            let port = if seen.contains_key("sport") { number("sport", 1)? as u16 } else { 0 };
            let counts = |at| Ok::<_, String>(Counts { bytes: number("bytes", at)?, packets: number("packets", at)? });
            let traffic = self.carried.entry(Flow { client, server, protocol, port }).or_default();
            *traffic += Traffic { orig: counts(0)?, reply: counts(1)? };
        }
        Ok(())
    }

    /// Whether both hold the same flows with the same counters; else what differs.
    pub fn same_as(&self, other: &Truth, (own, others): (&str, &str)) -> Result<(), String> {
        let differing = self.iter().chain(other.iter()).find(|(flow, _)| self.of(*flow) != other.of(*flow));
        differing.map_or(Ok(()), |(flow, _)| {
            Err(format!("{flow}: {own} counted {:?}, {others} {:?}", self.of(flow), other.of(flow)))
        })
    }
}
