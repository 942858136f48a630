//! What a record counts where two sources are read: asks the [`Arbiter`] about each end.

use std::collections::HashSet;

use super::Pipeline;
use super::place::Attribution;
use crate::audit::equation::Part;
use crate::clock::Now;
use crate::collect::arbiter::{Arbiter, End, Has, NodeTuple, OfNode, Place, Read};
use crate::config::SourceKind;
use crate::flow::{Addr, Connection, ConnectionKey, Direction, Ends, Reading, Traffic, protocol};
use crate::owner::local::LocalEnds;
use crate::owner::socket_owners::HostEnd;
use crate::owner::sockets::SocketKey;
use crate::owner::waiting::{self, WaitingTable};
use crate::rows::RowKey;
use crate::source::Sweep;
use crate::stats::Lost;

impl Pipeline {
    /// Says which source is read, before the first record. Where it is two, what waits for a choice needs room.
    pub fn read_by(&mut self, source: SourceKind) {
        self.source = source;
        if source == SourceKind::Auto {
            self.arbiter = Some(Box::default());
            self.waiting = WaitingTable::with_capacity(waiting::CAPACITY);
        }
    }

    /// The node's own ends that the programs count, with their remote ends.
    pub fn claimed(&self) -> HashSet<(Addr, Addr)> {
        self.arbiter.as_ref().map(|arbiter| arbiter.claimed().collect()).unwrap_or_default()
    }

    /// Which source counts a row. `claimed` is what [`Pipeline::claimed`] says.
    pub fn source_of(&self, row: &RowKey, claimed: &HashSet<(Addr, Addr)>) -> SourceKind {
        let Some(arbiter) = &self.arbiter else { return self.source };
        let by_programs = match self.local.is_host(row.local) {
            true => claimed.contains(&(row.local, row.remote)),
            false => arbiter.counts_by_programs(row.local, row.protocol),
        };
        if by_programs { SourceKind::Ebpf } else { SourceKind::Netfilter }
    }

    /// Who counts which end, where two sources are read.
    pub fn arbiter(&self) -> Option<&Arbiter> {
        self.arbiter.as_deref()
    }

    /// The ends that a record counts, and whether another source counts an end of it; `None` where it counts none.
    pub(super) fn arbitrate(&mut self, c: &Connection, traffic: Traffic, now_ns: u64) -> Option<(Ends, bool)> {
        let Some(arbiter) = &mut self.arbiter else { return Some((c.ends, false)) };
        let local = &self.local;
        if c.reading.is_increment() {
            let direction = if c.ends == Ends::Responder { Direction::Inbound } else { Direction::Outbound };
            let own = if c.ends == Ends::Responder { c.backend } else { c.key.src };
            let carried = traffic.seen_by(direction);
            let counts = match local.is_host(own) {
                true => {
                    // Where the node's ends count.
                    let ct_zone = self.ct_zone.chosen();
                    let follows = |key: ConnectionKey| self.baselines.follows(&ConnectionKey { ct_zone, ..key });
                    let has = match c.reading {
                        _ if is_fragment(c) || follows(c.key) || follows(turned(c.key)) => Has::Shown,
                        Reading::Tracked if ct_zone == 0 => Has::Found,
                        _ => Has::Not,
                    };
                    let tuple = as_its_socket(c, c.ends, c.key.dst, c.key.dport);
                    arbiter.note_cgroup(&tuple, c.cgroup);
                    arbiter.programs_at_node(&tuple, has, carried) == OfNode::Counts
                }
                false => arbiter.programs_count(own, c.key.protocol, carried),
            };
            return counts.then_some((c.ends, false));
        }
        let mut ends = c.ends;
        for (end, addr) in [(Ends::Originator, c.key.src), (Ends::Responder, c.backend)] {
            if local.is_host(addr) {
                let mut claimed = false;
                for tuple in as_sockets(c, end) {
                    claimed |= arbiter.is_claimed(&tuple);
                }
                ends = if claimed { ends.without(end) } else { ends };
            }
        }
        let of = [c.key.src, c.backend].map(|addr| end_at(local, addr, now_ns));
        let share = arbiter.share(ends, of, c.key.protocol, Read::Now(traffic), now_ns);
        (share.ends != Ends::Neither).then_some((share.ends, share.beside || ends != c.ends))
    }

    /// The cgroup that the programs saw at an end of the node that conntrack counts.
    pub(super) fn cgroup_by_programs(&self, end: &HostEnd) -> Option<u64> {
        let SocketKey { protocol, local, local_port, remote, remote_port } = end.socket;
        let tuple = NodeTuple { local, remote, local_port, remote_port, protocol };
        self.arbiter.as_ref().and_then(|arbiter| arbiter.cgroup_of(&tuple))
    }

