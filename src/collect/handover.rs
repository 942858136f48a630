//! The collector's side of the channel to the push: sends one batch at a time, and settles the verdicts in the rows.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, SendError, Sender, TryRecvError};
use log::{info, warn};

use super::freezer::Freezer;
use super::persist;
use super::pipeline::Pipeline;
use crate::batch::{Parcel, Settled, Verdict};
use crate::clock::{self, Now};
use crate::export::dakr::push::PushHandle;
use crate::flow::TxRx;
use crate::source::Source;
use crate::stats::Lost;

/// The channels, and the states of what was sent through them.
pub struct Handover {
    parcels: Option<Sender<Parcel>>,
    settled: Receiver<Settled>,
    handle: PushHandle,
    batch: Batch,
    state_file: StateFile,
    /// Items were returned to be sent again, before the next flush if the push allows it.
    merged: bool,
    /// DAKR asked for a full pass now.
    collect_now: bool,
}

/// State of the last batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Batch {
    /// Every item is settled, or there was no batch.
    Settled,
    /// The push has it.
    Out,
    /// The push has stopped; the unsettled rest belongs in the state file.
    Left,
    /// The push ended without a report about it.
    Gone,
}

/// State of the last tables that were sent without a batch, for the state file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StateFile {
    /// There is no state file.
    None,
    /// The push has not answered yet.
    Awaited,
    /// They are in the file.
    Written,
    /// They are not in the file, or none were sent yet.
    Behind,
}

impl Handover {
    /// `parcels` has room for two: a batch and the tables. `out`: the push continues a batch of the previous process,
    /// whose items are frozen in the rows. `persists`: there is a state file.
    pub fn new(
        parcels: Sender<Parcel>,
        settled: Receiver<Settled>,
        handle: PushHandle,
        out: bool,
        persists: bool,
    ) -> Handover {
        Handover {
            parcels: Some(parcels),
            settled,
            handle,
            batch: if out { Batch::Out } else { Batch::Settled },
            state_file: if persists { StateFile::Behind } else { StateFile::None },
            merged: false,
            collect_now: false,
        }
    }

    fn has_state_file(&self) -> bool {
        self.state_file != StateFile::None
    }

    /// Whether a window may be frozen: the last batch is settled, and the push would send the next one now.
    pub fn is_open(&self, now: Now) -> bool {
        self.batch == Batch::Settled && now.mono_ns >= self.handle.pace().gate_ns()
    }

    /// When merged items may be sent again, monotonic; `u64::MAX` if there are none or a batch is out.
    pub fn again_ns(&self) -> u64 {
        if self.merged && self.batch == Batch::Settled { self.handle.pace().gate_ns() } else { u64::MAX }
    }

    /// Whether DAKR asked for a full pass since the last call.
    pub fn take_collect_now(&mut self) -> bool {
        std::mem::take(&mut self.collect_now)
    }

    /// Whether unsettled items outlive the process in a state file.
    pub fn persists(&self) -> bool {
        matches!(self.state_file, StateFile::Awaited | StateFile::Written)
    }

    /// Freezes the open window and sends it to the push.
    pub fn flush(&mut self, source: &dyn Source, freezer: &mut Freezer, pipeline: &mut Pipeline, now: Now) {
        self.merged = false;
        let max_items = self.handle.pace().max_items();
        let Some(batch) = freezer.freeze(pipeline, max_items, now) else {
            return self.checkpoint(source, freezer, pipeline);
        };
        let Some(parcels) = &self.parcels else { return };
        let tables = self.has_state_file().then(|| persist::tables(source, pipeline, freezer));
        // Does not block: the channel has room for two, no batch is out, and at most one set of tables is queued.
        match parcels.send(Parcel::Batch(batch, tables)) {
            Ok(()) => self.batch = Batch::Out,
            // The push has ended, so nothing of the batch was sent.
            Err(SendError(parcel)) => {
                unfreeze(freezer, pipeline);
                if let Parcel::Batch(batch, _) = parcel {
                    freezer.put_back(batch);
                }
            }
        }
    }

    /// Sends the tables for the state file, so that the file stays current while nothing can be frozen. Does nothing
    /// while the push has not answered for the previous tables.
    pub fn checkpoint(&mut self, source: &dyn Source, freezer: &Freezer, pipeline: &Pipeline) {
        let Some(parcels) = &self.parcels else { return };
        if matches!(self.state_file, StateFile::Written | StateFile::Behind)
            && parcels.try_send(Parcel::Tables(persist::tables(source, pipeline, freezer))).is_ok()
        {
            self.state_file = StateFile::Awaited;
        }
    }

