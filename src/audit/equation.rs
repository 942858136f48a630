//! The equation of one uplink and direction. What the interface carried is what was counted, by what became of it, plus
//! what is known not to be counted. The rest is unexplained.
//!
//! Pure: knows neither interfaces nor connections, but what they came to.

use crate::flow::Counts;
use crate::listed;

listed! {
    /// The right side of the equation (`part` of `netmon_reconciled_bytes_total`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    #[repr(usize)]
    pub enum Part {
        /// In rows that are pushed, whatever has become of the push.
        Rows => "rows",
        /// In rows that are shown and by rule not pushed.
        Withheld => "withheld",
        /// Of connections without a local end.
        Unattributed => "unattributed",
        /// Counted while the pod was not known.
        Held => "held",
        /// Lost by a reason that is counted.
        Lost => "lost",
        /// The kernel's tunnels around packets that are counted, where the source does not see the tunnels.
        Tunnels => "tunnels",
        /// Of VLANs on top of the interface, which have equations of their own.
        Vlans => "vlans",
        /// Not tracked, or invalid; at most, for there are only their packets to tell by.
        Untracked => "untracked",
        /// Frames too short for any protocol that is counted: ARP and the like.
        NotIp => "not_ip",
        /// Headers of the further frames that one packet became.
        Segmentation => "segmentation",
        /// Nothing of that.
        Unexplained => "unexplained",
    }
}

/// Bytes of ARP behind the frame's header; a frame that came over Ethernet is padded to 46.
const ARP_BYTES: i64 = 28;
const PADDED_BYTES: i64 = 46;
/// No packet of TCP is shorter.
const LEAST_TCP_BYTES: i64 = 40;
/// More bytes than headers that a frame of the usual length has.
const FRAME_BYTES: i64 = 1_448;
/// What options may add to a header of TCP: selective acknowledgements.
const OPTION_BYTES: i64 = 12;
/// Headers that links have: none, or Ethernet's, with as many as two tags of VLANs; a link may count the tags alone. Any
/// other mean is of frames and packets that are not the same ones.
const HEADERS: [i64; 6] = [0, 4, 8, 14, 18, 22];
/// The shortest packet of neighbour discovery, and the longest that is believed: reports of many groups.
const ODD_BYTES: (i64, i64) = (48, 256);
/// Packets from which on a window tells the header of a link.
const LEAST_PACKETS: u64 = 4;
/// So many frames outweigh one that is counted on one side only, whatever its length.
const FRAMES_TO_AN_EDGE: u64 = 2_048;

/// What the further frames of packets may add.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Segments {
    /// Frames beyond one for each packet, and the bytes of their layer-3 and layer-4 headers, as far as is known.
    pub more: Counts,
    /// So many of them there are at most.
    pub most_frames: u64,
    /// The smallest and the largest of these headers.
    pub least: u64,
    /// See `least`.
    pub most: u64,
}

impl Segments {
    /// Adds what one increment has added that is known.
    pub fn add(&mut self, more: Counts) {
        if more.packets > 0 {
            self.add_estimate(more, more.packets, more.bytes / more.packets, more.bytes.div_ceil(more.packets));
        }
    }

    /// Adds what one increment is believed to have added; at most so many frames of such headers.
    pub fn add_estimate(&mut self, more: Counts, most_frames: u64, least: u64, most: u64) {
        if most_frames == 0 {
            return;
        }
        self.least = if self.most_frames == 0 { least } else { self.least.min(least) };
        self.most = self.most.max(most);
        self.most_frames = self.most_frames.saturating_add(most_frames);
        self.more += more;
    }
}

/// Packets that the source leaves out, as far as the kernel counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Odd {
    /// Of this interface and direction: neighbour discovery and its like.
    pub packets: u64,
    /// Of whatever interface: ones that conntrack called invalid, errors about connections.
    pub at_most: u64,
}

/// One direction of one uplink, since the audit began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Side {
    /// Frames, and bytes with the link's headers, by the interface.
    pub carried: Counts,
    /// Packets and bytes that were counted, by what became of them: all parts up to [`Part::Vlans`].
    pub counted: [Counts; Part::Untracked as usize],
    /// What segmentation may have added to them.
    pub segments: Segments,
    /// Bytes of the link's header that the interface counts with each frame.
    pub header_bytes: u64,
    /// Whether traffic told it; else the type of the link did.
    pub is_measured: bool,
    /// What the last window told it to be.
    told: Option<u64>,
    /// Where the last window ended.
    last: (Counts, Counts),
}

