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
    let sizes = sizes(true).expect("a machine with memory");
    assert!((LEAST_CONNECTIONS as u32..=1 << 24).contains(&sizes.connections) && sizes.rows == MOST_ROWS);
}

/// `-max-rows` did not follow the memory limit: killed at 16 and 24 MiB, and at 32 while `/flows` was read.
#[test]
fn f20_both_tables_follow_the_memory_limit() {
    let of = |mib: u64, own_programs| sizes_within(mib * MIB, 262_144, own_programs);
    for own_programs in [false, true] {
        let least = LEAST_BYTES / MIB + if own_programs { 25 } else { 0 };
        let refused = of(least - 1, own_programs).expect_err("too small").to_string();
        assert!(refused.contains(&format!("{} MiB is too small: {least} MiB", least - 1)), "{refused}");
        let mut before = of(least, own_programs).expect("enough");
        for mib in least..=512 {
            let sizes = of(mib, own_programs).expect("enough");
            assert!(sizes.rows >= before.rows && sizes.connections >= before.connections);
            let tables = u64::from(sizes.rows) * BYTES_PER_ROW + u64::from(sizes.connections) * BYTES_PER_CONNECTION;
            let kernels = if own_programs { OWN_PROGRAMS_BYTES } else { 0 };
            // 4 MiB idle, 2 MiB for readers, 2 MiB for a push.
            assert!(tables + kernels + 8 * MIB <= mib * MIB, "{mib} MiB: {tables} bytes of tables");
            before = sizes;
        }
        assert_eq!(before.rows, MOST_ROWS);
    }
    // Beside itself and its views: two cells of the index, two orders, an item and what is around it.
    let view = std::mem::size_of::<crate::snapshot::RowView>();
    let row = std::mem::size_of::<crate::rows::Row>() + 2 * view + 4 * 4 + 16;
    assert!(row as u64 <= BYTES_PER_ROW, "{row}");
    // The chart's default.
    assert_eq!(of(128, true).expect("enough").rows, 65_536);
    assert_eq!(sizes_within(u64::MAX, 262_144, true), Ok(Sizes { connections: 262_144, rows: 65_536 }));
}
