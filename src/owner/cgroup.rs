//! Maps cgroups to pods, or on a host without pods to units and containers ([`super::group`]). It maps by path, and by
//! id if the tree can be read.
//!
//! Kubelets name a pod's cgroup after its uid, in two drivers:
//!
//! ```text
//! systemd    kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid with _>.slice/cri-containerd-<id>.scope
//! cgroupfs   kubepods/burstable/pod<uid>/<id>
//! ```
//!
//! Guaranteed pods lack the middle part. A `--cgroup-root` (kind: `kubelet.slice/kubelet-kubepods.slice/…`) precedes it.
//! Runtimes differ in the directories below, which does not matter here. Source: Kubernetes
//! `pkg/kubelet/cm/{cgroup_manager_linux,pod_container_manager_linux}.go`.
//!
//! The id of a cgroup2 directory is its inode number (Linux `kernfs_ino`, 64 bits); sockets and BPF programs report the
//! same id. This module knows only the uids of pods and the names of groups.

use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::group;

/// Depth to which directories outside of `kubepods` are searched for it, and slices for units.
const DEPTH_OUTSIDE: u8 = 4;
const DEPTH_SLICES: u8 = 8;
/// Depth to which a pod's own directories are read: an init system in a container makes some.
const DEPTH_MAX: u8 = 24;
/// Largest number of known cgroups; further ones are ignored until others go.
const CGROUPS_MAX: usize = 65_536;
/// Largest number of directories that wait for the walk; further ones wait for the next walk.
const WAITING_MAX: usize = 65_536;
/// Walks for which a removed cgroup is remembered, because its sockets may outlive it.
const WALKS_REMEMBERED: u32 = 32;
/// Largest number of ids that are known not to belong to a pod; beyond it the set is cleared.
const STRANGERS_MAX: usize = 32_768;

/// Returns the uid of the pod that a cgroup path belongs to; of nested pods the outer one, which runs on this node.
#[cfg(test)]
pub fn pod_uid(path: &str) -> Option<String> {
    let mut inside = false;
    for name in path.split('/') {
        if let Some(uid) = uid_of_name(name, inside) {
            return Some(uid);
        }
        inside |= is_kubepods(name);
    }
    None
}

/// Whether a directory of this name contains the cgroups of pods.
fn is_kubepods(name: &str) -> bool {
    name.contains("kubepods")
}

/// Returns the uid in the name of a directory. `inside`: whether it is below `kubepods`.
fn uid_of_name(name: &str, inside: bool) -> Option<String> {
    // A runtime with the other driver got a systemd slice: `<slice>:cri-containerd:<id>`.
    let name = name.split(':').next().unwrap_or(name);
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let uid = match name.rsplit_once("-pod") {
        Some((before, uid)) if is_kubepods(before) => uid,
        _ if inside => name.strip_prefix("pod")?,
        _ => return None,
    };
    let uid = uid.replace('_', "-");
    is_uid(uid.as_bytes()).then_some(uid)
}

/// Whether it is a UUID or a static pod's uid of 32 digits.
fn is_uid(uid: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    match uid.len() {
        32 => uid.iter().all(digit),
        36 => uid.iter().enumerate().all(|(at, b)| if matches!(at, 8 | 13 | 18 | 23) { *b == b'-' } else { digit(b) }),
        _ => false,
    }
}

/// The cgroups of pods by id, updated by walking the tree a few directories at a time.
#[derive(Debug)]
pub struct CgroupTree {
    root: PathBuf,
    /// What the directories are named by.
    holds: Holds,
    by_id: HashMap<u64, Seen, foldhash::fast::RandomState>,
    waiting: Vec<Place>,
    /// Unknown ids that were requested, each with the number of the walk that decides about it.
    strangers: HashMap<u64, u32, foldhash::fast::RandomState>,
    /// Number of the current or last walk.
    walk: u32,
    /// Number of the last complete walk.
    whole: u32,
    /// Number of the walk that decides about all requested ids.
    wanted: u32,
}

/// What the cgroups of a tree are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Those of pods, known by uid.
    Pods,
    /// Units and containers, known by [`super::group::Group`].
    Groups,
}

/// The state of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member<'a> {
    /// It belongs to the pod with this uid, or to this group.
    Of(&'a str),
    /// It belongs to none.
    OfNone,
    /// The last walk did not find it; the next one decides.
    NotYet,
}

#[derive(Debug)]
struct Seen {
    uid: Arc<str>,
    walk: u32,
}

#[derive(Debug)]
struct Place {
    path: PathBuf,
    depth: u8,
    inside: bool,
    uid: Option<Arc<str>>,
}

