//! The audit: whether everything that the node's interfaces carried is counted or named (rule 19).
//!
//! The pipeline reports what became of each increment and which way it went. At the end of a sweep the interfaces' own
//! counters are read, and [`equation`] compares. Knows links, routes and sums; not whose the bytes are.
//!
//! | part | duty |
//! | --- | --- |
//! | [`account`] | one uplink and direction as it is shown |
//! | [`equation`] | one uplink and direction: the sum, and what is not explained |
//! | [`frames`] | how many frames packets become |
//! | [`kernel`] | what it asks the kernel |
//! | [`links`] | which links are audited, and which ports tunnels have |
//! | [`paths`] | which link packets to an address go by |
//! | [`routes`] | what the kernel's routes say of an address, without a question |

pub mod account;
pub mod equation;
pub mod frames;
pub mod kernel;
mod links;
pub mod paths;
pub mod routes;

use crate::class::Classes;
use crate::flow::{Addr, Counts, TxRx};
use crate::wire::rtnetlink::{Hop, Link, LinkKind};
pub use account::{Account, Shown};
use equation::{Odd, Part, Side};
pub use kernel::{Kernel, Knows};
pub use paths::Path;
use paths::Paths;

/// Uplinks at most; a node with more is judged by the first ones.
pub const MAX_UPLINKS: usize = 15;
/// The books in which [`Audit::pass`] counted something: the path towards the backend and the one towards the client.
/// Beside each stands how often the books of its uplink had begun anew.
pub type Crossing = [u8; 4];

/// One audited link.
#[derive(Clone, Debug)]
struct Uplink {
    link: Link,
    /// Its counters when the audit began.
    base: TxRx,
    /// [`Kernel::uncounted_packets`] when the audit began, and since.
    odd_base: [u64; 3],
    odd: [u64; 3],
    /// Whether `base` is known.
    is_open: bool,
    /// Whether it became known in this sweep: what waited for the sweep's end to be placed was carried before.
    is_new: bool,
    /// How often its books have begun anew.
    books: u8,
    /// Sent and received.
    tx: Side,
    rx: Side,
    /// What is shown of both, which never falls.
    shown: [Shown; 2],
}

impl Uplink {
    /// Begins its books anew.
    fn empty(&mut self) {
        (self.tx, self.rx) = (self.tx.again(), self.rx.again());
        self.books = self.books.wrapping_add(1);
    }
}

/// The whole of it.
pub struct Audit {
    kernel: Option<Box<dyn Kernel>>,
    knows: Knows,
    links: Vec<(Link, bool)>,
    uplinks: Vec<Uplink>,
    paths: Paths,
    /// None until somebody asks for an address after they have changed.
    routes: Option<routes::Routes>,
    /// Counters of tunnels when the audit began, by link.
    tunnels: Vec<(u32, TxRx)>,
    odd_base: u64,
    odd_packets: u64,
    /// Whether a complete sweep has begun it.
    has_begun: bool,
    accounts: Vec<Account>,
}

impl Default for Audit {
    fn default() -> Audit {
        Audit {
            kernel: None,
            knows: Knows { tunnels: true, invalid: false, timestamps: true },
            links: Vec::new(),
            uplinks: Vec::new(),
            paths: Paths::default(),
            routes: None,
            tunnels: Vec::new(),
            odd_base: 0,
            odd_packets: 0,
            has_begun: false,
            accounts: Vec::new(),
        }
    }
}

impl Audit {
    /// One that asks this kernel.
    pub fn new(kernel: Box<dyn Kernel>, knows: Knows) -> Audit {
        let mut audit = Audit { kernel: Some(kernel), knows, ..Audit::default() };
        audit.look();
        audit
    }

    fn forget_ways(&mut self) {
        self.paths.forget();
        self.routes = None;
    }

    /// Which way packets from one address to another go. Asks the kernel where it was not asked of late.
    pub fn path_to(&mut self, addr: Addr, from: Addr) -> Path {
        self.find_path(addr, from, true)
    }

