//! Traffic since the start per owner, direction, protocol and class, for `/metrics`.
//!
//! Rows appear and disappear with their remote addresses; a scraper needs sums that only grow. The table is bounded.
//! Traffic without a place goes to the owner `Other`, so the sum over all series equals the traffic of all rows.

use std::hash::{Hash, Hasher};

use crate::flow::{Class, Direction, TxRx, protocol};
use crate::listed;
use crate::owner::OwnerId;
use crate::table::{Table, entry};

/// Largest number of series. 250 pods with traffic of six kinds each need 1,500.
const CAPACITY: u32 = 4_096;
/// Slots that only the owner `Other` may take: one for every series that it can have.
#[allow(clippy::cast_possible_truncation, reason = "three short lists")]
const RESERVED: u32 = (Direction::ALL.len() * ProtocolKind::ALL.len() * Class::ALL.len()) as u32;

listed! {
    /// Protocols as series tell them apart.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(u8)]
    enum ProtocolKind {
        Tcp => "tcp",
        Udp => "udp",
        Sctp => "sctp",
        Icmp => "icmp",
        Other => "other",
    }
}

/// The key of a series.
#[derive(Clone, Copy, Debug, Eq)]
pub struct SeriesKey {
    /// Owner of the local ends.
    pub owner: OwnerId,
    /// Who opened the connections.
    pub direction: Direction,
    /// Where the remote addresses lie.
    pub class: Class,
    kind: ProtocolKind,
}

impl SeriesKey {
    #[inline(always)]
    fn word(&self) -> u64 {
        let kind = self.kind as u64 | (self.direction as u64) << 8 | (self.class as u64) << 16;
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

#[derive(Clone, Copy, Debug)]
pub struct Series {
    pub key: SeriesKey,
    mark: u32,
    /// Traffic since the series appeared.
    pub total: TxRx,
    /// Bytes that are more of it on the wire, sent and received (rule 17).
    pub more_bytes: [u64; 2],
    /// When it last grew, monotonic.
    pub changed_mono_ns: u64,
}

impl Series {
    /// `tcp`, `udp`, `sctp`, `icmp` or `other`.
    pub fn protocol_name(&self) -> &'static str {
        self.key.kind.as_str()
    }

    fn lengthen(&mut self, more_bytes: [u64; 2]) {
        self.more_bytes.iter_mut().zip(more_bytes).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    }
}

entry!(Series { key: SeriesKey });

pub struct SeriesTable {
    table: Table<Series>,
    /// What series carried that are no more, by class.
    gone: [TxRx; Class::ALL.len()],
}

impl Default for SeriesTable {
    fn default() -> SeriesTable {
        SeriesTable { table: Table::with_capacity(CAPACITY), gone: [TxRx::ZERO; Class::ALL.len()] }
    }
}

impl SeriesTable {
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

    /// Adds what an increment that was added is more on the wire.
    pub fn lengthen(&mut self, owner: OwnerId, proto: u8, direction: Direction, class: Class, more: TxRx) {
        let key = SeriesKey { owner, direction, class, kind: kind_of(proto) };
        let other = || self.table.find(&SeriesKey { owner: OwnerId::OTHER, ..key });
        let found = self.table.find(&key).or_else(other);
        if let Some(series) = found.and_then(|slot| self.table.get_mut(slot)) {
            series.lengthen([more.tx.bytes, more.rx.bytes]);
        }
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
                let fresh = Series { key, mark: 0, total: increment, more_bytes: [0; 2], changed_mono_ns: mono_ns };
                let placed = self.table.insert(fresh);
                debug_assert!(placed.is_ok(), "the reserve holds every series of `Other`");
            }
            None => self.add_to(SeriesKey { owner: OwnerId::OTHER, ..key }, increment, mono_ns),
        }
    }

    /// Removes series that were idle for `idle_ns` and whose owner is gone. `heir` returns the living owner with the same
    /// name, for a living owner itself. An heir takes over the total, because sums by name must not fall while the name
    /// lives.
    pub fn cleanup(&mut self, mono_ns: u64, idle_ns: u64, heir: impl Fn(OwnerId) -> Option<OwnerId>) {
        for slot in self.table.slots() {
            let Some(Series { key, total, more_bytes, changed_mono_ns, .. }) = self.table.get(slot).copied() else {
                continue;
            };
            if mono_ns.saturating_sub(changed_mono_ns) < idle_ns {
                continue;
            }
            let heir = heir(key.owner);
            if heir == Some(key.owner) {
                continue;
            }
            self.table.remove(slot);
            if heir.is_none() {
                self.gone[key.class as usize] += total;
            }
            if let Some(owner) = heir {
                let heir = SeriesKey { owner, ..key };
                self.add_to(heir, total, mono_ns);
                if let Some(series) = self.table.find(&heir).and_then(|slot| self.table.get_mut(slot)) {
                    series.lengthen(more_bytes);
                }
            }
        }
    }

    /// What series carried that are no more: with those that are, everything since the start.
    pub fn gone(&self) -> TxRx {
        self.gone.into_iter().fold(TxRx::ZERO, |sum, gone| sum + gone)
    }

    /// Everything since the start, in the order of [`Class::ALL`].
    pub fn by_class(&self) -> [TxRx; Class::ALL.len()] {
        let mut sums = self.gone;
        self.iter().for_each(|series| sums[series.key.class as usize] += series.total);
        sums
    }

    pub fn iter(&self) -> impl Iterator<Item = &Series> {
        self.table.iter().map(|(_, series)| series)
    }

    #[cfg(test)]
    pub fn len(&self) -> u32 {
        self.table.len()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

fn kind_of(proto: u8) -> ProtocolKind {
    match proto {
        protocol::TCP => ProtocolKind::Tcp,
        protocol::UDP => ProtocolKind::Udp,
        protocol::SCTP => ProtocolKind::Sctp,
        protocol::ICMP | protocol::ICMPV6 => ProtocolKind::Icmp,
        _ => ProtocolKind::Other,
    }
}

#[cfg(test)]
mod tests;
