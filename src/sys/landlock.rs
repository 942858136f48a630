//! Landlock (landlock(7), Linux 5.13): rights that the calling thread gives up for good, without a single rule.
//!
//! Which thread gives up what is not known here: that is [`crate::privileges`].

use std::io;

use nix::errno::Errno;
use nix::libc;

/// The file rights of linux/landlock.h, by the version of the interface that brought them.
const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
/// REMOVE_DIR to MAKE_SYM.
const CHANGE_FOLDERS: u64 = 0x1ff0;
/// Version 2.
const REFER: u64 = 1 << 13;
/// Version 3.
const TRUNCATE: u64 = 1 << 14;
/// Version 4.
const BIND_TCP: u64 = 1 << 0;
const CONNECT_TCP: u64 = 1 << 1;
/// `LANDLOCK_CREATE_RULESET_VERSION`.
const ASK_VERSION: u32 = 1;

/// `struct landlock_ruleset_attr`, as far as version 4 reads it.
#[repr(C)]
struct Ruleset {
    handled_fs: u64,
    handled_net: u64,
}

/// The version of the interface that the kernel offers; 0 where it offers none.
pub fn version() -> u32 {
    // SAFETY: with ASK_VERSION the kernel reads no memory: the pointer must be null and the size 0 (landlock_create_ruleset(2)).
    #[allow(unsafe_code)]
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<Ruleset>(), 0usize, ASK_VERSION) };
    u32::try_from(version).unwrap_or(0)
}

/// Restricts the calling thread, and threads that it starts from now on. They write, make, remove and execute no file
/// that is not open yet. From version 4 on they bind no TCP port, and without `connects` they make no TCP connection.
/// Reading stays. Needs no_new_privs. Returns the version.
///
/// # Errors
/// Where the kernel offers no Landlock, or a seccomp filter forbids it.
#[allow(clippy::cast_possible_truncation, reason = "a descriptor fits an int")]
pub fn give_up_writing(connects: bool) -> io::Result<u32> {
    let version = version();
    let mut rules = Ruleset { handled_fs: EXECUTE | WRITE_FILE | CHANGE_FOLDERS, handled_net: 0 };
    match version {
        0 => return Err(Errno::ENOSYS.into()),
        1 => {}
        2 => rules.handled_fs |= REFER,
        _ => rules.handled_fs |= REFER | TRUNCATE,
    }
    let mut size = size_of::<u64>();
    if version >= 4 {
        rules.handled_net = if connects { BIND_TCP } else { BIND_TCP | CONNECT_TCP };
        size = size_of::<Ruleset>();
    }
    // SAFETY: the kernel reads `size` bytes of a struct of at least that size, which lives on this stack for the call.
    #[allow(unsafe_code)]
    let ruleset = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const rules, size, 0u32) };
    let ruleset = Errno::result(ruleset)? as i32;
    // SAFETY: takes a descriptor, which was just made, and no memory.
    #[allow(unsafe_code)]
    let restricted = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0u32) };
    let restricted = Errno::result(restricted).map(drop);
    nix::unistd::close(ruleset)?;
    restricted?;
    Ok(version)
}

#[cfg(test)]
mod tests;
