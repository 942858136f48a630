//! Traffic since the start per owner, direction, protocol and class: what `/metrics` shows, for it only grows.
//!
//! Rows come and go with their remote addresses; a scraper needs sums that stay. Bounded: what finds no place is
//! added to the owner `Other`, so the sum over all series is the sum of all that was counted into rows.

use crate::flow::{Class, Direction, TxRx, protocol};
use crate::owner::OwnerId;
use crate::table::{Entry, Table};

/// Series at most. 250 pods with traffic of six kinds each take 1,500.
const CAPACITY: u32 = 4_096;
/// Slots that only the owner `Other` may take: 2 directions, 5 protocols, 3 classes.
const RESERVED: u32 = 30;

/// What a series is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesKey {
    /// Whose the local ends were.
    pub owner: OwnerId,
    /// Who opened the connections.
    pub direction: Direction,
    /// Where the remote addresses lie.
    pub class: Class,
    /// Kind of protocol; see [`protocol_name`].
    kind: u8,
}

/// One series.
#[derive(Clone, Copy, Debug)]
pub struct Series {
    /// Its name.
    pub key: SeriesKey,
    mark: u32,
    /// All that was counted.
    pub total: TxRx,
    /// When it last grew, monotonic.
    pub changed_mono_ns: u64,
}

impl Series {
    /// `tcp`, `udp`, `sctp`, `icmp` or `other`.
    pub fn protocol_name(&self) -> &'static str {
        ["tcp", "udp", "sctp", "icmp", "other"][usize::from(self.key.kind.min(4))]
    }
}

impl Entry for Series {
    type Key = SeriesKey;
    fn key(&self) -> &SeriesKey {
        &self.key
    }
    fn mark(&self) -> u32 {
        self.mark
    }
    fn set_mark(&mut self, mark: u32) {
        self.mark = mark;
    }
}

/// All series.
pub struct SeriesTable {
    table: Table<Series>,
}

impl Default for SeriesTable {
    fn default() -> SeriesTable {
        SeriesTable { table: Table::with_capacity(CAPACITY) }
    }
}

impl SeriesTable {
    /// Counts an increment.
    pub fn add(
        &mut self,
        owner: OwnerId,
        proto: u8,
        direction: Direction,
        class: Class,
        increment: TxRx,
        mono_ns: u64,
    ) {
        let key = SeriesKey { owner, direction, class, kind: kind_of(proto) };
        let room = self.table.len() < CAPACITY - RESERVED || owner == OwnerId::OTHER;
        match self.table.find(&key) {
            Some(slot) => {
                if let Some(series) = self.table.get_mut(slot) {
                    series.total += increment;
                    series.changed_mono_ns = mono_ns;
                }
            }
            None if room => {
                let fresh = Series { key, mark: 0, total: increment, changed_mono_ns: mono_ns };
                let placed = self.table.insert(fresh);
                debug_assert!(placed.is_ok(), "the reserve holds every series of `Other`");
            }
            None => self.add(OwnerId::OTHER, proto, direction, class, increment, mono_ns),
        }
    }

    /// Forgets series of owners that `gone` names and that were idle for `idle_ns`.
    pub fn cleanup(&mut self, mono_ns: u64, idle_ns: u64, gone: impl Fn(OwnerId) -> bool) {
        for slot in self.table.slots() {
            if let Some(series) = self.table.get(slot)
                && mono_ns.saturating_sub(series.changed_mono_ns) >= idle_ns
                && gone(series.key.owner)
            {
                self.table.remove(slot);
            }
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Series> {
        self.table.iter().map(|(_, series)| series)
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

fn kind_of(proto: u8) -> u8 {
    match proto {
        protocol::TCP => 0,
        protocol::UDP => 1,
        protocol::SCTP => 2,
        protocol::ICMP | protocol::ICMPV6 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Counts;

    #[test]
    fn beyond_the_bound_owners_are_taken_together_and_the_sum_stays() {
        let mut table = SeriesTable::default();
        let one = TxRx { tx: Counts { bytes: 1, packets: 1 }, rx: Counts::ZERO };
        for owner in 3..5_003 {
            table.add(OwnerId(owner), protocol::TCP, Direction::Outbound, Class::Inside, one, 0);
        }
        assert_eq!(table.len(), CAPACITY - RESERVED + 1);
        assert_eq!(table.iter().map(|s| s.total.tx.bytes).sum::<u64>(), 5_000);
        table.cleanup(100, 50, |owner| owner != OwnerId::OTHER);
        assert_eq!(table.len(), 1);
    }
}
