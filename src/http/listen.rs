//! Opens the listening socket of the HTTP endpoint.

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

/// Attempts on a taken port: the agent that this one replaces may be about to close it.
const TRIES: u32 = 3;
/// The kernel defers a connection for this time until data arrive, so that a silent peer takes no place. Once its queue
/// is full, SYN cookies accept connections without data.
const SILENT_S: i32 = 5;
/// Socket buffer of one connection, each way. The kernel doubles it and charges it to our memory limit.
const SOCKET_BYTES: usize = 64 * 1024;

/// Why the endpoint cannot be opened.
#[derive(Debug)]
pub enum BindError {
    /// Another process listens there.
    Taken(SocketAddr),
    /// The kernel refuses the address.
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
            BindError::Descriptors(error) => write!(f, "cannot open the endpoint's descriptors: {error}"),
        }
    }
}

impl std::error::Error for BindError {}

/// Listens on `addr`. `[::]` means every address of both families, or every IPv4 address if IPv6 is off.
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
    // A port with connections in TIME_WAIT alone can be used.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if addr.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &!addr.ip().is_unspecified())?;
    }
    // Accepted sockets inherit these.
    setsockopt(&socket, sockopt::SndBuf, &SOCKET_BYTES)?;
    setsockopt(&socket, sockopt::RcvBuf, &SOCKET_BYTES)?;
    options::defer_accept(socket.as_fd(), SILENT_S).map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(addr))?;
    // Beyond the backlog the kernel lets peers wait for a second and more, probes too. So take all that
    // `net.core.somaxconn` allows: nix refuses numbers above the C library's SOMAXCONN, which is 128 with musl.
    listen(&socket, Backlog::MAXALLOWABLE)?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
