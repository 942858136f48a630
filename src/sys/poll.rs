//! Waits until one of a few descriptors is readable (poll(2)), without allocating.

use std::os::fd::RawFd;

use nix::libc;

/// Descriptors that one call can wait for.
pub const MAX_FDS: usize = 16;

/// Waits for at most `timeout_ns` (rounded up to a millisecond) and returns a bit for each descriptor that is
/// readable or broken. Descriptors beyond [`MAX_FDS`] are not waited for. An interrupted wait returns 0.
#[allow(clippy::cast_possible_truncation, reason = "bounded by i32::MAX before")]
pub fn readable(fds: &[RawFd], timeout_ns: u64) -> u32 {
    let mut set = [libc::pollfd { fd: -1, events: libc::POLLIN, revents: 0 }; MAX_FDS];
    for (entry, fd) in set.iter_mut().zip(fds) {
        entry.fd = *fd;
    }
    let timeout_ms = timeout_ns.div_ceil(1_000_000).min(i32::MAX as u64) as libc::c_int;
    // SAFETY: the pointer and the length are those of `set`, which outlives the call; poll reads and writes nothing
    // else. A descriptor closed meanwhile gives POLLNVAL, entries with fd -1 are ignored.
    #[allow(unsafe_code)]
    let ready = unsafe { libc::poll(set.as_mut_ptr(), set.len() as libc::nfds_t, timeout_ms) };
    if ready <= 0 {
        return 0;
    }
    set.iter().enumerate().filter(|(_, entry)| entry.revents != 0).fold(0, |bits, (at, _)| bits | 1 << at)
}
