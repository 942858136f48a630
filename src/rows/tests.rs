use proptest::prelude::*;

use super::freeze::Item;
use super::*;
use crate::batch::Verdict;
use crate::flow::{Addr, Cidr, Class, Counts, Direction};
use crate::owner::OwnerId;
use crate::state::bytes::In;
use crate::stats::Withheld;
use crate::topology::{Scope, Via};

fn classes() -> Classes {
    Classes::new(&[Cidr::new(Addr::from_v4([10, 0, 0, 0]), 8).expect("valid")], &[], &[])
}

fn key(owner: u32, remote: [u8; 4], port: u16, direction: Direction) -> RowKey {
    let remote = Addr::from_v4(remote);
    let class = if classes().is_inside(remote) { Class::Inside } else { Class::Outside };
    RowKey {
        local: Addr::from_v4([10, 244, 1, owner as u8]),
        remote,
        owner: OwnerId(owner),
        port,
        protocol: 6,
        direction,
        class,
        level: Level::Named,
        way: Way::UNKNOWN,
    }
}

/// Keys are compared as words; these are the highest values of what lies beside each other there.
#[test]
fn every_field_tells_rows_apart() {
    let key =
        RowKey { protocol: 255, class: Class::Overlay, ..key(u32::MAX, [10, 0, 0, 1], u16::MAX, Direction::Inbound) };
    let other = Addr::from_v4([10, 0, 0, 2]);
    let others = [
        RowKey { local: other, ..key },
        RowKey { remote: other, ..key },
        RowKey { owner: OwnerId(0), ..key },
        RowKey { port: 0, ..key },
        RowKey { protocol: 0, ..key },
        RowKey { direction: Direction::Outbound, ..key },
        RowKey { class: Class::Inside, ..key },
        RowKey { class: Class::Outside, ..key },
        RowKey { level: Level::Prefix, ..key },
        RowKey { level: Level::All, ..key },
        RowKey { level: Level::All, way: Way::new(Scope::Overlay, Via::None, 0), ..key },
        RowKey { level: Level::All, way: Way::new(Scope::Unknown, Via::Interconnect, 0), ..key },
        RowKey { level: Level::All, way: Way::new(Scope::Unknown, Via::None, 255), ..key },
    ];
    for (n, one) in others.iter().enumerate() {
        assert_ne!(*one, key);
        assert!(others[..n].iter().all(|two| one != two), "{one:?}");
    }
}

fn counts(tx: u64, rx: u64) -> TxRx {
    TxRx { tx: Counts { bytes: tx, packets: 1 }, rx: Counts { bytes: rx, packets: 2 } }
}

fn push_of(key: &RowKey) -> Push {
    match (key.direction, key.class) {
        (Direction::Inbound, Class::Inside) => Push::No(Withheld::InboundInside),
        _ => Push::Yes,
    }
}

struct Bench {
    rows: RowTable,
    ledger: Ledger,
    classes: Classes,
    /// What is known of the remote end now.
    charge: Charge,
    asked: std::cell::Cell<u32>,
}

impl Bench {
    fn new(capacity: u32) -> Bench {
        Bench {
            rows: RowTable::with_capacity(capacity),
            ledger: Ledger::default(),
            classes: classes(),
            charge: Charge::plain(Scope::Unknown),
            asked: std::cell::Cell::new(0),
        }
    }

    fn add(&mut self, key: &RowKey, increment: TxRx, at_ns: u64) -> Way {
        let charge = || {
            self.asked.set(self.asked.get() + 1);
            self.charge
        };
        let increment = Increment { counts: increment, at_ns, split: Split::Known };
        self.rows.add(key, push_of(key), increment, &self.classes, &mut self.ledger, charge).way
    }

    fn freeze(&mut self) -> Vec<Item> {
        let mut items = Vec::new();
        self.rows.freeze(&mut self.ledger, |id| id, |item, _| items.push(*item));
        items
    }

