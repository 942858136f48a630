//! DNS messages (RFC 1035): the question that was asked, and the addresses that its answer leads to.
//!
//! Only records on the chain of CNAMEs that begins at the asked name are believed. Names are compared without regard to
//! case (RFC 4343). They are written as they are reported: lower case, no final dot, `\DDD` for bytes that are no
//! printable ASCII. Compression pointers (RFC 1035 4.1.4) must lead backwards, so every name ends.

use super::Malformed;
use crate::flow::Addr;

/// QTYPE of IPv4 addresses.
pub const TYPE_A: u16 = 1;
/// QTYPE of IPv6 addresses (RFC 3596).
pub const TYPE_AAAA: u16 = 28;
/// RCODE of an answer, even of one without records.
pub const NOERROR: u16 = 0;
/// RCODE of a server that cannot read the question.
pub const FORMERR: u16 = 1;
/// RCODE of a server that failed.
pub const SERVFAIL: u16 = 2;
/// RCODE for a name that does not exist, with no record of any type.
pub const NXDOMAIN: u16 = 3;
/// RCODE of a server that does not know the operation.
pub const NOTIMP: u16 = 4;
/// RCODE of a server that will not answer us.
pub const REFUSED: u16 = 5;
const TYPE_CNAME: u16 = 5;
const TYPE_OPT: u16 = 41;
/// Bytes of an answer that a resolver takes by UDP, as the DNS flag day of 2020 has it: no path fragments them.
pub const UDP_ANSWER_BYTES: u16 = 1232;
/// QTYPE of everything.
const TYPE_ANY: u16 = 255;
const CLASS_IN: u16 = 1;
const HEADER_BYTES: usize = 12;
/// Bytes of a name on the wire, lengths and root included (RFC 1035 3.1).
const NAME_BYTES: usize = 255;
/// CNAMEs that are followed; resolvers stop earlier (unbound at 11).
const MAX_CHAIN: u32 = 16;
/// Bytes of a name as text: each of its bytes may take four.
pub const MAX_TEXT_BYTES: usize = 1024;

/// A name as it stands on the wire without compression, in lower case.
#[derive(Clone, Copy)]
pub struct Name {
    bytes: [u8; NAME_BYTES],
    len: u8,
}

impl Name {
    /// Lengths and labels, the root's zero included.
    pub fn wire(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        for byte in bytes {
            *self.bytes.get_mut(usize::from(self.len)).ok_or(Malformed)? = byte.to_ascii_lowercase();
            // At most NAME_BYTES, which a byte holds.
            self.len += 1;
        }
        Ok(())
    }

    /// As text, written to `room`; the root is `.`.
    pub fn text<'a>(&self, room: &'a mut [u8; MAX_TEXT_BYTES]) -> &'a str {
        let mut len = 0;
        let mut put = |byte: u8| {
            if let Some(place) = room.get_mut(len) {
                *place = byte;
                len += 1;
            }
        };
        let mut rest = self.wire();
        let mut first = true;
        while let [length, tail @ ..] = rest {
            let Some((label, next)) = tail.split_at_checked(usize::from(*length)).filter(|_| *length > 0) else {
                break;
            };
            if !std::mem::take(&mut first) {
                put(b'.');
            }
            for byte in label {
                match byte {
                    b'.' | b'\\' => [b'\\', *byte].into_iter().for_each(&mut put),
                    b'!'..=b'~' => put(*byte),
                    _ => [b'\\', b'0' + byte / 100, b'0' + byte / 10 % 10, b'0' + byte % 10]
                        .into_iter()
                        .for_each(&mut put),
                }
            }
            rest = next;
        }
        if first {
            put(b'.');
        }
        // Nothing but ASCII was put.
        room.get(..len).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default()
    }
}

/// Reads the name at `at` and returns where what follows it begins. `None`: the message ends within it.
fn name(message: &[u8], at: usize) -> Result<Option<(Name, usize)>, Malformed> {
    let mut name = Name { bytes: [0; NAME_BYTES], len: 0 };
    let mut after = None;
    let mut at = at;
    // Where the part that is being read began: a pointer must lead to before it.
    let mut began = at;
    loop {
        let Some(length) = message.get(at).copied() else { return Ok(None) };
        match length {
            0 => {
                name.push(&[0])?;
                return Ok(Some((name, after.unwrap_or(at + 1))));
            }
            1..=63 => {
                let Some(label) = message.get(at..at + 1 + usize::from(length)) else { return Ok(None) };
                name.push(label)?;
                at += label.len();
            }
            192..=255 => {
                let Some(low) = message.get(at + 1) else { return Ok(None) };
                let target = usize::from(length & 63) << 8 | usize::from(*low);
                if target >= began {
                    return Err(Malformed);
                }
                after.get_or_insert(at + 2);
                (at, began) = (target, target);
            }
            _ => return Err(Malformed),
        }
    }
}

fn number<const N: usize>(message: &[u8], at: usize) -> Option<[u8; N]> {
    message.get(at..)?.first_chunk().copied()
}

fn u16_at(message: &[u8], at: usize) -> Option<u16> {
    number(message, at).map(u16::from_be_bytes)
}

/// A message with one question of class IN: asked, or answered.
pub struct Message<'a> {
    bytes: &'a [u8],
    /// What the client chose to know the answer by.
    pub id: u16,
    pub name: Name,
    /// QTYPE.
    pub kind: u16,
    pub is_answer: bool,
    /// TC: there is more than what fits.
    pub is_truncated: bool,
    /// RCODE, one of RFC 1035 4.1.1 and later.
    pub code: u16,
    /// Where the answer's records begin, and how many there are said to be.
    records: (usize, u16),
}

