//! Reads conntrack by netlink: one dump for both families, and DESTROY events with the final counters.
//!
//! The order makes it exact. The kernel queues an event before it removes the entry. So the event socket is drained
//! completely before each chunk of a dump is read. What is reported twice is then reported in an order from which
//! [`crate::baseline`] can see it.

pub mod accounting;
mod dump;
mod events;
mod reader;
pub mod tracking;

use std::io;
use std::os::fd::RawFd;

use self::accounting::Accounting;
use self::dump::Dump;
use self::events::Events;
pub use self::reader::Reader;
use self::tracking::Tracking;
use super::recorder::Recorder;
use super::{Each, Facts, Source, SourceError, SourceHealth, Sweep};
use crate::clock::Now;
use crate::config::SourceKind;
use crate::privileges::Needs;
use crate::wire::recording::Frame;

/// See [`Facts`]. The kernel checks every dump.
pub const FACTS: Facts = Facts {
    kind: SourceKind::Netfilter,
    needs: Needs { net_admin: true, bpf_maps: false },
    rank: Some(3),
    tells_cgroups: false,
    asks_conntrack: false,
    sees_the_host: true,
    counts_at_sockets: false,
    component: None,
};

/// How the source is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether accounting, events and tracking may be switched on (`-manage-conntrack`).
    pub manage_conntrack: bool,
    /// Whether this host may have nobody else who wants connections tracked (`-standalone`).
    pub standalone: bool,
}

pub struct Netfilter {
    fds: [RawFd; 1],
    events: Events,
    dump: Dump,
    judge: Judge,
    accounting: Accounting,
    tracking: Option<Tracking>,
}

/// Everything that the kernel says passes here: it is recorded, then read.
struct Judge {
    recorder: Recorder,
    reader: Reader,
}

impl Judge {
    fn take(&mut self, frame: &Frame<'_>, each: Each<'_>) {
        self.recorder.write(frame);
        self.reader.take(frame, each);
    }
}

impl Netfilter {
    /// Joins the events and sees that conntrack answers. What is off is switched on by the first
    /// [`Source::upkeep`].
    ///
    /// # Errors
    /// [`SourceError::Open`] without CAP_NET_ADMIN, or on a kernel without conntrack.
    pub fn open(options: Options, recorder: Recorder) -> Result<Netfilter, SourceError> {
        Netfilter::open_with_queue(options, recorder, events::QUEUE_BYTES)
    }

    /// The same with another size of the event queue.
    ///
    /// # Errors
    /// As [`Netfilter::open`].
    pub fn open_with_queue(options: Options, recorder: Recorder, queue_bytes: usize) -> Result<Netfilter, SourceError> {
        // Before the first dump: what ends while it runs is then told.
        let events =
            Events::open(queue_bytes).map_err(|error| open_error("join conntrack's DESTROY events", &error))?;
        let mut dump = Dump::open().map_err(|error| open_error("open a netfilter socket", &error))?;
        dump.probe().map_err(|error| open_error("ask conntrack", &error))?;
        Ok(Netfilter {
            fds: [events.raw_fd()],
            events,
            dump,
            judge: Judge { recorder, reader: Reader::default() },
            accounting: Accounting::new(options.manage_conntrack),
            tracking: (options.standalone && options.manage_conntrack).then(Tracking::new),
        })
    }

    /// Dumps the table: of each chunk, first what ended before the kernel wrote it.
    fn read(&mut self, each: Each<'_>) -> io::Result<()> {
        self.judge.take(&Frame::Buckets(self.dump.buckets()), each);
        self.dump.request()?;
        while !self.judge.reader.dump_is_over() {
            let chunk = self.dump.receive()?;
            self.events.drain(&mut |frame| self.judge.take(frame, each))?;
            self.judge.take(&Frame::Chunk(chunk), each);
            // After every chunk, not only at the end: a table that is resized twice has its old size again.
            self.judge.take(&Frame::Buckets(self.dump.buckets()), each);
        }
        Ok(())
    }
}

impl Source for Netfilter {
    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn sweep(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        self.judge.take(&Frame::SweepBegins(now, self.dump.next_seq()), each);
        if let Err(error) = self.read(each) {
            self.judge.take(&Frame::DumpFailed(error.raw_os_error().unwrap_or(nix::libc::EIO)), each);
        }
        self.judge.take(&Frame::Ends, each);
        if self.judge.reader.dump_failed() {
            self.dump
                .reopen()
                .map_err(|error| SourceError::Read(format!("cannot open a netfilter socket: {error}")))?;
        }
        self.judge.reader.finish()
    }

    fn drain(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        self.judge.take(&Frame::DrainBegins(now), each);
        let drained = self.events.drain(&mut |frame| self.judge.take(frame, each));
        self.judge.take(&Frame::Ends, each);
        drained.map_err(|error| SourceError::Read(format!("cannot read conntrack events: {error}")))?;
        self.judge.reader.finish()
    }

    fn poll_fds(&self) -> &[RawFd] {
        &self.fds
    }

    fn upkeep(&mut self, _now: Now) -> SourceHealth {
        let [accounting, events] = self.accounting.ensure();
        let accounting_off = !accounting.is_empty();
        let mut troubles = vec![accounting, events];
        if let Some(tracking) = &mut self.tracking {
            troubles.push(tracking.ensure());
        }
        if self.dump.buckets() == 0 {
            troubles
                .push("cannot read net.netfilter.nf_conntrack_buckets: resizes of the table go unnoticed".to_owned());
        }
        troubles.retain(|trouble| !trouble.is_empty());
        SourceHealth { degraded: troubles.join("; "), accounting_off, sums: false }
    }

    fn ends_are_told(&self) -> bool {
        self.judge.reader.events_are_whole() && self.accounting.events_are_on()
    }
}

fn open_error(what: &str, error: &io::Error) -> SourceError {
    let hint = match error.raw_os_error() {
        Some(nix::libc::EPERM) => "EPERM (CAP_NET_ADMIN missing?)".to_owned(),
        Some(nix::libc::EPROTONOSUPPORT) => "EPROTONOSUPPORT (is the module nfnetlink loaded?)".to_owned(),
        Some(nix::libc::EINVAL) => "EINVAL (is the module nf_conntrack_netlink loaded?)".to_owned(),
        _ => error.to_string(),
    };
    SourceError::Open(format!("cannot {what}: {hint}"))
}
