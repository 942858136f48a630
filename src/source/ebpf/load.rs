//! Loads the programs, attaches them, and says in words why that failed.
//!
//! What is returned are kernel handles only: libbpf's own object is freed at once. Detaches when dropped.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::Mutex;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, PrintLevel, set_print};

use super::Settings;
use super::cgroup::{self, CgroupError};
use crate::sys::ring::Ring;

/// The generated skeleton, which is full of `unsafe`.
#[allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/flow.skel.rs"));
}

use skeleton::FlowSkelBuilder;
use skeleton::types::{flow_fill, flow_stats, flow_value, flow4_key, flow6_key};

// The C side asserts the same numbers.
const _: () = assert!(size_of::<flow4_key>() == super::tuple::KEY4_BYTES);
const _: () = assert!(size_of::<flow6_key>() == super::tuple::KEY6_BYTES);
const _: () = assert!(size_of::<flow_value>() == super::tuple::VALUE_BYTES);
const _: () = assert!(size_of::<flow_stats>() == super::tuple::STATS_BYTES);
const _: () = assert!(size_of::<flow_fill>() == FILL_BYTES);

const FILL_BYTES: usize = 8;

/// The kernel that the programs are tested on at the least (map-in-map with inner maps of any size, batches, links).
const KERNEL_FLOOR: (u32, u32) = (5, 10);

/// Why the programs do not run.
#[derive(Debug)]
pub enum LoadError {
    /// No cgroup to attach to.
    Cgroup(CgroupError),
    /// The kernel is older than the floor.
    Kernel(String),
    /// The kernel says EPERM, and these capabilities are missing.
    Capabilities(&'static str, Vec<&'static str>),
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
                "cannot {step} BPF programs: EPERM although CAP_BPF and CAP_NET_ADMIN are there (a seccomp profile or \
                 security module that denies bpf(2), or kernel lockdown?)"
            ),
            LoadError::Capabilities(step, missing) => {
                write!(f, "cannot {step} BPF programs: EPERM, {} missing: grant it", missing.join(" and "))
            }
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

/// Two buffers of one family and the slot that says which of them the programs fill.
pub struct Buffers {
    slot: MapHandle,
    pair: [MapHandle; 2],
    in_use: usize,
    family: u32,
}

impl Buffers {
    /// Gives the programs the other buffer. When this returns no program uses the one that is returned
    /// (kernel: maybe_wait_bpf_programs).
    pub fn swap(&mut self, fill: &MapHandle) -> Result<BorrowedFd<'_>, libbpf_rs::Error> {
        let next = 1 - self.in_use;
        let fd = self.pair[next].as_fd().as_raw_fd();
        self.slot.update(&0u32.to_ne_bytes(), &fd.to_ne_bytes(), MapFlags::ANY)?;
        let quiet = self.in_use;
        self.in_use = next;
        fill.update(&self.family.to_ne_bytes(), &[0; FILL_BYTES], MapFlags::ANY)?;
        Ok(self.pair[quiet].as_fd())
    }
}

/// What runs in the kernel.
pub struct Programs {
    /// IPv4 buffers.
    pub v4: Buffers,
    /// IPv6 buffers.
    pub v6: Buffers,
    /// Per-CPU `struct flow_stats`.
    pub stats: MapHandle,
    /// How full the buffers in use are.
    pub fill: MapHandle,
    /// Becomes readable when a drain is due.
    pub wake: Ring,
    /// Detach when dropped.
    pub links: [Link; 2],
}

/// Loads and attaches. Call it before threads start: libbpf's log is captured process-wide meanwhile.
pub fn load(settings: &Settings) -> Result<Programs, LoadError> {
    explained(settings.cgroup_root.as_deref(), |cgroup| load_captured(settings, cgroup))
}

