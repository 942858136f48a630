//! The model's world: the kernel, the agent's tables, the disk and the sink; what each step does to them, and what must
//! hold when all is at rest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use netmon::batch::{Note, Settled, Verdict};
use netmon::clock::{Now, SECOND};
use netmon::collect::freezer::{Freezer, Sender};
use netmon::collect::pipeline::Pipeline;
use netmon::config::Config;
use netmon::flow::{Addr, Reading, Traffic, TxRx};
use netmon::owner::PodIndex;
use netmon::owner::pods::{Pod, Tenure};
use netmon::source::Sweep;
use netmon::stats::Lost;

use crate::kept::{self, Disk, Heard};
use crate::kernel::{Entry, LOCAL, as_tx_rx, record, traffic};
use crate::sink::{Sends, Sink};
use crate::support;
use crate::unheard::Unheard;
use crate::{Mutant, Outcome, Step};

/// The kernel, the agent and the sink.
pub struct World {
    mutant: Mutant,
    /// Whether the queue of events has room for all; else what does not fit is lost.
    roomy: bool,
    config: Config,
    pipeline: Pipeline,
    freezer: Freezer,
    live: HashMap<u8, Entry>,
    /// Entries beside those, of the same keys: they lost a race and are in no dump.
    losers: Vec<(u8, Entry)>,
    events: Vec<(u8, Entry)>,
    next_id: u32,
    /// What the kernel carried since this agent's first sweep began, on connections that it may count.
    carried: Traffic,
    swept: bool,
    sink: Sink,
    sink_before: TxRx,
    /// Given up on DAKR's word, over all processes since the last start without state.
    dropped: TxRx,
    disk: Disk,
    heard: Heard,
    /// Connections whose end was told, or never will be.
    over: HashSet<u64>,
    /// Tuples and ids whose end was told since the last sweep began.
    buried: HashSet<(u8, u32)>,
    /// What has ended since the tables on the disk were written, by tuple; with what was heard of it where its end was
    /// lost, else with its final counters.
    ended: Vec<(u8, Entry)>,
    unheard: Unheard,
    /// Since the last start without state, ends were lost.
    lost: bool,
    restarted: bool,
    now: Now,
}

impl World {
    pub fn new(mutant: Mutant, roomy: bool) -> World {
        let mut config = support::standalone(&["-max-rows", "32"]);
        // In a cluster, where everything waits until its pod is named (rule 8).
        config.standalone = false;
        config.dakr = Some(support::dakr());
        let mut world = World {
            mutant,
            roomy,
            pipeline: Pipeline::new(&config, 64, 1),
            freezer: freezer(),
            config,
            live: HashMap::new(),
            losers: Vec::new(),
            events: Vec::new(),
            next_id: 1,
            carried: Traffic::ZERO,
            swept: false,
            sink: Sink::default(),
            sink_before: TxRx::ZERO,
            dropped: TxRx::ZERO,
            disk: Disk::default(),
            heard: Heard::new(),
            over: HashSet::new(),
            buried: HashSet::new(),
            ended: Vec::new(),
            unheard: Unheard::default(),
            lost: false,
            restarted: false,
            now: Now { mono_ns: SECOND, wall_ns: 1_790_000_000 * SECOND },
        };
        world.plain_sweep();
        world
    }

    pub fn step(&mut self, step: &Step) -> Result<(), String> {
        self.now.mono_ns += SECOND;
        self.now.wall_ns += SECOND;
        match step {
            Step::Traffic { tuple, bytes } => self.carry(*tuple % 24, *bytes),
            Step::End { tuple } => self.end(*tuple % 24),
            Step::Race { tuple, bytes } => self.race(*tuple % 24, *bytes),
            Step::EndLoser { tuple } => self.end_loser(*tuple % 24),
            Step::Sweep { voided, skip, twice, moved, lost } => self.sweep(*voided, *skip, *twice, moved, *lost),
            Step::Drain => self.drain(),
            Step::Lose { kept } => {
                let lost = self.lose(*kept);
                self.miss(&lost);
            }
            Step::Flush { outcomes } => self.flush(outcomes, None)?,
            Step::Named => self.name_the_pod(),
            Step::Cleanup => self.pipeline.cleanup(self.now, 0),
            Step::Crash => self.crash(),
            Step::Killed { sends, outcomes, after, moved } => {
                if let Some(sends) = sends {
                    self.flush(outcomes, Some(*sends))?;
                }
                self.killed(after, moved)?;
            }
        }
        let ledger = self.pipeline.ledger();
        if !ledger.is_balanced() {
            return Err(format!("the books do not balance: {ledger:?}"));
        }
        Ok(())
    }

