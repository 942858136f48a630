//! `zxporter-netmon state give`: a folder of the node to the user that the agent runs as.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::process::ExitCode;

use nix::fcntl::OFlag;

use crate::config::tools::Given;

/// Status 2 where no user is named, 1 where the folder cannot be given.
pub fn run(given: &Given) -> ExitCode {
    let [folder, user] = &given.operands[..] else { return ExitCode::from(2) };
    let Some(uid) = user.to_str().and_then(|text| text.parse().ok()) else {
        crate::logging::complain(&format_args!("state give: {} is no user id", user.display()));
        return ExitCode::from(2);
    };
    match give(folder, uid) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::logging::complain(&format_args!("cannot give {} to user {uid}: {error}", folder.display()));
            ExitCode::FAILURE
        }
    }
}

/// A link is not followed: what it names may be anybody's.
fn give(folder: &OsStr, uid: u32) -> io::Result<()> {
    // Asked from outside: with CHOWN alone root cannot open what is another's already.
    let now = fs::symlink_metadata(folder)?;
    if now.is_dir() && now.uid() == uid {
        return Ok(());
    }
    let flags = (OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW).bits();
    let folder: File = OpenOptions::new().read(true).custom_flags(flags).open(folder)?;
    // Before it is another's, whose mode takes one capability more.
    folder.set_permissions(Permissions::from_mode(0o700))?;
    fchown(&folder, Some(uid), Some(uid))
}

#[cfg(test)]
mod tests;
