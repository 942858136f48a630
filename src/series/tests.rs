use super::*;
use crate::flow::Counts;

/// Everything since the start.
fn all(table: &SeriesTable) -> TxRx {
    table.by_class().into_iter().fold(TxRx::ZERO, |sum, of| sum + of)
}

/// Keys are compared as one word; these are the highest values of what lies beside each other there.
#[test]
fn every_field_tells_series_apart() {
    let key = SeriesKey {
        owner: OwnerId(u32::MAX),
        direction: Direction::Inbound,
        class: Class::Overlay,
        kind: ProtocolKind::Other,
    };
    let others = [
        SeriesKey { owner: OwnerId(0), ..key },
        SeriesKey { direction: Direction::Outbound, ..key },
        SeriesKey { class: Class::Inside, ..key },
        SeriesKey { class: Class::Outside, ..key },
        SeriesKey { kind: ProtocolKind::Tcp, ..key },
    ];
    for (n, one) in others.iter().enumerate() {
        assert_ne!(*one, key);
        assert!(others[..n].iter().all(|two| one != two), "{one:?}");
    }
}

#[test]
fn beyond_the_bound_owners_are_taken_together_and_the_sum_stays() {
    let mut table = SeriesTable::default();
    let one = TxRx { tx: Counts { bytes: 1, packets: 1 }, rx: Counts::ZERO };
    for owner in 3..5_003 {
        table.add(OwnerId(owner), protocol::TCP, Direction::Outbound, Class::Inside, one, 0);
    }
    assert_eq!(table.len(), CAPACITY - RESERVED + 1);
    assert_eq!(table.iter().map(|s| s.total.tx.bytes).sum::<u64>(), 5_000);
    table.cleanup(100, 50, |owner| (owner == OwnerId::OTHER).then_some(owner));
    assert_eq!(table.len(), 1);
}

#[test]
fn an_heir_takes_on_what_its_name_has_counted() {
    let mut table = SeriesTable::default();
    let add = |table: &mut SeriesTable, owner, proto, bytes, ns| {
        let increment = TxRx { tx: Counts { bytes, packets: 1 }, rx: Counts::ZERO };
        table.add(OwnerId(owner), proto, Direction::Outbound, Class::Inside, increment, ns);
    };
    add(&mut table, 3, protocol::TCP, 10, 0);
    add(&mut table, 3, protocol::UDP, 20, 0);
    add(&mut table, 4, protocol::TCP, 5, 0);
    add(&mut table, 5, protocol::TCP, 7, 0);
    table.cleanup(100, 50, |owner| match owner.0 {
        3 => Some(OwnerId(4)),
        5 => None,
        _ => Some(owner),
    });
    let mut left: Vec<_> = table.iter().map(|s| (s.key.owner.0, s.protocol_name(), s.total.tx.bytes)).collect();
    left.sort_unstable();
    assert_eq!(left, [(4, "tcp", 15), (4, "udp", 20)]);
    assert_eq!((table.gone().tx.bytes, all(&table).tx.bytes), (7, 42), "what is gone was carried all the same");
}

/// A class, direction or kind of protocol more must find its place in the reserve.
#[test]
fn a_full_table_has_room_for_every_series_of_the_owner_other() {
    let mut table = SeriesTable::default();
    let one = TxRx { tx: Counts { bytes: 1, packets: 1 }, rx: Counts::ZERO };
    for owner in 3..CAPACITY {
        table.add(OwnerId(owner), protocol::TCP, Direction::Outbound, Class::Inside, one, 0);
    }
    for direction in Direction::ALL {
        for class in Class::ALL {
            for kind in ProtocolKind::ALL {
                table.add_to(SeriesKey { owner: OwnerId::OTHER, direction, class, kind }, one, 0);
            }
        }
    }
    assert_eq!(table.len(), CAPACITY);
}
