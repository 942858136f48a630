//! Ends that nobody heard of, for their events were lost or no process ran: what may be missing for them, and the
//! baselines that they leave behind.

use std::collections::{HashMap, HashSet};

use netmon::flow::{Traffic, TxRx};

use crate::kernel::{Entry, as_tx_rx};

/// Complete dumps without a connection after which its baseline leaves (rule 11).
const ABSENCES: u8 = 3;

/// A baseline whose connection is gone.
#[derive(Clone, Copy)]
struct Ghost {
    id: u32,
    serial: u64,
    traffic: Traffic,
    absences: u8,
}

/// What rule 14 allows to be missing. Each tuple has at most one ghost, and only while no connection lives there.
#[derive(Default)]
pub struct Unheard {
    may_miss: TxRx,
    ghosts: HashMap<u8, Ghost>,
    /// Those that are in the state file.
    written: HashMap<u8, Ghost>,
}

impl Unheard {
    /// The most that may be missing.
    pub fn may_miss(&self) -> TxRx {
        self.may_miss
    }

    /// `ended` had ended on `tuple` and will never be told; what had been heard of it is `known`, and `next` is the
    /// connection that came there since. What was carried after that may be missing, and as much of the next connection
    /// as is known, where nothing tells the one from the other.
    pub fn ended(&mut self, tuple: u8, ended: Entry, known: Traffic, next: Option<&Entry>) {
        self.may_miss += as_tx_rx(ended.traffic - known);
        if known.is_zero() {
            return;
        }
        let Entry { id, serial, .. } = ended;
        match next {
            Some(next) => self.mistaken(id, known, next.id),
            None => {
                self.ghosts.insert(tuple, Ghost { id, serial, traffic: known, absences: 0 });
            }
        }
    }

    /// A connection begins where a ghost may be.
    pub fn began(&mut self, tuple: u8, id: u32) {
        let Some(ghost) = self.ghosts.remove(&tuple) else { return };
        // Allowed once: should the file bring it back, what it swallowed before was counted by nobody.
        if self.written.get(&tuple).is_some_and(|written| written.serial == ghost.serial) {
            self.written.remove(&tuple);
        }
        self.mistaken(ghost.id, ghost.traffic, id);
    }

    /// A complete dump has ended that showed these tuples.
    pub fn swept(&mut self, shown: &HashSet<u8>) {
        self.ghosts.retain(|tuple, ghost| {
            ghost.absences = if shown.contains(tuple) { 0 } else { ghost.absences + 1 };
            ghost.absences < ABSENCES
        });
    }

    /// The tables were written to the state file.
    pub fn written(&mut self) {
        self.written.clone_from(&self.ghosts);
    }

    /// A process goes on from the file. What ended since it was written is still to be told, and then taken as
    /// written.
    pub fn killed(&mut self, live: &HashMap<u8, Entry>) {
        self.ghosts.clear();
        for (tuple, ghost) in std::mem::take(&mut self.written) {
            match live.get(&tuple) {
                Some(next) => self.mistaken(ghost.id, ghost.traffic, next.id),
                None => {
                    self.ghosts.insert(tuple, Ghost { absences: 0, ..ghost });
                }
            }
        }
    }

    /// A different id proves a different connection, an equal one proves nothing (rule 10).
    fn mistaken(&mut self, id: u32, known: Traffic, next_id: u32) {
        if id == next_id {
            self.may_miss += as_tx_rx(known);
        }
    }
}
