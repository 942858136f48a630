//! The endpoint's thread: one poll(2) loop over the listener and a bounded number of connections.
//!
//! No peer can multiply threads, queues or buffers. When all places are taken, the connection that has the least to lose
//! is closed (see [`Connection::worth`]), so a new one is always accepted. One descriptor is reserved for the time when
//! the process has no other left.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SndBuf;

use super::connection::{Connection, Fate, Interest, PIECE_BYTES};
use super::listen::listener;
use super::snapshots::Queues;
use crate::clock::{self, MS, Now, SECOND};
use crate::config::Config;
use crate::snapshot::SnapshotKind;
use crate::sys::waker::Waker;

pub use super::listen::BindError;
pub use super::routes::Context;
use super::routes::Peer;

/// Largest number of open connections.
pub const MAX_CONNECTIONS: usize = 32;
/// Extra capacity of a buffer for the item that completes a piece, so that the buffer never doubles.
const OVERHANG_BYTES: usize = 4096;
/// The kernel's buffer for what a peer has not read, before the kernel doubles it: less slows a fast reader down.
const SEND_BYTES: usize = 3 * PIECE_BYTES;
/// Connections accepted before the open ones are served.
const ACCEPT_BURST: usize = 256;
/// Answers that render a piece before new connections are accepted: a probe waits for no more than that.
const RENDER_BURST: usize = 4;
/// Pause in accepting after an error that persists.
const ACCEPT_PAUSE_NS: u64 = 100 * MS;
/// The longest wait of poll(2); nothing depends on it.
const IDLE_NS: u64 = 60 * SECOND;

/// A listening endpoint.
pub struct Server {
    listener: TcpListener,
    waker: Waker,
    spare: Option<File>,
    connections: Vec<Connection>,
    /// Output buffers of closed connections, for reuse.
    buffers: Vec<Vec<u8>>,
    queues: Queues,
    /// No connection is accepted before this time, monotonic.
    paused_until_ns: u64,
    /// Index of the connection that is served first in the next turn.
    turn: usize,
}

impl Server {
    /// Listens on `-metrics-bind-address`.
    ///
    /// # Errors
    /// If the port is still taken after three tries, or the kernel refuses the address.
    pub fn bind(config: &Config) -> Result<Server, BindError> {
        let server = Server::listen(config.metrics_bind)?;
        match server.local_addr() {
            Ok(addr) => log::info!("listening on {addr}: / /flows /metrics /healthz /readyz"),
            Err(error) => log::warn!("cannot tell the address of the endpoint: {error}"),
        }
        Ok(server)
    }

