//! Socket options that nix does not know.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// TCP_DEFER_ACCEPT (tcp(7)): a connection is handed to accept(2) with its first bytes, or after about `seconds`
/// without any.
///
/// # Errors
/// When `socket` is no TCP socket.
#[allow(clippy::cast_possible_truncation, reason = "the size of an int")]
pub fn defer_accept(socket: BorrowedFd<'_>, seconds: i32) -> io::Result<()> {
    let seconds: libc::c_int = seconds;
    // SAFETY: the pointer and the length are those of `seconds`, which outlives the call and is only read.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
