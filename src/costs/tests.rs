use super::*;
use crate::flow::Counts;
use crate::state::bytes::In;
use crate::topology::Scope;

fn bytes(tx: u64, rx: u64) -> TxRx {
    TxRx { tx: Counts { bytes: tx, packets: 1 }, rx: Counts { bytes: rx, packets: 1 } }
}

fn sums(table: &CostTable) -> (u64, u64) {
    table.iter().fold((0, 0), |(tx, rx), cost| (tx + cost.tx_bytes, rx + cost.rx_bytes))
}

#[test]
fn every_part_of_a_way_tells_series_apart() {
    let mut table = CostTable::default();
    let ways = [
        Way::new(Scope::Node, Via::None, 0),
        Way::new(Scope::Overlay, Via::None, 0),
        Way::new(Scope::Node, Via::Interconnect, 0),
        Way::new(Scope::Node, Via::None, 255),
    ];
    for way in ways {
        table.add(OwnerId(3), way, bytes(1, 2), 0);
        table.add(OwnerId(u32::MAX), way, bytes(1, 2), 0);
    }
    assert_eq!((table.len(), sums(&table)), (8, (8, 16)));
}

#[test]
fn without_room_the_service_goes_first_then_the_owner_and_the_sum_stays() {
    let mut table = CostTable::default();
    let way = |n: u32| Way::new(Scope::Region, Via::Nat, (n % 255 + 1) as u8);
    for n in 0..CAPACITY {
        table.add(OwnerId(3 + n / 255), way(n), bytes(1, 1), 0);
    }
    let bare = |cost: &&Cost| cost.key.way == Way::new(Scope::Region, Via::Nat, 0);
    assert!(table.iter().filter(bare).count() > 0, "of some the service was left out");
    assert!(table.iter().all(|cost| cost.key.owner != OwnerId::OTHER), "and of none the owner");
    for owner in 0..CAPACITY {
        table.add(OwnerId(10_000 + owner), Way::new(Scope::Zone, Via::None, 7), bytes(1, 1), 0);
    }
    let others: Vec<&Cost> = table.iter().filter(|cost| cost.key.owner == OwnerId::OTHER).collect();
    assert_eq!(others.len(), 1);
    assert_eq!((others[0].key.way.scope(), others[0].key.way.service()), (Scope::Zone, 0), "the scope is kept");
    assert_eq!(sums(&table), (2 * u64::from(CAPACITY), 2 * u64::from(CAPACITY)));
    assert!(table.take_joined_bytes() > 0 && table.take_joined_bytes() == 0);
    assert!(table.len() <= CAPACITY);
}

#[test]
fn every_scope_and_via_of_other_has_a_place() {
    let mut table = CostTable::default();
    for owner in 0..CAPACITY {
        table.add(OwnerId(100 + owner), Way::new(Scope::Zone, Via::None, 0), bytes(1, 0), 0);
    }
    for scope in Scope::ALL {
        for via in Via::ALL {
            table.add(OwnerId(9), Way::new(scope, via, 1), bytes(1, 0), 0);
        }
    }
    let others = table.iter().filter(|cost| cost.key.owner == OwnerId::OTHER).count();
    assert_eq!(others, Scope::ALL.len() * Via::ALL.len());
}

#[test]
fn an_heir_takes_on_what_its_name_has_counted_and_how_old_it_is() {
    let mut table = CostTable::default();
    let way = Way::new(Scope::Internet, Via::None, 0);
    table.add(OwnerId(3), way, bytes(10, 1), 5);
    table.add(OwnerId(4), way, bytes(5, 1), 50);
    table.add(OwnerId(5), way, bytes(7, 1), 5);
    table.cleanup(100, 50, |owner| match owner.0 {
        3 => Some(OwnerId(4)),
        5 => None,
        _ => Some(owner),
    });
    let left: Vec<(u32, u64, u64)> = table.iter().map(|c| (c.key.owner.0, c.tx_bytes, c.since_mono_ns)).collect();
    assert_eq!(left, [(4, 15, 5)]);
}

#[test]
fn what_was_written_is_read_and_nothing_else() {
    let mut table = CostTable::default();
    table.add(OwnerId(3), Way::new(Scope::Internet, Via::Vpn, 9), bytes(10, 1), 5);
    table.add(OwnerId(4), Way::new(Scope::Node, Via::None, 0), bytes(11, 2), 6);
    let mut out = Vec::new();
    table.persist(&mut out);
    let mut again = CostTable::default();
    assert_eq!(again.restore(&mut In(&out)), Ok(()));
    assert_eq!(sums(&again), (21, 3));
    let mut second = Vec::new();
    again.persist(&mut second);
    assert_eq!(second.len(), out.len());
    assert!(CostTable::default().restore(&mut In(&out[..out.len() - 1])).is_err());
    let twice = [&[4][..], &out[1..], &out[1..]].concat();
    assert!(CostTable::default().restore(&mut In(&twice)).is_err(), "one key twice");
}
