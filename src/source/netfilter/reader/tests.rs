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
fn f31_an_entry_that_began_in_the_midst_or_ended_there_is_told() {
    // As 6.18 writes them: flags 0x23 of a handshake that was seen, 0x2a of a connection picked up.
    let flags = |bytes: &[u8]| bytes.windows(6).position(|w| w == [6, 0, 4, 0, 0x23, 0]).expect("its flags") + 4;
    let mut midst = TCP_ENTRY.to_vec();
    midst[flags(TCP_ENTRY)] = 0x2a;
    let read = |payload: &[u8]| play(&[message(MESSAGE_NEW, 2, SEQ, payload), done()], [1, 1]).1[0].reading;
    assert_eq!((read(TCP_ENTRY), read(&midst)), (Reading::Live, Reading::PickedUp));
    // Open vSwitch marks all of its connections as liberal; the window scale shows that the handshake was seen.
    midst[flags(TCP_ENTRY)] = 0x2b;
    assert_eq!(read(&midst), Reading::Live);
    let end = |state| {
        let (mut reader, mut seen) = (Reader::default(), Vec::new());
        let mut payload = TCP_ENTRY.to_vec();
        let at = payload.windows(5).position(|w| w == [5, 0, 1, 0, 3]).expect("its state") + 4;
        payload[at] = state;
        let event = message(MESSAGE_DELETE, 0, 0, &payload);
        reader.take(&Frame::Event(&event), &mut |c| seen.push(c.reading));
        seen[0]
    };
    assert_eq!((end(3), end(7)), (Reading::CutOff, Reading::Ended), "ESTABLISHED, TIME_WAIT");
}

#[test]
fn f42_living_entries_without_counters_are_told_anew_by_each_sweep() {
    let bare = || Entry { counters: None, ..Entry::default() }.encode();
    let without = message(MESSAGE_NEW, 2, SEQ, &bare());
    let sweep = play(&[without.clone(), entry(), without, done()], [1, 1]).0.expect("read");
    assert_eq!((sweep.uncounted, sweep.seen), (2, 1));
    let (mut reader, ignore) = (Reader::default(), &mut |_: &Connection| {});
    reader.take(&Frame::Event(&message(MESSAGE_DELETE, 0, 0, &bare())), ignore);
    reader.take(&BEGINS, ignore);
    reader.take(&Frame::Chunk(&entry()), ignore);
    reader.take(&Frame::Chunk(&done()), ignore);
    let sweep = reader.finish().expect("read");
    assert_eq!((sweep.uncounted, sweep.skipped.0[Skip::NoCounters as usize]), (0, 1), "what ended is not there");
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
        (Skip::Loopback, Entry { v4: Some([loopback(1), loopback(53), loopback(53), loopback(1)]), ..base.clone() }),
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
    assert!(seen[0].reading.is_end());
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
