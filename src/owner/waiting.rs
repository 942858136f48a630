//! Increments whose local end has no known owner yet (rule 8). They wait until their pod is known or their time is over.
//!
//! A row stores all facts needed to decide later exactly as at its own time. Nothing is decided here.

use crate::flow::{Addr, Direction, Ends, Split, Traffic, TxRx};
use crate::persist_as_number;
use crate::state::bytes::{In, Persist, persist};
use crate::table::{Full, Table, entry};
use crate::wire::Malformed;

/// Largest number of waiting rows.
pub const CAPACITY: u32 = 16_384;
/// Increments with the same key within this span of time share a row.
const SLOT_NS: u64 = 10_000_000_000;
/// The same for an end whose owner may change at any moment: one sweep.
const FINE_SLOT_NS: u64 = 1_000_000_000;
/// Distinguishes the two kinds of slots.
const FINE: u64 = 1 << 63;

/// All facts of an increment that decide its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Exchange {
    /// The originator.
    pub client: Addr,
    /// The address that it asked for.
    pub asked: Addr,
    /// Who answered.
    pub backend: Addr,
    /// Cgroup of the local socket, 0 if unknown.
    pub cgroup: u64,
    /// The responder's port.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Whether the node rewrote the destination (rule 5).
    pub translated: bool,
    /// The ends that the record speaks for, or of a row that waits those that wait.
    pub ends: Ends,
    /// Whether tx and rx are known apart.
    pub split: Split,
}

/// The key of increments that are settled together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaitingKey {
    pub of: Exchange,
    /// Number of the slot in which they were counted.
    slot: u64,
    /// Whether the other end has its row already: the increment is then never unattributed, even if this end stays without
    /// an owner.
    pub beside: bool,
    /// What [`Newcomer::crossing`] says.
    pub crossing: [u8; 4],
}

#[derive(Clone, Copy, Debug)]
pub struct WaitingRow {
    pub key: WaitingKey,
    mark: u32,
    pub traffic: Traffic,
    /// Time of the last increment, monotonic as all times here: the owner at this time decides. 0 for one of before the
    /// boot.
    pub counted_mono_ns: u64,
    /// Start of the wait.
    pub since_mono_ns: u64,
}

persist_as_number!(Split { Known = 0, Undecided = 1, Unknown = 2 });
persist_as_number!(Ends { Both = 0, Originator = 1, Responder = 2, Neither = 3 });
persist!(WaitingRow { key, traffic, counted_mono_ns, since_mono_ns; mark: 0 });

/// In the order of the state file, which has one level.
impl Persist for WaitingKey {
    fn put(&self, out: &mut Vec<u8>) {
        let WaitingKey { of, slot, beside, crossing: _ } = self;
        [of.client, of.asked, of.backend].iter().for_each(|addr| addr.put(out));
        [of.cgroup, *slot].iter().for_each(|number| number.put(out));
        of.port.put(out);
        of.protocol.put(out);
        of.translated.put(out);
        of.ends.put(out);
        beside.put(out);
        of.split.put(out);
    }

    fn take(from: &mut In<'_>) -> Result<WaitingKey, Malformed> {
        let (client, asked, backend) = (Addr::take(from)?, Addr::take(from)?, Addr::take(from)?);
        let (cgroup, slot, port, protocol) = (u64::take(from)?, u64::take(from)?, u16::take(from)?, u8::take(from)?);
        let (translated, ends, beside) = (bool::take(from)?, Ends::take(from)?, bool::take(from)?);
        let split = Split::take(from)?;
        let of = Exchange { client, asked, backend, cgroup, port, protocol, translated, ends, split };
        Ok(WaitingKey { of, slot, beside, crossing: [0; 4] })
    }
}

entry!(WaitingRow { key: WaitingKey });

impl WaitingRow {
    /// What the books hold of it.
    pub fn held(&self) -> Option<TxRx> {
        held(self.key.of.ends, self.key.beside, self.key.slot & FINE != 0, self.traffic)
    }
}

impl Newcomer {
    /// What the books are to hold of it.
    pub fn held(&self) -> Option<TxRx> {
        held(self.of.ends, self.beside, self.fine, self.traffic)
    }
}

/// `None` where the other end has its row already and this one may be nobody's. One whose address was a pod's a moment
/// ago (`fine`) is somebody's.
fn held(ends: Ends, beside: bool, fine: bool, traffic: Traffic) -> Option<TxRx> {
    match ends {
        _ if !beside => Some(traffic.seen_by(Direction::Outbound)),
        Ends::Originator if fine => Some(traffic.seen_by(Direction::Outbound)),
        Ends::Responder if fine => Some(traffic.seen_by(Direction::Inbound)),
        Ends::Both | Ends::Originator | Ends::Responder | Ends::Neither => None,
    }
}

