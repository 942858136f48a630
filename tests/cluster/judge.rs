//! Rows as they must be, by the truth; as `/flows` shows them; and as DAKR counted them. Compared exactly.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde_json::Value;

use crate::dakr::Kept;
use crate::kube::Pod;
use crate::truth::{Carried, Flow, Truth};

/// TCP's number.
pub const TCP: u8 = 6;
/// UDP's number.
pub const UDP: u8 = 17;

/// What names a row.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// `host`, or namespace and name of a pod with a slash between.
    pub owner: String,
    pub outbound: bool,
    pub local: IpAddr,
    pub remote: IpAddr,
    pub protocol: u8,
    pub port: u16,
    /// `inside` or `outside`.
    pub class: &'static str,
}

impl Row {
    /// The flow that it stands for.
    pub fn flow(&self) -> Flow {
        let (client, server) = if self.outbound { (self.local, self.remote) } else { (self.remote, self.local) };
        Flow { client, server, protocol: self.protocol, port: self.port }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.outbound { "outbound" } else { "inbound" };
        let Row { owner, local, remote, protocol, port, class, .. } = self;
        write!(f, "{owner} {direction} {local} {remote} protocol {protocol} port {port} {class}")
    }
}

/// Bytes and packets: sent, received.
pub type Counts = [u64; 4];

/// A row that must be there, and the flow whose counters it has.
#[derive(Clone, Debug)]
pub struct Expected {
    row: Row,
    pub flow: Flow,
}

impl Expected {
    /// Both ends of what one pod opens to another; a pod on the node's network has the node's address.
    pub fn between(client: &Pod, server: &Pod, at: (u8, u16)) -> Vec<Expected> {
        vec![
            Expected::outbound(&client.owner, client.v4, server.v4, at),
            Expected::inbound(&server.owner, server.v4, client.v4, at),
        ]
    }

    /// `local` opened connections to `remote`.
    pub fn outbound(owner: &str, local: IpAddr, remote: IpAddr, at: (u8, u16)) -> Expected {
        Expected::new(owner, true, local, remote, at)
    }

    /// `remote` opened connections to `local`.
    pub fn inbound(owner: &str, local: IpAddr, remote: IpAddr, at: (u8, u16)) -> Expected {
        Expected::new(owner, false, local, remote, at)
    }

    fn new(owner: &str, outbound: bool, local: IpAddr, remote: IpAddr, (protocol, port): (u8, u16)) -> Expected {
        let row = Row { owner: owner.into(), outbound, local, remote, protocol, port, class: "inside" };
        Expected { flow: row.flow(), row }
    }

    pub fn outside(mut self) -> Expected {
        self.row.class = "outside";
        self
    }

    pub fn port(&self) -> u16 {
        self.row.port
    }

    pub fn remote(&self) -> IpAddr {
        self.row.remote
    }

    fn counts(&self, Carried { client, server }: Carried) -> Counts {
        if self.row.outbound {
            [client.0, server.0, client.1, server.1]
        } else {
            [server.0, client.0, server.1, client.1]
        }
    }

    fn is_pushed(&self) -> bool {
        self.row.outbound || self.row.class == "outside"
    }
}

/// Sums by what names them.
pub type Sums<K> = BTreeMap<K, Counts>;
/// What names an item on the wire: owner, local, remote, protocol, port.
pub type WireKey = (String, IpAddr, IpAddr, u8, u16);

/// What `/flows` must show.
pub fn to_show(expected: &[Expected], now: &Truth, then: &Truth) -> Sums<Row> {
    let mut sums = Sums::new();
    for e in expected {
        add(sums.entry(e.row.clone()).or_default(), e.counts(now.of(&e.flow, then)));
    }
    sums
}

/// What DAKR must have: outbound rows, and inbound ones from outside, whose port is 0 there.
pub fn to_push(expected: &[Expected], now: &Truth, then: &Truth) -> Sums<WireKey> {
    let mut sums = Sums::new();
    for e in expected.iter().filter(|e| e.is_pushed()) {
        let Row { owner, outbound, local, remote, protocol, port, .. } = e.row.clone();
        let key = (owner, local, remote, protocol, if outbound { port } else { 0 });
        add(sums.entry(key).or_default(), e.counts(now.of(&e.flow, then)));
    }
    sums
}

