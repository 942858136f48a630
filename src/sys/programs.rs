//! Loads and attaches BPF programs for callers that bring a skeleton. Finds the cgroup, captures libbpf's log, and says
//! in words why a step failed.
//!
//! Knows no program and no map.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use libbpf_rs::{Link, MapCore, PrintLevel, RingBuffer, RingBufferBuilder, set_print};
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC as CGROUP2, statfs};

use super::bpf;
use super::cgroup::{self, CgroupError};
use super::kernel;

/// The kernel that the programs are tested on at the least (map-in-map with inner maps of any size, batches, links).
const KERNEL_FLOOR: (u32, u32) = (5, 10);

/// `BPF_F_ALLOW_OVERRIDE` and `BPF_F_ALLOW_MULTI`: what may hang beside and below a program.
const ALLOW_OVERRIDE: u32 = 1;
const ALLOW_MULTI: u32 = 2;

/// Why the programs do not run.
#[derive(Debug)]
pub enum LoadError {
    /// No cgroup to attach to.
    Cgroup(CgroupError),
    /// The kernel is older than the floor.
    Kernel(String),
    /// EPERM, and these capabilities are missing.
    Capabilities(&'static str, Vec<&'static str>),
    /// Another program holds the place alone.
    Occupied(PathBuf, String),
    /// The verifier refused a program; its last line.
    Verifier(String),
    /// Anything else, by step.
    Step(&'static str, String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Cgroup(error) => error.fmt(f),
            LoadError::Kernel(release) => write!(
                f,
                "kernel {release} is too old for the BPF programs: they need {}.{} or newer",
                KERNEL_FLOOR.0, KERNEL_FLOOR.1
            ),
            LoadError::Capabilities(step, missing) if missing.is_empty() => write!(
                f,
                "cannot {step} BPF programs: EPERM although CAP_BPF and CAP_NET_ADMIN are held (a seccomp profile or \
                 security module that denies bpf(2), or kernel lockdown?)"
            ),
            LoadError::Capabilities(step, missing) => {
                write!(f, "cannot {step} BPF programs: EPERM, {} missing: grant it", missing.join(" and "))
            }
            LoadError::Occupied(cgroup, program) => write!(
                f,
                "cannot attach BPF programs: {program} holds the cgroup {} alone (attached without BPF_F_ALLOW_MULTI): \
                 whoever attached it has to allow others beside it",
                cgroup.display()
            ),
            LoadError::Verifier(line) => write!(
                f,
                "the kernel's verifier refused the BPF programs: {line} (before kernel 6.12 CAP_PERFMON may cure it; \
                 the log at debug level has more)"
            ),
            LoadError::Step(step, why) => write!(f, "cannot {step} BPF programs: {why}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Runs `load` with the cgroup to attach to, and finds the cause if it fails. Call it before threads start.
pub fn explained<T>(
    cgroup_root: Option<&Path>,
    load: impl FnOnce(BorrowedFd<'_>) -> Result<T, Failure>,
) -> Result<T, LoadError> {
    let release = kernel::release();
    if kernel::version(&release).is_some_and(|version| version < KERNEL_FLOOR) {
        return Err(LoadError::Kernel(release));
    }
    let cgroup = cgroup::find(cgroup_root).map_err(LoadError::Cgroup)?;
    let previous = set_print(Some((PrintLevel::Debug, capture)));
    log_lines().clear();
    let result =
        File::open(&cgroup).map_err(Failure::of_system("attach")).and_then(|directory| load(directory.as_fd()));
    set_print(previous);
    let lines = std::mem::take(&mut *log_lines());
    result.map_err(|failure| match failure.step {
        // Its EPERM says nothing of capabilities.
        "attach" if failure.errno == Some(nix::libc::EPERM) => {
            holder(&cgroup).unwrap_or_else(|| failure.explain(&lines))
        }
        _ => failure.explain(&lines),
    })
}

/// The program that lets none hang beside it at this cgroup, or none below the one where it hangs.
fn holder(cgroup: &Path) -> Option<LoadError> {
    for place in cgroup.ancestors().take_while(|place| statfs(*place).is_ok_and(|fs| fs.filesystem_type() == CGROUP2)) {
        let directory = File::open(place).ok()?;
        for egress in [false, true] {
            let Ok(Some(found)) = bpf::attached(directory.as_fd(), egress) else { continue };
            let excludes = match place == cgroup {
                true => found.flags & ALLOW_MULTI == 0,
                // Above, one that may be overridden lets programs hang below.
                false => found.flags & (ALLOW_MULTI | ALLOW_OVERRIDE) == 0,
            };
            if excludes {
                let name = bpf::program_name(found.first_id).map_or_else(String::new, |name| format!("{name:?}, "));
                let way = if egress { "egress" } else { "ingress" };
                let program = format!("another program ({name}id {}, {way})", found.first_id);
                return Some(LoadError::Occupied(place.to_owned(), program));
            }
        }
    }
    None
}

/// The reader of a ring buffer; `each` gets its records, on the thread that consumes them.
pub fn ring_of(
    map: &dyn MapCore,
    mut each: impl FnMut(&[u8]) + Send + 'static,
) -> Result<RingBuffer<'static>, Failure> {
    let failed = Failure::at("map the ring buffer of");
    let mut builder = RingBufferBuilder::new();
    builder
        .add(map, move |record| {
            each(record);
            0
        })
        .map_err(&failed)?;
    builder.build().map_err(&failed)
}

/// Whether programs still hang where they were attached: the kernel clears the id when the cgroup goes or somebody
/// detaches by force.
pub fn are_attached(links: &[Link]) -> bool {
    links.iter().all(|link| match link.info().map(|info| info.info) {
        Ok(libbpf_rs::query::LinkTypeInfo::Cgroup(info)) => info.cgroup_id != 0,
        _ => true,
    })
}

/// A step that failed, before its cause is known.
pub struct Failure {
    step: &'static str,
    errno: Option<i32>,
    text: String,
}

impl Failure {
    /// Of a step that libbpf fails.
    pub fn at(step: &'static str) -> impl Fn(libbpf_rs::Error) -> Failure {
        move |error| Failure { step, errno: errno_of(&error), text: format!("{error:#}") }
    }

    /// Of a step that a system call fails.
    pub fn of_system(step: &'static str) -> impl Fn(std::io::Error) -> Failure {
        move |error| Failure { step, errno: error.raw_os_error(), text: error.to_string() }
    }

    fn explain(self, lines: &[String]) -> LoadError {
        for line in lines.iter().flat_map(|text| text.lines()).rev().take(20).collect::<Vec<_>>().into_iter().rev() {
            log::debug!("libbpf: {line}");
        }
        // The log decides: the verifier says EACCES or EINVAL, and EPERM for what an unprivileged program may not do.
        if let Some(line) = verifier_line(lines) {
            return LoadError::Verifier(line);
        }
        if self.errno == Some(nix::libc::EPERM) {
            let held = effective_capabilities().unwrap_or(u64::MAX);
            let kernel = kernel::version(&kernel::release()).unwrap_or(KERNEL_FLOOR);
            return LoadError::Capabilities(self.step, missing_capabilities(held, kernel));
        }
        LoadError::Step(self.step, self.text)
    }
}

fn errno_of(error: &libbpf_rs::Error) -> Option<i32> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(this) = cause {
        if let Some(io) = this.downcast_ref::<std::io::Error>() {
            return io.raw_os_error();
        }
        cause = this.source();
    }
    // libbpf_rs keeps the errno only as a kind.
    (error.kind() == libbpf_rs::ErrorKind::PermissionDenied).then_some(nix::libc::EPERM)
}

/// Returns the last line of the verifier's log, which libbpf prints between these two marks.
fn verifier_line(lines: &[String]) -> Option<String> {
    let mut inside = false;
    let mut last = None;
    for line in lines.iter().flat_map(|text| text.lines()).map(str::trim) {
        if line.contains("BEGIN PROG LOAD LOG") {
            inside = true;
        } else if line.contains("END PROG LOAD LOG") {
            inside = false;
        } else if inside && !line.is_empty() && !line.starts_with("processed ") && !line.contains("-- BEGIN") {
            last = Some(line.to_owned());
        }
    }
    last
}

/// The capabilities the programs need, by number (capabilities(7)).
const NEEDED: [(u32, &str); 2] = [(39, "CAP_BPF"), (12, "CAP_NET_ADMIN")];
const CAP_SYS_ADMIN: u32 = 21;

/// Before 5.11 maps were charged to RLIMIT_MEMLOCK, which libbpf raises where it may.
const MEMLOCK_UNTIL: (u32, u32) = (5, 11);
const CAP_SYS_RESOURCE: u32 = 24;

fn missing_capabilities(held: u64, kernel: (u32, u32)) -> Vec<&'static str> {
    let has = |number: u32| held >> number & 1 == 1;
    // The kernel takes CAP_SYS_ADMIN for either (bpf_capable, and the attach of network programs).
    let needed = NEEDED.iter().filter(|(number, _)| !has(*number) && !has(CAP_SYS_ADMIN)).map(|(_, name)| *name);
    let memory = (kernel < MEMLOCK_UNTIL && !has(CAP_SYS_RESOURCE)).then_some("CAP_SYS_RESOURCE");
    needed.chain(memory).collect()
}

fn effective_capabilities() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/thread-self/status").ok()?;
    let hex = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(hex.trim(), 16).ok()
}

// libbpf takes a plain function, so what it says must go through a static. Held for a push only.
static LOG: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn log_lines() -> std::sync::MutexGuard<'static, Vec<String>> {
    LOG.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn capture(_: PrintLevel, text: String) {
    log_lines().push(text);
}

#[cfg(test)]
mod tests;
