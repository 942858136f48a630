//! The deciding rule on records made by hand.

use super::*;
use crate::flow::{Addr, Counts, Ends, Reading};

pub(super) fn connection(port: u16, id: u32, bytes: u64) -> Connection {
    let traffic =
        Traffic { orig: Counts { bytes, packets: bytes / 10 }, reply: Counts { bytes: bytes * 2, packets: bytes / 5 } };
    Connection {
        key: ConnectionKey {
            src: Addr::from_v4([10, 0, 0, 1]),
            dst: Addr::from_v4([10, 0, 0, 2]),
            sport: port,
            dport: 80,
            ct_zone: 0,
            protocol: 6,
            family: 4,
            realm: 0,
        },
        backend: Addr::from_v4([10, 0, 0, 2]),
        backend_port: 80,
        ends: Ends::Both,
        reading: Reading::Live,
        id,
        start_ns: 0,
        traffic,
        more: None,
        cgroup: 0,
    }
}

pub(super) fn bytes(judged: Judged) -> u64 {
    match judged {
        Judged::Increment(t) => t.orig.bytes,
        other => panic!("not an increment: {other:?}"),
    }
}

pub(super) fn sweep(table: &mut BaselineTable, records: &[Connection]) -> (Vec<Judged>, Vanished) {
    table.begin_sweep();
    let judged = records.iter().map(|c| table.live(c)).collect();
    (judged, table.end_sweep(true))
}

/// A table past its first sweep.
pub(super) fn warm(capacity: u32, records: &[Connection]) -> BaselineTable {
    let mut table = BaselineTable::with_capacity(capacity, 1);
    sweep(&mut table, records);
    table
}

#[test]
fn a_baseline_takes_no_more_than_its_share_of_memory() {
    assert_eq!(std::mem::size_of::<Baseline>(), 96);
}

#[test]
fn rule_10_the_first_sweep_is_a_baseline_and_the_second_counts() {
    let mut table = BaselineTable::with_capacity(8, 1);
    assert_eq!(sweep(&mut table, &[connection(1, 7, 1000)]).0, [Judged::Baseline]);
    let (judged, _) = sweep(&mut table, &[connection(1, 7, 1500), connection(2, 8, 40)]);
    assert_eq!(bytes(judged[0]), 500);
    assert_eq!(bytes(judged[1]), 40, "a connection first seen later counts in full");
}

#[test]
fn rule_10_a_connection_that_began_after_the_process_counts_in_the_first_sweep() {
    let mut table = BaselineTable::with_capacity(8, 1_000);
    let young = Connection { start_ns: 1_001 + UNSURE_NS, ..connection(1, 7, 30) };
    let unsure = Connection { start_ns: 1_000 + UNSURE_NS, ..connection(2, 8, 30) };
    let old = Connection { start_ns: 999, ..connection(3, 9, 30) };
    let (judged, _) = sweep(&mut table, &[young, unsure, old]);
    assert_eq!((bytes(judged[0]), judged[1], judged[2]), (30, Judged::Baseline, Judged::Baseline));
}

#[test]
fn rule_10_another_id_or_a_fallen_counter_is_a_new_connection() {
    let mut table = warm(8, &[connection(1, 7, 1000), connection(2, 7, 1000)]);
    let mut fallen = connection(2, 7, 2000);
    fallen.traffic.reply.packets = 1;
    let (judged, _) = sweep(&mut table, &[connection(1, 9, 1200), fallen]);
    assert_eq!(bytes(judged[0]), 1200);
    assert_eq!(bytes(judged[1]), 2000, "one counter below its baseline condemns all four");
}

#[test]
fn rule_10_an_end_before_the_first_sweep_is_left_out_but_its_stale_record_is_not_believed() {
    let mut table = BaselineTable::with_capacity(8, 1);
    table.begin_sweep();
    assert_eq!(table.ended(&connection(1, 7, 500)), Judged::BeforeFirstSweep);
    assert_eq!(table.live(&connection(1, 7, 480)), Judged::Stale);
    table.end_sweep(true);
    assert!(table.len() == 0);
}

#[test]
fn rule_11_an_end_counts_from_its_final_counters() {
    let mut table = warm(8, &[connection(1, 7, 1000)]);
    assert_eq!(bytes(table.ended(&connection(1, 7, 1300))), 300);
    assert_eq!(bytes(table.ended(&connection(2, 7, 60))), 60, "lived and died between two sweeps");
    assert!(table.len() == 0);
}

#[test]
fn rule_11_a_stale_record_after_the_end_is_not_counted_again() {
    let mut table = warm(8, &[connection(1, 7, 1000)]);
    table.begin_sweep();
    assert_eq!(bytes(table.ended(&connection(1, 7, 1300))), 300);
    assert_eq!(table.live(&connection(1, 7, 1250)), Judged::Stale);
    // The tuple and the id are reused at once; the new connection is told by the next dump, in full.
    assert_eq!(table.live(&connection(1, 7, 50)), Judged::Stale);
    table.end_sweep(true);
    let (judged, _) = sweep(&mut table, &[connection(1, 7, 80)]);
    assert_eq!(bytes(judged[0]), 80);
}

