//! Signals as a descriptor: SIGTERM and SIGINT are blocked in every thread and read by the main one (signalfd(2)).

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::poll;

/// The signals that end the agent.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks them in this thread, and so in all threads spawned later: call it first.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn block() -> io::Result<Signals> {
        Signals::block_these(&[Signal::SIGTERM, Signal::SIGINT])
    }

    /// Blocks these instead.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn block_these(signals: &[Signal]) -> io::Result<Signals> {
        let mut set = SigSet::empty();
        signals.iter().for_each(|signal| set.add(*signal));
        set.thread_block()?;
        Ok(Signals(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?))
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// Never in practice; an error is not worth waiting on again.
    pub fn wait(&self) -> io::Result<()> {
        self.next().map(|_| ())
    }

    /// Waits for one for so long at most.
    pub fn wait_for(&self, timeout_ns: u64) {
        poll::readable(&[self.raw_fd()], timeout_ns);
    }

    /// The descriptor that is readable when there is one.
    pub fn raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// The next one, waited for.
    ///
    /// # Errors
    /// As [`Signals::wait`].
    pub fn next(&self) -> io::Result<Signal> {
        loop {
            match self.0.read_signal() {
                Ok(Some(read)) => {
                    let number = i32::try_from(read.ssi_signo).ok();
                    if let Some(signal) = number.and_then(|number| Signal::try_from(number).ok()) {
                        return Ok(signal);
                    }
                }
                Ok(None) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A terminal that goes away must not end a daemon.
pub fn ignore_hangup() {
    // SAFETY: SIG_IGN installs no handler, so no code of ours can run in signal context.
    #[allow(unsafe_code)]
    let _ = unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) };
}
