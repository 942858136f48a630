//! Which addresses are local ends, and whose: pods by address and time, the host's own addresses, `-local-cidrs`.
//!
//! Knows addresses and the published pod index; nothing of connections. An address that leaves the host stays local
//! until its connections are gone: they are still told under it.

use std::collections::HashSet;
use std::sync::Arc;

use super::{OwnerId, OwnerTable, PodIndex};
use crate::flow::{Addr, Cidr};

/// Complete sweeps without a connection after which an address that left the host is local no more.
const SWEEPS_AFTER_LEAVING: u8 = 3;

/// The local ends of this node.
pub struct LocalEnds {
    host: HashSet<Addr, foldhash::fast::RandomState>,
    /// Addresses that left the host, with the complete sweeps since one of their connections was seen.
    left: Vec<(Addr, u8)>,
    cidrs: Vec<Cidr>,
    pods: Arc<PodIndex>,
}

impl LocalEnds {
    /// No host address yet; `cidrs` are those of `-local-cidrs`.
    pub fn new(cidrs: &[Cidr]) -> LocalEnds {
        LocalEnds { host: HashSet::default(), left: Vec::new(), cidrs: cidrs.to_vec(), pods: Arc::default() }
    }

    /// The host got an address.
    pub fn add_host(&mut self, addr: Addr) {
        self.left.retain(|(gone, _)| *gone != addr);
        self.host.insert(addr);
    }

    /// The host lost an address.
    pub fn remove_host(&mut self, addr: Addr) {
        if self.host.remove(&addr) {
            self.left.push((addr, 0));
        }
    }

    /// The host has exactly these addresses.
    pub fn replace_host(&mut self, addrs: &[Addr]) {
        let lost: Vec<Addr> = self.host.iter().filter(|a| !addrs.contains(a)).copied().collect();
        for addr in lost {
            self.remove_host(addr);
        }
        for addr in addrs {
            self.add_host(*addr);
        }
    }

    /// Takes the latest pod index.
    pub fn set_pods(&mut self, pods: Arc<PodIndex>) {
        self.pods = pods;
    }

    /// The pod index in use.
    pub fn pods(&self) -> &Arc<PodIndex> {
        &self.pods
    }

    /// Whether an address is, or was until lately, the host's own.
    pub fn is_host(&self, addr: Addr) -> bool {
        self.host.contains(&addr) || self.left.iter().any(|(gone, _)| *gone == addr)
    }

    /// Whose `addr` was at `at_wall_ns`, `None` where it is no local end.
    pub fn owner_of(&self, addr: Addr, at_wall_ns: u64, owners: &mut OwnerTable) -> Option<OwnerId> {
        self.holder_of(addr, at_wall_ns, owners).map(|(owner, _)| owner)
    }

    /// The same, and whether [`LocalEnds::is_vacant`]: one search for both.
    pub fn holder_of(&self, addr: Addr, at_wall_ns: u64, owners: &mut OwnerTable) -> Option<(OwnerId, bool)> {
        if let Some(tenure) = self.pods.tenure_of(addr, at_wall_ns) {
            return Some((owners.id_of(&tenure.pod), tenure.is_over(at_wall_ns)));
        }
        if self.is_host(addr) {
            return Some((OwnerId::HOST, false));
        }
        self.cidrs.iter().any(|range| range.contains(addr)).then_some((OwnerId::ADDRESS, false))
    }

    /// Whether the pod that [`LocalEnds::owner_of`] names had lost the address by then: what comes may be a new pod's
    /// that the API server has not told yet.
    pub fn is_vacant(&self, addr: Addr, at_wall_ns: u64) -> bool {
        self.pods.tenure_of(addr, at_wall_ns).is_some_and(|tenure| tenure.is_over(at_wall_ns))
    }

    /// Whether some address has left lately, so that [`LocalEnds::still_used`] is worth calling.
    pub fn any_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// A connection with this end was seen.
    pub fn still_used(&mut self, addr: Addr) {
        if let Some((_, sweeps)) = self.left.iter_mut().find(|(gone, _)| *gone == addr) {
            *sweeps = 0;
        }
    }

    /// A complete sweep has ended: forgets addresses whose connections are gone.
    pub fn end_sweep(&mut self) {
        self.left.retain_mut(|(_, sweeps)| {
            *sweeps += 1;
            *sweeps <= SWEEPS_AFTER_LEAVING
        });
    }
}

#[cfg(test)]
mod tests;
