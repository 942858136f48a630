//! The state folder on disks that are full or read-only, which only root can make: the agent goes on without, says so
//! once and counts it.

use std::path::{Path, PathBuf};
use std::process::Command;

use netmon::clock::{self, MS, SECOND};
use netmon::state::store::{Store, Written};

/// A file system in memory of a few pages.
struct Disk(PathBuf);

impl Disk {
    fn mount(name: &str) -> Disk {
        let path = std::env::temp_dir().join(format!("netmon-disk-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("made");
        let disk = Disk(path);
        disk.mount_with("size=16k");
        disk
    }

    fn mount_with(&self, options: &str) {
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&self.0).status();
        assert!(status.expect("mount(8)").success(), "root, to mount");
    }

    fn has_state(&self) -> bool {
        Path::new(&self.0).join("state").exists()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn root_a_full_disk_leaves_no_state_that_is_behind() {
    let disk = Disk::mount("full");
    let (mut store, left) = Store::open(&disk.0, 10 * SECOND);
    left.expect("there is room");
    assert_eq!(store.replace([b"small".to_vec(), Vec::new(), Vec::new()], 10 * SECOND), Written::Synced);
    let Written::Failed(why) = store.replace([Vec::new(), vec![0; 1 << 20], Vec::new()], 10 * SECOND) else {
        panic!("it has 16 KB")
    };
    assert!(why.contains("No space left"), "{why}");
    assert!(!disk.has_state(), "the small one would be behind");
    // The file system counts the pages that it gave back a moment later.
    let again = || store.replace([b"small again".to_vec(), Vec::new(), Vec::new()], 10 * SECOND);
    let written = std::iter::repeat_with(again).inspect(|_| clock::sleep_ns(50 * MS)).take(100);
    assert!(written.into_iter().any(|written| written == Written::Synced), "room again");
}

#[test]
fn root_on_a_read_only_disk_even_an_old_state_is_not_used() {
    let disk = Disk::mount("read-only");
    std::fs::write(disk.0.join("state"), b"old").expect("there is room");
    disk.mount_with("remount,ro");
    let why = Store::open(&disk.0, 10 * SECOND).1.expect_err("nothing can be written");
    assert!(why.starts_with("cannot write there") && why.contains("Read-only"), "{why}");
}