    /// An entry of conntrack has ended, with its last increment, which may be empty.
    pub(super) fn entry_ended(&mut self, c: &Connection, traffic: Traffic) {
        let Some(arbiter) = &mut self.arbiter else { return };
        let both =
            [(Ends::Originator, Direction::Outbound, c.key.src), (Ends::Responder, Direction::Inbound, c.backend)];
        for (end, direction, addr) in both {
            if self.local.is_host(addr) {
                as_sockets(c, end).for_each(|tuple| arbiter.entry_ended(tuple, traffic.seen_by(direction)));
            }
        }
    }

    /// What [`Pipeline::arbitrate`] says of an increment that may have waited; whether it is to wait on.
    pub(super) fn shared(&mut self, at: &Attribution) -> (Attribution, bool) {
        of(&mut self.arbiter, &self.local, at)
    }

    /// Decides what the sweep has shown.
    pub(super) fn end_arbitration(&mut self, sweep: &Sweep, now: Now) {
        if let Some(arbiter) = &mut self.arbiter {
            if sweep.programs_are_gone {
                arbiter.go_blind();
            }
            let whole = sweep.complete && sweep.lost_tx_bytes == 0 && sweep.lost_rx_bytes == 0;
            let rest = arbiter.end_sweep(whole, now.mono_ns);
            if !rest.is_zero() {
                self.ledger.lose(Lost::SourceChanged, rest);
                self.audit.cross_somewhere(Part::Lost, rest);
            }
        }
    }

    /// An address that changed hands is decided anew.
    pub(super) fn follow_pods_of_addresses(&mut self, now: Now) {
        if let Some(arbiter) = &mut self.arbiter {
            let pods = self.local.pods();
            arbiter.follow_pods(|addr| pods.owner_of(addr, now.mono_ns).map_or(0, |pod| number_of(&pod.uid)));
        }
    }
}

/// See [`Pipeline::shared`].
pub(super) fn of(arbiter: &mut Option<Box<Arbiter>>, local: &LocalEnds, at: &Attribution) -> (Attribution, bool) {
    let mut at = *at;
    // What the programs counted speaks for one end and stands beside nothing.
    let is_conntracks = at.of.ends == Ends::Both || at.beside;
    let Some(arbiter) = arbiter.as_mut().filter(|_| is_conntracks) else { return (at, false) };
    let ends = [at.of.client, at.of.backend].map(|addr| end_at(local, addr, at.counted_ns));
    let share = arbiter.share(at.of.ends, ends, at.of.protocol, Read::Before(at.traffic), at.counted_ns);
    (at.of.ends, at.beside) = (share.ends, share.beside || at.beside);
    (at, share.open)
}

fn end_at(local: &LocalEnds, addr: Addr, at_ns: u64) -> End {
    let place = match local.is_host(addr) {
        true => Place::Node,
        false if local.is_known(addr, at_ns) => Place::Here,
        false => Place::Unknown,
    };
    End { addr, place }
}

/// A connection as the socket at one of its ends knows it; `asked` is whom an originator asked for.
fn as_its_socket(c: &Connection, end: Ends, asked: Addr, asked_port: u16) -> NodeTuple {
    let (client, server) = ((c.key.src, c.key.sport), (c.backend, c.backend_port));
    let (own, other) = if end == Ends::Responder { (server, client) } else { (client, (asked, asked_port)) };
    NodeTuple { local: own.0, remote: other.0, local_port: own.1, remote_port: other.1, protocol: c.key.protocol }
}

/// The same before and after destination NAT: a socket of the node is seen to send behind it and to receive before it.
fn as_sockets(c: &Connection, end: Ends) -> impl Iterator<Item = NodeTuple> {
    let asked = as_its_socket(c, end, c.key.dst, c.key.dport);
    let behind = as_its_socket(c, end, c.backend, c.backend_port);
    std::iter::once(asked).chain((behind != asked).then_some(behind))
}

fn turned(key: ConnectionKey) -> ConnectionKey {
    ConnectionKey { src: key.dst, dst: key.src, sport: key.dport, dport: key.sport, ..key }
}

/// The programs count later fragments without ports; conntrack counts them with the first.
fn is_fragment(c: &Connection) -> bool {
    let has_ports = matches!(c.key.protocol, protocol::TCP | protocol::UDP | protocol::SCTP);
    has_ports && c.key.sport == 0 && c.key.dport == 0
}

/// Tells the pods of one address apart; never 0.
fn number_of(uid: &str) -> u64 {
    use std::hash::Hasher;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(uid.as_bytes());
    hasher.finish().max(1)
}
