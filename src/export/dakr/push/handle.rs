//! What the push and whoever freezes batches show each other without a message: the pace, and the order to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};

use crossbeam_channel::Sender;

use super::{LAST_SEND_TIMEOUT_NS, MAX_ITEMS, STOP_MARGIN_NS};
use crate::clock::Now;
use crate::net::flight::Flight;

/// What the thread tells without being asked, for whoever freezes batches.
#[derive(Debug)]
pub struct SendLimits {
    max_items: AtomicU32,
    gate_ns: AtomicU64,
}

impl Default for SendLimits {
    fn default() -> SendLimits {
        SendLimits { max_items: AtomicU32::new(MAX_ITEMS), gate_ns: AtomicU64::new(0) }
    }
}

impl SendLimits {
    pub(super) fn set(&self, max_items: u32, gate_ns: u64) {
        self.gate_ns.store(gate_ns, SeqCst);
        self.max_items.store(max_items, SeqCst);
    }

    /// How many items a message may hold in the framing in use.
    pub fn max_items(&self) -> u32 {
        self.max_items.load(SeqCst)
    }

    /// Nothing is sent before this moment of the monotonic clock. Until then rows are better left open than frozen.
    /// From then on a batch that was merged back may be frozen anew, before the next flush.
    pub fn gate_ns(&self) -> u64 {
        self.gate_ns.load(SeqCst)
    }
}

/// The thread is to stop by then, on the monotonic clock.
pub(super) struct StopBy(pub(super) u64);

/// Stops the thread.
pub struct PushHandle {
    pub(super) orders: Sender<StopBy>,
    pub(super) flight: Arc<Flight>,
    pub(super) signs: Arc<Signs>,
    pub(super) pace: Arc<SendLimits>,
}

/// What the thread and its handle show each other.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// What is in flight is a heartbeat, for which no stop waits.
    pub(super) beating: AtomicBool,
    /// The agent stops.
    pub(super) stopping: AtomicBool,
}

impl PushHandle {
    /// Of a thread that has ended.
    #[cfg(test)]
    pub fn of_nobody() -> PushHandle {
        let (orders, _) = crossbeam_channel::unbounded();
        PushHandle { orders, flight: Flight::new(), signs: Arc::default(), pace: Arc::default() }
    }

    /// See the module's documentation. `deadline_ns` is on the monotonic clock; the thread is done a little earlier.
    pub fn stop(&self, now: Now, deadline_ns: u64) {
        let deadline_ns = deadline_ns.saturating_sub(STOP_MARGIN_NS);
        // Either we see the heartbeat, or it sees us.
        self.signs.stopping.store(true, SeqCst);
        let limit_ns = match self.signs.beating.load(SeqCst) {
            true => now.mono_ns,
            false => deadline_ns.min(now.mono_ns.saturating_add(LAST_SEND_TIMEOUT_NS)),
        };
        self.flight.set_ceiling(limit_ns);
        let _ = self.orders.send(StopBy(deadline_ns));
    }

    /// What the thread tells about its pace.
    pub fn pace(&self) -> Arc<SendLimits> {
        self.pace.clone()
    }
}
