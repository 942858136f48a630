//! The state file in the model: what is on the disk, and what may be missing once a process has gone on from it.

use std::collections::HashMap;

use netmon::batch::{Batch, Note, Settled};
use netmon::clock::Now;
use netmon::collect::freezer::Freezer;
use netmon::collect::persist;
use netmon::collect::pipeline::Pipeline;
use netmon::config::DakrProtocol;
use netmon::export::dakr::jitter::Jitter;
use netmon::export::dakr::outcome::SendEnd;
use netmon::export::dakr::retry::Delivery;
use netmon::flow::Traffic;
use netmon::state::bytes::In;
use netmon::state::{self, Place};

use crate::support::silent::Silent;

/// What the kernel said last of each connection, by its serial number.
pub type Heard = HashMap<u64, Traffic>;

/// The disk.
#[derive(Default)]
pub struct Disk {
    file: Vec<u8>,
    /// What had been heard when the tables on it were written.
    pub heard: Heard,
}

fn place() -> Place {
    Place { boot_id: "model".into(), netns: 1 }
}

/// Nothing on its way.
pub fn delivery() -> Delivery {
    Delivery::new(DakrProtocol::Connect, 1, Jitter::new(1))
}

impl Disk {
    /// What is done before the first byte of a batch is sent, and when there is none.
    pub fn write(&mut self, pipeline: &Pipeline, freezer: &Freezer, batch: Option<&Batch>, heard: &Heard) {
        let tables = persist::tables(&Silent, pipeline, freezer);
        let mut delivery = delivery();
        if let Some(batch) = batch {
            delivery.accept(batch.clone(), &mut Vec::new()).expect("nothing is on its way");
        }
        self.file = state::encode(&place(), "node/model", tables, |out| delivery.persist(out)).concat();
        self.heard.clone_from(heard);
    }

    /// What is appended once a message is halved or settled.
    pub fn note(&mut self, note: &Note) {
        self.file.extend_from_slice(&state::encode_note(note));
    }

    /// Whether there is a file.
    pub fn is_empty(&self) -> bool {
        self.file.is_empty()
    }

    /// A process starts and goes on from the file; `send` gets every message that it sends anew, and says to what end.
    pub fn restart(
        &self,
        pipeline: &mut Pipeline,
        freezer: &mut Freezer,
        mut send: impl FnMut(&str, &[u8]) -> SendEnd,
    ) -> Result<(), String> {
        let state = state::decode(&self.file, &place()).map_err(|unfit| unfit.to_string())?;
        let why = |what: &'static str| move |_| what.to_owned();
        persist::restore(&state.tables, None, Now { mono_ns: u64::MAX, wall_ns: 0 }, &mut Silent, pipeline, freezer)
            .map_err(why("they are malformed"))?;
        let mut delivery = delivery();
        let resumed = delivery.resume(&mut In(&state.batch), state.notes, true, 1);
        let (rows, ledger, _) = pipeline.books();
        for (first_item, items, verdict) in resumed.map_err(why("the batch is malformed"))? {
            rows.settle(first_item, items, verdict, ledger);
        }
        let (mut now_ns, mut settled) = (2, Vec::new());
        while !delivery.is_idle() {
            match delivery.next(now_ns) {
                Ok(due) => {
                    let (index, end) = (due.index, send(due.name, due.body));
                    delivery.ended(index, &end, now_ns, &mut settled);
                }
                Err(again_ns) => now_ns = again_ns,
            }
            for news in settled.drain(..) {
                if let Settled::Items { first_item, items, verdict, .. } = news {
                    rows.settle(first_item, items, verdict, ledger);
                }
            }
        }
        if ledger.frozen.is_zero() { Ok(()) } else { Err("something stays frozen for ever".to_owned()) }
    }
}