    fn name_the_pod(&mut self) {
        let text = |text: &str| text.into();
        let (uid, namespace, name) = (text("u-1"), text("shop"), text("web-0"));
        let pod = Arc::new(Pod { uid, namespace, name, workload: None, host_network: false });
        let addr = Addr::from_v4(LOCAL);
        let tenure = Tenure { addr, from_ns: 1, until_ns: u64::MAX, ended_ns: u64::MAX, pod: Arc::clone(&pod) };
        self.pipeline.set_pods(Arc::new(PodIndex::new(vec![tenure], vec![pod], true, 1)), self.now);
    }

    fn carry(&mut self, tuple: u8, bytes: u16) {
        if !self.live.contains_key(&tuple) {
            let entry = self.begin(tuple);
            self.live.insert(tuple, entry);
        }
        let Some(entry) = self.live.get_mut(&tuple) else { return };
        if entry.traffic.is_zero() {
            self.unheard.began(tuple, entry.id);
        }
        entry.traffic += traffic(bytes);
        self.carried += traffic(bytes);
    }

    /// The kernel reuses ids: every third connection gets the id of another, but never of one that lives under its key.
    fn begin(&mut self, tuple: u8) -> Entry {
        loop {
            self.next_id += 1;
            let id = self.next_id / 3 + 1;
            let of_key = self.losers.iter().filter(|(other, _)| *other == tuple).map(|(_, entry)| entry.id);
            if !of_key.chain(self.live.get(&tuple).map(|entry| entry.id)).any(|used| used == id) {
                return Entry { id, serial: u64::from(self.next_id), traffic: Traffic::ZERO };
            }
        }
    }

    fn race(&mut self, tuple: u8, bytes: u16) {
        if self.live.contains_key(&tuple) {
            let loser = Entry { traffic: traffic(bytes), ..self.begin(tuple) };
            self.carried += loser.traffic;
            self.losers.push((tuple, loser));
        }
    }

    fn end_loser(&mut self, tuple: u8) {
        if let Some(at) = self.losers.iter().position(|(other, _)| *other == tuple) {
            let loser = self.losers.remove(at);
            self.events.push(loser);
            self.ended.push(loser);
        }
    }

    fn end(&mut self, tuple: u8) {
        if let Some(entry) = self.live.remove(&tuple) {
            self.events.push((tuple, entry));
            self.ended.push((tuple, entry));
        }
    }

    /// The world moves: traffic, or the end of a connection.
    fn moves(&mut self, moved: &[(u8, u16, bool)]) {
        for (tuple, bytes, ends) in moved {
            match ends {
                true => self.end(*tuple % 24),
                false => self.carry(*tuple % 24, *bytes),
            }
        }
    }

    /// The queue is full: what was queued last is lost.
    fn lose(&mut self, kept: u8) -> Vec<(u8, Entry)> {
        if self.roomy {
            return Vec::new();
        }
        self.events.split_off(usize::from(kept) % (self.events.len() + 1))
    }

    /// Ends were lost that the agent will never hear of.
    fn miss(&mut self, lost: &[(u8, Entry)]) {
        self.lost |= !lost.is_empty();
        for (n, &(tuple, entry)) in lost.iter().enumerate() {
            let known = self.heard.get(&entry.serial).copied().unwrap_or(Traffic::ZERO);
            let next = lost[n + 1..].iter().find(|(other, _)| *other == tuple).map(|(_, next)| next);
            let next = next.or(self.live.get(&tuple));
            self.unheard.ended(tuple, entry, known, next.map(|next| (next.id, self.is_followed(next))));
            self.over.insert(entry.serial);
            let of_it = self.ended.iter_mut().filter(|(_, ended)| ended.serial == entry.serial);
            of_it.for_each(|(_, ended)| ended.traffic = known);
        }
    }

    /// Whether a dump has shown it, so that the baseline of its key is its own.
    fn is_followed(&self, entry: &Entry) -> bool {
        self.heard.contains_key(&entry.serial) && !self.over.contains(&entry.serial)
    }

    fn drain(&mut self) {
        for (tuple, entry) in std::mem::take(&mut self.events) {
            let mut told = record(tuple, entry, Reading::Ended);
            if self.mutant == Mutant::OneEntryAKey {
                told.id = 0;
            }
            self.pipeline.hear(&told, self.now);
            self.heard.insert(entry.serial, entry.traffic);
            self.over.insert(entry.serial);
            self.buried.insert((tuple, entry.id));
        }
        self.pipeline.end_drain(self.now);
    }

