//! Which way packets to an address go: what the kernel said of late, and the few ways that there are.
//!
//! Knows addresses, and not who asks the kernel.

use crate::flow::Addr;

/// Addresses whose way is kept. A power of two; 20 bytes each, of which only the pages are resident that are used.
const KEPT: usize = 8_192;

/// A way's number, as rows keep it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path(u8);

impl Path {
    /// Not known, or none.
    pub const UNKNOWN: Path = Path(0);
    /// Numbers below this.
    pub const COUNT: usize = 32;

    /// One with this number, [`Path::UNKNOWN`] where no way has it.
    pub const fn of_number(number: u8) -> Path {
        if number < 32 { Path(number) } else { Path::UNKNOWN }
    }

    /// Below [`Path::COUNT`].
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// A way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The uplink that packets leave by; none where they stay on the node or go into a tunnel.
    pub uplink: Option<u8>,
    /// Largest layer-3 length; 0 is not known.
    pub mtu: u32,
}

/// All ways, and the addresses whose way is known.
pub struct Paths {
    ways: Vec<Way>,
    /// Addresses by hash, as numbers; made when the first is learnt, of zeros that nobody writes.
    addresses: Vec<u128>,
    /// Of each: the path, above it the generation in which it was learnt.
    learnt: Vec<u32>,
    generation: u32,
}

impl Default for Paths {
    fn default() -> Paths {
        Paths { ways: vec![Way::default()], addresses: Vec::new(), learnt: Vec::new(), generation: 1 }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the bits that are left are the index")]
fn index(addr: Addr) -> usize {
    let number = addr.number();
    let word = (number >> 64) as u64 ^ number as u64;
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 51) as usize % KEPT
}

impl Paths {
    /// The way to an address, where the kernel was asked of late.
    #[allow(clippy::cast_possible_truncation, reason = "the lowest byte is the path")]
    pub fn known(&self, addr: Addr) -> Option<Path> {
        let at = index(addr);
        let learnt = *self.learnt.get(at)?;
        let is_it = learnt >> 8 == self.generation && self.addresses.get(at) == Some(&addr.number());
        is_it.then_some(Path(learnt as u8))
    }

    /// Keeps the way to an address.
    pub fn learn(&mut self, addr: Addr, way: Way) -> Path {
        let path = self.number_of(way);
        if self.learnt.is_empty() {
            self.addresses = vec![0; KEPT];
            self.learnt = vec![0; KEPT];
        }
        let at = index(addr);
        if let (Some(address), Some(learnt)) = (self.addresses.get_mut(at), self.learnt.get_mut(at)) {
            *address = addr.number();
            *learnt = self.generation << 8 | u32::from(path.number());
        }
        path
    }

    /// The number of a way.
    #[allow(clippy::cast_possible_truncation, reason = "fewer than Path::COUNT")]
    pub fn number_of(&mut self, way: Way) -> Path {
        if let Some(at) = self.ways.iter().position(|known| *known == way) {
            return Path::of_number(at as u8);
        }
        if self.ways.len() == Path::COUNT {
            return Path::UNKNOWN;
        }
        self.ways.push(way);
        Path::of_number(self.ways.len() as u8 - 1)
    }

    /// What a number means.
    pub fn way(&self, path: Path) -> Way {
        self.ways.get(usize::from(path.number())).copied().unwrap_or_default()
    }

    /// Forgets all addresses; the numbers stay.
    pub fn forget(&mut self) {
        self.generation = (self.generation + 1) & 0x00ff_ffff;
    }
}

#[cfg(test)]
mod tests;
