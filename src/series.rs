//! Traffic since the start per owner, direction, protocol and class: what `/metrics` shows, for it only grows.
//!
//! Rows come and go with their remote addresses; a scraper needs sums that stay. Bounded: what finds no place is
//! added to the owner `Other`, so the sum over all series is the sum of all that was counted into rows.

use std::hash::{Hash, Hasher};

use crate::flow::{Class, Direction, TxRx, protocol};
use crate::owner::OwnerId;
use crate::table::{Entry, Table};

/// Series at most. 250 pods with traffic of six kinds each take 1,500.
const CAPACITY: u32 = 4_096;
/// Slots that only the owner `Other` may take: 2 directions, 5 protocols, 3 classes.
const RESERVED: u32 = 30;

/// What a series is known by.
#[derive(Clone, Copy, Debug, Eq)]
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

impl SeriesKey {
    #[inline(always)]
    fn word(&self) -> u64 {
        let kind = u64::from(self.kind) | (self.direction as u64) << 8 | (self.class as u64) << 16;
        u64::from(self.owner.0) | kind << 32
    }
}

// One word instead of four fields, as for a connection's key.
impl PartialEq for SeriesKey {
    #[inline(always)]
    fn eq(&self, other: &SeriesKey) -> bool {
        self.word() == other.word()
    }
}

impl Hash for SeriesKey {
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.word());
    }
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
        self.add_to(SeriesKey { owner, direction, class, kind: kind_of(proto) }, increment, mono_ns);
    }

    fn add_to(&mut self, key: SeriesKey, increment: TxRx, mono_ns: u64) {
        let room = self.table.len() < CAPACITY - RESERVED || key.owner == OwnerId::OTHER;
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
            None => self.add_to(SeriesKey { owner: OwnerId::OTHER, ..key }, increment, mono_ns),
        }
    }

    /// Forgets series of owners that `heir` says are gone and that were idle for `idle_ns`. An heir bears the name on:
    /// what is shown by name must not fall while the name lives. Whoever lives is its own heir.
    pub fn cleanup(&mut self, mono_ns: u64, idle_ns: u64, heir: impl Fn(OwnerId) -> Option<OwnerId>) {
        for slot in self.table.slots() {
            let Some(Series { key, total, changed_mono_ns, .. }) = self.table.get(slot).copied() else { continue };
            if mono_ns.saturating_sub(changed_mono_ns) < idle_ns {
                continue;
            }
            let heir = heir(key.owner);
            if heir == Some(key.owner) {
                continue;
            }
            self.table.remove(slot);
            if let Some(owner) = heir {
                self.add_to(SeriesKey { owner, ..key }, total, mono_ns);
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

    /// Keys are compared as one word; these are the highest values of what lies beside each other there.
    #[test]
    fn every_field_tells_series_apart() {
        let key =
            SeriesKey { owner: OwnerId(u32::MAX), direction: Direction::Inbound, class: Class::Overlay, kind: 255 };
        let others = [
            SeriesKey { owner: OwnerId(0), ..key },
            SeriesKey { direction: Direction::Outbound, ..key },
            SeriesKey { class: Class::Inside, ..key },
            SeriesKey { class: Class::Outside, ..key },
            SeriesKey { kind: 0, ..key },
        ];
        for (n, one) in others.iter().enumerate() {
            assert_ne!(*one, key);
            assert!(others[..n].iter().all(|two| one != two), "{one:?}");
        }
    }

    #[test]
    fn beyond_the_bound_owners_are_taken_together_and_the_sum_stays() {
        let mut table = SeriesTable::default();
        let one = TxRx { tx: Counts { bytes: 1, packets: 1 }, rx: Counts::ZERO };
        for owner in 3..5_003 {
            table.add(OwnerId(owner), protocol::TCP, Direction::Outbound, Class::Inside, one, 0);
        }
        assert_eq!(table.len(), CAPACITY - RESERVED + 1);
        assert_eq!(table.iter().map(|s| s.total.tx.bytes).sum::<u64>(), 5_000);
        table.cleanup(100, 50, |owner| (owner == OwnerId::OTHER).then_some(owner));
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn an_heir_takes_on_what_its_name_has_counted() {
        let mut table = SeriesTable::default();
        let add = |table: &mut SeriesTable, owner, proto, bytes, ns| {
            let increment = TxRx { tx: Counts { bytes, packets: 1 }, rx: Counts::ZERO };
            table.add(OwnerId(owner), proto, Direction::Outbound, Class::Inside, increment, ns);
        };
        add(&mut table, 3, protocol::TCP, 10, 0);
        add(&mut table, 3, protocol::UDP, 20, 0);
        add(&mut table, 4, protocol::TCP, 5, 0);
        add(&mut table, 5, protocol::TCP, 7, 0);
        table.cleanup(100, 50, |owner| match owner.0 {
            3 => Some(OwnerId(4)),
            5 => None,
            _ => Some(owner),
        });
        let mut left: Vec<_> = table.iter().map(|s| (s.key.owner.0, s.protocol_name(), s.total.tx.bytes)).collect();
        left.sort_unstable();
        assert_eq!(left, [(4, "tcp", 15), (4, "udp", 20)]);
    }
}
