//! The audit: whether everything that the node's interfaces carried is counted or named (rule 19).
//!
//! The pipeline says what became of each increment and which way it went; at the end of a sweep the interfaces' own
//! counters are read, and [`equation`] compares. Knows links, routes and sums; not whose the bytes are.
//!
//! | part | duty |
//! | --- | --- |
//! | [`equation`] | one uplink and direction: the sum, and what is not explained |
//! | [`frames`] | how many frames packets become |
//! | [`paths`] | which link packets to an address go by |

pub mod equation;
pub mod frames;
pub mod paths;

use std::io;

use crate::flow::{Addr, Counts, TxRx};
use crate::sys::links::{Links, has_device};
use crate::wire::rtnetlink::{Hop, Link, LinkKind};
use equation::{Closed, Odd, Part, Side};
pub use paths::Path;
use paths::Paths;

/// Uplinks at most; a node with more is judged by the first ones.
pub const MAX_UPLINKS: usize = 15;
/// Links at most that are looked at.
const MAX_LINKS: usize = 4_096;
/// Asked for the way to everywhere: an address of a documentation range (RFC 5737), to which nobody has a route of its own.
const ANYWHERE: Addr = Addr::from_v4([192, 0, 2, 1]);

/// What the audit asks the kernel.
pub trait Kernel: Send {
    /// All links, each with whether a device of the machine is behind it.
    ///
    /// # Errors
    /// When they cannot be read.
    fn links(&mut self, each: &mut dyn FnMut(&Link, bool)) -> io::Result<()>;

    /// Bytes and frames that a link sent and received.
    ///
    /// # Errors
    /// When there is no such link.
    fn counters(&mut self, link: u32) -> io::Result<TxRx>;

    /// Where packets to an address leave.
    ///
    /// # Errors
    /// When there is no way.
    fn route(&mut self, addr: Addr) -> io::Result<Hop>;

    /// Packets so far that conntrack called invalid.
    fn odd_packets(&mut self) -> u64;

    /// Packets so far that no source counts, sent and received by a link: neighbour discovery and its like. The third
    /// number is of all that it received for many, of which nobody may have been one.
    fn uncounted_packets(&mut self, link: &Link) -> [u64; 3];
}

impl Kernel for Links {
    fn links(&mut self, each: &mut dyn FnMut(&Link, bool)) -> io::Result<()> {
        self.list(&mut |link| each(link, link.kind == LinkKind::Plain && has_device(&link.name)))
    }
    fn counters(&mut self, link: u32) -> io::Result<TxRx> {
        Links::counters(self, link)
    }
    fn route(&mut self, addr: Addr) -> io::Result<Hop> {
        Links::route(self, addr)
    }
    fn odd_packets(&mut self) -> u64 {
        self.invalid_packets()
    }
    fn uncounted_packets(&mut self, link: &Link) -> [u64; 3] {
        self.neighbour_packets(&link.name)
    }
}

/// What the audit is told about the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knows {
    /// Packets that the kernel's own tunnels send are counted as the host's.
    pub tunnels: bool,
    /// Packets that conntrack calls invalid are counted.
    pub invalid: bool,
    /// TCP has timestamps here (`net.ipv4.tcp_timestamps`).
    pub timestamps: bool,
}

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
    /// Sent and received.
    tx: Side,
    rx: Side,
    /// What is shown of both, which never falls.
    shown: [Shown; 2],
}

/// A side's figures as counters: the most that each has been, over all that the audit began anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    before: [u64; SHOWN],
    most: [u64; SHOWN],
}

/// The interface's own, then the parts.
const SHOWN: usize = 1 + Part::ALL.len();

impl Shown {
    /// Takes the figures of now.
    pub fn raise(&mut self, closed: &Closed) {
        let parts = closed.parts.iter().map(|part| u64::try_from(*part).unwrap_or(0));
        let now = std::iter::once(closed.layer3_bytes).chain(parts);
        self.most.iter_mut().zip(now).for_each(|(most, now)| *most = (*most).max(now));
    }

    fn keep(&mut self) {
        let most = std::mem::take(&mut self.most);
        self.before.iter_mut().zip(most).for_each(|(before, most)| *before = before.saturating_add(most));
    }

    /// What the interface carried: layer-3 bytes.
    pub fn layer3_bytes(&self) -> u64 {
        self.before[0].saturating_add(self.most[0])
    }

    /// One part of the equation; what is negative is shown as 0.
    pub fn part(&self, part: Part) -> u64 {
        let at = 1 + part as usize;
        self.before[at].saturating_add(self.most[at])
    }
}

/// One direction of one uplink, as shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The interface's name, with zeros behind it.
    pub name: [u8; 16],
    /// Whether it is what was sent.
    pub is_tx: bool,
    /// Bytes of the link's header that are not of layer 3, in each frame.
    pub header_bytes: u64,
    /// Whether traffic told them; else the link's type did.
    pub is_measured: bool,
    /// The equation.
    pub closed: Closed,
    /// Its figures as counters.
    pub shown: Shown,
}

impl Account {
    /// The interface's name.
    pub fn interface(&self) -> &str {
        let end = self.name.iter().position(|byte| *byte == 0).unwrap_or(self.name.len());
        std::str::from_utf8(self.name.get(..end).unwrap_or_default()).unwrap_or("?")
    }
}

/// The whole of it.
pub struct Audit {
    kernel: Option<Box<dyn Kernel>>,
    knows: Knows,
    links: Vec<(Link, bool)>,
    uplinks: Vec<Uplink>,
    paths: Paths,
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