#[test]
fn rule_11_two_ends_of_one_key_in_one_dump_count_both() {
    let mut table = warm(8, &[connection(1, 7, 1000)]);
    table.begin_sweep();
    assert_eq!(bytes(table.ended(&connection(1, 7, 1100))), 100);
    assert_eq!(bytes(table.ended(&connection(1, 7, 1200))), 1200, "the second incarnation owes nothing");
    table.end_sweep(true);
}

#[test]
fn rule_11_only_three_complete_sweeps_without_it_end_a_baseline() {
    let mut table = warm(8, &[connection(1, 7, 1000), connection(2, 8, 10)]);
    for _ in 0..5 {
        table.begin_sweep();
        table.live(&connection(2, 8, 10));
        assert_eq!(table.end_sweep(false), Vanished::default(), "a voided dump proves no absence");
    }
    assert_eq!(sweep(&mut table, &[connection(2, 8, 10)]).1, Vanished::default());
    assert_eq!(sweep(&mut table, &[connection(2, 8, 10)]).1, Vanished::default());
    let (judged, _) = sweep(&mut table, &[connection(1, 7, 1001), connection(2, 8, 10)]);
    assert_eq!(bytes(judged[0]), 1, "it was only overlooked, and the count of absences begins anew");
    for _ in 0..2 {
        assert_eq!(sweep(&mut table, &[connection(2, 8, 10)]).1, Vanished::default());
    }
    assert_eq!(sweep(&mut table, &[connection(2, 8, 10)]).1, Vanished { expected: 1, ..Vanished::default() });
    assert_eq!(table.len(), 1);
}

#[test]
fn rule_11_a_dump_that_repeats_an_entry_adds_nothing() {
    let mut table = warm(8, &[connection(1, 7, 1000)]);
    let (judged, _) = sweep(&mut table, &[connection(1, 7, 1010), connection(1, 7, 1010), connection(1, 7, 1012)]);
    assert_eq!(judged.into_iter().map(bytes).sum::<u64>(), 12);
}

#[test]
fn a_baseline_whose_end_should_have_been_told_is_named_when_it_vanishes() {
    let mut table = warm(8, &[]);
    sweep(&mut table, &[connection(1, 7, 10)]);
    assert_eq!(table.may_end_untold(), 0);
    sweep(&mut table, &[]);
    sweep(&mut table, &[]);
    assert_eq!(sweep(&mut table, &[]).1, Vanished { untold: 1, ..Vanished::default() });
}

#[test]
fn rule_13_a_full_table_never_counts_an_old_connection_from_zero() {
    let mut table = warm(1, &[connection(1, 7, 1000)]);
    let (judged, _) = sweep(&mut table, &[connection(1, 7, 1000), connection(2, 8, 500)]);
    assert_eq!(judged[1], Judged::NotFollowed);
    // It ends while it is not followed: its bytes are lost, and named.
    assert_eq!(table.ended(&connection(2, 8, 700)), Judged::Lost(connection(2, 8, 700).traffic));
    // Room appears; what is first seen now may be old.
    table.ended(&connection(1, 7, 1000));
    let (judged, _) = sweep(&mut table, &[connection(3, 9, 400)]);
    assert_eq!(judged, [Judged::Lost(connection(3, 9, 400).traffic)]);
    // That sweep placed everything: from now on a new connection is new.
    table.ended(&connection(3, 9, 450));
    let (judged, _) = sweep(&mut table, &[connection(4, 10, 30)]);
    assert_eq!(bytes(judged[0]), 30);
}

#[test]
fn rule_13_history_that_never_fitted_is_not_called_lost() {
    let mut table = BaselineTable::with_capacity(1, 1);
    let (judged, _) = sweep(&mut table, &[connection(1, 7, 1000), connection(2, 8, 500)]);
    assert_eq!(judged, [Judged::Baseline, Judged::NotFollowed]);
    assert!(table.first_sweep_done());
    assert_eq!(table.ended(&connection(2, 8, 700)), Judged::BeforeFirstSweep);
    table.ended(&connection(1, 7, 1000));
    let (judged, _) = sweep(&mut table, &[connection(3, 9, 400)]);
    assert_eq!(judged, [Judged::Baseline], "it may be as old as the two before");
}

