//! Finds the cgroups of the host's sockets, which distinguish hostNetwork pods from the node and from each other.
//!
//! A read covers all TCP and UDP sockets of this network namespace. A socket that closed before, or is ambiguous (two
//! pods share a port), is unknown: the owner is then the host, never a guess. It knows only cgroup ids;
//! [`super::cgroup`] maps them to pods.

use std::collections::HashMap;
use std::io;

use crate::flow::{Addr, protocol};
use crate::sys::netlink::{Family, RequestSocket};
use crate::wire::netlink::{DONE, ERROR, Messages};
use crate::wire::sock_diag::{self, Socket};

/// Largest number of sockets. Further ones count as the host's own.
const SOCKETS_MAX: usize = 131_072;
/// Bytes of one datagram of a dump.
const BUFFER_BYTES: usize = 64 << 10;
/// Several cgroups have a matching socket.
const SEVERAL: u64 = u64::MAX;

/// One end of a connection as its socket knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketKey {
    /// IP protocol number.
    pub protocol: u8,
    /// This host's end.
    pub local: Addr,
    pub local_port: u16,
    /// The other end: the address that the socket connects to, before any translation.
    pub remote: Addr,
    pub remote_port: u16,
}

type Table = HashMap<SocketKey, u64, foldhash::fast::RandomState>;

/// The sockets of the last two reads, and of all since the read before the last sweep.
pub struct HostSockets {
    socket: RequestSocket,
    seq: u32,
    request: Vec<u8>,
    buffer: Vec<u8>,
    latest: Table,
    /// The previous read, because a connection is often reported after its socket closed.
    before: Table,
    /// Reads since the last sweep have added to `before`.
    glanced: bool,
}

impl HostSockets {
    /// Opens the netlink socket; reads nothing yet.
    ///
    /// # Errors
    /// If the kernel has no socket diagnostics.
    pub fn open() -> io::Result<HostSockets> {
        Ok(HostSockets {
            socket: RequestSocket::open(Family::SockDiag)?,
            seq: 0,
            request: Vec::new(),
            buffer: vec![0; BUFFER_BYTES],
            latest: Table::default(),
            before: Table::default(),
            glanced: false,
        })
    }

    /// Reads all sockets. Returns the number with a known cgroup: none on kernels before 5.8.
    ///
    /// # Errors
    /// The kernel's error; the table then holds the sockets read before it.
    pub fn look(&mut self) -> io::Result<usize> {
        self.read(false)
    }

    /// The same between two sweeps: what is seen now is known until the read after the next sweep, which tells of it.
    ///
    /// # Errors
    /// As [`HostSockets::look`].
    pub fn glance(&mut self) -> io::Result<usize> {
        self.read(true)
    }

    fn read(&mut self, glances: bool) -> io::Result<usize> {
        if std::mem::replace(&mut self.glanced, glances) {
            for (key, cgroup) in self.latest.drain() {
                if self.before.len() < SOCKETS_MAX {
                    self.before.insert(key, cgroup);
                }
            }
        } else {
            std::mem::swap(&mut self.latest, &mut self.before);
            self.latest.clear();
        }
        for of_protocol in [protocol::TCP, protocol::UDP] {
            for family in [4, 6] {
                self.dump(family, of_protocol)?;
            }
        }
        Ok(self.latest.len())
    }

    /// Returns the cgroup of the socket at one end of a connection, if known. `answers`: the end is the responder, whose
    /// listening socket may match; an originator's TCP connection has a socket of its own.
    pub fn cgroup_of(&self, key: SocketKey, answers: bool) -> Option<u64> {
        let listening = SocketKey { remote: unspecified(key.local), remote_port: 0, ..key };
        let any = SocketKey { local: unspecified(key.local), ..listening };
        // Most IPv6 sockets bound to any address accept IPv4 too.
        let any_v6 = SocketKey { local: Addr::UNSPECIFIED_V6, remote: Addr::UNSPECIFIED_V6, ..any };
        let own = if answers || key.protocol != protocol::TCP { 4 } else { 1 };
        [key, listening, any, any_v6]
            .iter()
            .take(own)
            .find_map(|wanted| self.latest.get(wanted).or_else(|| self.before.get(wanted)))
            .copied()
            .filter(|id| *id != SEVERAL)
    }

    /// Whether a socket listens on an address and port of this host, or is bound there and connected to nobody.
    pub fn listens(&self, protocol: u8, local: Addr, local_port: u16) -> bool {
        let at = |local: Addr| SocketKey { protocol, local, local_port, remote: unspecified(local), remote_port: 0 };
        [at(local), at(unspecified(local)), at(Addr::UNSPECIFIED_V6)]
            .iter()
            .any(|key| self.latest.contains_key(key) || self.before.contains_key(key))
    }

    fn dump(&mut self, family: u8, of_protocol: u8) -> io::Result<()> {
        self.seq = self.seq.wrapping_add(1);
        self.socket.discard_pending(&mut self.buffer);
        self.request = sock_diag::dump_request(std::mem::take(&mut self.request), family, of_protocol, self.seq);
        self.socket.send(&self.request)?;
        loop {
            let len = self.socket.receive(&mut self.buffer)?;
            for message in Messages::of(self.buffer.get(..len).unwrap_or_default()) {
                let unreadable = |_| io::Error::new(io::ErrorKind::InvalidData, "an answer of socket diagnostics");
                let message = message.map_err(unreadable)?;
                match message.kind {
                    _ if message.seq != self.seq => {}
                    DONE | ERROR if message.errno() != 0 => {
                        return Err(io::Error::from_raw_os_error(message.errno()));
                    }
                    DONE => return Ok(()),
                    sock_diag::SOCK_DIAG_BY_FAMILY => {
                        if let Ok(socket) = sock_diag::read(message.payload) {
                            remember(&mut self.latest, of_protocol, &socket);
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

fn remember(table: &mut Table, of_protocol: u8, socket: &Socket) {
    if socket.cgroup == 0 || socket.local_port == 0 || table.len() >= SOCKETS_MAX {
        return;
    }
    let Socket { local, local_port, remote, remote_port, cgroup } = *socket;
    let key = SocketKey { protocol: of_protocol, local, local_port, remote, remote_port };
    let known = table.entry(key).or_insert(cgroup);
    if *known != cgroup {
        *known = SEVERAL;
    }
}

fn unspecified(like: Addr) -> Addr {
    if like.is_v4() { Addr::UNSPECIFIED_V4 } else { Addr::UNSPECIFIED_V6 }
}
