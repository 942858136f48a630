//! Which cgroup the programs are attached to: the root of the cgroup2 hierarchy, found in mountinfo, or the one asked
//! for.
//!
//! Never mounts anything, and refuses a cgroup that is not the root unless it was asked for. A container sees its own
//! cgroup as the root of its mount, and attaching there would count that container alone. A cgroup below which the pods
//! of a node have theirs is used all the same. A node may be a container itself (kind, k3d, minikube), and nothing of
//! it lies above.

use std::fmt;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};

/// Why there is no cgroup to attach to.
#[derive(Debug, PartialEq, Eq)]
pub enum CgroupError {
    /// mountinfo cannot be read.
    ReadMounts(String),
    /// No cgroup2 is mounted.
    NoCgroup2,
    /// Every cgroup2 that is mounted here is a part of the hierarchy.
    NotRoot(PathBuf),
    /// What was asked for is no cgroup2.
    Asked(PathBuf, String),
}

impl fmt::Display for CgroupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CgroupError::ReadMounts(why) => write!(f, "cannot read /proc/self/mountinfo: {why}"),
            CgroupError::NoCgroup2 => f.write_str(
                "no cgroup2 is mounted (a host with cgroup v1 only, or a container without a mount of the host's \
                 /sys/fs/cgroup): boot with systemd.unified_cgroup_hierarchy=1, or mount the host's /sys/fs/cgroup \
                 read-only",
            ),
            CgroupError::NotRoot(path) => write!(
                f,
                "the cgroup2 at {} is a container's own, not the root of the hierarchy, and no pod has its cgroup there: \
                 mount the host's /sys/fs/cgroup read-only and say where: -cgroup-root for mode ebpf and names, \
                 -cgroup-fs for the pods on the node's network",
                path.display()
            ),
            CgroupError::Asked(path, why) => {
                write!(f, "cannot use {} as -cgroup-root: {why}", path.display())
            }
        }
    }
}

impl std::error::Error for CgroupError {}

/// The cgroup to attach to.
pub fn find(asked: Option<&Path>) -> Result<PathBuf, CgroupError> {
    if let Some(path) = asked {
        let kind = statfs(path).map_err(|errno| CgroupError::Asked(path.to_owned(), errno.desc().to_owned()))?;
        if kind.filesystem_type() != CGROUP2_SUPER_MAGIC {
            return Err(CgroupError::Asked(path.to_owned(), "it is not a directory of a cgroup2 mount".to_owned()));
        }
        return Ok(path.to_owned());
    }
    let mounts = std::fs::read("/proc/self/mountinfo").map_err(|error| CgroupError::ReadMounts(error.to_string()))?;
    choose(&mounts, is_root, |path| holds_pods(path, DEPTH))
}

/// The cgroup2 tree in which pods have their cgroups: what was asked for, or another mount where only that holds any.
///
/// # Errors
/// If there is no cgroup2 tree at all.
pub fn find_of_pods(asked: Option<&Path>) -> Result<PathBuf, CgroupError> {
    let mounts = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mounts = mounts.split(|b| *b == b'\n').filter_map(cgroup2_mount_point);
    let asked = asked.filter(|path| find(Some(path)).is_ok());
    of_pods(asked, mounts).map_or_else(|| find(None), Ok)
}

/// A hierarchy of cgroup v1 in which pods have their cgroups while no cgroup2 tree holds any: kubelet's driver
/// `cgroupfs` on a hybrid host. Sockets know their cgroup2 alone.
pub fn v1_of_pods() -> Option<PathBuf> {
    let mounts = std::fs::read("/proc/self/mountinfo").ok()?;
    let of = |kind: &'static [u8]| mounts.split(|b| *b == b'\n').filter_map(move |line| mount_point(line, kind));
    let mut v1 = of(b"cgroup").filter(|path| holds_pods(path, DEPTH));
    v1.next().filter(|_| !of(b"cgroup2").any(|path| holds_pods(&path, DEPTH)))
}

fn of_pods(asked: Option<&Path>, mounts: impl Iterator<Item = PathBuf>) -> Option<PathBuf> {
    let mut trees = asked.map(Path::to_owned).into_iter().chain(mounts);
    trees.find(|path| holds_pods(path, DEPTH)).or_else(|| asked.map(Path::to_owned))
}

/// The first mount that is the root, else the first that holds pods; else the error that says what there is.
fn choose(
    mountinfo: &[u8],
    is_root: impl Fn(&Path) -> bool,
    holds_pods: impl Fn(&Path) -> bool,
) -> Result<PathBuf, CgroupError> {
    let mounts: Vec<PathBuf> = mountinfo.split(|b| *b == b'\n').filter_map(cgroup2_mount_point).collect();
    let chosen = mounts.iter().find(|path| is_root(path)).or_else(|| mounts.iter().find(|path| holds_pods(path)));
    match (chosen, mounts.first()) {
        (Some(path), _) => Ok(path.clone()),
        (None, Some(part)) => Err(CgroupError::NotRoot(part.clone())),
        (None, None) => Err(CgroupError::NoCgroup2),
    }
}

/// So deep below a node's root its kubelet makes the cgroup of all pods (kind: `kubelet.slice/kubelet-kubepods.slice`).
const DEPTH: u8 = 3;

/// Whether a kubelet has made the cgroup of all pods there.
fn holds_pods(path: &Path, depth: u8) -> bool {
    let Ok(entries) = std::fs::read_dir(path) else { return false };
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut folders = folders.map(|entry| entry.path());
    folders.any(|folder| {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        name.contains("kubepods") || depth > 1 && holds_pods(&folder, depth - 1)
    })
}

/// `cgroup.events` exists in every cgroup but the root (kernel: Documentation/admin-guide/cgroup-v2.rst), whatever
/// cgroup namespace the mount was made in.
fn is_root(path: &Path) -> bool {
    path.join("cgroup.procs").exists() && !path.join("cgroup.events").exists()
}

fn cgroup2_mount_point(line: &[u8]) -> Option<PathBuf> {
    mount_point(line, b"cgroup2")
}

/// The mount point of a mountinfo line, if it is one of this type (proc(5): fields, optional fields, `-`, type).
fn mount_point(line: &[u8], kind: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let mut fields = line.split(|b| *b == b' ');
    let point = fields.nth(4)?;
    fields.find(|field| *field == b"-")?;
    (fields.next()? == kind).then(|| PathBuf::from(std::ffi::OsString::from_vec(unescape(point))))
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] if *first == b'\\' => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = tail;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests;
