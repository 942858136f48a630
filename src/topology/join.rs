//! Fewer ranges that say the same: neighbours become the range around them, and what the range around says already goes.

use std::collections::BTreeMap;

use crate::flow::{Addr, Cidr};

/// By length of the prefix, then first address.
type ByPrefix<T> = BTreeMap<(u8, Addr), T>;

/// Joins ranges of either family. Of equal ranges the first counts.
pub fn join<T: Copy + PartialEq>(mut ranges: impl Iterator<Item = (Cidr, T)>) -> Vec<(Cidr, T)> {
    join_all(&mut ranges)
}

/// Compiled once, not for each kind of iterator.
fn join_all<T: Copy + PartialEq>(ranges: &mut dyn Iterator<Item = (Cidr, T)>) -> Vec<(Cidr, T)> {
    let (mut v4, mut v6) = (ByPrefix::new(), ByPrefix::new());
    for (range, said) in ranges {
        let family = if range.is_v4() { &mut v4 } else { &mut v6 };
        family.entry((range.prefix(), range.first())).or_insert(said);
    }
    let mut joined = join_family(v4);
    joined.extend(join_family(v6));
    joined
}

fn join_family<T: Copy + PartialEq>(mut ranges: ByPrefix<T>) -> Vec<(Cidr, T)> {
    // From the longest prefix to the shortest: what two become may find a neighbour of its own.
    let mut prefix = ranges.keys().next_back().map_or(0, |(prefix, _)| *prefix);
    while prefix > 0 {
        let of_this: Vec<(Addr, T)> = ranges
            .range((prefix, Addr::UNSPECIFIED_V6)..)
            .take_while(|((p, _), _)| *p == prefix)
            .map(|((_, a), t)| (*a, *t))
            .collect();
        for pair in neighbours(&of_this, prefix) {
            let [(first, said), (second, _)] = pair;
            ranges.remove(&(prefix, first));
            ranges.remove(&(prefix, second));
            // Both halves hide what was said of the whole.
            ranges.insert((prefix - 1, first), said);
        }
        prefix -= 1;
    }
    // Few lengths are there of 128, and each is looked for per range.
    let mut lengths: Vec<u8> = ranges.keys().map(|(prefix, _)| *prefix).collect();
    lengths.dedup();
    let needed = |range: &Cidr, said: &T| {
        let wider = lengths.iter().rev().skip_while(|prefix| **prefix >= range.prefix());
        let around = wider.copied().find_map(|prefix| ranges.get(&(prefix, Cidr::new(range.first(), prefix)?.first())));
        around != Some(said)
    };
    let all = ranges.iter().filter_map(|((prefix, first), said)| Some((Cidr::new(*first, *prefix)?, *said)));
    let mut left: Vec<(Cidr, T)> = all.filter(|(range, said)| needed(range, said)).collect();
    left.sort_by_key(|(range, _)| (range.first(), range.prefix()));
    left
}

/// The two halves of a range, where both are there and say the same. The ranges are sorted, and their prefixes are equal.
fn neighbours<T: Copy + PartialEq>(ranges: &[(Addr, T)], prefix: u8) -> impl Iterator<Item = [(Addr, T); 2]> {
    let is_pair = move |low: &(Addr, T), high: &(Addr, T)| {
        let around = |addr| Cidr::new(addr, prefix - 1).map(|range| range.first());
        low.1 == high.1 && around(low.0) == around(high.0)
    };
    ranges.array_windows::<2>().filter(move |[low, high]| is_pair(low, high)).copied()
}