/// Runs `load` with the cgroup to attach to, and finds the cause if it fails. Call it before threads start.
pub fn explained<T>(
    cgroup_root: Option<&Path>,
    load: impl FnOnce(BorrowedFd<'_>) -> Result<T, Failure>,
) -> Result<T, LoadError> {
    let release = kernel_release();
    if kernel_version(&release).is_some_and(|version| version < KERNEL_FLOOR) {
        return Err(LoadError::Kernel(release));
    }
    let cgroup = cgroup::find(cgroup_root).map_err(LoadError::Cgroup)?;
    let previous = set_print(Some((PrintLevel::Debug, capture)));
    log_lines().clear();
    let result = File::open(cgroup).map_err(Failure::of_system("attach")).and_then(|directory| load(directory.as_fd()));
    set_print(previous);
    let lines = std::mem::take(&mut *log_lines());
    result.map_err(|failure| failure.explain(&lines))
}

/// Whether programs still hang where they were attached: the kernel clears the id when the cgroup goes or somebody
/// detaches by force.
pub fn are_attached(links: &[Link]) -> bool {
    links.iter().all(|link| match link.info().map(|info| info.info) {
        Ok(libbpf_rs::query::LinkTypeInfo::Cgroup(info)) => info.cgroup_id != 0,
        _ => true,
    })
}

fn load_captured(settings: &Settings, cgroup: BorrowedFd<'_>) -> Result<Programs, Failure> {
    let mut object = MaybeUninit::uninit();
    let mut open = FlowSkelBuilder::default().open(&mut object).map_err(Failure::at("open"))?;
    for map in [&mut open.maps.flows4_a, &mut open.maps.flows4_b] {
        map.set_max_entries(settings.slots_v4.max(1)).map_err(Failure::at("size"))?;
    }
    for map in [&mut open.maps.flows6_a, &mut open.maps.flows6_b] {
        map.set_max_entries(settings.slots_v6.max(1)).map_err(Failure::at("size"))?;
    }
    if let Some(rodata) = open.maps.rodata_data.as_mut() {
        rodata.wake_at_v4 = wake_at(settings.slots_v4);
        rodata.wake_at_v6 = wake_at(settings.slots_v6);
    }
    let skeleton = open.load().map_err(Failure::at("load"))?;

    let handle = |map: &libbpf_rs::MapMut<'_>| MapHandle::try_from(map).map_err(Failure::at("hold"));
    let maps = &skeleton.maps;
    let v4 = Buffers {
        slot: handle(&maps.flows4)?,
        pair: [handle(&maps.flows4_a)?, handle(&maps.flows4_b)?],
        in_use: 0,
        family: 0,
    };
    let v6 = Buffers {
        slot: handle(&maps.flows6)?,
        pair: [handle(&maps.flows6_a)?, handle(&maps.flows6_b)?],
        in_use: 0,
        family: 1,
    };
    let wake = Ring::open(maps.wake.as_fd()).map_err(Failure::of_system("map the ring buffer of"))?;
    let (stats, fill) = (handle(&maps.stats)?, handle(&maps.fill)?);

    let ingress = skeleton.progs.ingress.attach_cgroup(cgroup.as_raw_fd()).map_err(Failure::at("attach"))?;
    let egress = skeleton.progs.egress.attach_cgroup(cgroup.as_raw_fd()).map_err(Failure::at("attach"))?;
    Ok(Programs { v4, v6, stats, fill, wake, links: [ingress, egress] })
}

/// Three quarters: what comes while the agent wakes finds room.
fn wake_at(slots: u32) -> u32 {
    (slots / 4 * 3).max(1)
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
            let kernel = kernel_version(&kernel_release()).unwrap_or(KERNEL_FLOOR);
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

/// What the verifier said last, if it spoke: libbpf prints its log between these two marks.
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

fn kernel_release() -> String {
    nix::sys::utsname::uname()
        .map(|name| OsString::from(name.release()).to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// Major and minor number of a release like `6.1.0-28-cloud-amd64`.
fn kernel_version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
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
mod tests {
    use super::*;

    #[test]
    fn missing_capabilities_are_named() {
        let new = (6, 1);
        assert_eq!(missing_capabilities(0, new), ["CAP_BPF", "CAP_NET_ADMIN"]);
        assert_eq!(missing_capabilities(1 << 39, new), ["CAP_NET_ADMIN"]);
        assert_eq!(missing_capabilities(1 << 12, new), ["CAP_BPF"]);
        assert!(missing_capabilities(1 << 12 | 1 << 39, new).is_empty());
        assert!(missing_capabilities(1 << 21, new).is_empty());
        assert_eq!(missing_capabilities(1 << 12 | 1 << 39, (5, 10)), ["CAP_SYS_RESOURCE"]);
    }

    #[test]
    fn the_verifiers_last_word_is_found() {
        let lines = [
            "libbpf: prog 'egress': BPF program load failed: -EACCES\n".to_owned(),
            "libbpf: prog 'egress': -- BEGIN PROG LOAD LOG --\n0: R1=ctx()\nattempt to corrupt spilled pointer on \
             stack\nprocessed 12 insns\n-- END PROG LOAD LOG --\n"
                .to_owned(),
            "libbpf: failed to load object\n".to_owned(),
        ];
        assert_eq!(verifier_line(&lines).as_deref(), Some("attempt to corrupt spilled pointer on stack"));
        assert_eq!(verifier_line(&lines[2..]), None);
    }

    #[test]
    fn kernel_releases_are_compared_by_number() {
        assert_eq!(kernel_version("6.1.0-28-cloud-amd64"), Some((6, 1)));
        assert_eq!(kernel_version("5.4"), Some((5, 4)));
        assert_eq!(kernel_version("unknown"), None);
        assert!(kernel_version("5.9.1").expect("numbers") < KERNEL_FLOOR);
    }
}
