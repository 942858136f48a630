//! Signals the end of the agent to its threads, with a deadline.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sys::waker::Waker;

/// A flag that is set once.
#[derive(Debug, Default)]
pub struct Stop {
    /// Monotonic deadline of the shutdown; 0 while the agent runs.
    deadline_mono_ns: AtomicU64,
    // Held for the time of a push or a walk, never across I/O (waking writes to an eventfd, which does not block).
    wakers: Mutex<Vec<Waker>>,
}

impl Stop {
    /// Registers a waker that is called at the end.
    pub fn wakes(&self, waker: &Waker) {
        self.wakers.lock().unwrap_or_else(|p| p.into_inner()).push(waker.clone());
    }

    /// Requests the end; all threads must have ended by `deadline_mono_ns`.
    pub fn request(&self, deadline_mono_ns: u64) {
        self.deadline_mono_ns.store(deadline_mono_ns.max(1), Relaxed);
        for waker in self.wakers.lock().unwrap_or_else(|p| p.into_inner()).iter() {
            waker.wake();
        }
    }

    /// Whether the end was requested.
    pub fn requested(&self) -> bool {
        self.deadline_mono_ns() != 0
    }

    /// Monotonic deadline of the shutdown; 0 while the agent runs.
    pub fn deadline_mono_ns(&self) -> u64 {
        self.deadline_mono_ns.load(Relaxed)
    }
}
