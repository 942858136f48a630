//! DAKR's messages (package `api.v1`) written as protobuf into a reused buffer, and its two short answers read.
//!
//! Knows nothing of framing, compression or HTTP. Field numbers are those of `tests/golden/dakr/netmon.proto`. Fields
//! are written in the order of their numbers, so the bytes equal those of a deterministic serialiser.

use std::fmt::{self, Write};

use crate::flow::{Addr, TxRx};
use crate::health::{ComponentState, Status};
use crate::wire::protobuf::{Fields, Value, integer, integer_len, message, present, present_len, string, string_len};

/// What every `SendNetworkTrafficMetricsRequest` of a node repeats.
#[derive(Clone, Copy, Debug, Default)]
pub struct Header<'a> {
    /// The cluster; left out where empty.
    pub cluster_id: &'a str,
    pub node_name: &'a str,
    /// Our version; written even where empty if given, for the schema calls it `optional`.
    pub operator_version: Option<&'a str>,
    /// Our commit, likewise.
    pub operator_commit: Option<&'a str>,
}

/// One `NetworkTrafficItem`.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The local end.
    pub local: Addr,
    /// The remote end.
    pub remote: Addr,
    /// The pod, empty for the host.
    pub pod_name: &'a str,
    pub pod_namespace: &'a str,
    /// IP protocol number.
    pub protocol: u8,
    /// The responder's port; 0 in inbound rows (rule 4).
    pub port: u16,
    /// What the local end sent and received. The schema's counters are int64: beyond that they stand at its limit.
    pub counts: TxRx,
    /// When the batch was frozen, nanoseconds since the epoch.
    pub timestamp_ns: u64,
}

/// One `DnsLookupItem`.
#[derive(Clone, Copy, Debug)]
pub struct DnsLookup<'a> {
    pub client: Addr,
    /// The name asked for, without the final dot.
    pub domain: &'a str,
    /// The addresses in the answer.
    pub resolved: &'a [Addr],
    /// When the answer arrived, nanoseconds since the epoch.
    pub timestamp_ns: u64,
    /// The pod that asked, empty if unknown.
    pub pod_name: &'a str,
    pub pod_namespace: &'a str,
}

/// One `ReportHealthRequest` of an operator of type NETWORK.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat<'a> {
    /// The cluster; left out where empty.
    pub cluster_id: &'a str,
    pub version: &'a str,
    /// The worst state of the components.
    pub overall: Status,
    pub components: &'a [ComponentState],
    /// When this process started, nanoseconds since the epoch.
    pub uptime_since_ns: u64,
    pub commit: &'a str,
}

/// `OPERATOR_TYPE_NETWORK`.
const OPERATOR_TYPE_NETWORK: u64 = 5;

/// Field of the items in `SendNetworkTrafficMetricsRequest`.
pub(super) const ITEMS: u64 = 4;
/// Field of the lookups.
pub(super) const DNS_LOOKUPS: u64 = 5;
/// Field of the map from address to name.
pub(super) const IP2DOMAIN: u64 = 6;
/// Fields of a `NetworkTrafficItem` that hold bytes.
pub(super) const TX_BYTES: u64 = 7;
/// See [`TX_BYTES`].
pub(super) const RX_BYTES: u64 = 8;

/// Starts a request: the fields before its items.
pub fn begin(out: &mut Vec<u8>, header: &Header<'_>) {
    string(out, 1, header.cluster_id.as_bytes());
    string(out, 3, header.node_name.as_bytes());
}

pub fn item(out: &mut Vec<u8>, item: &Item<'_>) {
    let (local, remote) = (AddrText::new(item.local), AddrText::new(item.remote));
    item_fields(
        out,
        [local.bytes(), remote.bytes(), item.pod_name.as_bytes(), item.pod_namespace.as_bytes()],
        [
            u64::from(item.protocol),
            u64::from(item.port),
            counter(item.counts.tx.bytes),
            counter(item.counts.rx.bytes),
            counter(item.counts.tx.packets),
            counter(item.counts.rx.packets),
        ],
        timestamp(item.timestamp_ns),
    );
}

/// An item from its fields 1 to 4, 5 to 10, and 11.
fn item_fields(out: &mut Vec<u8>, texts: [&[u8]; 4], numbers: [u64; 6], time: (u64, u64)) {
    let time_len = timestamp_len(time);
    let len = texts.iter().map(|t| string_len(t)).sum::<usize>()
        + numbers.iter().map(|n| integer_len(*n)).sum::<usize>()
        + present_len(time_len);
    out.reserve(len + 12);
    message(out, ITEMS, len);
    for (field, text) in (1..).zip(texts) {
        string(out, field, text);
    }
    for (field, number) in (5..).zip(numbers) {
        integer(out, field, number);
    }
    put_timestamp(out, 11, time);
}

/// Appends a DNS lookup.
pub fn dns_lookup(out: &mut Vec<u8>, lookup: &DnsLookup<'_>) {
    let client = AddrText::new(lookup.client);
    let time = timestamp(lookup.timestamp_ns);
    let len = string_len(client.bytes())
        + string_len(lookup.domain.as_bytes())
        + lookup.resolved.iter().map(|a| present_len(AddrText::new(*a).bytes().len())).sum::<usize>()
        + present_len(timestamp_len(time))
        + string_len(lookup.pod_name.as_bytes())
        + string_len(lookup.pod_namespace.as_bytes());
    message(out, DNS_LOOKUPS, len);
    string(out, 1, client.bytes());
    string(out, 2, lookup.domain.as_bytes());
    for address in lookup.resolved {
        present(out, 3, AddrText::new(*address).bytes());
    }
    put_timestamp(out, 4, time);
    string(out, 5, lookup.pod_name.as_bytes());
    string(out, 6, lookup.pod_namespace.as_bytes());
}