    /// `is_remote`: it is no pod of this node. Else the link towards it may be the pod's, which on a node without devices
    /// looks like an uplink.
    fn find_path(&mut self, addr: Addr, from: Addr, is_remote: bool) -> Path {
        let Some(kernel) = &mut self.kernel else { return Path::UNKNOWN };
        let routes = self.routes.get_or_insert_with(|| {
            let mut builder = routes::Builder::default();
            match kernel.routes(&mut builder) {
                Ok(()) => builder.finish(),
                Err(_) => routes::Routes::default(),
            }
        });
        // A sender says by which link packets for many leave, and has the address of that link.
        if Classes::is_of_many(addr) && routes.know_own() {
            let Some(link) = routes.link_of(from) else { return Path::UNKNOWN };
            let carries = |(link, _): &(Link, bool)| !matches!(link.kind, LinkKind::Loopback | LinkKind::Dummy);
            if self.link(link).is_some_and(carries) {
                let (way, _) = self.way(Hop { link, mtu: 0 }, is_remote);
                return self.paths.number_of(way);
            }
        }
        if let Some(path) = self.paths.known(addr) {
            return path;
        }
        let (Some(kernel), Some(routes)) = (&mut self.kernel, &self.routes) else { return Path::UNKNOWN };
        let found = routes.find(addr);
        if let Some(path) = found.and_then(|found| routes.path(found)) {
            return path;
        }
        let hop = match found {
            Some(found) => routes.hop(found),
            None => kernel.route(addr).unwrap_or(Hop { link: 0, mtu: 0 }),
        };
        if hop.link != 0 && self.link(hop.link).is_none() {
            // A link that was made since.
            self.list();
        }
        let (way, is_sure) = self.way(hop, is_remote);
        let Some(found) = found else { return self.paths.learn(addr, way) };
        let path = self.paths.number_of(way);
        if let Some(routes) = self.routes.as_mut().filter(|_| is_sure) {
            routes.keep(found, path);
        }
        path
    }

    /// The way by a link, and whether it is the same for whoever asks.
    fn way(&mut self, hop: Hop, is_remote: bool) -> (paths::Way, bool) {
        let may_be_new = is_remote || self.links.iter().any(|(_, has_device)| *has_device);
        let is_known = self.uplinks.iter().any(|uplink| uplink.link.index == hop.link);
        let uplink = if (may_be_new || is_known) && self.is_uplink(hop.link) { self.uplink(hop.link) } else { None };
        let mtu = match hop.mtu {
            0 => self.link(hop.link).map_or(0, |(link, _)| link.mtu),
            said => said,
        };
        (paths::Way { uplink, mtu }, may_be_new || is_known)
    }

    /// What segmentation adds on the wire to an increment, as far as bytes, packets and the path's largest length tell.
    pub fn more(&self, path: Path, protocol: u8, is_v4: bool, counts: TxRx) -> TxRx {
        let mtu = self.paths.way(path).mtu;
        if mtu == 0 {
            return TxRx::ZERO;
        }
        frames::more_of(counts, protocol, is_v4, mtu, self.knows.timestamps)
    }

    /// Counts what the local end of a row exchanged with a remote one over a path. `more` is what segmentation adds, where
    /// the source knows it.
    pub fn cross(&mut self, path: Path, part: Part, kind: (u8, bool), counts: TxRx, more: Option<TxRx>) {
        let paths::Way { uplink: Some(at), mtu } = self.paths.way(path) else { return };
        let timestamps = self.knows.timestamps;
        let Some(uplink) = self.uplinks.get_mut(usize::from(at)) else { return };
        let (tx, rx) = (more.map(|more| more.tx), more.map(|more| more.rx));
        for (side, counts, more) in [(&mut uplink.tx, counts.tx, tx), (&mut uplink.rx, counts.rx, rx)] {
            if let Some(place) = side.counted.get_mut(part as usize) {
                *place += counts;
            }
            match more {
                Some(more) => side.segments.add(more),
                None => {
                    let more = frames::more(counts, kind.0, kind.1, mtu, timestamps);
                    let (most_frames, header) = frames::limit(counts, kind.0, kind.1, mtu, timestamps);
                    side.segments.add_estimate(more, most_frames, header, header);
                }
            }
        }
    }

