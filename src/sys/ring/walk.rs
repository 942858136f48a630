//! Finds the records between two positions of a BPF ring buffer. Knows nothing of where the bytes lie.
//!
//! A record is a head of eight bytes, its length in the first four of them, and as many bytes behind it; the next head
//! begins at the next multiple of eight. Two bits of the length say that it is not finished, or not meant to be read.
//! Nothing is believed: a length that leads beyond the end is an error. Positions only grow, and wrap at 2^64, which
//! is the `unsigned long` of the kernels that we are built for.

/// Bytes of a record's head (`BPF_RINGBUF_HDR_SZ`); records begin at multiples of it.
pub const HEAD_BYTES: u64 = 8;
/// Its program has not finished with it, nor may we read what follows (`BPF_RINGBUF_BUSY_BIT`).
pub const BUSY: u32 = 1 << 31;
/// Its program has given it up (`BPF_RINGBUF_DISCARD_BIT`).
pub const DISCARDED: u32 = 1 << 30;

/// Bytes of a ring buffer, by position.
pub trait Room {
    /// The first four bytes of the head at `at`, as one word; `None` where `at` is outside or no multiple of
    /// [`HEAD_BYTES`]. What was written before that word is seen by whoever has seen the word.
    fn head(&self, at: u64) -> Option<u32>;

    /// The `len` bytes at `at`, of a record whose head says that it is finished; `None` where they are not all inside.
    fn bytes(&self, at: u64, len: u32) -> Option<&[u8]>;
}

/// No records stand where they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Hands over the finished records from position `from` to `to`, in order. After each, and after each that is to be left
/// out, `pass` is told the position behind it. Stops before one that is not finished.
pub fn walk(
    room: &impl Room,
    from: u64,
    to: u64,
    each: &mut dyn FnMut(&[u8]),
    pass: &mut dyn FnMut(u64),
) -> Result<(), Malformed> {
    let mut at = from;
    while at != to {
        let word = room.head(at).ok_or(Malformed)?;
        if word & BUSY != 0 {
            return Ok(());
        }
        let len = word & !DISCARDED;
        let whole = (HEAD_BYTES + u64::from(len)).next_multiple_of(HEAD_BYTES);
        if whole > to.wrapping_sub(at) {
            return Err(Malformed);
        }
        if word & DISCARDED == 0 {
            each(room.bytes(at.wrapping_add(HEAD_BYTES), len).ok_or(Malformed)?);
        }
        at = at.wrapping_add(whole);
        pass(at);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
