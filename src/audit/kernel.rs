//! What the audit asks the kernel, and what it is told about the source.

use std::io;

use super::routes;
use crate::flow::{Addr, TxRx};
use crate::sys::links::{Links, has_device};
use crate::sys::tunnels;
use crate::wire::genetlink::Family;
use crate::wire::rtnetlink::{Hop, Link, LinkKind};

/// What the audit asks the kernel.
pub trait Kernel: Send {
    /// All links, each with whether a device of the machine is behind it.
    ///
    /// # Errors
    /// When they cannot be read.
    fn links(&mut self, each: &mut dyn FnMut(&Link, bool)) -> io::Result<()>;

    /// UDP ports of a tunnel that its link does not tell; `family` knows them.
    ///
    /// # Errors
    /// When they cannot be asked for.
    fn more_ports(&mut self, family: Family, link: &Link, each: &mut dyn FnMut(u16)) -> io::Result<()>;

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

    /// All rules and routes.
    ///
    /// # Errors
    /// When they cannot be read, or change meanwhile.
    fn routes(&mut self, into: &mut routes::Builder) -> io::Result<()>;

    /// Whether they, or links, have changed since this was asked last.
    fn have_routes_changed(&mut self) -> bool;

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
    fn more_ports(&mut self, family: Family, link: &Link, each: &mut dyn FnMut(u16)) -> io::Result<()> {
        match family {
            Family::WireGuard => tunnels::listening_port(link.index)?.into_iter().for_each(each),
            Family::Fou => tunnels::receiving_ports(each)?,
        }
        Ok(())
    }
    fn counters(&mut self, link: u32) -> io::Result<TxRx> {
        Links::counters(self, link)
    }
    fn route(&mut self, addr: Addr) -> io::Result<Hop> {
        Links::route(self, addr)
    }
    fn routes(&mut self, into: &mut routes::Builder) -> io::Result<()> {
        self.rules(&mut |is_v4, rule| into.rules[usize::from(!is_v4)].add(rule))?;
        Links::routes(self, &mut |route| into.add(route))
    }
    fn have_routes_changed(&mut self) -> bool {
        Links::have_routes_changed(self)
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
