//! How the agent's threads learn that it ends, and how long they have.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::sys::waker::Waker;

/// Set once; never taken back.
#[derive(Debug, Default)]
pub struct Stop {
    /// Monotonic nanoseconds by which everything is to be over; 0 while the agent runs.
    deadline_mono_ns: AtomicU64,
    // Held for the time of a push or a walk, never across I/O (waking writes to an eventfd, which does not block).
    wakers: Mutex<Vec<Waker>>,
}

impl Stop {
    /// This thread wants to be woken when the end comes.
    pub fn wakes(&self, waker: &Waker) {
        self.wakers.lock().unwrap_or_else(|p| p.into_inner()).push(waker.clone());
    }

    /// The end has come; everything is to be over by `deadline_mono_ns`.
    pub fn request(&self, deadline_mono_ns: u64) {
        self.deadline_mono_ns.store(deadline_mono_ns.max(1), Relaxed);
        for waker in self.wakers.lock().unwrap_or_else(|p| p.into_inner()).iter() {
            waker.wake();
        }
    }

    /// Whether the end has come.
    pub fn requested(&self) -> bool {
        self.deadline_mono_ns() != 0
    }

    /// When everything is to be over, monotonic; 0 while the agent runs.
    pub fn deadline_mono_ns(&self) -> u64 {
        self.deadline_mono_ns.load(Relaxed)
    }
}