    /// What the rows hold must be what the books say.
    fn check(&self) {
        assert!(self.ledger.is_balanced(), "{:?}", self.ledger);
        let open = self.rows.iter().fold(TxRx::ZERO, |sum, row| sum + row.open);
        let frozen = self.rows.iter().fold(TxRx::ZERO, |sum, row| sum + row.frozen);
        assert_eq!((open, frozen), (self.ledger.open, self.ledger.frozen));
    }
}

#[test]
fn a_row_takes_no_more_than_its_share_of_memory() {
    assert_eq!(std::mem::size_of::<Row>(), 208);
}

#[test]
fn rule_9_what_is_not_pushed_is_settled_at_freeze() {
    let mut bench = Bench::new(64);
    bench.add(&key(3, [10, 0, 0, 9], 80, Direction::Inbound), counts(5, 7), 1);
    bench.add(&key(3, [192, 0, 2, 9], 80, Direction::Inbound), counts(50, 70), 1);
    let items = bench.freeze();
    assert_eq!(items.len(), 1);
    assert_eq!(
        (items[0].counts, items[0].wire.dst_port),
        (counts(50, 70), 0),
        "an inbound row has no port on the wire"
    );
    assert_eq!(bench.ledger.withheld[Withheld::InboundInside as usize], counts(5, 7));
    bench.check();
}

/// A unit's row and the host's to one address are two rows, and the one item that they were.
#[test]
fn rows_that_are_pushed_as_one_owner_become_one_item() {
    let mut bench = Bench::new(64);
    for (owner, bytes) in [(0, 5), (7, 30), (9, 200)] {
        let key = RowKey { owner: OwnerId(owner), ..key(0, [192, 0, 2, 9], 80, Direction::Outbound) };
        bench.add(&key, counts(bytes, 1), 1);
    }
    let mut items = Vec::new();
    let pushed_as = |id| if id == OwnerId(7) { OwnerId::HOST } else { id };
    bench.rows.freeze(&mut bench.ledger, pushed_as, |item, _| items.push(*item));
    let told: Vec<(u32, u32, TxRx)> = items.iter().map(|item| (item.owner.0, item.repeat, item.counts)).collect();
    let both = counts(5, 1) + counts(30, 1);
    assert_eq!(told, [(0, 0, both), (9, 1, counts(200, 1))]);
    let settled = bench.rows.settle(0, 1, Verdict::Acknowledged, &mut bench.ledger);
    assert_eq!(settled, both, "both rows of it");
    bench.check();
}

#[test]
fn rows_of_one_owner_that_share_a_wire_key_become_one_item() {
    let mut bench = Bench::new(64);
    bench.add(&key(3, [192, 0, 2, 9], 80, Direction::Inbound), counts(1, 0), 1);
    bench.add(&key(3, [192, 0, 2, 9], 443, Direction::Inbound), counts(2, 0), 1);
    // The same address under another owner: an address reused within the window.
    let mut reused = key(3, [192, 0, 2, 9], 443, Direction::Inbound);
    reused.owner = OwnerId(4);
    bench.add(&reused, counts(4, 0), 1);
    let items = bench.freeze();
    let told: Vec<(u32, u32, u64)> = items.iter().map(|i| (i.number, i.repeat, i.counts.tx.bytes)).collect();
    assert_eq!(told, [(0, 0, 3), (1, 1, 4)]);
    let first = bench.rows.settle(0, 1, Verdict::Acknowledged, &mut bench.ledger);
    assert_eq!(first.tx.bytes, 3, "both rows of the item are settled");
    bench.check();
}

#[test]
fn a_merged_item_is_open_again_and_grows() {
    let mut bench = Bench::new(64);
    let row = key(3, [192, 0, 2, 9], 80, Direction::Outbound);
    bench.add(&row, counts(10, 1), 1);
    bench.freeze();
    bench.add(&row, counts(5, 1), 2);
    bench.rows.settle(0, 1, Verdict::Merge, &mut bench.ledger);
    let items = bench.freeze();
    assert_eq!(items[0].counts.tx, Counts { bytes: 15, packets: 2 });
    bench.rows.settle(0, 1, Verdict::Drop(Lost::Refused), &mut bench.ledger);
    assert_eq!(bench.ledger.lost[Lost::Refused as usize].tx.bytes, 15);
    bench.check();
}

