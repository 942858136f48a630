//! Looks up in the host's conntrack table what a service address became: once for each new flow, never for each packet.
//!
//! A pod's socket holds the ClusterIP that it asked for. Only conntrack holds the backend, and the client of a server
//! behind source NAT. Flows that cannot be translated are not looked up:
//!
//! - The destination was found plain within the last minute, for the same client. (A rule may translate for some
//!   clients only.)
//! - A responder whose client has no address of this host. Only such an address can come from this host's source NAT. A
//!   flow of one way is looked up too: the other may have another name.
//!
//! Where Cilium translates, [`Services`] are asked first.

use std::io;

use super::roles::Role;
use super::tuple::Tuple;
use crate::clock::SECOND;
use crate::flow::{Addr, Reading, protocol};
use crate::source::translation::{Answer, Services, Translation};
use crate::sys::addresses::{AddressChange, HostAddresses};
use crate::sys::netlink::{Family, RequestSocket};
use crate::table::{Table, entry};
use crate::wire::conntrack::{self, MESSAGE_NEW, OneWay};
use crate::wire::netlink::{self, Messages};

/// Larger than any single entry.
const BUFFER_BYTES: usize = 8 * 1024;
/// Services, and destinations that are plain for a client.
const KNOWN_CAPACITY: u32 = 16_384;
/// How long a plain destination is trusted to stay so.
const PLAIN_NS: u64 = 60 * SECOND;
/// After so many lookups in a row that find nothing, conntrack is taken to be unused (kube-proxy replaced, or no
/// tracking at all). It is then left alone for [`PAUSE_NS`].
const MISSES_MAX: u32 = 512;
const PAUSE_NS: u64 = 60 * SECOND;
/// Unknown destinations looked up in one sweep; the rest wait for the next. Bounds what a scan of the Internet costs
/// (5 us a lookup); services are known after their first flow and cost nothing of it.
const NEW_PER_SWEEP: u32 = 8_192;

pub struct Resolver {
    /// If it could not be opened, the first question says why.
    socket: Option<RequestSocket>,
    /// There is no conntrack to be asked.
    given_up: bool,
    services: Option<Box<dyn Services>>,
    /// Conntrack is read beside.
    is_beside: bool,
    /// Conntrack answered the last question, with counters.
    is_counted: bool,
    addresses: HostAddresses,
    host: Vec<Addr>,
    known: Table<Known>,
    request: Vec<u8>,
    buffer: Vec<u8>,
    seq: u32,
    misses: u32,
    paused_until_ns: u64,
    new_left: u32,
    /// The table of destinations was full in this sweep and has been searched for what has run out.
    cleared: bool,
}

/// What the last lookup said of a destination.
#[derive(Clone, Copy)]
struct Known {
    destination: Destination,
    /// Not to be asked for again before; 0 for a service, whose every connection has a backend of its own.
    plain_until_ns: u64,
    mark: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Destination {
    /// Unspecified of a service: what is translated for one client may be for others.
    client: Addr,
    addr: Addr,
    port: u16,
    protocol: u16,
}

entry!(Known { destination: Destination });

impl Resolver {
    /// For the caller's network namespace, which must be the host's. A node need not have conntrack.
    pub fn open() -> io::Result<Resolver> {
        let mut resolver = Resolver {
            socket: RequestSocket::open(Family::Netfilter).ok(),
            given_up: false,
            services: None,
            is_beside: false,
            is_counted: false,
            addresses: HostAddresses::open()?,
            host: Vec::new(),
            known: Table::with_capacity(KNOWN_CAPACITY),
            request: Vec::with_capacity(128),
            buffer: vec![0; BUFFER_BYTES],
            seq: 0,
            misses: 0,
            paused_until_ns: 0,
            new_left: 0,
            cleared: false,
        };
        resolver.begin_sweep();
        Ok(resolver)
    }

    /// Asks `services` first from now on.
    pub fn consult(&mut self, services: Box<dyn Services>) {
        self.services = Some(services);
    }

    /// Every tuple of the node is asked for from now on.
    pub fn stand_beside_conntrack(&mut self) {
        self.is_beside = true;
    }

