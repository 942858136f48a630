//! The model of mode `auto` (rule 21): one truth, told by conntrack and by the programs, each late and with losses of its
//! own. Pods with sockets, a sandbox without, and the node talk to each other and to others; tracking goes off and on,
//! the programs go. At rest each end shows what it carried: to the byte while nothing changed, and never more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use netmon::clock::{Now, SECOND};
use netmon::collect::pipeline::Pipeline;
use netmon::config::SourceKind;
use netmon::flow::{Addr, Connection, ConnectionKey, Counts, Ends, Reading, Traffic, TxRx};
use netmon::owner::PodIndex;
use netmon::owner::pods::{Pod, Tenure};
use netmon::source::Sweep;
use netmon::stats::Lost;
use proptest::prelude::*;

use crate::support;

const NODE: Addr = Addr::from_v4([192, 168, 1, 10]);
const POD: Addr = Addr::from_v4([10, 244, 1, 2]);
const OTHER_POD: Addr = Addr::from_v4([10, 244, 1, 3]);
/// A kernel of its own: no socket of it is seen.
const SANDBOX: Addr = Addr::from_v4([10, 244, 1, 4]);
const FAR: Addr = Addr::from_v4([198, 51, 100, 7]);
/// Who opens connections to whom.
const PAIRS: [(Addr, Addr); 11] = [
    (POD, FAR),
    (FAR, POD),
    (POD, OTHER_POD),
    (POD, SANDBOX),
    (SANDBOX, OTHER_POD),
    (POD, NODE),
    (NODE, OTHER_POD),
    (NODE, FAR),
    (FAR, NODE),
    (SANDBOX, FAR),
    (NODE, SANDBOX),
];

/// A fault: how records are chosen in the place of the arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    None,
    /// Each source counts what it sees.
    Both,
    /// What one source could count is left to the other, which may not see it.
    Neither,
    /// The sources take turns, a sweep each.
    Flapping,
    /// An end is counted in a sweep by whoever shows it first.
    ChosenByArrival,
}

/// One step of the world.
#[derive(Clone, Debug)]
pub enum Step {
    /// A connection carries something; `late`: what arrives is told by conntrack now and by the programs later.
    Carry { tuple: u8, up: u16, down: u16, late: bool },
    /// A connection ends, in the kernel's account and in truth.
    End { tuple: u8 },
    /// Conntrack forgets an entry whose connection lives on.
    Flush { tuple: u8 },
    /// Both sources are read; something is carried between the two.
    Sweep { voided: bool, unread: bool, between: Vec<(u8, u16)> },
    /// Queued ends are read.
    Hear,
    /// A full buffer of the programs is emptied before the next sweep.
    Empty,
    /// The queue of events overflows.
    LoseEvents,
    /// The programs' buffer is full for the next record.
    LosePrograms { tuple: u8, up: u16 },
    /// The node's own traffic is tracked or not.
    Track { on: bool },
    /// The API server names the pods.
    Named,
    /// The programs are detached; the next sweep learns it.
    Blind,
}

pub fn step() -> impl Strategy<Value = Step> {
    let between = proptest::collection::vec((any::<u8>(), 1u16..2_000), 0..4);
    prop_oneof![
        12 => (any::<u8>(), 1u16..2_000, 0u16..2_000, proptest::bool::weighted(0.2))
            .prop_map(|(tuple, up, down, late)| Step::Carry { tuple, up, down, late }),
        3 => any::<u8>().prop_map(|tuple| Step::End { tuple }),
        1 => any::<u8>().prop_map(|tuple| Step::Flush { tuple }),
        5 => (proptest::bool::weighted(0.2), proptest::bool::weighted(0.1), between)
            .prop_map(|(voided, unread, between)| Step::Sweep { voided, unread, between }),
        2 => Just(Step::Hear),
        2 => Just(Step::Empty),
        1 => Just(Step::LoseEvents),
        1 => (any::<u8>(), 1u16..2_000).prop_map(|(tuple, up)| Step::LosePrograms { tuple, up }),
        1 => any::<bool>().prop_map(|on| Step::Track { on }),
        1 => Just(Step::Named),
        1 => proptest::bool::weighted(0.1).prop_map(|yes| if yes { Step::Blind } else { Step::Hear }),
    ]
}

