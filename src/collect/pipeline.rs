//! From records to rows: which zone, what increment, whose, with whom, pushed or not.
//!
//! Pure: time and everything else comes as an argument, so the lab, the replay and the model test run the very same
//! code. Owns the tables; the loop around it ([`super`]) owns descriptors and channels.

mod keep;

use std::sync::Arc;

use super::zone::ZoneChoice;
use crate::baseline::{BaselineTable, Judged};
use crate::class::Classes;
use crate::clock::{Now, SECOND};
use crate::config::{Config, PushInbound};
use crate::flow::{Addr, Class, Connection, ConnectionKey, Direction, Ends, Reading, Split, Traffic};
use crate::ledger::{Ledger, bytes_only};
use crate::names::{LOOPBACK, Names, RowName};
use crate::owner::local::LocalEnds;
use crate::owner::processes::{HostEnd, Processes, Whose};
use crate::owner::waiting::{self, Newcomer, WaitingRow, WaitingTable};
use crate::owner::{Owner, OwnerId, OwnerTable, PodIndex};
use crate::rows::{Push, Row, RowKey, RowTable};
use crate::series::SeriesTable;
use crate::source::{Skip, Skipped, Sweep};
use crate::stats::{Lost, Stats, Unattributed, Withheld};
use crate::wire::cilium_ct;

/// How long an increment waits for its pod before rule 5 decides.
const WAIT_NS: u64 = 60 * SECOND;
/// Increments of a sweep that wait for the look at the host's sockets after it; beyond, those of the last look decide.
const DEFERRED_MAX: usize = 4_096;
/// How long a series of a pod that is gone stays for the last scrapes.
const SERIES_IDLE_NS: u64 = 600 * SECOND;

/// Ends that are judged at a time.
const HEARD: usize = 64;

/// What stays the same while the agent runs.
struct Policy {
    classes: Classes,
    push_inbound: PushInbound,
    pushes: bool,
    /// In a cluster an unknown local end may be a pod that is not known yet.
    waits: bool,
}

/// The tables, and the way through them.
pub struct Pipeline {
    policy: Policy,
    baselines: BaselineTable,
    local: LocalEnds,
    processes: Option<Processes>,
    /// What this sweep told of host's ends whose sockets are not known yet.
    deferred: Vec<(Attribution, HostEnd)>,
    owners: OwnerTable,
    waiting: WaitingTable,
    rows: RowTable,
    series: SeriesTable,
    ledger: Ledger,
    zone: ZoneChoice,
    skipped: Skipped,
    /// Bytes of all connections in this sweep, each once, whatever became of them (rule 16).
    seen_bytes: u64,
    not_followed: u64,
    /// Ends that were heard and are not judged yet.
    heard: Vec<Connection>,
    /// Where DNS answers are read.
    names: Option<Arc<Names>>,
}

/// What a sweep came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepEnd {
    /// Baselines that vanished though their end should have been told.
    pub vanished_untold: u64,
    /// Baselines of the state file that ended while no agent ran.
    pub ended_while_away: u64,
    /// Another zone is counted from now on.
    pub new_zone: Option<u16>,
    /// Bytes of all connections since the sweep before, each once.
    pub seen_bytes: u64,
    /// Connections that found no place in the table.
    pub not_followed: u64,
}

impl Pipeline {
    /// Tables by the configuration. `process_start_ns` is wall clock.
    pub fn new(config: &Config, max_connections: u32, process_start_ns: u64) -> Pipeline {
        Pipeline {
            policy: Policy {
                classes: Classes::new(&config.cluster_cidrs, &config.outside_cidrs, &config.overlay_ports),
                push_inbound: config.push_inbound,
                pushes: config.dakr.is_some(),
                waits: !config.standalone,
            },
            baselines: BaselineTable::with_capacity(max_connections, process_start_ns),
            local: LocalEnds::new(&config.local_cidrs),
            processes: None,
            deferred: Vec::new(),
            owners: OwnerTable::default(),
            waiting: WaitingTable::with_capacity(if config.standalone { 1 } else { waiting::CAPACITY }),
            rows: RowTable::with_capacity(config.max_rows),
            series: SeriesTable::default(),
            ledger: Ledger::default(),
            zone: ZoneChoice::new(config.conntrack_zone),
            skipped: Skipped::default(),
            seen_bytes: 0,
            not_followed: 0,
            heard: Vec::with_capacity(HEARD),
            names: None,
        }
    }

