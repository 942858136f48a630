//! The pods of this node as the API server told them, by uid, and the [`PodIndex`] made of it.
//!
//! Rules: a pod is removed by its uid, never by the address in the event that tells its end (the CNI may have
//! cleared it, and somebody else may have the address by now). Of two pods that claim an address the one that
//! started later has it from its start on. A pod that went keeps its addresses for two minutes, so that what the
//! kernel still tells of its last connections is named, unless a living pod claims them. Host-network pods and
//! finished pods have no address.
//!
//! Knows nothing of watches; time is handed in.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::decode::PodView;
use super::workload::workload;
use crate::clock::{Now, SECOND};
use crate::flow::Addr;
use crate::owner::pods::Tenure;
use crate::owner::{Pod, PodIndex};

/// How long a pod that went still names what comes from its addresses.
pub const GRACE_NS: u64 = 120 * SECOND;
/// How long it is remembered at all: bytes that wait for their owner wait for 60 s (rule 8).
const REMEMBER_NS: u64 = GRACE_NS + 120 * SECOND;
/// A kubelet runs 110 pods by default and 250 to 500 where it is told to; beyond this somebody else's pods come in.
pub const PODS_MAX: usize = 16_384;
/// Pods that went, the oldest of which are forgotten early beyond this number.
const GONE_MAX: usize = 16_384;

/// All that is known of this node's pods.
#[derive(Debug, Default)]
pub struct Index {
    known: BTreeMap<Box<str>, Known>,
    synced: bool,
    generation: u64,
    /// How many of `known` are gone.
    gone: usize,
    /// Whether something changed since the last snapshot.
    changed: bool,
}

#[derive(Debug)]
struct Known {
    pod: Arc<Pod>,
    static_uid: Option<Box<str>>,
    spans: Vec<Span>,
    /// Monotonic time at which the pod went.
    gone_ns: Option<u64>,
}

/// A span of time with an address. Wall clock: it is compared with the times of bytes.
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
    /// Puts a complete list in place of what is known: pods that are not in it are gone. Returns how many pods were
    /// left out because there are too many.
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

    /// Takes a pod as it is now. `false` where it is left out because there are too many.
    pub fn upsert(&mut self, now: Now, view: PodView) -> bool {
        if view.terminal {
            // It may be new to us, and finished all the same: then there is nothing to remember.
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
            // Back from a list of an older cache: it never went.
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

    /// Takes the end of a pod.
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

    /// Drops what nobody asks for any more. Cheap, called at every event and now and then.
    pub fn forget(&mut self, now: Now) {
        let before = self.known.len();
        if self.gone > GONE_MAX {
            // A flood of short lives: let go of the older half at once, not of one at each event.
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

    /// Living pods.
    pub fn living(&self) -> usize {
        self.known.len() - self.gone
    }

    /// The snapshot, if anything changed since the last one.
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

    /// Orders the claims on one address after `newest` (a uid) claimed or lost it: the claim that came last begins
    /// later than an equal one, and those that went hold it no longer than until a living pod's claim begins, but for
    /// as long as they lived.
    fn settle(&mut self, newest: &str, addr: Addr) {
        let claims = |span: &Span| span.addr == addr && span.end.is_none();
        let spans = self.known.values().flat_map(|known| &known.spans);
        let claimed_ns = spans.filter(|span| claims(span)).map(|span| span.from_ns).min();
        let mut taken: Vec<u64> = Vec::new();
        for (uid, known) in &mut self.known {
            for span in known.spans.iter_mut().filter(|span| span.addr == addr) {
                if let (Some(claimed_ns), Some(end)) = (claimed_ns, &mut span.end) {
                    // From that very moment on.
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
