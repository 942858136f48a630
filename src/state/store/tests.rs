use super::*;
use nix::sys::stat::Mode;

const SOON_NS: u64 = 20 * SECOND;

fn pieces(text: &str) -> [Vec<u8>; 3] {
    let (head, tail) = text.as_bytes().split_at(1);
    [head.to_vec(), tail.to_vec(), Vec::new()]
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("netmon-store-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Folder(path)
    }

    fn file(&self) -> Option<Vec<u8>> {
        read(&self.0.join(FILE)).expect("readable")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn what_is_written_is_what_the_next_process_finds() {
    let folder = Folder::new("next");
    let (mut store, left) = Store::open(&folder.0).expect("made");
    assert_eq!(left, None);
    assert_eq!(store.append(b"nobody".to_vec(), SOON_NS), Written::NoFile, "nothing to append to");
    assert_eq!(folder.file(), None);
    assert_eq!(store.replace(pieces("one"), SOON_NS), Written::Synced);
    assert_eq!(store.replace(pieces("two"), SOON_NS), Written::Synced);
    assert_eq!(store.append(b"+note".to_vec(), SOON_NS), Written::Synced);
    assert_eq!(fs::metadata(folder.0.join(FILE)).expect("there").mode() & 0o777, 0o600);
    let taken = Store::open(&folder.0).err().expect("one process at a time");
    assert!(taken.starts_with("another process uses it"), "{taken}");
    drop(store);
    let mut again = Store::open(&folder.0);
    // The lock goes with the thread, which ends a moment later.
    for _ in 0..100 {
        if again.is_ok() {
            break;
        }
        crate::clock::sleep_ns(10 * crate::clock::MS);
        again = Store::open(&folder.0);
    }
    let (mut store, left) = again.expect("free again");
    assert_eq!(left.as_deref(), Some(&b"two+note"[..]));
    assert_eq!(store.remove(SOON_NS), Written::NoFile);
    assert_eq!(folder.file(), None);
}

#[test]
fn a_write_that_fails_leaves_no_file_behind() {
    let folder = Folder::new("fails");
    let (mut store, _) = Store::open(&folder.0).expect("made");
    assert_eq!(store.replace(pieces("one"), SOON_NS), Written::Synced);
    // Nothing can be opened for writing there.
    fs::create_dir(folder.0.join(NEXT)).expect("made");
    assert!(matches!(store.replace(pieces("two"), SOON_NS), Written::Failed(_)));
    assert_eq!(folder.file(), None, "the first file would be behind");
    assert_eq!(store.append(b"note".to_vec(), SOON_NS), Written::NoFile);
    assert_eq!(folder.file(), None);
    fs::remove_dir(folder.0.join(NEXT)).expect("made above");
    assert_eq!(store.replace(pieces("three"), SOON_NS), Written::Synced);
    assert_eq!(folder.file().as_deref(), Some(&b"three"[..]));
}

#[test]
fn a_disk_that_hangs_delays_nobody_and_what_it_missed_is_not_believed() {
    let folder = Folder::new("hangs");
    let (mut store, _) = Store::open(&folder.0).expect("made");
    assert_eq!(store.replace(pieces("one"), SOON_NS), Written::Synced);
    // Opening a pipe without a reader hangs until there is one.
    let next = folder.0.join(NEXT);
    nix::unistd::mkfifo(&next, Mode::S_IRWXU).expect("made");
    assert_eq!(store.replace(pieces("two"), 50_000_000), Written::Late);
    assert_eq!(store.append(b"note".to_vec(), SOON_NS), Written::Late, "at once");
    let mut pipe = File::open(&next).expect("it was made");
    let mut went = Vec::new();
    pipe.read_to_end(&mut went).expect("until it is closed");
    // The job is back within moments; what is written to a pipe cannot be synced, so it failed.
    let mut written = Written::Late;
    while written == Written::Late {
        crate::clock::sleep_ns(crate::clock::MS);
        written = store.append(b"note".to_vec(), SOON_NS);
    }
    assert_eq!((written, folder.file()), (Written::NoFile, None));
    assert_eq!(store.replace(pieces("three"), SOON_NS), Written::Synced);
    assert_eq!(store.append(b"+note".to_vec(), SOON_NS), Written::Synced);
    assert_eq!(folder.file().as_deref(), Some(&b"three+note"[..]));
}
