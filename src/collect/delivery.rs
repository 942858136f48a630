//! The collector's end of the way to the push: at most one batch is out, and what comes back is settled in the rows.

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};

use super::freezer::Freezer;
use super::pipeline::Pipeline;
use crate::batch::{Batch, Settled, Verdict};
use crate::clock::{self, Now};
use crate::export::dakr::push::PushHandle;
use crate::flow::TxRx;
use crate::stats::Lost;

/// The channels, and whether a batch is out.
pub struct Delivery {
    batches: Option<Sender<Batch>>,
    settled: Receiver<Settled>,
    handle: PushHandle,
    out: bool,
    /// Something came back to be sent again, before the next flush if the push allows it.
    merged: bool,
    /// DAKR asked for a full pass now.
    collect_now: bool,
}

impl Delivery {
    /// `batches` holds one; `settled` is written by the push.
    pub fn new(batches: Sender<Batch>, settled: Receiver<Settled>, handle: PushHandle) -> Delivery {
        Delivery { batches: Some(batches), settled, handle, out: false, merged: false, collect_now: false }
    }

    /// Whether a window may be frozen: the batch before is settled, and the push would send it now.
    pub fn is_open(&self, now: Now) -> bool {
        !self.out && now.mono_ns >= self.handle.pace().gate_ns()
    }

    /// When what came back may be sent again, monotonic; `u64::MAX` where nothing did or a batch is out.
    pub fn again_ns(&self) -> u64 {
        if self.merged && !self.out { self.handle.pace().gate_ns() } else { u64::MAX }
    }

    /// Whether DAKR asked for a full pass since the last call.
    pub fn take_collect_now(&mut self) -> bool {
        std::mem::take(&mut self.collect_now)
    }

    /// Freezes the open window and hands it over.
    pub fn flush(&mut self, freezer: &mut Freezer, pipeline: &mut Pipeline, now: Now) {
        self.merged = false;
        let max_items = self.handle.pace().max_items();
        let Some(batch) = freezer.freeze(pipeline, max_items, now) else { return };
        let Some(batches) = &self.batches else { return };
        // The channel holds one and none is out, so this does not block; a push that is gone settles nothing, and
        // what is frozen then is named when the agent ends.
        self.out = batches.send(batch).is_ok();
    }

    /// Settles what has come back.
    pub fn settle(&mut self, freezer: &mut Freezer, pipeline: &mut Pipeline) {
        loop {
            match self.settled.try_recv() {
                Ok(settled) => self.take(settled, freezer, pipeline),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, settled: Settled, freezer: &mut Freezer, pipeline: &mut Pipeline) {
        match settled {
            Settled::Items { first_item, items, verdict, .. } => {
                let (rows, ledger, _) = pipeline.books();
                rows.settle(first_item, items, verdict, ledger);
                self.merged |= matches!(verdict, Verdict::Merge | Verdict::MergeAmbiguous);
            }
            Settled::Lookups { first, count, verdict } => {
                freezer.settle_lookups(pipeline, first, count, verdict);
                self.merged |= matches!(verdict, Verdict::Merge | Verdict::MergeAmbiguous);
            }
            Settled::Batch(batch) => {
                self.out = false;
                freezer.put_back(batch);
                freezer.settle_lookups(pipeline, 0, u32::MAX, Verdict::Merge);
            }
            Settled::CollectNow => self.collect_now = true,
        }
    }

    /// The end: one resend of what is out, then what is open is sent once. Returns what is left and lost with it.
    pub fn finish(mut self, freezer: &mut Freezer, pipeline: &mut Pipeline, deadline_ns: u64) -> TxRx {
        self.handle.stop(clock::now(), deadline_ns);
        self.wait_for_batch(freezer, pipeline, deadline_ns);
        if !self.out {
            self.flush(freezer, pipeline, clock::now());
            self.wait_for_batch(freezer, pipeline, deadline_ns);
        }
        self.batches = None;
        freezer.settle_lookups(pipeline, 0, u32::MAX, Verdict::Drop(Lost::ShutdownAmbiguous));
        let (rows, ledger, _) = pipeline.books();
        // Still frozen: the push did not answer in time, so nobody knows.
        let unknown = rows.settle(0, u32::MAX, Verdict::Drop(Lost::ShutdownAmbiguous), ledger);
        unknown + rows.abandon_open(Lost::Shutdown, ledger)
    }

    fn wait_for_batch(&mut self, freezer: &mut Freezer, pipeline: &mut Pipeline, deadline_ns: u64) {
        while self.out {
            let left_ns = deadline_ns.saturating_sub(clock::now().mono_ns);
            match self.settled.recv_timeout(std::time::Duration::from_nanos(left_ns)) {
                Ok(settled) => self.take(settled, freezer, pipeline),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
