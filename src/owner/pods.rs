//! The pods of this node, by address and time, as one immutable snapshot.
//!
//! Built and published by [`crate::kube`]; read by the collector, which never waits for it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::flow::Addr;

/// What controls a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `Deployment`, `StatefulSet`, `DaemonSet`, `Job`, `CronJob`, or what the cluster calls it.
    pub kind: Box<str>,
    pub name: Box<str>,
}

/// One pod, as far as counting needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.uid`.
    pub uid: Box<str>,
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`.
    pub name: Box<str>,
    /// What controls it, where known.
    pub workload: Option<Workload>,
    /// Whether it uses the node's network: then no address is its own.
    pub host_network: bool,
}

/// A span of time in which an address was a pod's own.
#[derive(Clone, Debug)]
pub struct Tenure {
    pub addr: Addr,
    /// First moment (`status.startTime`, or when the address was first seen). All of its times are monotonic.
    pub from_ns: u64,
    /// When the pod lost the address, as far as known; `u64::MAX` while it has it.
    pub ended_ns: u64,
    /// Bytes reported until then still belong to this pod: `u64::MAX` while it has the address, then the end plus a grace
    /// time.
    pub until_ns: u64,
    pub pod: Arc<Pod>,
}

impl Tenure {
    /// Whether the pod had lost the address at that time, so that an unknown pod may have it.
    pub fn is_over(&self, at_ns: u64) -> bool {
        at_ns > self.ended_ns
    }
}

/// The pods of this node at one moment, with recently deleted ones.
#[derive(Clone, Debug, Default)]
pub struct PodIndex {
    /// Sorted by (address, from).
    tenures: Vec<Tenure>,
    /// Index of the first tenure of each address. Every increment looks up two addresses, and a binary search takes ten
    /// times as long.
    first: HashMap<Addr, usize, foldhash::fast::RandomState>,
    /// Indices of the tenures, sorted by the uid of their pod.
    by_pod: Vec<u32>,
    /// Addresses that some pod has had, or had and lost: what they carry may be of more than one.
    changed_hands: HashSet<Addr, foldhash::fast::RandomState>,
    /// The first address of each /24 or /64 with tenures.
    near: HashSet<Addr, foldhash::fast::RandomState>,
    /// Every pod by uid, host-network pods included; sorted by uid.
    pods: Vec<Arc<Pod>>,
    /// Static pods with the uid of their cgroups, sorted by it.
    static_pods: Vec<(Box<str>, Arc<Pod>)>,
    /// The node's addresses, as its living pods tell them.
    host_ips: Vec<Addr>,
    /// Whether a container of a living pod was started: then it has cgroups.
    some_run: bool,
    /// Whether the first list has arrived.
    pub synced: bool,
    /// Grows with every change.
    pub generation: u64,
}

impl PodIndex {
    /// Builds the index from tenures and pods in any order.
    pub fn new(mut tenures: Vec<Tenure>, mut pods: Vec<Arc<Pod>>, synced: bool, generation: u64) -> PodIndex {
        tenures.sort_by_key(|t| (t.addr, t.from_ns));
        pods.sort_by(|a, b| a.uid.cmp(&b.uid));
        // In reverse, so that the first tenure of each address is the one that remains.
        let first = tenures.iter().enumerate().rev().map(|(at, tenure)| (tenure.addr, at)).collect();
        let near = tenures.iter().map(|tenure| block_of(tenure.addr)).collect();
        let mut by_pod: Vec<u32> = (0..).take(tenures.len()).collect();
        by_pod.sort_by_key(|at| tenures.get(*at as usize).map(|tenure: &Tenure| &tenure.pod.uid));
        let next = tenures.iter().skip(1).map(|tenure| tenure.addr).chain(std::iter::once(Addr::default()));
        let of_many =
            tenures.iter().zip(next).filter(|(tenure, next)| tenure.addr == *next || tenure.ended_ns != u64::MAX);
        let changed_hands = of_many.map(|(tenure, _)| tenure.addr).collect();
        PodIndex {
            tenures,
            first,
            by_pod,
            changed_hands,
            near,
            pods,
            static_pods: Vec::new(),
            host_ips: Vec::new(),
            some_run: false,
            synced,
            generation,
        }
    }

    /// Adds static pods by the uid of their cgroups. The kubelet names these cgroups by the hash of the pod's file;
    /// `metadata.uid` is that of the mirror pod in the API.
    pub fn with_static_pods(mut self, mut static_pods: Vec<(Box<str>, Arc<Pod>)>) -> PodIndex {
        static_pods.sort_by(|a, b| a.0.cmp(&b.0));
        self.static_pods = static_pods;
        self
    }

    /// Adds what the living pods tell of their node: its addresses, and whether one of them runs.
    pub fn with_node(mut self, host_ips: Vec<Addr>, some_run: bool) -> PodIndex {
        (self.host_ips, self.some_run) = (host_ips, some_run);
        self
    }

    /// The node's addresses, as its living pods tell them.
    pub fn host_ips(&self) -> &[Addr] {
        &self.host_ips
    }

    /// Whether a living pod runs, so that it has cgroups.
    pub fn some_run(&self) -> bool {
        self.some_run
    }

    /// Returns the owner of `addr` at `at_ns`, monotonic. Of overlapping tenures the last one to start
    /// wins: a new pod owns a reused address from its start on.
    pub fn owner_of(&self, addr: Addr, at_ns: u64) -> Option<&Arc<Pod>> {
        self.tenure_of(addr, at_ns).map(|tenure| &tenure.pod)
    }

    /// Returns the tenure behind [`PodIndex::owner_of`]. A past tenure still owns late records if no other pod claims the
    /// address.
    pub fn tenure_of(&self, addr: Addr, at_ns: u64) -> Option<&Tenure> {
        let of_address = self.tenures.get(*self.first.get(&addr)?..)?;
        let begun = of_address.iter().take_while(|t| t.addr == addr && t.from_ns <= at_ns);
        begun.filter(|t| at_ns <= t.until_ns).last()
    }

    /// Whether every address has, and had, the owners that it has in another index.
    pub fn has_addresses_of(&self, other: &PodIndex) -> bool {
        let is_same = |a: &Tenure, b: &Tenure| {
            (a.addr, a.from_ns, a.ended_ns) == (b.addr, b.from_ns, b.ended_ns) && a.pod.uid == b.pod.uid
        };
        self.synced == other.synced
            && self.tenures.len() == other.tenures.len()
            && self.tenures.iter().zip(&other.tenures).all(|(a, b)| is_same(a, b))
    }

    /// Whether some address has changed hands.
    pub fn some_changed_hands(&self) -> bool {
        !self.changed_hands.is_empty()
    }

    /// Whether a pod lost this address, or two claim it.
    pub fn has_changed_hands(&self, addr: Addr) -> bool {
        self.changed_hands.contains(&addr)
    }

    /// Whether `addr` may belong to a pod of this node. It may if it shares its /24 or /64 with a known pod, or if no
    /// pod is known.
    pub fn is_near(&self, addr: Addr) -> bool {
        self.near.is_empty() || self.near.contains(&block_of(addr))
    }

    pub fn by_uid(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.pods.binary_search_by(|p| p.uid.as_ref().cmp(uid)).ok().map(|at| &self.pods[at])
    }

    /// The pod whose cgroups have this uid: as [`PodIndex::by_uid`], and static pods by the uid of their cgroups.
    pub fn by_cgroup_uid(&self, uid: &str) -> Option<&Arc<Pod>> {
        let at_static = || self.static_pods.binary_search_by(|(own, _)| own.as_ref().cmp(uid)).ok();
        self.by_uid(uid).or_else(|| at_static().and_then(|at| self.static_pods.get(at)).map(|(_, pod)| pod))
    }

    /// The pods, sorted by uid.
    #[cfg(not(alone))]
    pub fn pods(&self) -> &[Arc<Pod>] {
        &self.pods
    }

    /// The tenures of a pod, in the order of their addresses.
    pub fn tenures_of(&self, uid: &str) -> impl Iterator<Item = &Tenure> {
        let of = |at: &u32| self.tenures.get(*at as usize);
        let first = self.by_pod.partition_point(|at| of(at).is_some_and(|tenure| *tenure.pod.uid < *uid));
        self.by_pod[first..].iter().filter_map(of).take_while(move |tenure| *tenure.pod.uid == *uid)
    }

    /// The tenures, sorted by address and start.
    pub fn tenures(&self) -> &[Tenure] {
        &self.tenures
    }
}

/// The first address of an address's /24 or /64.
fn block_of(addr: Addr) -> Addr {
    let own_bits = if addr.is_v4() { u128::MAX >> 120 } else { u128::MAX >> 64 };
    Addr::from_number(addr.number() & !own_bits)
}

/// Holds the newest [`PodIndex`]: one writer; readers take a reference and never wait for I/O.
#[derive(Debug, Default)]
pub struct Published {
    // Locked only to copy a reference.
    current: Mutex<Arc<PodIndex>>,
    generation: AtomicU64,
}

impl Published {
    /// Puts a new index in place of the old one.
    pub fn publish(&self, index: PodIndex) {
        let generation = index.generation;
        let old = {
            let mut current = self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let old = std::mem::replace(&mut *current, Arc::new(index));
            self.generation.store(generation, Ordering::Release);
            old
        };
        // Freed outside of the lock, unless a reader still has it.
        drop(old);
    }

    /// Generation of the current index, without a lock; zero before the first.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The current index.
    pub fn get(&self) -> Arc<PodIndex> {
        self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}

#[cfg(test)]
mod tests;
