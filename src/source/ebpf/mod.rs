//! Counts by our own BPF programs: one entry per flow and local socket, emptied by each sweep.
//!
//! The programs (`bpf/flow.bpf.c`) fill one of two buffers per family. A sweep gives them the other one and empties the
//! quiet one. It reports each entry as an increment of the socket's end. Who opened the flow comes from [`roles`], what
//! became of a service address from [`resolve`]. Needs CAP_BPF and CAP_NET_ADMIN; no kernel BTF, for nothing here reads
//! kernel structs.

pub mod load;
pub mod resolve;
mod roles;
mod tuple;

use std::os::fd::{AsFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

use crate::clock::Now;
use crate::config::SourceKind;
use crate::flow::{Connection, ConnectionKey, Ends, Reading, Traffic};
use crate::health::Component;
use crate::privileges::Needs;
use crate::source::translation::Services;
use crate::source::{Each, Facts, Source, SourceError, SourceHealth, Sweep};
use crate::state::bytes::In;
use crate::stats::{Skip, Stats};
use crate::sys::bpf::{BatchReader, PerCpuReader};
use crate::sys::programs;
use crate::wire::Malformed;

use load::{Buffers, Programs};
use resolve::Resolver;
use roles::{KnownRole, Role, RoleTable};
use tuple::{Counted, KEY4_BYTES, KEY6_BYTES, KernelStats, STATS_BYTES, Tuple, VALUE_BYTES};

/// See [`Facts`]. Service addresses are looked up in conntrack.
pub const FACTS: Facts = Facts {
    kind: SourceKind::Ebpf,
    needs: Needs { net_admin: true, bpf_maps: true },
    rank: Some(2),
    tells_cgroups: true,
    asks_conntrack: true,
    sees_the_host: true,
    counts_at_sockets: true,
    component: Some(Component::EbpfTracer),
};

/// What can be chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Attach here instead of to the root of the hierarchy.
    pub cgroup_root: Option<PathBuf>,
    /// Entries of each IPv4 buffer.
    pub slots_v4: u32,
    /// Entries of each IPv6 buffer.
    pub slots_v6: u32,
    /// Flows whose opener and owner are remembered.
    pub roles: u32,
    /// Look tuples up in conntrack.
    pub resolve: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { cgroup_root: None, slots_v4: 65_536, slots_v6: 16_384, roles: 131_072, resolve: true }
    }
}

/// The source of mode `ebpf`.
pub struct Ebpf {
    programs: Programs,
    reader_v4: BatchReader,
    reader_v6: BatchReader,
    stats_reader: PerCpuReader,
    seen: KernelStats,
    roles: RoleTable,
    resolver: Option<Resolver>,
    /// Why service addresses are not looked up, if they should be.
    unresolved: String,
    /// Why another source does not count.
    instead: String,
    /// Whole dumps of conntrack, where it is read beside; 1 at first.
    dumps: u32,
    fds: [RawFd; 1],
    stats: Arc<Stats>,
}

impl Ebpf {
    /// Loads the programs and attaches them; counting begins before this returns.
    pub fn open(settings: &Settings, stats: Arc<Stats>, now: Now) -> Result<Ebpf, SourceError> {
        let programs =
            load::load(settings).map_err(|error| SourceError::Open(format!("{error}; or use netfilter mode")))?;
        let stats_reader =
            PerCpuReader::new(STATS_BYTES).map_err(|error| SourceError::Open(format!("cannot count CPUs: {error}")))?;
        let resolver = settings.resolve.then(Resolver::open).transpose();
        let resolver = resolver
            .map_err(|error| SourceError::Open(format!("cannot follow the host's addresses by rtnetlink: {error}")))?;
        let fds = [programs.wake.epoll_fd()];
        Ok(Ebpf {
            programs,
            reader_v4: BatchReader::new(KEY4_BYTES, VALUE_BYTES, settings.slots_v4),
            reader_v6: BatchReader::new(KEY6_BYTES, VALUE_BYTES, settings.slots_v6),
            stats_reader,
            seen: KernelStats::default(),
            roles: RoleTable::new(settings.roles, now.mono_ns),
            resolver,
            unresolved: String::new(),
            instead: String::new(),
            dumps: 1,
            fds,
            stats,
        })
    }

    /// Counts in the place of another source. The other's `complaints` are this one's from now on. Its `services` are
    /// asked before conntrack what became of a service address.
    pub fn instead_of(&mut self, complaints: &[String], services: Box<dyn Services>) {
        self.instead = format!("{}; {} counts instead", complaints.join("; "), self.name());
        if let Some(resolver) = &mut self.resolver {
            resolver.consult(services);
        }
    }

