//! What was looked up in the open window: one item for each client and name, to be sent with the next batch.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::aged::Aged;
use crate::flow::Addr;
use crate::table::Entry;

/// Lookups that are kept.
pub const CAPACITY: u32 = 16_384;
/// Bytes that their names and addresses take at most.
const BYTES: usize = 512 << 10;
/// Addresses of one lookup; what comes beyond them begins another.
const MAX_ADDRESSES: usize = 256;

/// One item of `dns_lookups`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Who asked.
    pub client: Addr,
    /// The asked name.
    pub name: Arc<str>,
    /// What the answers said, in order of arrival.
    pub addresses: Vec<Addr>,
    /// When the last answer came, wall clock.
    pub answered_wall_ns: u64,
}

impl Lookup {
    fn bytes(&self) -> usize {
        self.name.len() + self.addresses.len() * size_of::<Addr>()
    }
}

/// A lookup of the open window; the rest of it stands beside.
#[derive(Clone, Copy)]
struct Open {
    /// The client and a seeded hash of the name.
    key: (Addr, u64),
    mark: u32,
}

impl Entry for Open {
    type Key = (Addr, u64);
    fn key(&self) -> &(Addr, u64) {
        &self.key
    }
    fn mark(&self) -> u32 {
        self.mark
    }
    fn set_mark(&mut self, mark: u32) {
        self.mark = mark;
    }
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// It is a lookup of its own; else it was folded into one.
    pub is_new: bool,
    /// Older lookups that left to make room.
    pub lost: u64,
}

/// See the module.
pub struct Lookups {
    open: Aged<Open>,
    /// By slot of `open`.
    rest: Vec<Option<Lookup>>,
    /// Closed, or back from a send that failed: they go first, and are joined with nothing.
    closed: VecDeque<Lookup>,
    bytes: usize,
}

impl Default for Lookups {
    /// None yet.
    fn default() -> Lookups {
        let rest = Vec::with_capacity(CAPACITY as usize);
        Lookups { open: Aged::with_capacity(CAPACITY), rest, closed: VecDeque::new(), bytes: 0 }
    }
}

impl Lookups {
    /// Lookups that wait to be sent.
    pub fn pending(&self) -> usize {
        self.open.len() as usize + self.closed.len()
    }

    /// The name of a lookup in the open window, to be shared.
    pub fn text(&self, client: Addr, hash: u64) -> Option<Arc<str>> {
        let slot = self.open.find(&(client, hash))?;
        self.rest.get(slot as usize)?.as_ref().map(|lookup| Arc::clone(&lookup.name))
    }

    /// An answer came; `hash` is that of the name.
    pub fn add(&mut self, client: Addr, hash: u64, name: &Arc<str>, addresses: &[(Addr, u32)], wall_ns: u64) -> Added {
        let known = self.open.find(&(client, hash));
        let lookup = known.and_then(|slot| self.rest.get_mut(slot as usize)).and_then(Option::as_mut);
        let mut added = Added::default();
        match (known, lookup) {
            (Some(slot), Some(lookup)) if lookup.addresses.len() < MAX_ADDRESSES => {
                let before = lookup.bytes();
                for (address, _) in addresses {
                    if !lookup.addresses.contains(address) {
                        lookup.addresses.push(*address);
                    }
                }
                lookup.answered_wall_ns = wall_ns;
                self.bytes += lookup.bytes() - before;
                self.open.renew(slot);
            }
            (known, _) => {
                if let Some(lookup) = known.and_then(|slot| self.take(slot)) {
                    self.closed.push_back(lookup);
                }
                let mut lookup =
                    Lookup { client, name: Arc::clone(name), addresses: Vec::new(), answered_wall_ns: wall_ns };
                addresses.iter().for_each(|(address, _)| {
                    if !lookup.addresses.contains(address) {
                        lookup.addresses.push(*address);
                    }
                });
                added.lost += self.make_room(lookup.bytes());
                self.bytes += lookup.bytes();
                added.is_new = true;
                if let Ok(slot) = self.open.insert(Open { key: (client, hash), mark: 0 }) {
                    if self.rest.len() <= slot as usize {
                        self.rest.resize_with(slot as usize + 1, || None);
                    }
                    self.rest[slot as usize] = Some(lookup);
                }
            }
        }
        added.lost += self.make_room(0);
        added
    }

    /// The oldest leave until there is room for one more of `bytes`, if there is to be one; returns how many left.
    fn make_room(&mut self, bytes: usize) -> u64 {
        let mut lost = 0;
        while self.bytes + bytes > BYTES || self.pending() + usize::from(bytes > 0) > CAPACITY as usize {
            let Some(oldest) = self.pop() else { break };
            self.bytes -= oldest.bytes();
            lost += 1;
        }
        lost
    }

    /// The oldest; its bytes are still in the sum.
    fn pop(&mut self) -> Option<Lookup> {
        self.closed.pop_front().or_else(|| self.open.oldest().and_then(|slot| self.take(slot)))
    }

    fn take(&mut self, slot: u32) -> Option<Lookup> {
        self.open.remove(slot)?;
        self.rest.get_mut(slot as usize)?.take()
    }

    /// Ends the window: hands over everything, oldest first.
    pub fn take_all(&mut self, each: &mut dyn FnMut(Lookup)) {
        while let Some(lookup) = self.pop() {
            each(lookup);
        }
        self.bytes = 0;
    }

    /// Takes back a lookup that was not delivered, as it is. Returns how many left to make room.
    pub fn put_back(&mut self, lookup: Lookup) -> u64 {
        self.bytes += lookup.bytes();
        self.closed.push_back(lookup);
        self.make_room(0)
    }
}

#[cfg(test)]
mod tests;
