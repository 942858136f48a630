//! The TCP socket under ureq: knows for certain whether a request left whole, and can be cut short at any moment.
//!
//! ureq reports one error for a failed request, whether the server had all of it or none; and a timeout of ureq cannot be
//! shortened once it runs. So the lowest layer is ours: bytes are counted where the kernel takes them, and every wait
//! also listens to an eventfd. Knows nothing of HTTP or DAKR.
//!
//! The rule: a request left whole if its last byte was handed to the transport and no write failed before that. After a
//! failed write nothing more is written, so the server can never have the whole; but the answer is still read, for a
//! server that refuses a large body (413) says so, closes, and makes our next write fail.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration as StdDuration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, socket, sockopt};
use ureq::Error;
use ureq::Timeout;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::time::Duration;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
};

use crate::clock::{self, MS, SECOND};

/// The request in flight, shared by its body, its socket and whoever may cut it short.
#[derive(Debug)]
pub struct Flight {
    /// When the request is given up, on the monotonic clock.
    until_ns: AtomicU64,
    /// When every request is given up: lowered from another thread.
    ceiling_ns: AtomicU64,
    /// The last byte of the request was handed to the transport.
    handed_out: AtomicBool,
    /// The transport took the last byte.
    sent: AtomicBool,
    /// A write failed before that.
    broken: AtomicBool,
    wake: Option<EventFd>,
}

impl Flight {
    /// Nothing in flight. Without an eventfd (no descriptor left) waits notice a lower ceiling within 100 ms.
    pub fn new() -> Arc<Flight> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).ok();
        Arc::new(Flight {
            until_ns: AtomicU64::new(0),
            ceiling_ns: AtomicU64::new(u64::MAX),
            handed_out: AtomicBool::new(false),
            sent: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            wake,
        })
    }

    /// A new request, to be over by `until_ns`.
    pub fn begin(&self, until_ns: u64) {
        self.until_ns.store(until_ns, SeqCst);
        for flag in [&self.handed_out, &self.sent, &self.broken] {
            flag.store(false, SeqCst);
        }
    }

    /// Ends every request, the one in flight too, at `ceiling_ns` on the monotonic clock. Called from any thread.
    pub fn set_ceiling(&self, ceiling_ns: u64) {
        self.ceiling_ns.store(ceiling_ns, SeqCst);
        if let Some(wake) = &self.wake {
            // It fails only when its counter is full, and then it is readable as it is.
            let _ = wake.write(1);
        }
    }

    /// Whether the server may have the whole request.
    pub fn left_whole(&self) -> bool {
        self.handed_out.load(SeqCst) && !self.broken.load(SeqCst)
    }

    /// Ends a request whose time is over, though the peer keeps it busy.
    fn check(&self) -> Result<(), Error> {
        if self.left_ns() == 0 { Err(Error::Timeout(Timeout::Global)) } else { Ok(()) }
    }

    fn left_ns(&self) -> u64 {
        let until_ns = self.until_ns.load(SeqCst).min(self.ceiling_ns.load(SeqCst));
        until_ns.saturating_sub(clock::now().mono_ns)
    }

    /// Waits until the socket is ready for `events`, at most as long as `limit` and the request allow.
    fn wait(&self, socket: &impl AsFd, events: PollFlags, limit: &NextTimeout) -> Result<(), Error> {
        let limit_ns = match limit.after {
            Duration::Exact(limit) => u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX),
            Duration::NotHappening => u64::MAX,
        };
        let started_ns = clock::now().mono_ns;
        loop {
            let waited_ns = clock::now().mono_ns.saturating_sub(started_ns);
            let mut left_ns = self.left_ns().min(limit_ns.saturating_sub(waited_ns));
            if left_ns == 0 {
                return Err(Error::Timeout(limit.reason));
            }
            let mut fds = vec![PollFd::new(socket.as_fd(), events)];
            match &self.wake {
                Some(wake) => fds.push(PollFd::new(wake.as_fd(), PollFlags::POLLIN)),
                None => left_ns = left_ns.min(100 * MS),
            }
            // Rounded up, so that a wait never spins through its last millisecond.
            let timeout = PollTimeout::try_from(left_ns.div_ceil(MS).min(60_000)).unwrap_or(PollTimeout::MAX);
            match poll(&mut fds, timeout) {
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(Error::Io(error.into())),
                Ok(_) => {}
            }
            let ready = |at: usize| fds.get(at).is_some_and(|fd| fd.any().unwrap_or(true));
            if ready(1)
                && let Some(wake) = &self.wake
            {
                let _ = wake.read();
            }
            // An error or a hang-up is for the read or write that follows to report.
            if ready(0) {
                return Ok(());
            }
        }
    }
}