    /// Whether conntrack counts what was looked up last.
    pub fn is_counted_by_conntrack(&self) -> bool {
        self.is_beside && self.is_counted
    }

    /// Whether a flow is the node's own.
    pub fn is_of_node(&self, tuple: &Tuple) -> bool {
        self.is_host(tuple.local)
    }

    /// Asks conntrack no more.
    pub fn give_up_conntrack(&mut self) {
        self.socket = None;
        self.given_up = true;
    }

    /// What keeps those beside conntrack from answering.
    pub fn trouble(&self) -> &str {
        self.services.as_ref().map_or("", |services| services.trouble())
    }

    /// Takes notice of addresses that the host gained or lost. To be called before each sweep.
    pub fn begin_sweep(&mut self) {
        if let Some(services) = &mut self.services {
            services.begin_sweep();
        }
        self.new_left = NEW_PER_SWEEP;
        self.cleared = false;
        let host = &mut self.host;
        self.addresses.drain(&mut |change| match change {
            AddressChange::Added(addr) => {
                if let Err(at) = host.binary_search(&addr) {
                    host.insert(at, addr);
                }
            }
            AddressChange::Removed(addr) => {
                if let Ok(at) = host.binary_search(&addr) {
                    host.remove(at);
                }
            }
        });
    }

    /// Whether the flow may be translated, so that a lookup is worth its cost.
    pub fn is_worth_it(&mut self, role: &Role, now_ns: u64) -> bool {
        let tuple = &role.tuple;
        let has_ports = matches!(tuple.protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
        let is_answered = self.services.is_some() || !self.given_up && now_ns >= self.paused_until_ns;
        if !has_ports || tuple.flags != 0 || !is_answered {
            return false;
        }
        if self.is_beside && self.is_host(tuple.local) {
            return true;
        }
        if !role.opened_by_local {
            let is_theirs = self.services.as_ref().is_some_and(|services| services.may_have_sent(tuple.remote));
            // What answers behind destination NAT is seen to receive at one address and to send from another.
            return role.guessed || is_theirs || !role.replied || self.is_host(tuple.remote);
        }
        // The host's own flows may have been masqueraded on their way out, whatever their destination.
        if self.is_host(tuple.local) {
            return true;
        }
        if self.is_service(tuple) {
            return true;
        }
        match self.known(&plain(tuple)) {
            Some(known) if now_ns < known.plain_until_ns => false,
            _ => {
                let within = self.new_left > 0;
                self.new_left = self.new_left.saturating_sub(1);
                within
            }
        }
    }

    /// Whether the destination was a service address when it was last looked up.
    pub fn is_service(&self, tuple: &Tuple) -> bool {
        self.known(&service(tuple)).is_some()
    }

    fn known(&self, destination: &Destination) -> Option<&Known> {
        self.known.find(destination).and_then(|slot| self.known.get(slot))
    }

    /// Looks a flow up. `Ok(None)`: nobody knows it.
    pub fn look_up(&mut self, role: &Role, now_ns: u64) -> io::Result<Option<Translation>> {
        self.is_counted = false;
        let tuple = &role.tuple;
        let sent = OneWay {
            src: tuple.local,
            dst: tuple.remote,
            sport: tuple.local_port,
            dport: tuple.remote_port,
            protocol: tuple.protocol,
            family: tuple.family,
        };
        let opener = (!role.guessed).then_some(role.opened_by_local);
        let answer = self.services.as_mut().map_or(Answer::Unknown, |services| services.look_up(&sent, opener));
        let found = match answer {
            Answer::Service(found) => Some(found),
            Answer::Lost => {
                self.remember(service(tuple), 0, now_ns);
                return Ok(None);
            }
            Answer::Plain(found) => Some(self.ask_conntrack(&sent, now_ns)?.unwrap_or(found)),
            Answer::Unknown => self.ask_conntrack(&sent, now_ns)?,
        };
        if let Some(found) = found.filter(|found| found.opened_by_local) {
            let is_service = found.backend != tuple.remote || found.backend_port != tuple.remote_port;
            match is_service {
                true => self.remember(service(tuple), 0, now_ns),
                false => self.remember(plain(tuple), now_ns.saturating_add(PLAIN_NS), now_ns),
            }
        }
        Ok(found)
    }

    fn ask_conntrack(&mut self, sent: &OneWay, now_ns: u64) -> io::Result<Option<Translation>> {
        if now_ns < self.paused_until_ns {
            return Ok(None);
        }
        let received = sent.reversed();
        let found = match self.ask(sent)? {
            Some(found) => Some(translation(&found, sent, true)),
            // The host's own socket sees its tuple after source NAT: it is the reply's, turned round.
            None => self.ask(&received)?.map(|found| translation(&found, &received, false)),
        };
        if found.is_some() {
            self.misses = 0;
        } else {
            self.misses += 1;
        }
        if self.misses >= MISSES_MAX {
            self.misses = 0;
            self.paused_until_ns = now_ns.saturating_add(PAUSE_NS);
        }
        Ok(found)
    }

    fn ask(&mut self, tuple: &OneWay) -> io::Result<Option<conntrack::Record>> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            None if self.given_up => return Ok(None),
            unopened => unopened.insert(RequestSocket::open(Family::Netfilter)?),
        };
        self.seq = self.seq.wrapping_add(1).max(1);
        self.request = conntrack::request(std::mem::take(&mut self.request), self.seq, tuple);
        socket.send(&self.request)?;
        loop {
            let len = socket.receive(&mut self.buffer)?;
            for message in Messages::of(self.buffer.get(..len).unwrap_or_default()).flatten() {
                // An answer to a question that was given up.
                if message.seq != self.seq {
                    continue;
                }
                return match message.kind {
                    MESSAGE_NEW => {
                        let found = conntrack::parse(message.payload, Reading::Live).ok();
                        self.is_counted = found.as_ref().is_some_and(|record| record.has_counters);
                        Ok(found)
                    }
                    netlink::ERROR if message.errno() == nix::libc::ENOENT => Ok(None),
                    netlink::ERROR => Err(io::Error::from_raw_os_error(message.errno())),
                    _ => continue,
                };
            }
        }
    }

