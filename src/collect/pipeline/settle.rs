//! Settles increments that waited for their pod (rule 8), once that is known or their time is over.

use super::place::{Attribution, Found, Owned, may_be_a_pods};
use super::{Pipeline, WAIT_NS, shared};
use crate::clock::Now;
use crate::flow::{Direction, Ends};
use crate::owner::local::LocalEnds;
use crate::owner::waiting::WaitingRow;
use crate::stats::Unattributed;

impl Pipeline {
    /// Settles waiting rows: by their pod if it is known now, by rule 5 if their time is over.
    pub fn settle_waiting(&mut self, now: Now) {
        if self.waiting.is_empty() {
            return;
        }
        let (synced, mono_ns) = (self.local.pods().synced, now.mono_ns);
        // Removed first, because settling needs the tables.
        let mut decided: Vec<WaitingRow> = Vec::new();
        let mut shrunk: Vec<WaitingRow> = Vec::new();
        let (local, socket_owners, owners) = (&self.local, &mut self.socket_owners, &mut self.owners);
        let (classes, arbiter) = (&self.policy.classes, &mut self.arbiter);
        let in_cluster = self.policy.waits;
        self.waiting.take_if(|row| {
            let (at, undecided) = shared::of(arbiter, local, &Attribution::of(row, mono_ns));
            let late = (synced || !in_cluster) && mono_ns.saturating_sub(row.since_mono_ns) >= WAIT_NS;
            if undecided && !late {
                return false;
            }
            // The programs have an end of it by now: what is left waits by itself.
            if at.of.ends != row.key.of.ends {
                shrunk.push(*row);
                return true;
            }
            let client = at.whose(Ends::Originator, local, socket_owners, owners);
            let backend = at.whose(Ends::Responder, local, socket_owners, owners);
            let waits = |end| at.of.ends == end || at.of.ends == Ends::Both;
            let ends = [(Ends::Originator, client, at.of.client), (Ends::Responder, backend, at.of.backend)];
            let known = ends.iter().any(|(end, owned, _)| waits(*end) && owned.known().is_some());
            let open = ends.iter().any(|(end, owned, addr)| {
                let may_be = *owned == Owned::Nobodys && waits(*end) && may_be_a_pods(local, classes, *addr);
                may_be || *owned == Owned::NotYet
            });
            let ready = !in_cluster || !open && (known || at.of.ends == Ends::Both);
            if ready || late {
                decided.push(*row);
            }
            ready || late
        });
        for row in decided {
            self.settle(&row, mono_ns, None);
        }
        for row in shrunk {
            if let Some(held) = row.held() {
                self.ledger.release(held);
            }
            let at = self.take_back(&row, Attribution::of(&row, row.since_mono_ns));
            self.place(&at);
        }
        self.add_up();
    }

    /// Settles all waiting rows by what is known now. Used at the end of an agent without a state file.
    pub fn settle_all(&mut self, now: Now) {
        self.settle_those(now, |_, _| true);
    }

    /// Settles what waits after its pod's end, when the agent ends; the rest waits on in the state file. By its time
    /// range it is that pod's, for nobody was reported to have the address since.
    pub fn settle_ended(&mut self, now: Now) {
        self.settle_those(now, |row, local| {
            let ends = [(Ends::Originator, row.key.of.client), (Ends::Responder, row.key.of.backend)];
            let mut waiting =
                ends.into_iter().filter(|(end, _)| row.key.of.ends == *end || row.key.of.ends == Ends::Both);
            waiting.any(|(_, addr)| local.is_vacant(addr, row.counted_mono_ns))
        });
    }

    fn settle_those(&mut self, now: Now, which: impl Fn(&WaitingRow, &LocalEnds) -> bool) {
        let mut rows: Vec<WaitingRow> = Vec::new();
        let local = &self.local;
        self.waiting.take_if(|row| {
            let taken = which(row, local);
            rows.extend(taken.then_some(*row));
            taken
        });
        for row in rows {
            self.settle(&row, now.mono_ns, None);
        }
        self.add_up();
    }

    /// Takes out of the audit what waited and is the programs' to count, at one end or at both. They report themselves
    /// what crossed. What is left has not been counted.
    fn take_back(&mut self, row: &WaitingRow, at: Attribution) -> Attribution {
        self.audit.take_back(row.key.crossing, row.traffic.seen_by(Direction::Outbound));
        Attribution { has_crossed: false, ..at }
    }

    /// Settles a waiting row. `hurried`: why it could not wait longer, the reason under which an unknown owner is booked.
    pub(super) fn settle(&mut self, row: &WaitingRow, mono_ns: u64, hurried: Option<Unattributed>) {
        let at = Attribution::of(row, mono_ns);
        if let Some(held) = row.held() {
            self.ledger.release(held);
        }
        let (mut at, _) = self.shared(&at);
        if at.of.ends != row.key.of.ends {
            at = self.take_back(row, at);
        }
        if at.of.ends == Ends::Neither || self.attribute(&at, true).0 != Found::None || at.beside {
            return;
        }
        match hurried {
            Some(reason) => self.ledger.leave_unattributed(reason, at.traffic.seen_by(Direction::Outbound)),
            None => self.count_without_owner(&at),
        }
    }
}
