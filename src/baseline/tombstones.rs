//! Ends that were told while a dump runs: the dump may still show those entries, and such a record is stale.
//!
//! Apart from the baselines, so that what has ended takes no room of what is new. Found by key and id, for two entries
//! may have one key at the same time. The end of one says nothing of the other.

use crate::flow::{Connection, ConnectionKey};
use crate::table::{Full, Table, entry};

/// Ends of one dump that are remembered, for so many connections one.
pub(super) const SHARE: u32 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name {
    key: ConnectionKey,
    id: u32,
}

#[derive(Clone, Copy)]
struct Tombstone {
    name: Name,
    mark: u32,
}

entry!(Tombstone { name: Name });

/// Memory that one takes, as [`super::BYTES_PER_CONNECTION`] has it.
pub(super) const BYTES: u64 = std::mem::size_of::<Tombstone>() as u64 + 2 * 4 + 4;

/// The ends of the dump that runs.
pub(super) struct Tombstones {
    table: Table<Tombstone>,
    overflowed: bool,
}

impl Tombstones {
    /// For a table of so many connections.
    pub(super) fn for_connections(capacity: u32) -> Tombstones {
        Tombstones { table: Table::with_capacity((capacity / SHARE).clamp(1_024, 65_536)), overflowed: false }
    }

    /// A connection has ended.
    pub(super) fn add(&mut self, c: &Connection) {
        let name = Name { key: c.key, id: c.id };
        if self.table.find(&name).is_none() {
            self.overflowed |= self.table.insert(Tombstone { name, mark: 0 }) == Err(Full);
        }
    }

    /// Whether a record that no baseline explains may be of an entry that has ended. Once an end found no place, every
    /// such record may be. A later dump, or its end, then reports what is new, in full.
    pub(super) fn may_cover(&self, c: &Connection) -> bool {
        self.overflowed || !self.table.is_empty() && self.table.find(&Name { key: c.key, id: c.id }).is_some()
    }

    /// Whether an end found no place in this dump.
    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// The dump is over.
    pub(super) fn clear(&mut self) {
        self.overflowed = false;
        if !self.table.is_empty() {
            for slot in self.table.slots() {
                self.table.remove(slot);
            }
        }
    }

    /// Whether nothing has ended in this dump.
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}