#[test]
fn f30_the_end_of_a_clash_loser_counts_its_own_bytes_and_leaves_the_winner() {
    let mut table = warm(8, &[connection(1, 7, 1000)]);
    assert_eq!(bytes(table.ended(&connection(1, 9, 40))), 40, "between sweeps");
    table.begin_sweep();
    assert_eq!(bytes(table.ended(&connection(1, 11, 50))), 50, "while a dump runs");
    assert_eq!(bytes(table.live(&connection(1, 7, 1010))), 10, "the winner goes on from where it stood");
    table.end_sweep(true);
    // The id of a loser is used again, under the same key.
    assert_eq!(bytes(table.ended(&connection(1, 7, 1015))), 5);
    assert_eq!(bytes(sweep(&mut table, &[connection(1, 9, 30)]).0[0]), 30);
    assert_eq!(bytes(table.ended(&connection(1, 11, 60))), 60);
    assert_eq!(bytes(table.ended(&connection(1, 9, 31))), 1);
    assert!(table.len() == 0);
}

#[test]
fn f30_a_loser_tells_nothing_of_a_winner_that_no_dump_has_shown_yet() {
    let mut table = BaselineTable::with_capacity(8, 1);
    table.begin_sweep();
    assert_eq!(table.ended(&connection(1, 9, 40)), Judged::BeforeFirstSweep);
    assert_eq!(table.live(&connection(1, 7, 1000)), Judged::Baseline, "its history is not ours");
    assert_eq!(table.ended(&connection(1, 11, 40)), Judged::BeforeFirstSweep);
    table.end_sweep(true);
    assert_eq!(bytes(sweep(&mut table, &[connection(1, 7, 1001)]).0[0]), 1);
}

#[test]
fn f30_stale_records_of_two_entries_of_one_key_are_told_from_a_third() {
    let mut table = warm(8, &[connection(1, 7, 1000)]);
    table.begin_sweep();
    assert_eq!(bytes(table.ended(&connection(1, 7, 1100))), 100);
    assert_eq!(bytes(table.ended(&connection(1, 9, 40))), 40);
    assert_eq!(table.live(&connection(1, 7, 1050)), Judged::Stale);
    assert_eq!(table.live(&connection(1, 9, 40)), Judged::Stale);
    assert_eq!(bytes(table.live(&connection(1, 11, 20))), 20);
    assert_eq!(table.live(&connection(1, 9, 40)), Judged::Stale, "beside a living one, too");
    table.end_sweep(true);
}

#[test]
fn f30_without_ids_another_start_tells_two_entries_of_one_key_apart() {
    let at = |start_ns, bytes| Connection { start_ns, ..connection(1, 0, bytes) };
    let mut table = warm(8, &[at(100, 1000)]);
    assert_eq!(bytes(table.ended(&at(200, 40))), 40);
    assert_eq!(bytes(table.ended(&at(100, 1010))), 10);
}

#[test]
fn f37_what_has_ended_takes_no_room_of_what_is_new() {
    let all: Vec<Connection> = (0..100).map(|port| connection(port, 7, 100)).collect();
    let mut table = warm(100, &all);
    table.begin_sweep();
    for gone in &all[..50] {
        table.ended(gone);
    }
    for port in 200..250 {
        assert_eq!(bytes(table.live(&connection(port, 8, 10))), 10, "port {port} finds a place");
    }
    table.end_sweep(true);
}

#[test]
fn f37_more_ends_than_are_remembered_only_defer_what_is_new() {
    let all: Vec<Connection> = (0..2_000).map(|port| connection(port, 7, 100)).collect();
    let mut table = warm(4_000, &all);
    table.begin_sweep();
    for gone in &all[..1_500] {
        assert_eq!(bytes(table.ended(gone)), 0);
    }
    assert_eq!(table.live(&all[1_400]), Judged::Stale);
    assert_eq!(table.live(&connection(3_000, 8, 10)), Judged::Stale, "it may have ended, for all that is known");
    assert_eq!(bytes(table.live(&connection(1_900, 7, 103))), 3, "what is followed is not in doubt");
    assert_eq!(table.end_sweep(true), Vanished::default());
    assert_eq!(bytes(sweep(&mut table, &[connection(3_000, 8, 15)]).0[0]), 15);
}

#[test]
fn another_zone_makes_the_next_sweep_a_baseline() {
    let mut table = warm(8, &[]);
    table.restart();
    assert_eq!(sweep(&mut table, &[connection(1, 7, 1000)]).0, [Judged::Baseline]);
    assert_eq!(bytes(sweep(&mut table, &[connection(1, 7, 1001)]).0[0]), 1);
}

#[test]
fn records_in_another_order_are_found_all_the_same() {
    let all: Vec<Connection> = (0..50).map(|port| connection(port, 7, 100)).collect();
    let mut table = warm(64, &all);
    for shift in [0, 17, 3] {
        let mut turned = all.clone();
        turned.rotate_left(shift);
        let (judged, vanished) = sweep(&mut table, &turned);
        assert!(judged.iter().all(|j| *j == Judged::Increment(Traffic::ZERO)));
        assert_eq!(vanished, Vanished::default());
    }
}
