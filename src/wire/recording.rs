//! The recording format: what the kernel said, in the order in which it was judged, as frames in a file.
//!
//! A file is a header and frames. The header is magic, version and a byte-order mark, for netlink uses the machine's
//! own order. A frame is a length (4 bytes), a kind (1), a payload and a CRC-32 of all three (4). Numbers are
//! little-endian. It ends with a frame of its own, so that a file that was cut off is known as such. Everything is
//! checked; nothing is guessed.

use std::fmt;

use flate2::Crc;

use crate::clock::Now;
use crate::flow::{Addr, AddressChange};

const MAGIC: &[u8; 8] = b"NETMONRC";
const VERSION: u32 = 1;
const BYTE_ORDER: u32 = 0x0102_0304;
/// Length of the file's header.
pub const HEADER: usize = 16;
/// Length of a frame's length and kind.
pub const FRAME_HEADER: usize = 5;
/// Length of a frame's checksum.
pub const CHECKSUM: usize = 4;
/// Longest payload that is believed; datagrams of the kernel hold 32 KiB at most.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// One thing that the kernel said, or that was done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The agent started; the first frame.
    Started(Now),
    /// A sweep begins; its dump was asked for with this sequence number.
    SweepBegins(Now, u32),
    /// A drain between sweeps begins.
    DrainBegins(Now),
    /// The sweep or the drain is over.
    Ends,
    /// `nf_conntrack_buckets`, 0 where it cannot be read: before a dump and after each of its chunks.
    Buckets(u64),
    /// A datagram of the dump.
    Chunk(&'a [u8]),
    /// The dump could not be read to its end: errno.
    DumpFailed(i32),
    /// A datagram of the event socket; empty where it could not be read.
    Event(&'a [u8]),
    /// The kernel said that it dropped events (ENOBUFS), and how many since it last said so.
    Overflow(u32),
    /// It dropped so many more before its queue was empty again.
    Dropped(u32),
    /// The host's addresses changed.
    Address(AddressChange),
    /// The recording ends here, as it was meant to.
    Closed,
}

/// What is wrong with a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corrupt {
    /// It does not begin like one.
    NotARecording,
    /// Written by another version of the format.
    Version(u32),
    /// Written on a machine of the other byte order.
    ByteOrder,
    /// A length beyond [`MAX_PAYLOAD`].
    Length(u32),
    /// The checksum does not fit.
    Checksum,
    /// A kind that this version does not know.
    Kind(u8),
    /// A payload that is not of its kind's length.
    Payload(u8),
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Corrupt::NotARecording => f.write_str("not a recording"),
            Corrupt::Version(version) => write!(f, "version {version} of the format, this is {VERSION}"),
            Corrupt::ByteOrder => f.write_str("made on a machine of the other byte order"),
            Corrupt::Length(len) => write!(f, "a frame of {len} bytes, at most {MAX_PAYLOAD} are possible"),
            Corrupt::Checksum => f.write_str("a frame whose checksum does not fit"),
            Corrupt::Kind(kind) => write!(f, "a frame of the unknown kind {kind}"),
            Corrupt::Payload(kind) => write!(f, "a frame of kind {kind} with a wrong length"),
        }
    }
}

/// The header of a file made on this machine.
pub fn header() -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    let fields = MAGIC.iter().copied().chain(VERSION.to_le_bytes()).chain(BYTE_ORDER.to_ne_bytes());
    bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    bytes
}

/// Checks a file's header.
///
/// # Errors
/// [`Corrupt`] where it is not one of this version and byte order.
pub fn check_header(bytes: &[u8; HEADER]) -> Result<(), Corrupt> {
    let expected = header();
    if bytes[..8] != expected[..8] {
        return Err(Corrupt::NotARecording);
    }
    if bytes[8..12] != expected[8..12] {
        return Err(Corrupt::Version(u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]])));
    }
    if bytes[12..] != expected[12..] { Err(Corrupt::ByteOrder) } else { Ok(()) }
}

/// The length of the payload that follows a frame's header.
///
/// # Errors
/// [`Corrupt::Length`] where no frame is so long.
pub fn payload_len(head: &[u8; FRAME_HEADER]) -> Result<usize, Corrupt> {
    let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    if len as usize > MAX_PAYLOAD { Err(Corrupt::Length(len)) } else { Ok(len as usize) }
}

