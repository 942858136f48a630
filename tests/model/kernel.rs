//! Connections as the model's kernel has them, and as it says them.

use netmon::flow::{Addr, Connection, ConnectionKey, Counts, Ends, Reading, Traffic, TxRx};

/// A connection in the kernel.
#[derive(Clone, Copy)]
pub struct Entry {
    /// As the kernel gives them: two may have the same.
    pub id: u32,
    /// Never the same twice; the kernel has no such thing.
    pub serial: u64,
    /// What it has carried.
    pub traffic: Traffic,
}

/// The only local end, originator of everything.
pub const LOCAL: [u8; 4] = [10, 244, 1, 9];

fn key(tuple: u8) -> ConnectionKey {
    ConnectionKey {
        src: Addr::from_v4(LOCAL),
        dst: Addr::from_v4([198, 51, tuple % 7, tuple]),
        sport: 1_000 + u16::from(tuple),
        dport: 443,
        ct_zone: 0,
        protocol: 6,
        family: 4,
        realm: 0,
    }
}

/// What a source makes of what the kernel says of it.
pub fn record(tuple: u8, entry: Entry, reading: Reading) -> Connection {
    let key = key(tuple);
    Connection {
        key,
        backend: key.dst,
        backend_port: key.dport,
        ends: Ends::Both,
        reading,
        id: entry.id,
        start_ns: 0,
        traffic: entry.traffic,
        more: None,
        cgroup: 0,
    }
}

/// A packet there and two back.
pub fn traffic(bytes: u16) -> Traffic {
    let bytes = u64::from(bytes);
    Traffic { orig: Counts { bytes, packets: 1 }, reply: Counts { bytes: bytes * 3, packets: 2 } }
}

/// As the local end sees it.
pub fn as_tx_rx(t: Traffic) -> TxRx {
    TxRx { tx: t.orig, rx: t.reply }
}
