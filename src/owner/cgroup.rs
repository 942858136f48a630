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

    /// Cgroups known.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is known.
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
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    const UID: &str = "0e3c7a52-9a4e-4a6c-8f0e-3a1f6a0d9b11";
    const HASH: &str = "2f8a9c0d1e3b4f5a6978695a4b3c2d1e";
    const CONTAINER: &str = "4d5c1b2a3f4e5d6c7b8a9f0e1d2c3b4a5f6e7d8c9b0a1f2e3d4c5b6a7f8e9d0c";

    fn underscored() -> String {
        UID.replace('-', "_")
    }

    #[test]
    fn paths_of_both_drivers_and_all_runtimes() {
        let u = underscored();
        for path in [
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{u}.slice/cri-containerd-{CONTAINER}.scope"
            ),
            format!(
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{u}.slice/crio-{CONTAINER}.scope"
            ),
            format!(
                "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{u}.slice/crio-{CONTAINER}.scope/container"
            ),
            format!("/kubepods.slice/kubepods-pod{u}.slice/docker-{CONTAINER}.scope"),
            format!("/kubepods.slice/kubepods-pod{u}.slice"),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{u}.slice/cri-containerd-{CONTAINER}.scope"
            ),
            format!("/system.slice/containerd.service/kubepods-burstable-pod{u}.slice:cri-containerd:{CONTAINER}"),
            format!("kubepods-besteffort-pod{u}.slice:cri-containerd:{CONTAINER}"),
            format!("/kubepods/burstable/pod{UID}/{CONTAINER}"),
            format!("/kubepods/besteffort/pod{UID}/{CONTAINER}"),
            format!("/kubepods/pod{UID}"),
            format!("/kubelet/kubepods/burstable/pod{UID}/crio-{CONTAINER}"),
            format!("/actions_job/kubepods/pod{UID}/{CONTAINER}"),
            format!("/kubepods/pod{UID}/{CONTAINER}/kubelet/kubepods/podffffffff-9a4e-4a6c-8f0e-3a1f6a0d9b11"),
            format!("/../kubepods.slice/kubepods-pod{u}.slice/cri-containerd-{CONTAINER}.scope/init.scope"),
        ] {
            assert_eq!(pod_uid(&path).as_deref(), Some(UID), "{path}");
        }
        for path in [
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{HASH}.slice/cri-containerd-{CONTAINER}.scope"
            ),
            format!("/kubepods/burstable/pod{HASH}/{CONTAINER}"),
        ] {
            assert_eq!(pod_uid(&path).as_deref(), Some(HASH), "{path}");
        }
    }

    #[test]
    fn what_is_no_pod_is_none() {
        for path in [
            String::new(),
            "/".to_owned(),
            "/kubepods.slice".to_owned(),
            "/kubepods.slice/kubepods-burstable.slice".to_owned(),
            "/system.slice/kubelet.service".to_owned(),
            format!("/system.slice/docker-{CONTAINER}.scope"),
            format!("/pod{UID}"),
            format!("/user.slice/pod{UID}"),
            format!("/machine.slice/libpod-{CONTAINER}.scope"),
            "/kubepods/podcast".to_owned(),
            format!("/kubepods/pod{}", UID.to_uppercase()),
            format!("/kubepods/pod{UID}0"),
            format!("/kubepods/pod{}", UID.replace('-', "0")),
        ] {
            assert_eq!(pod_uid(&path), None, "{path}");
        }
    }

    struct Made(PathBuf);

    impl Made {
        fn new(name: &str) -> Made {
            let path = std::env::temp_dir().join(format!("netmon-cgroup-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).expect("a writable temporary directory");
            Made(path)
        }

        fn dir(&self, path: &str) -> u64 {
            let path = self.0.join(path);
            fs::create_dir_all(&path).expect("below ours");
            fs::metadata(path).expect("just made").ino()
        }
    }

    impl Drop for Made {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn walked(tree: &mut CgroupTree) -> usize {
        (1..10_000).find(|_| tree.step(1)).expect("a walk ends")
    }

    #[test]
    fn ids_of_a_tree_of_both_drivers() {
        let made = Made::new("both");
        let u = underscored();
        let pod = made.dir(&format!("kubepods.slice/kubepods-pod{u}.slice"));
        let container = made.dir(&format!("kubepods.slice/kubepods-pod{u}.slice/cri-containerd-{CONTAINER}.scope"));
        let nested =
            made.dir(&format!("kubepods.slice/kubepods-pod{u}.slice/cri-containerd-{CONTAINER}.scope/init.scope"));
        let fixed = made.dir(&format!("kubelet/kubepods/burstable/pod{HASH}/{CONTAINER}"));
        let service = made.dir("system.slice/kubelet.service");
        let slice = made.dir("kubepods.slice");
        fs::write(made.0.join("kubepods.slice/cgroup.procs"), "1\n").expect("below ours");
        let mut tree = CgroupTree::new(&made.0);
        assert!(!tree.is_whole());
        walked(&mut tree);
        assert!(tree.is_whole());
        for id in [pod, container, nested] {
            assert_eq!(tree.pod_uid(id), Some(UID));
        }
        assert_eq!(tree.pod_uid(fixed), Some(HASH));
        for id in [service, slice, 1, 0] {
            assert_eq!(tree.pod_uid(id), None);
        }
        assert_eq!(tree.len(), 5);
    }

    #[test]
    fn new_cgroups_are_found_and_gone_ones_remembered_for_a_while() {
        let made = Made::new("changing");
        let first = made.dir(&format!("kubepods/pod{UID}"));
        let mut tree = CgroupTree::new(&made.0);
        let steps = walked(&mut tree);
        assert!(steps <= 3, "root, kubepods, the pod: {steps}");
        fs::remove_dir(made.0.join(format!("kubepods/pod{UID}"))).expect("made above");
        let second = made.dir(&format!("kubepods/burstable/pod{HASH}"));
        for walk in 1..=WALKS_REMEMBERED {
            walked(&mut tree);
            assert_eq!(tree.pod_uid(second), Some(HASH));
            // A file system may give the number again at once; cgroups' are not.
            if first != second {
                assert_eq!(tree.pod_uid(first), (walk < WALKS_REMEMBERED).then_some(UID));
            }
        }
    }

    #[test]
    fn what_is_asked_for_is_decided_by_a_walk_that_began_later() {
        let made = Made::new("asked");
        let pod = made.dir(&format!("kubepods/pod{UID}"));
        let service = made.dir("system.slice/kubelet.service");
        let mut tree = CgroupTree::new(&made.0);
        walked(&mut tree);
        assert!(!tree.wants_walk());
        assert_eq!(tree.member(pod), Member::Pod(UID));
        assert_eq!(tree.member(service), Member::NotYet);
        assert!(tree.wants_walk() && !tree.step(1));
        let late = made.dir(&format!("kubepods/pod{UID}/late"));
        assert_eq!(tree.member(late), Member::NotYet, "the walk under way may have passed it by");
        assert!(tree.step(1000) && tree.wants_walk());
        assert_eq!(tree.member(service), Member::NoPod);
        assert!(tree.step(1000) && !tree.wants_walk());
        assert_eq!(tree.member(late), Member::Pod(UID));
        assert_eq!(tree.member(service), Member::NoPod);
        for id in 1 << 40..(1 << 40) + STRANGERS_MAX as u64 + 10 {
            tree.member(id);
        }
        assert!(tree.strangers.len() <= STRANGERS_MAX && tree.wants_walk());
    }

    #[test]
    fn a_tree_without_pods_or_that_is_not_there_costs_little() {
        let made = Made::new("deep");
        made.dir(&"d/".repeat(60));
        let mut tree = CgroupTree::new(&made.0);
        assert!(walked(&mut tree) <= usize::from(DEPTH_OUTSIDE), "no deeper than pods can be");
        let mut nowhere = CgroupTree::new(&made.0.join("nowhere"));
        assert!(nowhere.step(1) && nowhere.is_empty() && nowhere.is_whole());
    }

    #[test]
    fn a_walk_is_cut_into_steps() {
        let made = Made::new("steps");
        for pod in 0..50 {
            made.dir(&format!("kubepods/pod{pod:08x}-0000-4000-8000-000000000000/c"));
        }
        let mut tree = CgroupTree::new(&made.0);
        let mut steps = 1;
        while !tree.step(10) {
            assert!(!tree.is_whole());
            steps += 1;
        }
        assert_eq!(steps, 11, "102 directories by ten");
        assert_eq!(tree.len(), 100);
    }
}
