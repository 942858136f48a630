use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Bytes that lie one behind the other, the first at position `first`.
struct Plain {
    first: u64,
    bytes: Vec<u8>,
}

impl Room for Plain {
    fn head(&self, at: u64) -> Option<u32> {
        self.bytes(at, 4)?.first_chunk().copied().map(u32::from_ne_bytes)
    }

    fn bytes(&self, at: u64, len: u32) -> Option<&[u8]> {
        let offset = usize::try_from(at.wrapping_sub(self.first)).ok()?;
        self.bytes.get(offset..offset.checked_add(len as usize)?)
    }
}

/// A ring as the kernel lays it out and fills it, and its reader's position.
struct Ring {
    bytes: Vec<u8>,
    from: u64,
    to: u64,
}

impl Ring {
    fn new(size: usize, at: u64) -> Ring {
        Ring { bytes: vec![0xee; size], from: at, to: at }
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        let size = self.bytes.len() as u64;
        for (byte, n) in bytes.iter().zip(0..) {
            self.bytes[(at.wrapping_add(n) % size) as usize] = *byte;
        }
    }

    /// Writes a record and returns its position, if by the kernel's rule there is room.
    fn write(&mut self, bits: u32, payload: &[u8]) -> Option<u64> {
        let (at, whole) = (self.to, (payload.len() as u64 + HEAD_BYTES).next_multiple_of(HEAD_BYTES));
        if self.to.wrapping_sub(self.from) + whole >= self.bytes.len() as u64 {
            return None;
        }
        self.put(at, &(payload.len() as u32 | bits).to_ne_bytes());
        self.put(at.wrapping_add(HEAD_BYTES), payload);
        self.to = at.wrapping_add(whole);
        Some(at)
    }

    /// What is read, and how it ended. The reader sees the ring twice, one behind the other.
    fn read(&mut self) -> (Vec<Vec<u8>>, Result<(), Malformed>) {
        let size = self.bytes.len() as u64;
        let twice = Plain { first: self.from - self.from % size, bytes: self.bytes.repeat(2) };
        let (mut read, mut at) = (Vec::new(), self.from);
        let ended = walk(&twice, self.from, self.to, &mut |bytes| read.push(bytes.to_vec()), &mut |next| at = next);
        self.from = at;
        (read, ended)
    }
}

#[test]
fn what_is_written_is_read_in_order_and_discarded_records_are_not() {
    let mut ring = Ring::new(4096, 0);
    for (bits, payload) in [(0, &b"one"[..]), (DISCARDED, b"two"), (0, b""), (0, b"12345678"), (DISCARDED, b"last")] {
        ring.write(bits, payload).expect("room");
    }
    assert_eq!(ring.read(), (vec![b"one".to_vec(), vec![], b"12345678".to_vec()], Ok(())));
    assert_eq!(ring.from, ring.to);
    assert_eq!(ring.read(), (vec![], Ok(())));
}

#[test]
fn nothing_is_read_from_an_unfinished_record_on_until_it_is_finished() {
    let mut ring = Ring::new(4096, 0);
    ring.write(0, b"one").expect("room");
    let busy = ring.write(BUSY, b"two").expect("room");
    ring.write(0, b"three").expect("room");
    assert_eq!(ring.read(), (vec![b"one".to_vec()], Ok(())));
    assert_eq!(ring.from, busy);
    assert_eq!(ring.read(), (vec![], Ok(())));
    ring.put(busy, &3u32.to_ne_bytes());
    assert_eq!(ring.read(), (vec![b"two".to_vec(), b"three".to_vec()], Ok(())));
}

#[test]
fn a_length_that_leads_beyond_the_end_is_malformed() {
    for length in [9, 4096, DISCARDED - 1, (DISCARDED - 1) | DISCARDED] {
        let mut ring = Ring::new(4096, 0);
        ring.write(0, b"one").expect("room");
        let bad = ring.write(0, b"12345678").expect("room");
        ring.put(bad, &length.to_ne_bytes());
        assert_eq!(ring.read(), (vec![b"one".to_vec()], Err(Malformed)), "{length:#x}");
        assert_eq!(ring.from, bad);
    }
}

proptest! {
    #[test]
    fn any_bytes_and_positions_end_without_a_panic_and_within_the_end(
        bytes in vec(prop_oneof![3 => Just(0u8), 1 => any::<u8>()], 0..512),
        first in prop_oneof![Just(0u64), Just(u64::MAX - 100), any::<u64>()],
        skip in 0u64..600,
        len in 0u64..600,
    ) {
        let (from, to) = (first.wrapping_add(skip), first.wrapping_add(skip).wrapping_add(len));
        let (mut at, mut handed) = (from, 0);
        let room = Plain { first, bytes };
        let _ = walk(&room, from, to, &mut |bytes| handed += bytes.len() as u64, &mut |next| at = next);
        prop_assert!(at.wrapping_sub(from) <= len && handed <= len);
    }

    /// Over the ring's end and over the end of the positions; the reader comes when it likes.
    #[test]
    fn each_finished_record_comes_once_and_in_order_through_any_number_of_turns(
        records in vec((vec(any::<u8>(), 0..300), 0u8..4, any::<bool>()), 1..200),
        size in prop_oneof![Just(512usize), Just(4096)],
        start in prop_oneof![Just(0u64), Just(0u64.wrapping_sub(1024))],
    ) {
        let mut ring = Ring::new(size, start);
        let (mut expected, mut read) = (Vec::new(), Vec::new());
        for (payload, kind, reads_now) in records {
            let bits = if kind == 0 { DISCARDED } else { 0 };
            let mut at = ring.write(bits | BUSY, &payload);
            if at.is_none() || reads_now {
                let (some, ended) = ring.read();
                prop_assert_eq!(ended, Ok(()));
                read.extend(some);
                at = at.or_else(|| ring.write(bits | BUSY, &payload));
            }
            let at = at.expect("an empty ring has room");
            if reads_now {
                prop_assert_eq!(ring.from, at, "an unfinished record is waited for");
            }
            ring.put(at, &(payload.len() as u32 | bits).to_ne_bytes());
            if kind != 0 {
                expected.push(payload);
            }
        }
        read.extend(ring.read().0);
        prop_assert_eq!(ring.from, ring.to);
        prop_assert_eq!(read, expected);
    }
}
