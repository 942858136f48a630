//! Signals as a descriptor: SIGTERM and SIGINT are blocked in every thread and read by the main one (signalfd(2)).

use std::io;

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// The signals that end the agent.
#[derive(Debug)]
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks them in this thread, and so in all threads spawned later: call it first.
    ///
    /// # Errors
    /// When the process has no descriptors left.
    pub fn block() -> io::Result<Signals> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGTERM);
        set.add(Signal::SIGINT);
        set.thread_block()?;
        Ok(Signals(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?))
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// Never in practice; an error is not worth waiting on again.
    pub fn wait(&self) -> io::Result<()> {
        loop {
            match self.0.read_signal() {
                Ok(Some(_)) => return Ok(()),
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
