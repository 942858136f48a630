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
        read(&self.0.join(FILE)).expect("readable").map(|left| left.file)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn opened(dir: &Path) -> Result<(Store, Option<Vec<u8>>), String> {
    let (store, left) = Store::open(dir, SOON_NS);
    Ok((store, left?.map(|left| left.file)))
}

/// The lock goes with the thread, which ends a moment after its store.
fn until_free(dir: &Path) {
    let lock = || Flock::lock(open_lock(&dir.join(LOCK)).expect("ours"), FlockArg::LockExclusiveNonblock);
    while lock().is_err() {
        crate::clock::sleep_ns(crate::clock::MS);
    }
}

/// Makes files on a disk that hangs while there is a pipe `gate` beside them.
fn hanging(path: &Path) -> io::Result<File> {
    let gate = path.with_file_name("gate");
    if gate.exists() {
        // Opening a pipe hangs until its other end is open.
        File::open(gate)?;
    }
    create(path)
}

fn let_go(gate: &Path) {
    OpenOptions::new().write(true).open(gate).expect("the other end waits");
    fs::remove_file(gate).expect("made by the test");
}

#[test]
fn what_is_written_is_what_the_next_process_finds() {
    let folder = Folder::new("next");
    let (mut store, left) = opened(&folder.0).expect("made");
    assert_eq!(left, None);
    assert_eq!(store.append(b"nobody".to_vec(), SOON_NS), Written::NoFile, "nothing to append to");
    assert_eq!(folder.file(), None);
    assert_eq!(store.replace(pieces("one"), SOON_NS), Written::Synced);
    assert_eq!(store.replace(pieces("two"), SOON_NS), Written::Synced);
    assert_eq!(store.append(b"+note".to_vec(), SOON_NS), Written::Synced);
    assert_eq!(fs::metadata(folder.0.join(FILE)).expect("there").mode() & 0o777, 0o600);
    let taken = opened(&folder.0).err().expect("one process at a time");
    assert!(taken.starts_with("another process uses it"), "{taken}");
    drop(store);
    let mut again = opened(&folder.0);
    // The lock goes with the thread, which ends a moment later.
    for _ in 0..100 {
        if again.is_ok() {
            break;
        }
        crate::clock::sleep_ns(10 * crate::clock::MS);
        again = opened(&folder.0);
    }
    let (mut store, left) = again.expect("free again");
    assert_eq!(left.as_deref(), Some(&b"two+note"[..]));
    assert_eq!(store.remove(SOON_NS), Written::NoFile);
    assert_eq!(folder.file(), None);
}