#[derive(Clone, Copy)]
struct Entry {
    id: u32,
    traffic: Traffic,
}

/// A socket of the node's own, as the programs' reader remembers it.
#[derive(Clone, Copy)]
struct Role {
    asked: u8,
    /// The number of whole dumps when conntrack was found to have it.
    found: Option<u32>,
}

pub struct World {
    mutant: Mutant,
    pipeline: Pipeline,
    entries: BTreeMap<u8, Entry>,
    events: Vec<(u8, Entry)>,
    /// What the programs hold: of a connection, at its originator's socket or at its responder's.
    buffer: BTreeMap<(u8, bool), TxRx>,
    late: Vec<(u8, bool, TxRx)>,
    roles: BTreeMap<(u8, bool), Role>,
    dumps: u32,
    next_id: u32,
    tracks: bool,
    blind: bool,
    /// What each end carried: local address, remote address, whether it opened the connection.
    truth: BTreeMap<(Addr, Addr, bool), TxRx>,
    /// Bytes that a source said it lost, or that were carried while a source changed: at most so many may be missing.
    may_miss: u64,
    /// Whole dumps until a baseline goes whose end was lost: so long conntrack is taken to have the tuple.
    stale: u8,
    turn: u32,
    first: BTreeMap<(u8, bool), bool>,
    now: Now,
}

impl World {
    pub fn new(mutant: Mutant) -> World {
        let mut config = support::standalone(&["-max-rows", "256"]);
        config.standalone = false;
        config.dakr = Some(support::dakr());
        let mut pipeline = Pipeline::new(&config, 256, 1);
        pipeline.local_ends().replace_host(&[NODE]);
        if mutant == Mutant::None {
            pipeline.read_by(SourceKind::Auto);
        }
        let mut world = World {
            mutant,
            pipeline,
            entries: BTreeMap::new(),
            events: Vec::new(),
            buffer: BTreeMap::new(),
            late: Vec::new(),
            roles: BTreeMap::new(),
            dumps: 0,
            next_id: 1,
            tracks: true,
            blind: false,
            truth: BTreeMap::new(),
            may_miss: 0,
            stale: 0,
            turn: 0,
            first: BTreeMap::new(),
            now: Now { mono_ns: SECOND, wall_ns: 1_790_000_000 * SECOND },
        };
        world.sweep(false, false, &[]);
        world
    }

    pub fn step(&mut self, step: &Step) -> Result<(), String> {
        self.now.mono_ns += SECOND;
        self.now.wall_ns += SECOND;
        match step {
            Step::Carry { tuple, up, down, late } => self.carry(*tuple, *up, *down, *late),
            Step::End { tuple } => self.end(*tuple, true),
            Step::Flush { tuple } => self.end(*tuple, false),
            Step::Sweep { voided, unread, between } => self.sweep(*voided, *unread, between),
            Step::Hear => self.hear(),
            Step::Empty => {
                // As the source does: what ended is heard before.
                self.hear();
                self.empty();
                self.pipeline.end_drain(self.now);
            }
            Step::LoseEvents => self.lose_events(),
            Step::LosePrograms { tuple, up } => self.lose_programs(*tuple, *up),
            Step::Track { on } => self.track(*on),
            Step::Named => self.name_pods(),
            Step::Blind => self.go_blind(),
        }
        let ledger = self.pipeline.ledger();
        if !ledger.is_balanced() {
            return Err(format!("the books do not balance: {ledger:?}"));
        }
        Ok(())
    }

