use super::*;

const HYBRID: &[u8] = b"\
25 30 0:23 / /sys rw,nosuid - sysfs sysfs rw
31 25 0:27 / /sys/fs/cgroup/systemd rw,relatime shared:9 - cgroup cgroup rw,name=systemd
32 25 0:28 / /sys/fs/cgroup/unified\\040two rw,relatime shared:10 master:1 - cgroup2 cgroup2 rw
33 25 0:28 / /host/cgroup ro - cgroup2 none ro
";

#[test]
fn the_root_is_found_among_several_mounts() {
    let host = Path::new("/host/cgroup");
    assert_eq!(choose(HYBRID, |path| path == host, |_| true), Ok(host.to_owned()));
    let hybrid = Path::new("/sys/fs/cgroup/unified two");
    assert_eq!(choose(HYBRID, |path| path == hybrid, |_| false), Ok(hybrid.to_owned()));
}

#[test]
fn a_part_of_the_hierarchy_is_refused() {
    let refused = choose(HYBRID, |_| false, |_| false);
    assert_eq!(refused, Err(CgroupError::NotRoot("/sys/fs/cgroup/unified two".into())));
}

#[test]
fn f27_the_root_of_a_node_that_is_a_container_is_taken() {
    let host = Path::new("/host/cgroup");
    assert_eq!(choose(HYBRID, |_| false, |path| path == host), Ok(host.to_owned()));
    let node = std::env::temp_dir().join(format!("netmon-node-{}", std::process::id()));
    let kubepods = node.join("kubelet.slice/kubelet-kubepods.slice");
    std::fs::create_dir_all(&kubepods).expect("a writable temporary directory");
    assert!(holds_pods(&node, DEPTH) && !holds_pods(&node, 1));
    assert!(!holds_pods(&kubepods, DEPTH), "a pod's own");
    std::fs::remove_dir_all(&node).expect("ours");
}

#[test]
fn version_one_alone_is_told_apart() {
    let v1 = b"31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\nnonsense\n\n";
    assert_eq!(choose(v1, |_| true, |_| true), Err(CgroupError::NoCgroup2));
}

#[test]
fn a_directory_that_is_no_cgroup_is_refused_even_if_asked_for() {
    assert!(matches!(find(Some(Path::new("/proc"))), Err(CgroupError::Asked(..))));
    assert!(matches!(find(Some(Path::new("/no/such"))), Err(CgroupError::Asked(..))));
}

#[test]
fn f16_the_tree_that_holds_pods_is_taken() {
    let tree = |name: &str, below: &str| {
        let path = std::env::temp_dir().join(format!("netmon-tree-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join(below)).expect("a writable temporary directory");
        path
    };
    let (without, with) = (tree("without", "system.slice"), tree("with", "kubepods/burstable"));
    let mounts = |paths: &[&PathBuf]| paths.iter().map(|path| (*path).clone()).collect::<Vec<_>>();
    assert_eq!(of_pods(None, mounts(&[&without, &with]).into_iter()), Some(with.clone()));
    assert_eq!(
        of_pods(Some(&without), mounts(&[&with]).into_iter()),
        Some(with.clone()),
        "though another was asked for"
    );
    assert_eq!(of_pods(Some(&with), mounts(&[&without]).into_iter()), Some(with.clone()));
    assert_eq!(of_pods(Some(&without), mounts(&[&without]).into_iter()), Some(without.clone()), "pods may come");
    assert_eq!(of_pods(None, mounts(&[&without]).into_iter()), None);
    [without, with].iter().for_each(|path| std::fs::remove_dir_all(path).expect("ours"));
}