/// What an answer held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Addresses handed over.
    pub addresses: u32,
    /// Records are missing: it is truncated, or ends before what it announces.
    pub is_short: bool,
}

impl<'a> Message<'a> {
    /// Reads header and question. Refused are several questions, none, and other operations than QUERY.
    pub fn read(bytes: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let word = |at| u16_at(bytes, at).ok_or(Malformed);
        let (id, flags, questions, answers) = (word(0)?, word(2)?, word(4)?, word(6)?);
        if flags & 0x7800 != 0 || questions != 1 {
            return Err(Malformed);
        }
        let (name, at) = name(bytes, HEADER_BYTES)?.ok_or(Malformed)?;
        let (kind, class) = (word(at)?, word(at + 2)?);
        if class != CLASS_IN {
            return Err(Malformed);
        }
        Ok(Message {
            bytes,
            id,
            name,
            kind,
            is_answer: flags & 0x8000 != 0,
            is_truncated: flags & 0x0200 != 0,
            code: flags & 0x000f,
            records: (at + 4, answers),
        })
    }

    /// Hands over the addresses of the asked kind that the asked name leads to, each with the least TTL of its way in
    /// seconds. An answer that is no success has none.
    pub fn addresses(&self, each: &mut dyn FnMut(Addr, u32)) -> Result<Found, Malformed> {
        let mut found = Found { addresses: 0, is_short: self.is_truncated };
        let mut end = self.name;
        let mut least_ttl = u32::MAX;
        let mut links = 0;
        if self.code != NOERROR {
            return Ok(found);
        }
        // Usually in the order of the chain, so that one pass finds its end; any other order takes further ones.
        loop {
            let before = links;
            found.is_short |= self.each_record(&mut |record| {
                if record.kind == TYPE_CNAME && record.owner.wire() == end.wire() {
                    let (target, _) = name(self.bytes, record.data_at)?.ok_or(Malformed)?;
                    (end, least_ttl) = (target, least_ttl.min(record.ttl));
                    links += 1;
                }
                if links > MAX_CHAIN { Err(Malformed) } else { Ok(()) }
            })?;
            if links == before {
                break;
            }
        }
        self.each_record(&mut |record| {
            if (self.kind != record.kind && self.kind != TYPE_ANY) || record.owner.wire() != end.wire() {
                return Ok(());
            }
            let address = match (record.kind, record.data) {
                (TYPE_A, data) => Addr::from_v4(data.try_into().map_err(|_| Malformed)?),
                (TYPE_AAAA, data) => Addr::from_v6(data.try_into().map_err(|_| Malformed)?),
                _ => return Ok(()),
            };
            found.addresses += 1;
            each(address, least_ttl.min(record.ttl));
            Ok(())
        })?;
        Ok(found)
    }

    /// Walks the records of the answer; returns whether some are missing.
    fn each_record(&self, each: &mut dyn FnMut(&Record<'_>) -> Result<(), Malformed>) -> Result<bool, Malformed> {
        let (mut at, count) = self.records;
        for _ in 0..count {
            let Some((owner, fixed)) = name(self.bytes, at)? else { return Ok(true) };
            let data_at = fixed + 10;
            let words = (u16_at(self.bytes, fixed), u16_at(self.bytes, fixed + 2), u16_at(self.bytes, fixed + 8));
            let (Some(kind), Some(class), Some(length)) = words else { return Ok(true) };
            let ttl = number(self.bytes, fixed + 4).map_or(0, u32::from_be_bytes);
            at = data_at + usize::from(length);
            let Some(data) = self.bytes.get(data_at..at) else { return Ok(true) };
            // RFC 2181 8: with the most significant bit set it is zero.
            let ttl = if ttl >> 31 == 1 { 0 } else { ttl };
            if class == CLASS_IN {
                each(&Record { owner, kind, ttl, data, data_at })?;
            }
        }
        Ok(false)
    }
}

struct Record<'a> {
    owner: Name,
    kind: u16,
    ttl: u32,
    data: &'a [u8],
    data_at: usize,
}

/// A question for the records of one type, to be answered recursively; with EDNS0 (RFC 6891) where `edns`. The name is
/// text with or without the final dot, and without escapes.
pub fn question(id: u16, name: &str, kind: u16, edns: bool) -> Result<Vec<u8>, Malformed> {
    let mut message = Vec::with_capacity(HEADER_BYTES + NAME_BYTES + 15);
    for word in [id, 0x0100, 1, 0, 0, u16::from(edns)] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    for label in name.strip_suffix('.').unwrap_or(name).split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length)).ok_or(Malformed)?;
        message.push(length);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    if message.len() > HEADER_BYTES + NAME_BYTES {
        return Err(Malformed);
    }
    for word in [kind, CLASS_IN] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    if edns {
        // The root's name, the type, the size of an answer, no extended code, version 0, no flags and no data.
        message.push(0);
        message.extend_from_slice(&TYPE_OPT.to_be_bytes());
        message.extend_from_slice(&UDP_ANSWER_BYTES.to_be_bytes());
        message.extend_from_slice(&[0; 6]);
    }
    Ok(message)
}

/// The next message of a TCP segment (RFC 1035 4.2.2) and what follows it; `None` where it is not whole.
pub fn next_of_segment(segment: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = usize::from(u16_at(segment, 0)?);
    segment.get(2..)?.split_at_checked(length)
}

#[cfg(test)]
mod tests;