    fn name_pods(&mut self) {
        let pods: Vec<Arc<Pod>> = ["a", "b", "s"]
            .iter()
            .map(|name| {
                let uid = format!("u-{name}").as_str().into();
                Arc::new(Pod {
                    uid,
                    namespace: "shop".into(),
                    name: (*name).into(),
                    workload: None,
                    host_network: false,
                })
            })
            .collect();
        let tenures = [POD, OTHER_POD, SANDBOX].into_iter().zip(&pods).map(|(addr, pod)| Tenure {
            addr,
            from_ns: 1,
            until_ns: u64::MAX,
            ended_ns: u64::MAX,
            pod: Arc::clone(pod),
        });
        let index = PodIndex::new(tenures.collect(), pods.clone(), true, 1);
        self.pipeline.set_pods(Arc::new(index), self.now);
    }

    fn carry(&mut self, tuple: u8, up: u16, down: u16, late: bool) {
        let (client, server) = pair(tuple);
        let is_nodes = client == NODE || server == NODE;
        let tracked = self.tracks || !is_nodes;
        let (up, down) = (u64::from(up), u64::from(down));
        let traffic = Traffic { orig: packets(up), reply: packets(down) };
        if tracked {
            let id = &mut self.next_id;
            let entry = self.entries.entry(tuple % 55).or_insert_with(|| {
                *id += 1;
                Entry { id: *id, traffic: Traffic::ZERO }
            });
            entry.traffic += traffic;
        }
        for (addr, far, opened) in [(client, server, true), (server, client, false)] {
            let carried = seen(traffic, opened);
            if addr == FAR || (addr == SANDBOX && !tracked) {
                continue;
            }
            *self.truth.entry((addr, far, opened)).or_default() += carried;
            if addr == SANDBOX {
                continue;
            }
            if addr == NODE && !tracked && self.stale > 0 {
                self.may_miss += carried.total_bytes();
            }
            if self.blind {
                // Who counts by the programs alone sees nothing more of it until the change.
                self.may_miss += if !tracked || addr != NODE { carried.total_bytes() } else { 0 };
                continue;
            }
            let (now, then) = match late {
                true => (TxRx { tx: carried.tx, rx: Counts::ZERO }, TxRx { tx: Counts::ZERO, rx: carried.rx }),
                false => (carried, TxRx::ZERO),
            };
            *self.buffer.entry((tuple % 55, opened)).or_default() += now;
            if !then.is_zero() {
                self.late.push((tuple % 55, opened, then));
            }
        }
    }

    fn end(&mut self, tuple: u8, truly: bool) {
        let tuple = tuple % 55;
        if let Some(entry) = self.entries.remove(&tuple) {
            self.events.push((tuple, entry));
        }
        if truly {
            // A handshake will say that it begins anew.
            self.roles.remove(&(tuple, true));
            self.roles.remove(&(tuple, false));
        }
    }

    fn track(&mut self, on: bool) {
        if self.tracks && !on {
            let of_node: Vec<u8> = self.entries.keys().copied().filter(|t| has_node(*t)).collect();
            for tuple in of_node {
                self.end(tuple, false);
            }
        }
        if on && !self.tracks {
            // What the programs hold of a tuple that conntrack has once they are read is taken for conntrack's.
            let held =
                self.buffer.iter().filter(|((tuple, _), _)| has_node(*tuple)).map(|(_, held)| held.total_bytes());
            let late = self.late.iter().filter(|(tuple, ..)| has_node(*tuple)).map(|(.., rx)| rx.total_bytes());
            self.may_miss += held.sum::<u64>() + late.sum::<u64>();
        }
        self.tracks = on;
    }

    fn go_blind(&mut self) {
        if !self.blind {
            self.blind = true;
            // What is in the buffers when the programs go is read once more.
            let late = std::mem::take(&mut self.late);
            self.may_miss += late.iter().map(|(.., rx)| rx.total_bytes()).sum::<u64>();
        }
    }

