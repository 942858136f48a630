//! Writes the kernel's messages to a file (`-record`), in the order in which they are judged.
//!
//! Off, it costs a branch. On, it must never hinder counting: a write that fails ends the recording with one log line,
//! at the end of a whole frame.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nix::fcntl::OFlag;

use crate::clock::Now;
use crate::flow::AddressChange;
use crate::wire::recording::{self, Frame};

/// Frames are collected up to this size; a frame is at most 64 KiB larger.
const BUFFER_BYTES: usize = 256 * 1024;

/// A handle on the recording, or none. The source and the collector hold one each; both are the same thread, so the
/// lock is never waited for.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Option<Arc<Mutex<Recording>>>);

impl Recorder {
    /// Records nothing.
    pub fn off() -> Recorder {
        Recorder(None)
    }

    /// Makes the file, or empties it. `started` is when the agent did.
    ///
    /// # Errors
    /// When it cannot be made or written to.
    pub fn create(path: &Path, started: Now) -> io::Result<Recorder> {
        let mut head = recording::header().to_vec();
        recording::append(&mut head, &Frame::Started(started));
        // It says who talks to whom. A link is not followed, and a pipe not waited for.
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(flags.bits());
        let mut file = options.open(path)?;
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        file.write_all(&head)?;
        Ok(Recorder(Some(Arc::new(Mutex::new(Recording {
            path: path.to_owned(),
            file,
            whole_bytes: head.len() as u64,
            buffer: Vec::with_capacity(BUFFER_BYTES + 128 * 1024),
            failed: false,
        })))))
    }

    /// Appends a frame.
    pub fn write(&self, frame: &Frame<'_>) {
        if let Some(recording) = &self.0 {
            recording.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).write(frame);
        }
    }

    /// The host's addresses changed; told before the sweep or drain that is to know of it.
    pub fn address(&self, change: AddressChange) {
        self.write(&Frame::Address(change));
    }
}

/// The file, closed with a frame of its own when the last handle goes.
#[derive(Debug)]
struct Recording {
    path: PathBuf,
    file: File,
    /// Bytes in the file that are whole frames.
    whole_bytes: u64,
    buffer: Vec<u8>,
    failed: bool,
}

impl Recording {
    fn write(&mut self, frame: &Frame<'_>) {
        if self.failed {
            return;
        }
        recording::append(&mut self.buffer, frame);
        // After a sweep too, so that a kill loses little.
        if self.buffer.len() >= BUFFER_BYTES || matches!(frame, Frame::Ends | Frame::Closed) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        match self.file.write_all(&self.buffer) {
            Ok(()) => self.whole_bytes += self.buffer.len() as u64,
            Err(error) => {
                self.failed = true;
                // What was written of the last frames is of no use; if this fails too, the reader says so.
                let _ = self.file.set_len(self.whole_bytes);
                log::error!(
                    "cannot write to the recording {}: {error}; it ends after {} bytes, the agent counts on",
                    self.path.display(),
                    self.whole_bytes
                );
            }
        }
        self.buffer.clear();
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.write(&Frame::Closed);
    }
}
