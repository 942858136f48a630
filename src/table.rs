//! A bounded hash table that is allocated at start and never grows.
//!
//! A hashed index points into a dense slab. The slab fills from the bottom, so memory becomes resident as it is used; a
//! slot number stays valid until its entry is removed. The used part of the index is at most twice what the entries
//! need, and doubles as they arrive. Each doubling moves every entry of the index, some 20 ns each, a few times in the
//! life of a process.
//!
//! Open addressing with linear probing and backward shift: without tombstones, lookups stay short for ever. The index
//! stores some bits of the hash beside the slot number, so a miss rarely touches the slab. The hash is seeded per
//! process, because peers choose addresses and ports and must not choose collisions.
//!
//! hashbrown does not fit: even with reserved capacity it rehashes or reallocates once removals have used up its empty
//! slots, and its slots move.

use std::hash::{BuildHasher, Hash};

/// An entry of a table: it contains its key, and four bytes for the table's mark.
pub trait Entry: Copy {
    /// The key that finds it.
    type Key: Copy + Eq + Hash;
    /// The key; must not change while the entry is in the table.
    fn key(&self) -> &Self::Key;
    /// The table's mark: 0 marks a vacant slot.
    fn mark(&self) -> u32;
    /// Sets the table's mark.
    fn set_mark(&mut self, mark: u32);
    /// A word from each 64-byte line of the entry except the mark's, which [`Table::warm`] reads ahead.
    fn far_end(&self) -> u32 {
        0
    }
}

/// Makes a struct an [`Entry`] by the field that is its key, and its field `mark`.
macro_rules! entry {
    ($name:ty { $field:ident: $key:ty } $(where $type:ident: $bound:ident)?) => {
        impl$(<$type: $bound>)? $crate::table::Entry for $name {
            type Key = $key;
            fn key(&self) -> &$key {
                &self.$field
            }
            fn mark(&self) -> u32 {
                self.mark
            }
            fn set_mark(&mut self, mark: u32) {
                self.mark = mark;
            }
        }
    };
}
pub(crate) use entry;

/// The table is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Largest number of keys for [`Table::warm`].
pub const AT_ONCE: usize = 64;

/// Used cells of a new table's index: one page.
const FIRST_CELLS: usize = 1_024;

/// Marks a missing slot.
pub const NONE: u32 = u32::MAX;

/// A bounded table of `E`.
pub struct Table<E> {
    /// 0, or slot + 1 in the low bits and hash bits in the others. Small cells matter: a hash spreads even a few
    /// connections over all pages of the index.
    ///
    /// A boxed slice, because with `opt-level = "z"` indexing a `Vec` is a call.
    index: Box<[u32]>,
    /// Number of used cells minus one: a power of two minus one, so that it is a mask.
    last_cell: usize,
    /// Mask of the bits that hold the slot.
    slot_mask: u32,
    slab: Vec<E>,
    free: Vec<u32>,
    capacity: u32,
    seed: foldhash::fast::RandomState,
}

impl<E: Entry> Table<E> {
    /// A table for at most `capacity` entries (at least one, at most 2^30).
    pub fn with_capacity(capacity: u32) -> Table<E> {
        let capacity = capacity.clamp(1, 1 << 30);
        // At most four fifths of the cells are occupied, so that probes stay short.
        let cells = (capacity as usize * 5 / 4 + 1).next_power_of_two();
        Table {
            index: vec![0; cells].into_boxed_slice(),
            last_cell: cells.min(FIRST_CELLS) - 1,
            slot_mask: u32::MAX >> capacity.leading_zeros(),
            slab: Vec::with_capacity(capacity as usize),
            free: Vec::with_capacity(capacity as usize),
            capacity,
            seed: foldhash::fast::RandomState::default(),
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "a table has at most u32::MAX slots")]
    pub fn len(&self) -> u32 {
        (self.slab.len() - self.free.len()) as u32
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Largest number of entries.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// The slots that may be occupied; [`Table::get`] returns whether they are.
    #[allow(clippy::cast_possible_truncation, reason = "a table has at most u32::MAX slots")]
    pub fn slots(&self) -> std::ops::Range<u32> {
        0..self.slab.len() as u32
    }

    /// The entry in a slot, if there is one.
    #[inline]
    pub fn get(&self, slot: u32) -> Option<&E> {
        self.slab.get(slot as usize).filter(|entry| entry.mark() != 0)
    }

    /// The entry in a slot, if there is one. The caller must not change its key.
    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut E> {
        self.slab.get_mut(slot as usize).filter(|entry| entry.mark() != 0)
    }

    /// All entries, in no order, with their slots.
    #[allow(clippy::cast_possible_truncation, reason = "a table has at most u32::MAX slots")]
    pub fn iter(&self) -> impl Iterator<Item = (u32, &E)> {
        self.slab.iter().enumerate().filter(|(_, e)| e.mark() != 0).map(|(slot, e)| (slot as u32, e))
    }

    /// All entries, in no order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut E> {
        self.slab.iter_mut().filter(|e| e.mark() != 0)
    }

    /// The slot of the entry with this key.
    #[inline]
    pub fn find(&self, key: &E::Key) -> Option<u32> {
        self.find_marked(key, self.mark_of(key))
    }

