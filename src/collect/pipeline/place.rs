//! Attributes increments to their ends: finds the owner of each, lets an increment wait for an unknown pod, and decides
//! what is pushed. [`addition`](super::addition) brings what is attributed into the books.

use super::Pipeline;
use super::addition::Addition;
use crate::audit::equation::Part;
use crate::class::Classes;
use crate::config::PushInbound;
use crate::flow::protocol::TCP;
use crate::flow::{Addr, Class, Direction, Ends, Traffic};
use crate::owner::local::LocalEnds;
use crate::owner::socket_owners::{SocketOwners, Whose};
use crate::owner::waiting::{Exchange, Newcomer, WaitingRow};
use crate::owner::{OwnerId, OwnerTable};
use crate::rows::{Level, Push, RowKey};
use crate::stats::{Unattributed, Withheld};
use crate::table::AT_ONCE;
use crate::topology::Way;

/// Settings that are constant while the agent runs.
pub(super) struct Policy {
    pub(super) classes: Classes,
    pub(super) push_inbound: PushInbound,
    pub(super) pushes: bool,
    /// In a cluster an unknown local end may be a pod that the API server has not reported yet.
    pub(super) waits: bool,
}

impl Pipeline {
    /// Counts the increments that waited for the read of the host's sockets.
    pub fn place_deferred(&mut self) {
        let mut deferred = std::mem::take(&mut self.deferred);
        for (mut at, end) in deferred.drain(..) {
            at.of.cgroup =
                self.cgroup_by_programs(&end).or_else(|| self.socket_owners.as_ref()?.cgroup_of(&end)).unwrap_or(0);
            self.place(&at);
        }
        self.deferred = deferred;
        self.add_up();
    }

    /// Attributes an increment to its ends, or lets it wait.
    pub(super) fn place(&mut self, at: &Attribution) {
        let (shared, open) = self.shared(at);
        if shared.of.ends == Ends::Neither {
            return;
        }
        let at = &shared;
        // In mode auto the next sweep decides which source counts this end; what is counted before would be counted twice.
        if open {
            let waits = Newcomer {
                of: at.of,
                beside: at.beside,
                fine: false,
                traffic: at.traffic,
                crossing: Default::default(),
            };
            return self.let_wait(at, waits);
        }
        let (found, not_yet) = self.attribute(at, !self.policy.waits);
        let other = if found == Found::Client { at.of.backend } else { at.of.client };
        let waits = match found {
            Found::Both => return,
            // The other end is counted already. What is left waits if it may still be a pod's; else it is remote, and
            // nothing is unattributed.
            Found::None if at.beside => match at.of.ends {
                Ends::Both if !not_yet && !self.may_be_of_this_node(at) => return,
                _ if !self.policy.waits => return,
                Ends::Originator if !(not_yet || may_be_a_pods(&self.local, &self.policy.classes, at.of.client)) => {
                    return;
                }
                Ends::Responder if !(not_yet || may_be_a_pods(&self.local, &self.policy.classes, at.of.backend)) => {
                    return;
                }
                ends => ends,
            },
            Found::None if !self.policy.waits => return self.count_without_owner(at),
            // A record of both ends may be of what only passes: with busy NodePorts nothing else would find room to wait.
            Found::None if at.of.ends == Ends::Both && !not_yet && !self.may_be_of_this_node(at) => {
                return self.count_without_owner(at);
            }
            Found::None => at.of.ends,
            // One end has its owner, the other may be a pod's too. Before the first list of pods every address may be.
            // Afterwards only addresses near known pods may be, or all traffic between the node and others would wait.
            _ if !self.policy.waits || !(not_yet || may_be_a_pods(&self.local, &self.policy.classes, other)) => return,
            Found::Client => Ends::Responder,
            Found::Backend => Ends::Originator,
        };
        let beside = found != Found::None || at.beside;
        // The record has one cgroup, of one end. An end that waits alone keeps it only if it is that end.
        let speaks = !beside || end_with_socket(at.of.ends, at.of.client, &self.local) == waits;
        let newcomer = Newcomer {
            of: Exchange { ends: waits, cgroup: if speaks { at.of.cgroup } else { 0 }, ..at.of },
            beside,
            fine: [at.of.client, at.of.backend].iter().any(|addr| self.local.is_vacant(*addr, at.mono_ns)),
            traffic: at.traffic,
            crossing: Default::default(),
        };
        self.let_wait(at, newcomer);
    }

    fn let_wait(&mut self, at: &Attribution, mut newcomer: Newcomer) {
        if let Some(held) = newcomer.held() {
            self.ledger.hold(held);
            // What waits beside an end that has its row has crossed with that, or stays on the node.
            if !newcomer.beside {
                newcomer.crossing = self.audit.pass(at.of.client, at.of.backend, at.of.protocol, Part::Held, held);
            }
        }
        // A full table decides about its oldest increment at once, so that the newest have time to find their pods.
        if let Some(oldest) = self.waiting.add(&newcomer, at.mono_ns) {
            self.hurried += 1;
            self.settle(&oldest, at.mono_ns, Some(Unattributed::WaitingFull));
        }
    }

