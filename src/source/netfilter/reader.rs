//! What the kernel said, in order, to records: the one place where an entry is believed or left out, and where it is
//! decided whether a dump was complete.
//!
//! Pure: knows no sockets and no clock. The live source and the replay feed it the same [`Frame`]s.

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
    /// What has not been reported yet. Outlives a sweep that failed: what was skipped and lost in it still counts.
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
    /// The kernel said that this was all.
    done: bool,
    /// Some of it cannot be believed to be whole (rule 11).
    void: bool,
    /// It ended by this errno.
    failed: Option<i32>,
    /// Something of it was read.
    began: bool,
}

impl Reader {
    /// Takes the next thing that the kernel said.
    pub fn take(&mut self, frame: &Frame<'_>, each: Each<'_>) {
        match *frame {
            Frame::SweepBegins(_, seq) => self.dump = Dump { runs: true, seq, ..Dump::default() },
            Frame::DrainBegins(_) => self.dump = Dump::default(),
            Frame::Buckets(n) => match self.dump.buckets {
                // The kernel says nothing of a resize in mid-dump, after which entries are missing or twice there.
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

    /// Whether nothing more of the dump is to come.
    pub fn dump_is_over(&self) -> bool {
        self.dump.done || self.dump.failed.is_some()
    }

    /// Whether the dump broke off.
    pub fn dump_failed(&self) -> bool {
        self.dump.failed.is_some()
    }

    /// Ends the sweep or the drain: what it saw.
    ///
    /// # Errors
    /// [`SourceError::Read`] where nothing could be read of a dump. A dump that broke off later is incomplete: the
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
            // Not an answer to this request: what it tells is of another time.
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
        if datagram.is_empty() {
            self.sweep.skipped.add(Skip::Malformed);
        }
        for message in Messages::of(datagram) {
            match message {
                Ok(message) if message.kind == MESSAGE_DELETE => self.record(message.payload, Reading::Ended, each),
                Ok(_) => {}
                Err(_) => self.sweep.skipped.add(Skip::Malformed),
            }
        }
    }

    #[inline]
    fn record(&mut self, payload: &[u8], reading: Reading, each: Each<'_>) {
        let Ok(record) = conntrack::parse(payload, reading) else {
            self.sweep.skipped.add(Skip::Malformed);
            return;
        };
        let connection = &record.connection;
        if reading == Reading::Live && record.status & STATUS_DYING != 0 {
            // Its DESTROY has been sent, or will be: that tells the final counters.
            self.sweep.skipped.add(Skip::Dying);
        } else if connection.key.src.is_loopback() && connection.backend.is_loopback() {
            self.sweep.skipped.add(Skip::Loopback);
        } else if !record.has_counters {
            self.sweep.skipped.add(Skip::NoCounters);
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
mod tests {
    use super::*;
    use crate::clock::Now;
    use crate::flow::{Connection, Counts};
    use crate::stats::Skipped;
    use crate::wire::conntrack::tests::{Entry, TCP_ENTRY};
    use crate::wire::netlink::Writer;

    const SEQ: u32 = 7;
    const BEGINS: Frame<'_> = Frame::SweepBegins(Now { mono_ns: 1, wall_ns: 2 }, SEQ);

    fn message(kind: u16, flags: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.message(kind, flags, seq);
        writer.raw(payload);
        writer.finish()
    }

    fn entry() -> Vec<u8> {
        message(MESSAGE_NEW, 2, SEQ, TCP_ENTRY)
    }

    fn done() -> Vec<u8> {
        message(netlink::DONE, 2, SEQ, &[0; 4])
    }

    /// Plays a sweep; each element of `chunks` is one datagram.
    fn play(chunks: &[Vec<u8>], buckets: [u64; 2]) -> (Result<Sweep, SourceError>, Vec<Connection>) {
        let (mut reader, mut seen) = (Reader::default(), Vec::new());
        let mut each = |c: &Connection| seen.push(*c);
        reader.take(&BEGINS, &mut each);
        reader.take(&Frame::Buckets(buckets[0]), &mut each);
        for chunk in chunks {
            reader.take(&Frame::Chunk(chunk), &mut each);
        }
        reader.take(&Frame::Buckets(buckets[1]), &mut each);
        reader.take(&Frame::Ends, &mut each);
        (reader.finish(), seen)
    }

    fn skipped(reason: Skip) -> Skipped {
        let mut skipped = Skipped::default();
        skipped.add(reason);
        skipped
    }

    #[test]
    fn a_quiet_dump_is_complete() {
        let (sweep, seen) = play(&[entry(), done()], [1, 1]);
        let sweep = sweep.expect("read");
        assert!(sweep.complete);
        assert_eq!((sweep.seen, seen.len(), seen[0].reading), (1, 1, Reading::Live));
    }

    #[test]
    fn what_cannot_be_whole_voids_and_its_records_stand() {
        let cut = entry()[..40].to_vec();
        let cases = [
            ("resized", vec![entry(), done()], [1, 2]),
            ("interrupted", vec![entry(), message(netlink::DONE, 2 | FLAG_DUMP_INTR, SEQ, &[0; 4])], [1, 1]),
            ("overrun", vec![entry(), message(netlink::OVERRUN, 0, SEQ, &[]), done()], [1, 1]),
            ("an error at the end", vec![entry(), message(netlink::DONE, 2, SEQ, &(-12i32).to_ne_bytes())], [1, 1]),
            ("an error amid", vec![entry(), message(netlink::ERROR, 0, SEQ, &(-12i32).to_ne_bytes())], [1, 1]),
            ("another's answer", vec![entry(), message(MESSAGE_NEW, 2, SEQ + 1, TCP_ENTRY), done()], [1, 1]),
            ("cut off", vec![entry(), cut, done()], [1, 1]),
        ];
        for (what, chunks, buckets) in cases {
            let (sweep, seen) = play(&chunks, buckets);
            assert!(!sweep.expect(what).complete, "{what}");
            assert_eq!(seen.len(), 1, "{what}");
        }
        assert!(!play(&[entry()], [1, 1]).0.expect("read").complete, "no end");
    }

    #[test]
    fn a_table_resized_twice_within_a_dump_is_noticed_between_its_chunks() {
        let (mut reader, ignore) = (Reader::default(), &mut |_: &Connection| {});
        reader.take(&BEGINS, ignore);
        for (buckets, chunk) in [(1, entry()), (2, entry()), (1, done())] {
            reader.take(&Frame::Buckets(buckets), ignore);
            reader.take(&Frame::Chunk(&chunk), ignore);
        }
        reader.take(&Frame::Buckets(1), ignore);
        assert!(!reader.finish().expect("read").complete);
    }

    #[test]
    fn a_refused_dump_is_an_error_and_forgets_nothing() {
        let mut reader = Reader::default();
        let ignore = &mut |_: &Connection| {};
        reader.take(&BEGINS, ignore);
        reader.take(&Frame::Overflow(3), ignore);
        reader.take(&Frame::Chunk(&message(netlink::ERROR, 0, SEQ, &(-1i32).to_ne_bytes())), ignore);
        assert!(reader.dump_is_over());
        let error = reader.finish().expect_err("refused").to_string();
        assert_eq!(error, "cannot dump conntrack: EPERM (CAP_NET_ADMIN missing?)");
        reader.take(&Frame::DrainBegins(Now::default()), ignore);
        let drained = reader.finish().expect("a drain");
        assert_eq!((drained.overflows, drained.events_lost, drained.complete), (1, 3, false));
    }

    #[test]
    fn entries_are_left_out_by_reason() {
        let base = Entry::default();
        let loopback = |n| [127, 0, 0, n];
        let cases = [
            (Skip::Dying, Entry { status: Some(0x20e | STATUS_DYING), ..base.clone() }),
            (Skip::NoCounters, Entry { counters: None, ..base.clone() }),
            (
                Skip::Loopback,
                Entry { v4: Some([loopback(1), loopback(53), loopback(53), loopback(1)]), ..base.clone() },
            ),
        ];
        for (reason, entry) in cases {
            let (sweep, seen) = play(&[message(MESSAGE_NEW, 2, SEQ, &entry.encode()), done()], [1, 1]);
            assert_eq!((sweep.expect("read").skipped, seen.len()), (skipped(reason), 0));
        }
        // From loopback to a pod by destination NAT crosses the pod's device.
        let nat = Entry { v4: Some([loopback(1), loopback(1), [10, 0, 0, 7], [10, 0, 0, 1]]), ..base };
        assert_eq!(play(&[message(MESSAGE_NEW, 2, SEQ, &nat.encode()), done()], [1, 1]).1.len(), 1);
    }

    #[test]
    fn an_entry_that_cannot_be_read_is_counted_and_the_next_is_read() {
        let broken = message(MESSAGE_NEW, 2, SEQ, &TCP_ENTRY[..8]);
        let (sweep, seen) = play(&[[broken, entry()].concat(), done()], [1, 1]);
        assert_eq!((sweep.expect("read").skipped, seen.len()), (skipped(Skip::Malformed), 1));
    }

    #[test]
    fn an_end_tells_its_final_counters_dying_or_not() {
        let (mut reader, mut seen) = (Reader::default(), Vec::new());
        let mut each = |c: &Connection| seen.push(*c);
        reader.take(&Frame::DrainBegins(Now::default()), &mut each);
        let end = Entry { status: Some(STATUS_DYING), counters: Some([1, 60, 2, 99]), ..Entry::default() };
        reader.take(&Frame::Event(&message(MESSAGE_DELETE, 0, 0, &end.encode())), &mut each);
        reader.take(&Frame::Event(&[]), &mut each);
        let drained = reader.finish().expect("a drain");
        assert_eq!((drained.seen, drained.skipped), (1, skipped(Skip::Malformed)));
        assert_eq!(seen[0].reading, Reading::Ended);
        assert_eq!(seen[0].traffic.reply, Counts { bytes: 99, packets: 2 });
    }

    #[test]
    fn a_complete_sweep_makes_up_for_lost_events_unless_they_were_lost_in_it() {
        let mut reader = Reader::default();
        let ignore = &mut |_: &Connection| {};
        let mut sweep = |reader: &mut Reader, lose: bool| {
            reader.take(&BEGINS, ignore);
            if lose {
                reader.take(&Frame::Overflow(1), ignore);
            }
            reader.take(&Frame::Chunk(&done()), ignore);
            reader.finish().expect("read")
        };
        assert!(reader.events_are_whole());
        assert!(sweep(&mut reader, true).sweep_soon);
        assert!(!reader.events_are_whole());
        assert!(!sweep(&mut reader, false).sweep_soon);
        assert!(reader.events_are_whole());
    }
}