#[test]
fn cleanup_takes_only_what_is_settled_and_idle() {
    let mut bench = Bench::new(64);
    let row = key(3, [192, 0, 2, 9], 80, Direction::Outbound);
    bench.add(&row, counts(10, 1), 100);
    bench.rows.cleanup(1_000, 60);
    assert_eq!(bench.rows.len(), 1, "open");
    bench.freeze();
    bench.rows.cleanup(1_000, 60);
    assert_eq!(bench.rows.len(), 1, "frozen");
    bench.rows.settle(0, 1, Verdict::Acknowledged, &mut bench.ledger);
    bench.rows.cleanup(159, 60);
    assert_eq!(bench.rows.len(), 1, "not idle for long enough");
    bench.rows.cleanup(160, 60);
    assert!(bench.rows.len() == 0);
}

#[test]
fn rule_13_small_rows_fold_to_their_prefix_first_and_the_large_keep_their_names() {
    let mut bench = Bench::new(64);
    for host in 0..60u8 {
        let bytes = if host < 30 { 1_000_000 } else { u64::from(host) };
        bench.add(&key(3, [198, 51, 100, host], 80, Direction::Outbound), counts(bytes, 0), 1);
    }
    bench.add(&key(3, [203, 0, 113, 1], 80, Direction::Outbound), counts(9_000_000, 0), 1);
    bench.check();
    let prefix = Addr::from_v4([198, 51, 100, 0]);
    assert!(bench.rows.iter().any(|row| row.key.remote == prefix && row.key.level == Level::Prefix));
    assert!((1..30u8).all(|host| bench.rows.iter().any(|r| r.key.remote == Addr::from_v4([198, 51, 100, host]))));
    assert!(bench.rows.iter().all(|row| row.key.level != Level::All), "the prefix made room enough");
}

#[test]
fn rule_13_an_address_that_names_the_prefix_just_folded_into_has_a_row_of_its_own() {
    let mut bench = Bench::new(64);
    for host in 1..=60u8 {
        bench.add(&key(3, [198, 51, 100, host], 80, Direction::Outbound), counts(u64::from(host), 0), 1);
    }
    let prefix = key(3, [198, 51, 100, 0], 80, Direction::Outbound);
    bench.add(&prefix, counts(5, 0), 1);
    bench.check();
    assert_eq!(bench.rows.iter().filter(|row| row.key == prefix).count(), 1);
    let total = bench.rows.iter().fold(0, |sum, row| sum + row.total.tx.bytes);
    assert_eq!(total, (1..=60).sum::<u64>() + 5);
}

#[test]
fn rule_13_rows_that_share_no_prefix_fold_into_one_per_owner() {
    let mut bench = Bench::new(64);
    for net in 0..120u8 {
        bench.add(&key(3, [198, net, 100, 7], 80, Direction::Outbound), counts(u64::from(net) + 1, 1), 1);
        bench.check();
    }
    let all: Vec<&Row> = bench.rows.iter().filter(|row| row.key.level == Level::All).collect();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].key.port, all[0].key.local, all[0].key.remote), (0, Addr::UNSPECIFIED_V4, Addr::UNSPECIFIED_V4));
    let total = bench.rows.iter().fold(0, |sum, row| sum + row.total.tx.bytes);
    assert_eq!(total, (1..=120).sum::<u64>());
}

#[test]
fn rule_13_what_finds_no_place_at_all_is_lost_by_name() {
    let mut bench = Bench::new(32);
    // Everything is frozen, so nothing may be folded; two catch-all rows are all the reserve of 32 slots.
    for owner in 0..40 {
        bench.add(&key(owner, [198, 51, 100, 7], 80, Direction::Outbound), counts(10, 0), 1);
        if owner == 29 {
            bench.freeze();
        }
        bench.check();
    }
    assert_eq!(bench.ledger.lost[Lost::RowTableFull as usize].tx.bytes, 8 * 10);
}

