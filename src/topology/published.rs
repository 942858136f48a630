//! Where the latest topology lies for whoever makes rows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::Topology;

/// The topology in use.
#[derive(Debug, Default)]
pub struct Published {
    // Held for the copy of a reference.
    current: Mutex<Arc<Topology>>,
    generation: AtomicU64,
}

impl Published {
    /// Puts another topology in place of the old one.
    pub fn publish(&self, topology: Arc<Topology>) {
        let old = {
            let mut current = self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let old = std::mem::replace(&mut *current, topology);
            self.generation.fetch_add(1, Ordering::Release);
            old
        };
        // Freed, where nobody reads it, after the lock is.
        drop(old);
    }

    /// How many were published, without a lock.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The topology in place.
    pub fn get(&self) -> Arc<Topology> {
        self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}
