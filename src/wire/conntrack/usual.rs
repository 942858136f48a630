//! The shapes in which the kernel writes nearly every tuple and counter, known by their headers at fixed offsets: two
//! thirds of an entry's attributes, read without a walk. Anything else is none of them and is walked.
//!
//! Whatever is read here the walk would read alike (a property test); this is for speed alone (`benches/sweep.rs`).

use super::{Tuple, V4_BITS, V6_BITS, attribute};
use crate::flow::{Addr, Counts};
use crate::wire::netlink::TYPE_MASK;

/// A header at an offset: its length and type.
type Header = (usize, u16, u16);

/// `CTA_TUPLE_IP`, `CTA_TUPLE_PROTO`: both addresses of a family, then protocol and two ports.
#[inline(always)]
pub(super) fn tuple(value: &[u8]) -> Option<Tuple> {
    const V4: [Header; 3] = [(0, 20, attribute::TUPLE_IP), (4, 8, attribute::IP_V4_SRC), (12, 8, attribute::IP_V4_DST)];
    const V6: [Header; 3] =
        [(0, 44, attribute::TUPLE_IP), (4, 20, attribute::IP_V6_SRC), (24, 20, attribute::IP_V6_DST)];
    const PORTS: [Header; 4] = [
        (0, 28, attribute::TUPLE_PROTO),
        (4, 5, attribute::PROTO_NUM),
        (12, 6, attribute::PROTO_SRC_PORT),
        (20, 6, attribute::PROTO_DST_PORT),
    ];
    let (src, dst, addresses, rest) = match value.len() {
        48 => {
            let (ip, rest) = value.split_first_chunk::<20>()?;
            has(ip, &V4)?;
            (Addr::from_v4(at(ip, 8)?), Addr::from_v4(at(ip, 16)?), V4_BITS, rest)
        }
        72 => {
            let (ip, rest) = value.split_first_chunk::<44>()?;
            has(ip, &V6)?;
            (Addr::from_v6(at(ip, 8)?), Addr::from_v6(at(ip, 28)?), V6_BITS, rest)
        }
        _ => return None,
    };
    let ports = rest.first_chunk::<28>()?;
    has(ports, &PORTS)?;
    Some(Tuple {
        src,
        dst,
        sport: u16::from_be_bytes(at(ports, 16)?),
        dport: u16::from_be_bytes(at(ports, 24)?),
        protocol: ports[8],
        zone: 0,
        addresses,
        has_protocol: true,
    })
}

/// `CTA_COUNTERS_PACKETS`, `CTA_COUNTERS_BYTES`.
#[inline(always)]
pub(super) fn counts(value: &[u8]) -> Option<Counts> {
    const COUNTERS: [Header; 2] = [(0, 12, attribute::COUNTERS_PACKETS), (12, 12, attribute::COUNTERS_BYTES)];
    let value: &[u8; 24] = value.try_into().ok()?;
    has(value, &COUNTERS)?;
    Some(Counts { packets: u64::from_be_bytes(at(value, 4)?), bytes: u64::from_be_bytes(at(value, 16)?) })
}

/// `None` unless these headers stand there. Compared all at once: they nearly always do.
#[inline(always)]
fn has<const N: usize, const HEADERS: usize>(bytes: &[u8; N], headers: &[Header; HEADERS]) -> Option<()> {
    const MASK: u32 = header(u16::MAX, TYPE_MASK);
    let mut differing = 0;
    for (offset, len, kind) in *headers {
        differing |= u32::from_ne_bytes(at(bytes, offset)?) ^ header(len, kind);
    }
    (differing & MASK == 0).then_some(())
}

/// `struct nlattr`, in the byte order of this machine.
const fn header(len: u16, kind: u16) -> u32 {
    let ([a, b], [c, d]) = (len.to_ne_bytes(), kind.to_ne_bytes());
    u32::from_ne_bytes([a, b, c, d])
}

#[inline(always)]
fn at<const N: usize, const LEN: usize>(bytes: &[u8; N], offset: usize) -> Option<[u8; LEN]> {
    bytes.get(offset..)?.first_chunk().copied()
}