/// Appends an entry of `ip2domain`: the name that `address` was asked by. Call it in the order of the addresses' text
/// if the bytes are to be those of a deterministic serialiser. A server does not care.
pub fn domain(out: &mut Vec<u8>, address: Addr, name: &str) {
    map_entry(out, IP2DOMAIN, AddrText::new(address).bytes(), name.as_bytes());
}

/// Ends a request: the fields after its items, lookups and names.
pub fn end(out: &mut Vec<u8>, header: &Header<'_>) {
    for (field, text) in [(7, header.operator_version), (8, header.operator_commit)] {
        if let Some(text) = text {
            present(out, field, text.as_bytes());
        }
    }
}

/// Appends a whole heartbeat.
pub fn heartbeat(out: &mut Vec<u8>, beat: &Heartbeat<'_>) {
    string(out, 1, beat.cluster_id.as_bytes());
    integer(out, 2, OPERATOR_TYPE_NETWORK);
    string(out, 3, beat.version.as_bytes());
    integer(out, 4, beat.overall as u64);
    for component in beat.components {
        let entries = component.metadata.iter();
        let len = string_len(component.name.as_bytes())
            + integer_len(component.status as u64)
            + string_len(component.message.as_bytes())
            + entries.map(|(k, v)| present_len(map_entry_len(k.as_bytes(), v.as_bytes()))).sum::<usize>();
        message(out, 5, len);
        string(out, 1, component.name.as_bytes());
        integer(out, 2, component.status as u64);
        string(out, 3, component.message.as_bytes());
        for (key, value) in &component.metadata {
            map_entry(out, 4, key.as_bytes(), value.as_bytes());
        }
    }
    put_timestamp(out, 6, timestamp(beat.uptime_since_ns));
    string(out, 7, beat.commit.as_bytes());
}

/// `processed_count` of a `SendNetworkTrafficMetricsResponse`; `None` if it is malformed.
#[allow(clippy::cast_possible_truncation, reason = "protobuf sends an int32 as its 64-bit form")]
pub fn processed_count(response: &[u8]) -> Option<i32> {
    // Negative int32 are sign-extended to 64 bits on the wire; the low half is the number.
    Some(first_field(response)? as i32)
}

/// `collect_now` of a `ReportHealthResponse`; `None` if it is malformed.
pub fn collect_now(response: &[u8]) -> Option<bool> {
    Some(first_field(response)? != 0)
}

/// The integer in field 1; the last one counts, as protobuf requires, and a missing one is 0.
fn first_field(response: &[u8]) -> Option<u64> {
    let mut found = 0;
    for field in Fields::of(response) {
        match field.ok()? {
            field if field.number != 1 => {}
            field => match field.value {
                Value::Varint(value) => found = value,
                _ => return None,
            },
        }
    }
    Some(found)
}

fn map_entry_len(key: &[u8], value: &[u8]) -> usize {
    present_len(key.len()) + present_len(value.len())
}

/// Both halves of an entry are written even where empty, as the reference serialisers do.
fn map_entry(out: &mut Vec<u8>, field: u64, key: &[u8], value: &[u8]) {
    message(out, field, map_entry_len(key, value));
    present(out, 1, key);
    present(out, 2, value);
}

/// Seconds and nanoseconds of a `google.protobuf.Timestamp`.
fn timestamp(ns: u64) -> (u64, u64) {
    (ns / crate::clock::SECOND, ns % crate::clock::SECOND)
}

fn timestamp_len((seconds, nanos): (u64, u64)) -> usize {
    integer_len(seconds) + integer_len(nanos)
}

fn put_timestamp(out: &mut Vec<u8>, field: u64, time: (u64, u64)) {
    message(out, field, timestamp_len(time));
    integer(out, 1, time.0);
    integer(out, 2, time.1);
}

/// The schema's counters are int64.
fn counter(value: u64) -> u64 {
    value.min(i64::MAX as u64)
}

/// An address as text, on the stack.
struct AddrText {
    // The longest is `ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff`, or with a mapped IPv4 tail 45 bytes (INET6_ADDRSTRLEN - 1).
    bytes: [u8; 45],
    len: usize,
}

impl AddrText {
    fn new(address: Addr) -> AddrText {
        let mut text = AddrText { bytes: [0; 45], len: 0 };
        if address.is_v4() {
            // The formatting machinery costs several times as much, and most addresses are these.
            for (at, octet) in address.octets()[12..].iter().enumerate() {
                if at > 0 {
                    text.push(b'.');
                }
                text.push_decimal(*octet);
            }
        } else {
            // The buffer holds every address; were one longer, its text would be cut rather than the agent stopped.
            let _ = write!(text, "{address}");
        }
        text
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }

    fn push_decimal(&mut self, octet: u8) {
        if octet >= 100 {
            self.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            self.push(b'0' + octet / 10 % 10);
        }
        self.push(b'0' + octet % 10);
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Write for AddrText {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        part.bytes().for_each(|byte| self.push(byte));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
