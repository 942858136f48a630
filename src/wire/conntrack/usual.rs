//! The shapes in which the kernel writes nearly every tuple and counter, known by their headers at fixed offsets. They
//! are two thirds of an entry's attributes and are read without a walk. Anything else is none of them and is walked.
//!
//! Whatever is read here the walk would read alike (a property test); this is for speed alone (`benches/sweep.rs`).
//! Headers are compared one by one, without a loop. A release that is optimised for size does not unroll a loop over a
//! table of them. Such a loop costs more than the walk that it saves.

use super::{Tuple, V4_BITS, V6_BITS, attribute};
use crate::flow::Counts;
use crate::wire::netlink::TYPE_MASK;

/// `CTA_TUPLE_IP`, `CTA_TUPLE_PROTO`: both addresses of a family, then protocol and two ports.
#[inline(always)]
pub(super) fn tuple(value: &[u8]) -> Option<Tuple> {
    let (src, dst, addresses, ports): (u128, u128, u8, &[u8; 28]);
    if let Ok(value) = <&[u8; 48]>::try_from(value) {
        let differing = differing(value, 0, 20, attribute::TUPLE_IP)
            | differing(value, 4, 8, attribute::IP_V4_SRC)
            | differing(value, 12, 8, attribute::IP_V4_DST);
        if differing != 0 {
            return None;
        }
        (src, dst) = (v4(at(value, 8)?), v4(at(value, 16)?));
        (addresses, ports) = (V4_BITS, value.last_chunk()?);
    } else {
        let value = <&[u8; 72]>::try_from(value).ok()?;
        let differing = differing(value, 0, 44, attribute::TUPLE_IP)
            | differing(value, 4, 20, attribute::IP_V6_SRC)
            | differing(value, 24, 20, attribute::IP_V6_DST);
        if differing != 0 {
            return None;
        }
        (src, dst) = (u128::from_be_bytes(at(value, 8)?), u128::from_be_bytes(at(value, 28)?));
        (addresses, ports) = (V6_BITS, value.last_chunk()?);
    }
    let differing = differing(ports, 0, 28, attribute::TUPLE_PROTO)
        | differing(ports, 4, 5, attribute::PROTO_NUM)
        | differing(ports, 12, 6, attribute::PROTO_SRC_PORT)
        | differing(ports, 20, 6, attribute::PROTO_DST_PORT);
    (differing == 0).then_some(Tuple {
        src,
        dst,
        sport: u16::from_be_bytes([ports[16], ports[17]]),
        dport: u16::from_be_bytes([ports[24], ports[25]]),
        protocol: ports[8],
        ct_zone: 0,
        addresses,
        has_protocol: true,
    })
}

/// As [`crate::flow::Addr`] maps it.
#[inline(always)]
fn v4(bytes: [u8; 4]) -> u128 {
    0xffff << 32 | u128::from(u32::from_be_bytes(bytes))
}

/// `CTA_COUNTERS_PACKETS`, `CTA_COUNTERS_BYTES`.
#[inline(always)]
pub(super) fn counts(value: &[u8]) -> Option<Counts> {
    let value = <&[u8; 24]>::try_from(value).ok()?;
    let differing =
        differing(value, 0, 12, attribute::COUNTERS_PACKETS) | differing(value, 12, 12, attribute::COUNTERS_BYTES);
    if differing != 0 {
        return None;
    }
    Some(Counts { packets: u64::from_be_bytes(at(value, 4)?), bytes: u64::from_be_bytes(at(value, 16)?) })
}

/// In which bits the `struct nlattr` at an offset is not this one.
#[inline(always)]
fn differing<const N: usize>(bytes: &[u8; N], offset: usize, len: u16, kind: u16) -> u32 {
    let ([a, b], [c, d]) = (len.to_ne_bytes(), kind.to_ne_bytes());
    let ([e, f], [g, h]) = (u16::MAX.to_ne_bytes(), TYPE_MASK.to_ne_bytes());
    let stands = at(bytes, offset).map_or(u32::MAX, u32::from_ne_bytes);
    (stands ^ u32::from_ne_bytes([a, b, c, d])) & u32::from_ne_bytes([e, f, g, h])
}

#[inline(always)]
fn at<const N: usize, const LEN: usize>(bytes: &[u8; N], offset: usize) -> Option<[u8; LEN]> {
    bytes.get(offset..)?.first_chunk().copied()
}
