//! The pods of this node by uid, as the API server reported them, and the [`PodIndex`] built from them.
//!
//! - A pod is removed by its uid, never by the address in its last event: the CNI may have cleared the address, or
//!   another pod may have it by now.
//! - Of two pods that claim an address, the one that started later owns it from its start on.
//! - A deleted pod keeps its addresses for two minutes unless a living pod claims them, because the kernel reports its
//!   last connections late.
//! - Host-network pods and finished pods have no address.
//!
//! It knows nothing of watches, and gets the time as an argument.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::decode::PodView;
use super::workload::workload;
use crate::clock::{Now, SECOND};
use crate::flow::Addr;
use crate::owner::pods::Tenure;
use crate::owner::{Pod, PodIndex};

/// Time for which a deleted pod still owns bytes of its addresses.
pub const GRACE_NS: u64 = 120 * SECOND;
/// Time until a deleted pod is forgotten. Bytes wait up to 60 s for their owner (rule 8).
const REMEMBER_NS: u64 = GRACE_NS + 120 * SECOND;
/// Capacity. A kubelet runs 110 pods by default, 250 to 500 on request; more means that foreign pods arrive.
pub const PODS_MAX: usize = 16_384;
/// Deleted pods that are remembered; beyond this number the oldest are forgotten early.
const GONE_MAX: usize = 16_384;

#[derive(Debug, Default)]
pub struct Index {
    known: BTreeMap<Box<str>, Known>,
    synced: bool,
    generation: u64,
    /// Number of deleted pods in `known`.
    gone: usize,
    /// Whether a pod changed since the last snapshot.
    changed: bool,
}

#[derive(Debug)]
struct Known {
    pod: Arc<Pod>,
    static_uid: Option<Box<str>>,
    spans: Vec<Span>,
    /// Monotonic time of the deletion.
    gone_ns: Option<u64>,
}

/// The span of time in which a pod owns an address. Wall clock, because it is compared with the times of bytes.
#[derive(Debug)]
struct Span {
    addr: Addr,
    from_ns: u64,
    end: Option<End>,
}

#[derive(Clone, Copy, Debug)]
struct End {
    at_ns: u64,
    until_ns: u64,
}

impl Index {
    /// Replaces all pods by a complete list: pods that are not in it are deleted. Returns the number of pods beyond the
    /// capacity.
    pub fn replace(&mut self, now: Now, list: Vec<PodView>) -> u64 {
        let mut listed: Vec<Box<str>> = list.iter().map(|view| view.uid.as_str().into()).collect();
        listed.sort_unstable();
        let absent: Vec<Box<str>> = self
            .known
            .iter()
            .filter(|(uid, known)| known.gone_ns.is_none() && listed.binary_search(uid).is_err())
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in absent {
            self.remove(now, &uid);
        }
        let left_out = list.into_iter().map(|view| u64::from(!self.upsert(now, view))).sum();
        self.changed |= !self.synced;
        self.synced = true;
        left_out
    }

    /// Adds or updates a pod. Returns false if it is beyond the capacity.
    pub fn upsert(&mut self, now: Now, view: PodView) -> bool {
        if view.terminal {
            // An unknown pod may already be finished: then there is nothing to remember.
            self.remove(now, &view.uid);
            return true;
        }
        let living = self.known.len() - self.gone;
        let workload = workload(&view);
        let PodView { uid, namespace, name, config_hash, host_network, addresses, started_ns, .. } = view;
        let addresses = if host_network { Vec::new() } else { addresses };
        let pod = Pod { uid: uid.into(), namespace: namespace.into(), name: name.into(), workload, host_network };
        let from_ns = started_ns.map_or(now.wall_ns, |started_ns| started_ns.min(now.wall_ns));
        let uid = pod.uid.clone();
        let known = match self.known.entry(uid.clone()) {
            Entry::Vacant(_) if living >= PODS_MAX => return false,
            Entry::Vacant(place) => {
                self.changed = true;
                place.insert(Known { pod: Arc::new(pod), static_uid: None, spans: Vec::new(), gone_ns: None })
            }
            Entry::Occupied(place) => {
                let known = place.into_mut();
                if *known.pod != pod {
                    known.pod = Arc::new(pod);
                    self.changed = true;
                }
                known
            }
        };
        if known.gone_ns.take().is_some() {
            // A list from an older cache had deleted it; it still lives.
            self.gone -= 1;
            self.changed = true;
        }
        let static_uid: Option<Box<str>> = config_hash.filter(|own| own.as_str() != &*uid).map(Box::from);
        self.changed |= known.static_uid != static_uid;
        known.static_uid = static_uid;
        let mut lost = Vec::new();
        for span in &mut known.spans {
            let kept = addresses.contains(&span.addr);
            if !kept && span.end.is_none() {
                lost.push(span.addr);
            }
            self.changed |= kept == span.end.is_some();
            span.end = match span.end {
                _ if kept => None,
                Some(end) => Some(end),
                None => Some(End { at_ns: now.wall_ns, until_ns: now.wall_ns.saturating_add(GRACE_NS) }),
            };
            if kept && from_ns < span.from_ns {
                span.from_ns = from_ns;
                self.changed = true;
            }
        }
        for addr in &addresses {
            if known.spans.iter().all(|span| span.addr != *addr) {
                known.spans.push(Span { addr: *addr, from_ns, end: None });
                self.changed = true;
            }
        }
        for addr in addresses.into_iter().chain(lost) {
            self.settle(&uid, addr);
        }
        true
    }

