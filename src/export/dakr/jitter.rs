//! Random waits, so that nodes that fail together do not retry together.
//!
//! Knows nothing of what is waited for.

use crate::clock::SECOND;

/// The first wait after a failure, before jitter; each further one doubles it.
const BACKOFF_BASE_NS: u64 = SECOND;
/// The longest wait after a failure.
const BACKOFF_MAX_NS: u64 = 60 * SECOND;

/// A generator for jitter (splitmix64): seeded, so that tests repeat and nodes differ.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// From what tells this node and start from others.
    pub fn new(seed: u64) -> Jitter {
        Jitter(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Between 0 and `limit`, both included.
    pub fn up_to(&mut self, limit: u64) -> u64 {
        self.next() % limit.saturating_add(1).max(1)
    }

    /// The wait after so many failures in a row: doubling, the upper half of it at random.
    pub fn backoff_ns(&mut self, failures: u32) -> u64 {
        let whole = BACKOFF_BASE_NS.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(BACKOFF_MAX_NS);
        whole / 2 + self.up_to(whole / 2)
    }
}

/// A seed from names (FNV-1a): spreads nodes whose names differ in a digit.
pub fn hash(parts: [&str; 2]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