    /// Rows are named from now on.
    pub fn set_names(&mut self, names: Arc<Names>) {
        self.names = Some(names);
    }

    /// Names and lookups, where DNS answers are read.
    pub fn names(&self) -> Option<&Arc<Names>> {
        self.names.as_ref()
    }

    /// The host's addresses, to be kept up to date.
    pub fn local_ends(&mut self) -> &mut LocalEnds {
        &mut self.local
    }

    /// Sockets are told to be a pod's by these from now on.
    pub fn set_processes(&mut self, processes: Processes) {
        if processes.looks() {
            self.deferred.reserve_exact(DEFERRED_MAX);
        }
        self.processes = Some(processes);
    }

    /// Cgroups and sockets, to be kept up to date; what waits is settled by [`Pipeline::settle_waiting`].
    pub fn processes(&mut self) -> Option<&mut Processes> {
        self.processes.as_mut()
    }

    /// After a look at the host's sockets: counts what waited for it.
    pub fn place_deferred(&mut self) {
        let mut deferred = std::mem::take(&mut self.deferred);
        for (mut at, end) in deferred.drain(..) {
            at.cgroup = self.processes.as_ref().and_then(|processes| processes.cgroup_of(&end)).unwrap_or(0);
            self.place(&at);
        }
        self.deferred = deferred;
    }

    /// Rows, for pictures.
    pub fn rows(&self) -> &RowTable {
        &self.rows
    }

    /// Rows, the books and the names, for freezing and settling.
    pub fn books(&mut self) -> (&mut RowTable, &mut Ledger, &OwnerTable) {
        (&mut self.rows, &mut self.ledger, &self.owners)
    }

    /// The pod of this node that is a row's remote end, by its address at the time of the row's last bytes. Pods on the
    /// node's network are not known by address, and a folded address is nobody's.
    pub fn remote_pod(&self, row: &Row) -> Option<OwnerId> {
        let pod = self.local.pods().owner_of(row.key.remote, row.changed_wall_ns).filter(|_| row.is_named())?;
        self.owners.find(pod)
    }

    /// Series, for pictures.
    pub fn series(&self) -> &SeriesTable {
        &self.series
    }

    /// Owners, for pictures.
    pub fn owners(&self) -> &OwnerTable {
        &self.owners
    }

    /// The books.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Connections followed.
    pub fn baselines(&self) -> &BaselineTable {
        &self.baselines
    }

    /// The zone in force.
    pub fn zone(&self) -> &ZoneChoice {
        &self.zone
    }

    /// Takes the latest pods; what waited for them is settled.
    pub fn set_pods(&mut self, pods: Arc<PodIndex>, now: Now) {
        self.local.set_pods(pods);
        self.settle_waiting(now);
    }

    /// Before the first record of a sweep.
    pub fn begin_sweep(&mut self) {
        self.baselines.begin_sweep();
    }

    /// Takes one record, in a sweep or between sweeps.
    pub fn record(&mut self, c: &Connection, now: Now) {
        let lives = !matches!(c.reading, Reading::Ended | Reading::Increment);
        if self.zone.asks(c.key.zone) && lives && self.has_local_end(c, now) {
            self.zone.note_local(c.key.zone);
        }
        if !self.zone.counts(c.key.zone) {
            self.skipped.add(Skip::Zone);
            return;
        }
        if self.local.any_left() {
            self.local.still_used(c.key.src);
            self.local.still_used(c.backend);
        }
        let judged = match c.reading {
            Reading::Live | Reading::Frames(_) => self.baselines.live(c),
            Reading::Ended => self.baselines.ended(c),
            Reading::Increment => Judged::Increment(c.traffic),
        };
        // Only now: the parts of a Cilium value are of different moments, so its bytes less its headers may fall.
        let is_frames = matches!(c.reading, Reading::Frames(_));
        let cut = |traffic| if is_frames { cilium_ct::without_frames(traffic) } else { traffic };
        match judged {
            Judged::Increment(traffic) if traffic.is_zero() => {}
            Judged::Increment(traffic) if is_frames => self.count_entry(c, cut(traffic), now),
            Judged::Increment(traffic) => self.count(c, traffic, now),
            Judged::Baseline | Judged::Stale => {}
            Judged::BeforeFirstSweep => self.skipped.add(Skip::BeforeFirstSweep),
            Judged::NotFollowed => self.not_followed += 1,
            Judged::Lost(traffic) => {
                self.ledger.lose(Lost::ConnectionTableFull, cut(traffic).seen_by(Direction::Outbound));
            }
        }
    }

