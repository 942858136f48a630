//! Rows as the rules want them, as the agent shows them, and as DAKR receives them; and their exact comparison.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use netmon::flow::{Class, Counts, Direction, TxRx, protocol};

use crate::lab::Source;
use crate::topology::ip;
use crate::truth::{Flow, Truth};

/// A row that a scenario expects. Its counters are not written down but taken from the truth, at `carrier`.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    owner: &'static str,
    direction: Direction,
    local: &'static str,
    remote: &'static str,
    protocol: u8,
    port: u16,
    class: Class,
    /// Client and server of the flow whose counters the row must show, where they are not simply its two ends.
    carrier: Option<(&'static str, &'static str)>,
}

/// Owner of what belongs to the node itself.
pub const HOST: &str = "host";
/// Owner of an address of `-local-cidrs`.
pub const ADDRESS: &str = "address";

impl Row {
    /// `local` opened connections to `remote`.
    pub const fn outbound(owner: &'static str, local: &'static str, remote: &'static str, at: (u8, u16)) -> Row {
        Row::new(owner, Direction::Outbound, local, remote, at)
    }

    /// `remote` opened connections to `local`.
    pub const fn inbound(owner: &'static str, local: &'static str, remote: &'static str, at: (u8, u16)) -> Row {
        Row::new(owner, Direction::Inbound, local, remote, at)
    }

    const fn new(
        owner: &'static str,
        direction: Direction,
        local: &'static str,
        remote: &'static str,
        (protocol, port): (u8, u16),
    ) -> Row {
        Row { owner, direction, local, remote, protocol, port, class: Class::Inside, carrier: None }
    }

    /// The remote address is beyond the cluster.
    pub const fn outside(mut self) -> Row {
        self.class = Class::Outside;
        self
    }

    /// It is the node's own tunnel.
    pub const fn overlay(mut self) -> Row {
        self.class = Class::Overlay;
        self
    }

    /// Its bytes are those of the flow from `client` to `server` (rule 5's exception).
    pub const fn carried(mut self, client: &'static str, server: &'static str) -> Row {
        self.carrier = Some((client, server));
        self
    }

    /// The flow whose counters it shows.
    pub fn flow(&self) -> Flow {
        let (client, server) = self.carrier.unwrap_or(match self.direction {
            Direction::Outbound => (self.local, self.remote),
            Direction::Inbound => (self.remote, self.local),
        });
        Flow::new(client, server, self.protocol, self.port)
    }

    /// Who opened the connections.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// What names it at the local endpoint.
    pub fn key(&self) -> Key {
        Key {
            owner: self.owner.to_owned(),
            direction: self.direction.as_str().to_owned(),
            local: ip(self.local),
            remote: ip(self.remote),
            protocol: self.protocol,
            port: self.port,
            class: self.class.as_str().to_owned(),
        }
    }

    fn wire_key(&self) -> WireKey {
        let pod = self.owner.strip_prefix("pod ").and_then(|name| name.split_once('/')).unwrap_or_default();
        WireKey {
            pod: (pod.0.to_owned(), pod.1.to_owned()),
            src: ip(self.local),
            dst: ip(self.remote),
            protocol: self.protocol,
            port: if self.direction == Direction::Inbound { 0 } else { self.port },
        }
    }

    /// Rule 15: Cilium has entries for a part of the node's own traffic alone, so none of it is counted.
    fn is_seen(&self) -> bool {
        Source::from_environment() != Ok(Source::Cilium) || self.owner != HOST
    }

    /// What the truth says that it carried, as far as conntrack counts where the source lives on that (rule 15).
    fn counts(&self, truth: &Truth) -> TxRx {
        let counted = truth.of(self.flow()) - truth.uncounted(self.flow());
        as_known(counted.seen_by(self.direction))
    }

    /// Rule 9: whether DAKR is to hear of it.
    fn is_pushed(&self) -> bool {
        match (self.class, self.direction) {
            (Class::Overlay, _) => false,
            (_, Direction::Outbound) => true,
            (class, Direction::Inbound) => class == Class::Outside,
        }
    }
}

/// What the source can know of counters: one sum where it has no more (rule 15).
pub fn as_known(counts: TxRx) -> TxRx {
    match Source::from_environment() {
        Ok(source) if source.sums() => TxRx { tx: counts.tx + counts.rx, rx: Counts::ZERO },
        _ => counts,
    }
}

/// TCP and a port.
pub const fn tcp(port: u16) -> (u8, u16) {
    (protocol::TCP, port)
}

/// UDP and a port.
pub const fn udp(port: u16) -> (u8, u16) {
    (protocol::UDP, port)
}

/// ICMP of IPv4.
pub const ICMP: (u8, u16) = (protocol::ICMP, 0);
/// ICMP of IPv6.
pub const ICMPV6: (u8, u16) = (protocol::ICMPV6, 0);

/// Everything that names a row at the local endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// `host`, `address`, `unit name`, `container name`, or `pod namespace/name`.
    pub owner: String,
    /// `outbound` or `inbound`.
    pub direction: String,
    /// The local end.
    pub local: IpAddr,
    /// The remote end.
    pub remote: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// The responder's port.
    pub port: u16,
    /// `inside`, `outside` or `overlay`.
    pub class: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Key { owner, direction, local, remote, protocol, port, class } = self;
        write!(f, "{owner} {direction} {local} {remote} protocol {protocol} port {port} {class}")
    }
}