    /// Reads the links again, and forgets which way addresses are reached. Called about once a minute.
    pub fn look(&mut self) {
        self.list();
        self.paths.forget();
        if self.links.iter().any(|(_, has_device)| *has_device) {
            for index in self.links.iter().map(|(link, _)| link.index).collect::<Vec<_>>() {
                if self.is_uplink(index) {
                    self.uplink(index);
                }
            }
        } else {
            self.path_to(ANYWHERE);
        }
    }

    fn list(&mut self) {
        let Some(kernel) = &mut self.kernel else { return };
        let links = &mut self.links;
        links.clear();
        let read = kernel.links(&mut |link, has_device| {
            if links.len() < MAX_LINKS {
                links.push((*link, has_device));
            }
        });
        if let Err(error) = read {
            log::debug!("cannot list the links: {error}");
        }
    }

    fn link(&self, index: u32) -> Option<&(Link, bool)> {
        self.links.iter().find(|(link, _)| link.index == index)
    }

    /// Whether a link carries the node's packets to others: a device is behind it, or behind what is below it. Where no
    /// link has one the node is a container, and every link is that is neither a tunnel nor for itself.
    fn is_uplink(&self, index: u32) -> bool {
        let Some((link, _)) = self.link(index) else { return false };
        if link.master != 0 {
            return false;
        }
        match link.kind {
            LinkKind::Loopback | LinkKind::Dummy | LinkKind::Tunnel { .. } => false,
            LinkKind::Veth => !self.links.iter().any(|(_, has_device)| *has_device),
            LinkKind::Plain | LinkKind::Gathered | LinkKind::Vlan => {
                self.has_device(index, 4) || !self.links.iter().any(|(_, has_device)| *has_device)
            }
        }
    }

    /// Whether a device is behind a link, at most `depth` links down.
    fn has_device(&self, index: u32, depth: u8) -> bool {
        let Some((link, has_device)) = self.link(index) else { return false };
        let below = |index: u32| depth > 0 && self.has_device(index, depth - 1);
        *has_device
            || match link.kind {
                LinkKind::Gathered => self.links.iter().any(|(slave, _)| slave.master == index && below(slave.index)),
                LinkKind::Vlan => link.lower != 0 && below(link.lower),
                LinkKind::Plain | LinkKind::Loopback | LinkKind::Veth | LinkKind::Tunnel { .. } | LinkKind::Dummy => {
                    false
                }
            }
    }

    /// The number of an uplink; one that is new is audited from the end of this sweep on.
    #[allow(clippy::cast_possible_truncation, reason = "at most MAX_UPLINKS")]
    fn uplink(&mut self, index: u32) -> Option<u8> {
        if let Some(at) = self.uplinks.iter().position(|uplink| uplink.link.index == index) {
            return Some(at as u8);
        }
        let (link, _) = *self.link(index)?;
        if self.uplinks.len() == MAX_UPLINKS {
            return None;
        }
        let header = if link.is_ethernet { 14 } else { 0 };
        let side = Side::new(header);
        let at = self.uplinks.len() as u8;
        self.uplinks.push(Uplink {
            link,
            base: TxRx::ZERO,
            odd_base: [0; 3],
            odd: [0; 3],
            is_open: false,
            tx: side.clone(),
            rx: side,
            shown: Default::default(),
        });
        // What is on top is audited from the same moment on, for it is taken out of what this one carries.
        let is_on_top = |above: &Link| above.kind == LinkKind::Vlan && above.lower == index;
        let above: Vec<u32> =
            self.links.iter().filter(|(above, _)| is_on_top(above)).map(|(above, _)| above.index).collect();
        above.into_iter().for_each(|above| {
            self.uplink(above);
        });
        Some(at)
    }

    /// Which way packets to an address go. Asks the kernel where it was not asked of late.
    pub fn path_to(&mut self, addr: Addr) -> Path {
        self.find_path(addr, true)
    }

    /// `is_remote`: it is no pod of this node. Else the link towards it may be the pod's, which on a node without devices
    /// looks like an uplink.
    fn find_path(&mut self, addr: Addr, is_remote: bool) -> Path {
        if let Some(path) = self.paths.known(addr) {
            return path;
        }
        let Some(kernel) = &mut self.kernel else { return Path::UNKNOWN };
        let hop = kernel.route(addr).unwrap_or(Hop { link: 0, mtu: 0 });
        if hop.link != 0 && self.link(hop.link).is_none() {
            // A link that was made since.
            self.list();
        }
        let may_be_new = is_remote || self.links.iter().any(|(_, has_device)| *has_device);
        let is_known = self.uplinks.iter().any(|uplink| uplink.link.index == hop.link);
        let uplink = if (may_be_new || is_known) && self.is_uplink(hop.link) { self.uplink(hop.link) } else { None };
        let mtu = match hop.mtu {
            0 => self.link(hop.link).map_or(0, |(link, _)| link.mtu),
            said => said,
        };
        self.paths.learn(addr, paths::Way { uplink, mtu })
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
    /// originator's.
    pub fn pass(&mut self, client: Addr, backend: Addr, protocol: u8, part: Part, traffic: TxRx) {
        if self.kernel.is_none() {
            return;
        }
        let turned = TxRx { tx: traffic.rx, rx: traffic.tx };
        for (end, counts) in [(backend, traffic), (client, turned)] {
            let path = self.find_path(end, false);
            self.cross(path, part, (protocol, end.is_v4()), counts, None);
        }
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
                (uplink.tx, uplink.rx) = (uplink.tx.again(), uplink.rx.again());
                uplink.shown.iter_mut().for_each(Shown::keep);
                uplink.base = now;
                uplink.odd_base = odd;
                uplink.is_open = true;
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
        self.accounts.clear();
        let odd_packets = self.odd_packets;
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
