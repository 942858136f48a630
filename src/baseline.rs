//! Converts cumulative counters to increments: a pure function of the kernel's records in their order.
//!
//! It knows connections by key, and nothing of owners, rows or the source's protocol. It implements rules 10 and 11:
//!
//! - A record of a living connection adds its counters minus the baseline. A different id or start, or any counter
//!   below its baseline, proves a new connection with an old key: the base is then zero.
//! - The end of a connection adds its final counters minus the baseline. If a DESTROY arrives during a dump, a
//!   tombstone is kept. A later entry with that key and id in the same dump is then ignored. A new connection with both
//!   loses nothing: the next dump counts it in full.
//! - The kernel may hold two entries with one key. Two packets that race through a NAT with several backends make one
//!   each, and no dump contains the loser. An end with another id than the baseline counts its own bytes and leaves
//!   that baseline alone.
//! - Absence from a dump proves nothing. A baseline is removed at its end, or after three complete dumps without it.
//! - Until the first complete sweep an unknown connection enters as a baseline, unless it started after the process.
//!
//! A dump lists entries in nearly the same order every time. Each baseline therefore stores the slot that followed it:
//! most records are found through the previous one, without hashing.

mod births;
mod entry;
mod persist;
mod tombstones;

use self::births::Births;
use self::entry::{Baseline, DECIDED, GUESSED, MAY_END_UNTOLD, OPENER, RESTORED, TURNED, is_another, is_beside};
use self::tombstones::Tombstones;
use crate::clock::SECOND;
use crate::flow::{Connection, ConnectionKey, Traffic};
use crate::table::{Full, NONE, Table};

/// Complete dumps without a connection after which its baseline is removed.
const ABSENCES: u8 = 3;

/// Who opened a connection whose entry may be wrong about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opener {
    /// The entry's responder did.
    pub turned: bool,
    /// Only the ports say so.
    pub guessed: bool,
}

/// The meaning of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Traffic since the last record.
    Increment(Traffic),
    /// The connection is followed from these counters on; earlier traffic is not counted.
    Baseline,
    /// The record is stale: its connection ended during this dump.
    Stale,
    /// An end without a baseline before the first complete sweep.
    BeforeFirstSweep,
    /// The table is full: the connection is not followed.
    NotFollowed,
    /// The bytes of a connection that was not followed while the table was full.
    Lost(Traffic),
}

/// The result of [`BaselineTable::end_sweep`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vanished {
    /// Baselines removed without an end that the kernel should have reported.
    pub untold: u64,
    /// Baselines removed without an end that the kernel need not report.
    pub expected: u64,
    /// Baselines of the state file that no sweep has seen: they ended while no agent ran.
    pub while_away: u64,
}

/// Largest memory of one followed connection in bytes: the baseline, two index cells, a free-list cell, and its share of
/// the tombstones.
pub const BYTES_PER_CONNECTION: u64 =
    std::mem::size_of::<Baseline>() as u64 + 2 * 4 + 4 + tombstones::BYTES / tombstones::SHARE as u64;

/// What seems to have started less than this after the process may be older. The wall clock may have been set back by a
/// little just before, and nothing shows that.
const UNSURE_NS: u64 = 20 * SECOND;

/// The counters of every followed connection at its last record.
pub struct BaselineTable {
    table: Table<Baseline>,
    births: Births,
    /// Ends reported during this sweep.
    tombstones: Tombstones,
    process_start_ns: u64,
    sweeping: bool,
    first_sweep_done: bool,
    /// Every connection of a complete sweep is in the table: a connection seen first from now on is new.
    placed_all: bool,
    /// The table was full when a connection appeared. Until a complete sweep fits, an unknown connection may be old, so it
    /// enters as a baseline.
    overflowed: bool,
    overflowed_now: bool,
    sweep: u8,
    seen_now: u32,
    /// The slot of the previous record in the dump.
    last: u32,
    first: u32,
    may_end_untold: u32,
    /// Some connection's opener was decided; while none was, nobody asks.
    any_decided: bool,
}

impl BaselineTable {
    /// Creates a table for at most `capacity` connections. `process_start_ns` (nanoseconds since the epoch) identifies
    /// new connections if the kernel stamps their start.
    pub fn with_capacity(capacity: u32, process_start_ns: u64) -> BaselineTable {
        let table = Table::with_capacity(capacity);
        BaselineTable {
            births: Births::new(),
            tombstones: Tombstones::for_connections(table.capacity()),
            table,
            process_start_ns,
            sweeping: false,
            first_sweep_done: false,
            placed_all: false,
            overflowed: false,
            overflowed_now: false,
            sweep: 0,
            seen_now: 0,
            last: NONE,
            first: NONE,
            may_end_untold: 0,
            any_decided: false,
        }
    }

