//! Writes the state file, on a thread of its own: a disk that hangs delays nobody for longer than [`LATE_NS`].
//!
//! A whole file is written beside the old one, synced and renamed; notes are appended and synced. Whatever fails, the
//! file is removed: one that is behind would make a restarted agent count again what was sent since. Knows no content.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use nix::fcntl::{Flock, FlockArg};

use super::Place;
use crate::clock::SECOND;

/// How long a write is waited for.
pub const LATE_NS: u64 = 5 * SECOND;
/// The file, within `-state-dir`.
const FILE: &str = "state";
/// It is written here first.
const NEXT: &str = "state.next";
/// Held by the process that uses the folder.
const LOCK: &str = "lock";
/// Larger than any state: 1 million connections and all that else may be kept. What is larger is not read.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// How a write ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is on the disk.
    Synced,
    /// There is no file to append to.
    NoFile,
    /// There is no state file now; says why.
    Failed(String),
    /// The disk has not answered in time. Once it does, the file is removed or replaced.
    Late,
}

enum Job {
    Replace([Vec<u8>; 3]),
    Append(Vec<u8>),
    Remove,
}

/// The way to the thread that writes.
pub struct Store {
    jobs: Sender<Job>,
    done: Receiver<io::Result<bool>>,
    /// A job has not come back in time.
    late: bool,
    /// Something was to be written meanwhile.
    missed: bool,
    file: PathBuf,
}

impl Store {
    /// Takes the folder, making it if need be, and reads what the process before left there, if anything.
    ///
    /// # Errors
    /// Where the folder cannot be used: it cannot be made or written, or another process uses it. The text says which.
    pub fn open(dir: &Path) -> Result<(Store, Option<Vec<u8>>), String> {
        let told = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        fs::create_dir_all(dir).map_err(told("cannot make it"))?;
        let lock = open_for_writing(&dir.join(LOCK), false).map_err(told("cannot write there"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| format!("another process uses it ({errno})"))?;
        // A state file that cannot be replaced would be used again and again, so it is not used at all.
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

    /// Where the file is, for messages.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Puts a whole file, in pieces, in the place of the one before.
    pub fn replace(&mut self, pieces: [Vec<u8>; 3], limit_ns: u64) -> Written {
        self.submit(Job::Replace(pieces), limit_ns)
    }

    /// Appends to the file; nothing where there is none.
    pub fn append(&mut self, bytes: Vec<u8>, limit_ns: u64) -> Written {
        self.submit(Job::Append(bytes), limit_ns)
    }

    /// Removes the file.
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

/// The thread's side.
struct Writer {
    dir: PathBuf,
    /// The state file, to append to; none where there is none, or only that of the process before.
    file: Option<File>,
    _lock: Flock<File>,
}

impl Writer {
    /// Whether there is a state file now that holds what it was to.
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
            // The first error is what is told.
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
        // The new name is not on the disk before its folder is.
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

/// Names of pods are nobody else's business.
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
/// Where `/proc` does not say.
pub fn here() -> io::Result<Place> {
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let netns = fs::metadata("/proc/thread-self/ns/net")?.ino();
    Ok(Place { boot_id: boot_id.trim().into(), netns })
}

#[cfg(test)]
mod tests;
