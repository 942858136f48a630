//! Maps a client and an address to the name that the client resolved. Bounded; each name lives for its TTL.

use std::collections::HashMap;
use std::sync::Arc;

use crate::aged::Aged;
use crate::clock::SECOND;
use crate::flow::Addr;
use crate::table::entry;

/// Largest number of names.
const CAPACITY: u32 = 16_384;
/// Limit on the bytes of their texts.
const TEXT_BYTES: usize = 512 << 10;
/// Shortest lifetime of a name, longer than any interval between sweeps: a sweep may see a short connection only after
/// its name's own TTL.
const LEAST_TTL_S: u32 = 120;
const MOST_TTL_S: u32 = 3_600;

/// The name of an address for one client.
#[derive(Clone, Copy)]
struct Known {
    /// Address, then client.
    key: (Addr, Addr),
    mark: u32,
    /// Monotonic, as all times here.
    asked_ns: u64,
    expires_ns: u64,
}

/// The client that asked for an address last.
#[derive(Clone, Copy)]
struct LastAsked {
    address: Addr,
    client: Addr,
    mark: u32,
}

entry!(Known { key: (Addr, Addr) });

entry!(LastAsked { address: Addr });

/// The client whose question gave a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The row's owner.
    Own,
    /// Another client on this node.
    Node,
}

/// What a client has of the table.
#[derive(Clone, Copy, Default)]
struct Share {
    names: u32,
    bytes: usize,
}

pub struct NameTable {
    known: Aged<Known>,
    /// The names, by slot of `known`.
    texts: Vec<Option<Arc<str>>>,
    text_bytes: usize,
    /// Names and bytes of each client.
    shares: HashMap<Addr, Share, foldhash::fast::RandomState>,
    last: Aged<LastAsked>,
}

impl NameTable {
    /// Creates an empty table.
    pub fn new() -> NameTable {
        NameTable {
            known: Aged::with_capacity(CAPACITY),
            texts: Vec::with_capacity(CAPACITY as usize),
            text_bytes: 0,
            shares: HashMap::default(),
            last: Aged::with_capacity(CAPACITY),
        }
    }

    pub fn len(&self) -> u32 {
        self.known.len()
    }

    /// The stored copy of `text`, to share its allocation, if `client` knows `address` by it.
    pub fn same_text(&self, client: Addr, address: Addr, text: &str) -> Option<Arc<str>> {
        let slot = self.known.find(&(address, client))?;
        self.texts.get(slot as usize)?.clone().filter(|known| **known == *text)
    }

    /// Stores that `client` resolved `text` to `address`. Returns the number of unexpired names dropped to make room.
    pub fn learn(&mut self, client: Addr, address: Addr, text: &Arc<str>, ttl_s: u32, now_ns: u64) -> u64 {
        let lives_ns = u64::from(ttl_s.clamp(LEAST_TTL_S, MOST_TTL_S)) * SECOND;
        if let Some(slot) = self.known.find(&(address, client)) {
            self.remove(slot);
        }
        let mut lost = 0;
        while self.known.is_full() || self.text_bytes + text.len() > TEXT_BYTES {
            let Some(leaves) = self.leaves_for(client) else { return lost + 1 };
            lost += u64::from(self.known.get(leaves).is_some_and(|known| known.expires_ns > now_ns));
            self.remove(leaves);
        }
        let known =
            Known { key: (address, client), mark: 0, asked_ns: now_ns, expires_ns: now_ns.saturating_add(lives_ns) };
        let Ok(slot) = self.known.insert(known) else { return lost + 1 };
        if self.texts.len() <= slot as usize {
            self.texts.resize(slot as usize + 1, None);
        }
        self.texts[slot as usize] = Some(Arc::clone(text));
        self.text_bytes += text.len();
        let share = self.shares.entry(client).or_default();
        (share.names, share.bytes) = (share.names + 1, share.bytes + text.len());
        self.note_last(address, client);
        lost
    }

    fn note_last(&mut self, address: Addr, client: Addr) {
        if let Some(slot) = self.last.find(&address) {
            if let Some(last) = self.last.get_mut(slot) {
                last.client = client;
            }
            return self.last.renew(slot);
        }
        if self.last.is_full()
            && let Some(oldest) = self.last.oldest()
        {
            self.last.remove(oldest);
        }
        // There is room now, so this cannot fail.
        let _ = self.last.insert(LastAsked { address, client, mark: 0 });
    }

    /// The slot that makes room for a name of `client`. If `client` has its equal share or more, it is the oldest of
    /// all, where that is its own; else there is none. If not, it is the oldest name of a client that has, or the
    /// oldest of all.
    fn leaves_for(&self, client: Addr) -> Option<u32> {
        let clients = self.shares.len().max(1);
        let has_more = |client: &Addr| {
            let share = self.shares.get(client).copied().unwrap_or_default();
            share.names as usize >= CAPACITY as usize / clients || share.bytes >= TEXT_BYTES / clients
        };
        if has_more(&client) {
            return self.known.oldest().filter(|slot| self.known.get(*slot).is_some_and(|known| known.key.1 == client));
        }
        let richest = self.known.by_age().find(|known| has_more(&known.key.1));
        richest.and_then(|known| self.known.find(&known.key)).or_else(|| self.known.oldest())
    }

    fn remove(&mut self, slot: u32) {
        let client = self.known.get(slot).map(|known| known.key.1);
        self.known.remove(slot);
        let Some(text) = self.texts.get_mut(slot as usize).and_then(Option::take) else { return };
        self.text_bytes -= text.len();
        let Some(client) = client else { return };
        if let Some(share) = self.shares.get_mut(&client) {
            (share.names, share.bytes) = (share.names.saturating_sub(1), share.bytes.saturating_sub(text.len()));
            if share.names == 0 {
                self.shares.remove(&client);
            }
        }
    }

    pub fn purge(&mut self, now_ns: u64) {
        for slot in self.known.slots() {
            if self.known.get(slot).is_some_and(|known| known.expires_ns <= now_ns) {
                self.remove(slot);
            }
        }
        for slot in self.last.slots() {
            let gone = |last: &LastAsked| self.known.find(&(last.address, last.client)).is_none();
            if self.last.get(slot).is_some_and(gone) {
                self.last.remove(slot);
            }
        }
    }

    /// See [`super::Names::find`].
    pub fn find(
        &self,
        address: Addr,
        now_ns: u64,
        clients: &mut dyn Iterator<Item = Addr>,
        belongs: &dyn Fn(Addr, u64) -> bool,
    ) -> Option<(Arc<str>, Origin)> {
        let valid = |client: Addr| {
            let slot = self.known.find(&(address, client))?;
            let known = self.known.get(slot).filter(|known| known.expires_ns > now_ns)?;
            Some((known.asked_ns, slot))
        };
        let own = clients.filter_map(|client| valid(client).filter(|(asked_ns, _)| belongs(client, *asked_ns))).max();
        let of_node = || {
            let client = self.last.get(self.last.find(&address)?)?.client;
            let (asked_ns, slot) = valid(client)?;
            Some((slot, if belongs(client, asked_ns) { Origin::Own } else { Origin::Node }))
        };
        let (slot, origin) = own.map(|(_, slot)| (slot, Origin::Own)).or_else(of_node)?;
        Some((self.texts.get(slot as usize)?.clone()?, origin))
    }
}

#[cfg(test)]
mod tests;
