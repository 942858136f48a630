//! A bounded table that orders its entries by age, so that the oldest can be evicted first.
//!
//! It knows nothing about its entries.

use crate::table::{Entry, Full, Table};

/// Marks a missing slot.
const NONE: u32 = u32::MAX;

pub struct Aged<E: Entry> {
    table: Table<E>,
    /// The next older and the next younger slot of each slot.
    links: Vec<[u32; 2]>,
    oldest: u32,
    youngest: u32,
}

impl<E: Entry> Aged<E> {
    /// For at most `capacity` entries.
    pub fn with_capacity(capacity: u32) -> Aged<E> {
        let links = Vec::with_capacity(capacity as usize);
        Aged { table: Table::with_capacity(capacity), links, oldest: NONE, youngest: NONE }
    }

    pub fn len(&self) -> u32 {
        self.table.len()
    }

    /// Largest number of entries.
    pub fn capacity(&self) -> u32 {
        self.table.capacity()
    }

    /// Whether an insertion would fail.
    pub fn is_full(&self) -> bool {
        self.table.len() >= self.table.capacity()
    }

    /// The slot of the entry with this key.
    pub fn find(&self, key: &E::Key) -> Option<u32> {
        self.table.find(key)
    }

    /// The entry in a slot.
    pub fn get(&self, slot: u32) -> Option<&E> {
        self.table.get(slot)
    }

    /// The entry in a slot. The caller must not change its key.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut E> {
        self.table.get_mut(slot)
    }

    /// The slots that may be occupied.
    pub fn slots(&self) -> std::ops::Range<u32> {
        self.table.slots()
    }

    /// The slot of the oldest entry.
    pub fn oldest(&self) -> Option<u32> {
        (self.oldest != NONE).then_some(self.oldest)
    }

    /// All entries, oldest first.
    pub fn by_age(&self) -> impl Iterator<Item = &E> {
        let younger = |slot: &u32| self.links.get(*slot as usize).map(|links| links[1]);
        std::iter::successors(Some(self.oldest), younger).map_while(|slot| self.table.get(slot))
    }

    /// Inserts an entry as the youngest. Its key must be new.
    pub fn insert(&mut self, entry: E) -> Result<u32, Full> {
        let slot = self.table.insert(entry)?;
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, [NONE; 2]);
        }
        self.append(slot);
        Ok(slot)
    }

    /// Makes the entry in a slot the youngest.
    pub fn renew(&mut self, slot: u32) {
        if self.table.get(slot).is_some() {
            self.unlink(slot);
            self.append(slot);
        }
    }

    /// Removes and returns the entry in a slot.
    pub fn remove(&mut self, slot: u32) -> Option<E> {
        let entry = self.table.remove(slot)?;
        self.unlink(slot);
        Some(entry)
    }

    fn append(&mut self, slot: u32) {
        self.link(slot, [self.youngest, NONE]);
        self.set(self.youngest, 1, slot);
        self.youngest = slot;
        if self.oldest == NONE {
            self.oldest = slot;
        }
    }

    fn unlink(&mut self, slot: u32) {
        let [older, younger] = self.links.get(slot as usize).copied().unwrap_or([NONE; 2]);
        self.set(older, 1, younger);
        self.set(younger, 0, older);
        if self.oldest == slot {
            self.oldest = younger;
        }
        if self.youngest == slot {
            self.youngest = older;
        }
    }

    fn link(&mut self, slot: u32, to: [u32; 2]) {
        if let Some(links) = self.links.get_mut(slot as usize) {
            *links = to;
        }
    }

    fn set(&mut self, slot: u32, side: usize, to: u32) {
        if let Some(links) = self.links.get_mut(slot as usize) {
            links[side] = to;
        }
    }
}

#[cfg(test)]
mod tests;
