//! Detects a source that does not see the traffic (rule 16): it compares the bytes of the busiest interface with those
//! of all connections.
//!
//! It reads `/proc/net/dev` (proc_pid_net(5)) and does not know the kind of source.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// Bytes below which a window proves nothing.
const LEAST_BYTES: u64 = 1_000_000;
/// Sweeps of one window.
const SWEEPS: u8 = 3;
/// Bytes of an Ethernet header, which interface counters include and layer-3 lengths do not.
const LINK_HEADER_BYTES: u64 = 14;
/// Largest number of interfaces that are read. A node with more is judged by the first ones.
const INTERFACES: usize = 1_024;

/// The result of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// Too little traffic, or the window is not over.
    Unknown,
    /// The source sees the traffic.
    Clear,
    /// The busiest interface carried more than twice what the source saw.
    Blind {
        /// Layer-3 bytes of the busiest interface.
        interface_bytes: u64,
        /// Bytes of all connections.
        seen_bytes: u64,
    },
}

/// One interface's counters, as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    name: [u8; 16],
    layer3_bytes: u64,
}

/// The current window.
pub struct Watch {
    file: Option<File>,
    text: Vec<u8>,
    at_start: Vec<Reading>,
    now: Vec<Reading>,
    seen_bytes: u64,
    sweeps: u8,
}

impl Watch {
    /// Opens the counters of this network namespace. Without them the result is always [`Sight::Unknown`].
    pub fn open() -> Watch {
        Watch {
            file: File::open("/proc/thread-self/net/dev").ok(),
            text: vec![0; 128 * 1024],
            at_start: Vec::with_capacity(INTERFACES),
            now: Vec::with_capacity(INTERFACES),
            seen_bytes: 0,
            sweeps: 0,
        }
    }

    /// Ends a complete sweep, in which all connections carried `seen_bytes`.
    pub fn end_sweep(&mut self, seen_bytes: u64) -> Sight {
        let Some(file) = &mut self.file else { return Sight::Unknown };
        let Ok(length) = read_whole(file, &mut self.text) else { return Sight::Unknown };
        let text = self.text.get(..length).unwrap_or_default();
        parse(text, &mut self.now);
        self.judge(seen_bytes)
    }

    fn judge(&mut self, seen_bytes: u64) -> Sight {
        if self.at_start.is_empty() {
            // The first reading only opens the window: the bytes before it have no counterpart.
            std::mem::swap(&mut self.at_start, &mut self.now);
            return Sight::Unknown;
        }
        self.seen_bytes = self.seen_bytes.saturating_add(seen_bytes);
        self.sweeps += 1;
        if self.sweeps < SWEEPS {
            return Sight::Unknown;
        }
        let carried = |now: &Reading| {
            let before = self.at_start.iter().find(|before| before.name == now.name);
            before.map_or(0, |before| now.layer3_bytes.saturating_sub(before.layer3_bytes))
        };
        let interface_bytes = self.now.iter().map(carried).max().unwrap_or(0);
        let seen_bytes = std::mem::take(&mut self.seen_bytes);
        self.sweeps = 0;
        std::mem::swap(&mut self.at_start, &mut self.now);
        if interface_bytes < LEAST_BYTES {
            Sight::Unknown
        } else if seen_bytes < interface_bytes / 2 {
            Sight::Blind { interface_bytes, seen_bytes }
        } else {
            Sight::Clear
        }
    }
}

fn read_whole(file: &mut File, text: &mut [u8]) -> std::io::Result<usize> {
    let mut length = 0;
    loop {
        let rest = text.get_mut(length..).unwrap_or_default();
        match file.read_at(rest, length as u64)? {
            0 => return Ok(length),
            n => length += n,
        }
    }
}

fn parse(text: &[u8], readings: &mut Vec<Reading>) {
    readings.clear();
    for line in text.split(|b| *b == b'\n') {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let name = line.get(..colon).unwrap_or_default().trim_ascii();
        if name == b"lo" || name.is_empty() || name.len() > 16 || readings.len() == INTERFACES {
            continue;
        }
        let mut fields = line
            .get(colon + 1..)
            .unwrap_or_default()
            .split(|b| b.is_ascii_whitespace())
            .filter(|field| !field.is_empty())
            .map(|field| std::str::from_utf8(field).ok().and_then(|f| f.parse::<u64>().ok()).unwrap_or(0));
        // Receive: bytes packets errs drop fifo frame compressed multicast; transmit: bytes packets …
        let (rx_bytes, rx_packets) = (fields.next().unwrap_or(0), fields.next().unwrap_or(0));
        let (tx_bytes, tx_packets) = (fields.nth(6).unwrap_or(0), fields.next().unwrap_or(0));
        let headers = rx_packets.saturating_add(tx_packets).saturating_mul(LINK_HEADER_BYTES);
        let mut reading =
            Reading { name: [0; 16], layer3_bytes: rx_bytes.saturating_add(tx_bytes).saturating_sub(headers) };
        reading.name.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        readings.push(reading);
    }
}

#[cfg(test)]
mod tests;
