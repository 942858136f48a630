//! The model's world: the kernel, the agent's tables, the disk and the sink; what each step does to them, and what must
//! hold when all is at rest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use netmon::batch::Verdict;
use netmon::clock::{Now, SECOND};
use netmon::collect::freezer::{Freezer, Sender};
use netmon::collect::pipeline::Pipeline;
use netmon::config::Config;
use netmon::flow::{Addr, Connection, ConnectionKey, Counts, Ends, Reading, Traffic, TxRx};
use netmon::owner::PodIndex;
use netmon::owner::pods::{Pod, Tenure};
use netmon::source::Sweep;
use netmon::stats::Lost;

use crate::kept::{Disk, Heard};
use crate::support::{self, schema};
use crate::{Mutant, Outcome, Step};

#[derive(Clone, Copy)]
struct Entry {
    id: u32,
    /// Never the same twice; the kernel has no such thing.
    serial: u64,
    traffic: Traffic,
}

/// The kernel, the agent and the sink.
pub struct World {
    mutant: Mutant,
    config: Config,
    pipeline: Pipeline,
    freezer: Freezer,
    live: HashMap<u8, Entry>,
    events: Vec<(u8, Entry)>,
    next_id: u32,
    /// What the kernel carried since this agent's first sweep began, on connections that it may count.
    carried: Traffic,
    /// Connections that were there before the agent, at what they had carried.
    before_us: HashMap<u8, (u32, Traffic)>,
    swept: bool,
    /// Items that the sink took, by their bytes: a repeat is the same item.
    sink: HashMap<Vec<u8>, TxRx>,
    /// What a sink that takes everything twice would have.
    greedy: TxRx,
    sink_before: TxRx,
    /// Given up on DAKR's word, over all processes since the last start without state.
    dropped: TxRx,
    disk: Disk,
    heard: Heard,
    /// Connections whose end was told.
    told: HashSet<u64>,
    /// Tuples whose end was told since the last sweep began.
    buried: HashSet<u8>,
    /// Final counters of what has ended since the tables on the disk were written, by tuple.
    ended: Vec<(u8, u64, Traffic)>,
    /// What rule 14 allows to be missing.
    may_miss: TxRx,
    /// Baselines whose end nobody heard of.
    ghosts: HashMap<u8, Traffic>,
    restarted: bool,
    now: Now,
}

const LOCAL: [u8; 4] = [10, 244, 1, 9];

fn key(tuple: u8) -> ConnectionKey {
    ConnectionKey {
        src: Addr::from_v4(LOCAL),
        dst: Addr::from_v4([198, 51, tuple % 7, tuple]),
        sport: 1_000 + u16::from(tuple),
        dport: 443,
        zone: 0,
        protocol: 6,
        family: 4,
        realm: 0,
    }
}

fn record(tuple: u8, entry: Entry, reading: Reading) -> Connection {
    let key = key(tuple);
    Connection {
        key,
        backend: key.dst,
        backend_port: key.dport,
        ends: Ends::Both,
        reading,
        id: entry.id,
        start_ns: 0,
        traffic: entry.traffic,
        cgroup: 0,
    }
}

fn traffic(bytes: u16) -> Traffic {
    let bytes = u64::from(bytes);
    Traffic { orig: Counts { bytes, packets: 1 }, reply: Counts { bytes: bytes * 3, packets: 2 } }
}

fn as_tx_rx(t: Traffic) -> TxRx {
    TxRx { tx: t.orig, rx: t.reply }
}

