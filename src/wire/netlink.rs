//! Netlink messages and attributes (`include/uapi/linux/netlink.h`), as borrowed windows onto a buffer.
//!
//! Lengths are checked before use. A length that is too short for its own header ends the walk with [`Malformed`], so
//! no walk can stand still. Padding to four bytes may be missing at the very end, as in the kernel.
//!
//! Some thirty attributes make an entry. So the walk is inlined by force, for the release is optimised for size
//! (`benches/sweep.rs` shows what that is worth).

use super::Malformed;

/// `NLMSG_ERROR`.
pub const ERROR: u16 = 2;
/// `NLMSG_DONE`.
pub const DONE: u16 = 3;
/// `NLMSG_OVERRUN`.
pub const OVERRUN: u16 = 4;
/// `NLM_F_DUMP_INTR`: the dump was not consistent.
pub const FLAG_DUMP_INTR: u16 = 0x10;

const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
/// Without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
pub(super) const TYPE_MASK: u16 = 0x3fff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub seq: u32,
    /// `nlmsg_pid`.
    pub pid: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl Message<'_> {
    /// The errno of an `NLMSG_ERROR` or `NLMSG_DONE` message, 0 for success.
    pub fn errno(&self) -> i32 {
        u32_ne(self.payload, 0).map_or(0, |code| (code as i32).wrapping_neg())
    }
}

/// The messages of one datagram.
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a>(&'a [u8]);

impl<'a> Messages<'a> {
    /// Walks a datagram.
    pub fn of(datagram: &'a [u8]) -> Messages<'a> {
        Messages(datagram)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        Some(take_message(bytes).map(|(message, rest)| {
            self.0 = rest;
            message
        }))
    }
}

fn take_message(bytes: &[u8]) -> Result<(Message<'_>, &[u8]), Malformed> {
    let len = u32_ne(bytes, 0).ok_or(Malformed)? as usize;
    let payload = bytes.get(HEADER..len).ok_or(Malformed)?;
    let message = Message {
        kind: u16_ne(bytes, 4).ok_or(Malformed)?,
        flags: u16_ne(bytes, 6).ok_or(Malformed)?,
        seq: u32_ne(bytes, 8).ok_or(Malformed)?,
        pid: u32_ne(bytes, 12).ok_or(Malformed)?,
        payload,
    };
    Ok((message, bytes.get(aligned(len)..).unwrap_or_default()))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Its type, without the flag bits.
    pub kind: u16,
    pub value: &'a [u8],
}

/// The attributes in a payload.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Walks a payload, or the value of a nested attribute.
    pub fn of(bytes: &'a [u8]) -> Attributes<'a> {
        Attributes(bytes)
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let bytes = std::mem::take(&mut self.0);
        let (Some(len), Some(kind)) = (u16_ne(bytes, 0), u16_ne(bytes, 2)) else { return Some(Err(Malformed)) };
        let len = usize::from(len);
        let Some(value) = bytes.get(ATTRIBUTE_HEADER..len) else { return Some(Err(Malformed)) };
        self.0 = bytes.get(aligned(len)..).unwrap_or_default();
        Some(Ok(Attribute { kind: kind & TYPE_MASK, value }))
    }
}

#[inline(always)]
fn aligned(len: usize) -> usize {
    len.saturating_add(3) & !3
}

/// A native-endian number at an offset.
#[inline(always)]
pub fn u16_ne(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A native-endian number at an offset.
#[inline(always)]
pub fn u32_ne(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// A value that is exactly one big-endian number.
#[inline(always)]
pub fn u16_be(value: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(value.try_into().ok()?))
}

/// A value that is exactly one big-endian number.
#[inline(always)]
pub fn u32_be(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}

/// A value that is exactly one big-endian number.
#[inline(always)]
pub fn u64_be(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(value.try_into().ok()?))
}

/// Writes requests: messages with nested attributes, into a buffer that grows as needed.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    message: usize,
}

impl Writer {
    /// Writes into a buffer that was used before.
    pub fn reusing(mut bytes: Vec<u8>) -> Writer {
        bytes.clear();
        Writer { bytes, message: 0 }
    }

    /// Begins a message; ended by the next one or by [`Writer::finish`].
    pub fn message(&mut self, kind: u16, flags: u16, seq: u32) {
        self.close();
        self.message = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&seq.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
    }

    /// Appends plain bytes, a protocol's own header.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    #[allow(clippy::cast_possible_truncation, reason = "requests of ours are far below 64 KiB")]
    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        let len = (ATTRIBUTE_HEADER + value.len()) as u16;
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.raw(value);
    }

    /// Appends a nested attribute, filled by `fill`.
    #[allow(clippy::cast_possible_truncation, reason = "requests of ours are far below 64 KiB")]
    pub fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Writer)) {
        let at = self.bytes.len();
        self.attribute(kind | 0x8000, &[]);
        fill(self);
        let len = (self.bytes.len() - at) as u16;
        if let Some(place) = self.bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&len.to_ne_bytes());
        }
    }

    /// The datagram.
    pub fn finish(mut self) -> Vec<u8> {
        self.close();
        self.bytes
    }

    #[allow(clippy::cast_possible_truncation, reason = "requests of ours are far below 64 KiB")]
    fn close(&mut self) {
        let len = (self.bytes.len() - self.message) as u32;
        if let Some(place) = self.bytes.get_mut(self.message..self.message + 4)
            && len > 0
        {
            place.copy_from_slice(&len.to_ne_bytes());
        }
    }

    fn pad(&mut self) {
        self.bytes.resize(aligned(self.bytes.len()), 0);
    }
}

#[cfg(test)]
mod tests;
