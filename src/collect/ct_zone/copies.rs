//! Connections that stand in several conntrack zones: which of the copies counts (rule 7).
//!
//! OVN gives each port a zone of its own. So a connection between two pods of a node is in both zones, with equal
//! counters. A connection is known by its ends after translation: who opened it and who answers. The copy that is seen
//! first counts, until the connection is gone from every zone. Exists only where a second zone was seen.

use crate::flow::{Addr, Connection};
use crate::state::bytes::{In, Persist, persist};
use crate::table::{Table, entry};
use crate::wire::Malformed;

/// Complete sweeps without any copy after which a connection is forgotten.
const ABSENCES: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Way {
    client: Addr,
    server: Addr,
    client_port: u16,
    server_port: u16,
    protocol: u8,
}

#[derive(Clone, Copy)]
struct Counted {
    way: Way,
    mark: u32,
    ct_zone: u16,
    absences: u8,
}

entry!(Counted { way: Way });

persist!(Way { client, server, client_port, server_port, protocol });
persist!(Counted { way, ct_zone, absences; mark: 0 });

/// The connections of a node with more than one zone, each with the zone whose copy counts.
pub struct Copies {
    table: Table<Counted>,
}

impl Copies {
    /// For at most `capacity` connections.
    pub fn with_capacity(capacity: u32) -> Copies {
        Copies { table: Table::with_capacity(capacity) }
    }

    /// The zone whose copy of this connection counts; for one that is new here what `first` says. Without room, none.
    pub fn zone_of(&mut self, c: &Connection, first: impl FnOnce() -> u16) -> Option<u16> {
        let way = Way {
            client: c.key.src,
            server: c.backend,
            client_port: c.key.sport,
            server_port: c.backend_port,
            protocol: c.key.protocol,
        };
        if let Some(known) = self.table.find(&way).and_then(|slot| self.table.get_mut(slot)) {
            known.absences = 0;
            return Some(known.ct_zone);
        }
        let ct_zone = first();
        let placed = self.table.insert(Counted { way, mark: 0, ct_zone, absences: 0 });
        placed.is_ok().then_some(ct_zone)
    }

    /// Whether no connection was seen.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Appends what counts, for the state file.
    pub fn persist(&self, out: &mut Vec<u8>) {
        self.table.len().put(out);
        self.table.iter().for_each(|(_, known)| known.put(out));
    }

    /// Takes over what the process before counted, into a table that is still empty.
    ///
    /// # Errors
    /// When the bytes cannot be what [`Copies::persist`] wrote, or are more than the table holds.
    pub fn restore(&mut self, from: &mut In<'_>) -> Result<(), Malformed> {
        for _ in 0..u32::take(from)? {
            let known = Counted::take(from)?;
            if self.table.find(&known.way).is_some() {
                return Err(Malformed);
            }
            self.table.insert(known).map_err(|_| Malformed)?;
        }
        Ok(())
    }

    /// Ends a complete sweep.
    pub fn end_sweep(&mut self) {
        for slot in self.table.slots() {
            let Some(known) = self.table.get_mut(slot) else { continue };
            known.absences += 1;
            if known.absences > ABSENCES {
                self.table.remove(slot);
            }
        }
    }
}
