//! Which pod a cgroup belongs to: by its path as kubelets make them, and by its id for a tree that can be read.
//!
//! Kubelets name a pod's cgroup after its uid, in two drivers:
//!
//! ```text
//! systemd    kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid with _>.slice/cri-containerd-<id>.scope
//! cgroupfs   kubepods/burstable/pod<uid>/<id>
//! ```
//!
//! Guaranteed pods lack the middle part; a `--cgroup-root` (kind: `kubelet.slice/kubelet-kubepods.slice/…`) stands
//! before it; runtimes differ in what they put below, which does not matter here. Source: Kubernetes
//! `pkg/kubelet/cm/{cgroup_manager_linux,pod_container_manager_linux}.go`.
//!
//! The id of a cgroup2 directory is its inode number (Linux `kernfs_ino`, 64 bits); sockets and BPF programs tell the
//! same. Knows nothing of pods beyond their uids.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Directories outside of `kubepods` are looked into so deep, to find it.
const DEPTH_OUTSIDE: u8 = 4;
/// A pod's own directories are followed so deep: an init system in a container makes some.
const DEPTH_MAX: u8 = 24;
/// Cgroups that are remembered; beyond, new ones are left out until others go.
const CGROUPS_MAX: usize = 65_536;
/// Directories that wait to be looked into; beyond, some are left to the next walk.
const WAITING_MAX: usize = 65_536;
/// A cgroup that went is remembered for so many walks: its sockets may outlive it.
const WALKS_REMEMBERED: u32 = 32;
/// Ids that were asked for and are no pod's; beyond, all are asked for anew.
const STRANGERS_MAX: usize = 32_768;

/// The uid of the pod whose cgroup this is or lies in; of nested ones the outer, which runs on this node.
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

/// Whether pods' cgroups lie below a directory of this name.
fn is_kubepods(name: &str) -> bool {
    name.contains("kubepods")
}

/// The uid in a name of one directory, `inside` the one that holds all pods or not.
fn uid_of_name(name: &str, inside: bool) -> Option<String> {
    // A systemd slice given to a runtime with the other driver: `<slice>:cri-containerd:<id>`.
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

/// A UUID, or the 32 digits that a static pod has for a uid.
fn is_uid(uid: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_digit() || (b'a'..=b'f').contains(b);
    match uid.len() {
        32 => uid.iter().all(digit),
        36 => uid.iter().enumerate().all(|(at, b)| if matches!(at, 8 | 13 | 18 | 23) { *b == b'-' } else { digit(b) }),
        _ => false,
    }
}

/// The cgroups of pods by id, kept up by walking a tree a few directories at a time.
#[derive(Debug)]
pub struct CgroupTree {
    root: PathBuf,
    by_id: HashMap<u64, Seen, foldhash::fast::RandomState>,
    waiting: Vec<Place>,
    /// Ids that were asked for in vain, with the walk that decides whether they are a pod's.
    strangers: HashMap<u64, u32, foldhash::fast::RandomState>,
    /// Number of the walk under way, or of the last.
    walk: u32,
    /// Number of the last walk that saw the whole tree.
    whole: u32,
    /// The walk that decides about all that was asked for.
    wanted: u32,
}

/// What is known of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member<'a> {
    /// It is the pod's with this uid.
    Pod(&'a str),
    /// It is no pod's.
    NoPod,
    /// It was not there at the last walk; the next one decides.
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
    /// `root` is the root of a cgroup2 tree as seen from here, for example the host's, mounted read-only. Nothing is
    /// read yet.
    pub fn new(root: &Path) -> CgroupTree {
        CgroupTree {
            root: root.to_owned(),
            by_id: HashMap::default(),
            waiting: Vec::new(),
            strangers: HashMap::default(),
            walk: 0,
            whole: 0,
            wanted: 0,
        }
    }

    /// Whose a cgroup is, that a socket was seen in. One that is not known asks for a walk that begins from now on.
    pub fn member(&mut self, id: u64) -> Member<'_> {
        if let Some(seen) = self.by_id.get(&id) {
            return Member::Pod(&seen.uid);
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
        if self.whole >= deciding { Member::NoPod } else { Member::NotYet }
    }

    /// Whether a walk would decide about something that was asked for.
    pub fn wants_walk(&self) -> bool {
        self.whole < self.wanted
    }

    /// The uid of the pod that the cgroup with this id belongs to. Static pods have a uid of their own
    /// ([`super::PodIndex::by_cgroup_uid`]).
    pub fn pod_uid(&self, id: u64) -> Option<&str> {
        self.by_id.get(&id).map(|seen| &*seen.uid)
    }

    /// Whether the tree was walked whole at least once: an id that is unknown then is perhaps no pod's.
    pub fn is_whole(&self) -> bool {
        self.whole > 0
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Looks into at most so many directories, where the last call left off. `true` when that ended a walk of the
    /// whole tree; the next call begins another.
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
        // It may be gone by now.
        let Ok(entries) = fs::read_dir(&place.path) else { return };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let uid = place.uid.clone().or_else(|| uid_of_name(&name, place.inside).map(Arc::from));
            if let Some(uid) = &uid {
                self.see(entry.ino(), uid);
            }
            let inside = place.inside || is_kubepods(&name);
            let deepest = if inside { DEPTH_MAX } else { DEPTH_OUTSIDE };
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
