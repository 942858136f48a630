//! Who opened a connection whose conntrack entry began in its midst: after `conntrack -F`, or when it was idle beyond its
//! time-out. Conntrack then takes whoever sends first for the originator.
//!
//! The evidence, best first: the role of the tuple when its entry was cut off, a socket that listens, the lower port. The
//! last is a guess: it is counted, and it withholds nothing (rule 9). Knows neither rows nor owners.

use crate::aged::Aged;
use crate::baseline::Opener;
use crate::flow::{Addr, Connection, ConnectionKey, Reading, Traffic, protocol};
use crate::table::entry;

/// Connections cut off whose roles are remembered.
const CAPACITY: u32 = 16_384;

/// A connection after translation, from the one who opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Way {
    client: Addr,
    server: Addr,
    client_port: u16,
    server_port: u16,
    protocol: u8,
}

impl Way {
    fn of(c: &Connection) -> Way {
        Way {
            client: c.key.src,
            server: c.backend,
            client_port: c.key.sport,
            server_port: c.backend_port,
            protocol: c.key.protocol,
        }
    }

    fn turned(self) -> Way {
        Way {
            client: self.server,
            server: self.client,
            client_port: self.server_port,
            server_port: self.client_port,
            ..self
        }
    }
}

#[derive(Clone, Copy)]
struct CutOff {
    way: Way,
    mark: u32,
}

entry!(CutOff { way: Way });

/// The roles of connections that were cut off.
pub(super) struct Openers {
    cut_off: Aged<CutOff>,
    /// Roles guessed since the last [`Openers::take_guessed`].
    guessed: u64,
}

impl Openers {
    pub(super) fn new() -> Openers {
        Openers { cut_off: Aged::with_capacity(CAPACITY), guessed: 0 }
    }

    /// Remembers the roles of a connection that was cut off; `c` is as counted.
    pub(super) fn remember(&mut self, c: &Connection) {
        let way = Way::of(c);
        if let Some(slot) = self.cut_off.find(&way.turned()) {
            self.cut_off.remove(slot);
        }
        if self.cut_off.find(&way).is_some() {
            return;
        }
        if self.cut_off.is_full()
            && let Some(oldest) = self.cut_off.oldest()
        {
            self.cut_off.remove(oldest);
        }
        let placed = self.cut_off.insert(CutOff { way, mark: 0 });
        debug_assert!(placed.is_ok(), "a slot was just vacated");
    }

    /// Who opened a connection; `None` where conntrack is to be believed. `listens` tells of the host's own sockets.
    pub(super) fn decide(&mut self, c: &Connection, listens: impl Fn(Addr, u16) -> bool) -> Option<Opener> {
        let picked_up = c.reading == Reading::PickedUp;
        if !picked_up && c.key.protocol != protocol::UDP {
            return None;
        }
        let (known, turned) = (Opener { turned: false, guessed: false }, Opener { turned: true, guessed: false });
        // A service's address is what an originator asks for.
        if c.key.dst != c.backend || c.key.dport != c.backend_port {
            return picked_up.then_some(known);
        }
        let way = Way::of(c);
        if self.cut_off.len() > 0 {
            if self.cut_off.find(&way).is_some() {
                return Some(known);
            }
            if self.cut_off.find(&way.turned()).is_some() {
                return Some(turned);
            }
        }
        let turns_by_port = way.client_port < way.server_port;
        if !picked_up {
            // A client's unconnected socket looks like one that listens, but for its high port.
            return (turns_by_port && listens(way.client, way.client_port)).then_some(turned);
        }
        if listens(way.server, way.server_port) {
            return Some(known);
        }
        if listens(way.client, way.client_port) {
            return Some(turned);
        }
        self.guessed += 1;
        Some(Opener { turned: turns_by_port, guessed: true })
    }

    pub(super) fn take_guessed(&mut self) -> u64 {
        std::mem::take(&mut self.guessed)
    }
}

/// A connection and its traffic from the one who opened it.
pub(super) fn as_opened(c: &Connection, traffic: Traffic, opener: Option<Opener>) -> (Connection, Traffic) {
    if !opener.is_some_and(|opener| opener.turned) {
        return (*c, traffic);
    }
    let key = ConnectionKey { src: c.backend, dst: c.key.src, sport: c.backend_port, dport: c.key.sport, ..c.key };
    let turned = Connection { key, backend: c.key.src, backend_port: c.key.sport, ..*c };
    (turned, Traffic { orig: traffic.reply, reply: traffic.orig })
}