    /// Conntrack is read beside: tuples of the node are looked up, so that it is known which of them it has.
    pub fn stand_beside_conntrack(&mut self) {
        if let Some(resolver) = &mut self.resolver {
            resolver.stand_beside_conntrack();
        }
    }

    /// A whole dump of conntrack has shown what was found before it.
    pub fn dump_was_whole(&mut self) {
        self.dumps = self.dumps.wrapping_add(1).max(1);
    }

    /// Asks `services` before conntrack.
    pub fn ask_first(&mut self, services: Box<dyn Services>) {
        if let Some(resolver) = &mut self.resolver {
            resolver.consult(services);
        }
    }

    /// Whether the programs run.
    pub fn is_attached(&self) -> bool {
        programs::are_attached(&self.programs.links)
    }

    fn read_all(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        // Whatever woke us is answered by this sweep; what wakes us later is about the buffers it leaves.
        let woken = self.programs.wake.consume();
        woken.map_err(|error| SourceError::Read(format!("cannot read wake-ups: {error}")))?;
        if let Some(resolver) = &mut self.resolver {
            resolver.begin_sweep();
        }
        let mut sweep = Sweep { complete: true, ..Sweep::default() };
        let Programs { v4, v6, fill, .. } = &mut self.programs;
        let mut book = Book {
            roles: &mut self.roles,
            resolver: &mut self.resolver,
            unresolved: &mut self.unresolved,
            stats: &self.stats,
            dumps: self.dumps,
            now,
        };
        empty(v4, fill, &mut self.reader_v4, &mut book, &mut sweep, each)?;
        empty(v6, fill, &mut self.reader_v6, &mut book, &mut sweep, each)?;
        self.settle_stats(&mut sweep)?;
        Ok(sweep)
    }

    /// What the programs left out or lost since the last sweep.
    fn settle_stats(&mut self, sweep: &mut Sweep) -> Result<(), SourceError> {
        let mut total = KernelStats::default();
        self.stats_reader
            .read(self.programs.stats.as_fd(), 0)
            .map_err(|error| SourceError::Read(format!("cannot read the programs' counters: {error}")))?
            .for_each(|cpu| total.add(cpu));
        let last = std::mem::replace(&mut self.seen, total);
        sweep.skipped.add_many(Skip::Loopback, total.loopback - last.loopback);
        sweep.skipped.add_many(Skip::Malformed, total.not_ip - last.not_ip);
        sweep.skipped.add_many(Skip::IcmpError, total.icmp_error - last.icmp_error);
        sweep.skipped.add_many(Skip::RawCopy, total.raw_copy - last.raw_copy);
        sweep.skipped.add_many(Skip::SameSegment, total.same_segment - last.same_segment);
        sweep.skipped.add_many(Skip::NoBuffer, total.no_buffer - last.no_buffer);
        sweep.lost_tx_bytes = total.lost_tx.bytes - last.lost_tx.bytes;
        sweep.lost_rx_bytes = total.lost_rx.bytes - last.lost_rx.bytes;
        self.stats.bpf_later_fragments.add(total.fragments - last.fragments);
        self.stats.bpf_roles.set(self.roles.len() as u64);
        self.stats.bpf_roles_guessed.set(self.roles.guessed());
        self.stats.bpf_roles_evicted.set(self.roles.evicted());
        Ok(())
    }
}

/// Swaps one family's buffers and hands over what the quiet one holds.
fn empty(
    buffers: &mut Buffers,
    fill: &libbpf_rs::MapHandle,
    reader: &mut BatchReader,
    book: &mut Book<'_>,
    sweep: &mut Sweep,
    each: Each<'_>,
) -> Result<(), SourceError> {
    let quiet =
        buffers.swap(fill).map_err(|error| SourceError::Read(format!("cannot swap the BPF buffers: {error}")))?;
    reader
        .drain(quiet, &mut |key, value| match Tuple::read(key).zip(Counted::read(value)) {
            Some((tuple, counted)) => {
                sweep.seen += 1;
                let (role, tracked) = book.settle(&tuple, &counted);
                let reading = if tracked { Reading::Tracked } else { Reading::Increment };
                each(&Connection { reading, ..connection(&tuple, &counted, &role) });
            }
            None => sweep.skipped.add(Skip::Malformed),
        })
        .map_err(|error| SourceError::Read(format!("cannot drain the BPF buffers: {error}")))?;
    Ok(())
}