    fn may_be_of_this_node(&self, at: &Attribution) -> bool {
        [at.of.client, at.of.backend].iter().any(|addr| may_be_a_pods(&self.local, &self.policy.classes, *addr))
    }

    /// Attributes the increment to those of its ends that are local and that it covers. Returns which it found, and
    /// whether one is local with an owner that is not known yet. With `finally` the address decides about such an end.
    pub(super) fn attribute(&mut self, at: &Attribution, finally: bool) -> (Found, bool) {
        let mut whose = |end| match at.whose(end, &self.local, &mut self.socket_owners, &mut self.owners) {
            Owned::NotYet if finally => at.by_address(end, &self.local, &mut self.owners, true),
            owned => owned,
        };
        let (client, backend) = (whose(Ends::Originator), whose(Ends::Responder));
        let own_client = client.known().filter(|_| at.of.ends != Ends::Responder);
        let own_backend = backend.known().filter(|_| at.of.ends != Ends::Originator);
        if let Some(owner) = own_client {
            self.add(at, owner, at.of.client, at.of.backend, Direction::Outbound, backend != Owned::Nobodys);
        }
        if let Some(owner) = own_backend {
            self.add(at, owner, at.of.backend, at.of.client, Direction::Inbound, client != Owned::Nobodys);
        }
        let found = match (own_client.is_some(), own_backend.is_some(), at.of.ends) {
            (false, false, _) => Found::None,
            (true, false, Ends::Both) => Found::Client,
            (false, true, Ends::Both) => Found::Backend,
            _ => Found::Both,
        };
        (found, client == Owned::NotYet || backend == Owned::NotYet)
    }

    /// Rule 5: a connection that this node translated crosses its wire twice and belongs to the host. Any other without
    /// a local end is unattributed.
    pub(super) fn count_without_owner(&mut self, at: &Attribution) {
        if at.of.translated && at.of.ends == Ends::Both {
            self.add(at, OwnerId::HOST, at.of.asked, at.of.client, Direction::Inbound, false);
            self.add(at, OwnerId::HOST, at.of.asked, at.of.backend, Direction::Outbound, false);
        } else {
            let what = at.traffic.seen_by(Direction::Outbound);
            self.ledger.leave_unattributed(Unattributed::NoLocalEnd, what);
            if !at.has_crossed {
                self.audit.pass(at.of.client, at.of.backend, at.of.protocol, Part::Unattributed, what);
            }
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
        // A local remote end is inside whatever its address is: -local-cidrs need not lie in -cluster-cidrs.
        let inside = remote_is_local || self.policy.classes.is_inside(remote);
        let class = match inside {
            _ if Classes::is_of_many(remote) || Classes::is_of_many(local) => Class::Multicast,
            true if owner == OwnerId::HOST && self.policy.classes.is_tunnel(at.of.protocol, at.of.port) => {
                Class::Overlay
            }
            true => Class::Inside,
            false => Class::Outside,
        };
        let counts = at.traffic.seen_by(direction);
        // Series are added at once, rows later: series live in a small table that stays in the caches.
        self.series.add(owner, at.of.protocol, direction, class, counts, at.mono_ns);
        self.additions.push(Addition {
            key: RowKey {
                local,
                remote,
                owner,
                port: at.of.port,
                protocol: at.of.protocol,
                direction,
                class,
                level: Level::Named,
                way: Way::UNKNOWN,
            },
            push: self.policy.push(direction, class, at.guessed),
            is_of_node: remote_is_local,
            has_crossed: at.has_crossed,
            more: at.more.map(|more| more.seen_by(direction)),
            counts,
            split: at.of.split,
            service: (direction == Direction::Outbound && at.of.asked != at.of.backend).then_some(at.of.asked),
            counted_ns: at.counted_ns,
            mono_ns: at.mono_ns,
        });
        if self.additions.len() == AT_ONCE {
            self.add_up();
        }
    }
}

/// The ends of an increment that have an owner.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    None,
    Client,
    Backend,
    /// All ends that the record covers.
    Both,
}

/// An increment and all facts that decide its rows.
#[derive(Clone, Copy)]
pub(super) struct Attribution {
    pub(super) of: Exchange,
    /// The other end has its row already, or another source counts it.
    pub(super) beside: bool,
    /// Who opened the connection is a guess.
    pub(super) guessed: bool,
    pub(super) traffic: Traffic,
    /// When it was counted: the owner at this time decides. Monotonic, as all times here.
    pub(super) counted_ns: u64,
    pub(super) mono_ns: u64,
    /// When the connection had begun, where that is known.
    pub(super) began_ns: Option<u64>,
    /// Whether the audit was told of it when it began to wait.
    pub(super) has_crossed: bool,
    /// What the source says that is more of it on the wire.
    pub(super) more: Option<Traffic>,
}

/// The owner of an end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owned {
    Nobodys,
    Known(OwnerId),
    /// Not known yet. The cgroup of its socket will decide, or a deleted pod had the address and the API server has not
    /// reported the next one.
    NotYet,
}

