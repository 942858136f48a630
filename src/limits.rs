//! Table sizes for this node, from the kernel's conntrack limit and the memory limit.

use std::fs;
use std::path::Path;

use crate::baseline::BYTES_PER_CONNECTION;

/// Used if `nf_conntrack_max` cannot be read: the kernel's own default on a machine with 8 GiB or more.
const DEFAULT_CONNTRACK_MAX: u64 = 262_144;
/// The share of the memory limit that the connection table may take.
const MEMORY_SHARE: u64 = 4;
/// Smallest connection table.
const LEAST: u64 = 1_024;

/// The default of `-max-connections`: the smaller of `nf_conntrack_max` and what a quarter of the memory limit holds.
pub fn max_connections() -> u32 {
    let tracked = read_number(Path::new("/proc/sys/net/netfilter/nf_conntrack_max")).unwrap_or(DEFAULT_CONNTRACK_MAX);
    let held = memory_limit_bytes().map_or(u64::MAX, |bytes| bytes / MEMORY_SHARE / BYTES_PER_CONNECTION);
    tracked.min(held).clamp(LEAST, 1 << 24) as u32
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
