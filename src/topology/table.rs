//! The longest range that holds an address: sorted ranges, each with the number of the one around it.
//!
//! Ranges are nested or apart. So the last range that begins at or before an address holds it, or one around that range
//! does, or none does. A look-up is one binary search and, as a rule, one step. A range of IPv4 takes 12 bytes, one of
//! IPv6 24. Nothing is allocated after the table is made.
//!
//! Knows what a range says; not what follows from it.

use std::fmt;

use super::scope::{Scope, Via};
use crate::flow::{Addr, Cidr};

/// Ranges at most, of both families together.
pub const MAX_RANGES: usize = 65_536;

/// What is said of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The scope, whatever the place.
    pub scope: Option<Scope>,
    /// What stands on the way.
    pub via: Via,
    /// Number of the service; 0 is none.
    pub service: u8,
    /// Number of zone and region; 0 is not said.
    pub place: u16,
    /// Whether the range is a single address. Set by [`Table::find`].
    pub is_single: bool,
}

impl Said {
    fn way(&self) -> u8 {
        self.scope.map_or(NO_SCOPE, |scope| scope as u8) | (self.via as u8) << 3
    }
}

/// In the place of a scope: no scope has this number.
const NO_SCOPE: u8 = 7;

/// Why no table can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// More ranges than [`MAX_RANGES`].
    TooMany,
    /// Something else is said of a range that was there before.
    Contradicted(Cidr),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::TooMany => write!(f, "more than {MAX_RANGES} ranges (join neighbours that say the same)"),
            Refused::Contradicted(range) => write!(f, "two lines say different things of {range}"),
        }
    }
}

impl std::error::Error for Refused {}

/// Ranges on their way into a table.
#[derive(Default)]
pub struct Builder {
    v4: Vec<Range<u32>>,
    v6: Vec<Range<Wide>>,
    /// There is no room for another range; they are sorted then.
    is_full: bool,
}

impl Builder {
    /// Adds a range. The same may be said of it again.
    ///
    /// # Errors
    /// [`Refused::TooMany`], or [`Refused::Contradicted`] where that is seen already.
    pub fn add(&mut self, range: Cidr, said: Said) -> Result<(), Refused> {
        if !self.is_full && self.v4.len() + self.v6.len() >= MAX_RANGES {
            self.v4.sort_and_join()?;
            self.v6.sort_and_join()?;
            self.is_full = self.v4.len() + self.v6.len() >= MAX_RANGES;
        }
        match range.is_v4() {
            true => add_to(&mut self.v4, Range::new(narrow(range.first()), range.prefix(), said), self.is_full, range),
            false => add_to(&mut self.v6, Range::new(wide(range.first()), range.prefix(), said), self.is_full, range),
        }
    }

    /// Gives each range another place.
    pub fn replace_places(&mut self, mut other: impl FnMut(u16) -> u16) {
        self.v4.iter_mut().for_each(|range| range.place = other(range.place));
        self.v6.iter_mut().for_each(|range| range.place = other(range.place));
    }

    /// The table.
    ///
    /// # Errors
    /// [`Refused::Contradicted`].
    pub fn finish(mut self) -> Result<Table, Refused> {
        self.v4.sort_and_join()?;
        self.v6.sort_and_join()?;
        Ok(Table { v4: linked(self.v4), v6: linked(self.v6) })
    }
}

/// Adds a range, or where there is no room finds it among those that are there, which are sorted then.
fn add_to<B: Bits>(ranges: &mut Vec<Range<B>>, range: Range<B>, is_full: bool, written: Cidr) -> Result<(), Refused> {
    if !is_full {
        ranges.push(range);
        return Ok(());
    }
    let found = ranges.binary_search_by_key(&(range.first, range.prefix), |other| (other.first, other.prefix));
    match found.ok().and_then(|at| ranges.get(at)) {
        None => Err(Refused::TooMany),
        Some(there) if there.says() == range.says() => Ok(()),
        Some(_) => Err(Refused::Contradicted(written)),
    }
}

/// Ranges by their first address.
#[derive(Clone, Default)]
pub struct Table {
    v4: Box<[Range<u32>]>,
    v6: Box<[Range<Wide>]>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ranges", self.len())
    }
}

impl Table {
    /// Ranges in it.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// The same, and these ranges where it does not have them, each with its place.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn with(&self, more: &[(Cidr, u16)]) -> Result<Table, Refused> {
        let mut builder = Builder { v4: self.v4.to_vec(), v6: self.v6.to_vec(), is_full: false };
        for (range, place) in more {
            let has = match range.is_v4() {
                true => has(&self.v4, narrow(range.first()), range.prefix()),
                false => has(&self.v6, wide(range.first()), range.prefix()),
            };
            if !has {
                let said = Said { scope: None, via: Via::None, service: 0, place: *place, is_single: false };
                builder.add(*range, said)?;
            }
        }
        builder.finish()
    }

    /// Bytes that its ranges take.
    #[cfg(not(alone))]
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.v4) + size_of_val(&*self.v6)
    }

    /// What the longest range that holds an address says.
    #[inline]
    pub fn find(&self, addr: Addr) -> Option<Said> {
        if addr.is_v4() { find(&self.v4, narrow(addr)) } else { find(&self.v6, wide(addr)) }
    }
}