    pub fn len(&self) -> u32 {
        self.table.len()
    }

    /// Largest number of connections.
    pub fn capacity(&self) -> u32 {
        self.table.capacity()
    }

    /// Whether there was a complete sweep.
    pub fn first_sweep_done(&self) -> bool {
        self.first_sweep_done
    }

    /// Whether everything that the last complete sweep has shown is followed.
    pub fn has_placed_all(&self) -> bool {
        self.placed_all && !self.overflowed
    }

    pub fn follows(&self, key: &ConnectionKey) -> bool {
        self.table.find(key).is_some()
    }

    /// Number of followed connections that may end unreported. While there are any, sweeps must stay frequent.
    pub fn may_end_untold(&self) -> u32 {
        self.may_end_untold
    }

    /// Starts again: unknown connections enter as baselines until the next complete sweep. Used when another zone is
    /// chosen (rule 7).
    pub fn restart(&mut self) {
        self.placed_all = false;
    }

    /// Ignores start timestamps from now on. They are wall clock: once that was set back, an old connection seems to have
    /// started after the process.
    pub fn distrust_starts(&mut self) {
        self.process_start_ns = 0;
    }

    /// Called before the first record of a sweep.
    pub fn begin_sweep(&mut self) {
        self.sweeping = true;
        self.sweep = self.sweep.wrapping_add(1);
        self.seen_now = 0;
        self.overflowed_now = false;
        self.last = NONE;
    }

    /// Judges the record of a living connection.
    #[allow(clippy::cast_possible_truncation, reason = "the low bits tell two starts, or two ends, apart")]
    pub fn live(&mut self, c: &Connection) -> Judged {
        let Some(slot) = self.find_in_order(&c.key) else {
            return if self.tombstones.may_cover(c) { Judged::Stale } else { self.follow(c) };
        };
        let sweep = self.sweep;
        let Some(known) = self.table.get_mut(slot) else {
            return Judged::Stale;
        };
        // The key is in use again. Or the dump still shows an entry whose end we have read, and a new connection took
        // its key since. The tombstone tells.
        let is_another = is_another(known, c);
        if is_another && self.tombstones.may_cover(c) {
            return Judged::Stale;
        }
        if known.seen != sweep || known.absences != 0 {
            self.seen_now += 1;
        }
        known.seen = sweep;
        known.absences = 0;
        known.flags &= !RESTORED;
        let mut base = known.traffic;
        if is_another {
            base = Traffic::ZERO;
            known.born = self.births.current();
            known.flags &= !OPENER;
            if known.flags & MAY_END_UNTOLD != 0 && c.key.realm == 0 {
                known.flags &= !MAY_END_UNTOLD;
                self.may_end_untold -= 1;
            }
        }
        known.traffic = c.traffic;
        known.id = c.id;
        known.start = c.start_ns as u32;
        Judged::Increment(c.traffic - base)
    }

