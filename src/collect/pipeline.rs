//! Counts what sources read: the tables, and the order of the steps between them. [`record`] makes increments of records,
//! [`place`]
//! finds the owners of the increments, [`settle`] those of what waited, [`addition`] adds them to the books.
//!
//! It is pure: time is an argument and it does no I/O, so lab, replay and model test run the same code. It owns the
//! tables; the loop around it ([`super`]) owns descriptors and channels.

mod addition;
mod count;
mod opener;
mod persist;
mod place;
mod record;
mod settle;
mod shared;
mod upkeep;

use std::sync::Arc;

use self::addition::Addition;
use self::opener::Openers;
use self::place::{Attribution, Policy};
use super::arbiter::Arbiter;
use super::ct_zone::{CtZoneChoice, Part as ZonePart};
use crate::audit::Audit;
use crate::audit::equation::Part;
use crate::baseline::BaselineTable;
use crate::class::Classes;
use crate::clock::{Now, SECOND, WallClock};
use crate::config::{Config, SourceKind};
use crate::costs::CostTable;
use crate::flow::{Addr, Connection};
use crate::ledger::{Ledger, bytes_only};
use crate::names::Names;
use crate::owner::cgroup::Holds;
use crate::owner::local::LocalEnds;
use crate::owner::socket_owners::{HostEnd, SocketOwners};
use crate::owner::waiting::{self, WaitingTable};
use crate::owner::{OwnerId, OwnerTable, Pod, PodIndex};
use crate::rows::{Row, RowTable};
use crate::series::SeriesTable;
use crate::source::Sweep;
use crate::stats::{Lost, Skipped};
use crate::table::AT_ONCE;
use crate::topology::Topology;

/// Time for which an increment waits for its pod before rule 5 decides.
const WAIT_NS: u64 = 60 * SECOND;
/// Increments of a sweep that wait for the read of the host's sockets after it. Further ones use the previous read.
const DEFERRED_MAX: usize = 4_096;
/// The same on a host without pods, where only a unit's name is at stake: all of them cost a mebibyte.
const DEFERRED_GROUPS: usize = 512;
/// Time for which the series of a deleted pod stay for the last scrapes.
const SERIES_IDLE_NS: u64 = 600 * SECOND;
/// Two steps of OpenCost: so long the value of a series is to be seen after it has stopped growing.
const TWO_STEPS_NS: u64 = 600 * SECOND;

/// The tables and the steps between them.
pub struct Pipeline {
    policy: Policy,
    baselines: BaselineTable,
    local: LocalEnds,
    socket_owners: Option<SocketOwners>,
    /// Increments of this sweep at host ends whose sockets are not known yet.
    deferred: Vec<(Attribution, HostEnd)>,
    owners: OwnerTable,
    waiting: WaitingTable,
    rows: RowTable,
    series: SeriesTable,
    costs: CostTable,
    /// Decides how far away a row's remote end is.
    topology: Arc<Topology>,
    /// Cost series of a pod that is gone stay for so long: they may be shown as 0 at first.
    costs_idle_ns: u64,
    ledger: Ledger,
    /// Compares what is counted with what the interfaces carried.
    audit: Audit,
    openers: Openers,
    /// Turns the starts of connections into monotonic time.
    wall_clock: WallClock,
    source: SourceKind,
    /// Where two sources are read: which counts an end.
    arbiter: Option<Box<Arbiter>>,
    ct_zone: CtZoneChoice,
    /// What of the record that is judged counts, by its zone.
    part: ZonePart,
    skipped: Skipped,
    /// Records since the last [`Pipeline::publish`] that report the end of a connection.
    ends: u64,
    not_followed: u64,
    /// Increments for which there was no time to wait, since the last sweep.
    hurried: u64,
    /// Closed connections that are not judged yet.
    heard: Vec<Connection>,
    /// Attributed increments that are not added to their rows yet.
    additions: Vec<Addition>,
    /// Set if DNS answers are read.
    names: Option<Arc<Names>>,
}