    /// Counts a connection whose ends are not told apart: each that is elsewhere is reached by an uplink. `traffic` is the
    /// originator's. Returns where it was counted, for [`Audit::take_back`].
    pub fn pass(&mut self, client: Addr, backend: Addr, protocol: u8, part: Part, traffic: TxRx) -> Crossing {
        let mut crossing = Crossing::default();
        if self.kernel.is_none() {
            return crossing;
        }
        let ends = [(backend, client, traffic), (client, backend, turned(traffic))];
        for (to, (end, from, counts)) in crossing.chunks_exact_mut(2).zip(ends) {
            let path = self.find_path(end, from, false);
            self.cross(path, part, (protocol, end.is_v4()), counts, None);
            let books = self.uplink_of(path).map_or(0, |uplink| uplink.books);
            to.copy_from_slice(&[path.number(), books]);
        }
        crossing
    }

    /// Takes out what [`Audit::pass`] has counted as held, unless those books are closed. What segmentation may have added
    /// to it stays, for that is a bound.
    pub fn take_back(&mut self, crossing: Crossing, traffic: TxRx) {
        let [to_backend, of_backend, to_client, of_client] = crossing;
        for (path, books, counts) in [(to_backend, of_backend, traffic), (to_client, of_client, turned(traffic))] {
            let Some(uplink) = self.uplink_of(Path::of_number(path)).filter(|uplink| uplink.books == books) else {
                continue;
            };
            for (side, counts) in [(&mut uplink.tx, counts.tx), (&mut uplink.rx, counts.rx)] {
                let held = &mut side.counted[Part::Held as usize];
                *held = *held - counts;
            }
        }
    }

    fn uplink_of(&mut self, path: Path) -> Option<&mut Uplink> {
        let at = self.paths.way(path).uplink?;
        self.uplinks.get_mut(usize::from(at))
    }

    /// Counts what has no path: it crossed this uplink, or the one there is.
    fn cross_by(&mut self, at: Option<usize>, part: Part, counts: TxRx) {
        let only = (self.uplinks.len() == 1).then_some(0);
        let Some(uplink) = at.or(only).and_then(|at| self.uplinks.get_mut(at)) else { return };
        for (side, counts) in [(&mut uplink.tx, counts.tx), (&mut uplink.rx, counts.rx)] {
            if let Some(place) = side.counted.get_mut(part as usize) {
                *place += counts;
            }
        }
    }

    /// Counts what has no path: it crossed the uplink, where there is one only.
    pub fn cross_somewhere(&mut self, part: Part, counts: TxRx) {
        self.cross_by(None, part, counts);
    }

    /// Reads the interfaces, right after a complete sweep has read the source.
    pub fn read(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        let odd = if self.knows.invalid { 0 } else { kernel.odd_packets() };
        let begins = !self.has_begun;
        if begins {
            self.odd_base = odd;
        }
        self.odd_packets = odd.saturating_sub(self.odd_base);
        let mut outer = Vec::new();
        if !self.knows.tunnels {
            for (link, _) in &self.links {
                let LinkKind::Tunnel { overhead: 1.. } = link.kind else { continue };
                let Ok(now) = kernel.counters(link.index) else { continue };
                match self.tunnels.iter_mut().find(|(index, _)| *index == link.index) {
                    None => self.tunnels.push((link.index, now)),
                    Some((_, last)) => {
                        let within = now - std::mem::replace(last, now);
                        if !within.is_zero() {
                            outer.push((link.lower, wrapped(within, link.kind)));
                        }
                    }
                }
            }
        }
        for uplink in &mut self.uplinks {
            let Ok(now) = kernel.counters(uplink.link.index) else { continue };
            let odd = kernel.uncounted_packets(&uplink.link);
            let fell = now.tx.bytes < uplink.base.tx.bytes || now.rx.bytes < uplink.base.rx.bytes;
            if begins || !uplink.is_open || fell {
                uplink.empty();
                uplink.shown.iter_mut().for_each(Shown::keep);
                uplink.base = now;
                uplink.odd_base = odd;
                (uplink.is_open, uplink.is_new) = (true, true);
            }
            uplink.odd = std::array::from_fn(|at| odd[at].saturating_sub(uplink.odd_base[at]));
            let carried = now - uplink.base;
            (uplink.tx.carried, uplink.rx.carried) = (carried.tx, carried.rx);
        }
        if !begins {
            for (lower, counts) in outer {
                let below = self.uplinks.iter().position(|uplink| uplink.link.index == lower);
                self.cross_by(below, Part::Tunnels, counts);
            }
        }
        self.has_begun = true;
    }

