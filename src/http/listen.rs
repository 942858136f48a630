//! Opens the listening socket of the endpoint.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};

use crate::clock::{self, SECOND};
use crate::sys::options;

/// Attempts on a port that is taken: the agent that this one replaces may be about to leave it.
const TRIES: u32 = 3;
/// A peer that says nothing is not accepted for so long, and takes no place from one that does. Where the queue of the
/// silent is full, SYN cookies let the next ones in as if this were not set.
const SILENT_S: i32 = 5;
/// Bytes that the kernel may hold for one connection, each way (it doubles them): they are charged to our memory limit.
const SOCKET_BYTES: usize = 64 * 1024;

/// Why the endpoint cannot be opened.
#[derive(Debug)]
pub enum BindError {
    /// Somebody else listens there.
    Taken(SocketAddr),
    /// The kernel refuses.
    Listen(SocketAddr, io::Error),
    /// No descriptors are left.
    Descriptors(io::Error),
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Taken(addr) => write!(
                f,
                "cannot listen on {addr}: the port is taken (another agent on this node? see -metrics-bind-address)"
            ),
            BindError::Listen(addr, error) => write!(f, "cannot listen on {addr}: {error} (see -metrics-bind-address)"),
            BindError::Descriptors(error) => write!(f, "cannot open what the endpoint needs: {error}"),
        }
    }
}

impl std::error::Error for BindError {}

/// Listens on `addr`; `[::]` means every address of both families, and every IPv4 address where IPv6 is off.
pub fn listener(addr: SocketAddr) -> Result<TcpListener, BindError> {
    let mut left = TRIES;
    loop {
        left -= 1;
        match open(addr) {
            Err(Errno::EADDRINUSE) if left > 0 => clock::sleep_ns(SECOND),
            Err(Errno::EADDRINUSE) => return Err(BindError::Taken(addr)),
            Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) if addr.is_ipv6() && addr.ip().is_unspecified() => {
                return listener(SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port())));
            }
            Err(errno) => return Err(BindError::Listen(addr, errno.into())),
            Ok(socket) => return Ok(TcpListener::from(socket)),
        }
    }
}

fn open(addr: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if addr.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    // A port that is only in TIME_WAIT is free.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if addr.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &!addr.ip().is_unspecified())?;
    }
    // Inherited by what is accepted.
    setsockopt(&socket, sockopt::SndBuf, &SOCKET_BYTES)?;
    setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BYTES)?;
    options::defer_accept(socket.as_fd(), SILENT_S).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(addr))?;
    // As many may wait to be accepted as `net.core.somaxconn` allows: beyond that the kernel lets peers wait for a second
    // and more, probes too. A number is refused by nix where it is larger than the C library's SOMAXCONN, 128 with musl.
    listen(&socket, Backlog::MAXALLOWABLE)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
