//! The DNS lookups of the open window: one item for each client and name, sent with the next batch.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::aged::Aged;
use crate::flow::Addr;
use crate::table::entry;

/// Largest number of lookups.
pub const CAPACITY: u32 = 16_384;
/// Limit on the bytes of their names and addresses.
const BYTES: usize = 512 << 10;
/// Largest number of addresses of a lookup; further ones start another lookup.
const MAX_ADDRESSES: usize = 256;

/// One item of `dns_lookups`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The address that asked.
    pub client: Addr,
    pub name: Arc<str>,
    /// The addresses of all its answers, in order of arrival.
    pub addresses: Vec<Addr>,
    /// Time of the last answer, monotonic.
    pub answered_mono_ns: u64,
}

impl Lookup {
    fn bytes(&self) -> usize {
        self.name.len() + self.addresses.len() * size_of::<Addr>()
    }
}

/// The key of a lookup in the open window; the lookup itself is in `Lookups::rest`.
#[derive(Clone, Copy)]
struct Open {
    /// Client and seeded hash of the name.
    key: (Addr, u64),
    mark: u32,
}

entry!(Open { key: (Addr, u64) });

/// The effect of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Whether it started a lookup; if not, it joined one.
    pub is_new: bool,
    /// Older lookups that were dropped to make room.
    pub lost: u64,
}

pub struct Lookups {
    open: Aged<Open>,
    /// The lookups, by slot of `open`.
    rest: Vec<Option<Lookup>>,
    /// Full lookups, and those of failed sends. They are sent first, and no answer joins them.
    closed: VecDeque<Lookup>,
    bytes: usize,
}

impl Default for Lookups {
    fn default() -> Lookups {
        let rest = Vec::with_capacity(CAPACITY as usize);
        Lookups { open: Aged::with_capacity(CAPACITY), rest, closed: VecDeque::new(), bytes: 0 }
    }
}

impl Lookups {
    /// Number of lookups to send.
    pub fn pending(&self) -> usize {
        self.open.len() as usize + self.closed.len()
    }

    /// The name of a lookup in the open window; its allocation can be shared.
    pub fn text(&self, client: Addr, hash: u64) -> Option<Arc<str>> {
        let slot = self.open.find(&(client, hash))?;
        self.rest.get(slot as usize)?.as_ref().map(|lookup| Arc::clone(&lookup.name))
    }

    /// Adds an answer. `hash` is the seeded hash of the name.
    pub fn add(&mut self, client: Addr, hash: u64, name: &Arc<str>, addresses: &[(Addr, u32)], now_ns: u64) -> Added {
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
                lookup.answered_mono_ns = now_ns;
                self.bytes += lookup.bytes() - before;
                self.open.renew(slot);
            }
            (known, _) => {
                if let Some(lookup) = known.and_then(|slot| self.take(slot)) {
                    self.closed.push_back(lookup);
                }
                let mut lookup =
                    Lookup { client, name: Arc::clone(name), addresses: Vec::new(), answered_mono_ns: now_ns };
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

    /// Drops the oldest until one more of `bytes` fits (0: until the bounds hold). Returns the number dropped.
    fn make_room(&mut self, bytes: usize) -> u64 {
        let mut lost = 0;
        while self.bytes + bytes > BYTES || self.pending() + usize::from(bytes > 0) > CAPACITY as usize {
            let Some(oldest) = self.pop() else { break };
            self.bytes -= oldest.bytes();
            lost += 1;
        }
        lost
    }

    /// Removes the oldest. The caller subtracts its bytes.
    fn pop(&mut self) -> Option<Lookup> {
        self.closed.pop_front().or_else(|| self.open.oldest().and_then(|slot| self.take(slot)))
    }

    fn take(&mut self, slot: u32) -> Option<Lookup> {
        self.open.remove(slot)?;
        self.rest.get_mut(slot as usize)?.take()
    }

    /// Shows every lookup that waits to be sent.
    pub fn each(&self, each: &mut dyn FnMut(&Lookup)) {
        self.closed.iter().chain(self.rest.iter().flatten()).for_each(each);
    }

    /// Ends the window: passes on every lookup, oldest first.
    pub fn take_all(&mut self, each: &mut dyn FnMut(Lookup)) {
        while let Some(lookup) = self.pop() {
            each(lookup);
        }
        self.bytes = 0;
    }

    /// Takes back an undelivered lookup. Returns the number dropped to make room.
    pub fn put_back(&mut self, lookup: Lookup) -> u64 {
        self.bytes += lookup.bytes();
        self.closed.push_back(lookup);
        self.make_room(0)
    }
}

#[cfg(test)]
mod tests;
