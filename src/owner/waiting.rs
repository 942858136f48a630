//! Increments whose local end is not known yet (rule 8): they wait here until their pod is, or their time is up.
//!
//! Keeps what is needed to decide later exactly as one would have decided then; decides nothing itself.

use crate::flow::{Addr, Ends, Split, Traffic};
use crate::state::bytes::{In, Persist, persist, persist_as_number};
use crate::table::{Entry, Full, Table};
use crate::wire::Malformed;

/// Waiting rows at most.
pub const CAPACITY: u32 = 16_384;
/// Increments of one connection pattern within this span of time share a row.
const SLOT_NS: u64 = 10_000_000_000;
/// The same where the owner may change any moment; a sweep's own.
const FINE_SLOT_NS: u64 = 1_000_000_000;
/// Tells the two kinds of slots apart.
const FINE: u64 = 1 << 63;

/// Increments that share a fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WaitingKey {
    /// The originator.
    pub client: Addr,
    /// The address that it asked for.
    pub asked: Addr,
    /// Who answered.
    pub backend: Addr,
    /// Cgroup of the local socket, 0 if unknown.
    pub cgroup: u64,
    /// Number of the slot in which it was counted.
    slot: u64,
    /// The responder's port.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Whether the node rewrote the destination (rule 5).
    pub translated: bool,
    /// The ends that wait.
    pub ends: Ends,
    /// Whether the other end has its row already: then nothing is unattributed where this one never gets an owner.
    pub beside: bool,
    /// Whether what was sent and received is known apart.
    pub split: Split,
}

/// One waiting row.
#[derive(Clone, Copy, Debug)]
pub struct WaitingRow {
    /// What its increments have in common.
    pub key: WaitingKey,
    mark: u32,
    /// What was counted.
    pub traffic: Traffic,
    /// When it was last added to, wall clock: the moment whose owner is asked for.
    pub counted_wall_ns: u64,
    /// When it began to wait, monotonic.
    pub since_mono_ns: u64,
}

persist_as_number!(Split[Split::Known, Split::Undecided, Split::Unknown]);
persist_as_number!(Ends[Ends::Both, Ends::Originator, Ends::Responder, Ends::Neither]);
persist!(WaitingKey { client, asked, backend, cgroup, slot, port, protocol, translated, ends, beside, split });
persist!(WaitingRow { key, traffic, counted_wall_ns, since_mono_ns; mark: 0 });

impl Entry for WaitingRow {
    type Key = WaitingKey;
    fn key(&self) -> &WaitingKey {
        &self.key
    }
    fn mark(&self) -> u32 {
        self.mark
    }
    fn set_mark(&mut self, mark: u32) {
        self.mark = mark;
    }
}

/// What waits.
pub struct WaitingTable {
    table: Table<WaitingRow>,
    /// Who makes room, the next one last; made anew when it is used up or rows have left otherwise.
    next_out: Vec<(bool, u64, u32)>,
}

/// An increment that begins to wait.
#[derive(Clone, Copy, Debug)]
pub struct Newcomer {
    /// The originator.
    pub client: Addr,
    /// The address that it asked for.
    pub asked: Addr,
    /// Who answered.
    pub backend: Addr,
    /// The responder's port.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// Whether the node rewrote the destination.
    pub translated: bool,
    /// The ends that wait.
    pub ends: Ends,
    /// Whether the other end has its row already.
    pub beside: bool,
    /// Whether an end may change its owner within seconds.
    pub fine: bool,
    /// Whether what was sent and received is known apart.
    pub split: Split,
    /// Cgroup of the local socket, 0 if unknown.
    pub cgroup: u64,
    /// What was counted.
    pub traffic: Traffic,
}

impl WaitingTable {
    /// An empty table of at most `capacity` rows.
    pub fn with_capacity(capacity: u32) -> WaitingTable {
        WaitingTable { table: Table::with_capacity(capacity), next_out: Vec::with_capacity(capacity as usize) }
    }

