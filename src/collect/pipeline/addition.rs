//! An increment of one end on its way into the books. Adds it to its row, to the costs and to the audit, and names a
//! row that is new. It does not know how the owner was found.

use super::Pipeline;
use crate::audit::Path;
use crate::audit::equation::Part;
use crate::flow::protocol::TCP;
use crate::flow::{Addr, Class, Split, TxRx};
use crate::names::{LOOPBACK, RowName, loopback_of};
use crate::owner::Owner;
use crate::rows::{Added, Increment, Push, RowKey};
use crate::stats::Withheld;
use crate::topology::{Charge, Scope};

/// An increment of one end, for its row.
pub(super) struct Addition {
    pub(super) key: RowKey,
    pub(super) push: Push,
    /// Whether the remote end is a pod of this node, or the node.
    pub(super) is_of_node: bool,
    /// Whether the audit was told of it when it began to wait.
    pub(super) has_crossed: bool,
    /// What the source says that is more of it on the wire.
    pub(super) more: Option<TxRx>,
    pub(super) counts: TxRx,
    pub(super) split: Split,
    /// The service address that the client asked for.
    pub(super) service: Option<Addr>,
    /// When it was counted, and what time it is; monotonic. They differ where it waited.
    pub(super) counted_ns: u64,
    pub(super) mono_ns: u64,
}

impl Pipeline {
    /// Adds the collected increments to their rows. Called at the end of a sweep, a drain or a settlement; rows and books
    /// agree afterwards. Rows lie anywhere in a table larger than the caches, so many are read ahead together.
    pub(super) fn add_up(&mut self) {
        if self.additions.is_empty() {
            return;
        }
        let mut additions = std::mem::take(&mut self.additions);
        self.rows.warm(additions.iter().map(|a| &a.key));
        for a in additions.drain(..) {
            let (topology, classes) = (&self.topology, &self.policy.classes);
            let increment = Increment { counts: a.counts, at_ns: a.counted_ns, split: a.split };
            // Asked only for a new row, or one used again: a look-up per increment would cost more than the addition.
            let charge = || match a.key.class {
                Class::Overlay => Charge::plain(Scope::Overlay),
                Class::Multicast => Charge::plain(Scope::Unknown),
                Class::Inside | Class::Outside => {
                    topology.charge(a.key.remote, a.is_of_node, classes.is_in_cluster(a.key.remote))
                }
            };
            let added = self.rows.add(&a.key, a.push, increment, classes, &mut self.ledger, charge);
            self.costs.add(a.key.owner, added.way, a.counts, a.mono_ns);
            if let Some(slot) = added.slot.filter(|_| added.is_new) {
                self.name(slot, &a);
            }
            self.audit_addition(&a, added);
        }
        self.additions = additions;
    }

    /// Adds what an increment is more on the wire (rule 17), and tells the audit which way it went. The way of a row is
    /// asked for when the row is named.
    fn audit_addition(&mut self, a: &Addition, added: Added) {
        let path = match added.slot {
            _ if a.is_of_node => Path::UNKNOWN,
            Some(slot) if !added.is_new => self.rows.path(slot),
            slot => {
                let path = self.audit.path_to(a.key.remote, a.key.local);
                slot.into_iter().for_each(|slot| self.rows.set_path(slot, path));
                path
            }
        };
        let (more, is_estimated) = match a.more {
            // What stays on the node is on no wire.
            _ if a.is_of_node => (TxRx::ZERO, false),
            Some(more) if a.key.protocol == TCP || !more.is_zero() => (more, false),
            // Datagrams that are cut below the programs: there is only their mean length to tell by.
            Some(_) => {
                let more = self.audit.more(path, a.key.protocol, a.key.remote.is_v4(), a.counts);
                (more, !more.is_zero())
            }
            None => (self.audit.more(path, a.key.protocol, a.key.remote.is_v4(), a.counts), true),
        };
        if let Some(slot) = added.slot.filter(|_| is_estimated || !more.is_zero()) {
            self.rows.lengthen(slot, more, is_estimated);
        }
        if !more.is_zero() {
            self.series.lengthen(a.key.owner, a.key.protocol, a.key.direction, a.key.class, more);
        }
        let part = match a.push {
            _ if added.is_lost => Part::Lost,
            Push::Yes | Push::No(Withheld::NoDakr) => Part::Rows,
            Push::No(Withheld::InboundInside | Withheld::InboundNone | Withheld::Overlay | Withheld::Multicast) => {
                Part::Withheld
            }
        };
        // What waited has crossed its interface in the books of its own sweep.
        if !a.has_crossed {
            self.audit.cross(
                path,
                part,
                (a.key.protocol, a.key.remote.is_v4()),
                a.counts,
                Some(more).filter(|_| !is_estimated),
            );
        }
    }

    /// Names a row by the name that its owner resolved; behind a service by the name of the service address.
    fn name(&mut self, slot: u32, Addition { key, service, mono_ns, .. }: &Addition) {
        let Some(names) = &self.names else { return };
        let (is_service, address, now_ns) = (service.is_some(), service.unwrap_or(key.remote), *mono_ns);
        let (local, pods) = (&self.local, self.local.pods());
        let found = match self.owners.get(key.owner) {
            Owner::Pod(pod) => {
                let others = pods.tenures_of(&pod.uid).filter(|t| t.addr != key.local);
                let own_loopback = loopback_of(&pod.uid);
                let others = others.map(|tenure| tenure.addr);
                let mut clients = [key.local, own_loopback].into_iter().chain(others);
                names.find(address, now_ns, &mut clients, &|client, asked_ns| {
                    if client == own_loopback {
                        return true;
                    }
                    let asker = pods.owner_of(client, asked_ns);
                    asker.map_or(client == key.local && !pod.host_network, |asker| asker.uid == pod.uid)
                })
            }
            Owner::Host | Owner::Group(_) => {
                let is_own = |client: Addr, _| client == LOOPBACK || local.is_host(client);
                names.find(address, now_ns, &mut [key.local, LOOPBACK].into_iter(), &is_own)
            }
            Owner::Address | Owner::Other => {
                names.find(address, now_ns, &mut std::iter::once(key.local), &|client, _| client == key.local)
            }
        };
        self.rows.set_name(slot, found.map(|(text, origin)| RowName { text, origin, is_service }));
    }
}