    /// Takes one record of a drain. Ends are judged [`HEARD`] at a time, for what is known of them lies anywhere in a
    /// table too large for the caches: their places are looked up together, so that waiting for memory is done once.
    pub fn hear(&mut self, c: &Connection, now: Now) {
        if c.reading != Reading::Ended {
            self.end_drain(now);
            return self.record(c, now);
        }
        self.heard.push(*c);
        if self.heard.len() == HEARD {
            self.end_drain(now);
        }
    }

    /// After the last record of a drain.
    pub fn end_drain(&mut self, now: Now) {
        let mut heard = std::mem::take(&mut self.heard);
        self.baselines.warm(heard.iter().map(|c| &c.key));
        for c in heard.drain(..) {
            self.record(&c, now);
        }
        self.heard = heard;
    }

    /// After the last record of a sweep.
    pub fn end_sweep(&mut self, sweep: &Sweep, now: Now) -> SweepEnd {
        let vanished = self.baselines.end_sweep(sweep.complete);
        let mut end = SweepEnd {
            vanished_untold: vanished.untold,
            ended_while_away: vanished.while_away,
            seen_bytes: std::mem::take(&mut self.seen_bytes),
            not_followed: std::mem::take(&mut self.not_followed),
            new_zone: None,
        };
        self.note_source_losses(sweep);
        if sweep.complete {
            self.local.end_sweep();
            let owners_known = !self.policy.waits || self.local.pods().synced;
            end.new_zone = self.zone.end_sweep(owners_known);
            if end.new_zone.is_some() {
                self.baselines.restart();
            }
        }
        self.settle_waiting(now);
        end
    }

    /// Books what a source lost within itself, in a sweep or a drain.
    pub fn note_source_losses(&mut self, sweep: &Sweep) {
        let lost = bytes_only(sweep.lost_tx_bytes, sweep.lost_rx_bytes);
        if !lost.is_zero() {
            self.ledger.lose(Lost::BpfMapFull, lost);
        }
    }

    /// Records left out since the last call.
    pub fn take_skipped(&mut self) -> Skipped {
        std::mem::take(&mut self.skipped)
    }

    /// Removes rows, series and owners that nothing needs any more (the documented cleanup loop).
    pub fn cleanup(&mut self, now: Now, idle_ns: u64) {
        self.rows.cleanup(now.wall_ns, idle_ns);
        let (rows, pods) = (&self.rows, self.local.pods());
        let lives = |id: OwnerId| match self.owners.get(id) {
            crate::owner::Owner::Pod(pod) => pods.by_uid(&pod.uid).is_some() || rows.iter().any(|r| r.key.owner == id),
            _ => true,
        };
        let heir = |id: OwnerId| match self.owners.get(id) {
            crate::owner::Owner::Pod(pod) if !lives(id) => self.owners.namesake(pod, lives),
            _ => Some(id),
        };
        self.series.cleanup(now.mono_ns, SERIES_IDLE_NS, heir);
        let mut used = vec![false; self.owners.all().len()];
        let owners = self.rows.iter().map(|row| row.key.owner).chain(self.series.iter().map(|s| s.key.owner));
        for owner in owners {
            if let Some(mark) = used.get_mut(owner.0 as usize) {
                *mark = true;
            }
        }
        self.owners.keep_only(|id| used.get(id.0 as usize).copied().unwrap_or(false));
    }