/// What a sweep consults about each entry.
struct Book<'a> {
    roles: &'a mut RoleTable,
    resolver: &'a mut Option<Resolver>,
    unresolved: &'a mut String,
    stats: &'a Stats,
    dumps: u32,
    now: Now,
}

impl Book<'_> {
    /// The flow's role, and whether conntrack was just found to count it, too.
    fn settle(&mut self, tuple: &Tuple, counted: &Counted) -> (Role, bool) {
        let mut settled = self.roles.settle(tuple, counted, self.now.mono_ns);
        // What was found is asked again until a whole dump has shown it.
        let is_open = settled.is_open || settled.role.found_at_dump == self.dumps;
        let tracked = is_open && self.look_up(&mut settled);
        self.roles.count_guess(&settled);
        (settled.role, tracked)
    }

    fn look_up(&mut self, settled: &mut KnownRole) -> bool {
        let Some(resolver) = self.resolver else { return false };
        if !resolver.is_worth_it(&settled.role, self.now.mono_ns) {
            return false;
        }
        self.stats.bpf_lookups.inc();
        match resolver.look_up(&settled.role, self.now.mono_ns) {
            Ok(found) => {
                if found.is_none() && settled.role.opened_by_local && resolver.is_service(&settled.role.tuple) {
                    self.stats.vip_unresolved.inc();
                }
                let tracked = resolver.is_counted_by_conntrack() && resolver.is_of_node(&settled.role.tuple);
                settled.role.found_at_dump = if tracked { self.dumps } else { settled.role.found_at_dump };
                self.roles.translate(settled, found);
                tracked
            }
            // The kernel has no conntrack, or refuses: another try would meet the same.
            Err(error) => {
                *self.unresolved = format!("cannot look up connections in conntrack: {error} (CAP_NET_ADMIN missing?)");
                resolver.give_up_conntrack();
                false
            }
        }
    }
}

/// One entry in the words of all sources.
fn connection(tuple: &Tuple, counted: &Counted, role: &Role) -> Connection {
    let mut key = ConnectionKey {
        src: tuple.local,
        dst: tuple.remote,
        sport: tuple.local_port,
        dport: tuple.remote_port,
        ct_zone: 0,
        protocol: tuple.protocol,
        family: tuple.family,
        realm: 0,
    };
    let mut ends = Ends::Originator;
    let mut traffic = Traffic { orig: counted.tx, reply: counted.rx };
    let mut more = Traffic { orig: counted.more_tx, reply: counted.more_rx };
    if !role.opened_by_local {
        (key.src, key.dst) = (key.dst, key.src);
        (key.sport, key.dport) = (key.dport, key.sport);
        ends = Ends::Responder;
        traffic = Traffic { orig: traffic.reply, reply: traffic.orig };
        more = Traffic { orig: more.reply, reply: more.orig };
    }
    let (mut backend, mut backend_port) = (key.dst, key.dport);
    if let Some(found) = role.translation {
        (key.src, key.dst, key.sport, key.dport) = (found.src, found.dst, found.sport, found.dport);
        (backend, backend_port) = (found.backend, found.backend_port);
    }
    Connection {
        key,
        backend,
        backend_port,
        ends,
        reading: Reading::Increment,
        id: 0,
        start_ns: 0,
        traffic,
        more: Some(more),
        cgroup: role.cgroup,
    }
}

impl Source for Ebpf {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn sweep(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        self.read_all(now, each)
    }

    /// A buffer is three quarters full: it is emptied at once.
    fn drain(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        self.read_all(now, each)
    }

    fn glance(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        self.read_all(now, each)
    }

    fn poll_fds(&self) -> &[RawFd] {
        &self.fds
    }

    fn upkeep(&mut self, _: Now) -> SourceHealth {
        let degraded = if self.is_attached() {
            let services = self.resolver.as_ref().map_or("", Resolver::trouble);
            let said = [self.unresolved.as_str(), services, &self.instead];
            said.into_iter().filter(|why| !why.is_empty()).collect::<Vec<_>>().join("; ")
        } else {
            "something detached the BPF programs from their cgroup, so nothing is counted: restart the agent".to_owned()
        };
        SourceHealth { degraded, ..SourceHealth::default() }
    }

    fn persist(&self, out: &mut Vec<u8>) {
        self.roles.persist(out);
    }

    fn restore(&mut self, from: &mut In<'_>) -> Result<(), Malformed> {
        self.roles.restore(from)
    }

    fn ends_are_told(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