    fn is_host(&self, addr: Addr) -> bool {
        self.host.binary_search(&addr).is_ok()
    }

    fn remember(&mut self, destination: Destination, plain_until_ns: u64, now_ns: u64) {
        if let Some(known) = self.known.find(&destination).and_then(|slot| self.known.get_mut(slot)) {
            known.plain_until_ns = plain_until_ns;
            return;
        }
        if self.known.insert(Known { destination, plain_until_ns, mark: 0 }).is_err() && !self.cleared {
            self.cleared = true;
            // Full: what has run out makes room. If nothing has, this destination is asked for again next time.
            for slot in self.known.slots() {
                if self.known.get(slot).is_some_and(|known| known.plain_until_ns <= now_ns) {
                    self.known.remove(slot);
                }
            }
        }
    }
}

/// What is plain for the client of a flow.
fn plain(tuple: &Tuple) -> Destination {
    let protocol = tuple.protocol.into();
    Destination { client: tuple.local, addr: tuple.remote, port: tuple.remote_port, protocol }
}

/// What is translated, for one client at least.
fn service(tuple: &Tuple) -> Destination {
    Destination { client: Addr::UNSPECIFIED_V4, ..plain(tuple) }
}

/// Reads an entry that was found by one of its directions, seen from the end that sent it (`sent`) or received it.
fn translation(found: &conntrack::Record, asked: &OneWay, sent: bool) -> Translation {
    let c = &found.connection;
    let is_original =
        c.key.src == asked.src && c.key.dst == asked.dst && c.key.sport == asked.sport && c.key.dport == asked.dport;
    Translation {
        src: c.key.src,
        dst: c.key.dst,
        backend: c.backend,
        sport: c.key.sport,
        dport: c.key.dport,
        backend_port: c.backend_port,
        opened_by_local: is_original == sent,
    }
}

#[cfg(test)]
mod tests;
