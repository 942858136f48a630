//! Persists the state file, on a thread of its own. A disk that hangs delays nobody for longer than [`LATE_NS`],
//! neither at the start nor later.
//!
//! A whole file is written beside the old one, synced and renamed; notes are appended and synced. Whatever fails, the
//! file is removed: one that is behind would make a restarted agent count again what was sent since. A folder that
//! cannot be used is tried again with each whole file. No link is followed, and what another user could have written is
//! not read. Knows no content.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, bounded};
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::geteuid;

use super::Place;
use crate::clock::SECOND;

/// Longest wait for a write.
pub const LATE_NS: u64 = 5 * SECOND;
/// How long the start waits for the folder.
pub const OPEN_NS: u64 = 3 * SECOND;
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

/// What the folder held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The state file of the process before.
    pub file: Vec<u8>,
    /// When it was last written, nanoseconds since the epoch.
    pub written_wall_ns: u64,
}

enum Job {
    Open,
    Replace([Vec<u8>; 3]),
    Append(Vec<u8>),
    Remove,
}

/// What a job came to.
struct Done {
    /// Whether there is a state file that holds what it was to.
    there: bool,
    /// What was found when the folder was opened.
    left: Option<Left>,
}

/// The way to the thread that writes.
pub struct Store {
    jobs: Sender<Job>,
    done: Receiver<io::Result<Done>>,
    /// A job has not come back in time.
    late: bool,
    /// A write was skipped because of a late job.
    missed: bool,
    file: PathBuf,
    /// Found too late to go on from.
    stale: Option<Left>,
}

impl Store {
    /// Takes the folder, making it if need be, and reads what the process before left there, if anything. Where that
    /// fails or takes longer than `limit_ns` it is tried again later.
    pub fn open(dir: &Path, limit_ns: u64) -> (Store, Result<Option<Left>, String>) {
        Store::open_by(dir, limit_ns, create)
    }

    /// `create` makes a new file.
    fn open_by(
        dir: &Path,
        limit_ns: u64,
        create: fn(&Path) -> io::Result<File>,
    ) -> (Store, Result<Option<Left>, String>) {
        let (jobs, to_do) = bounded(1);
        let (report, done) = bounded(1);
        let mut writer = Writer { dir: dir.to_owned(), file: None, lock: None, create };
        let run = move || {
            crate::sys::privileges::drop_all_in_this_thread();
            while let Ok(job) = to_do.recv() {
                if report.send(writer.carry_out(job)).is_err() {
                    break;
                }
            }
        };
        let started = std::thread::Builder::new().name("state".to_owned()).spawn(run);
        let file = dir.join(FILE);
        let mut store = Store { jobs, done, late: false, missed: false, file, stale: None };
        let left = match (started, store.submit(Job::Open, limit_ns)) {
            (Err(error), _) => Err(format!("cannot start a thread: {error}")),
            (Ok(_), Written::Failed(why)) => Err(why),
            (Ok(_), Written::Late) => Err(format!("the disk did not answer for {} s", limit_ns / SECOND)),
            (Ok(_), Written::Synced | Written::NoFile) => Ok(store.take_stale()),
        };
        (store, left)
    }

    /// The path of the file, for messages.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A state file that was found when nothing could go on from it any more: it is replaced or removed.
    pub fn take_stale(&mut self) -> Option<Left> {
        self.stale.take()
    }

    /// Puts a whole file, in pieces, in the place of the one before.
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
                Ok(done) => {
                    self.late = false;
                    self.stale = done.ok().and_then(|done| done.left).or(self.stale.take());
                }
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
            Ok(Ok(Done { there, left })) => {
                self.missed = false;
                self.stale = left.or(self.stale.take());
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
    /// While the folder is ours.
    lock: Option<Flock<File>>,
    create: fn(&Path) -> io::Result<File>,
}

impl Writer {
    fn carry_out(&mut self, job: Job) -> io::Result<Done> {
        let left = match (&self.lock, &job) {
            (None, Job::Open | Job::Replace(_)) => self.open()?,
            // Nothing of ours is there.
            (None, Job::Append(_) | Job::Remove) => return Ok(Done { there: false, left: None }),
            (Some(_), _) => None,
        };
        let result = match job {
            Job::Open => Ok(false),
            Job::Replace(pieces) => self.replace(&pieces).map(|()| true),
            Job::Append(bytes) => match &mut self.file {
                Some(file) => file.write_all(&bytes).and_then(|()| file.sync_data()).map(|()| true),
                None => Ok(false),
            },
            Job::Remove => return self.remove().map(|()| Done { there: false, left }),
        };
        if result.is_err() {
            // The caller reports the first error, not this one.
            let _ = self.remove();
        }
        result.map(|there| Done { there, left })
    }