/// The equation, solved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// Layer-3 bytes of the interface.
    pub layer3_bytes: u64,
    /// Its sum is `layer3_bytes`. Segmentation is negative where the interface counts fewer packets than the source, what
    /// is unexplained where the source counts more bytes.
    pub parts: [i64; Part::ALL.len()],
}

impl Closed {
    /// One part.
    pub fn part(&self, part: Part) -> i64 {
        self.parts[part as usize]
    }

    /// What is unexplained, in millionths of what the interface carried.
    #[cfg(not(alone))]
    pub fn unexplained_ppm(&self) -> u64 {
        let unexplained = self.part(Part::Unexplained).unsigned_abs();
        unexplained.saturating_mul(1_000_000).checked_div(self.layer3_bytes).unwrap_or(0)
    }
}

impl Side {
    /// Nothing yet, over a link whose type has headers of so many bytes.
    pub fn new(header_bytes: u64) -> Side {
        Side {
            carried: Counts::ZERO,
            counted: [Counts::ZERO; Part::Untracked as usize],
            segments: Segments::default(),
            header_bytes,
            is_measured: false,
            told: None,
            last: (Counts::ZERO, Counts::ZERO),
        }
    }

    /// The same link, from now on.
    pub fn again(&self) -> Side {
        Side { is_measured: self.is_measured, ..Side::new(self.header_bytes) }
    }

    /// Frames, and their bytes of layer 3.
    pub fn layer3(&self) -> Counts {
        let headers = self.carried.packets.saturating_mul(self.header_bytes);
        Counts { bytes: self.carried.bytes.saturating_sub(headers), ..self.carried }
    }

    /// All that was counted.
    pub fn sum(&self) -> Counts {
        self.counted.iter().fold(Counts::ZERO, |sum, part| sum + *part)
    }

    /// Ends a window. Where each frame of it was one counted packet, the difference in bytes is the link's headers. Two
    /// windows that agree overrule the header of the link's type. A virtual link may count none, or only on one side. A
    /// few frames at the edges of a busy window do not matter: the others outweigh them.
    #[allow(clippy::cast_possible_wrap, clippy::cast_sign_loss, reason = "no window has 2^63 bytes; within bounds")]
    pub fn end_window(&mut self) {
        let now = (self.carried, self.sum());
        let (frames, counted) = (now.0 - self.last.0, now.1 - self.last.1);
        self.last = now;
        let at_the_edges = frames.packets.abs_diff(counted.packets);
        if frames.packets < LEAST_PACKETS || at_the_edges.saturating_mul(FRAMES_TO_AN_EDGE) > frames.packets {
            return;
        }
        let (packets, headers) = (frames.packets as i64, frames.bytes as i64 - counted.bytes as i64);
        let header = (headers + packets / 2).div_euclid(packets);
        if !HEADERS.contains(&header) || (headers - header * packets).abs() > packets / 8 {
            return;
        }
        let header = header as u64;
        if self.told == Some(header) {
            self.header_bytes = header;
            self.is_measured = true;
        }
        self.told = Some(header);
    }

    /// Solves it.
    #[allow(clippy::cast_possible_wrap, reason = "no interface carries 8 EiB")]
    pub fn close(&self, odd: Odd) -> Closed {
        let layer3_bytes = self.layer3().bytes;
        let sum = self.sum();
        let mut closed = Closed { layer3_bytes, ..Closed::default() };
        for (to, from) in closed.parts.iter_mut().zip(&self.counted) {
            *to = from.bytes as i64;
        }
        let mut rest = Rest {
            frames: self.carried.packets as i64 - sum.packets as i64,
            bytes: layer3_bytes as i64 - sum.bytes as i64,
        };
        // Where nothing seems to have been cut, all that can be ARP is.
        let arp = if self.segments.more.packets == 0 { rest.take_arp_beside(odd) } else { 0 };
        // These are frames of their own, whatever the others are.
        let mut set_aside = (odd.packets as i64).min(rest.frames.max(0));
        rest.frames -= set_aside;
        let large = rest.large_frames(&self.segments).min(rest.frames.max(0));
        let mut aside = Some(set_aside);
        if large > 0 && large <= odd.at_most as i64 {
            rest.frames -= large;
            set_aside += large;
            aside = None;
        }
        closed.parts[Part::Segmentation as usize] = rest.take_segments(&self.segments, aside);
        rest.frames += set_aside;
        closed.parts[Part::NotIp as usize] = arp + rest.take_short() + rest.take_arp_beside(odd);
        closed.parts[Part::Untracked as usize] = rest.take_odd(odd.packets.saturating_add(odd.at_most) as i64);
        closed.parts[Part::Unexplained as usize] = rest.bytes;
        closed
    }
}

