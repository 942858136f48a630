//! What this process takes: memory and descriptors (proc(5)).

use std::fs;

use nix::unistd::{SysconfVar, sysconf};

/// Resident bytes; 0 where they cannot be read.
pub fn resident_bytes() -> u64 {
    let text = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|size| u64::try_from(size).ok());
    pages * page.unwrap_or(4096)
}

/// Open descriptors, that of the question left out; 0 where they cannot be listed.
pub fn open_descriptors() -> u64 {
    fs::read_dir("/proc/self/fd").map_or(0, |listed| listed.count() as u64).saturating_sub(1)
}

#[cfg(test)]
mod tests;
