//! Table sizes for this node, from the kernel's conntrack limit and the memory limit, and the least such limit.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::baseline::BYTES_PER_CONNECTION;

/// Used if `nf_conntrack_max` cannot be read: the kernel's own default on a machine with 8 GiB or more.
pub const DEFAULT_CONNECTIONS: u32 = 262_144;
/// Smallest connection table.
const LEAST_CONNECTIONS: u64 = 1_024;
/// Largest row table that is made unasked: the default of `-max-rows`.
pub const MOST_ROWS: u32 = 65_536;
/// What a row takes at most. It is the row itself and its places in the index, in the order of a freeze and in the list
/// of the smallest. Beside them are its item in a frozen batch and its view in two snapshots.
const BYTES_PER_ROW: u64 = 592;
/// The kernel's memory for the maps of our own programs, which is charged to the process that makes them (23.3 MiB).
const OWN_PROGRAMS_BYTES: u64 = 25 * MIB;
const MIB: u64 = 1 << 20;

/// The least memory limit under which the agent starts, without programs of its own. It holds 4 MiB idle, buffers of 32
/// readers, and tables that are worth it.
pub const LEAST_BYTES: u64 = 24 * MIB;

/// Sizes of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub connections: u32,
    pub rows: u32,
}

/// The memory limit is smaller than what the agent needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall {
    limit_bytes: u64,
    least_bytes: u64,
}

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [limit, least] = [self.limit_bytes, self.least_bytes].map(|bytes| bytes / MIB);
        write!(
            f,
            "the memory limit of {limit} MiB is too small: {least} MiB are needed in this mode (resources.limits.memory)"
        )
    }
}

impl std::error::Error for TooSmall {}

/// The defaults of `-max-connections` and `-max-rows` here. `own_programs`: whether programs of our own may count.
///
/// # Errors
/// [`TooSmall`] if the kernel would kill the agent sooner or later.
pub fn sizes(own_programs: bool) -> Result<Sizes, TooSmall> {
    let tracked =
        read_number(Path::new("/proc/sys/net/netfilter/nf_conntrack_max")).unwrap_or(u64::from(DEFAULT_CONNECTIONS));
    sizes_within(memory_limit_bytes().unwrap_or(u64::MAX), tracked, own_programs)
}

/// A quarter of the memory is for connections, three eighths are for rows; the rest is the agent's own.
#[allow(clippy::cast_possible_truncation, reason = "bounded by clamp")]
fn sizes_within(limit_bytes: u64, tracked: u64, own_programs: bool) -> Result<Sizes, TooSmall> {
    let kernels = if own_programs { OWN_PROGRAMS_BYTES } else { 0 };
    let least_bytes = LEAST_BYTES + kernels;
    if limit_bytes < least_bytes {
        return Err(TooSmall { limit_bytes, least_bytes });
    }
    let left = limit_bytes - kernels;
    Ok(Sizes {
        connections: tracked.min(left / 4 / BYTES_PER_CONNECTION).clamp(LEAST_CONNECTIONS, 1 << 24) as u32,
        rows: (left / 8 * 3 / BYTES_PER_ROW).min(u64::from(MOST_ROWS)) as u32,
    })
}

/// The smallest of this process's cgroup limit (either version) and the machine's memory.
fn memory_limit_bytes() -> Option<u64> {
    let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&membership);
    limits.iter().filter_map(|file| read_number(Path::new(file))).chain(machine_bytes()).min()
}

/// The files with the memory limits of the cgroup and its ancestors (cgroups(7)). In a container with its own cgroup
/// namespace the path is `/`.
fn limit_files(membership: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in membership.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            list if list.split(',').any(|c| c == "memory") => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let mut path = path.trim_end_matches('/');
        loop {
            files.push(format!("{root}{path}/{name}"));
            let Some(parent) = path.rfind('/') else { break };
            path = &path[..parent];
        }
    }
    files
}

fn machine_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1_024)
}

/// Reads a file that contains one number. Returns `None` for "max" and anything else.
fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
