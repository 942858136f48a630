//! Counts the pods of this node that no record has spoken of (rule 16): what hides pods whole needs no volume to be found.
//!
//! Knows pods and owners, and not what hides them.

use std::collections::HashSet;

use crate::clock::SECOND;
use crate::owner::PodIndex;
use crate::owner::table::OwnerTable;

/// Time between two looks, and for which a pod and the agent must have run before the pod's silence counts.
const LOOK_NS: u64 = 60 * SECOND;
/// One idle pod proves nothing.
const LEAST_PODS: u32 = 2;

/// The pods that are to be seen, and those of them that never were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silent {
    pub running: u32,
    pub unseen: u32,
}

impl Silent {
    /// Whether it must have one cause: no pod was seen at all.
    pub fn is_trouble(self) -> bool {
        self.running >= LEAST_PODS && self.unseen == self.running
    }
}

/// What was seen so far.
#[derive(Debug)]
pub struct Unseen {
    seen: HashSet<Box<str>>,
    due_ns: u64,
    silent: Silent,
}

impl Unseen {
    /// For an agent that starts now.
    pub fn new(now_ns: u64) -> Unseen {
        Unseen { seen: HashSet::new(), due_ns: now_ns + LOOK_NS, silent: Silent::default() }
    }

    /// Ends a complete sweep. Looks once a minute; else the last result.
    pub fn end_sweep(&mut self, pods: &PodIndex, owners: &OwnerTable, now_ns: u64) -> Silent {
        if now_ns < self.due_ns {
            return self.silent;
        }
        self.due_ns = now_ns + LOOK_NS;
        let living = || pods.tenures().iter().filter(|tenure| tenure.ended_ns == u64::MAX);
        let old = living().filter(|tenure| tenure.from_ns.saturating_add(LOOK_NS) <= now_ns);
        let mut running: Vec<_> = old.map(|tenure| &tenure.pod).collect();
        running.sort_by(|a, b| a.uid.cmp(&b.uid));
        running.dedup_by(|a, b| a.uid == b.uid);
        // An owner's number goes when nothing of it is left to show.
        self.seen.retain(|uid| running.binary_search_by(|pod| pod.uid.cmp(uid)).is_ok());
        for pod in &running {
            if !self.seen.contains(&pod.uid) && owners.find(pod).is_some() {
                self.seen.insert(pod.uid.clone());
            }
        }
        let count = |pods: usize| u32::try_from(pods).unwrap_or(u32::MAX);
        self.silent = Silent { running: count(running.len()), unseen: count(running.len() - self.seen.len()) };
        self.silent
    }
}

#[cfg(test)]
mod tests;