impl CgroupTree {
    /// `root`: path of a cgroup2 tree, for example the host's, mounted read-only. Reads nothing yet.
    pub fn new(root: &Path, holds: Holds) -> CgroupTree {
        CgroupTree {
            root: root.to_owned(),
            holds,
            by_id: HashMap::default(),
            waiting: Vec::new(),
            strangers: HashMap::default(),
            walk: 0,
            whole: 0,
            wanted: 0,
        }
    }

    /// Returns the state of a socket's cgroup. An unknown one requests a walk that starts after this call.
    pub fn member(&mut self, id: u64) -> Member<'_> {
        if let Some(seen) = self.by_id.get(&id) {
            return Member::Of(&seen.uid);
        }
        let deciding = match self.strangers.get(&id) {
            Some(deciding) => *deciding,
            None => {
                if self.strangers.len() >= STRANGERS_MAX {
                    self.strangers.clear();
                }
                self.wanted = self.walk + 1;
                *self.strangers.entry(id).or_insert(self.wanted)
            }
        };
        if self.whole >= deciding { Member::OfNone } else { Member::NotYet }
    }

    /// The uid of the pod that a cgroup belongs to, walking the tree once where it is not known yet.
    pub fn find(&mut self, id: u64) -> Option<&str> {
        if matches!(self.member(id), Member::NotYet) {
            self.decide();
        }
        self.pod_uid(id)
    }

    /// Walks until every id that was asked for is decided about.
    pub fn decide(&mut self) {
        while self.wants_walk() && !self.step(WAITING_MAX) {}
        // One that was going on did not begin after the question.
        while self.wants_walk() && !self.step(WAITING_MAX) {}
    }

    /// What its cgroups are.
    pub fn holds(&self) -> Holds {
        self.holds
    }

    /// The root of the tree.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The uids of the pods whose cgroups were found, some more than once.
    pub fn uids(&self) -> impl Iterator<Item = &str> {
        self.by_id.values().map(|seen| &*seen.uid)
    }

    /// Asks for a walk that begins after this call.
    pub fn want_walk(&mut self) {
        self.wanted = self.walk + 1;
    }

    /// Whether a walk would decide about a requested id.
    pub fn wants_walk(&self) -> bool {
        self.whole < self.wanted
    }

    /// Returns the uid of the pod that the cgroup belongs to. For static pods see [`super::PodIndex::by_cgroup_uid`].
    pub fn pod_uid(&self, id: u64) -> Option<&str> {
        self.by_id.get(&id).map(|seen| &*seen.uid)
    }

    /// Whether one walk was complete. Only then can an unknown id mean that no pod has it.
    #[cfg(test)]
    pub fn is_whole(&self) -> bool {
        self.whole > 0
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Reads at most `directories` more directories. Returns true if that completed a walk; the next call starts another.
    pub fn step(&mut self, directories: usize) -> bool {
        if self.waiting.is_empty() {
            self.walk += 1;
            self.waiting.push(Place { path: self.root.clone(), depth: 0, inside: false, uid: None });
        }
        for _ in 0..directories {
            let Some(place) = self.waiting.pop() else { break };
            self.look_into(place);
        }
        if !self.waiting.is_empty() {
            return false;
        }
        let walk = self.walk;
        self.by_id.retain(|_, seen| walk - seen.walk < WALKS_REMEMBERED);
        self.whole = walk;
        true
    }

    fn look_into(&mut self, place: Place) {
        // The directory may be removed by now.
        let Ok(entries) = fs::read_dir(&place.path) else { return };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name();
            let (uid, inside, outside) = match self.holds {
                Holds::Pods => {
                    let name = name.to_string_lossy();
                    let uid = place.uid.clone().or_else(|| uid_of_name(&name, place.inside).map(Arc::from));
                    (uid, place.inside || is_kubepods(&name), DEPTH_OUTSIDE)
                }
                Holds::Groups => {
                    let folder = place.path.file_name().unwrap_or_default().as_bytes();
                    let uid = group::named(place.uid.as_ref(), folder, name.as_bytes());
                    let inside = uid.is_some();
                    (uid, inside, DEPTH_SLICES)
                }
            };
            if let Some(uid) = &uid {
                self.see(entry.ino(), uid);
            }
            let deepest = if inside { DEPTH_MAX } else { outside };
            let depth = place.depth + 1;
            if depth < deepest && self.waiting.len() < WAITING_MAX {
                self.waiting.push(Place { path: entry.path(), depth, inside, uid });
            }
        }
    }

    fn see(&mut self, id: u64, uid: &Arc<str>) {
        let full = self.by_id.len() >= CGROUPS_MAX;
        match self.by_id.get_mut(&id) {
            Some(seen) => {
                seen.walk = self.walk;
                if seen.uid != *uid {
                    seen.uid = uid.clone();
                }
            }
            None if full => {}
            None => {
                self.by_id.insert(id, Seen { uid: uid.clone(), walk: self.walk });
            }
        }
    }
}

#[cfg(test)]
mod tests;
