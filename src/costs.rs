//! Bytes since the start per owner, scope, via and service: what prices are multiplied with, for it only grows.
//!
//! Beside [`crate::series`], so that neither family multiplies the other's series. Bounded: where there is no place, the
//! service is left out first, then the owner; the sum over all stays. Knows names neither of owners nor of services.

use std::hash::{Hash, Hasher};

use crate::flow::TxRx;
use crate::owner::OwnerId;
use crate::table::{Table, entry};
use crate::topology::{Via, Way};

mod persist;

/// Series at most. 250 pods with traffic of eight kinds each take 2,000.
pub const CAPACITY: u32 = 4_096;
/// Slots that only series without a service may take.
const WITHOUT_SERVICE: u32 = 1_024;
/// Slots that only the owner `Other` may take: 7 scopes, 8 ways.
const RESERVED: u32 = 56;

/// What a series is known by.
#[derive(Clone, Copy, Debug, Eq)]
pub struct CostKey {
    /// Whose the local ends were.
    pub owner: OwnerId,
    /// Scope, via and service.
    pub way: Way,
}

impl CostKey {
    #[inline(always)]
    fn word(&self) -> u64 {
        u64::from(self.owner.0) | u64::from(self.way.number()) << 32
    }
}

// One word instead of two fields, as for a connection's key.
impl PartialEq for CostKey {
    #[inline(always)]
    fn eq(&self, other: &CostKey) -> bool {
        self.word() == other.word()
    }
}

impl Hash for CostKey {
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.word());
    }
}

/// One series.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Its name.
    pub key: CostKey,
    mark: u32,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// When it appeared, monotonic.
    pub since_mono_ns: u64,
    /// When it last grew, monotonic.
    pub changed_mono_ns: u64,
}

entry!(Cost { key: CostKey });

/// All series.
pub struct CostTable {
    table: Table<Cost>,
    /// Bytes that found no place under their own name.
    joined_bytes: u64,
}

impl Default for CostTable {
    fn default() -> CostTable {
        CostTable { table: Table::with_capacity(CAPACITY), joined_bytes: 0 }
    }
}

impl CostTable {
    /// Counts an increment.
    #[inline]
    pub fn add(&mut self, owner: OwnerId, way: Way, increment: TxRx, mono_ns: u64) {
        let key = CostKey { owner, way };
        match self.table.find(&key).and_then(|slot| self.table.get_mut(slot)) {
            Some(cost) => {
                cost.tx_bytes = cost.tx_bytes.saturating_add(increment.tx.bytes);
                cost.rx_bytes = cost.rx_bytes.saturating_add(increment.rx.bytes);
                cost.changed_mono_ns = mono_ns;
            }
            None => self.insert(key, increment.tx.bytes, increment.rx.bytes, mono_ns, mono_ns),
        }
    }

    /// Makes a series, or adds to the one that takes its place.
    #[cold]
    fn insert(&mut self, key: CostKey, tx_bytes: u64, rx_bytes: u64, since_mono_ns: u64, mono_ns: u64) {
        let way = key.way;
        let bare = Way::new(way.scope(), way.via(), 0);
        let candidates = [
            (key, if way.service() == 0 { RESERVED } else { RESERVED + WITHOUT_SERVICE }),
            (CostKey { way: bare, ..key }, RESERVED),
            (CostKey { owner: OwnerId::OTHER, way: bare }, 0),
            // Never needed while the reserve is as large as it is.
            (CostKey { owner: OwnerId::OTHER, way: Way::new(way.scope(), Via::None, 0) }, 0),
        ];
        for (candidate, left) in candidates {
            if candidate != key {
                self.joined_bytes = self.joined_bytes.saturating_add(tx_bytes).saturating_add(rx_bytes);
            }
            if let Some(cost) = self.table.find(&candidate).and_then(|slot| self.table.get_mut(slot)) {
                cost.tx_bytes = cost.tx_bytes.saturating_add(tx_bytes);
                cost.rx_bytes = cost.rx_bytes.saturating_add(rx_bytes);
                cost.since_mono_ns = cost.since_mono_ns.min(since_mono_ns);
                cost.changed_mono_ns = cost.changed_mono_ns.max(mono_ns);
                return;
            }
            let fresh = Cost { key: candidate, mark: 0, tx_bytes, rx_bytes, since_mono_ns, changed_mono_ns: mono_ns };
            if self.table.len() < CAPACITY - left && self.table.insert(fresh).is_ok() {
                return;
            }
        }
        debug_assert!(false, "the reserve holds every series of `Other`");
    }

    /// Forgets series of owners that `heir` says are gone and that were idle for `idle_ns`. An heir bears the name on:
    /// what is shown by name must not fall while the name lives. Whoever lives is its own heir.
    pub fn cleanup(&mut self, mono_ns: u64, idle_ns: u64, heir: impl Fn(OwnerId) -> Option<OwnerId>) {
        for slot in self.table.slots() {
            let Some(cost) = self.table.get(slot).copied() else { continue };
            if mono_ns.saturating_sub(cost.changed_mono_ns) < idle_ns {
                continue;
            }
            let heir = heir(cost.key.owner);
            if heir == Some(cost.key.owner) {
                continue;
            }
            self.table.remove(slot);
            if let Some(owner) = heir {
                let key = CostKey { owner, ..cost.key };
                self.insert(key, cost.tx_bytes, cost.rx_bytes, cost.since_mono_ns, mono_ns);
            }
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Cost> {
        self.table.iter().map(|(_, cost)| cost)
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.table.len()
    }

    /// Bytes that found no place under their own name, since the last call.
    pub fn take_joined_bytes(&mut self) -> u64 {
        std::mem::take(&mut self.joined_bytes)
    }
}

#[cfg(test)]
mod tests;
