//! The pods of this node by uid, as the API server reported them, and the [`PodIndex`] built from them.
//!
//! - A pod is removed by its uid, never by the address in its last event. The CNI may have cleared that address, or
//!   another pod may have it by now.
//! - Of two pods that claim an address, the one that started later owns it from its start on. If the other was known
//!   first, it owns it from the start of its first container on. A pod starts before it has its address, and the one
//!   before may still run: `kubectl delete --force` deletes the object, not the containers.
//! - A deleted pod keeps its addresses for two minutes unless a living pod claims them, because the kernel reports its
//!   last connections late.
//! - A finished pod is as good as deleted. One that was never seen running has the addresses that its end tells.
//! - Host-network pods have no address.
//!
//! It knows nothing of watches, and gets the time as an argument.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::decode::PodView;
use super::workload::workload;
use crate::clock::{Now, SECOND, WallClock};
use crate::flow::Addr;
use crate::owner::pods::Tenure;
use crate::owner::{Pod, PodIndex};

/// Time for which a deleted pod still owns bytes of its addresses.
pub const GRACE_NS: u64 = 120 * SECOND;
/// Time until a deleted pod is forgotten. Bytes wait up to 60 s for their owner (rule 8).
const REMEMBER_NS: u64 = GRACE_NS + 120 * SECOND;
/// Time that a message from the API server may take.
const LATE_NS: u64 = 2 * SECOND;
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
    /// Turns the times that pods tell into monotonic ones.
    wall_clock: WallClock,
    /// When something was told last: what is told for the first time happened later, but for what a message takes.
    heard_ns: u64,
}

#[derive(Debug)]
struct Known {
    pod: Arc<Pod>,
    /// The uid of its cgroups where that is another, and when it first said so (monotonic).
    static_uid: Option<(Box<str>, u64)>,
    spans: Vec<Span>,
    host_ip: Option<Addr>,
    /// Whether a container of it was started: so it has cgroups.
    runs: bool,
    /// When it started: what it told, and that by the clock of the time when it first told so.
    started: (u64, u64),
    /// The same of its first container.
    ran: (u64, u64),
    /// Monotonic time of the deletion.
    gone_ns: Option<u64>,
}