    /// Inserts an entry and returns its slot. Its key must be new.
    #[allow(clippy::cast_possible_truncation, reason = "a table has at most u32::MAX slots")]
    pub fn insert(&mut self, mut entry: E) -> Result<u32, Full> {
        debug_assert!(self.find(entry.key()).is_none());
        if self.len() >= self.capacity {
            return Err(Full);
        }
        if self.len() as usize * 2 > self.last_cell && self.last_cell + 1 < self.index.len() {
            self.use_more_cells();
        }
        let mark = self.mark_of(entry.key());
        entry.set_mark(mark);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slab.as_mut_slice()[slot as usize] = entry;
                slot
            }
            None => {
                self.slab.push(entry);
                self.slab.len() as u32 - 1
            }
        };
        self.point_to(slot, mark);
        Ok(slot)
    }

    /// Writes a slot into the first vacant cell from its home on.
    fn point_to(&mut self, slot: u32, mark: u32) {
        let mut cell = self.home(mark);
        while self.index[cell] != 0 {
            cell = self.next(cell);
        }
        self.index[cell] = (tag(mark) & !self.slot_mask) | (slot + 1);
    }

    /// Spreads the entries over twice as many cells.
    #[cold]
    #[allow(clippy::cast_possible_truncation, reason = "a table has at most u32::MAX slots")]
    fn use_more_cells(&mut self) {
        self.index[..=self.last_cell].fill(0);
        self.last_cell = self.last_cell * 2 + 1;
        for slot in 0..self.slab.len() {
            let mark = self.slab[slot].mark();
            if mark != 0 {
                self.point_to(slot as u32, mark);
            }
        }
    }

    /// Removes and returns the entry in a slot.
    pub fn remove(&mut self, slot: u32) -> Option<E> {
        let entry = *self.get(slot)?;
        let mut hole = self.home(entry.mark());
        while self.index[hole] & self.slot_mask != slot + 1 {
            hole = self.next(hole);
        }
        // Backward shift: fill the hole with the next entry that may move there, until the run ends.
        let mut cell = self.next(hole);
        while self.index[cell] != 0 {
            let standing = (self.index[cell] & self.slot_mask) - 1;
            let home = self.home(self.slab.as_slice()[standing as usize].mark());
            // The entry may move to the hole unless its home cell lies between the hole and its own cell.
            let distance_from_home = cell.wrapping_sub(home) & self.last_cell;
            let distance_from_hole = cell.wrapping_sub(hole) & self.last_cell;
            if distance_from_home >= distance_from_hole {
                self.index[hole] = self.index[cell];
                hole = cell;
            }
            cell = self.next(cell);
        }
        self.index[hole] = 0;
        self.slab.as_mut_slice()[slot as usize].set_mark(0);
        self.free.push(slot);
        Some(entry)
    }

    /// Reads ahead what finding and removing these keys (the first [`AT_ONCE`]) will read, so that the caches hold it.
    /// No loop here depends on its own reads, so the processor overlaps them. Separate lookups would wait for memory
    /// three times each.
    pub fn warm<'a>(&self, keys: impl Iterator<Item = &'a E::Key>)
    where
        E::Key: 'a,
    {
        let mut cells = [0; AT_ONCE];
        let mut count = 0;
        for (cell, key) in cells.iter_mut().zip(keys) {
            *cell = self.home(self.mark_of(key));
            count += 1;
        }
        let cells = &cells[..count];
        let occupied = cells.iter().filter(|cell| self.index[**cell] != 0).count();
        let mut marks = 0;
        for cell in cells {
            let mut cell = *cell;
            // To the end of the run, because a removal shifts the entries behind it.
            while self.index[cell] != 0 {
                let slot = (self.index[cell] & self.slot_mask) - 1;
                let entry = &self.slab.as_slice()[slot as usize];
                marks ^= entry.mark() ^ entry.far_end();
                cell = self.next(cell);
            }
        }
        std::hint::black_box((occupied, marks));
    }

    #[inline]
    fn find_marked(&self, key: &E::Key, mark: u32) -> Option<u32> {
        let mut cell = self.home(mark);
        loop {
            let found = self.index[cell];
            if found == 0 {
                return None;
            }
            if (found ^ tag(mark)) & !self.slot_mask == 0 {
                let slot = (found & self.slot_mask) - 1;
                if self.slab.as_slice()[slot as usize].key() == key {
                    return Some(slot);
                }
            }
            cell = self.next(cell);
        }
    }

    #[inline]
    fn mark_of(&self, key: &E::Key) -> u32 {
        // Never 0, which marks a vacant slot.
        (self.seed.hash_one(key) >> 32) as u32 | 1 << 31
    }

    #[inline]
    fn home(&self, mark: u32) -> usize {
        // Spread the 31 bits over the cells by their low end; the top bit is always set.
        mark as usize & self.last_cell
    }

    #[inline]
    fn next(&self, cell: usize) -> usize {
        (cell + 1) & self.last_cell
    }
}

/// The upper hash bits of a mark. The low bits select the cell; the topmost is always set.
#[inline]
fn tag(mark: u32) -> u32 {
    mark << 1
}

#[cfg(test)]
mod tests;