/// While DAKR refuses, every row may be frozen: each new row searched the whole table for one to fold.
#[test]
fn f21_a_full_table_of_frozen_rows_is_not_searched_for_each_new_row() {
    let mut bench = Bench::new(4_096);
    let outbound = |n: u32, owner| key(owner, [198, (n >> 8) as u8, n as u8, 1], 80, Direction::Outbound);
    for n in 0..3_840 {
        bench.add(&outbound(n, 3), counts(10, 0), 1);
    }
    bench.freeze();
    let before = bench.rows.searches;
    for n in 10_000..20_000 {
        bench.add(&outbound(n, 4), counts(7, 0), 1);
    }
    bench.check();
    let most = 10_000 / (3_840 / 8) + 1;
    assert!(bench.rows.searches - before <= most, "{} searches", bench.rows.searches - before);
    // All that came has a place: one row takes it.
    assert_eq!(bench.ledger.lost[Lost::RowTableFull as usize], TxRx::ZERO);
    let new = bench.rows.iter().filter(|row| row.key.owner == OwnerId(4)).fold(0, |sum, row| sum + row.open.tx.bytes);
    assert_eq!(new, 10_000 * 7);
    // A settled row can be folded: the next new row has a name again.
    bench.rows.settle(0, 4_096, Verdict::Acknowledged, &mut bench.ledger);
    bench.add(&outbound(30_000, 5), counts(7, 0), 1);
    assert!(bench.rows.iter().any(|row| row.key.owner == OwnerId(5) && row.is_named()));
    bench.check();
}

proptest! {
    /// Sums are sacred: whatever comes, is folded, frozen and settled, the books balance and equal what came.
    #[test]
    fn rule_14_the_books_balance_over_any_interleaving(
        steps in proptest::collection::vec((0u8..12, 3u32..6, any::<(u8, u8)>(), 0u64..5_000, any::<bool>()), 1..300)
    ) {
        let mut bench = Bench::new(32);
        let mut came = TxRx::ZERO;
        let mut items = 0u32;
        for (action, owner, (net, host), bytes, inbound) in steps {
            match action {
                0 if bench.ledger.frozen.is_zero() => items = bench.freeze().len() as u32,
                1 => { bench.rows.settle(0, items / 2, Verdict::Acknowledged, &mut bench.ledger); }
                2 => { bench.rows.settle(items / 2, items, Verdict::Merge, &mut bench.ledger); }
                3 => { bench.rows.settle(0, items, Verdict::Drop(Lost::Refused), &mut bench.ledger); }
                4 => bench.rows.cleanup(1_000, 0),
                _ => {
                    let direction = if inbound { Direction::Inbound } else { Direction::Outbound };
                    let first = if net % 2 == 0 { 10 } else { 198 };
                    let row = key(owner, [first, net % 16, host % 4, host], u16::from(net) % 3, direction);
                    let increment = counts(bytes, bytes / 3);
                    came += increment;
                    bench.add(&row, increment, 1);
                }
            }
            bench.check();
            prop_assert!(bench.rows.len() <= bench.rows.capacity());
            prop_assert_eq!(bench.rows.catch_alls as usize, bench.rows.iter().filter(|r| r.key.level == Level::All).count());
        }
        prop_assert_eq!(bench.ledger.counted, came);
    }
}

fn charge(scope: Scope, via: Via, service: u8, place: u16) -> Charge {
    Charge { way: Way::new(scope, via, service), place }
}

