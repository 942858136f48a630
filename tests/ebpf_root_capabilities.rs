//! What the BPF source needs to run: as uid 65532 with CAP_BPF and CAP_NET_ADMIN and nothing else (older kernels want
//! CAP_PERFMON, too); and what it says
//! when one of them, or a cgroup to attach to, is missing.
//!
//! The program starts itself again under `setpriv` (util-linux), so it brings its own `main`. Needs root and cgroup2.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use netmon::clock::Now;
use netmon::names::capture::Capture;
use netmon::source::Source;
use netmon::source::ebpf::{Ebpf, Settings};
use netmon::stats::Stats;
use netmon::sys::cgroup;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("open") => open(Path::new(&arguments[2])),
        Some("--list") => println!("ebpf_root_capabilities: test"),
        _ => run_all(),
    }
    ExitCode::SUCCESS
}

/// What the started program does: opens the source, sweeps once, and says how that went; then the DNS programs.
fn open(cgroup: &Path) {
    let settings = Settings { cgroup_root: Some(cgroup.to_owned()), ..Settings::default() };
    let now = Now { mono_ns: 1, wall_ns: 1 };
    let outcome = Ebpf::open(&settings, Arc::new(Stats::default()), now)
        .and_then(|mut source| source.sweep(now, &mut |_| ()).map(|sweep| sweep.complete));
    match outcome {
        Ok(complete) => println!("runs, complete: {complete}"),
        Err(error) => println!("{error}"),
    }
    match Capture::open(Some(cgroup), &[53, 5353], |_| ()).map(|mut capture| capture.seen()) {
        Ok(seen) => println!("names: {seen:?}"),
        Err(error) => println!("no names: {error}"),
    }
}

fn run_all() {
    let cgroup = TestCgroup::new();
    // Before 5.11 the maps need locked memory, and raising that limit a capability of its own; before 6.12 the verifier
    // refuses what it takes from a program with CAP_PERFMON.
    let memory = if kernel_is_before((5, 11)) { ",+sys_resource" } else { "" };
    let verifier = if kernel_is_before((6, 12)) { ",+perfmon" } else { "" };
    for (name, capabilities, expected) in [
        ("the documented set", "+bpf,+net_admin", "runs, complete: true"),
        ("without BPF", "+net_admin", "EPERM, CAP_BPF missing: grant it"),
        ("without NET_ADMIN", "+bpf", "EPERM, CAP_NET_ADMIN missing: grant it"),
        ("without either", "+chown", "EPERM, CAP_BPF and CAP_NET_ADMIN missing: grant it"),
    ] {
        let capabilities = format!("{capabilities}{memory}{verifier}");
        let said = opened_as_nobody(&capabilities, &cgroup.0);
        assert!(said.contains(expected), "{name}: {said}");
        let names = if expected.starts_with("runs") { "\nnames: Ok(Seen { answers: 0" } else { "\nno names: " };
        assert!(said.contains(names), "{name}: {said}");
        println!("test {name} ... ok ({})", said.trim());
    }
    if kernel_is_before((5, 11)) {
        let said = opened_as_nobody("+bpf,+net_admin", &cgroup.0);
        assert!(said.contains("EPERM, CAP_SYS_RESOURCE missing"), "{said}");
        println!("test without SYS_RESOURCE ... ok ({})", said.trim());
    }
    let said = opened_as_nobody("+bpf,+net_admin", Path::new("/proc"));
    assert!(said.contains("cannot use /proc as -cgroup-root"), "{said}");
    println!("test a cgroup that is none ... ok ({})", said.trim());
}

fn kernel_is_before(version: (u32, u32)) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("the kernel's release");
    let mut numbers = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) < (Some(version.0), Some(version.1))
}

fn opened_as_nobody(capabilities: &str, cgroup: &Path) -> String {
    let me = std::env::current_exe().expect("our own path");
    let only = |flag: &str| format!("--{flag}=-all,{capabilities}");
    let output = Command::new("setpriv")
        .args(["--reuid=65532", "--regid=65532", "--clear-groups", "--no-new-privs"])
        .args([only("inh-caps"), only("ambient-caps"), only("bounding-set")])
        .arg(readable_copy(&me))
        .arg("open")
        .arg(cgroup)
        .output()
        .expect("setpriv (util-linux)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Another user may not be able to reach the build directory.
fn readable_copy(program: &Path) -> PathBuf {
    let copy = std::env::temp_dir().join(format!("nm-ebpf-capabilities-{}", std::process::id()));
    if !copy.exists() {
        fs::copy(program, &copy).expect("copy the test program");
    }
    copy
}

struct TestCgroup(PathBuf);

impl TestCgroup {
    fn new() -> TestCgroup {
        let home = cgroup::find(None).expect("the host's cgroup2");
        let path = home.join(format!("nm-ebpf-capabilities-{}", std::process::id()));
        fs::create_dir(&path).expect("create the test's cgroup (root needed)");
        TestCgroup(path)
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
        let _ = fs::remove_file(std::env::temp_dir().join(format!("nm-ebpf-capabilities-{}", std::process::id())));
    }
}
