//! Writes the state file on a thread of its own, so that a hanging disk delays the push by at most [`LATE_NS`].
//!
//! A whole file is written next to the old one, synced and renamed; notes are appended and synced. After any failure the
//! file is removed, because a restarted agent with an outdated file would send data twice. This module knows no content.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use nix::fcntl::{Flock, FlockArg};

use super::Place;
use crate::clock::SECOND;

/// Longest wait for a write.
pub const LATE_NS: u64 = 5 * SECOND;
/// The file, within `-state-dir`.
const FILE: &str = "state";
/// Name of a new file until it is complete.
const NEXT: &str = "state.next";
/// Lock file of the process that uses the folder.
const LOCK: &str = "lock";
/// Size limit, larger than the state of a million connections. A larger file is not read.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// The result of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The data are on the disk.
    Synced,
    /// There is no file to append to.
    NoFile,
    /// It failed for this reason, and there is no state file now.
    Failed(String),
    /// The disk did not answer in time. Once it does, the file is removed or replaced.
    Late,
}

enum Job {
    Replace([Vec<u8>; 3]),
    Append(Vec<u8>),
    Remove,
}

/// A handle of the writing thread.
pub struct Store {
    jobs: Sender<Job>,
    done: Receiver<io::Result<bool>>,
    /// A job is late.
    late: bool,
    /// A write was skipped because of a late job.
    missed: bool,
    file: PathBuf,
}

impl Store {
    /// Locks the folder, which it creates if necessary, and reads the previous process's state file, if there is one.
    ///
    /// # Errors
    /// If the folder cannot be created or written, or another process uses it. The text names the cause.
    pub fn open(dir: &Path) -> Result<(Store, Option<Vec<u8>>), String> {
        let told = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        fs::create_dir_all(dir).map_err(told("cannot make it"))?;
        let lock = open_for_writing(&dir.join(LOCK), false).map_err(told("cannot write there"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| format!("another process uses it ({errno})"))?;
        // A state file that cannot be replaced would be restored at every start, so it is not used at all.
        let probe = dir.join(NEXT);
        open_for_writing(&probe, true).map_err(told("cannot write there"))?;
        fs::remove_file(&probe).map_err(told("cannot remove files there"))?;
        let left = read(&dir.join(FILE)).map_err(told("cannot read the state file"))?;
        let (jobs, to_do) = bounded(1);
        let (report, done) = bounded(1);
        let mut writer = Writer { dir: dir.to_owned(), file: None, _lock: lock };
        let run = move || {
            crate::sys::privileges::drop_all_in_this_thread();
            while let Ok(job) = to_do.recv() {
                if report.send(writer.carry_out(job)).is_err() {
                    break;
                }
            }
        };
        std::thread::Builder::new().name("state".to_owned()).spawn(run).map_err(told("cannot start a thread"))?;
        Ok((Store { jobs, done, late: false, missed: false, file: dir.join(FILE) }, left))
    }

    /// The path of the file, for messages.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Replaces the file by a new one, given in pieces.
    pub fn replace(&mut self, pieces: [Vec<u8>; 3], limit_ns: u64) -> Written {
        self.submit(Job::Replace(pieces), limit_ns)
    }

    /// Appends to the file if there is one.
    pub fn append(&mut self, bytes: Vec<u8>, limit_ns: u64) -> Written {
        self.submit(Job::Append(bytes), limit_ns)
    }

    pub fn remove(&mut self, limit_ns: u64) -> Written {
        self.submit(Job::Remove, limit_ns)
    }

    fn submit(&mut self, mut job: Job, limit_ns: u64) -> Written {
        if self.late {
            match self.done.try_recv() {
                Ok(_) => self.late = false,
                Err(TryRecvError::Empty) => {
                    self.missed = true;
                    return Written::Late;
                }
                Err(TryRecvError::Disconnected) => return Written::Failed("its thread has ended".to_owned()),
            }
        }
        if self.missed && !matches!(job, Job::Replace(_)) {
            job = Job::Remove;
        }
        if self.jobs.send(job).is_err() {
            return Written::Failed("its thread has ended".to_owned());
        }
        match self.done.recv_timeout(Duration::from_nanos(limit_ns)) {
            Ok(Ok(there)) => {
                self.missed = false;
                if there { Written::Synced } else { Written::NoFile }
            }
            Ok(Err(error)) => {
                self.missed = false;
                Written::Failed(error.to_string())
            }
            Err(RecvTimeoutError::Timeout) => {
                self.late = true;
                Written::Late
            }
            Err(RecvTimeoutError::Disconnected) => Written::Failed("its thread has ended".to_owned()),
        }
    }
}

/// The state of the thread.
struct Writer {
    dir: PathBuf,
    /// The state file, open for appending; `None` if there is none, or only that of the previous process.
    file: Option<File>,
    _lock: Flock<File>,
}

impl Writer {
    /// Executes a job. Returns whether there is a state file with the requested content.
    fn carry_out(&mut self, job: Job) -> io::Result<bool> {
        let result = match job {
            Job::Replace(pieces) => self.replace(&pieces).map(|()| true),
            Job::Append(bytes) => match &mut self.file {
                Some(file) => file.write_all(&bytes).and_then(|()| file.sync_data()).map(|()| true),
                None => return Ok(false),
            },
            Job::Remove => return self.remove().map(|()| false),
        };
        if result.is_err() {
            // The caller reports the first error, not this one.
            let _ = self.remove();
        }
        result
    }

    fn replace(&mut self, pieces: &[Vec<u8>; 3]) -> io::Result<()> {
        let (file, next) = (self.dir.join(FILE), self.dir.join(NEXT));
        let mut new = open_for_writing(&next, true)?;
        for piece in pieces {
            new.write_all(piece)?;
        }
        new.sync_all()?;
        fs::rename(&next, &file)?;
        self.file = Some(new);
        // The new name is on the disk only after its folder is.
        File::open(&self.dir)?.sync_all()
    }

    fn remove(&mut self) -> io::Result<()> {
        self.file = None;
        let _ = fs::remove_file(self.dir.join(NEXT));
        match fs::remove_file(self.dir.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => File::open(&self.dir)?.sync_all(),
        }
    }
}

/// Opens a file that other users cannot read, because it contains names of pods.
fn open_for_writing(path: &Path, empty: bool) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(empty).mode(0o600).open(path)
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// This kernel, and the network namespace of the calling thread.
///
/// # Errors
/// If `/proc` cannot be read.
pub fn here() -> io::Result<Place> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let netns = fs::metadata("/proc/thread-self/ns/net")?.ino();
    Ok(Place { boot_id: boot_id.trim().into(), netns })
}

#[cfg(test)]
mod tests;