    fn lose_events(&mut self) {
        for (_, entry) in std::mem::take(&mut self.events) {
            let all = entry.traffic.orig.bytes + entry.traffic.reply.bytes;
            self.may_miss += 2 * all;
            self.stale = 4;
        }
    }

    fn lose_programs(&mut self, tuple: u8, up: u16) {
        if self.blind {
            return;
        }
        let before = self.buffer.clone();
        self.carry(tuple, up, 0, false);
        self.may_miss += 2 * u64::from(up);
        self.buffer = before;
        let sweep = Sweep { lost_tx_bytes: u64::from(up), ..Sweep::default() };
        self.pipeline.note_source_losses(&sweep);
    }

    /// Between sweeps.
    fn hear(&mut self) {
        for (tuple, entry) in std::mem::take(&mut self.events) {
            let told = conntracks(tuple, entry, Reading::Ended);
            if let Some(told) = self.chosen(tuple, told) {
                self.pipeline.hear(&told, self.now);
            }
        }
        self.pipeline.end_drain(self.now);
    }

    fn sweep(&mut self, voided: bool, unread: bool, between: &[(u8, u16)]) {
        self.turn += 1;
        self.first.clear();
        self.pipeline.begin_sweep();
        let entries: Vec<(u8, Entry)> = self.entries.iter().map(|(t, e)| (*t, *e)).collect();
        self.hear();
        for (tuple, entry) in entries {
            if voided && tuple % 3 == 0 {
                continue;
            }
            let told = conntracks(tuple, entry, Reading::Live);
            if let Some(told) = self.chosen(tuple, told) {
                self.pipeline.record(&told, self.now);
            }
        }
        self.dumps += u32::from(!voided);
        for (tuple, up) in between {
            self.carry(*tuple, *up, 0, false);
        }
        if !unread {
            self.empty();
        }
        for (tuple, opened, rx) in std::mem::take(&mut self.late) {
            *self.buffer.entry((tuple, opened)).or_default() += rx;
        }
        let complete = !voided && !unread;
        self.stale = self.stale.saturating_sub(u8::from(!voided));
        self.pipeline.end_sweep(&Sweep { complete, programs_are_gone: self.blind, ..Sweep::default() }, self.now);
    }

    /// The programs' records, in the order of a hash.
    fn empty(&mut self) {
        for ((tuple, opened), carried) in std::mem::take(&mut self.buffer) {
            let reading = if self.finds(tuple, opened) { Reading::Tracked } else { Reading::Increment };
            let (orig, reply) = if opened { (carried.tx, carried.rx) } else { (carried.rx, carried.tx) };
            let ends = if opened { Ends::Originator } else { Ends::Responder };
            let told = Connection {
                ends,
                reading,
                id: 0,
                traffic: Traffic { orig, reply },
                ..conntracks(tuple, Entry { id: 0, traffic: Traffic::ZERO }, reading)
            };
            if let Some(told) = self.chosen(tuple, told) {
                self.pipeline.record(&told, self.now);
            }
        }
    }

    /// Conntrack is asked for the node's tuples, at most three times for one that it does not have.
    fn finds(&mut self, tuple: u8, opened: bool) -> bool {
        let (client, server) = pair(tuple);
        if (if opened { client } else { server }) != NODE {
            return false;
        }
        let role = self.roles.entry((tuple, opened)).or_insert(Role { asked: 0, found: None });
        // Until a whole dump has shown what was found, it is asked again.
        let asks = role.found.map_or(role.asked < 3, |found| found == self.dumps);
        if !asks {
            return false;
        }
        let finds = self.entries.contains_key(&tuple);
        role.asked += u8::from(role.found.is_none());
        role.found = if finds { Some(self.dumps) } else { role.found };
        finds
    }