    /// Shows sizes and books on `/metrics`.
    pub fn publish(&mut self, stats: &Stats) {
        self.ledger.publish(stats);
        stats.connections.set(u64::from(self.baselines.len()));
        stats.connections_max.set(u64::from(self.baselines.capacity()));
        stats.rows.set(u64::from(self.rows.len()));
        stats.rows_max.set(u64::from(self.rows.capacity()));
        stats.waiting.set(u64::from(self.waiting.len()));
        for (cell, n) in stats.skipped.iter().zip(self.take_skipped().0) {
            cell.add(n);
        }
    }

    fn has_local_end(&mut self, c: &Connection, now: Now) -> bool {
        let at = now.wall_ns;
        self.local.owner_of(c.key.src, at, &mut self.owners).is_some()
            || self.local.owner_of(c.backend, at, &mut self.owners).is_some()
    }

    /// An increment of a Cilium entry: of those without a pod's end, Cilium makes entries for some and not for others.
    fn count_entry(&mut self, c: &Connection, traffic: Traffic, now: Now) {
        let own = if c.ends == Ends::Responder { c.backend } else { c.key.src };
        if self.local.is_host(own) {
            self.skipped.add(Skip::HostPartial);
        } else if c.ends != Ends::Neither {
            self.count(c, traffic, now);
        } else if self.has_local_end(c, now)
            || self.baselines.follows(&ConnectionKey { realm: c.key.realm | 1, ..c.key })
        {
            self.skipped.add(Skip::Covered);
        } else {
            self.seen_bytes = self.seen_bytes.saturating_add(traffic.orig.bytes).saturating_add(traffic.reply.bytes);
            self.ledger.leave_unattributed(Unattributed::NoLocalEnd, traffic.seen_by(Direction::Outbound));
        }
    }

    /// Attributes an increment to the ends that the record speaks for (rule 2), or lets it wait (rule 8).
    fn count(&mut self, c: &Connection, traffic: Traffic, now: Now) {
        self.seen_bytes = self.seen_bytes.saturating_add(traffic.orig.bytes).saturating_add(traffic.reply.bytes);
        if self.local.is_host(c.key.src) && self.local.is_host(c.backend) {
            self.skipped.add(Skip::Loopback);
            return;
        }
        let mut at = Attribution {
            client: c.key.src,
            asked: c.key.dst,
            backend: c.backend,
            port: c.backend_port,
            protocol: c.key.protocol,
            translated: c.key.dst != c.backend || (c.key.dport != c.backend_port && has_ports(c.key.protocol)),
            ends: c.ends,
            cgroup: c.cgroup,
            split: if let Reading::Frames(split) = c.reading { split } else { Split::Known },
            traffic,
            wall_ns: now.wall_ns,
            mono_ns: now.mono_ns,
        };
        if let Some(processes) = &self.processes {
            let end = end_with_socket(c.ends, c.key.src, &self.local);
            let is_host = self.local.is_host(if end == Ends::Originator { c.key.src } else { c.backend });
            if is_host && self.policy.classes.is_tunnel(c.key.protocol, c.backend_port) {
                // The node's own tunnels are the host's, though their sockets lie in the cgroup of whoever made them.
                at.cgroup = 0;
            } else if is_host && processes.looks() {
                let end = HostEnd::of(c, end);
                match processes.cgroup_of(&end) {
                    Some(cgroup) => at.cgroup = cgroup,
                    // What has ended is in no later look.
                    None if c.reading != Reading::Ended && self.deferred.len() < DEFERRED_MAX => {
                        return self.deferred.push((at, end));
                    }
                    None => {}
                }
            }
        }
        self.place(&at);
    }

