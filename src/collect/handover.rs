//! The collector's side of the channel to the push: it sends one batch at a time, and settles the verdicts in the rows.

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

/// The channels, and whether a batch is out.
pub struct Handover {
    parcels: Option<Sender<Parcel>>,
    settled: Receiver<Settled>,
    handle: PushHandle,
    out: bool,
    /// There is a state file: what is handed over comes with an tables.
    persists: bool,
    /// The push stops and keeps what is left of the batch in the state file.
    left: bool,
    /// The push has ended.
    gone: bool,
    /// Images handed over of which the push has not said what became of them.
    unheard: u32,
    /// Whether the last of the others is in the state file.
    persisted: bool,
    /// Items were returned to be sent again, before the next flush if the push allows it.
    merged: bool,
    /// DAKR asked for a full pass now.
    collect_now: bool,
}

impl Handover {
    /// `parcels` holds two, a batch and the tables; `settled` is written by the push. `out`: the push goes on with a
    /// batch of the process before, whose items stand frozen in the rows. `keeps`: there is a state file.
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
            out,
            persists,
            left: false,
            gone: false,
            unheard: 0,
            persisted: false,
            merged: false,
            collect_now: false,
        }
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

    /// Whether what is left at the end stays in a state file.
    pub fn persists(&self) -> bool {
        self.persists && (self.persisted || self.unheard > 0)
    }

    /// Freezes the open window and hands it over.
    pub fn flush(&mut self, source: &dyn Source, freezer: &mut Freezer, pipeline: &mut Pipeline, now: Now) {
        self.merged = false;
        let max_items = self.handle.pace().max_items();
        let Some(batch) = freezer.freeze(pipeline, max_items, now) else {
            return self.checkpoint(source, freezer, pipeline);
        };
        let Some(parcels) = &self.parcels else { return };
        let tables = self.persists.then(|| persist::tables(source, pipeline, freezer));
        // The channel holds two, none is out and tables come singly, so this does not block.
        match parcels.send(Parcel::Batch(batch, tables)) {
            Ok(()) => self.out = true,
            // The push is gone: nobody has sent any of it.
            Err(SendError(parcel)) => {
                unfreeze(freezer, pipeline);
                if let Parcel::Batch(batch, _) = parcel {
                    freezer.put_back(batch);
                }
            }
        }
    }

    /// Hands the tables over for the state file, so that it does not fall behind while nothing can be frozen. Not while
    /// the push has yet to take what was handed over before.
    pub fn checkpoint(&mut self, source: &dyn Source, freezer: &Freezer, pipeline: &Pipeline) {
        if let Some(parcels) = self.parcels.as_ref().filter(|_| self.persists && self.unheard == 0) {
            let sent = parcels.try_send(Parcel::Tables(persist::tables(source, pipeline, freezer)));
            self.unheard += u32::from(sent.is_ok());
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
                self.out = false;
                freezer.put_back(batch);
                freezer.settle_lookups(pipeline, 0, u32::MAX, Verdict::Merge);
            }
            Settled::CollectNow => self.collect_now = true,
            Settled::Left => self.left = true,
            Settled::Persisted(persisted) => {
                self.unheard = self.unheard.saturating_sub(1);
                self.persisted = persisted;
            }
        }
    }

    /// The end: one resend of what is out, then what is open is sent once. What is left stays in the state file; where
    /// there is none, or it cannot be written, what is left is settled and named.
    pub fn finish(mut self, source: &dyn Source, freezer: &mut Freezer, pipeline: &mut Pipeline, deadline_ns: u64) {
        self.handle.stop(clock::now(), deadline_ns);
        self.wait(freezer, pipeline, deadline_ns, |handover| !handover.out || handover.left);
        if !self.out {
            self.flush(source, freezer, pipeline, clock::now());
            self.wait(freezer, pipeline, deadline_ns, |handover| !handover.out || handover.left);
        }
        if self.persists && (!self.out || self.left) {
            self.wait(freezer, pipeline, deadline_ns, |handover| handover.unheard == 0);
            self.checkpoint(source, freezer, pipeline);
            self.wait(freezer, pipeline, deadline_ns, |handover| handover.unheard == 0);
            if self.unheard == 0 && self.persisted {
                let ledger = pipeline.ledger();
                let persisted = (ledger.open + ledger.frozen + ledger.waiting).total_bytes();
                return info!("the state file holds {persisted} bytes that DAKR has not acknowledged yet");
            }
        }
        self.parcels = None;
        if self.persists {
            settle_waiting(pipeline);
        }
        if self.gone && !self.left {
            // It always says what became of a batch that it took, so it did not take this one.
            unfreeze(freezer, pipeline);
        }
        freezer.settle_lookups(pipeline, 0, u32::MAX, Verdict::Drop(Lost::ShutdownAmbiguous));
        let (rows, ledger, _) = pipeline.books();
        // Still frozen: the push did not answer in time, so nobody knows.
        rows.settle(0, u32::MAX, Verdict::Drop(Lost::ShutdownAmbiguous), ledger);
        rows.abandon_open(Lost::Shutdown, ledger);
        // From the books, for the push settled a part of it.
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
                    self.gone = true;
                    return;
                }
            }
        }
    }
}

/// What is frozen was not sent: it goes back.
fn unfreeze(freezer: &mut Freezer, pipeline: &mut Pipeline) {
    freezer.settle_lookups(pipeline, 0, u32::MAX, Verdict::Merge);
    let (rows, ledger, _) = pipeline.books();
    rows.settle(0, u32::MAX, Verdict::Merge, ledger);
}

/// At the end, where nothing outlives it: settles what waits for its pod by what is known now, and names what is
/// nobody's.
pub fn settle_waiting(pipeline: &mut Pipeline) {
    let nobodys = |pipeline: &Pipeline| pipeline.ledger().unattributed.iter().map(TxRx::total_bytes).sum::<u64>();
    let before = nobodys(pipeline);
    pipeline.settle_all(clock::now());
    let waited = nobodys(pipeline) - before;
    if waited > 0 {
        warn!("{waited} bytes belong to no known pod (netmon_unattributed_bytes_total)");
    }
}
