//! What it costs to classify a row: the longest range that holds its address, among 15,000 and 65,536, beside the two
//! obvious ways to look it up: one range after the other, and a `HashMap` for each length of prefix. Prints nanoseconds of
//! thread CPU a look-up, medians over rounds. Ends with status 1 where 15,000 ranges cost more than 100 ns.

use std::collections::{BTreeMap, HashMap};
use std::hint::black_box;
use std::sync::Arc;

use netmon::clock::thread_cpu_ns;
use netmon::flow::{Addr, Cidr};
use netmon::topology::names::{Learner, Names};
use netmon::topology::table::{Builder, Said};
use netmon::topology::{Topology, Via};

const ROUNDS: usize = 15;
const BOUND_NS: f64 = 100.0;

/// So many ranges of what a large cluster has: pod ranges and addresses of nodes, subnets around them, published ranges of
/// clouds, IPv6.
fn ranges(count: u32) -> Vec<(Cidr, u16)> {
    let mut ranges = BTreeMap::new();
    for n in 0u32.. {
        let mixed = n.wrapping_mul(0x9e37_79b1);
        let (addr, prefix) = match n % 8 {
            0..3 => (Addr::from_number(0xffff_0a00_0000 | u128::from(n & 0xffff) << 8), 24),
            3 => (Addr::from_number(0xffff_ac10_0000 | u128::from(n & 0xf_ffff)), 32),
            4 => (Addr::from_number(0xffff_0a00_0000 | u128::from(n & 0xff) << 16), 16),
            5 | 6 => (Addr::from_number(0xffff_0000_0000 | u128::from(mixed)), (17 + n % 8) as u8),
            _ => (Addr::from_number(0x2600_1f00 << 96 | u128::from(mixed) << 64), (44 + n % 20) as u8),
        };
        let range = Cidr::new(addr, prefix).expect("within bounds");
        ranges.insert((range.first(), range.prefix()), (range, (n % 900 + 1) as u16));
        if ranges.len() == count as usize {
            break;
        }
    }
    ranges.into_values().collect()
}

fn addresses(ranges: &[(Cidr, u16)]) -> Vec<Addr> {
    let inside = |n: usize| {
        let (range, _) = ranges[n.wrapping_mul(7_919) % ranges.len()];
        Addr::from_number(range.first().number() | (n as u128 & 0x3))
    };
    let outside = |n: usize| Addr::from_number(0xffff_0000_0000 | (n as u128).wrapping_mul(0x85eb_ca6b) & 0xffff_ffff);
    (0..4_096).map(|n| if n % 4 == 3 { outside(n) } else { inside(n) }).collect()
}

fn median_ns(addresses: &[Addr], mut find: impl FnMut(Addr) -> u64) -> (f64, u64) {
    let mut sum = 0u64;
    let mut samples: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = thread_cpu_ns();
            sum = addresses.iter().map(|addr| find(*addr)).fold(0, u64::wrapping_add);
            black_box(sum);
            (thread_cpu_ns() - start) as f64 / addresses.len() as f64
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    (samples[ROUNDS / 2], sum)
}

fn main() {
    println!("{:>8} {:>14} {:>14} {:>16} {:>12}", "ranges", "this table", "linear", "map per length", "bytes");
    let mut within = true;
    for count in [500, 15_000, 65_536] {
        let ranges = ranges(count);
        let addresses = addresses(&ranges);
        let mut builder = Builder::default();
        for (range, place) in &ranges {
            let said = Said { scope: None, via: Via::None, service: 0, place: *place, is_single: false };
            builder.add(*range, said).expect("within the bound");
        }
        let mut learner = Learner::new(Names::default());
        for n in 0..901 {
            learner.place(&format!("zone-{n}"), &format!("region-{}", n % 30)).expect("within the bound");
        }
        let table = builder.finish().expect("each once");
        let bytes = table.bytes();
        let topology = Topology::new(Arc::new(table), Arc::new(learner.finish()), 1);
        let (own, own_sum) = median_ns(&addresses, |addr| u64::from(topology.charge(addr, false, true).place));
        // A linear search of so many takes long: a part of the addresses is enough for a median.
        let few = &addresses[..addresses.len().min(20_000_000 / ranges.len() / ROUNDS).max(64)];
        let (linear, linear_sum) = median_ns(few, |addr| linear(&ranges, addr));
        let maps = maps(&ranges);
        let (mapped, mapped_sum) = median_ns(&addresses, |addr| by_length(&maps, addr));
        assert_eq!(own_sum, mapped_sum, "both must find the same");
        let own_few = few.iter().map(|addr| u64::from(topology.charge(*addr, false, true).place)).sum::<u64>();
        assert_eq!(own_few, linear_sum, "both must find the same");
        println!("{:>8} {own:>11.1} ns {linear:>11.1} ns {mapped:>13.1} ns {bytes:>12}", ranges.len());
        within &= count != 15_000 || own <= BOUND_NS;
    }
    if !within {
        println!("15,000 ranges cost more than {BOUND_NS} ns");
        std::process::exit(1);
    }
}

fn linear(ranges: &[(Cidr, u16)], addr: Addr) -> u64 {
    let holding = ranges.iter().filter(|(range, _)| range.contains(addr));
    holding.max_by_key(|(range, _)| range.prefix()).map_or(0, |(_, place)| u64::from(*place))
}

type Maps = Vec<(bool, u8, HashMap<Addr, u16, foldhash::fast::RandomState>)>;

fn maps(ranges: &[(Cidr, u16)]) -> Maps {
    let mut maps = Maps::new();
    for (range, place) in ranges {
        let at = maps.iter().position(|(v4, prefix, _)| *v4 == range.is_v4() && *prefix == range.prefix());
        let at = at.unwrap_or_else(|| {
            maps.push((range.is_v4(), range.prefix(), HashMap::default()));
            maps.len() - 1
        });
        maps[at].2.insert(range.first(), *place);
    }
    maps.sort_by_key(|(_, prefix, _)| std::cmp::Reverse(*prefix));
    maps
}

fn by_length(maps: &Maps, addr: Addr) -> u64 {
    let of_family = maps.iter().filter(|(v4, ..)| *v4 == addr.is_v4());
    let found = of_family.filter_map(|(_, prefix, map)| map.get(&Cidr::new(addr, *prefix)?.first())).next();
    found.map_or(0, |place| u64::from(*place))
}