    /// Reads ahead the baselines that will be judged, in any order; see [`Table::warm`].
    pub fn warm<'a>(&self, keys: impl Iterator<Item = &'a ConnectionKey>) {
        self.table.warm(keys);
    }

    /// Who opened a followed connection, where that was decided.
    pub fn opener(&self, key: &ConnectionKey) -> Option<Opener> {
        if !self.any_decided {
            return None;
        }
        let flags = self.table.get(self.table.find(key)?)?.flags;
        let opener = Opener { turned: flags & TURNED != 0, guessed: flags & GUESSED != 0 };
        (flags & DECIDED != 0).then_some(opener)
    }

    /// Decides who opened a connection, for as long as it is followed.
    pub fn set_opener(&mut self, key: &ConnectionKey, opener: Opener) {
        if let Some(known) = self.table.find(key).and_then(|slot| self.table.get_mut(slot)) {
            let bits = DECIDED | if opener.turned { TURNED } else { 0 } | if opener.guessed { GUESSED } else { 0 };
            known.flags = known.flags & !OPENER | bits;
            self.any_decided = true;
        }
    }

    /// Until when a followed connection had begun: the time of the sweep that saw it first, monotonic; `None` before the
    /// sweep after that.
    pub fn began_by_ns(&self, key: &ConnectionKey) -> Option<u64> {
        self.births.until_ns(self.table.get(self.table.find(key)?)?.born)
    }

    /// A sweep has ended, or the tables of the process before were restored, at that time.
    pub fn note_births(&mut self, now_ns: u64) {
        self.births.end_span(now_ns, &mut self.table);
    }

    /// Judges the end of a connection.
    pub fn ended(&mut self, c: &Connection) -> Judged {
        if self.sweeping {
            self.tombstones.add(c);
        }
        // Before the first complete sweep an unknown connection may be older than the agent.
        let of_old = !self.placed_all && !self.began_under_our_eyes(c);
        let known = self.table.find(&c.key).and_then(|slot| Some((slot, *self.table.get(slot)?)));
        match known {
            Some((slot, known)) if !is_beside(&known, c) => {
                let base = if is_another(&known, c) { Traffic::ZERO } else { known.traffic };
                self.bury(slot);
                Judged::Increment(c.traffic - base)
            }
            _ if of_old => Judged::BeforeFirstSweep,
            // The other one is followed, so the table had room for this key.
            None if self.overflowed || self.overflowed_now => Judged::Lost(c.traffic),
            _ => Judged::Increment(c.traffic),
        }
    }

    /// Called after the last record of a sweep. Only a complete one proves absence.
    pub fn end_sweep(&mut self, complete: bool) -> Vanished {
        self.sweeping = false;
        // Records were left aside that may have been of living connections: those have no place yet.
        let complete = complete && !self.tombstones.overflowed();
        self.tombstones.clear();
        let mut vanished = Vanished::default();
        if complete {
            self.first_sweep_done = true;
            self.overflowed = self.overflowed_now;
            self.placed_all |= !self.overflowed_now;
            if self.seen_now < self.table.len() {
                self.expire(&mut vanished);
            }
        } else {
            self.overflowed |= self.overflowed_now;
        }
        vanished
    }

    fn expire(&mut self, vanished: &mut Vanished) {
        let sweep = self.sweep;
        for slot in self.table.slots() {
            let Some(known) = self.table.get_mut(slot) else { continue };
            if known.seen == sweep && known.absences == 0 {
                continue;
            }
            // One absence proves nothing: the kernel resizes its table, and a dump then misses entries.
            known.absences += 1;
            if known.absences < ABSENCES {
                continue;
            }
            if known.flags & MAY_END_UNTOLD != 0 {
                self.may_end_untold -= 1;
            }
            if known.flags & RESTORED != 0 {
                vanished.while_away += 1;
            } else if known.flags & MAY_END_UNTOLD != 0 {
                vanished.expected += 1;
            } else {
                vanished.untold += 1;
            }
            self.table.remove(slot);
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "the low bits tell two starts, or two ends, apart")]
    fn follow(&mut self, c: &Connection) -> Judged {
        let ours = self.began_under_our_eyes(c);
        let before_us = !self.placed_all && !ours;
        // Cilium reports no ends: an entry stays readable for as long as Cilium keeps it. A connection that the first
        // sweep sees may be older than our listener, even if it is missing in the state file.
        let untold = before_us || c.key.realm != 0 || !self.first_sweep_done && !ours;
        let flags = if untold { MAY_END_UNTOLD } else { 0 };
        let fresh = Baseline {
            key: c.key,
            mark: 0,
            traffic: c.traffic,
            id: c.id,
            start: c.start_ns as u32,
            next: NONE,
            seen: self.sweep,
            absences: 0,
            flags,
            born: self.births.current(),
        };
        match self.table.insert(fresh) {
            Ok(slot) => {
                self.link(slot);
                self.seen_now += 1;
                self.may_end_untold += u32::from(untold);
                if before_us {
                    Judged::Baseline
                } else if self.overflowed {
                    Judged::Lost(c.traffic)
                } else {
                    Judged::Increment(c.traffic)
                }
            }
            Err(Full) => {
                self.overflowed_now = true;
                Judged::NotFollowed
            }
        }
    }

    /// Looks at the slot that followed the previous record last time, then in the index.
    fn find_in_order(&mut self, key: &ConnectionKey) -> Option<u32> {
        let expected = match self.table.get(self.last) {
            Some(last) => last.next,
            None => self.first,
        };
        if let Some(candidate) = self.table.get(expected)
            && candidate.key == *key
        {
            self.last = expected;
            return Some(expected);
        }
        let slot = self.table.find(key)?;
        self.link(slot);
        Some(slot)
    }

    /// Stores that `slot` followed the previous record.
    fn link(&mut self, slot: u32) {
        match self.table.get_mut(self.last) {
            Some(last) => last.next = slot,
            None => self.first = slot,
        }
        self.last = slot;
    }

    fn bury(&mut self, slot: u32) {
        let Some(known) = self.table.get_mut(slot) else { return };
        if known.flags & MAY_END_UNTOLD != 0 {
            self.may_end_untold -= 1;
        }
        if self.sweeping && known.seen == self.sweep && known.absences == 0 {
            self.seen_now = self.seen_now.saturating_sub(1);
        }
        self.table.remove(slot);
    }

    fn began_under_our_eyes(&self, c: &Connection) -> bool {
        self.process_start_ns != 0 && c.start_ns > self.process_start_ns.saturating_add(UNSURE_NS)
    }
}

#[cfg(test)]
mod tests;
