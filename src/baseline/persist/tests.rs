use super::super::tests::{bytes, connection, sweep, warm};
use super::super::{BaselineTable, Judged, Vanished};
use super::*;

fn restarted(before: &BaselineTable, capacity: u32) -> BaselineTable {
    let mut out = Vec::new();
    before.persist(&mut out);
    let mut table = BaselineTable::with_capacity(capacity, 1);
    table.restore(&mut In(&out)).expect("as it was saved");
    for len in 0..out.len() {
        assert_eq!(BaselineTable::with_capacity(capacity, 1).restore(&mut In(&out[..len])), Err(Malformed));
    }
    table
}

#[test]
fn rule_10_with_a_state_file_a_key_that_it_lacks_is_new() {
    let mut table = restarted(&warm(8, &[connection(1, 7, 1000)]), 8);
    let (judged, _) = sweep(&mut table, &[connection(1, 7, 1300), connection(2, 8, 50)]);
    assert_eq!(judged.into_iter().map(bytes).collect::<Vec<_>>(), [300, 50]);
    assert_eq!(table.may_end_untold(), 2, "both may be older than our listener");
    assert_eq!(bytes(table.ended(&connection(3, 9, 70))), 70);
}

#[test]
fn rule_12_what_ended_while_no_agent_ran_is_told() {
    let mut table = restarted(&warm(8, &[connection(1, 7, 1000)]), 8);
    for _ in 0..2 {
        assert_eq!(sweep(&mut table, &[]).1, Vanished::default());
    }
    assert_eq!(sweep(&mut table, &[]).1, Vanished { while_away: 1, ..Vanished::default() });
    assert!(table.len() == 0);
}

#[test]
fn a_table_that_is_smaller_now_takes_what_it_lacks_for_old() {
    let before = warm(8, &[connection(1, 7, 1000), connection(2, 8, 1000)]);
    let mut table = restarted(&before, 1);
    let judged = table.ended(&connection(2, 8, 1200));
    assert!(matches!(judged, Judged::BeforeFirstSweep | Judged::Increment(_)), "{judged:?}");
    assert_eq!(table.ended(&connection(9, 9, 1200)), Judged::BeforeFirstSweep);
}