#[test]
fn rule_18_a_row_is_told_once_and_again_when_it_is_used_after_it_was_settled() {
    let mut bench = Bench::new(64);
    let key = key(3, [192, 0, 2, 9], 443, Direction::Outbound);
    bench.charge = charge(Scope::Zone, Via::None, 0, 4);
    let first = bench.add(&key, counts(1, 1), 1);
    bench.charge = charge(Scope::Internet, Via::Nat, 2, 5);
    assert_eq!(bench.add(&key, counts(2, 2), 2), first, "while it is open it stays what it is");
    bench.freeze();
    assert_eq!(bench.add(&key, counts(4, 4), 3), first, "and while its bytes are under way");
    bench.rows.settle(0, 1, Verdict::Acknowledged, &mut bench.ledger);
    bench.freeze();
    bench.rows.settle(0, 1, Verdict::Acknowledged, &mut bench.ledger);
    assert_eq!(bench.asked.get(), 1);
    assert_eq!(bench.add(&key, counts(8, 8), 4), bench.charge.way);
    assert_eq!((bench.asked.get(), bench.rows.len()), (2, 1), "it is the same row");
    let row = bench.rows.iter().next().expect("one row");
    assert_eq!((row.total, row.place), (counts(8, 8), 5), "what was shown before is not shown under another scope");
    bench.freeze();
    bench.rows.settle(0, 1, Verdict::Acknowledged, &mut bench.ledger);
    bench.add(&key, counts(16, 16), 5);
    let row = bench.rows.iter().next().expect("one row");
    assert_eq!((bench.asked.get(), row.total.tx.bytes), (3, 24), "the same again goes on");
    bench.check();
}

#[test]
fn rules_13_and_18_no_fold_joins_two_scopes_ways_or_services() {
    let mut bench = Bench::new(64);
    let charges = [
        charge(Scope::Zone, Via::None, 0, 1),
        charge(Scope::Region, Via::None, 0, 2),
        charge(Scope::Region, Via::Peering, 0, 2),
        charge(Scope::Region, Via::None, 7, 2),
    ];
    let mut sums = std::collections::BTreeMap::new();
    for n in 0..2_000u32 {
        bench.charge = charges[n as usize % charges.len()];
        let [_, _, c, d] = n.to_be_bytes();
        let way = bench.add(&key(3, [10, 7, c, d], 443, Direction::Outbound), counts(u64::from(n), 1), 1);
        *sums.entry(way).or_insert(0) += u64::from(n);
    }
    assert!(bench.rows.iter().any(|row| !row.is_named()), "rows were folded");
    let mut shown = std::collections::BTreeMap::new();
    for row in bench.rows.iter() {
        *shown.entry(row.key.way).or_insert(0) += row.total.tx.bytes;
        assert!(charges.iter().any(|charge| charge.way == row.key.way));
    }
    assert_eq!((shown, bench.ledger.lost[Lost::RowTableFull as usize]), (sums, TxRx::ZERO));
    bench.check();
}

#[test]
fn f4_rows_of_a_larger_table_are_folded_and_what_is_frozen_in_them_is_settled() {
    for verdict in [Verdict::Acknowledged, Verdict::Merge, Verdict::Drop(Lost::Refused)] {
        let mut before = Bench::new(1_024);
        for host in 0..200u8 {
            before.add(&key(3, [198, 51, host, 7], 443, Direction::Outbound), counts(10, 1), 1);
        }
        let items = before.freeze().len() as u32;
        for host in 100..250u8 {
            before.add(&key(3, [198, 51, host, 7], 443, Direction::Outbound), counts(100, 7), 2);
        }
        let mut out = Vec::new();
        before.rows.persist(&mut out);
        let mut after = Bench::new(32);
        after.rows.restore(&mut In(&out), &after.classes, &mut after.ledger).expect("whatever the size");
        after.check();
        let pending = |bench: &Bench| (bench.ledger.open + bench.ledger.frozen).tx.bytes;
        assert_eq!(pending(&after), pending(&before), "nothing is lost, for catch-all rows have room");
        assert_eq!((pending(&after), after.ledger.counted.tx.bytes), (17_000, 17_000));
        // Killed again: the same file, for rows without a place are rows.
        let mut again = Vec::new();
        after.rows.persist(&mut again);
        let mut later = Bench::new(32);
        later.rows.restore(&mut In(&again), &later.classes, &mut later.ledger).expect("whatever the size");
        later.check();
        assert_eq!(pending(&later), 17_000);
        for bench in [&mut after, &mut later] {
            let settled = bench.rows.settle(0, items, verdict, &mut bench.ledger);
            assert_eq!(settled.tx.bytes, 2_000);
            bench.rows.fold_homeless(&bench.classes, &mut bench.ledger);
            bench.check();
            let merged = if verdict == Verdict::Merge { 2_000 } else { 0 };
            assert_eq!((bench.ledger.open.tx.bytes, bench.ledger.frozen.tx.bytes), (15_000 + merged, 0));
            assert!(bench.rows.homeless.is_empty());
        }
    }
}

