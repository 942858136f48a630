//! What this process takes: memory and descriptors (proc(5)).

use std::fs;

use nix::libc;
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

/// Gives the program's own pages back, which are the file's: what is needed again is read from the page cache. Most of
/// them only the start needed. Returns the bytes of the mapping, 0 where it was not found or the kernel refused.
pub fn give_back_code() -> usize {
    let here = give_back_code as *const () as usize;
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let of_line = |line: &str| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        let (from, to) = (usize::from_str_radix(from, 16).ok()?, usize::from_str_radix(to, 16).ok()?);
        // What was ever writable may hold more than the file does.
        (rest.starts_with("r-xp") && (from..to).contains(&here)).then_some((from, to - from))
    };
    let Some((from, length)) = maps.lines().find_map(of_line) else { return 0 };
    // SAFETY: this is a private mapping of the program's file that nobody can write to. After the call its pages are
    // read from the file again, with the same contents, also while other threads run in them.
    #[allow(unsafe_code)]
    let given = unsafe { libc::madvise(from as *mut libc::c_void, length, libc::MADV_DONTNEED) };
    if given == 0 { length } else { 0 }
}

#[cfg(test)]
mod tests;
