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
    /// First moment, nanoseconds since the epoch (`status.startTime`, or when the address was first seen).
    pub from_ns: u64,
    /// When the pod lost it, as far as was told; `u64::MAX` while it has it.
    pub ended_ns: u64,
    /// Until when what is told late may still be its: `u64::MAX` while it has it, the end plus a grace afterwards.
    pub until_ns: u64,
    pub pod: Arc<Pod>,
}

impl Tenure {
    /// Whether the pod had lost the address at that time, so that it may be somebody's who is not known yet.
    pub fn is_over(&self, at_ns: u64) -> bool {
        at_ns > self.ended_ns
    }
}

/// The pods of this node at one moment, with those that went lately.
#[derive(Clone, Debug, Default)]
pub struct PodIndex {
    /// Sorted by (address, from).
    tenures: Vec<Tenure>,
    /// Where the tenures of an address begin: every increment asks for two addresses, and a search among all is ten times
    /// as long.
    first: HashMap<Addr, usize, foldhash::fast::RandomState>,
    /// The first address of each /24 or /64 with tenures.
    near: HashSet<Addr, foldhash::fast::RandomState>,
    /// Every pod by uid, host-network pods included; sorted by uid.
    pods: Vec<Arc<Pod>>,
    /// Static pods by the uid that names their cgroups; sorted by it.
    static_pods: Vec<(Box<str>, Arc<Pod>)>,
    /// Whether the first list has arrived.
    pub synced: bool,
    /// Grows with every change.
    pub generation: u64,
}

impl PodIndex {
    /// Builds the index; order of the arguments does not matter.
    pub fn new(mut tenures: Vec<Tenure>, mut pods: Vec<Arc<Pod>>, synced: bool, generation: u64) -> PodIndex {
        tenures.sort_by_key(|t| (t.addr, t.from_ns));
        pods.sort_by(|a, b| a.uid.cmp(&b.uid));
        // From the back, so that the first of an address is what stays.
        let first = tenures.iter().enumerate().rev().map(|(at, tenure)| (tenure.addr, at)).collect();
        let near = tenures.iter().map(|tenure| block_of(tenure.addr)).collect();
        PodIndex { tenures, first, near, pods, static_pods: Vec::new(), synced, generation }
    }

    /// Adds the static pods by the uid that the kubelet names their cgroups by: the hash of their file, while
    /// `metadata.uid` is that of the mirror pod in the API.
    pub fn with_static_pods(mut self, mut static_pods: Vec<(Box<str>, Arc<Pod>)>) -> PodIndex {
        static_pods.sort_by(|a, b| a.0.cmp(&b.0));
        self.static_pods = static_pods;
        self
    }

    /// Whose `addr` was at `at_ns` (nanoseconds since the epoch). Of overlapping tenures the one that began last
    /// wins: the newer pod owns a reused address from its start on.
    pub fn owner_of(&self, addr: Addr, at_ns: u64) -> Option<&Arc<Pod>> {
        self.tenure_of(addr, at_ns).map(|tenure| &tenure.pod)
    }

    /// The tenure by which [`PodIndex::owner_of`] answers. One that is over names what comes late, if nobody else
    /// claims the address.
    pub fn tenure_of(&self, addr: Addr, at_ns: u64) -> Option<&Tenure> {
        let of_address = self.tenures.get(*self.first.get(&addr)?..)?;
        let begun = of_address.iter().take_while(|t| t.addr == addr && t.from_ns <= at_ns);
        begun.filter(|t| at_ns <= t.until_ns).last()
    }

    /// Whether `addr` looks like a pod's of this node: it shares its /24 or /64 with one that is known, or none is.
    pub fn is_near(&self, addr: Addr) -> bool {
        self.near.is_empty() || self.near.contains(&block_of(addr))
    }

    pub fn by_uid(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.pods.binary_search_by(|p| p.uid.as_ref().cmp(uid)).ok().map(|at| &self.pods[at])
    }

    /// The pod whose cgroups bear this uid: [`PodIndex::by_uid`], and static pods by their own.
    pub fn by_cgroup_uid(&self, uid: &str) -> Option<&Arc<Pod>> {
        let at_static = || self.static_pods.binary_search_by(|(own, _)| own.as_ref().cmp(uid)).ok();
        self.by_uid(uid).or_else(|| at_static().and_then(|at| self.static_pods.get(at)).map(|(_, pod)| pod))
    }

    /// The pods, sorted by uid.
    pub fn pods(&self) -> &[Arc<Pod>] {
        &self.pods
    }

    /// The spans of time in which addresses were pods' own, sorted by address and beginning.
    pub fn tenures(&self) -> &[Tenure] {
        &self.tenures
    }

    /// How many pods are known, those that went lately included.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }
}

/// The first address of the /24 or /64 that an address lies in.
fn block_of(addr: Addr) -> Addr {
    let own_bits = if addr.is_v4() { u128::MAX >> 120 } else { u128::MAX >> 64 };
    Addr::from_number(addr.number() & !own_bits)
}

/// Where the newest [`PodIndex`] is found: one writer, readers that take a reference and never wait for I/O.
#[derive(Debug, Default)]
pub struct Published {
    // Held for the copy of a reference.
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
        // Freed, where nobody reads it, after the lock is.
        drop(old);
    }

    /// Generation of the index in place, without a lock: zero until the first is published.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The index in place.
    pub fn get(&self) -> Arc<PodIndex> {
        self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }
}