    fn plain_sweep(&mut self) {
        self.sweep(false, 255, 255, &[], None);
    }

    fn sweep(&mut self, voided: bool, skip: u8, twice: u8, moved: &[(u8, u16, bool)], kept: Option<u8>) {
        self.pipeline.begin_sweep();
        self.buried.clear();
        let mut lost = Vec::new();
        let mut tuples: Vec<u8> = self.live.keys().copied().collect();
        tuples.sort_unstable();
        let half = tuples.len() / 2;
        for (number, chunk) in [&tuples[..half], &tuples[half..]].into_iter().enumerate() {
            // The kernel fills the chunk; then the world moves on, and ends that it tells are queued.
            let filled: Vec<(u8, Entry)> = chunk.iter().filter_map(|t| Some((*t, *self.live.get(t)?))).collect();
            if number == 0 {
                self.moves(moved);
                lost = kept.map_or_else(Vec::new, |kept| self.lose(kept));
            }
            if self.mutant != Mutant::EventsAfterChunk {
                self.drain();
            }
            // Of the first chunk no record was given yet, so that nothing else is forgotten.
            if self.mutant == Mutant::ForgetTombstones && number == 0 {
                self.pipeline.end_sweep(&Sweep { complete: false, ..Sweep::default() }, self.now);
                self.pipeline.begin_sweep();
            }
            for (tuple, entry) in filled {
                if voided && tuple % 5 == skip % 5 {
                    continue;
                }
                let repeats = if voided && tuple % 5 == twice % 5 { 2 } else { 1 };
                // After an end in this sweep its key and id count as stale, and the next sweep's count.
                if !self.buried.contains(&(tuple, entry.id)) {
                    self.heard.insert(entry.serial, entry.traffic);
                    self.unheard.shown(tuple);
                }
                for _ in 0..repeats {
                    self.pipeline.record(&record(tuple, entry, Reading::Live), self.now);
                }
            }
            if self.mutant == Mutant::EventsAfterChunk {
                self.drain();
            }
        }
        self.miss(&lost);
        let complete = !voided || self.mutant == Mutant::BelieveVoidedDumps;
        self.pipeline.end_sweep(&Sweep { complete, ..Sweep::default() }, self.now);
        if complete {
            self.unheard.swept();
        }
        self.swept |= complete;
    }

    /// Sends the window as one batch, as the push does. The process may be killed after so many sends, before it has
    /// noted what became of the last.
    fn flush(&mut self, outcomes: &[Outcome], killed_after: Option<u8>) -> Result<(), String> {
        let frozen = self.freezer.freeze(&mut self.pipeline, 5, self.now);
        let behind = self.mutant == Mutant::SendBeforeWriting && !self.disk.is_empty();
        if !behind {
            self.disk.write(&self.pipeline, &self.freezer, frozen.as_ref(), &self.heard);
            self.unheard.written();
            // Of what had ended and been heard, nothing can be missing any more.
            let over = &self.over;
            self.ended.retain(|(_, entry)| !over.contains(&entry.serial));
        }
        let Some(batch) = frozen else { return Ok(()) };
        let (mut delivery, mut sends) = (kept::delivery(), Sends::new(self.mutant, outcomes));
        let (mut now_ns, mut sent, mut settled) = (1, 0, Vec::new());
        delivery.accept(batch, &mut settled).map_err(|_| "nothing is on its way")?;
        loop {
            settled.drain(..).for_each(|news| self.settle(news));
            if delivery.is_idle() {
                return Ok(());
            }
            // It may have been halved for this send.
            let _ = delivery.next(now_ns).map(drop);
            self.note(behind, delivery.take_notes());
            match delivery.next(now_ns) {
                Ok(due) => {
                    let (index, end) = (due.index, sends.send(&mut self.sink, due.name, due.body));
                    sent += 1;
                    if killed_after.is_some_and(|most| sent > most) {
                        return Ok(());
                    }
                    delivery.ended(index, &end, now_ns, &mut settled);
                    self.note(behind, delivery.take_notes());
                }
                Err(again_ns) => now_ns = again_ns,
            }
        }
    }