/// Appends a frame. A payload beyond [`MAX_PAYLOAD`] is not appended; the kernel makes none.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the bits of an errno; a payload is a datagram or a chunk of a dump"
)]
pub fn append(out: &mut Vec<u8>, frame: &Frame<'_>) {
    let mut small = Small::default();
    let (kind, payload): (u8, &[u8]) = match frame {
        Frame::SweepBegins(now, seq) => {
            small.u64(now.mono_ns).u64(now.wall_ns).u32(*seq);
            (kind::SWEEP_BEGINS, small.bytes())
        }
        Frame::Started(now) | Frame::DrainBegins(now) => {
            small.u64(now.mono_ns).u64(now.wall_ns);
            (if matches!(frame, Frame::Started(_)) { kind::STARTED } else { kind::DRAIN_BEGINS }, small.bytes())
        }
        Frame::Ends => (kind::ENDS, &[]),
        Frame::Buckets(n) => {
            small.u64(*n);
            (kind::BUCKETS, small.bytes())
        }
        Frame::Chunk(datagram) => (kind::CHUNK, datagram),
        Frame::DumpFailed(errno) => {
            small.u32(*errno as u32);
            (kind::DUMP_FAILED, small.bytes())
        }
        Frame::Event(datagram) => (kind::EVENT, datagram),
        Frame::Overflow(n) | Frame::Dropped(n) => {
            small.u32(*n);
            (if matches!(frame, Frame::Overflow(_)) { kind::OVERFLOW } else { kind::DROPPED }, small.bytes())
        }
        Frame::Address(AddressChange::Added(addr)) => (kind::ADDRESS_ADDED, addr.octets()),
        Frame::Address(AddressChange::Removed(addr)) => (kind::ADDRESS_REMOVED, addr.octets()),
        Frame::Closed => (kind::CLOSED, &[]),
    };
    if payload.len() > MAX_PAYLOAD {
        return;
    }
    let len = (payload.len() as u32).to_le_bytes();
    out.extend_from_slice(&len);
    out.push(kind);
    out.extend_from_slice(payload);
    out.extend_from_slice(&checksum(&[len[0], len[1], len[2], len[3], kind], payload).to_le_bytes());
}

/// Reads a frame from its header and what follows it: payload and checksum.
///
/// # Errors
/// [`Corrupt`] where it is not exactly a frame.
pub fn parse<'a>(head: &[u8; FRAME_HEADER], body: &'a [u8]) -> Result<Frame<'a>, Corrupt> {
    let (payload, sum) = body.split_last_chunk::<CHECKSUM>().ok_or(Corrupt::Checksum)?;
    if payload_len(head)? != payload.len() || checksum(head, payload) != u32::from_le_bytes(*sum) {
        return Err(Corrupt::Checksum);
    }
    let kind = head[4];
    let mut fields = Fields(payload);
    let frame = match kind {
        kind::CHUNK => return Ok(Frame::Chunk(payload)),
        kind::EVENT => return Ok(Frame::Event(payload)),
        kind::SWEEP_BEGINS => fields.now().zip(fields.u32()).map(|(now, seq)| Frame::SweepBegins(now, seq)),
        kind::STARTED => fields.now().map(Frame::Started),
        kind::DRAIN_BEGINS => fields.now().map(Frame::DrainBegins),
        kind::ENDS => Some(Frame::Ends),
        kind::BUCKETS => fields.u64().map(Frame::Buckets),
        kind::DUMP_FAILED => fields.u32().map(|errno| Frame::DumpFailed(errno as i32)),
        kind::OVERFLOW => fields.u32().map(Frame::Overflow),
        kind::DROPPED => fields.u32().map(Frame::Dropped),
        kind::ADDRESS_ADDED => fields.addr().map(|addr| Frame::Address(AddressChange::Added(addr))),
        kind::ADDRESS_REMOVED => fields.addr().map(|addr| Frame::Address(AddressChange::Removed(addr))),
        kind::CLOSED => Some(Frame::Closed),
        other => return Err(Corrupt::Kind(other)),
    };
    frame.filter(|_| fields.0.is_empty()).ok_or(Corrupt::Payload(kind))
}

mod kind {
    pub const SWEEP_BEGINS: u8 = 1;
    pub const DRAIN_BEGINS: u8 = 2;
    pub const ENDS: u8 = 3;
    pub const BUCKETS: u8 = 4;
    pub const CHUNK: u8 = 5;
    pub const DUMP_FAILED: u8 = 6;
    pub const EVENT: u8 = 7;
    pub const OVERFLOW: u8 = 8;
    pub const DROPPED: u8 = 9;
    pub const ADDRESS_ADDED: u8 = 10;
    pub const ADDRESS_REMOVED: u8 = 11;
    pub const CLOSED: u8 = 12;
    pub const STARTED: u8 = 13;
}

fn checksum(head: &[u8; FRAME_HEADER], payload: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(head);
    crc.update(payload);
    crc.sum()
}

/// The payload of a frame that holds numbers.
#[derive(Default)]
struct Small {
    bytes: [u8; 20],
    len: usize,
}

impl Small {
    fn put(&mut self, bytes: &[u8]) -> &mut Small {
        self.bytes.iter_mut().skip(self.len).zip(bytes).for_each(|(to, from)| *to = *from);
        self.len += bytes.len();
        self
    }

    fn u64(&mut self, n: u64) -> &mut Small {
        self.put(&n.to_le_bytes())
    }

    fn u32(&mut self, n: u32) -> &mut Small {
        self.put(&n.to_le_bytes())
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// Takes numbers off a payload.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn now(&mut self) -> Option<Now> {
        Some(Now { mono_ns: self.u64()?, wall_ns: self.u64()? })
    }

    fn addr(&mut self) -> Option<Addr> {
        self.take().map(Addr::from_v6)
    }
}

#[cfg(test)]
mod tests;