    /// Gives an increment to its ends, or lets it wait.
    fn place(&mut self, at: &Attribution) {
        let (found, not_yet) = self.attribute(at, !self.policy.waits);
        let other = if found == Found::Client { at.backend } else { at.client };
        let waits = match found {
            Found::Both => return,
            Found::None if !self.policy.waits => return self.count_without_owner(at),
            Found::None => at.ends,
            // The other end may be a pod's too. Before the first list any may; later this would make everything wait
            // that the node exchanges with others.
            _ if !self.policy.waits || !(not_yet || may_be_a_pods(&self.local, &self.policy.classes, other)) => return,
            Found::Client => Ends::Responder,
            Found::Backend => Ends::Originator,
        };
        let beside = found != Found::None;
        if !beside {
            self.ledger.hold(at.traffic.seen_by(Direction::Outbound));
        }
        let newcomer = Newcomer {
            client: at.client,
            asked: at.asked,
            backend: at.backend,
            port: at.port,
            protocol: at.protocol,
            translated: at.translated,
            ends: waits,
            beside,
            fine: [at.client, at.backend].iter().any(|addr| self.local.is_vacant(*addr, at.wall_ns)),
            split: at.split,
            cgroup: if beside && end_with_socket(at.ends, at.client, &self.local) != waits { 0 } else { at.cgroup },
            traffic: at.traffic,
        };
        if let Some(oldest) = self.waiting.add(&newcomer, at.wall_ns, at.mono_ns) {
            self.settle(&oldest, at.mono_ns, Some(Unattributed::WaitingFull));
        }
    }

    /// Gives the increment to its local ends, of those that it speaks for; says which it found, and whether one is
    /// local and will be known. With `finally` such an end is given by its address.
    fn attribute(&mut self, at: &Attribution, finally: bool) -> (Found, bool) {
        let mut whose = |end| match at.whose(end, &self.local, &mut self.processes, &mut self.owners) {
            Owned::NotYet if finally => at.by_address(end, &self.local, &mut self.owners, true),
            owned => owned,
        };
        let (client, backend) = (whose(Ends::Originator), whose(Ends::Responder));
        let own_client = client.known().filter(|_| at.ends != Ends::Responder);
        let own_backend = backend.known().filter(|_| at.ends != Ends::Originator);
        if let Some(owner) = own_client {
            self.add(at, owner, at.client, at.backend, Direction::Outbound, backend != Owned::Nobodys);
        }
        if let Some(owner) = own_backend {
            self.add(at, owner, at.backend, at.client, Direction::Inbound, client != Owned::Nobodys);
        }
        let found = match (own_client.is_some(), own_backend.is_some(), at.ends) {
            (false, false, _) => Found::None,
            (true, false, Ends::Both) => Found::Client,
            (false, true, Ends::Both) => Found::Backend,
            _ => Found::Both,
        };
        (found, client == Owned::NotYet || backend == Owned::NotYet)
    }

    /// Rule 5: a connection that this node translated crosses its wire twice and is the host's; any other without a
    /// local end is nobody's.
    fn count_without_owner(&mut self, at: &Attribution) {
        if at.translated && at.ends == Ends::Both {
            self.add(at, OwnerId::HOST, at.asked, at.client, Direction::Inbound, false);
            self.add(at, OwnerId::HOST, at.asked, at.backend, Direction::Outbound, false);
        } else {
            self.ledger.leave_unattributed(Unattributed::NoLocalEnd, at.traffic.seen_by(Direction::Outbound));
        }
    }

    fn add(
        &mut self,
        at: &Attribution,
        owner: OwnerId,
        local: Addr,
        remote: Addr,
        direction: Direction,
        remote_is_local: bool,
    ) {
        let inside = remote_is_local || self.policy.classes.is_inside(remote);
        let class = match inside {
            true if owner == OwnerId::HOST && self.policy.classes.is_tunnel(at.protocol, at.port) => Class::Overlay,
            true => Class::Inside,
            false => Class::Outside,
        };
        let key = RowKey { local, remote, owner, port: at.port, protocol: at.protocol, direction, class };
        let push = self.policy.push(direction, class);
        let counts = at.traffic.seen_by(direction);
        let rows = self.rows.known(at.split);
        let unnamed = rows.add(&key, push, counts, at.wall_ns, &self.policy.classes, &mut self.ledger);
        if let Some(slot) = unnamed {
            self.name(slot, at, &key);
        }
        self.series.add(owner, at.protocol, direction, class, counts, at.mono_ns);
    }

