//! The local ends and their owners: pods by address and time, the host's own addresses, `-local-cidrs`.
//!
//! It knows addresses and the published pod index, and nothing of connections. An address that the host loses stays
//! local until its connections are gone, because records still contain it.

use std::collections::HashSet;
use std::sync::Arc;

use super::{OwnerId, OwnerTable, Pod, PodIndex};
use crate::flow::{Addr, Cidr};

/// Complete sweeps without a connection after which a lost address is no longer local.
const SWEEPS_AFTER_LEAVING: u8 = 3;

/// The local ends of this node.
pub struct LocalEnds {
    host: HashSet<Addr, foldhash::fast::RandomState>,
    /// Lost addresses, each with the number of complete sweeps since its last connection.
    left: Vec<(Addr, u8)>,
    cidrs: Vec<Cidr>,
    pods: Arc<PodIndex>,
}

impl LocalEnds {
    /// Starts without host addresses; `cidrs` is `-local-cidrs`.
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
    #[cfg(not(alone))]
    pub fn replace_host(&mut self, addrs: &[Addr]) {
        let lost: Vec<Addr> = self.host.iter().filter(|a| !addrs.contains(a)).copied().collect();
        for addr in lost {
            self.remove_host(addr);
        }
        for addr in addrs {
            self.add_host(*addr);
        }
    }

    /// Sets the latest pod index.
    pub fn set_pods(&mut self, pods: Arc<PodIndex>) {
        self.pods = pods;
    }

    /// The pod index in use.
    pub fn pods(&self) -> &Arc<PodIndex> {
        &self.pods
    }

    /// Whether an address is the host's own, or was until recently.
    pub fn is_host(&self, addr: Addr) -> bool {
        self.host.contains(&addr) || self.left.iter().any(|(gone, _)| *gone == addr)
    }

    /// Returns the owner of `addr` at `at_ns`, monotonic; `None` if it is not a local end.
    pub fn owner_of(&self, addr: Addr, at_ns: u64, owners: &mut OwnerTable) -> Option<OwnerId> {
        self.holder_of(addr, at_ns, None, owners).map(|(owner, _)| owner)
    }

    /// Returns the same together with [`LocalEnds::is_vacant`], in one search. What is known to have `begun_ns` before the
    /// pod had the address is the one's who had it then.
    pub fn holder_of(
        &self,
        addr: Addr,
        at_ns: u64,
        begun_ns: Option<u64>,
        owners: &mut OwnerTable,
    ) -> Option<(OwnerId, bool)> {
        if let Some(tenure) = self.pods.tenure_of(addr, at_ns) {
            let begun_ns = begun_ns.filter(|begun_ns| *begun_ns < tenure.from_ns);
            if let Some(before) = begun_ns.and_then(|begun_ns| self.pods.tenure_of(addr, begun_ns)) {
                return Some((owners.id_of(&before.pod), false));
            }
            return Some((owners.id_of(&tenure.pod), tenure.is_over(at_ns)));
        }
        if self.is_host(addr) {
            return Some((OwnerId::HOST, false));
        }
        self.cidrs.iter().any(|range| range.contains(addr)).then_some((OwnerId::ADDRESS, false))
    }

    /// Whether an address that is not the host's is known to be a local end.
    pub fn is_known(&self, addr: Addr, at_ns: u64) -> bool {
        self.pods.tenure_of(addr, at_ns).is_some() || self.cidrs.iter().any(|range| range.contains(addr))
    }

    /// Whether the pod that [`LocalEnds::owner_of`] returns had lost the address by then. The bytes may belong to a new
    /// pod that the API server has not reported yet.
    pub fn is_vacant(&self, addr: Addr, at_ns: u64) -> bool {
        self.pods.tenure_of(addr, at_ns).is_some_and(|tenure| tenure.is_over(at_ns))
    }

    /// Whether the pod that [`LocalEnds::owner_of`] names for `at_ns` had the address at `then_ns`, too.
    pub fn had_address(&self, addr: Addr, at_ns: u64, then_ns: u64) -> bool {
        let covers = |from_ns: u64, ended_ns: u64| (from_ns..=ended_ns).contains(&then_ns);
        self.pods.tenure_of(addr, at_ns).is_some_and(|tenure| covers(tenure.from_ns, tenure.ended_ns))
    }

    /// The address of the node that the pods run on, if it is none of this network namespace.
    pub fn node_elsewhere(&self) -> Option<Addr> {
        let told = self.pods.host_ips();
        let is_here = self.host.is_empty() || told.iter().any(|addr| self.is_host(*addr));
        if is_here { None } else { told.first().copied() }
    }

    /// Whether an address is another pod's than that of a socket which has it: its own pod is known to be elsewhere. An
    /// address that changed hands is not, for its new pod has none other.
    pub fn is_anothers(&self, addr: Addr, of_socket: &Pod, at_ns: u64) -> bool {
        let tenures = self.pods.tenures();
        let has_another =
            || tenures.iter().any(|t| t.pod.uid == of_socket.uid && t.addr != addr && t.addr.is_v4() == addr.is_v4());
        !self.is_host(addr)
            && self.pods.tenure_of(addr, at_ns).is_some_and(|t| t.pod.uid != of_socket.uid && !t.is_over(at_ns))
            && (of_socket.host_network || has_another())
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
