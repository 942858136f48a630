//! A request in flight: whether it left whole, and how other threads end it.
//!
//! ureq reports one error for a failed request, whether the server had all of it or none. A timeout of ureq cannot be
//! shortened once it runs. So the lowest layer is ours: bytes are counted where the kernel takes them, and every wait
//! also listens to an eventfd.
//!
//! The rule: a request left whole if its last byte was handed to the transport and no write failed before that.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use ureq::unversioned::transport::NextTimeout;
use ureq::unversioned::transport::time::Duration;
use ureq::{Error, Timeout};

use crate::clock::{self, MS};

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

    /// The last byte that was handed out is the transport's.
    pub(super) fn transmitted(&self) {
        if self.handed_out.load(SeqCst) {
            self.sent.store(true, SeqCst);
        }
    }

    /// Whether the transport took the last byte.
    pub(super) fn is_sent(&self) -> bool {
        self.sent.load(SeqCst)
    }

    /// A write failed before that.
    pub(super) fn set_broken(&self) {
        self.broken.store(true, SeqCst);
    }

    /// When the request is over, on the monotonic clock.
    pub(super) fn until_ns(&self) -> u64 {
        self.until_ns.load(SeqCst).min(self.ceiling_ns.load(SeqCst))
    }

    /// Ends a request whose time is over, though the peer keeps it busy.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.left_ns() == 0 { Err(Error::Timeout(Timeout::Global)) } else { Ok(()) }
    }

    fn left_ns(&self) -> u64 {
        self.until_ns().saturating_sub(clock::now().mono_ns)
    }

    /// Waits until the socket is ready for `events`, at most as long as `limit` and the request allow.
    pub(super) fn wait(&self, socket: &impl AsFd, events: PollFlags, limit: &NextTimeout) -> Result<(), Error> {
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