    /// Settles the verdicts that have arrived.
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
                self.batch = Batch::Settled;
                freezer.put_back(batch);
                freezer.settle_lookups(pipeline, 0, u32::MAX, Verdict::Merge);
            }
            Settled::CollectNow => self.collect_now = true,
            Settled::Left => self.batch = Batch::Left,
            Settled::Persisted(true) => self.state_file = StateFile::Written,
            Settled::Persisted(false) => self.state_file = StateFile::Behind,
        }
    }

    /// Ends the agent's delivery: resends the batch that is out, then sends the open window once. The rest stays in the
    /// state file. Without one, or if it cannot be written, the rest is settled as lost and logged.
    pub fn finish(mut self, source: &dyn Source, freezer: &mut Freezer, pipeline: &mut Pipeline, deadline_ns: u64) {
        self.handle.stop(clock::now(), deadline_ns);
        self.wait(freezer, pipeline, deadline_ns, |handover| handover.batch != Batch::Out);
        if self.batch == Batch::Settled {
            self.flush(source, freezer, pipeline, clock::now());
            self.wait(freezer, pipeline, deadline_ns, |handover| handover.batch != Batch::Out);
        }
        if self.has_state_file() && matches!(self.batch, Batch::Settled | Batch::Left) {
            self.wait(freezer, pipeline, deadline_ns, |handover| handover.state_file != StateFile::Awaited);
            if self.state_file == StateFile::Written {
                // What is in the file is of before; the push may have ended since.
                self.state_file = StateFile::Behind;
            }
            self.checkpoint(source, freezer, pipeline);
            self.wait(freezer, pipeline, deadline_ns, |handover| handover.state_file != StateFile::Awaited);
            if self.state_file == StateFile::Written {
                let ledger = pipeline.ledger();
                let persisted = (ledger.open + ledger.frozen + ledger.waiting).total_bytes();
                return info!("the state file holds {persisted} bytes that DAKR has not acknowledged yet");
            }
        }
        self.parcels = None;
        if self.has_state_file() {
            settle_waiting(pipeline);
        }
        if self.batch == Batch::Gone {
            // The push reports on every batch that it takes, so it did not take this one.
            unfreeze(freezer, pipeline);
        }
        freezer.settle_lookups(pipeline, 0, u32::MAX, Verdict::Drop(Lost::ShutdownAmbiguous));
        let (rows, ledger, _) = pipeline.books();
        // Still frozen: the push did not answer in time, so DAKR may have counted them.
        rows.settle(0, u32::MAX, Verdict::Drop(Lost::ShutdownAmbiguous), ledger);
        rows.abandon_open(Lost::Shutdown, ledger);
        // Read from the ledger, because the push settled a part already.
        let lost = |reason: Lost| ledger.lost[reason as usize].total_bytes();
        let (unknown, unsent) = (lost(Lost::ShutdownAmbiguous), lost(Lost::Shutdown));
        if unknown + unsent > 0 {
            warn!(
                "{} bytes are lost at shutdown (netmon_lost_bytes_total): {unknown} were sent without an answer \
                 (shutdown_ambiguous), {unsent} were not sent (shutdown)",
                unknown + unsent
            );
        }
    }

    fn wait(
        &mut self,
        freezer: &mut Freezer,
        pipeline: &mut Pipeline,
        deadline_ns: u64,
        done: impl Fn(&Handover) -> bool,
    ) {
        while !done(self) {
            let left_ns = deadline_ns.saturating_sub(clock::now().mono_ns);
            match self.settled.recv_timeout(Duration::from_nanos(left_ns)) {
                Ok(settled) => self.take(settled, freezer, pipeline),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => {
                    if self.batch == Batch::Out {
                        self.batch = Batch::Gone;
                    }
                    return;
                }
            }
        }
    }
}

/// Returns frozen items, which were not sent, to the open window.
fn unfreeze(freezer: &mut Freezer, pipeline: &mut Pipeline) {
    freezer.settle_lookups(pipeline, 0, u32::MAX, Verdict::Merge);
    let (rows, ledger, _) = pipeline.books();
    rows.settle(0, u32::MAX, Verdict::Merge, ledger);
}

/// At an end without a state file: settles waiting rows by what is known now, and logs the bytes that have no owner.
pub fn settle_waiting(pipeline: &mut Pipeline) {
    let nobodys = |pipeline: &Pipeline| pipeline.ledger().unattributed.iter().map(TxRx::total_bytes).sum::<u64>();
    let before = nobodys(pipeline);
    pipeline.settle_all(clock::now());
    let waited = nobodys(pipeline) - before;
    if waited > 0 {
        warn!("{waited} bytes belong to no known pod (netmon_unattributed_bytes_total)");
    }
}

#[cfg(test)]
mod tests;