    /// What the push says is done.
    fn settle(&mut self, news: Settled) {
        match news {
            Settled::Items { first_item, items, verdict, .. } => {
                let verdict = match (self.mutant, verdict) {
                    (Mutant::DropMerged, Verdict::Merge) => Verdict::Acknowledged,
                    (_, verdict) => verdict,
                };
                let (rows, ledger, _) = self.pipeline.books();
                let settled = rows.settle(first_item, items, verdict, ledger);
                if matches!(verdict, Verdict::Drop(_)) {
                    self.dropped += settled;
                }
            }
            Settled::Batch(batch) => self.freezer.put_back(batch),
            _ => {}
        }
    }

    fn note(&mut self, behind: bool, notes: Vec<Note>) {
        let forgotten = |note: &Note| matches!(note, Note::Ended(_, verdict) if *verdict != Verdict::Acknowledged);
        for note in notes {
            if !behind && (self.mutant != Mutant::ForgetRefusals || !forgotten(&note)) {
                self.disk.note(&note);
            }
        }
    }

    fn crash(&mut self) {
        self.sink_before = self.sink.sum();
        self.pipeline = Pipeline::new(&self.config, 64, 1);
        // A process that starts later has a later boot: its items never repeat those of the one before.
        self.freezer = freezer();
        self.events.clear();
        // Without a state nothing tells what they carried before.
        self.losers.clear();
        self.carried = Traffic::ZERO;
        (self.dropped, self.lost, self.restarted) = (TxRx::ZERO, false, false);
        self.disk = Disk::default();
        self.unheard = Unheard::default();
        self.heard.clear();
        self.ended.clear();
        self.plain_sweep();
    }

    /// Without a word, then from the state file.
    fn killed(&mut self, outcomes: &[Outcome], moved: &[(u8, u16, bool)]) -> Result<(), String> {
        if self.disk.is_empty() {
            self.crash();
            return Ok(());
        }
        self.moves(moved);
        // Nobody hears of these ends.
        self.events.clear();
        self.unheard.killed(&self.live);
        for (tuple, entry) in std::mem::take(&mut self.ended) {
            let written = self.disk.heard.get(&entry.serial).copied().unwrap_or(Traffic::ZERO);
            self.unheard.ended(tuple, entry, written, self.live.get(&tuple).map(|next| (next.id, false)));
        }
        self.unheard.written();
        self.pipeline = Pipeline::new(&self.config, 64, 1);
        self.freezer = freezer();
        let (mut sends, sink) = (Sends::new(self.mutant, outcomes), &mut self.sink);
        let send = |name: &str, body: &[u8]| sends.send_in_doubt(sink, name, body);
        self.disk.restart(&mut self.pipeline, &mut self.freezer, send)?;
        self.restarted = true;
        self.heard.clone_from(&self.disk.heard);
        self.plain_sweep();
        Ok(())
    }

    /// Brings everything to rest and holds it against what the kernel carried.
    pub fn check_at_rest(&mut self) -> Result<(), String> {
        self.name_the_pod();
        self.plain_sweep();
        for (tuple, _) in self.losers.clone() {
            self.end_loser(tuple);
        }
        self.drain();
        self.plain_sweep();
        self.flush(&[], None)?;
        let ledger = *self.pipeline.ledger();
        let carried = as_tx_rx(self.carried);
        if self.restarted {
            return self.check_with_gaps(carried);
        }
        let sunk = self.sink.sum() - self.sink_before;
        if ledger.acknowledged != sunk {
            return Err(format!("acknowledged {:?}, the sink took {sunk:?}", ledger.acknowledged));
        }
        let lost = ledger.lost[Lost::Refused as usize];
        if ledger.acknowledged + lost != ledger.counted {
            return Err(format!("at rest something is neither delivered nor named: {ledger:?}"));
        }
        if self.lost {
            return self.check_with_gaps(carried);
        }
        if ledger.counted != carried {
            return Err(format!("counted {:?}, the kernel carried {carried:?}", ledger.counted));
        }
        Ok(())
    }

    /// Where ends went unheard: the sink's own sum, over all processes that went on from each other.
    fn check_with_gaps(&self, carried: TxRx) -> Result<(), String> {
        let accounted = self.sink.sum() - self.sink_before + self.dropped;
        // Differences saturate, so a zero says "at most".
        if !(accounted - carried).is_zero() {
            return Err(format!("counted twice: {accounted:?} of {carried:?}"));
        }
        let missing = carried - accounted;
        let may_miss = self.unheard.may_miss();
        if !(missing - may_miss).is_zero() {
            return Err(format!("{missing:?} is missing, and only {may_miss:?} may be"));
        }
        Ok(())
    }
}

fn freezer() -> Freezer {
    Freezer::new(Sender { node_name: "model".into(), cluster_id: String::new() })
}
