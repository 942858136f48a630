//! The TCP socket under ureq: reports to [`Flight`] what the kernel took, and listens to it in every wait.
//!
//! After a failed write nothing more is written, so the server can never have the whole request. The answer is still
//! read: a server that refuses a large body answers 413 and closes, and our next write fails. Knows nothing of HTTP or
//! DAKR.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration as StdDuration;

use nix::errno::Errno;
use nix::poll::PollFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, socket, sockopt};
use ureq::Error;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Duration;
use ureq::unversioned::transport::{Buffers, ConnectionDetails, LazyBuffers, NextTimeout, Transport};

use super::flight::Flight;
use super::resolve::{Places, addresses_of};
use super::trouble::NetError;
use crate::clock::{self, SECOND};
use crate::config::proxy::Proxy;

/// How long a look-up takes where the request sets no limit.
const RESOLVE_NS: u64 = 10 * SECOND;

/// Connects to one of the addresses that were found, tried in order: each but the last gets half of the time that is left.
/// `is_proxy`: they are the proxy's.
pub fn open(flight: &Arc<Flight>, details: &ConnectionDetails<'_>, is_proxy: bool) -> Result<Socket, Error> {
    let mut failed = Error::HostNotFound;
    let mut limit = details.timeout;
    for (at, address) in details.addrs.iter().enumerate() {
        let mut share = limit;
        if let (Duration::Exact(left), true) = (limit.after, at + 1 < details.addrs.len()) {
            share.after = Duration::Exact(left / 2);
            limit.after = share.after;
        }
        match open_one(flight, *address, &share) {
            Ok(stream) => {
                let (input, output) = (details.config.input_buffer_size(), details.config.output_buffer_size());
                let buffers = LazyBuffers::new(input, output);
                return Ok(Socket { stream, buffers, flight: Arc::clone(flight), dead: false });
            }
            Err(Error::Io(error)) => failed = NetError::Connect(*address, is_proxy, error).into(),
            Err(Error::Timeout(_)) => {
                let after = if let Duration::Exact(after) = share.after { after } else { StdDuration::ZERO };
                failed = NetError::Silent(*address, is_proxy, after).into();
            }
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn open_one(flight: &Flight, address: SocketAddr, limit: &NextTimeout) -> Result<TcpStream, Error> {
    let io = |error: Errno| Error::Io(error.into());
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(family, SockType::Stream, flags, None).map_err(io)?;
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) => {}
        Err(Errno::EINPROGRESS) => {
            flight.wait(&fd, PollFlags::POLLOUT, limit)?;
            match getsockopt(&fd, sockopt::SocketError).map_err(io)? {
                0 => {}
                error => return Err(io(Errno::from_raw(error))),
            }
        }
        Err(error) => return Err(io(error)),
    }
    let stream = TcpStream::from(fd);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One TCP connection.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    buffers: LazyBuffers,
    flight: Arc<Flight>,
    /// A write failed: nothing more is written here.
    dead: bool,
}

impl Socket {
    fn write_all(&mut self, amount: usize, timeout: &NextTimeout) -> Result<(), Error> {
        let mut at = 0;
        while at < amount {
            self.flight.check()?;
            let bytes = self.buffers.output().get(at..amount).unwrap_or_default();
            match (&self.stream).write(bytes) {
                Ok(0) => return Err(Error::Io(io::ErrorKind::WriteZero.into())),
                Ok(written) => at += written,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => self.flight.wait(&self.stream, PollFlags::POLLOUT, timeout)?,
                    _ => return Err(Error::Io(error)),
                },
            }
        }
        Ok(())
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        // TLS tries a failed write again at its next read. It must not succeed then, for the request counts as unsent.
        if self.dead {
            return Ok(());
        }
        let Err(error) = self.write_all(amount, &timeout) else { return Ok(()) };
        self.dead = true;
        if self.flight.is_sent() {
            return Err(error);
        }
        log::debug!("the request was not taken whole: {error}");
        self.flight.set_broken();
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        loop {
            self.flight.check()?;
            let room = self.buffers.input_append_buf();
            match (&self.stream).read(room) {
                Ok(read) => {
                    self.buffers.input_appended(read);
                    return Ok(read > 0);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock => self.flight.wait(&self.stream, PollFlags::POLLIN, &timeout)?,
                    _ => return Err(Error::Io(error)),
                },
            }
        }
    }

    fn is_open(&mut self) -> bool {
        // Bytes that nobody asked for, an end or an error: not to be used again.
        let silent = matches!(self.stream.peek(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        silent && !self.dead
    }
}

/// The outermost layer: notes when the last byte was taken.
#[derive(Debug)]
pub struct Watched {
    inner: Box<dyn Transport>,
    flight: Arc<Flight>,
}

impl Watched {
    /// Around what is otherwise ready.
    pub fn new(inner: Box<dyn Transport>, flight: Arc<Flight>) -> Watched {
        Watched { inner, flight }
    }
}

impl Transport for Watched {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)?;
        self.flight.transmitted();
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// Looks names up as [`super::resolve`] does, within the time that the request has.
#[derive(Debug, Default)]
pub struct NameResolver {
    /// What may cut the look-up short.
    pub flight: Option<Arc<Flight>>,
    /// Which files say how.
    pub places: Places,
    /// Whose address is wanted instead of the server's, for it finds that.
    pub proxy: Option<Proxy>,
}

impl Resolver for NameResolver {
    fn resolve(&self, uri: &Uri, _: &ureq::config::Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.empty();
        let default_port = if uri.scheme_str() == Some("http") { 80 } else { 443 };
        let (host, port) = match &self.proxy {
            Some(proxy) => (proxy.host.as_str(), proxy.port),
            None => (uri.host().ok_or(Error::HostNotFound)?, uri.port_u16().unwrap_or(default_port)),
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            found.push(SocketAddr::new(address, port));
            return Ok(found);
        }
        let limit_ns = match timeout.after {
            Duration::Exact(limit) => u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX),
            Duration::NotHappening => RESOLVE_NS,
        };
        let limit_ns = clock::now().mono_ns.saturating_add(limit_ns);
        let until_ns = || self.flight.as_ref().map_or(limit_ns, |flight| flight.until_ns().min(limit_ns));
        let addresses = addresses_of(bare, &self.places, &until_ns).map_err(NetError::Resolve)?;
        // ureq's list holds sixteen.
        addresses.into_iter().take(16).for_each(|address| found.push(SocketAddr::new(address, port)));
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}
