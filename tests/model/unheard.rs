//! Ends that nobody heard of, for their events were lost or no process ran: what may be missing for them, and the
//! baselines that they leave behind.

use std::collections::HashMap;

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

/// What rule 14 allows to be missing. Each tuple has at most one ghost, until a dump shows who lives there.
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

    /// `ended` had ended on `tuple` and will never be told; what had been heard of it is `known`, and `next` is the id of
    /// the connection that came there since and whether a dump has shown it. What was carried after that may be missing, and as much of the next connection
    /// as is known, where nothing tells the one from the other.
    pub fn ended(&mut self, tuple: u8, ended: Entry, known: Traffic, next: Option<(u32, bool)>) {
        self.may_miss += as_tx_rx(ended.traffic - known);
        if known.is_zero() {
            return;
        }
        let Entry { id, serial, .. } = ended;
        match next {
            Some((next, _)) if id == next => self.may_miss += as_tx_rx(known),
            Some((_, true)) => {}
            _ => {
                self.ghosts.insert(tuple, Ghost { id, serial, traffic: known, absences: 0 });
            }
        }
    }

    /// A connection begins where a ghost may be. A different id proves a different connection, an equal one proves
    /// nothing (rule 10).
    pub fn began(&mut self, tuple: u8, id: u32) {
        let Some(ghost) = self.ghosts.get(&tuple).copied().filter(|ghost| ghost.id == id) else { return };
        self.ghosts.remove(&tuple);
        // Allowed once: should the file bring it back, what it swallowed before was counted by nobody.
        if self.written.get(&tuple).is_some_and(|written| written.serial == ghost.serial) {
            self.written.remove(&tuple);
        }
        self.may_miss += as_tx_rx(ghost.traffic);
    }

    /// A dump shows who lives there: the baseline is that connection's now.
    pub fn shown(&mut self, tuple: u8) {
        self.ghosts.remove(&tuple);
    }

    /// A complete dump has ended.
    pub fn swept(&mut self) {
        self.ghosts.retain(|_, ghost| {
            ghost.absences += 1;
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
                Some(next) if next.id == ghost.id => self.may_miss += as_tx_rx(ghost.traffic),
                _ => {
                    self.ghosts.insert(tuple, Ghost { absences: 0, ..ghost });
                }
            }
        }
    }
}