/// The bytes of a request as ureq reads them.
pub struct Outgoing<'a> {
    rest: &'a [u8],
    flight: Arc<Flight>,
}

impl<'a> Outgoing<'a> {
    /// A body of these bytes.
    pub fn new(bytes: &'a [u8], flight: Arc<Flight>) -> Outgoing<'a> {
        // ureq does not ask an empty body for its bytes.
        flight.handed_out.store(bytes.is_empty(), SeqCst);
        Outgoing { rest: bytes, flight }
    }
}

impl Read for Outgoing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.rest.read(buffer)?;
        if self.rest.is_empty() {
            self.flight.handed_out.store(true, SeqCst);
        }
        Ok(read)
    }
}

/// Opens sockets.
#[derive(Debug)]
pub struct SocketConnector(pub Arc<Flight>);

impl<In: Transport> Connector<In> for SocketConnector {
    type Out = Either<In, Socket>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if chained.is_some() {
            // A proxy's tunnel stands already.
            return Ok(chained.map(Either::A));
        }
        let stream = self.open(&details.addrs, details.timeout)?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(Socket { stream, buffers, flight: self.0.clone(), dead: false })))
    }
}

impl SocketConnector {
    /// Tries the addresses in order. Each but the last gets half of the time that is left.
    fn open(&self, addresses: &[SocketAddr], timeout: NextTimeout) -> Result<TcpStream, Error> {
        let mut failed = Error::HostNotFound;
        let mut limit = timeout;
        for (at, address) in addresses.iter().enumerate() {
            let mut share = limit;
            if let (Duration::Exact(left), true) = (limit.after, at + 1 < addresses.len()) {
                share.after = Duration::Exact(left / 2);
                limit.after = share.after;
            }
            match self.open_one(*address, &share) {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn open_one(&self, address: SocketAddr, limit: &NextTimeout) -> Result<TcpStream, Error> {
        let io = |error: Errno| Error::Io(error.into());
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(family, SockType::Stream, flags, None).map_err(io)?;
        match connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
            Ok(()) => {}
            Err(Errno::EINPROGRESS) => {
                self.0.wait(&fd, PollFlags::POLLOUT, limit)?;
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
        if self.flight.sent.load(SeqCst) {
            return Err(error);
        }
        log::debug!("the request was not taken whole: {error}");
        self.flight.broken.store(true, SeqCst);
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
pub struct WatchConnector(pub Arc<Flight>);

impl<In: Transport> Connector<In> for WatchConnector {
    type Out = Watched<In>;

    fn connect(&self, _: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| Watched { inner, flight: self.0.clone() }))
    }
}

/// See [`WatchConnector`].
#[derive(Debug)]
pub struct Watched<T> {
    inner: T,
    flight: Arc<Flight>,
}

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)?;
        if self.flight.handed_out.load(SeqCst) {
            self.flight.sent.store(true, SeqCst);
        }
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

/// Looks names up. ureq's own resolver starts a thread even for an address, and panics where none can be started.
#[derive(Debug)]
pub struct NameResolver(pub Arc<Flight>);

impl Resolver for NameResolver {
    fn resolve(&self, uri: &Uri, _: &ureq::config::Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let mut found = self.empty();
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            found.push(SocketAddr::new(address, port));
            return Ok(found);
        }
        // getaddrinfo blocks as long as resolv.conf says; the thread is left behind when it takes too long.
        let (answer, answered) = crossbeam_channel::bounded(1);
        let name = (host.to_owned(), port);
        let lookup = move || drop(answer.send(name.to_socket_addrs().map(|found| found.collect::<Vec<_>>())));
        std::thread::Builder::new().name("resolve".to_owned()).spawn(lookup)?;
        let limit_ns = match timeout.after {
            Duration::Exact(limit) => u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX),
            Duration::NotHappening => 15 * SECOND,
        };
        let started_ns = clock::now().mono_ns;
        loop {
            let waited_ns = clock::now().mono_ns.saturating_sub(started_ns);
            let left_ns = self.0.left_ns().min(limit_ns.saturating_sub(waited_ns)).min(100 * MS);
            match answered.recv_timeout(StdDuration::from_nanos(left_ns)) {
                Ok(addresses) => {
                    // ureq's list holds sixteen.
                    addresses?.into_iter().take(16).for_each(|address| found.push(address));
                    break if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) };
                }
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => break Err(Error::HostNotFound),
                Err(crossbeam_channel::RecvTimeoutError::Timeout) if left_ns == 0 => {
                    break Err(Error::Timeout(Timeout::Resolve));
                }
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
            }
        }
    }
}