#[test]
fn f4_what_finds_no_place_at_all_is_lost_by_its_reason() {
    let mut before = Bench::new(1_024);
    // Each owner has a catch-all row of its own, and two find room.
    for owner in 3..200 {
        before.add(&key(owner, [198, 51, 100, 7], 443, Direction::Outbound), counts(100, 7), 2);
    }
    let mut out = Vec::new();
    before.rows.persist(&mut out);
    let mut after = Bench::new(32);
    after.rows.restore(&mut In(&out), &after.classes, &mut after.ledger).expect("whatever the size");
    after.check();
    let lost = after.ledger.lost[Lost::RowTableFull as usize];
    assert!(!lost.is_zero() && (after.ledger.open + lost).tx.bytes == 19_700);
}

/// Rates are those of the last sweep, whatever became of the row meanwhile.
#[test]
fn a_row_has_the_rate_of_the_last_sweep() {
    let mut bench = Bench::new(64);
    let (one, two) =
        (key(3, [192, 0, 2, 9], 80, Direction::Outbound), key(3, [192, 0, 2, 10], 80, Direction::Outbound));
    let rate = |bench: &Bench, key: &RowKey| {
        let slot = bench.rows.table.find(key).expect("there");
        bench.rows.table.get(slot).expect("there").rate
    };
    let second = 1_000 * crate::clock::MS;
    bench.add(&one, counts(1 << 40, 1 << 40), 1);
    bench.rows.take_rates(5 * second);
    assert_eq!(rate(&bench, &one), [0.0, 0.0], "what came before the first sweep has no time");
    bench.add(&one, counts(500, 50), 1);
    bench.add(&two, counts(10, 1_000), 1);
    bench.freeze();
    bench.rows.take_rates(10 * second);
    assert_eq!((rate(&bench, &one), rate(&bench, &two)), ([100.0, 10.0], [2.0, 200.0]));
    bench.add(&one, counts(7, 7), 1);
    bench.rows.take_rates(10 * second + crate::clock::MS);
    assert_eq!(rate(&bench, &one), [100.0, 10.0], "a sweep that is repeated at once is no measure");
    bench.rows.take_rates(11 * second);
    assert_eq!((rate(&bench, &one), rate(&bench, &two)), ([7.0, 7.0], [0.0, 0.0]));
}

/// A row that begins anew, and rows that are folded, keep what they were rated by.
#[test]
fn folding_and_beginning_anew_make_no_rate() {
    let mut bench = Bench::new(32);
    let second = 1_000 * crate::clock::MS;
    bench.rows.take_rates(second);
    let keys: Vec<RowKey> = (0..28).map(|n| key(3, [192, 0, n, 9], 80, Direction::Outbound)).collect();
    keys.iter().for_each(|key| _ = bench.add(key, counts(1_000, 0), 1));
    bench.rows.take_rates(2 * second);
    (0..14).for_each(|n| _ = bench.add(&key(4, [198, 51, n, 9], 80, Direction::Outbound), counts(1, 0), 1));
    assert!(bench.ledger.folded_rows > 0);
    bench.rows.take_rates(3 * second);
    let sum: f32 = bench.rows.iter().map(|row| row.rate[0]).sum();
    assert_eq!(sum, 14.0);
    let once = key(5, [203, 0, 113, 1], 80, Direction::Inbound);
    let mut bench = Bench::new(32);
    bench.add(&once, counts(1 << 30, 0), 1);
    bench.rows.take_rates(second);
    bench.freeze();
    bench.rows.settle(0, 1, crate::batch::Verdict::Acknowledged, &mut bench.ledger);
    bench.charge = Charge { way: Way::new(Scope::Zone, Via::None, 0), place: 0 };
    bench.add(&once, counts(900, 0), 1);
    bench.rows.take_rates(2 * second);
    assert_eq!(bench.rows.iter().next().map(|row| row.rate), Some([900.0, 0.0]));
}
