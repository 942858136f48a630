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
        format!("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{u}.slice/crio-{CONTAINER}.scope"),
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
    let nested = made.dir(&format!("kubepods.slice/kubepods-pod{u}.slice/cri-containerd-{CONTAINER}.scope/init.scope"));
    let fixed = made.dir(&format!("kubelet/kubepods/burstable/pod{HASH}/{CONTAINER}"));
    let service = made.dir("system.slice/kubelet.service");
    let slice = made.dir("kubepods.slice");
    fs::write(made.0.join("kubepods.slice/cgroup.procs"), "1\n").expect("below ours");
    let mut tree = CgroupTree::new(&made.0, Holds::Pods);
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
    let mut tree = CgroupTree::new(&made.0, Holds::Pods);
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
    let mut tree = CgroupTree::new(&made.0, Holds::Pods);
    walked(&mut tree);
    assert!(!tree.wants_walk());
    assert_eq!(tree.member(pod), Member::Of(UID));
    assert_eq!(tree.member(service), Member::NotYet);
    assert!(tree.wants_walk() && !tree.step(1));
    let late = made.dir(&format!("kubepods/pod{UID}/late"));
    assert_eq!(tree.member(late), Member::NotYet, "the walk under way may have passed it by");
    assert!(tree.step(1000) && tree.wants_walk());
    assert_eq!(tree.member(service), Member::OfNone);
    assert!(tree.step(1000) && !tree.wants_walk());
    assert_eq!(tree.member(late), Member::Of(UID));
    assert_eq!(tree.member(service), Member::OfNone);
    for id in 1 << 40..(1 << 40) + STRANGERS_MAX as u64 + 10 {
        tree.member(id);
    }
    assert!(tree.strangers.len() <= STRANGERS_MAX && tree.wants_walk());
}

#[test]
fn a_tree_without_pods_or_that_is_not_there_costs_little() {
    let made = Made::new("deep");
    made.dir(&"d/".repeat(60));
    let mut tree = CgroupTree::new(&made.0, Holds::Pods);
    assert!(walked(&mut tree) <= usize::from(DEPTH_OUTSIDE), "no deeper than pods can be");
    let mut nowhere = CgroupTree::new(&made.0.join("nowhere"), Holds::Pods);
    assert!(nowhere.step(1) && nowhere.is_empty() && nowhere.is_whole());
}

#[test]
fn a_walk_is_cut_into_steps() {
    let made = Made::new("steps");
    for pod in 0..50 {
        made.dir(&format!("kubepods/pod{pod:08x}-0000-4000-8000-000000000000/c"));
    }
    let mut tree = CgroupTree::new(&made.0, Holds::Pods);
    let mut steps = 1;
    while !tree.step(10) {
        assert!(!tree.is_whole());
        steps += 1;
    }
    assert_eq!(steps, 11, "102 directories by ten");
    assert_eq!(tree.len(), 100);
}

#[test]
fn ids_of_a_host_without_pods_are_those_of_units_and_containers() {
    let made = Made::new("groups");
    let nginx = made.dir("system.slice/nginx.service/worker");
    let deep = made.dir("a.slice/a-b.slice/a-b-c.slice/d.service");
    let docker = made.dir(&format!("system.slice/docker-{CONTAINER}.scope"));
    let (slice, plain) = (made.dir("system.slice"), made.dir("plain"));
    let mut tree = CgroupTree::new(&made.0, Holds::Groups);
    assert_eq!(tree.find(nginx), Some("unit/nginx.service"));
    let late = made.dir("user.slice/session-3.scope");
    assert_eq!(tree.find(late), Some("unit/session-3.scope"), "what is not known is looked for at once");
    assert_eq!(tree.find(deep), Some("unit/d.service"));
    assert!(tree.find(slice).is_none() && tree.find(plain).is_none());
    let name = format!("container/docker-{}", &CONTAINER[..12]);
    assert_eq!(tree.find(docker), Some(&*name));
}
