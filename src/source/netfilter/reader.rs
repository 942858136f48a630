//! Converts the kernel's messages to records, in order. Only this module decides whether an entry counts or is skipped,
//! and whether a dump was complete.
//!
//! It knows no sockets and no clock. The live source and the player feed it the same [`Frame`]s.

use std::io;

use crate::flow::Reading;
use crate::source::{Each, SourceError, Sweep};
use crate::stats::Skip;
use crate::wire::conntrack::{self, MESSAGE_DELETE, MESSAGE_NEW, STATUS_DYING};
use crate::wire::netlink::{self, FLAG_DUMP_INTR, Messages};
use crate::wire::recording::Frame;

/// The state of a sweep or a drain, and what it has seen so far.
#[derive(Debug, Default)]
pub struct Reader {
    /// Not reported yet. Outlives a sweep that failed, because what was skipped and lost in it still counts.
    sweep: Sweep,
    dump: Dump,
    /// Events were dropped since the last complete sweep began.
    overflowed: bool,
}

/// The dump of the sweep that runs.
#[derive(Debug, Default)]
struct Dump {
    runs: bool,
    seq: u32,
    /// The size of the kernel's table before the dump.
    buckets: Option<u64>,
    /// The kernel has sent NLMSG_DONE.
    done: bool,
    /// It may be incomplete (rule 11).
    void: bool,
    /// It ended by this errno.
    failed: Option<i32>,
    /// At least one entry was read.
    began: bool,
}

impl Reader {
    /// Reads the next message of the kernel.
    pub fn take(&mut self, frame: &Frame<'_>, each: Each<'_>) {
        match *frame {
            Frame::SweepBegins(_, seq) => {
                self.dump = Dump { runs: true, seq, ..Dump::default() };
                self.sweep.uncounted = 0;
            }
            Frame::DrainBegins(_) => self.dump = Dump::default(),
            Frame::Buckets(n) => match self.dump.buckets {
                // The kernel does not report a resize in mid-dump. It walks the table by bucket number, and a resize
                // moves entries between buckets, so some are missing and some appear twice.
                Some(before) => self.dump.void |= before != n,
                None => self.dump.buckets = Some(n),
            },
            Frame::Chunk(datagram) => self.read_dump(datagram, each),
            Frame::DumpFailed(errno) => self.dump.fail(errno),
            Frame::Event(datagram) => self.read_events(datagram, each),
            Frame::Overflow(drops) => {
                self.sweep.overflows += 1;
                self.drop_events(drops);
            }
            Frame::Dropped(drops) => self.drop_events(drops),
            Frame::Started(_) | Frame::Ends | Frame::Address(_) | Frame::Closed => {}
        }
    }

    /// Whether the dump has ended.
    pub fn dump_is_over(&self) -> bool {
        self.dump.done || self.dump.failed.is_some()
    }

    /// Whether the dump broke off.
    pub fn dump_failed(&self) -> bool {
        self.dump.failed.is_some()
    }

    /// Ends the sweep or the drain, and returns its result.
    ///
    /// # Errors
    /// [`SourceError::Read`] if no entry of a dump could be read. A dump that broke off later is incomplete, and the
    /// increments of its records stand.
    pub fn finish(&mut self) -> Result<Sweep, SourceError> {
        let dump = std::mem::take(&mut self.dump);
        if let Some(errno) = dump.failed
            && !dump.began
        {
            return Err(SourceError::Read(dump_error(errno)));
        }
        let mut sweep = std::mem::take(&mut self.sweep);
        sweep.complete = dump.runs && dump.done && !dump.void && dump.failed.is_none();
        // A complete dump makes up for events that were dropped before it began, not for those dropped during it.
        if sweep.complete {
            self.overflowed = sweep.sweep_soon;
        }
        Ok(sweep)
    }

    /// Whether no event was dropped since the last complete sweep began.
    pub fn events_are_whole(&self) -> bool {
        !self.overflowed
    }

    fn drop_events(&mut self, drops: u32) {
        self.sweep.events_lost += u64::from(drops);
        self.sweep.sweep_soon = true;
        self.overflowed = true;
    }

    fn read_dump(&mut self, datagram: &[u8], each: Each<'_>) {
        for message in Messages::of(datagram) {
            let Ok(message) = message else {
                self.sweep.skipped.add(Skip::Malformed);
                self.dump.void = true;
                return;
            };
            // An answer to an earlier request. Its counters are of another time, and entries of this dump may be missing
            // in its place.
            if message.seq != self.dump.seq {
                self.dump.void = true;
                continue;
            }
            self.dump.void |= message.flags & FLAG_DUMP_INTR != 0;
            match message.kind {
                MESSAGE_NEW => {
                    self.dump.began = true;
                    self.record(message.payload, Reading::Live, each);
                }
                netlink::DONE if message.errno() == 0 => self.dump.done = true,
                netlink::DONE | netlink::ERROR if message.errno() != 0 => self.dump.fail(message.errno()),
                netlink::OVERRUN => self.dump.void = true,
                _ => {}
            }
        }
    }

    fn read_events(&mut self, datagram: &[u8], each: Each<'_>) {
        // A datagram that was too large, or not from the kernel, arrives empty.
        if datagram.is_empty() {
            self.sweep.skipped.add(Skip::Malformed);
        }
        for message in Messages::of(datagram) {
            match message {
                Ok(message) if message.kind == MESSAGE_DELETE => self.record(message.payload, Reading::Ended, each),
                // Other processes' changes to the table are no ends.
                Ok(_) => {}
                Err(_) => self.sweep.skipped.add(Skip::Malformed),
            }
        }
    }

    #[inline]
    fn record(&mut self, payload: &[u8], reading: Reading, each: Each<'_>) {
        let Ok(mut record) = conntrack::parse(payload, reading) else {
            self.sweep.skipped.add(Skip::Malformed);
            return;
        };
        if reading == Reading::Live && record.is_picked_up() {
            record.connection.reading = Reading::PickedUp;
        } else if reading == Reading::Ended && record.is_cut_off() {
            record.connection.reading = Reading::CutOff;
        }
        let connection = &record.connection;
        if reading == Reading::Live && record.status & STATUS_DYING != 0 {
            // Its DESTROY was sent or will be, and carries the final counters: counting both would double them.
            self.sweep.skipped.add(Skip::Dying);
        } else if connection.key.src.is_loopback() && connection.backend.is_loopback() {
            self.sweep.skipped.add(Skip::Loopback);
        } else if !record.has_counters {
            self.sweep.skipped.add(Skip::NoCounters);
            self.sweep.uncounted += u64::from(reading == Reading::Live);
        } else {
            self.sweep.seen += 1;
            each(connection);
        }
    }
}

impl Dump {
    fn fail(&mut self, errno: i32) {
        self.failed.get_or_insert(errno);
    }
}

fn dump_error(errno: i32) -> String {
    let error = nix::errno::Errno::from_raw(errno);
    match errno {
        nix::libc::EPERM => "cannot dump conntrack: EPERM (CAP_NET_ADMIN missing?)".to_owned(),
        nix::libc::EINVAL => "cannot dump conntrack: EINVAL (is the module nf_conntrack_netlink loaded?)".to_owned(),
        nix::libc::EAGAIN => "cannot dump conntrack: the kernel did not answer in time".to_owned(),
        _ => format!("cannot dump conntrack: {error:?} ({})", io::Error::from(error)),
    }
}

#[cfg(test)]
mod tests;