    /// Rows that wait.
    pub fn len(&self) -> u32 {
        self.table.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Adds an increment. When the table is full, the row that has waited longest makes room and is handed back; what
    /// waits beside a row makes room first, and makes none for itself.
    pub fn add(&mut self, n: &Newcomer, wall_ns: u64, mono_ns: u64) -> Option<WaitingRow> {
        let key = WaitingKey {
            client: n.client,
            asked: n.asked,
            backend: n.backend,
            cgroup: n.cgroup,
            slot: if n.fine { FINE | (wall_ns / FINE_SLOT_NS) } else { wall_ns / SLOT_NS },
            port: n.port,
            protocol: n.protocol,
            translated: n.translated,
            ends: n.ends,
            beside: n.beside,
            split: n.split,
        };
        if let Some(row) = self.table.find(&key).and_then(|slot| self.table.get_mut(slot)) {
            row.traffic += n.traffic;
            row.counted_wall_ns = row.counted_wall_ns.max(wall_ns);
            return None;
        }
        let row = WaitingRow { key, mark: 0, traffic: n.traffic, counted_wall_ns: wall_ns, since_mono_ns: mono_ns };
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

    /// Takes out every row that `settled` says is decided.
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

    /// Takes over what waited in the process before, into a table that is still empty.
    ///
    /// # Errors
    /// When the bytes cannot be what [`WaitingTable::persist`] wrote, or are more than the table holds.
    pub fn restore(&mut self, from: &mut In<'_>) -> Result<(), Malformed> {
        for _ in 0..u32::take(from)? {
            let row = WaitingRow::take(from)?;
            if self.table.find(&row.key).is_some() {
                return Err(Malformed);
            }
            self.table.insert(row).map_err(|_| Malformed)?;
        }
        Ok(())
    }

    /// Everything that waits.
    pub fn iter(&self) -> impl Iterator<Item = &WaitingRow> {
        self.table.iter().map(|(_, row)| row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Counts;

    fn newcomer(host: u8, bytes: u64) -> Newcomer {
        Newcomer {
            client: Addr::from_v4([10, 0, 0, host]),
            asked: Addr::from_v4([10, 1, 0, 1]),
            backend: Addr::from_v4([10, 1, 0, 1]),
            port: 80,
            protocol: 6,
            translated: false,
            ends: Ends::Both,
            beside: false,
            fine: false,
            split: Split::Known,
            cgroup: 0,
            traffic: Traffic { orig: Counts { bytes, packets: 1 }, reply: Counts::ZERO },
        }
    }

    #[test]
    fn increments_within_ten_seconds_share_a_row() {
        let mut table = WaitingTable::with_capacity(4);
        assert!(table.add(&newcomer(1, 10), 20_000_000_000, 1).is_none());
        assert!(table.add(&newcomer(1, 5), 29_999_999_999, 2).is_none());
        assert!(table.add(&newcomer(1, 7), 30_000_000_000, 3).is_none());
        let mut bytes: Vec<u64> = table.iter().map(|row| row.traffic.orig.bytes).collect();
        bytes.sort_unstable();
        assert_eq!(bytes, [7, 15]);
    }

    #[test]
    fn what_waits_beside_a_row_makes_room_first() {
        let mut table = WaitingTable::with_capacity(2);
        let beside = |host| Newcomer { beside: true, ..newcomer(host, 7) };
        table.add(&newcomer(1, 10), 0, 100);
        table.add(&beside(2), 0, 200);
        let refused = table.add(&beside(3), 0, 300).expect("the table was full");
        assert_eq!(refused.key.client, Addr::from_v4([10, 0, 0, 3]));
        let evicted = table.add(&newcomer(4, 20), 0, 400).expect("the table was full");
        assert_eq!(evicted.key.client, Addr::from_v4([10, 0, 0, 2]));
        let evicted = table.add(&newcomer(5, 20), 0, 500).expect("the table was full");
        assert_eq!(evicted.key.client, Addr::from_v4([10, 0, 0, 1]));
    }

    #[test]
    fn making_room_goes_by_age_whatever_leaves_meanwhile() {
        let mut table = WaitingTable::with_capacity(4);
        for (host, since) in [(1, 40), (2, 10), (3, 30), (4, 20)] {
            table.add(&newcomer(host, 1), 0, since);
        }
        let out = |table: &mut WaitingTable, host: u8, since| {
            table.add(&newcomer(host, 1), 0, since).map(|row| row.since_mono_ns)
        };
        assert_eq!((out(&mut table, 5, 50), out(&mut table, 6, 60)), (Some(10), Some(20)));
        table.take_if(|row| row.since_mono_ns == 30);
        assert_eq!(
            (out(&mut table, 7, 35), out(&mut table, 8, 70), out(&mut table, 9, 80)),
            (None, Some(35), Some(40))
        );
    }

    #[test]
    fn where_owners_change_a_second_divides_rows() {
        let mut table = WaitingTable::with_capacity(4);
        let fine = Newcomer { fine: true, ..newcomer(1, 10) };
        for wall_ns in [20_000_000_000, 20_900_000_000, 21_000_000_000] {
            table.add(&fine, wall_ns, 1);
            table.add(&newcomer(1, 10), wall_ns, 1);
        }
        assert_eq!(table.len(), 3, "two fine ones and a coarse one");
    }

    #[test]
    fn a_full_table_hands_back_what_waited_longest() {
        let mut table = WaitingTable::with_capacity(2);
        table.add(&newcomer(1, 10), 0, 100);
        table.add(&newcomer(2, 20), 0, 50);
        let evicted = table.add(&newcomer(3, 30), 0, 200).expect("the table was full");
        assert_eq!(evicted.traffic.orig.bytes, 20);
        assert_eq!(table.len(), 2);
    }
}
