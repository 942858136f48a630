//! Wakes a thread that waits in poll(2): an eventfd(2) that anyone may write and one thread reads.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

/// One end for everybody: clone it, wake by it, or poll it.
#[derive(Clone, Debug)]
pub struct Waker(Arc<EventFd>);

impl Waker {
    /// Opens one.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn open() -> io::Result<Waker> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Waker(Arc::new(EventFd::from_value_and_flags(0, flags)?)))
    }

    /// Makes the descriptor readable. Any number of calls is one waking.
    pub fn wake(&self) {
        // The only failure is EAGAIN at 2^64 - 2 unread wakings: it is readable then.
        let _ = self.0.write(1);
    }

    /// Takes back all wakings.
    pub fn clear(&self) {
        // EAGAIN: nobody has called.
        let _ = self.0.read();
    }

    /// To poll for reading.
    pub fn raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