    /// Begins anew: what was counted is no longer what the interfaces carried.
    pub fn restart(&mut self) {
        self.has_begun = false;
    }

    /// Solves the equations of what [`Audit::read`] has read, once all increments of the sweep are placed.
    pub fn close(&mut self) {
        if self.kernel.as_mut().is_some_and(|kernel| kernel.have_routes_changed()) {
            self.forget_ways();
        }
        self.accounts.clear();
        let odd_packets = self.odd_packets;
        for uplink in self.uplinks.iter_mut().filter(|uplink| uplink.is_new) {
            uplink.empty();
            uplink.is_new = false;
        }
        for at in 0..self.uplinks.len() {
            self.take_out_what_is_on_top(at);
        }
        for uplink in self.uplinks.iter_mut().filter(|uplink| uplink.is_open) {
            let [shown_tx, shown_rx] = &mut uplink.shown;
            for (side, shown, is_tx) in [(&mut uplink.tx, shown_tx, true), (&mut uplink.rx, shown_rx, false)] {
                side.end_window();
                let closed = side.close(match is_tx {
                    true => Odd { packets: uplink.odd[0], at_most: 0 },
                    false => Odd { packets: uplink.odd[1], at_most: odd_packets.saturating_add(uplink.odd[2]) },
                });
                shown.raise(&closed);
                self.accounts.push(Account {
                    name: uplink.link.name,
                    is_tx,
                    header_bytes: side.header_bytes,
                    is_measured: side.is_measured,
                    closed,
                    shown: *shown,
                });
            }
        }
    }

    fn take_out_what_is_on_top(&mut self, at: usize) {
        let Some(index) = self.uplinks.get(at).map(|uplink| uplink.link.index) else { return };
        let (mut tx, mut rx) = (Counts::ZERO, Counts::ZERO);
        let is_on_top = |uplink: &&Uplink| uplink.link.kind == LinkKind::Vlan && uplink.link.lower == index;
        for above in self.uplinks.iter().filter(is_on_top) {
            tx += above.tx.layer3();
            rx += above.rx.layer3();
        }
        if let Some(uplink) = self.uplinks.get_mut(at) {
            uplink.tx.counted[Part::Vlans as usize] = tx;
            uplink.rx.counted[Part::Vlans as usize] = rx;
        }
    }

    /// The equations as they were at the end of the last complete sweep.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }
}

fn turned(traffic: TxRx) -> TxRx {
    TxRx { tx: traffic.rx, rx: traffic.tx }
}

/// What a tunnel's own packets come to: its link counts what is within them.
fn wrapped(within: TxRx, kind: LinkKind) -> TxRx {
    let LinkKind::Tunnel { overhead } = kind else { return TxRx::ZERO };
    let outer = |counts: Counts| Counts {
        bytes: counts.bytes.saturating_add(counts.packets.saturating_mul(u64::from(overhead))),
        ..counts
    };
    TxRx { tx: outer(within.tx), rx: outer(within.rx) }
}

#[cfg(test)]
mod tests;
