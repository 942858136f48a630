use super::*;
use crate::flow::Counts;

fn newcomer(host: u8, bytes: u64) -> Newcomer {
    let of = Exchange {
        client: Addr::from_v4([10, 0, 0, host]),
        asked: Addr::from_v4([10, 1, 0, 1]),
        backend: Addr::from_v4([10, 1, 0, 1]),
        cgroup: 0,
        port: 80,
        protocol: 6,
        translated: false,
        ends: Ends::Both,
        split: Split::Known,
    };
    Newcomer {
        of,
        beside: false,
        fine: false,
        traffic: Traffic { orig: Counts { bytes, packets: 1 }, reply: Counts::ZERO },
        crossing: [0; 4],
    }
}

#[test]
fn increments_within_ten_seconds_share_a_row() {
    let mut table = WaitingTable::with_capacity(4);
    assert!(table.add(&newcomer(1, 10), 20_000_000_000).is_none());
    assert!(table.add(&newcomer(1, 5), 29_999_999_999).is_none());
    assert!(table.add(&newcomer(1, 7), 30_000_000_000).is_none());
    let mut bytes: Vec<u64> = table.iter().map(|row| row.traffic.orig.bytes).collect();
    bytes.sort_unstable();
    assert_eq!(bytes, [7, 15]);
}

#[test]
fn what_waits_beside_a_row_makes_room_first() {
    let mut table = WaitingTable::with_capacity(2);
    let beside = |host| Newcomer { beside: true, ..newcomer(host, 7) };
    table.add(&newcomer(1, 10), 100);
    table.add(&beside(2), 200);
    let refused = table.add(&beside(3), 300).expect("the table was full");
    assert_eq!(refused.key.of.client, Addr::from_v4([10, 0, 0, 3]));
    let evicted = table.add(&newcomer(4, 20), 400).expect("the table was full");
    assert_eq!(evicted.key.of.client, Addr::from_v4([10, 0, 0, 2]));
    let evicted = table.add(&newcomer(5, 20), 500).expect("the table was full");
    assert_eq!(evicted.key.of.client, Addr::from_v4([10, 0, 0, 1]));
}

#[test]
fn making_room_goes_by_age_whatever_leaves_meanwhile() {
    let mut table = WaitingTable::with_capacity(4);
    for (host, since) in [(1, 40), (2, 10), (3, 30), (4, 20)] {
        table.add(&newcomer(host, 1), since);
    }
    let out =
        |table: &mut WaitingTable, host: u8, since| table.add(&newcomer(host, 1), since).map(|row| row.since_mono_ns);
    assert_eq!((out(&mut table, 5, 50), out(&mut table, 6, 60)), (Some(10), Some(20)));
    table.take_if(|row| row.since_mono_ns == 30);
    assert_eq!((out(&mut table, 7, 35), out(&mut table, 8, 70), out(&mut table, 9, 80)), (None, Some(35), Some(40)));
}

#[test]
fn where_owners_change_a_second_divides_rows() {
    let mut table = WaitingTable::with_capacity(4);
    let fine = Newcomer { fine: true, ..newcomer(1, 10) };
    for mono_ns in [20_000_000_000, 20_900_000_000, 21_000_000_000] {
        table.add(&fine, mono_ns);
        table.add(&newcomer(1, 10), mono_ns);
    }
    assert_eq!(table.len(), 3, "two fine ones and a coarse one");
}

#[test]
fn a_full_table_hands_back_what_waited_longest() {
    let mut table = WaitingTable::with_capacity(2);
    table.add(&newcomer(1, 10), 100);
    table.add(&newcomer(2, 20), 50);
    let evicted = table.add(&newcomer(3, 30), 200).expect("the table was full");
    assert_eq!(evicted.traffic.orig.bytes, 20);
    assert_eq!(table.len(), 2);
}

#[test]
fn what_waits_is_written_in_the_order_of_the_state_file() {
    let mut table = WaitingTable::with_capacity(2);
    let base = newcomer(1, 300);
    let of = Exchange { cgroup: 5, translated: true, ends: Ends::Responder, split: Split::Unknown, ..base.of };
    table.add(&Newcomer { of, beside: true, ..base }, 20_000_000_000);
    let mut bytes = Vec::new();
    table.persist(&mut bytes);
    let addresses = [of.client, of.asked, of.backend];
    let addresses: Vec<u8> = addresses.iter().flat_map(|addr| [&[4], &addr.octets()[12..]].concat()).collect();
    let at = bytes.windows(addresses.len()).position(|part| part == addresses).expect("addresses") + addresses.len();
    // cgroup, slot, port, protocol, translated, ends, beside, split.
    assert_eq!(bytes[at..at + 8], [5, 2, 80, 6, 1, Ends::Responder as u8, 1, Split::Unknown as u8]);
    let mut again = WaitingTable::with_capacity(2);
    again.restore(&mut In(&bytes), true, 20_000_000_000).expect("what was written");
    assert_eq!(
        again.iter().map(|row| row.key).collect::<Vec<_>>(),
        table.iter().map(|row| row.key).collect::<Vec<_>>()
    );
}

#[test]
fn what_waits_in_several_books_of_the_audit_is_one_row_to_the_next_process() {
    let mut table = WaitingTable::with_capacity(4);
    for (n, crossing) in [[1, 1, 0, 0], [1, 2, 0, 0]].into_iter().enumerate() {
        table.add(&Newcomer { crossing, ..newcomer(1, 300) }, 20_000_000_000 + n as u64);
    }
    assert_eq!(table.len(), 2);
    let mut bytes = Vec::new();
    table.persist(&mut bytes);
    let mut again = WaitingTable::with_capacity(4);
    again.restore(&mut In(&bytes), true, 30_000_000_000).expect("what was written");
    let rows: Vec<_> = again
        .iter()
        .map(|row| (row.key.crossing, row.traffic.orig.bytes, row.since_mono_ns, row.counted_mono_ns))
        .collect();
    assert_eq!(rows, [([0; 4], 600, 20_000_000_000, 20_000_000_001)]);
}