    /// Listens on `addr`.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn listen(addr: SocketAddr) -> Result<Server, BindError> {
        Ok(Server {
            listener: listener(addr)?,
            waker: Waker::open().map_err(BindError::Descriptors)?,
            spare: reserve(),
            connections: Vec::with_capacity(MAX_CONNECTIONS),
            buffers: Vec::with_capacity(MAX_CONNECTIONS),
            queues: Queues::default(),
            paused_until_ns: 0,
            turn: 0,
        })
    }

    /// The address of the socket.
    ///
    /// # Errors
    /// If getsockname(2) fails, which a listening socket rules out.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until [`Context::end`] is requested.
    pub fn run(self, context: Context) {
        self.run_by(context, clock::now);
    }

    /// As [`Server::run`], with the caller's clock.
    pub fn run_by(mut self, context: Context, mut clock: impl FnMut() -> Now) {
        context.end.wakes(&self.waker);
        let waker = self.waker.clone();
        context.snapshots.wake_reader_by(move || waker.wake());
        while !context.end.requested() {
            let ready = self.wait(clock().mono_ns);
            self.waker.clear();
            let now = clock();
            self.serve(&ready, &context, now);
            if ready.listener {
                self.accept(&context, now);
            }
        }
    }

    /// Waits until a socket is ready or a deadline has passed.
    fn wait(&self, mono_ns: u64) -> Ready {
        let listening = mono_ns >= self.paused_until_ns;
        let accept = if listening { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut fds: [PollFd<'_>; MAX_CONNECTIONS + 2] = std::array::from_fn(|at| match at {
            0 => PollFd::new(self.waker.as_fd(), PollFlags::POLLIN),
            1 => PollFd::new(self.listener.as_fd(), accept),
            _ => match at.checked_sub(2).and_then(|at| self.connections.get(at)) {
                Some(connection) => PollFd::new(connection.stream().as_fd(), flags(connection.interest())),
                // A placeholder that is not passed to poll(2).
                None => PollFd::new(self.waker.as_fd(), PollFlags::empty()),
            },
        });
        let deadlines = self.connections.iter().map(Connection::deadline_ns);
        let resume = if listening { u64::MAX } else { self.paused_until_ns };
        let next_ns = deadlines.fold(mono_ns.saturating_add(IDLE_NS).min(resume), u64::min);
        let wait_ms = next_ns.saturating_sub(mono_ns).div_ceil(MS);
        let mut ready = Ready::default();
        // Only used entries: poll(2) refuses more than RLIMIT_NOFILE. After EINTR the loop just runs once more.
        let used = fds.get_mut(..self.connections.len() + 2).unwrap_or_default();
        if poll(used, PollTimeout::try_from(wait_ms).unwrap_or(PollTimeout::MAX)).is_err() {
            return ready;
        }
        let called = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or(false);
        ready.listener = listening && called(fds.get(1));
        for (to, fd) in ready.connections.iter_mut().zip(fds.iter().skip(2)) {
            *to = called(Some(fd));
        }
        ready
    }

    /// Steps every connection, but renders only for a few; the others have their turn next time.
    fn serve(&mut self, ready: &Ready, context: &Context, now: Now) {
        let mut renders = RENDER_BURST;
        let count = self.connections.len();
        let first = self.turn;
        for n in 0..count {
            let at = (first + n) % count;
            // The last connection moves into the place of a closed one, and is stepped next time.
            let Some(connection) = self.connections.get(at) else { continue };
            let mut called = ready.connections.get(at).copied().unwrap_or(false);
            if called && connection.interest() == Interest::Write {
                called = renders > 0;
                if called {
                    renders -= 1;
                    self.turn = at + 1;
                }
            }
            self.step(at, called, context, now);
        }
    }

    fn step(&mut self, at: usize, called: bool, context: &Context, now: Now) {
        let older_held = |kind| {
            let latest = context.snapshots.of(kind).latest().as_ref().map(Arc::as_ptr);
            self.connections.iter().any(|c| c.holds_older(kind, latest))
        };
        self.queues.flows_older_held = older_held(SnapshotKind::Flows);
        self.queues.metrics_older_held = older_held(SnapshotKind::Metrics);
        let Some(connection) = self.connections.get_mut(at) else { return };
        match connection.step(called, context, &mut self.queues, now) {
            Fate::Keep => {}
            Fate::Close => self.end(at),
            Fate::Cut => {
                context.stats.http_cut.inc();
                self.end(at);
            }
        }
    }

    fn end(&mut self, at: usize) {
        if at < self.connections.len() {
            self.buffers.push(self.connections.swap_remove(at).into_buffer());
        }
        if self.spare.is_none() {
            self.spare = reserve();
        }
    }

    fn accept(&mut self, context: &Context, now: Now) {
        for _ in 0..ACCEPT_BURST {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    if self.connections.len() >= MAX_CONNECTIONS {
                        self.make_room(context);
                    }
                    if stream.set_nonblocking(true).is_err() {
                        continue;
                    }
                    // Room in it shows that the peer has read: in megabytes of buffer a slow reader looks like none.
                    let _ = setsockopt(&stream, SndBuf, &SEND_BYTES);
                    let buffer = self.buffers.pop().unwrap_or_else(|| Vec::with_capacity(PIECE_BYTES + OVERHANG_BYTES));
                    // From one of the host's addresses to another the kernel sends by the one that is asked for.
                    let local = stream.local_addr().map(|local| local.ip());
                    let is_this_host =
                        local.is_ok_and(|local| local == peer.ip()) || peer.ip().to_canonical().is_loopback();
                    let peer = Peer { addr: peer.ip().into(), is_this_host };
                    self.connections.push(Connection::new(stream, peer, buffer, now));
                    // Its request has mostly arrived already, so it gets its answer before others can displace it.
                    self.step(self.connections.len() - 1, true, context, now);
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return,
                    // The peer has closed, or a signal arrived: the next connection may be there.
                    Some(libc::ECONNABORTED | libc::EINTR | libc::EPROTO) => {}
                    // No descriptor is left: use the reserve first, then close a connection.
                    Some(libc::EMFILE | libc::ENFILE) if self.spare.take().is_some() => {}
                    Some(libc::EMFILE | libc::ENFILE) if !self.connections.is_empty() => self.make_room(context),
                    errno => {
                        self.paused_until_ns = now.mono_ns.saturating_add(ACCEPT_PAUSE_NS);
                        log::debug!("cannot accept a connection: {}", Errno::from_raw(errno.unwrap_or(0)));
                        return;
                    }
                },
            }
        }
    }

    /// Closes the connection that has the least to lose.
    fn make_room(&mut self, context: &Context) {
        if let Some((at, connection)) = self.connections.iter().enumerate().min_by_key(|(_, c)| c.worth()) {
            if !connection.is_answered() {
                context.stats.http_cut.inc();
            }
            self.end(at);
        }
    }
}

/// The result of poll(2).
#[derive(Default)]
struct Ready {
    listener: bool,
    connections: [bool; MAX_CONNECTIONS],
}

fn flags(interest: Interest) -> PollFlags {
    match interest {
        Interest::Read => PollFlags::POLLIN,
        Interest::Write => PollFlags::POLLOUT,
        Interest::Snapshot => PollFlags::empty(),
    }
}

fn reserve() -> Option<File> {
    File::open("/dev/null").ok()
}
