use super::*;

#[test]
fn limits_are_looked_for_up_the_tree_in_both_versions() {
    let files = limit_files("4:memory:/kubepods/pod1\n1:cpu:/\n0::/kubepods.slice/x.scope\n");
    assert_eq!(
        files,
        [
            "/sys/fs/cgroup/memory/kubepods/pod1/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/kubepods/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/kubepods.slice/x.scope/memory.max",
            "/sys/fs/cgroup/kubepods.slice/memory.max",
            "/sys/fs/cgroup/memory.max",
        ]
    );
    assert_eq!(limit_files("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
}

#[test]
fn this_machine_gets_a_sensible_table() {
    assert!((LEAST as u32..=1 << 24).contains(&max_connections()));
}
