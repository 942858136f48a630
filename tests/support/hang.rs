//! A disk that hangs: who opens a file in a folder waits (fanotify(7)) until this is dropped.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::libc;

/// The folder hangs as long as this lives. A process that waits in it can be killed.
pub struct Hang(#[allow(dead_code)] OwnedFd);

impl Hang {
    /// Whoever opens a file in `dir` waits from now on, this process too.
    pub fn on(dir: &Path) -> io::Result<Hang> {
        let path = CString::new(dir.as_os_str().as_bytes())?;
        // SAFETY: takes two numbers.
        let fd = unsafe { libc::fanotify_init(libc::FAN_CLASS_CONTENT | libc::FAN_CLOEXEC, libc::O_RDONLY as u32) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else has it.
        let group = unsafe { OwnedFd::from_raw_fd(fd) };
        let mask = libc::FAN_OPEN_PERM | libc::FAN_EVENT_ON_CHILD;
        // SAFETY: the path is a C string that lives until the call is over.
        let marked = unsafe { libc::fanotify_mark(fd, libc::FAN_MARK_ADD, mask, libc::AT_FDCWD, path.as_ptr()) };
        if marked < 0 { Err(io::Error::last_os_error()) } else { Ok(Hang(group)) }
    }
}