/// The result of a sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepEnd {
    /// Baselines that vanished although the kernel should have reported their end.
    pub vanished_untold: u64,
    /// Baselines of the state file that ended while no agent ran.
    pub ended_while_away: u64,
    /// The zone that is counted from the next sweep on, if it changes.
    pub new_ct_zone: Option<u16>,
    /// Connections that are not followed because the table is full.
    pub not_followed: u64,
    /// Increments for which the waiting table had no room.
    pub hurried: u64,
}

impl Pipeline {
    /// Creates tables of the configured sizes. `process_start_ns` is wall clock.
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
            socket_owners: None,
            deferred: Vec::new(),
            owners: OwnerTable::default(),
            waiting: WaitingTable::with_capacity(if config.standalone { 1 } else { waiting::CAPACITY }),
            rows: RowTable::with_capacity(config.max_rows),
            series: SeriesTable::default(),
            costs: CostTable::default(),
            topology: Arc::default(),
            costs_idle_ns: config.opencost_hold_ns.saturating_add(TWO_STEPS_NS),
            ledger: Ledger::default(),
            audit: Audit::default(),
            openers: Openers::new(),
            wall_clock: WallClock::default(),
            source: SourceKind::Netfilter,
            arbiter: None,
            ct_zone: CtZoneChoice::new(config.conntrack_zone, max_connections),
            part: ZonePart::All,
            skipped: Skipped::default(),
            ends: 0,
            not_followed: 0,
            hurried: 0,
            heard: Vec::with_capacity(AT_ONCE),
            additions: Vec::with_capacity(AT_ONCE),
            names: None,
        }
    }

    /// Sets the source of the rows' names.
    pub fn set_names(&mut self, names: Arc<Names>) {
        self.names = Some(names);
    }

    /// Names and lookups, if DNS answers are read.
    pub fn names(&self) -> Option<&Arc<Names>> {
        self.names.as_ref()
    }

    /// The local ends, whose host addresses the caller updates.
    pub fn local_ends(&mut self) -> &mut LocalEnds {
        &mut self.local
    }

    /// Sets how host sockets are attributed to pods.
    pub fn set_socket_owners(&mut self, socket_owners: SocketOwners) {
        if socket_owners.looks() {
            let most = if socket_owners.holds() == Holds::Pods { DEFERRED_MAX } else { DEFERRED_GROUPS };
            self.deferred.reserve_exact(most);
        }
        self.socket_owners = Some(socket_owners);
    }

    /// The root of the cgroup tree, if pods run and it has no cgroup of any.
    pub fn tree_without_pods(&mut self) -> Option<std::path::PathBuf> {
        let (owners, pods) = (self.socket_owners.as_mut()?, self.local.pods());
        owners.finds_no_pod(pods).then(|| owners.root().to_owned())
    }

    /// Cgroups and sockets, which the caller updates. [`Pipeline::settle_waiting`] then settles waiting rows.
    pub fn socket_owners(&mut self) -> Option<&mut SocketOwners> {
        self.socket_owners.as_mut()
    }

    pub fn rows(&self) -> &RowTable {
        &self.rows
    }

    /// Rows, ledger and owners, for freezing and settling.
    pub fn books(&mut self) -> (&mut RowTable, &mut Ledger, &OwnerTable) {
        (&mut self.rows, &mut self.ledger, &self.owners)
    }

    /// The pod of this node that is a row's remote end, by the address at the time of the row's last bytes. `None` for
    /// hostNetwork pods, which share the node's address, and for folded rows.
    pub fn remote_pod(&self, row: &Row) -> Option<OwnerId> {
        let pod = self.local.pods().owner_of(row.key.remote, row.changed_mono_ns).filter(|_| row.is_named())?;
        self.owners.find(pod)
    }

    /// The pod that had a local address at this time, monotonic.
    pub fn pod_at(&self, addr: Addr, mono_ns: u64) -> Option<&Arc<Pod>> {
        self.local.pods().owner_of(addr, mono_ns)
    }

    pub fn series(&self) -> &SeriesTable {
        &self.series
    }

    /// Bytes by scope, via and service, for snapshots.
    pub fn costs(&self) -> &CostTable {
        &self.costs
    }

    /// The table that decides how far away a row's remote end is.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Sets the table for rows that are made or used again from now on. It must contain every name of the table before.
    pub fn set_topology(&mut self, topology: Arc<Topology>) {
        self.topology = topology;
    }

    pub fn owners(&self) -> &OwnerTable {
        &self.owners
    }

    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The comparison with the interfaces.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Whether increments wait for their owner, or for the choice of a source (rule 8).
    pub fn some_wait(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The same, for the caller to read the interfaces and to close the books.
    pub fn audit_mut(&mut self) -> &mut Audit {
        &mut self.audit
    }

    /// Sets whom the audit asks; without it nothing is compared.
    pub fn set_audit(&mut self, audit: Audit) {
        self.audit = audit;
        self.learn_tunnels();
    }

    /// Reads the links again: for the audit, and for the ports of tunnels (rule 6).
    pub fn look_at_links(&mut self) {
        self.audit.look();
        self.learn_tunnels();
    }

    fn learn_tunnels(&mut self) {
        let classes = &mut self.policy.classes;
        self.audit.tunnel_ports(&mut |port| classes.learn_tunnel(port));
    }

    pub fn baselines(&self) -> &BaselineTable {
        &self.baselines
    }

    /// The choice of the conntrack zone.
    pub fn ct_zone(&self) -> &CtZoneChoice {
        &self.ct_zone
    }

    /// Sets the latest pods, and settles rows that waited for them.
    pub fn set_pods(&mut self, pods: Arc<PodIndex>, now: Now) {
        self.local.set_pods(pods);
        self.follow_pods_of_addresses(now);
        self.settle_waiting(now);
    }

    /// Called before the first record of a sweep.
    pub fn begin_sweep(&mut self) {
        self.baselines.begin_sweep();
        if let Some(arbiter) = &mut self.arbiter {
            arbiter.begin_sweep();
        }
    }

    /// Called after the last record of a sweep.
    pub fn end_sweep(&mut self, sweep: &Sweep, now: Now) -> SweepEnd {
        // Rows first: what settles below folds and moves rows, and must find the sweep's bytes in them.
        self.add_up();
        let vanished = self.baselines.end_sweep(sweep.complete);
        self.baselines.note_births(now.mono_ns);
        let mut end = SweepEnd {
            vanished_untold: vanished.untold,
            ended_while_away: vanished.while_away,
            not_followed: std::mem::take(&mut self.not_followed),
            hurried: std::mem::take(&mut self.hurried),
            new_ct_zone: None,
        };
        self.note_source_losses(sweep);
        self.end_arbitration(sweep, now);
        if sweep.complete {
            self.local.end_sweep();
            let owners_known = !self.policy.waits || self.local.pods().synced;
            end.new_ct_zone = self.ct_zone.end_sweep(owners_known);
            // Counters of another zone's entries have nothing to do with these baselines.
            if end.new_ct_zone.is_some() {
                self.baselines.restart();
                self.audit.restart();
            }
        }
        self.settle_waiting(now);
        self.rows.fold_homeless(&self.policy.classes, &mut self.ledger);
        end
    }

    /// Books the bytes that the source itself lost in a sweep or a drain.
    pub fn note_source_losses(&mut self, sweep: &Sweep) {
        let lost = bytes_only(sweep.lost_tx_bytes, sweep.lost_rx_bytes);
        if !lost.is_zero() {
            self.ledger.lose(Lost::BpfMapFull, lost);
            self.audit.cross_somewhere(Part::Lost, lost);
        }
    }

    /// Records skipped since the last call.
    pub fn take_skipped(&mut self) -> Skipped {
        std::mem::take(&mut self.skipped)
    }
}

#[cfg(test)]
mod tests;