impl Owned {
    pub(super) fn known(self) -> Option<OwnerId> {
        match self {
            Owned::Known(owner) => Some(owner),
            Owned::Nobodys | Owned::NotYet => None,
        }
    }
}

impl Attribution {
    pub(super) fn of(row: &WaitingRow, mono_ns: u64) -> Attribution {
        Attribution {
            of: row.key.of,
            beside: row.key.beside,
            guessed: false,
            traffic: row.traffic,
            counted_ns: row.counted_mono_ns,
            mono_ns,
            began_ns: None,
            has_crossed: row.held().is_some(),
            more: None,
        }
    }

    /// Finds the owner by the cgroup of the socket if that is a pod's, else by the address. The cgroup comes first
    /// because hostNetwork pods share the node's address. A group has no address: it only says more of an end that is
    /// local without it.
    pub(super) fn whose(
        &self,
        end: Ends,
        local: &LocalEnds,
        socket_owners: &mut Option<SocketOwners>,
        owners: &mut OwnerTable,
    ) -> Owned {
        if self.of.cgroup != 0
            && let Some(socket_owners) = socket_owners
            && end_with_socket(self.of.ends, self.of.client, local) == end
        {
            match socket_owners.whose(self.of.cgroup, local.pods()) {
                // A mesh's proxy has sockets in the networks of the pods that it serves.
                Whose::Pod(pod) if local.is_anothers(self.addr(end), pod, self.counted_ns) => {}
                Whose::Pod(pod) => return Owned::Known(owners.id_of(pod)),
                Whose::NotYet => return Owned::NotYet,
                Whose::Group(path) => {
                    let by_address = self.by_address(end, local, owners, false);
                    return match by_address {
                        Owned::Known(OwnerId::HOST | OwnerId::ADDRESS) => {
                            owners.id_of_group(path).map_or(by_address, Owned::Known)
                        }
                        _ => by_address,
                    };
                }
                Whose::Nobodys => {}
            }
        }
        self.by_address(end, local, owners, false)
    }

    /// The owner of an end by its address. Bytes at the address of a deleted pod wait, for they may be a new pod's.
    /// With `finally` they are the old pod's. They are so at once where the connection began while the old pod had the
    /// address.
    fn by_address(&self, end: Ends, local: &LocalEnds, owners: &mut OwnerTable, finally: bool) -> Owned {
        let addr = self.addr(end);
        let begun_ns = self.began_ns.filter(|_| self.of.protocol == TCP);
        match local.holder_of(addr, self.counted_ns, begun_ns, owners) {
            Some((_, is_vacant)) if is_vacant && !finally && !self.began_with(addr, local) => Owned::NotYet,
            Some((owner, _)) => Owned::Known(owner),
            None => Owned::Nobodys,
        }
    }
}

impl Attribution {
    fn addr(&self, end: Ends) -> Addr {
        if end == Ends::Originator { self.of.client } else { self.of.backend }
    }

    fn began_with(&self, addr: Addr, local: &LocalEnds) -> bool {
        self.began_ns.is_some_and(|began_ns| local.had_address(addr, self.counted_ns, began_ns))
    }
}

impl Policy {
    /// Rule 9: one node reports each connection, once, because the platform bills tx + rx of every row.
    fn push(&self, direction: Direction, class: Class, guessed: bool) -> Push {
        let withheld = match (direction, class, self.push_inbound) {
            // Every class by its name: a new one is to be decided here.
            (_, Class::Overlay, _) => Some(Withheld::Overlay),
            (_, Class::Multicast, _) => Some(Withheld::Multicast),
            (Direction::Outbound, Class::Inside | Class::Outside, _) => None,
            (Direction::Inbound, Class::Inside | Class::Outside, PushInbound::All) => None,
            (Direction::Inbound, Class::Inside | Class::Outside, PushInbound::None) => Some(Withheld::InboundNone),
            (Direction::Inbound, Class::Outside, PushInbound::External) => None,
            // Nobody else may report what is outbound in truth.
            (Direction::Inbound, Class::Inside, PushInbound::External) if guessed => None,
            (Direction::Inbound, Class::Inside, PushInbound::External) => Some(Withheld::InboundInside),
        };
        match withheld {
            Some(reason) => Push::No(reason),
            None if !self.pushes => Push::No(Withheld::NoDakr),
            None => Push::Yes,
        }
    }
}

/// Whether an end without an owner may belong to a pod of this node that is not known yet.
pub(super) fn may_be_a_pods(local: &LocalEnds, classes: &Classes, addr: Addr) -> bool {
    let pods = local.pods();
    !pods.synced || (pods.is_near(addr) && classes.is_inside(addr))
}

/// The end that the cgroup id belongs to; the host's end if the record covers both.
pub(super) fn end_with_socket(ends: Ends, client: Addr, local: &LocalEnds) -> Ends {
    match ends {
        Ends::Both if local.is_host(client) => Ends::Originator,
        Ends::Both => Ends::Responder,
        end => end,
    }
}