/// The span of time in which a pod owns an address, by the monotonic clock, as the times of bytes are.
#[derive(Debug)]
struct Span {
    addr: Addr,
    from_ns: u64,
    /// When the pod started, and when it can have sent something from the address at the earliest.
    started_ns: u64,
    ran_ns: u64,
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
        self.wall_clock.look(now);
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
        self.wall_clock.look(now);
        if view.terminal {
            self.finish(now, view);
            return true;
        }
        let living = self.known.len() - self.gone;
        let workload = workload(&view);
        let PodView { uid, namespace, name, static_uid, host_network, addresses, started_ns, .. } = view;
        let (told_ran_ns, is_silent, host_ip) = (view.ran_ns, view.is_silent, view.host_ip);
        let addresses = if host_network { Vec::new() } else { addresses };
        let pod = Pod { uid: uid.into(), namespace: namespace.into(), name: name.into(), workload, host_network };
        let uid = pod.uid.clone();
        let from_ns = self.start_ns(now, &uid, started_ns);
        let ran_ns = match (told_ran_ns, self.known.get(&uid).map(|known| known.ran)) {
            (Some(told_ns), Some((told_before_ns, ran_ns))) if told_ns == told_before_ns => ran_ns,
            (Some(told_ns), _) => self.mono_of(told_ns).map_or(from_ns, |ran_ns| ran_ns.min(now.mono_ns)),
            (None, _) if is_silent => now.mono_ns,
            (None, _) => from_ns,
        };
        let known = match self.known.entry(uid.clone()) {
            Entry::Vacant(_) if living >= PODS_MAX => return false,
            Entry::Vacant(place) => {
                self.changed = true;
                place.insert(Known {
                    pod: Arc::new(pod),
                    static_uid: None,
                    spans: Vec::new(),
                    host_ip: None,
                    runs: false,
                    started: (0, 0),
                    ran: (0, 0),
                    gone_ns: None,
                })
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
        known.started = (started_ns.unwrap_or(0), from_ns);
        let runs = told_ran_ns.is_some();
        self.changed |= (known.host_ip, known.runs) != (host_ip, runs);
        (known.host_ip, known.runs) = (host_ip, runs);
        known.ran = (told_ran_ns.unwrap_or(0), ran_ns);
        if known.gone_ns.take().is_some() {
            // A list from an older cache had deleted it; it still lives.
            self.gone -= 1;
            self.changed = true;
        }
        let static_uid = static_uid.filter(|own| own.as_str() != &*uid);
        if known.static_uid.as_ref().map(|(own, _)| &**own) != static_uid.as_deref() {
            known.static_uid = static_uid.map(|own| (own.into(), now.mono_ns));
            self.changed = true;
        }
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
                None => Some(End { at_ns: now.mono_ns, until_ns: now.mono_ns.saturating_add(GRACE_NS) }),
            };
            if kept {
                span.started_ns = span.started_ns.min(from_ns);
                span.ran_ns = span.ran_ns.min(ran_ns);
            }
        }
        for addr in &addresses {
            if known.spans.iter().all(|span| span.addr != *addr) {
                known.spans.push(Span { addr: *addr, from_ns, started_ns: from_ns, ran_ns, end: None });
                self.changed = true;
            }
        }
        for addr in addresses.into_iter().chain(lost) {
            self.settle(&uid, addr);
        }
        true
    }

    /// A pod is finished or deleted, and `view` is the last that is told of it. A pod of a second goes from Pending to its
    /// end in one event: then its addresses are taken from that. Those of a pod that had some are not looked at.
    pub fn finish(&mut self, now: Now, view: PodView) {
        self.wall_clock.look(now);
        let uid = view.uid.clone();
        let known = self.known.get(uid.as_str());
        let had_address = known.is_some_and(|known| !known.spans.is_empty() || known.gone_ns.is_some());
        let at_ns = self.ended_ns(now, &view).unwrap_or(now.mono_ns);
        if !had_address && !view.addresses.is_empty() && (known.is_some() || !self.is_history(now, &view)) {
            self.upsert(now, PodView { terminal: false, ..view });
        }
        self.end(now, at_ns, &uid);
    }

    /// Marks a pod as deleted.
    pub fn remove(&mut self, now: Now, uid: &str) {
        self.end(now, now.mono_ns, uid);
    }

    fn end(&mut self, now: Now, at_ns: u64, uid: &str) {
        let Some(known) = self.known.get_mut(uid) else { return };
        if known.gone_ns.is_some() {
            return;
        }
        known.gone_ns = Some(now.mono_ns);
        let end = End { at_ns, until_ns: now.mono_ns.saturating_add(GRACE_NS) };
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

    /// When a pod started, monotonic. The reported start is by the node's wall clock, which may be set at any time. So
    /// it is translated once, by the clock as it ran when the start was first reported. A start that the clock has
    /// never shown was before the clock was set back, so before anything that waits.
    fn start_ns(&self, now: Now, uid: &str, told_ns: Option<u64>) -> u64 {
        match (told_ns, self.known.get(uid).map(|known| known.started)) {
            (Some(told_ns), Some((told_before_ns, from_ns))) if told_ns == told_before_ns => from_ns,
            (Some(told_ns), _) => self.mono_of(told_ns).unwrap_or(0).min(now.mono_ns),
            (None, _) => now.mono_ns,
        }
    }

    fn mono_of(&self, told_ns: u64) -> Option<u64> {
        self.wall_clock.mono_since(told_ns, self.heard_ns.saturating_sub(LATE_NS))
    }

    /// When a finished pod lost its addresses at the latest.
    fn ended_ns(&self, now: Now, view: &PodView) -> Option<u64> {
        let ended_ns = self.mono_of(view.ended_ns.filter(|_| view.terminal)?)?;
        Some(ended_ns.saturating_add(SECOND).min(now.mono_ns))
    }

    /// Whether a pod is finished for so long, or nobody knows for how long, that its addresses may be others' by now.
    pub fn is_history(&self, now: Now, view: &PodView) -> bool {
        let is_old = |ended_ns: u64| now.mono_ns - ended_ns >= REMEMBER_NS;
        view.terminal && self.ended_ns(now, view).is_none_or(is_old)
    }

    /// Drops pods that were deleted long ago. Cheap; called at every event and at intervals.
    pub fn forget(&mut self, now: Now) {
        self.wall_clock.look(now);
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

    /// Something was told: a list, an event or a bookmark.
    pub fn heard(&mut self, now: Now) {
        self.heard_ns = now.mono_ns;
    }

    /// Looks at the clocks, so that a time told later is known from before the wall clock was set.
    pub fn look_at_clock(&mut self, now: Now) {
        self.wall_clock.look(now);
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
        for known in self.known.values() {
            pods.push(known.pod.clone());
            tenures.extend(known.spans.iter().map(|span| Tenure {
                addr: span.addr,
                from_ns: span.from_ns,
                ended_ns: span.end.map_or(u64::MAX, |end| end.at_ns),
                until_ns: span.end.map_or(u64::MAX, |end| end.until_ns),
                pod: known.pod.clone(),
            }));
        }
        let living = || self.known.values().filter(|known| known.gone_ns.is_none());
        let mut host_ips: Vec<Addr> = living().filter_map(|known| known.host_ip).collect();
        host_ips.sort_unstable();
        host_ips.dedup();
        let index = PodIndex::new(tenures, pods, self.synced, self.generation).with_static_pods(self.static_pods());
        Some(index.with_node(host_ips, living().any(|known| known.runs)))
    }

    /// The pods by the uids of their cgroups where those are others. Anybody may write a mirror's marks into a pod of
    /// his. Of several pods that claim one uid the living one that claimed it first has it. Where that cannot be
    /// decided, none has it.
    fn static_pods(&self) -> Vec<(Box<str>, Arc<Pod>)> {
        let mut claims: Vec<(&str, bool, u64, &Arc<Pod>)> = Vec::new();
        for known in self.known.values() {
            claims.extend(known.static_uid.iter().map(|(own, at)| (&**own, known.gone_ns.is_some(), *at, &known.pod)));
        }
        claims.sort_unstable_by_key(|(own, is_gone, at, _)| (*own, *is_gone, *at));
        let of_one_uid = claims.chunk_by(|a, b| a.0 == b.0);
        let firsts = of_one_uid.filter_map(|claims| match claims {
            [(_, gone, at, _), (_, other_gone, other_at, _), ..] if (gone, at) == (other_gone, other_at) => None,
            [(own, .., pod), ..] => Some(((*own).into(), Arc::clone(pod))),
            [] => None,
        });
        firsts.collect()
    }

    /// Orders the claims on an address after the pod with uid `newest` claimed or lost it. Of equal starts the later
    /// claim begins later. A deleted pod owns the address for its lifetime, and after it only until a living pod's
    /// claim begins.
    fn settle(&mut self, newest: &str, addr: Addr) {
        let others = self.known.iter().filter(|(uid, _)| uid.as_ref() != newest).flat_map(|(_, known)| &known.spans);
        let others: Vec<(u64, u64)> =
            others.filter(|span| span.addr == addr).map(|span| (span.started_ns, span.from_ns)).collect();
        if let Some(known) = self.known.get_mut(newest) {
            for span in known.spans.iter_mut().filter(|span| span.addr == addr) {
                let follows = others.iter().any(|(started_ns, _)| *started_ns < span.started_ns);
                let mut from_ns = if follows { span.started_ns.max(span.ran_ns) } else { span.started_ns };
                while others.iter().any(|(_, taken_ns)| *taken_ns == from_ns) {
                    from_ns += 1;
                }
                self.changed |= span.from_ns != from_ns;
                span.from_ns = from_ns;
            }
        }
        let spans = || self.known.values().flat_map(|known| &known.spans).filter(|span| span.addr == addr);
        let Some(claimed_ns) = spans().filter(|span| span.end.is_none()).map(|span| span.from_ns).min() else { return };
        let spans = self.known.values_mut().flat_map(|known| &mut known.spans).filter(|span| span.addr == addr);
        for end in spans.filter_map(|span| span.end.as_mut()) {
            // The living pod owns the address from its first moment on.
            end.until_ns = end.until_ns.min(end.at_ns.max(claimed_ns).saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests;
