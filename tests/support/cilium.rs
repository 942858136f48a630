//! Pinned maps like Cilium's, in a BPF file system of the test's own, and the C program that writes them.

#![allow(dead_code)]

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use nix::sched::{CloneFlags, unshare};

/// The pins, and the size of a key of each.
pub const MAPS: [(&str, usize); 4] = [
    ("cilium_ct4_global", 14),
    ("cilium_ct_any4_global", 14),
    ("cilium_ct6_global", 38),
    ("cilium_ct_any6_global", 38),
];
/// `BPF_MAP_TYPE_LRU_HASH`.
pub const LRU_HASH: u32 = 9;

/// The writer's program, compiled once.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/cilium_writer.c");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cilium_writer-{}", std::process::id()));
        let made = Command::new("clang")
            .args(["-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&program, &source])
            .status()
            .expect("clang, which builds the BPF programs too");
        assert!(made.success(), "the writer compiles");
        program
    })
}

/// A BPF file system, mounted in a mount namespace of the calling thread, and a writer beside it. Both go with the
/// thread.
pub struct Bpffs {
    /// The mount point.
    pub root: PathBuf,
    child: Child,
    pipe: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Bpffs {
    /// Mounts one, with the folder that Cilium pins in.
    pub fn new() -> Bpffs {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let name = format!("netmon-bpffs-{}-{}", std::process::id(), SERIAL.fetch_add(1, Relaxed));
        let root = std::env::temp_dir().join(name);
        fs::create_dir(&root).expect("a folder");
        unshare(CloneFlags::CLONE_NEWNS).expect("root, for a mount namespace");
        run("mount", &["--make-rprivate", "/"]);
        run("mount", &["-t", "bpf", "bpf", &root.to_string_lossy()]);
        fs::create_dir_all(root.join("tc/globals")).expect("a folder");
        let mut child =
            Command::new(program()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the writer starts");
        let pipe = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        Bpffs { root, child, pipe: RefCell::new(pipe) }
    }

    /// With all four maps, empty.
    pub fn with_maps() -> Bpffs {
        let bpffs = Bpffs::new();
        for (name, key_bytes) in MAPS {
            bpffs.create(name, LRU_HASH, key_bytes, 56, 65_536);
        }
        bpffs
    }

    /// Where a map is pinned.
    pub fn pin(&self, name: &str) -> String {
        self.root.join("tc/globals").join(name).to_string_lossy().into_owned()
    }

    /// Makes and pins a map, in place of what is there.
    pub fn create(&self, name: &str, kind: u32, key_bytes: usize, value_bytes: usize, entries: u32) {
        self.tell(&format!("create {} {kind} {key_bytes} {value_bytes} {entries}", self.pin(name)));
    }

    /// One command of the writer about a map: see `cilium_writer.c`.
    pub fn write(&self, verb: &str, name: &str, rest: &str) {
        self.tell(&format!("{verb} {} {rest}", self.pin(name)));
    }

    /// Tells the writer and waits for it.
    pub fn tell(&self, line: &str) {
        let answer = self.ask(line);
        assert_eq!(answer, "ok\n", "{line}");
    }

    /// Tells the writer; returns what it answers.
    pub fn ask(&self, line: &str) -> String {
        let mut pipe = self.pipe.borrow_mut();
        writeln!(pipe.0, "{line}").expect("the writer lives");
        let mut answer = String::new();
        pipe.1.read_line(&mut answer).expect("the writer lives");
        answer
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        run("umount", &[&self.root.to_string_lossy()]);
        let _ = fs::remove_dir(&self.root);
    }
}

/// Runs a program in the calling thread's mount namespace.
fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} {arguments:?}");
}