/// What names an item on the wire to DAKR: a pod by its name, no direction and no class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireKey {
    /// Namespace and name of the pod, both empty for others.
    pub pod: (String, String),
    /// The local end.
    pub src: IpAddr,
    /// The remote end.
    pub dst: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// The remote end's port; 0 where the local end answers.
    pub port: u16,
}

impl fmt::Display for WireKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let WireKey { pod: (namespace, name), src, dst, protocol, port } = self;
        write!(f, "{namespace}/{name} {src} {dst} protocol {protocol} port {port}")
    }
}

/// Counters by key.
pub type Shown = BTreeMap<Key, TxRx>;
/// Counters by key of the wire.
pub type Pushed = BTreeMap<WireKey, TxRx>;

/// What the local endpoint must show.
pub fn shown(expected: &[Row], truth: &Truth) -> Shown {
    let mut rows = Shown::new();
    for row in expected {
        if row.is_seen() {
            *rows.entry(row.key()).or_default() += row.counts(truth);
        }
    }
    rows
}

/// What DAKR must have received (rules 4, 6 and 9).
pub fn pushed(expected: &[Row], truth: &Truth) -> Pushed {
    let of_rule_9: Vec<Row> = expected.iter().copied().filter(Row::is_pushed).collect();
    on_the_wire(&of_rule_9, truth)
}

/// Rows as items of the wire, all of them.
pub fn on_the_wire(rows: &[Row], truth: &Truth) -> Pushed {
    let mut items = Pushed::new();
    for row in rows {
        if row.is_seen() {
            *items.entry(row.wire_key()).or_default() += row.counts(truth);
        }
    }
    items
}

/// How many TCP connections each row and each item stands for.
pub fn opened(expected: &[Row], truth: &Truth) -> (BTreeMap<Key, u64>, BTreeMap<WireKey, u64>) {
    let (mut by_key, mut by_wire_key) = (BTreeMap::new(), BTreeMap::new());
    for row in expected {
        *by_key.entry(row.key()).or_default() += truth.opened(row.flow());
        *by_wire_key.entry(row.wire_key()).or_default() += truth.opened(row.flow());
    }
    (by_key, by_wire_key)
}

/// Adds what was shown or pushed by two agents, or in two parts.
pub fn sum<K: Ord + Clone>(one: &BTreeMap<K, TxRx>, other: &BTreeMap<K, TxRx>) -> BTreeMap<K, TxRx> {
    let mut all = one.clone();
    for (key, counts) in other {
        *all.entry(key.clone()).or_default() += *counts;
    }
    all
}

/// What a source may miss of a row's `connections` and still be right: nothing, except for BPF at sockets, which does
/// not see TCP segments that no socket stands behind (rule 15: at most 4 packets and 160 bytes per connection and row).
pub fn slack(source: Source, connections: u64) -> Counts {
    match source {
        Source::Netfilter | Source::Cilium => Counts::ZERO,
        Source::Ebpf | Source::Auto => Counts { packets: 4 * connections, bytes: 160 * connections },
    }
}

/// As [`equal`], but for what rule 15 lets `source` miss.
pub fn equal_for<K: Ord + Clone + fmt::Display>(
    source: Source,
    what: &str,
    expected: &BTreeMap<K, TxRx>,
    got: &BTreeMap<K, TxRx>,
    opened: &BTreeMap<K, u64>,
) -> Result<(), String> {
    let mut filled = got.clone();
    for (key, have) in &mut filled {
        let (Some(want), Some(connections)) = (expected.get(key), opened.get(key)) else { continue };
        let (missing, slack) = (*want - *have, slack(source, *connections));
        let (packets, bytes) = (missing.tx.packets + missing.rx.packets, missing.total_bytes());
        if packets <= slack.packets && bytes <= slack.bytes && *have + missing == *want {
            *have = *want;
        }
    }
    equal(what, expected, &filled)
}

/// Exact equality; else a table of what differs.
pub fn equal<K: Ord + fmt::Display>(
    what: &str,
    expected: &BTreeMap<K, TxRx>,
    got: &BTreeMap<K, TxRx>,
) -> Result<(), String> {
    let mut differences = String::new();
    for (key, want) in expected {
        match got.get(key) {
            None => differences += &format!("  missing    {key}\n             expected {}\n", text(want)),
            Some(have) if have != want => {
                differences += &format!(
                    "  different  {key}\n             expected {}\n             got      {}\n",
                    text(want),
                    text(have)
                );
            }
            Some(_) => {}
        }
    }
    for (key, have) in got.iter().filter(|(key, _)| !expected.contains_key(key)) {
        differences += &format!("  unexpected {key}\n             got      {}\n", text(have));
    }
    if differences.is_empty() { Ok(()) } else { Err(format!("{what}:\n{differences}")) }
}

fn text(counts: &TxRx) -> String {
    format!(
        "tx {} bytes in {} packets, rx {} bytes in {} packets",
        counts.tx.bytes, counts.tx.packets, counts.rx.bytes, counts.rx.packets
    )
}