/// Frames without a packet, and bytes, for which there is no explanation yet.
#[derive(Clone, Copy)]
struct Rest {
    frames: i64,
    bytes: i64,
}

impl Rest {
    fn take(&mut self, frames: i64, bytes: i64) -> i64 {
        self.frames -= frames;
        self.bytes -= bytes;
        bytes
    }

    /// An interface may count frames, or the packets that they are cut from. So its own count tells how many frames
    /// there are. The source knows only how many there can be, and what headers they have. `aside`: so many short
    /// packets have bytes here too; `None` if others have.
    #[allow(clippy::cast_possible_wrap, reason = "no interface carries 2^63 frames")]
    fn take_segments(&mut self, segments: &Segments, aside: Option<i64>) -> i64 {
        let (frames, bytes) = (segments.more.packets as i64, segments.more.bytes as i64);
        let most_frames = segments.most_frames as i64;
        // Headers come to that by chance alone.
        let is_arp = self.bytes == self.frames * ARP_BYTES;
        if most_frames == 0 || self.frames == 0 || is_arp {
            return 0;
        }
        if self.frames > most_frames {
            // Others are among them. What can be of segments is, unless there is too little for it.
            return if self.bytes >= bytes { self.take(frames, bytes) } else { 0 };
        }
        if self.frames < 0 {
            // Packets that were cut before they were counted: each of them has a header that the interface did not see.
            let is_of_headers = self.bytes <= self.frames * 20 && self.bytes >= self.frames * 80;
            return if is_of_headers { self.take(self.frames, self.bytes) } else { 0 };
        }
        // Options vary.
        let (least, most) = (segments.least as i64, segments.most as i64 + OPTION_BYTES);
        if let Some(aside) = aside {
            let (shortest, longest) = (self.frames * least, self.frames * most);
            if self.bytes >= shortest + aside * ODD_BYTES.0 && self.bytes <= longest + aside * ODD_BYTES.1 {
                // How the two share the bytes does not change what is unexplained.
                let at_least = shortest.max(self.bytes - aside * ODD_BYTES.1);
                let at_most = longest.min(self.bytes - aside * ODD_BYTES.0);
                let usual = self.frames * bytes.checked_div(frames).unwrap_or(least);
                return self.take(self.frames, usual.clamp(at_least, at_most));
            }
        }
        // Some of them are too short for that: so many of 28 bytes, the others of the usual header.
        let header = bytes.checked_div(frames).unwrap_or(least);
        if header <= ARP_BYTES {
            return 0;
        }
        let found = ((self.bytes - ARP_BYTES * self.frames) / (header - ARP_BYTES)).clamp(0, self.frames);
        self.take(found, found * header)
    }

    /// The least number of frames that are more than a header, where all of them as headers would be too little.
    #[allow(clippy::cast_possible_wrap, reason = "no interface carries 8 EiB")]
    fn large_frames(&self, segments: &Segments) -> i64 {
        let header = segments.most as i64;
        let beyond = self.bytes - self.frames.saturating_mul(header);
        if segments.most_frames == 0 || beyond <= 0 { 0 } else { beyond / FRAME_BYTES + 1 }
    }

    fn take_short(&mut self) -> i64 {
        let Rest { frames, bytes } = *self;
        let is_short = bytes >= frames * ARP_BYTES && bytes < frames * LEAST_TCP_BYTES;
        if frames > 0 && (is_short || bytes == frames * PADDED_BYTES) { self.take(frames, bytes) } else { 0 }
    }

    /// ARP among packets of which at most so many are there; only as many frames are not ARP as there have to be.
    #[allow(clippy::cast_possible_wrap, reason = "no interface carries 2^63 frames")]
    fn take_arp_beside(&mut self, odd: Odd) -> i64 {
        let beyond = self.bytes - self.frames * ARP_BYTES;
        let others = (beyond + ODD_BYTES.1 - ARP_BYTES - 1).div_euclid(ODD_BYTES.1 - ARP_BYTES);
        let are_known = others <= odd.packets.saturating_add(odd.at_most) as i64;
        let is_enough = others > 0 && beyond >= others * (ODD_BYTES.0 - ARP_BYTES);
        let arp = self.frames - others;
        if arp > 0 && are_known && is_enough { self.take(arp, arp * ARP_BYTES) } else { 0 }
    }

    fn take_odd(&mut self, odd_packets: i64) -> i64 {
        let Rest { frames, bytes } = *self;
        if frames > 0 && bytes > 0 && frames <= odd_packets { self.take(frames, bytes) } else { 0 }
    }
}

#[cfg(test)]
mod tests;