/// An IPv6 address as two words: comparing 128 bits at once would align a range to 16 bytes, and make it 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Wide(u64, u64);

#[allow(
    clippy::cast_possible_truncation,
    reason = "the wanted bits of an address, or a position within the bound of ranges"
)]
fn narrow(addr: Addr) -> u32 {
    addr.number() as u32
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "the wanted bits of an address, or a position within the bound of ranges"
)]
fn wide(addr: Addr) -> Wide {
    Wide((addr.number() >> 64) as u64, addr.number() as u64)
}

/// An address within its family.
trait Bits: Copy + Ord {
    const WIDTH: u8;
    /// Without what is behind the prefix.
    fn cut(self, prefix: u8) -> Self;
}

impl Bits for u32 {
    const WIDTH: u8 = 32;
    #[inline(always)]
    fn cut(self, prefix: u8) -> u32 {
        self & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
    }
}

impl Bits for Wide {
    const WIDTH: u8 = 128;
    #[inline(always)]
    fn cut(self, prefix: u8) -> Wide {
        let high = u64::MAX.checked_shl(64u32.saturating_sub(u32::from(prefix))).unwrap_or(0);
        let low = u64::MAX.checked_shl(128 - u32::from(prefix.max(64))).unwrap_or(0);
        Wide(self.0 & high, self.1 & low)
    }
}

/// One range, and what is said of it.
#[derive(Clone, Copy)]
struct Range<B> {
    first: B,
    place: u16,
    /// The number of the range around it; its own where there is none.
    around: u16,
    prefix: u8,
    /// Scope in the low three bits, via in the next three.
    way: u8,
    service: u8,
}

const _: () = assert!(size_of::<Range<u32>>() == 12 && size_of::<Range<Wide>>() == 24);

impl<B: Bits> Range<B> {
    fn new(first: B, prefix: u8, said: Said) -> Range<B> {
        Range { first, place: said.place, around: 0, prefix, way: said.way(), service: said.service }
    }

    fn says(&self) -> (u16, u8, u8) {
        (self.place, self.way, self.service)
    }

    #[inline(always)]
    fn holds(&self, addr: B) -> bool {
        addr.cut(self.prefix) == self.first
    }

    fn said(&self) -> Said {
        Said {
            scope: Scope::ALL.get(usize::from(self.way & 7)).copied(),
            via: Via::ALL[usize::from(self.way >> 3 & 7)],
            service: self.service,
            place: self.place,
            is_single: self.prefix == B::WIDTH,
        }
    }
}

fn has<B: Bits>(ranges: &[Range<B>], first: B, prefix: u8) -> bool {
    ranges.binary_search_by_key(&(first, prefix), |range| (range.first, range.prefix)).is_ok()
}

#[inline]
fn find<B: Bits>(ranges: &[Range<B>], addr: B) -> Option<Said> {
    let mut at = ranges.partition_point(|range| range.first <= addr).checked_sub(1)?;
    loop {
        let range = ranges.get(at)?;
        if range.holds(addr) {
            return Some(range.said());
        }
        if usize::from(range.around) == at {
            return None;
        }
        at = usize::from(range.around);
    }
}

trait SortAndJoin {
    /// Sorts by first address, the wider first; leaves one of equals.
    fn sort_and_join(&mut self) -> Result<(), Refused>;
}

impl<B: Bits> SortAndJoin for Vec<Range<B>>
where
    Range<B>: Written,
{
    fn sort_and_join(&mut self) -> Result<(), Refused> {
        self.sort_unstable_by_key(|range| (range.first, range.prefix));
        let mut contradicted = None;
        self.dedup_by(|later, kept| {
            let same = later.first == kept.first && later.prefix == kept.prefix;
            if same && later.says() != kept.says() {
                contradicted = contradicted.or_else(|| later.written());
            }
            same
        });
        contradicted.map_or(Ok(()), |range| Err(Refused::Contradicted(range)))
    }
}

/// As a range of addresses again.
trait Written {
    fn written(&self) -> Option<Cidr>;
}

impl Written for Range<u32> {
    fn written(&self) -> Option<Cidr> {
        Cidr::new(Addr::from_v4(self.first.to_be_bytes()), self.prefix)
    }
}

impl Written for Range<Wide> {
    fn written(&self) -> Option<Cidr> {
        Cidr::new(Addr::from_number(u128::from(self.first.0) << 64 | u128::from(self.first.1)), self.prefix)
    }
}

/// Gives each range the number of the one around it.
#[allow(
    clippy::cast_possible_truncation,
    reason = "the wanted bits of an address, or a position within the bound of ranges"
)]
fn linked<B: Bits>(mut ranges: Vec<Range<B>>) -> Box<[Range<B>]> {
    // Those that hold the last range, the widest first: nested as deep as prefixes are long.
    let mut open: Vec<u16> = Vec::new();
    for at in 0..ranges.len() {
        let first = ranges[at].first;
        while open.last().is_some_and(|around| !ranges[usize::from(*around)].holds(first)) {
            open.pop();
        }
        let own = at as u16;
        ranges[at].around = open.last().copied().unwrap_or(own);
        open.push(own);
    }
    ranges.into_boxed_slice()
}