    /// Marks a pod as deleted.
    pub fn remove(&mut self, now: Now, uid: &str) {
        let Some(known) = self.known.get_mut(uid) else { return };
        if known.gone_ns.is_some() {
            return;
        }
        known.gone_ns = Some(now.mono_ns);
        let end = End { at_ns: now.wall_ns, until_ns: now.wall_ns.saturating_add(GRACE_NS) };
        let mut addresses = Vec::new();
        for span in known.spans.iter_mut().filter(|span| span.end.is_none()) {
            span.end = Some(end);
            addresses.push(span.addr);
        }
        self.gone += 1;
        self.changed = true;
        for addr in addresses {
            self.settle("", addr);
        }
        self.forget(now);
    }

    /// Drops pods that were deleted long ago. Cheap; called at every event and at intervals.
    pub fn forget(&mut self, now: Now) {
        let before = self.known.len();
        if self.gone > GONE_MAX {
            // In a flood of short-lived pods, drop the older half at once instead of one at each event.
            let mut times: Vec<u64> = self.known.values().filter_map(|known| known.gone_ns).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            self.known.retain(|_, known| known.gone_ns.is_none_or(|gone_ns| gone_ns > median));
        } else if self.gone > 0 {
            self.known.retain(|_, known| {
                known.gone_ns.is_none_or(|gone_ns| now.mono_ns.saturating_sub(gone_ns) < REMEMBER_NS)
            });
        }
        let forgotten = before - self.known.len();
        self.gone = self.known.values().filter(|known| known.gone_ns.is_some()).count();
        self.changed |= forgotten > 0;
    }

    /// Number of living pods.
    pub fn living(&self) -> usize {
        self.known.len() - self.gone
    }

    /// Returns the index if a pod changed since the last call.
    pub fn snapshot(&mut self) -> Option<PodIndex> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.generation += 1;
        let mut tenures = Vec::with_capacity(self.known.len() * 2);
        let mut pods = Vec::with_capacity(self.known.len());
        let mut static_pods = Vec::new();
        for known in self.known.values() {
            pods.push(known.pod.clone());
            static_pods.extend(known.static_uid.iter().map(|own| (own.clone(), known.pod.clone())));
            tenures.extend(known.spans.iter().map(|span| Tenure {
                addr: span.addr,
                from_ns: span.from_ns,
                ended_ns: span.end.map_or(u64::MAX, |end| end.at_ns),
                until_ns: span.end.map_or(u64::MAX, |end| end.until_ns),
                pod: known.pod.clone(),
            }));
        }
        Some(PodIndex::new(tenures, pods, self.synced, self.generation).with_static_pods(static_pods))
    }

    /// Orders the claims on an address after the pod with uid `newest` claimed or lost it. Of equal starts the later
    /// claim begins later. A deleted pod owns the address for its lifetime, and after it only until a living pod's
    /// claim begins.
    fn settle(&mut self, newest: &str, addr: Addr) {
        let claims = |span: &Span| span.addr == addr && span.end.is_none();
        let spans = self.known.values().flat_map(|known| &known.spans);
        let claimed_ns = spans.filter(|span| claims(span)).map(|span| span.from_ns).min();
        let mut taken: Vec<u64> = Vec::new();
        for (uid, known) in &mut self.known {
            for span in known.spans.iter_mut().filter(|span| span.addr == addr) {
                if let (Some(claimed_ns), Some(end)) = (claimed_ns, &mut span.end) {
                    // The living pod owns the address from its first moment on.
                    end.until_ns = end.until_ns.min(end.at_ns.max(claimed_ns).saturating_sub(1));
                }
                if uid.as_ref() != newest {
                    taken.push(span.from_ns);
                }
            }
        }
        if let Some(known) = self.known.get_mut(newest) {
            for span in known.spans.iter_mut().filter(|span| span.addr == addr) {
                while taken.contains(&span.from_ns) {
                    span.from_ns += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
