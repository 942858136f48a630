//! A stream of JSON with its long strings cut short, so that nothing larger than needed is read with care.
//!
//! An annotation or a variable of a pod can be a megabyte of text that nobody asks for, and skipping it byte by byte
//! costs as much as keeping it. Of a string that is longer than any that is kept ([`TEXT_MAX_BYTES`]) only so much
//! goes on that it is still too long: whoever reads finds the same values, and a long string where there was one.
//!
//! Nothing is judged here, so nothing broken is mended: what is dropped are ASCII characters and two-character
//! escapes, each only behind another one. Whatever can be wrong with a string (a control character, an escape that is
//! none, half a surrogate, bytes that are no UTF-8) goes on, with the neighbours that make it wrong, to be refused by
//! the reader. Knows strings and escapes, and nothing of the rest of JSON; holds no bytes of its own.

use std::io::{self, Read};

use super::lenient::TEXT_MAX_BYTES;

/// Where the stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Between strings.
    Outside,
    /// In a string, or in the key of an object.
    Inside,
    /// Behind a backslash in one, which went on.
    Escape,
}

/// Reads from `R`, less what is too much.
#[derive(Debug)]
pub struct Abridged<R> {
    reader: R,
    place: Place,
    /// So many characters of this string go on, whatever they are.
    owed: usize,
}

impl<R: Read> Abridged<R> {
    /// Reads from the beginning of a value, or between two.
    pub fn new(reader: R) -> Abridged<R> {
        Abridged { reader, place: Place::Outside, owed: 0 }
    }
}

impl<R: Read> Read for Abridged<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.reader.read(buffer)?;
            let left = self.cut(buffer.get_mut(..read).unwrap_or_default());
            // Nothing left of what was read is not the end.
            if left > 0 || read == 0 {
                return Ok(left);
            }
        }
    }
}

impl<R> Abridged<R> {
    /// Moves what goes on to the front of `bytes` and says how much that is.
    fn cut(&mut self, bytes: &mut [u8]) -> usize {
        let (mut at, mut kept, mut start) = (0, 0, 0);
        while let Some(&byte) = bytes.get(at) {
            match self.place {
                Place::Outside => {
                    let rest = bytes.get(at..).unwrap_or_default();
                    match rest.iter().position(|&byte| byte == b'"') {
                        None => at = bytes.len(),
                        Some(quote) => {
                            at += quote + 1;
                            self.place = Place::Inside;
                            // Each is at least one byte to whoever reads it.
                            self.owed = TEXT_MAX_BYTES + 1;
                        }
                    }
                }
                Place::Escape => {
                    at += 1;
                    self.place = Place::Inside;
                    self.owed = self.owed.saturating_sub(1);
                    if byte == b'u' {
                        // Four digits, and one character more: two halves of a pair must not meet.
                        self.owed = self.owed.max(1) + 4;
                    }
                }
                Place::Inside => {
                    let mut end = at + plain(bytes.get(at..).unwrap_or_default());
                    let on = self.owed.min(end - at);
                    self.owed -= on;
                    at += on;
                    while self.owed == 0 && is_escape(bytes.get(end..).unwrap_or_default()) {
                        end += 2;
                        end += plain(bytes.get(end..).unwrap_or_default());
                    }
                    if at < end {
                        bytes.copy_within(start..at, kept);
                        kept += at - start;
                        (at, start) = (end, end);
                    }
                    match bytes.get(at) {
                        None => {}
                        Some(b'"') => self.place = Place::Outside,
                        Some(b'\\') => self.place = Place::Escape,
                        // Part of a longer character, which the next one must not continue.
                        Some(_) => self.owed = self.owed.saturating_sub(1).max(1),
                    }
                    at += 1;
                }
            }
        }
        let rest = start.min(bytes.len())..;
        let left = kept + bytes.len() - rest.start;
        bytes.copy_within(rest, kept);
        left
    }
}

/// Whether they begin with a backslash and one character that it makes another.
fn is_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..])
}

/// How many of them, from the first on, are ASCII characters that a string can have as they are: eight at a time.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let below = |word: u64, byte: u8| word.wrapping_sub(ONES * u64::from(byte)) & !word;
    let (words, _) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        // The lowest high bit is exact: a subtraction borrows only from what is above the first hit.
        let other = (word | quote | backslash | below(word, b' ')) & (ONES << 7);
        if other != 0 {
            return at + other.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    at + rest
        .iter()
        .position(|byte| !matches!(byte, b' '..=b'\x7f') || matches!(byte, b'"' | b'\\'))
        .unwrap_or(rest.len())
}

#[cfg(test)]
pub(super) mod tests;