fn add(sum: &mut Counts, counts: Counts) {
    sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}

/// The rows of a `/flows` document that `wanted` takes.
pub fn shown(document: &Value, wanted: impl Fn(&Row) -> bool) -> Result<Sums<Row>, String> {
    let mut sums = Sums::new();
    for item in document["items"].as_array().ok_or("/flows has no items")? {
        let (row, counts) = row(item).ok_or_else(|| format!("/flows: no row: {item}"))?;
        if wanted(&row) && sums.insert(row.clone(), counts).is_some() {
            return Err(format!("/flows shows a row twice: {row}"));
        }
    }
    Ok(sums)
}

fn row(item: &Value) -> Option<(Row, Counts)> {
    let owner = match item["owner"]["kind"].as_str()? {
        "pod" => format!("{}/{}", item["owner"]["namespace"].as_str()?, item["owner"]["name"].as_str()?),
        kind => kind.to_owned(),
    };
    let class = ["inside", "outside", "overlay"].into_iter().find(|c| item["class"] == *c).unwrap_or("other");
    let row = Row {
        owner,
        outbound: item["direction"] == "outbound",
        local: item["src_ip"].as_str()?.parse().ok()?,
        remote: item["dst_ip"].as_str()?.parse().ok()?,
        protocol: item["protocol"].as_u64()? as u8,
        port: item["dst_port"].as_u64()? as u16,
        class,
    };
    let count = |key: &str| item[key].as_u64();
    let (tx, rx) = (count("total_tx_bytes")?, count("total_rx_bytes")?);
    Some((row, [tx, rx, count("total_tx_packets")?, count("total_rx_packets")?]))
}

/// The sums of DAKR that `wanted` takes.
pub fn pushed(kept: &Kept, wanted: impl Fn(&WireKey) -> bool) -> Result<Sums<WireKey>, String> {
    if let Some(fault) = kept.faults.first() {
        return Err(format!("DAKR could not take a request: {fault}"));
    }
    let mut sums = Sums::new();
    for item in &kept.items {
        let owner = if item.pod.is_empty() { "host".to_owned() } else { format!("{}/{}", item.namespace, item.pod) };
        let address = |text: &str| text.parse::<IpAddr>().map_err(|_| format!("no address at DAKR: {item:?}"));
        let key = (owner, address(&item.src)?, address(&item.dst)?, item.protocol as u8, item.port as u16);
        let counts = [item.tx_bytes, item.rx_bytes, item.tx_packets, item.rx_packets].map(|n| n as u64);
        if wanted(&key) {
            add(sums.entry(key).or_default(), counts);
        }
    }
    Ok(sums)
}

/// Equality, but for what `may_miss` lets a row lack, in packets; else what differs.
pub fn equal<K: Ord + fmt::Debug>(
    what: &str,
    expected: &Sums<K>,
    got: &Sums<K>,
    may_miss: impl Fn(&K) -> u64,
) -> Result<(), String> {
    let mut said = String::new();
    for (key, want) in expected {
        match got.get(key) {
            None => said += &format!("  missing    {key:?}\n             expected {want:?}\n"),
            Some(have) if !is_near(want, have, may_miss(key)) => {
                said +=
                    &format!("  different  {key:?}\n             expected {want:?}\n             got      {have:?}\n");
            }
            Some(_) => {}
        }
    }
    for (key, have) in got.iter().filter(|(key, _)| !expected.contains_key(*key)) {
        said += &format!("  unexpected {key:?}\n             got      {have:?}\n");
    }
    if said.is_empty() { Ok(()) } else { Err(format!("{what} (sent, received, packets sent, received):\n{said}")) }
}

/// Whether nothing is too much, and no more is missing than so many packets of 40 bytes.
fn is_near(want: &Counts, have: &Counts, packets: u64) -> bool {
    let missing: Option<Vec<u64>> = want.iter().zip(have).map(|(want, have)| want.checked_sub(*have)).collect();
    missing.is_some_and(|m| m[0] + m[1] <= 40 * packets && m[2] + m[3] <= packets)
}
