//! The words of the BPF maps: the tuple as the local socket sees it, and what was counted under it.
//!
//! Reads the bytes of `bpf/flow.h` at offsets. Knows nothing of who opened a connection.

use crate::flow::{Addr, Counts};

/// Bytes of `struct flow4_key`.
pub const KEY4_BYTES: usize = 16;
/// Bytes of `struct flow6_key`.
pub const KEY6_BYTES: usize = 40;
/// Bytes of `struct flow_value`.
pub const VALUE_BYTES: usize = 64;
/// Bytes of `struct flow_stats`.
pub const STATS_BYTES: usize = 88;

/// `FLOW_FIRST_TX` of `bpf/flow.h`.
const FIRST_TX: u8 = 1;

/// A flow's name, seen from the local socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Address of the end whose socket this is.
    pub local: Addr,
    /// Address of the other end.
    pub remote: Addr,
    /// Port of the local end; 0 where the protocol has none.
    pub local_port: u16,
    /// Port of the other end.
    pub remote_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// `FLOW_*` of `bpf/flow.h`.
    pub flags: u8,
    /// 4 or 6, as in the packet.
    pub family: u8,
    /// Nothing; keeps the struct free of padding.
    pub zero: u8,
}

impl Tuple {
    /// From `struct flow4_key` or `struct flow6_key`; `None` for any other length.
    pub fn read(key: &[u8]) -> Option<Tuple> {
        let (family, local, remote, rest) = match key.len() {
            KEY4_BYTES => (4, Addr::from_v4(array(key, 0)?), Addr::from_v4(array(key, 4)?), 8),
            KEY6_BYTES => (6, Addr::from_v6(array(key, 0)?), Addr::from_v6(array(key, 16)?), 32),
            _ => return None,
        };
        Some(Tuple {
            local,
            remote,
            local_port: u16::from_be_bytes(array(key, rest)?),
            remote_port: u16::from_be_bytes(array(key, rest + 2)?),
            protocol: *key.get(rest + 4)?,
            flags: *key.get(rest + 5)?,
            family,
            zero: 0,
        })
    }
}

/// What was counted under a tuple since the last drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Sent by the local end.
    pub tx: Counts,
    /// Received by it.
    pub rx: Counts,
    /// Frames beyond one for each packet, and their headers: sent.
    pub more_tx: Counts,
    /// Received.
    pub more_rx: Counts,
    /// Id of the local socket's cgroup; 0 if it has none.
    pub cgroup: u64,
    /// The local end sent a SYN or INIT, or received the answer to one.
    pub opened_by_local: bool,
    /// The remote end did.
    pub opened_by_remote: bool,
    /// The answer to a SYN or INIT of the local end was seen since the last drain.
    pub answered_local: bool,
    /// The local end answered one.
    pub answered_remote: bool,
    /// The first packet since the last drain was sent by the local end.
    pub first_is_tx: bool,
    /// A TCP socket listens on the local port (looked up only where no SYN was seen first).
    pub listens: bool,
}

impl Counted {
    /// From `struct flow_value`; `None` for any other length.
    pub fn read(value: &[u8]) -> Option<Counted> {
        if value.len() != VALUE_BYTES {
            return None;
        }
        Some(Counted {
            tx: Counts { bytes: number(value, 0)?, packets: number(value, 16)? },
            rx: Counts { bytes: number(value, 8)?, packets: number(value, 24)? },
            more_tx: further_frames(number(value, 32)?),
            more_rx: further_frames(number(value, 40)?),
            cgroup: number(value, 48)?,
            opened_by_local: *value.get(56)? != 0,
            opened_by_remote: *value.get(57)? != 0,
            first_is_tx: *value.get(58)? == FIRST_TX,
            listens: *value.get(59)? != 0,
            answered_local: *value.get(60)? != 0,
            answered_remote: *value.get(61)? != 0,
        })
    }
}

/// What the programs left out or lost, summed over the CPUs. Each only grows while the programs live.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelStats {
    /// Packets over a loopback device.
    pub loopback: u64,
    /// Packets that are neither IPv4 nor IPv6.
    pub not_ip: u64,
    /// ICMP about other traffic.
    pub icmp_error: u64,
    /// A raw socket's copies of what another socket received.
    pub raw_copy: u64,
    /// Segments that the kernel showed twice.
    pub same_segment: u64,
    /// Packets that found no buffer.
    pub no_buffer: u64,
    /// What found no slot, as sent by the local end.
    pub lost_tx: Counts,
    /// What found no slot, as received by it.
    pub lost_rx: Counts,
    /// Later fragments, counted without ports.
    pub fragments: u64,
}

impl KernelStats {
    /// Adds one CPU's `struct flow_stats`.
    pub fn add(&mut self, value: &[u8]) {
        let at = |index: usize| number(value, index * 8).unwrap_or(0);
        self.loopback += at(0);
        self.not_ip += at(1);
        self.icmp_error += at(2);
        self.raw_copy += at(3);
        self.same_segment += at(4);
        self.no_buffer += at(5);
        self.lost_tx += Counts { bytes: at(6), packets: at(8) };
        self.lost_rx += Counts { bytes: at(7), packets: at(9) };
        self.fragments += at(10);
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// `flow_value.tx_more`: the lower half counts frames, the upper one words of their headers.
fn further_frames(word: u64) -> Counts {
    Counts { bytes: (word >> 32) * 4, packets: word & 0xffff_ffff }
}

/// Counters are in the host's byte order.
fn number(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests;
