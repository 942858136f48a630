//! Conntrack by netlink: one dump for both families, and the events that tell ends with their final counters.
//!
//! The order is what makes it exact: the kernel queues an event before the entry leaves its table, so the event socket
//! is drained completely before each chunk of a dump is read. What is told twice is then told in an order from which
//! [`crate::baseline`] can see it.

pub mod accounting;
mod chunk;
mod dump;
mod events;
pub mod tracking;

use std::io;
use std::os::fd::RawFd;

use self::accounting::Accounting;
use self::dump::Dump;
use self::events::Events;
use self::tracking::Tracking;
use super::replay::Recorder;
use super::{Condition, Each, Source, SourceError, Sweep};
use crate::clock::Now;

/// How the source is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether accounting, events and tracking may be switched on (`-manage-conntrack`).
    pub manage_conntrack: bool,
    /// Whether this host may have nobody else who wants connections tracked (`-standalone`).
    pub standalone: bool,
}

/// The source.
pub struct Netfilter {
    fds: [RawFd; 1],
    events: Events,
    dump: Dump,
    accounting: Accounting,
    tracking: Option<Tracking>,
    recorder: Recorder,
    /// Whether events were dropped since the last complete sweep.
    overflowed: bool,
}

impl Netfilter {
    /// Joins the events, switches on what is off, and is ready for the first sweep.
    ///
    /// # Errors
    /// [`SourceError::Open`] without CAP_NET_ADMIN, or on a kernel without conntrack.
    pub fn open(options: Options, recorder: Recorder) -> Result<Netfilter, SourceError> {
        Netfilter::open_with_queue(options, recorder, events::QUEUE_BYTES)
    }

    /// The same with another size of the event queue.
    pub fn open_with_queue(options: Options, recorder: Recorder, queue_bytes: usize) -> Result<Netfilter, SourceError> {
        // Before the first dump: what ends while it runs is then told.
        let events =
            Events::open(queue_bytes).map_err(|error| open_error("join conntrack's DESTROY events", &error))?;
        let dump = Dump::open().map_err(|error| open_error("open a netfilter socket", &error))?;
        let accounting = Accounting::new(options.manage_conntrack);
        let tracking = (options.standalone && options.manage_conntrack).then(Tracking::new);
        Ok(Netfilter { fds: [events.raw_fd()], events, dump, accounting, tracking, recorder, overflowed: false })
    }

    fn note(&mut self, sweep: &mut Sweep) {
        if sweep.overflows > 0 {
            self.overflowed = true;
            sweep.sweep_soon = true;
        }
    }
}

impl Source for Netfilter {
    fn name(&self) -> &'static str {
        "netfilter"
    }

    fn sweep(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        let mut sweep = Sweep::default();
        self.recorder.begin_sweep(now);
        let read = self.dump.read(&mut self.events, &mut self.recorder, &mut sweep, each);
        match read {
            Ok(complete) => sweep.complete = complete,
            Err(error) => {
                self.recorder.end_sweep(false);
                return Err(SourceError::Read(dump_error(&error)));
            }
        }
        self.recorder.end_sweep(sweep.complete);
        if sweep.complete {
            self.overflowed = false;
        }
        self.note(&mut sweep);
        Ok(sweep)
    }

    fn drain(&mut self, now: Now, each: Each<'_>) -> Result<Sweep, SourceError> {
        let mut sweep = Sweep::default();
        self.recorder.begin_drain(now);
        self.events
            .drain(&mut self.recorder, &mut sweep, each)
            .map_err(|error| SourceError::Read(format!("cannot read conntrack events: {error}")))?;
        self.note(&mut sweep);
        Ok(sweep)
    }

    fn poll_fds(&self) -> &[RawFd] {
        &self.fds
    }

    fn upkeep(&mut self, _now: Now) -> Condition {
        let mut troubles = vec![self.accounting.ensure()];
        if let Some(tracking) = &mut self.tracking {
            troubles.push(tracking.ensure());
        }
        troubles.retain(|trouble| !trouble.is_empty());
        Condition { degraded: troubles.join("; ") }
    }

    fn ends_are_told(&self) -> bool {
        !self.overflowed && self.accounting.events_are_on()
    }
}

fn open_error(what: &str, error: &io::Error) -> SourceError {
    let hint = match error.raw_os_error() {
        Some(nix::libc::EPERM) => "EPERM (CAP_NET_ADMIN missing?)".to_owned(),
        Some(nix::libc::EPROTONOSUPPORT) => {
            "EPROTONOSUPPORT (no nfnetlink: is nf_conntrack_netlink loaded?)".to_owned()
        }
        _ => error.to_string(),
    };
    SourceError::Open(format!("cannot {what}: {hint}"))
}

fn dump_error(error: &io::Error) -> String {
    let hint = match error.raw_os_error() {
        Some(nix::libc::EPERM) => "EPERM (CAP_NET_ADMIN missing?)".to_owned(),
        Some(nix::libc::EINVAL) => "EINVAL (is the module nf_conntrack_netlink loaded?)".to_owned(),
        _ => error.to_string(),
    };
    format!("cannot dump conntrack: {hint}")
}