    /// Gives a row the name that its owner asked for: that of the service address where one was asked.
    fn name(&mut self, slot: u32, at: &Attribution, key: &RowKey) {
        let Some(names) = &self.names else { return };
        let is_service = key.direction == Direction::Outbound && at.asked != at.backend;
        let address = if is_service { at.asked } else { key.remote };
        let now = Now { mono_ns: at.mono_ns, wall_ns: at.wall_ns };
        let (local, pods) = (&self.local, self.local.pods());
        let found = match self.owners.get(key.owner) {
            Owner::Pod(pod) => {
                let others = pods.tenures().iter().filter(|t| t.addr != key.local && t.pod.uid == pod.uid);
                let mut clients = std::iter::once(key.local).chain(others.map(|tenure| tenure.addr));
                names.find(address, now, &mut clients, &|client, asked_wall_ns| {
                    let asker = pods.owner_of(client, asked_wall_ns);
                    asker.map_or(client == key.local && !pod.host_network, |asker| asker.uid == pod.uid)
                })
            }
            Owner::Host => {
                let is_own = |client: Addr, _| client == LOOPBACK || local.is_host(client);
                names.find(address, now, &mut [key.local, LOOPBACK].into_iter(), &is_own)
            }
            Owner::Address | Owner::Other => {
                names.find(address, now, &mut std::iter::once(key.local), &|client, _| client == key.local)
            }
        };
        self.rows.set_name(slot, found.map(|(text, origin)| RowName { text, origin, is_service }));
    }

    /// Settles what waits: by its pod where that is known now, by rule 5 where its time is up.
    pub fn settle_waiting(&mut self, now: Now) {
        if self.waiting.is_empty() {
            return;
        }
        let (synced, mono_ns) = (self.local.pods().synced, now.mono_ns);
        // Taken out first, so that the tables may be used while settling; only as many as are decided.
        let mut decided: Vec<WaitingRow> = Vec::new();
        let (local, processes, owners) = (&self.local, &mut self.processes, &mut self.owners);
        let classes = &self.policy.classes;
        self.waiting.take_if(|row| {
            let at = Attribution::of(row, mono_ns);
            let client = at.whose(Ends::Originator, local, processes, owners);
            let backend = at.whose(Ends::Responder, local, processes, owners);
            let waits = |end| at.ends == end || at.ends == Ends::Both;
            let ends = [(Ends::Originator, client, at.client), (Ends::Responder, backend, at.backend)];
            let known = ends.iter().any(|(end, owned, _)| waits(*end) && owned.known().is_some());
            let open = ends.iter().any(|(end, owned, addr)| {
                let may_be = *owned == Owned::Nobodys && waits(*end) && may_be_a_pods(local, classes, *addr);
                may_be || *owned == Owned::NotYet
            });
            let ready = known && !open;
            let late = synced && mono_ns.saturating_sub(row.since_mono_ns) >= WAIT_NS;
            if ready || late {
                decided.push(*row);
            }
            ready || late
        });
        for row in decided {
            self.settle(&row, mono_ns, None);
        }
    }

    /// At the end, where nothing outlives it: whatever waits is settled by what is known now.
    pub fn settle_all(&mut self, now: Now) {
        let mut rows: Vec<WaitingRow> = Vec::new();
        self.waiting.take_if(|row| {
            rows.push(*row);
            true
        });
        for row in rows {
            self.settle(&row, now.mono_ns, None);
        }
    }

    /// Settles a row that waited. One that had no time to wait is unattributed for that reason.
    fn settle(&mut self, row: &WaitingRow, mono_ns: u64, hurried: Option<Unattributed>) {
        let at = Attribution::of(row, mono_ns);
        if !row.key.beside {
            self.ledger.release(row.traffic.seen_by(Direction::Outbound));
        }
        if self.attribute(&at, true).0 != Found::None || row.key.beside {
            return;
        }
        match hurried {
            Some(reason) => self.ledger.leave_unattributed(reason, at.traffic.seen_by(Direction::Outbound)),
            None => self.count_without_owner(&at),
        }
    }
}

/// Which ends of an increment, of those that it speaks for, have an owner.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    None,
    Client,
    Backend,
    /// All that it speaks for.
    Both,
}

