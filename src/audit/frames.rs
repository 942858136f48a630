//! How many frames packets become, where the source counts what the kernel hands over and not the frames (rule 17).
//!
//! Pure: knows lengths and headers, nothing of links.

use crate::flow::{Counts, TxRx, protocol};

/// TCP's timestamps, with their padding.
const TIMESTAMPS: u64 = 12;
const TCP_HEADER: u64 = 20;

/// Bytes of the IP header that every frame has, without options.
fn ip_header(is_v4: bool) -> u64 {
    if is_v4 { 20 } else { 40 }
}

/// How many frames beyond one for each packet an increment of one way can have become at most, and the header of each.
pub fn limit(counts: Counts, protocol: u8, is_v4: bool, mtu: u32, has_timestamps: bool) -> (u64, u64) {
    let more = more(counts, protocol, is_v4, mtu, has_timestamps);
    if protocol != self::protocol::TCP {
        let header = more.bytes.checked_div(more.packets).unwrap_or(0);
        // Longer and shorter ones make a mean.
        return if counts.bytes > u64::from(mtu) && mtu >= 68 {
            (counts.bytes / u64::from(mtu) + counts.packets, header.max(ip_header(is_v4)))
        } else {
            (0, 0)
        };
    }
    if mtu < 68 || counts.bytes <= u64::from(mtu) {
        return (0, 0);
    }
    let header = ip_header(is_v4) + TCP_HEADER + if has_timestamps { TIMESTAMPS } else { 0 };
    let payload = counts.bytes.saturating_sub(header.saturating_mul(counts.packets));
    (payload.div_ceil(u64::from(mtu).saturating_sub(header).max(1)), header)
}

/// What an increment of one way adds on the wire to its bytes and packets, by the largest layer-3 length. TCP fills its
/// frames, but for the last of some packets; whatever else is longer than a frame, by its mean, goes in fragments. Packets
/// of TCP without data leave room that others seem to fill, so in a mix it is rather too little.
pub fn more(counts: Counts, protocol: u8, is_v4: bool, mtu: u32, has_timestamps: bool) -> Counts {
    let (mtu, ip) = (u64::from(mtu), ip_header(is_v4));
    // No link carries less (RFC 791), so it is not known.
    if mtu < 68 || counts.bytes <= mtu {
        return Counts::ZERO;
    }
    if protocol == self::protocol::TCP {
        let header = ip + TCP_HEADER + if has_timestamps { TIMESTAMPS } else { 0 };
        let payload = counts.bytes.saturating_sub(header.saturating_mul(counts.packets));
        let filled = payload.div_ceil(mtu.saturating_sub(header).max(1));
        let packets = filled.saturating_add(cut_short(filled, counts.packets)).saturating_sub(counts.packets);
        return Counts { bytes: packets.saturating_mul(header), packets };
    }
    let Some(mean) = counts.bytes.checked_div(counts.packets).filter(|mean| *mean > mtu) else { return Counts::ZERO };
    // IPv6 has a header of 8 bytes in each fragment, the first one too.
    let fragment = if is_v4 { 0 } else { 8 };
    let room = mtu.saturating_sub(ip + fragment) & !7;
    let fragments = mean.saturating_sub(ip).div_ceil(room.max(8));
    let packets = counts.packets.saturating_mul(fragments - 1);
    let bytes = packets.saturating_mul(ip + fragment).saturating_add(counts.packets.saturating_mul(fragment));
    Counts { bytes, packets }
}

/// Frames more, because the last of a packet need not be full. A sender that waits for room in its buffer sends what it
/// has, and its last frame ends anywhere. One that waits for the network, or sends few frames at once, sends full ones.
/// On a fast link a quarter to half of packets of ten frames were seen to end so. Two fifths of the longest, none of
/// two frames, are wrong by a thousandth of the bytes at most, whichever it is.
fn cut_short(filled: u64, packets: u64) -> u64 {
    let beyond_two = filled.saturating_sub(packets.saturating_mul(2));
    packets.saturating_mul(beyond_two).saturating_mul(2).checked_div(filled.saturating_mul(5)).unwrap_or(0)
}

/// Both ways of an increment.
pub fn more_of(counts: TxRx, protocol: u8, is_v4: bool, mtu: u32, has_timestamps: bool) -> TxRx {
    TxRx {
        tx: more(counts.tx, protocol, is_v4, mtu, has_timestamps),
        rx: more(counts.rx, protocol, is_v4, mtu, has_timestamps),
    }
}

#[cfg(test)]
mod tests;
