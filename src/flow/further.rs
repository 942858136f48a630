//! What traffic is more on the wire than its packets: frames beyond one for each packet, and their headers (rule 17).
//!
//! Knows how to keep both in few bytes, for each row has them.

use super::{Counts, TxRx};

/// Sent and received, each of at most 2^48 - 1: headers of 256 TiB are those of some 7 PiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Further([[u32; 3]; 2]);

const MOST: u64 = (1 << 48) - 1;

impl Further {
    /// Nothing.
    pub const ZERO: Further = Further([[0; 3]; 2]);

    /// Both ways.
    pub fn get(self) -> TxRx {
        let [tx, rx] = self.0.map(unpacked);
        TxRx { tx, rx }
    }

    /// Adds to both ways.
    pub fn add(&mut self, more: TxRx) {
        let now = self.get() + more;
        self.0 = [now.tx, now.rx].map(packed);
    }
}

fn unpacked([bytes, packets, high]: [u32; 3]) -> Counts {
    Counts {
        bytes: u64::from(bytes) | u64::from(high & 0xffff) << 32,
        packets: u64::from(packets) | u64::from(high >> 16) << 32,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "in parts")]
fn packed(counts: Counts) -> [u32; 3] {
    let (bytes, packets) = (counts.bytes.min(MOST), counts.packets.min(MOST));
    [bytes as u32, packets as u32, (bytes >> 32) as u32 | ((packets >> 32) as u32) << 16]
}

#[cfg(test)]
mod tests;
