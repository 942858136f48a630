//! Which cgroup the sockets of the host's network belong to: so that host-network pods, which share the node's
//! addresses, can be told apart from the node and from each other.
//!
//! A look reads all TCP and UDP sockets of this network namespace. What was closed before a look, or cannot be told
//! apart (two pods that share a port), is unknown: then the owner is the host, never a guess. Knows cgroup ids only;
//! whose they are is [`super::cgroup`]'s.

use std::collections::HashMap;
use std::io;

use crate::flow::{Addr, protocol};
use crate::sys::netlink::{Family, RequestSocket};
use crate::wire::netlink::{DONE, ERROR, Messages};
use crate::wire::sock_diag::{self, Socket};

/// Sockets that are remembered; a host with more has those of the rest as its own.
const SOCKETS_MAX: usize = 131_072;
/// One datagram of a dump.
const BUFFER_BYTES: usize = 64 << 10;
/// More than one cgroup has such a socket.
const SEVERAL: u64 = u64::MAX;

/// One end of a connection as its socket knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketKey {
    /// IP protocol number.
    pub protocol: u8,
    /// This host's end.
    pub local: Addr,
    pub local_port: u16,
    /// The other end: the address that the socket asked for, before any translation.
    pub remote: Addr,
    pub remote_port: u16,
}

type Table = HashMap<SocketKey, u64, foldhash::fast::RandomState>;

/// The sockets of the last two looks.
pub struct HostSockets {
    socket: RequestSocket,
    seq: u32,
    request: Vec<u8>,
    buffer: Vec<u8>,
    latest: Table,
    /// Of the look before: a connection is often told after its socket closed.
    before: Table,
}

impl HostSockets {
    /// Nothing is read yet.
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
        })
    }

    /// Reads all sockets. Returns how many have a cgroup that is known: none on kernels before 5.8.
    ///
    /// # Errors
    /// What the kernel says; the table then holds what was read before the error.
    pub fn look(&mut self) -> io::Result<usize> {
        std::mem::swap(&mut self.latest, &mut self.before);
        self.latest.clear();
        for of_protocol in [protocol::TCP, protocol::UDP] {
            for family in [4, 6] {
                self.dump(family, of_protocol)?;
            }
        }
        Ok(self.latest.len())
    }

    /// The cgroup of the socket behind one end of a connection, `None` where it is not known. Who `answers` may be
    /// known by the socket that listens; a TCP connection that was opened from here has a socket of its own.
    pub fn cgroup_of(&self, key: SocketKey, answers: bool) -> Option<u64> {
        let listening = SocketKey { remote: unspecified(key.local), remote_port: 0, ..key };
        let any = SocketKey { local: unspecified(key.local), ..listening };
        // Most IPv6 sockets that take any address take IPv4 as well.
        let any_v6 = SocketKey { local: Addr::UNSPECIFIED_V6, remote: Addr::UNSPECIFIED_V6, ..any };
        let own = if answers || key.protocol != protocol::TCP { 4 } else { 1 };
        [key, listening, any, any_v6]
            .iter()
            .take(own)
            .find_map(|wanted| self.latest.get(wanted).or_else(|| self.before.get(wanted)))
            .copied()
            .filter(|id| *id != SEVERAL)
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