/// One increment on its way to rows.
struct Attribution {
    client: Addr,
    asked: Addr,
    backend: Addr,
    port: u16,
    protocol: u8,
    translated: bool,
    ends: Ends,
    split: Split,
    cgroup: u64,
    traffic: Traffic,
    wall_ns: u64,
    mono_ns: u64,
}

/// Whose an end is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owned {
    Nobodys,
    Known(OwnerId),
    /// It has a socket here, and its cgroup will tell.
    NotYet,
}

impl Owned {
    fn known(self) -> Option<OwnerId> {
        match self {
            Owned::Known(owner) => Some(owner),
            Owned::Nobodys | Owned::NotYet => None,
        }
    }
}

impl Attribution {
    fn of(row: &WaitingRow, mono_ns: u64) -> Attribution {
        Attribution {
            client: row.key.client,
            asked: row.key.asked,
            backend: row.key.backend,
            port: row.key.port,
            protocol: row.key.protocol,
            translated: row.key.translated,
            ends: row.key.ends,
            split: row.key.split,
            cgroup: row.key.cgroup,
            traffic: row.traffic,
            wall_ns: row.counted_wall_ns,
            mono_ns,
        }
    }

    /// By the cgroup of its socket, where that is a pod's; else by its address.
    fn whose(&self, end: Ends, local: &LocalEnds, processes: &mut Option<Processes>, owners: &mut OwnerTable) -> Owned {
        if self.cgroup != 0
            && let Some(processes) = processes
            && end_with_socket(self.ends, self.client, local) == end
        {
            match processes.whose(self.cgroup, local.pods()) {
                Whose::Pod(pod) => return Owned::Known(owners.id_of(pod)),
                Whose::NotYet => return Owned::NotYet,
                Whose::NoPod => {}
            }
        }
        self.by_address(end, local, owners, false)
    }

    /// What comes from the address of a pod that went waits, for it may be a new pod's; `finally` it is the old one's.
    fn by_address(&self, end: Ends, local: &LocalEnds, owners: &mut OwnerTable, finally: bool) -> Owned {
        let addr = if end == Ends::Originator { self.client } else { self.backend };
        match local.owner_of(addr, self.wall_ns, owners) {
            Some(_) if !finally && local.is_vacant(addr, self.wall_ns) => Owned::NotYet,
            Some(owner) => Owned::Known(owner),
            None => Owned::Nobodys,
        }
    }
}

impl Policy {
    /// Rule 9: each connection is reported by one node, once.
    fn push(&self, direction: Direction, class: Class) -> Push {
        let withheld = match (direction, class, self.push_inbound) {
            (_, Class::Overlay, _) => Some(Withheld::Overlay),
            (Direction::Outbound, _, _) | (_, _, PushInbound::All) => None,
            (_, _, PushInbound::None) => Some(Withheld::InboundNone),
            (_, Class::Outside, PushInbound::External) => None,
            (_, _, PushInbound::External) => Some(Withheld::InboundInside),
        };
        match withheld {
            Some(reason) => Push::No(reason),
            None if !self.pushes => Push::No(Withheld::NoDakr),
            None => Push::Yes,
        }
    }
}

/// Whether an end that nobody is known to own may be a pod's of this node that is not named yet.
fn may_be_a_pods(local: &LocalEnds, classes: &Classes, addr: Addr) -> bool {
    let pods = local.pods();
    !pods.synced || (pods.is_near(addr) && classes.is_inside(addr))
}

/// The end whose socket a cgroup is of; where both are spoken for, the host's own.
fn end_with_socket(ends: Ends, client: Addr, local: &LocalEnds) -> Ends {
    match ends {
        Ends::Both if local.is_host(client) => Ends::Originator,
        Ends::Both => Ends::Responder,
        end => end,
    }
}

/// For ICMP the key's "ports" are id, type and code: their difference is no translation.
fn has_ports(protocol: u8) -> bool {
    use crate::flow::protocol::{ICMP, ICMPV6};
    protocol != ICMP && protocol != ICMPV6
}

#[cfg(test)]
mod tests;
