//! Starts threads by name, and waits for all of them until a deadline.

use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, unbounded};
use log::warn;

use super::error::StartError;
use crate::clock;

/// The threads, and a channel that reports their ends.
pub(super) struct Threads {
    handles: Vec<(&'static str, JoinHandle<()>)>,
    ended: (crossbeam_channel::Sender<()>, Receiver<()>),
}

impl Default for Threads {
    fn default() -> Threads {
        Threads { handles: Vec::new(), ended: unbounded() }
    }
}

impl Threads {
    pub(super) fn add(&mut self, name: &'static str, handle: JoinHandle<()>) {
        self.handles.push((name, handle));
    }

    pub(super) fn spawn(&mut self, name: &'static str, body: impl FnOnce() + Send + 'static) -> Result<(), StartError> {
        let ended = self.ended.0.clone();
        let run = move || {
            body();
            // The receiver may be gone: it is read only at the end of the agent.
            let _ = ended.send(());
        };
        let handle = std::thread::Builder::new().name(name.to_owned()).spawn(run);
        self.handles.push((name, handle.map_err(|error| StartError::Resources(name, error))?));
        Ok(())
    }

    /// Waits for all threads until the deadline. Logs those that are still busy, and leaves them behind.
    pub(super) fn join(self, deadline_ns: u64) {
        const GLANCE_NS: u64 = 20_000_000;
        while self.handles.iter().any(|(_, handle)| !handle.is_finished()) {
            let now_ns = clock::now().mono_ns;
            if now_ns >= deadline_ns {
                let late = self.handles.iter().filter(|(_, handle)| !handle.is_finished());
                let names: Vec<&str> = late.map(|(name, _)| *name).collect();
                warn!("stopping without these threads, which are still busy: {}", names.join(", "));
                return;
            }
            // Threads that were not spawned here do not report their end, so the wait is short.
            let wait_ns = GLANCE_NS.min(deadline_ns - now_ns);
            let _ = self.ended.1.recv_timeout(std::time::Duration::from_nanos(wait_ns));
        }
    }
}