/// What waits.
pub struct WaitingTable {
    table: Table<WaitingRow>,
    /// The order of eviction, the next row last. Rebuilt when it is used up or out of date.
    next_out: Vec<(bool, u64, u32)>,
}

/// An increment that starts to wait.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer {
    pub of: Exchange,
    /// Whether the other end has its row already.
    pub beside: bool,
    /// Whether the owner of an end may change within seconds.
    pub fine: bool,
    /// In which books of the audit it is held; not kept in the state file, for the next process has others.
    pub crossing: [u8; 4],
    pub traffic: Traffic,
}

impl WaitingTable {
    /// Creates a table for at most `capacity` rows.
    pub fn with_capacity(capacity: u32) -> WaitingTable {
        WaitingTable { table: Table::with_capacity(capacity), next_out: Vec::with_capacity(capacity as usize) }
    }

    pub fn len(&self) -> u32 {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Adds an increment. If the table is full, it evicts and returns the row that has waited longest. Rows whose other
    /// end is settled (`beside`) are evicted first, and never evict others.
    pub fn add(&mut self, n: &Newcomer, mono_ns: u64) -> Option<WaitingRow> {
        let slot = if n.fine { FINE | (mono_ns / FINE_SLOT_NS) } else { mono_ns / SLOT_NS };
        let key = WaitingKey { of: n.of, slot, beside: n.beside, crossing: n.crossing };
        if let Some(row) = self.table.find(&key).and_then(|slot| self.table.get_mut(slot)) {
            row.traffic += n.traffic;
            row.counted_mono_ns = row.counted_mono_ns.max(mono_ns);
            return None;
        }
        let row = WaitingRow { key, mark: 0, traffic: n.traffic, counted_mono_ns: mono_ns, since_mono_ns: mono_ns };
        let mut evicted = None;
        if self.table.insert(row) == Err(Full) {
            if n.beside {
                return Some(row);
            }
            if self.next_out.is_empty() {
                let order = self.table.iter().map(|(slot, row)| (!row.key.beside, row.since_mono_ns, slot));
                self.next_out.extend(order);
                self.next_out.sort_unstable_by(|a, b| b.cmp(a));
            }
            evicted = self.next_out.pop().and_then(|(.., slot)| self.table.remove(slot));
            let placed = self.table.insert(row);
            debug_assert!(placed.is_ok(), "a slot was just vacated");
        }
        evicted
    }

    /// Removes every row for which `settled` returns true.
    pub fn take_if(&mut self, mut settled: impl FnMut(&WaitingRow) -> bool) {
        for slot in self.table.slots() {
            if let Some(row) = self.table.get(slot)
                && settled(row)
            {
                self.table.remove(slot);
                self.next_out.clear();
            }
        }
    }

    /// Appends everything that waits, for the state file.
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.table.len().put(out);
        for row in self.iter() {
            row.put(out);
        }
    }

    /// Takes over what waited in the process before, into a table that is still empty. Where that was before the boot
    /// (not `same_boot`), it begins to wait now, and no pod of now had its address then.
    ///
    /// # Errors
    /// When the bytes cannot be what [`WaitingTable::persist`] wrote, or are more than the table holds.
    pub fn restore(&mut self, from: &mut In<'_>, same_boot: bool, mono_ns: u64) -> Result<(), Malformed> {
        for _ in 0..u32::take(from)? {
            let mut row = WaitingRow::take(from)?;
            match same_boot {
                true => row.since_mono_ns = row.since_mono_ns.min(mono_ns),
                false => row.since_mono_ns = mono_ns,
            }
            row.counted_mono_ns = if same_boot { row.counted_mono_ns.min(mono_ns) } else { 0 };
            // Some differed only by the books of the audit.
            match self.table.find(&row.key).and_then(|slot| self.table.get_mut(slot)) {
                Some(known) => {
                    known.traffic += row.traffic;
                    known.counted_mono_ns = known.counted_mono_ns.max(row.counted_mono_ns);
                    known.since_mono_ns = known.since_mono_ns.min(row.since_mono_ns);
                }
                None => _ = self.table.insert(row).map_err(|_| Malformed)?,
            }
        }
        Ok(())
    }

    pub fn iter(&self) -> impl Iterator<Item = &WaitingRow> {
        self.table.iter().map(|(_, row)| row)
    }
}

#[cfg(test)]
mod tests;