    /// A mutant's choice; without one the arbiter chooses.
    fn chosen(&mut self, tuple: u8, told: Connection) -> Option<Connection> {
        let by_programs = told.reading.is_increment();
        match self.mutant {
            Mutant::None | Mutant::Both => Some(told),
            Mutant::Neither => {
                let (client, server) = pair(tuple);
                match by_programs {
                    true => {
                        let own = if told.ends == Ends::Originator { client } else { server };
                        (own != NODE).then_some(told)
                    }
                    false => Some(Connection { ends: without_pods(tuple), ..told }),
                }
            }
            Mutant::Flapping => (by_programs == self.turn.is_multiple_of(2)).then_some(told),
            Mutant::ChosenByArrival => {
                let mut ends = told.ends;
                for (end, opened) in [(Ends::Originator, true), (Ends::Responder, false)] {
                    let first = *self.first.entry((tuple, opened)).or_insert(by_programs);
                    if ends.has(end) && first != by_programs {
                        ends = ends.without(end);
                    }
                }
                (ends != Ends::Neither).then_some(Connection { ends, ..told })
            }
        }
    }

    /// Everything is told, everybody is named, and nobody waits any more.
    pub fn check_at_rest(&mut self) -> Result<(), String> {
        self.name_pods();
        for _ in 0..4 {
            self.now.mono_ns += 30 * SECOND;
            self.now.wall_ns += 30 * SECOND;
            self.sweep(false, false, &[]);
        }
        let mut shown: BTreeMap<(Addr, Addr, bool), TxRx> = BTreeMap::new();
        for row in self.pipeline.rows().iter() {
            let opened = row.key.direction == netmon::flow::Direction::Outbound;
            *shown.entry((row.key.local, row.key.remote, opened)).or_default() += row.total;
        }
        let ledger = self.pipeline.ledger();
        let may_miss = self.may_miss + ledger.lost[Lost::SourceChanged as usize].total_bytes();
        let ends: BTreeSet<_> = shown.keys().chain(self.truth.keys()).copied().collect();
        let mut missing = 0;
        for end in ends {
            let zero = TxRx::ZERO;
            let (shown, truth) = (shown.get(&end).unwrap_or(&zero), self.truth.get(&end).unwrap_or(&zero));
            if shown.tx.bytes > truth.tx.bytes || shown.rx.bytes > truth.rx.bytes {
                return Err(format!("{end:?} shows {shown:?}, more than {truth:?}"));
            }
            missing += truth.total_bytes() - shown.total_bytes();
        }
        if missing > may_miss {
            return Err(format!("{missing} bytes are missing, of which {may_miss} may be"));
        }
        Ok(())
    }
}

fn pair(tuple: u8) -> (Addr, Addr) {
    PAIRS[usize::from(tuple % 55) % PAIRS.len()]
}

fn has_node(tuple: u8) -> bool {
    let (client, server) = pair(tuple);
    client == NODE || server == NODE
}

fn without_pods(tuple: u8) -> Ends {
    let (client, server) = pair(tuple);
    let is_pod = |addr| addr == POD || addr == OTHER_POD;
    let ends = if is_pod(client) { Ends::Responder } else { Ends::Both };
    if is_pod(server) { ends.without(Ends::Responder) } else { ends }
}

fn packets(bytes: u64) -> Counts {
    Counts { bytes, packets: u64::from(bytes > 0) }
}

fn seen(traffic: Traffic, opened: bool) -> TxRx {
    match opened {
        true => TxRx { tx: traffic.orig, rx: traffic.reply },
        false => TxRx { tx: traffic.reply, rx: traffic.orig },
    }
}

fn conntracks(tuple: u8, entry: Entry, reading: Reading) -> Connection {
    let (client, server) = pair(tuple);
    let port = 1_000 + u16::from(tuple);
    Connection {
        key: ConnectionKey {
            src: client,
            dst: server,
            sport: port,
            dport: 443,
            ct_zone: 0,
            protocol: 6,
            family: 4,
            realm: 0,
        },
        backend: server,
        backend_port: 443,
        ends: Ends::Both,
        reading,
        id: entry.id,
        start_ns: 0,
        traffic: entry.traffic,
        more: None,
        cgroup: 0,
    }
}
