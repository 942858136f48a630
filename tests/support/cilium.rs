//! Pinned maps like Cilium's, in a BPF file system of the test's own, and the C program that writes them
//! (`tests/cilium_writer`), which was made from the formats' tables alone, by another hand than the reader.

#![allow(dead_code)]

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread::JoinHandle;

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
/// Cilium's entries as it writes them (name, key and value in hex, the layouts' letters before the number).
pub const FIXTURES: &str = include_str!("../cilium_writer/fixtures.hex");

/// The line that makes the writer write a fixture.
pub fn fixture(name: &str) -> &'static str {
    let lines = include_str!("../cilium_writer/fixtures.txt").lines().filter_map(|line| line.split_once(": "));
    let mut found = lines.filter(|(known, _)| *known == name);
    found.next().unwrap_or_else(|| panic!("no fixture {name}")).1
}

/// The writer's program, compiled once; `CILIUM_WRITER` names one that is, where there is no compiler.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(program) = std::env::var_os("CILIUM_WRITER") {
            return program.into();
        }
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cilium_writer/writer.c");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cilium_writer-{}", std::process::id()));
        let made = Command::new("clang")
            .args(["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([&program, &source])
            .status()
            .expect("clang, which builds the BPF programs too");
        assert!(made.success(), "the writer compiles");
        program
    })
}

/// The writer at work in one folder of pins. What it cannot do it says on stderr, and ends.
pub struct Writer {
    child: Child,
    pipe: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Writer {
    pub fn new(folder: &Path) -> Writer {
        let command = Command::new(program()).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = command.expect("the writer starts");
        let pipe = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        Writer { child, pipe: RefCell::new(pipe) }
    }

    /// Tells it lines, and waits until they are done.
    pub fn tell(&self, lines: &str) {
        assert_eq!(self.ask(&format!("{lines}\nsync")), "ok", "{}", lines.chars().take(300).collect::<String>());
    }

    /// Tells it lines of which the last has an answer.
    pub fn ask(&self, lines: &str) -> String {
        let mut pipe = self.pipe.borrow_mut();
        writeln!(pipe.0, "{lines}").expect("the writer lives");
        let mut answer = String::new();
        pipe.1.read_line(&mut answer).expect("the writer lives");
        answer.trim_end().to_owned()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A BPF file system, mounted in a mount namespace of the calling thread, and a writer beside it. Both go with the
/// thread.
pub struct Bpffs {
    /// The mount point.
    pub root: PathBuf,
    writer: Option<Writer>,
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
        let pins = root.join("tc/globals");
        fs::create_dir_all(&pins).expect("a folder");
        Bpffs { root, writer: Some(Writer::new(&pins)) }
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
        self.tell(&format!("map {name} type={kind} key={key_bytes} value={value_bytes} entries={entries}"));
    }

    /// Tells the writer lines (see `writer.c`), and waits until they are done.
    pub fn tell(&self, lines: &str) {
        self.writer().tell(lines);
    }

    /// Tells the writer a line; returns what it answers.
    pub fn ask(&self, line: &str) -> String {
        self.writer().ask(line)
    }

    /// Entries of `count` connections of 10.0.1.23, each of which counted so many packets of 100 bytes, in a layout.
    pub fn fill(&self, layout: char, count: u32, packets: u64) {
        self.tell(&filling(layout, 0..count, packets));
    }

    /// Beside all that makes and deletes 2,000 entries that `fill` does not make, so many times.
    pub fn churn(&self, rounds: u32) -> JoinHandle<()> {
        let writer = Writer::new(&self.root.join("tc/globals"));
        let mut lines = String::new();
        for n in 4_000_000..4_002_000 {
            let _ = writeln!(lines, "{}forget out tcp {}", filling('a', n..n + 1, 1), connection(n));
        }
        std::thread::spawn(move || (0..rounds).for_each(|_| writer.tell(&lines)))
    }

    fn writer(&self) -> &Writer {
        self.writer.as_ref().expect("until the drop")
    }
}

/// The ends of one connection of a filling.
fn connection(n: u32) -> String {
    format!("10.0.1.23:40000 10.{}.{}.{}:80", 2 + (n >> 16), n >> 8 & 255, n & 255)
}

fn filling(layout: char, range: std::ops::Range<u32>, packets: u64) -> String {
    let counters = match (layout, packets, packets * 100) {
        ('a', packets, bytes) => format!("tx={packets}/{bytes} rx={packets}/{bytes}"),
        (_, packets, bytes) => format!("sum={packets}/{bytes}"),
    };
    let mut lines = String::new();
    for n in range {
        let ends = connection(n);
        let _ =
            writeln!(lines, "entry {layout} out tcp {ends} {counters} marks=seen_non_syn tcp=1a/1a reported=1000/1000");
    }
    lines
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        self.writer = None;
        run("umount", &[&self.root.to_string_lossy()]);
        let _ = fs::remove_dir(&self.root);
    }
}

/// Runs a program in the calling thread's mount namespace.
fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} {arguments:?}");
}