impl World {
    pub fn new(mutant: Mutant) -> World {
        let mut config = support::standalone(&["-max-rows", "32"]);
        // In a cluster, where everything waits until its pod is named (rule 8).
        config.standalone = false;
        config.dakr = Some(support::dakr());
        let mut world = World {
            mutant,
            pipeline: Pipeline::new(&config, 64, 1),
            freezer: freezer(),
            config,
            live: HashMap::new(),
            events: Vec::new(),
            next_id: 1,
            carried: Traffic::ZERO,
            before_us: HashMap::new(),
            swept: false,
            sink: HashMap::new(),
            greedy: TxRx::ZERO,
            sink_before: TxRx::ZERO,
            dropped: TxRx::ZERO,
            disk: Disk::default(),
            heard: Heard::new(),
            told: HashSet::new(),
            buried: HashSet::new(),
            ended: Vec::new(),
            may_miss: TxRx::ZERO,
            ghosts: HashMap::new(),
            restarted: false,
            now: Now { mono_ns: SECOND, wall_ns: 1_790_000_000 * SECOND },
        };
        world.sweep(false, 255, 255, &[]);
        world
    }

    pub fn step(&mut self, step: &Step) -> Result<(), String> {
        self.now.mono_ns += SECOND;
        self.now.wall_ns += SECOND;
        match step {
            Step::Traffic { tuple, bytes } => self.carry(*tuple % 24, *bytes),
            Step::End { tuple } => self.end(*tuple % 24),
            Step::Sweep { voided, skip, twice, moved } => self.sweep(*voided, *skip, *twice, moved),
            Step::Drain => self.drain(),
            Step::Flush { outcomes } => self.flush(outcomes, None)?,
            Step::Named => self.name_the_pod(),
            Step::Cleanup => self.pipeline.cleanup(self.now, 0),
            Step::Crash => self.crash(),
            Step::Killed { sends, outcome, moved } => {
                if let Some(sends) = sends {
                    self.flush(&[*outcome, Outcome::Counted], Some(*sends))?;
                }
                self.killed(moved)?;
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
        let next_id = &mut self.next_id;
        let entry = self.live.entry(tuple).or_insert_with(|| {
            *next_id += 1;
            // The kernel reuses ids: every third connection gets the id of another.
            Entry { id: *next_id / 3 + 1, serial: u64::from(*next_id), traffic: Traffic::ZERO }
        });
        if entry.traffic.is_zero()
            && let Some(ghost) = self.ghosts.remove(&tuple)
        {
            self.may_miss += as_tx_rx(ghost);
        }
        entry.traffic += traffic(bytes);
        self.carried += traffic(bytes);
    }

    fn end(&mut self, tuple: u8) {
        if let Some(entry) = self.live.remove(&tuple) {
            self.events.push((tuple, entry));
            self.ended.push((tuple, entry.serial, entry.traffic));
        }
    }

    fn drain(&mut self) {
        for (tuple, entry) in std::mem::take(&mut self.events) {
            self.pipeline.hear(&record(tuple, entry, Reading::Ended), self.now);
            self.heard.insert(entry.serial, entry.traffic);
            self.told.insert(entry.serial);
            self.buried.insert(tuple);
        }
        self.pipeline.end_drain(self.now);
    }

    fn sweep(&mut self, voided: bool, skip: u8, twice: u8, moved: &[(u8, u16, bool)]) {
        self.pipeline.begin_sweep();
        self.buried.clear();
        let mut tuples: Vec<u8> = self.live.keys().copied().collect();
        tuples.sort_unstable();
        let half = tuples.len() / 2;
        for (number, chunk) in [&tuples[..half], &tuples[half..]].into_iter().enumerate() {
            // The kernel fills the chunk; then the world moves on, and ends that it tells are queued.
            let filled: Vec<(u8, Entry)> = chunk.iter().filter_map(|t| Some((*t, *self.live.get(t)?))).collect();
            if number == 0 {
                for (tuple, bytes, ends) in moved {
                    match ends {
                        true => self.end(*tuple % 24),
                        false => self.carry(*tuple % 24, *bytes),
                    }
                }
            }
            if self.mutant != Mutant::EventsAfterChunk {
                self.drain();
            }
            for (tuple, entry) in filled {
                if voided && tuple % 5 == skip % 5 {
                    continue;
                }
                let repeats = if voided && tuple % 5 == twice % 5 { 2 } else { 1 };
                // After an end in this sweep the key's records count as stale, and the next sweep's count.
                if !self.buried.contains(&tuple) {
                    self.heard.insert(entry.serial, entry.traffic);
                }
                for _ in 0..repeats {
                    self.pipeline.record(&record(tuple, entry, Reading::Live), self.now);
                }
            }
            if self.mutant == Mutant::EventsAfterChunk {
                self.drain();
            }
        }
        let complete = !voided || self.mutant == Mutant::BelieveVoidedDumps;
        self.pipeline.end_sweep(&Sweep { complete, ..Sweep::default() }, self.now);
        self.swept |= complete;
    }

    /// Sends the window as one batch; an unsettled message is sent again, byte for byte. The process may be killed after
    /// so many messages, before it has noted what became of the last.
    fn flush(&mut self, outcomes: &[Outcome], killed_after: Option<u8>) -> Result<(), String> {
        let frozen = self.freezer.freeze(&mut self.pipeline, 5, self.now);
        let behind = self.mutant == Mutant::SendBeforeWriting && !self.disk.is_empty();
        if !behind {
            self.disk.write(&self.pipeline, &self.freezer, frozen.as_ref(), &self.heard);
            // Of what had ended and been heard, nothing can be missing any more.
            let told = &self.told;
            self.ended.retain(|(_, serial, _)| !told.contains(serial));
        }
        let Some(batch) = frozen else { return Ok(()) };
        for (sent, (message, body)) in batch.messages.iter().map(|m| (m, m.body.clone())).enumerate() {
            let mut settled = None;
            let mut maybe_counted = false;
            for outcome in outcomes.iter().chain(&[Outcome::Counted]) {
                if matches!(outcome, Outcome::Counted | Outcome::CountedUnheard) {
                    self.take(&body);
                }
                maybe_counted |= matches!(outcome, Outcome::CountedUnheard | Outcome::LostUnheard);
                settled = match outcome {
                    Outcome::Counted => Some(Verdict::Acknowledged),
                    // After an unknown outcome only a definite yes settles it.
                    Outcome::NotCounted if !maybe_counted => Some(Verdict::Merge),
                    Outcome::RefusedForGood if !maybe_counted => Some(Verdict::Drop(Lost::Refused)),
                    _ if self.mutant == Mutant::MergeAmbiguous && maybe_counted => Some(Verdict::Merge),
                    _ => None,
                };
                if self.mutant == Mutant::ConsumeBeforeAck {
                    settled = Some(Verdict::Acknowledged);
                }
                if settled.is_some() {
                    break;
                }
            }
            let verdict = settled.ok_or("the last outcome is definite")?;
            let verdict = match (self.mutant, verdict) {
                (Mutant::DropMerged, Verdict::Merge) => Verdict::Acknowledged,
                (_, verdict) => verdict,
            };
            if killed_after == Some(sent as u8) {
                return Ok(());
            }
            let (rows, ledger, _) = self.pipeline.books();
            let settled = rows.settle(message.first_item, message.items, verdict, ledger);
            if matches!(verdict, Verdict::Drop(_)) {
                self.dropped += settled;
            }
            if !behind && (self.mutant != Mutant::ForgetRefusals || verdict == Verdict::Acknowledged) {
                self.disk.note(message.part, verdict);
            }
        }
        self.freezer.put_back(batch);
        Ok(())
    }

    /// The sink takes a request; it knows an item by its bytes, as a store with a natural key does.
    fn take(&mut self, body: &[u8]) {
        for item in schema::items(body) {
            self.greedy += item.counts;
            self.sink.insert(item.bytes, item.counts);
        }
    }

    fn sink_sum(&self) -> TxRx {
        self.sink.values().fold(TxRx::ZERO, |sum, counts| sum + *counts)
    }

    fn crash(&mut self) {
        self.sink_before = self.sink_sum();
        self.pipeline = Pipeline::new(&self.config, 64, 1);
        // A process that starts later has a later boot: its items never repeat those of the one before.
        self.freezer = freezer();
        self.events.clear();
        self.carried = Traffic::ZERO;
        self.before_us = self.live.iter().map(|(t, e)| (*t, (e.id, e.traffic))).collect();
        (self.dropped, self.may_miss, self.restarted) = (TxRx::ZERO, TxRx::ZERO, false);
        self.disk = Disk::default();
        self.heard.clear();
        self.ghosts.clear();
        self.ended.clear();
        self.sweep(false, 255, 255, &[]);
    }

    /// Without a word, then from the state file.
    fn killed(&mut self, moved: &[(u8, u16, bool)]) -> Result<(), String> {
        if self.disk.is_empty() {
            self.crash();
            return Ok(());
        }
        for (tuple, bytes, ends) in moved {
            match ends {
                true => self.end(*tuple % 24),
                false => self.carry(*tuple % 24, *bytes),
            }
        }
        // Nobody hears of these ends. What they carried since the file was written may be missing, and as much of a new
        // connection under the old key, where nothing tells it from the old one.
        self.events.clear();
        for (tuple, serial, traffic) in std::mem::take(&mut self.ended) {
            let written = self.disk.heard.get(&serial).copied().unwrap_or(Traffic::ZERO);
            self.may_miss += as_tx_rx(traffic - written);
            match self.live.contains_key(&tuple) {
                true => self.may_miss += as_tx_rx(written),
                false => *self.ghosts.entry(tuple).or_insert(Traffic::ZERO) += written,
            }
        }
        self.pipeline = Pipeline::new(&self.config, 64, 1);
        self.freezer = freezer();
        let mut bodies = Vec::new();
        self.disk.restart(&mut self.pipeline, &mut self.freezer, |body| bodies.push(body.to_vec()))?;
        bodies.iter().for_each(|body| self.take(body));
        self.restarted = true;
        self.heard.clone_from(&self.disk.heard);
        self.sweep(false, 255, 255, &[]);
        Ok(())
    }

    /// Brings everything to rest and holds it against what the kernel carried.
    pub fn check_at_rest(&mut self) -> Result<(), String> {
        self.name_the_pod();
        self.sweep(false, 255, 255, &[]);
        self.drain();
        self.sweep(false, 255, 255, &[]);
        self.flush(&[], None)?;
        let ledger = *self.pipeline.ledger();
        let carried = as_tx_rx(self.carried);
        if self.restarted {
            return self.check_over_restarts(carried);
        }
        if ledger.counted != carried {
            return Err(format!("counted {:?}, the kernel carried {carried:?}", ledger.counted));
        }
        let sunk = self.sink_sum() - self.sink_before;
        if ledger.acknowledged != sunk {
            return Err(format!("acknowledged {:?}, the sink took {sunk:?}", ledger.acknowledged));
        }
        let lost = ledger.lost[Lost::Refused as usize];
        if ledger.acknowledged + lost != carried {
            return Err(format!("at rest something is neither delivered nor named: {ledger:?}"));
        }
        Ok(())
    }

    /// The sink's own sum over all processes that went on from each other.
    fn check_over_restarts(&self, carried: TxRx) -> Result<(), String> {
        let accounted = self.sink_sum() - self.sink_before + self.dropped;
        // Differences saturate, so a zero says "at most".
        if !(accounted - carried).is_zero() {
            return Err(format!("counted twice: {accounted:?} of {carried:?}"));
        }
        let missing = carried - accounted;
        if !(missing - self.may_miss).is_zero() {
            return Err(format!("{missing:?} is missing, and only {:?} may be", self.may_miss));
        }
        Ok(())
    }
}

fn freezer() -> Freezer {
    Freezer::new(Sender { node_name: "model".into(), cluster_id: String::new() })
}