    /// Takes the folder and reads what is there.
    fn open(&mut self) -> io::Result<Option<Left>> {
        let dir = &self.dir;
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(told("cannot make it"))?;
        check_folder(dir)?;
        let lock = open_lock(&dir.join(LOCK)).map_err(told("cannot write there"))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| io::Error::other(format!("another process uses it ({errno})")))?;
        // A state file that cannot be replaced would be used again and again, so it is not used at all.
        let probe = dir.join(NEXT);
        remove_file(&probe).map_err(told("cannot remove files there"))?;
        (self.create)(&probe).map_err(told("cannot write there"))?;
        remove_file(&probe).map_err(told("cannot remove files there"))?;
        let left = read(&dir.join(FILE)).map_err(told("cannot read the state file"))?;
        self.lock = Some(lock);
        Ok(left)
    }

    fn replace(&mut self, pieces: &[Vec<u8>; 3]) -> io::Result<()> {
        let (file, next) = (self.dir.join(FILE), self.dir.join(NEXT));
        remove_file(&next)?;
        let mut new = (self.create)(&next)?;
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
        let _ = remove_file(&self.dir.join(NEXT));
        remove_file(&self.dir.join(FILE))?;
        File::open(&self.dir)?.sync_all()
    }
}

fn told(what: &'static str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// A file that was not there: whatever bears its name is never written to. Names of pods are nobody else's business.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).custom_flags(OFlag::O_NOFOLLOW.bits()).mode(0o600).open(path)
}

/// A name that is not there needs not be removed; a link goes itself, not what it leads to.
fn remove_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whoever owns the folder decides what is in it.
fn check_folder(dir: &Path) -> io::Result<()> {
    let meta = fs::metadata(dir)?;
    let (owner, own) = (meta.uid(), geteuid().as_raw());
    if !meta.is_dir() {
        return Err(io::Error::other("it is no folder"));
    }
    if owner != own && owner != 0 {
        return Err(io::Error::other(format!("it belongs to user {owner}, who is neither us ({own}) nor root")));
    }
    Ok(())
}

/// Opens what is already there without waiting, and only a plain file of ours that nobody else may write.
fn open_own(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = match options.custom_flags(flags.bits()).mode(0o600).open(path) {
        Err(error) if error.raw_os_error() == Some(nix::libc::ELOOP) => Err(io::Error::other("it is a symbolic link")),
        // A pipe that nobody reads.
        Err(error) if error.raw_os_error() == Some(nix::libc::ENXIO) => Err(io::Error::other("it is no plain file")),
        other => other,
    }?;
    let meta = file.metadata()?;
    let (owner, own) = (meta.uid(), geteuid().as_raw());
    if !meta.is_file() {
        return Err(io::Error::other("it is no plain file"));
    }
    if owner != own {
        return Err(io::Error::other(format!("it belongs to user {owner}, and we are user {own}")));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(io::Error::other(format!("others may write to it (mode {:04o})", meta.mode() & 0o7777)));
    }
    Ok(file)
}

fn open_lock(path: &Path) -> io::Result<File> {
    open_own(path, OpenOptions::new().write(true).create(true).truncate(false))
}

fn read(path: &Path) -> io::Result<Option<Left>> {
    let file = match open_own(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let meta = file.metadata()?;
    let seconds = u64::try_from(meta.mtime()).unwrap_or(0);
    let written_wall_ns = seconds.saturating_mul(SECOND).saturating_add(u64::try_from(meta.mtime_nsec()).unwrap_or(0));
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
    Ok(Some(Left { file: bytes, written_wall_ns }))
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
