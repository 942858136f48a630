//! The file of `-topology`: read whole or not at all, packed by gzip or plain.
//!
//! Knows files; what is in the text is [`crate::topology::lines`]'s.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::topology::lines::MAX_BYTES;

/// What shows that a file is another or was written to. A mounted ConfigMap becomes another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_s: metadata.mtime(),
            modified_ns: metadata.mtime_nsec(),
        }
    }

    /// Of the file as it is now; none where it cannot be found.
    pub fn now(path: &Path) -> Option<Stamp> {
        std::fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata))
    }
}

/// Why a file gives no text.
#[derive(Debug)]
pub enum FileError {
    /// It cannot be opened or read.
    Read(io::Error),
    /// It is a folder.
    Folder,
    /// It is longer than a text may be, packed or unpacked.
    Long,
    /// It was written to while it was read.
    Changing,
    /// What is packed in it is harmed or cut.
    Packed(io::Error),
    /// A byte that is no UTF-8, in this line.
    Text(usize),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileError::Read(error) => error.fmt(f),
            FileError::Folder => f.write_str("it is a folder (of a mounted ConfigMap name the file within)"),
            FileError::Long => write!(f, "it has more than {} MiB", MAX_BYTES >> 20),
            FileError::Changing => f.write_str("it was written to while it was read"),
            FileError::Packed(error) => write!(f, "what gzip packed in it is harmed or cut: {error}"),
            FileError::Text(line) => write!(f, "line {line}: not UTF-8"),
        }
    }
}

impl std::error::Error for FileError {}

/// The text of a file, and its stamp.
///
/// # Errors
/// [`FileError`].
pub fn read(path: &Path) -> Result<(String, Stamp), FileError> {
    read_while(path, || ())
}

/// The same; `meanwhile` is done between its opening and its end.
fn read_while(path: &Path, meanwhile: impl FnOnce()) -> Result<(String, Stamp), FileError> {
    let mut file = File::open(path).map_err(FileError::Read)?;
    let before = file.metadata().map_err(FileError::Read)?;
    if before.is_dir() {
        return Err(FileError::Folder);
    }
    let mut first = [0; 16];
    let read = file.read(&mut first).map_err(FileError::Read)?;
    meanwhile();
    let mut whole = first.get(..read).unwrap_or_default().chain(&mut file);
    let mut bytes = limited(&mut whole).map_err(FileError::Read)?.ok_or(FileError::Long)?;
    let after = file.metadata().map_err(FileError::Read)?;
    let is_whole = !before.is_file() || bytes.len() as u64 == after.len();
    if Stamp::of(&before) != Stamp::of(&after) || !is_whole {
        return Err(FileError::Changing);
    }
    if bytes.starts_with(&[0x1f, 0x8b]) {
        bytes = limited(&mut MultiGzDecoder::new(&*bytes)).map_err(FileError::Packed)?.ok_or(FileError::Long)?;
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        FileError::Text(error.as_bytes().iter().take(valid).filter(|byte| **byte == b'\n').count() + 1)
    })?;
    Ok((text, Stamp::of(&after)))
}

/// All that there is; none where it is more than a text may have.
fn limited(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= MAX_BYTES).then_some(bytes))
}

#[cfg(test)]
mod tests;