#[test]
fn a_write_that_fails_leaves_no_file_behind() {
    let folder = Folder::new("fails");
    let (mut store, _) = opened(&folder.0).expect("made");
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
    let (mut store, left) = Store::open_by(&folder.0, SOON_NS, hanging);
    assert_eq!(left, Ok(None));
    assert_eq!(store.replace(pieces("one"), SOON_NS), Written::Synced);
    let gate = folder.0.join("gate");
    nix::unistd::mkfifo(&gate, Mode::S_IRWXU).expect("made");
    assert_eq!(store.replace(pieces("two"), 50_000_000), Written::Late);
    assert_eq!(store.append(b"note".to_vec(), SOON_NS), Written::Late, "at once");
    let_go(&gate);
    // The job is back within moments; since then something was missed.
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

#[test]
fn f5_a_disk_that_hangs_at_the_start_is_waited_for_no_longer_than_said_and_taken_later() {
    let folder = Folder::new("hangs-at-start");
    fs::create_dir_all(&folder.0).expect("made");
    let file = folder.0.join(FILE);
    create(&file).and_then(|mut file| file.write_all(b"old")).expect("written");
    let gate = folder.0.join("gate");
    nix::unistd::mkfifo(&gate, Mode::S_IRWXU).expect("made");
    let began_ns = crate::clock::now().mono_ns;
    let (mut store, left) = Store::open_by(&folder.0, 50_000_000, hanging);
    assert!(left.expect_err("it hangs").contains("the disk did not answer"));
    assert_eq!(store.replace(pieces("one"), SOON_NS), Written::Late, "at once");
    assert!(crate::clock::now().mono_ns - began_ns < 5 * SECOND);
    let_go(&gate);
    let mut written = Written::Late;
    while written == Written::Late {
        crate::clock::sleep_ns(crate::clock::MS);
        written = store.replace(pieces("two"), SOON_NS);
    }
    assert_eq!((written, folder.file().as_deref()), (Written::Synced, Some(&b"two"[..])));
    let stale = store.take_stale().expect("nobody could go on from it");
    assert_eq!(stale.file, b"old");
    assert_eq!(store.take_stale(), None);
}

#[test]
fn f5_no_link_is_followed_and_no_pipe_waited_for() {
    let folder = Folder::new("links");
    fs::create_dir_all(&folder.0).expect("made");
    let target = folder.0.with_extension("target");
    fs::write(&target, b"precious").expect("written");
    for name in [NEXT, FILE, LOCK] {
        for is_link in [true, false] {
            let path = folder.0.join(name);
            match is_link {
                true => std::os::unix::fs::symlink(&target, &path).expect("made"),
                false => nix::unistd::mkfifo(&path, Mode::S_IRWXU).expect("made"),
            }
            let (mut store, left) = Store::open(&folder.0, SOON_NS);
            match name {
                // It is ours to make, so whatever bears its name goes.
                NEXT => {
                    assert_eq!(left, Ok(None));
                    assert_eq!(store.replace(pieces("one"), SOON_NS), Written::Synced);
                    drop(store);
                    let _ = fs::remove_file(folder.0.join(FILE));
                    until_free(&folder.0);
                }
                _ => {
                    let why = left.expect_err("it is not ours");
                    assert!(why.contains(if is_link { "symbolic link" } else { "no plain file" }), "{name}: {why}");
                    assert!(matches!(store.replace(pieces("one"), SOON_NS), Written::Failed(_)));
                    fs::remove_file(&path).expect("still there");
                    // It is tried again with every file.
                    assert_eq!(store.replace(pieces("one"), SOON_NS), Written::Synced, "{name}");
                    drop(store);
                    until_free(&folder.0);
                    fs::remove_file(folder.0.join(FILE)).expect("written");
                    let _ = fs::remove_file(folder.0.join(LOCK));
                }
            }
            assert_eq!(fs::read(&target).expect("there"), b"precious", "{name}");
        }
    }
    fs::remove_file(&target).expect("made above");
}

#[test]
fn f5_what_others_may_write_is_not_believed_and_a_folder_is_tried_again() {
    let folder = Folder::new("others");
    fs::create_dir_all(&folder.0).expect("made");
    let file = folder.0.join(FILE);
    fs::write(&file, b"theirs").expect("written");
    for mode in [0o666, 0o620, 0o602] {
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).expect("ours");
        let why = opened(&folder.0).err().expect("others may write to it");
        assert!(why.contains("others may write"), "{why}");
    }
    if geteuid().is_root() {
        let root = nix::unistd::Uid::from_raw(0);
        for (path, what) in [(&file, "cannot read the state file"), (&folder.0, "it belongs to user 7")] {
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("ours");
            nix::unistd::chown(path, Some(nix::unistd::Uid::from_raw(7)), None).expect("root may");
            let why = opened(&folder.0).err().expect("it is another's");
            assert!(why.contains(what), "{why}");
            nix::unistd::chown(path, Some(root), None).expect("root may");
        }
    }
    fs::remove_file(&file).expect("written above");
    // A file stands where the folder is to be.
    let other = folder.0.join("no-folder");
    fs::write(&other, b"").expect("written");
    let (mut store, left) = Store::open(&other, SOON_NS);
    assert!(left.is_err());
    assert_eq!(store.append(b"note".to_vec(), SOON_NS), Written::NoFile);
    fs::remove_file(&other).expect("written above");
    assert_eq!(store.replace(pieces("one"), SOON_NS), Written::Synced, "tried again");
    let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!((mode(&other), mode(&other.join(FILE)), mode(&other.join(LOCK))), (0o700, 0o600, 0o600));
}
