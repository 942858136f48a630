//! Reads a file that others keep: a token, a certificate, `resolv.conf`. Never waits and never reads without a bound.

use std::fs::OpenOptions;
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;

/// The whole file, at most `max_bytes` of it. Links are followed: a projected volume consists of them.
///
/// # Errors
/// Where it cannot be read, is larger, or is no regular file: opening a pipe would wait for its other end.
pub fn read(path: &Path, max_bytes: u64) -> Result<Vec<u8>> {
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    let mut content = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max_bytes {
        let bound =
            if max_bytes >= 1 << 20 { format!("{} MiB", max_bytes >> 20) } else { format!("{} KiB", max_bytes >> 10) };
        return Err(Error::new(ErrorKind::FileTooLarge, format!("it is larger than {bound}")));
    }
    Ok(content)
}
