//! An IP address in 16 bytes, and a range of addresses.
//!
//! Knows nothing of what has the address.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address of either family in 16 bytes; IPv4 is stored as `::ffff:a.b.c.d` (RFC 4291 2.5.5.2).
///
/// [`IpAddr`] would need 17 and pad to more in every table; this compares and hashes as plain bytes.
#[derive(Clone, Copy, Eq, Default)]
pub struct Addr([u8; 16]);

impl Addr {
    /// `::`: no IPv6 address.
    pub const UNSPECIFIED_V6: Addr = Addr([0; 16]);
    /// `0.0.0.0`: no IPv4 address.
    pub const UNSPECIFIED_V4: Addr = Addr::from_v4([0; 4]);

    const LOOPBACK_V6: Addr = Addr([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// From four bytes in network order.
    pub const fn from_v4(b: [u8; 4]) -> Addr {
        Addr([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, b[0], b[1], b[2], b[3]])
    }

    /// From sixteen bytes in network order.
    pub const fn from_v6(b: [u8; 16]) -> Addr {
        Addr(b)
    }

    /// From sixteen bytes as a number, the first byte the highest.
    #[inline(always)]
    pub const fn from_number(number: u128) -> Addr {
        Addr(number.to_be_bytes())
    }

    /// The sixteen bytes as a number, the first byte the highest.
    #[inline(always)]
    pub const fn number(&self) -> u128 {
        u128::from_be_bytes(self.0)
    }

    /// Whether it is an IPv4 address.
    #[inline(always)]
    pub fn is_v4(&self) -> bool {
        self.number() >> 32 == 0xffff
    }

    /// Whether it is `0.0.0.0` or `::`.
    pub fn is_unspecified(&self) -> bool {
        *self == Addr::UNSPECIFIED_V4 || *self == Addr::UNSPECIFIED_V6
    }

    /// The sixteen bytes, IPv4 mapped.
    pub const fn octets(&self) -> &[u8; 16] {
        &self.0
    }

    /// Loopback addresses: 127/8 and `::1`.
    #[inline]
    pub fn is_loopback(&self) -> bool {
        if self.is_v4() { self.0[12] == 127 } else { *self == Addr::LOOPBACK_V6 }
    }

    /// Addresses that no router passes on: 169.254/16 and fe80::/10.
    pub fn is_link_local(&self) -> bool {
        if self.is_v4() { self.0[12..14] == [169, 254] } else { self.0[0] == 0xfe && self.0[1] & 0xc0 == 0x80 }
    }

    /// As the standard library's type.
    pub fn to_ip(self) -> IpAddr {
        if self.is_v4() {
            IpAddr::V4(Ipv4Addr::new(self.0[12], self.0[13], self.0[14], self.0[15]))
        } else {
            IpAddr::V6(Ipv6Addr::from(self.0))
        }
    }
}

// As a word: comparing bytes is a call where the release is optimised for size, and musl's goes byte by byte.
impl PartialEq for Addr {
    #[inline(always)]
    fn eq(&self, other: &Addr) -> bool {
        self.number() == other.number()
    }
}

// For the same reason; a search among the pods' addresses compares some ten times.
impl Ord for Addr {
    #[inline(always)]
    fn cmp(&self, other: &Addr) -> Ordering {
        self.number().cmp(&other.number())
    }
}

impl PartialOrd for Addr {
    #[inline(always)]
    fn partial_cmp(&self, other: &Addr) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

// One word instead of a length and sixteen bytes: tables hash two or three addresses per record.
impl Hash for Addr {
    #[inline(always)]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(u128::from_ne_bytes(self.0));
    }
}

impl From<IpAddr> for Addr {
    fn from(ip: IpAddr) -> Addr {
        match ip {
            IpAddr::V4(v4) => Addr::from_v4(v4.octets()),
            IpAddr::V6(v6) => Addr(v6.octets()),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_ip().fmt(f)
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A change of the host's own addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressChange {
    /// The host has this address now.
    Added(Addr),
    /// No device of the host has it any more.
    Removed(Addr),
}

/// A range of addresses, `10.0.0.0/8` or `fd00::/8`. IPv4 prefixes are kept in mapped form (length plus 96).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    base: Addr,
    /// The bits that addresses of the range share. They are stored, for shifting 128 bits is a call where the release
    /// is optimised for size.
    mask: u128,
    /// Of the mapped form: 0 to 128.
    prefix: u8,
}

impl Cidr {
    /// The range that holds `addr` with a prefix in the address's own family (0 to 32, or 0 to 128); host bits are
    /// cleared. `None` where the prefix is too long.
    pub fn new(addr: Addr, prefix: u8) -> Option<Cidr> {
        let mapped = if addr.is_v4() { prefix.checked_add(96)? } else { prefix };
        if mapped > 128 {
            return None;
        }
        let mask = if mapped == 0 { 0 } else { u128::MAX << (128 - mapped) };
        Some(Cidr { base: Addr::from_number(addr.number() & mask), mask, prefix: mapped })
    }

    /// Whether `addr` lies in the range. An IPv4 address lies in no IPv6 range.
    pub fn contains(&self, addr: Addr) -> bool {
        addr.number() & self.mask == self.base.number() && addr.is_v4() == self.base.is_v4()
    }

    /// Whether this range is a true part of `wider`: then `wider` has addresses on both sides of its border.
    pub fn is_narrower_within(&self, wider: &Cidr) -> bool {
        self.prefix > wider.prefix && wider.contains(self.base)
    }

    /// The first address of the range.
    pub fn first(&self) -> Addr {
        self.base
    }

    /// Whether it is a range of IPv4 addresses.
    pub fn is_v4(&self) -> bool {
        self.base.is_v4()
    }

    /// Bits that its addresses share, of its own family: 0 to 32, or 0 to 128.
    pub fn prefix(&self) -> u8 {
        if self.base.is_v4() { self.prefix.saturating_sub(96) } else { self.prefix }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix())
    }
}

impl fmt::Debug for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests;
