use super::*;

#[test]
fn reasons_stand_at_their_own_numbers() {
    assert!(Skip::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
    assert!(Lost::ALL.iter().enumerate().all(|(at, reason)| *reason as usize == at));
}

#[test]
fn a_counter_is_found_under_its_name_and_reason() {
    let stats = Stats::default();
    stats.lost_bytes[Lost::RowTableFull as usize].add(7);
    let families = stats.families();
    let lost = families.iter().find(|f| f.name == "netmon_lost_bytes_total").expect("defined above");
    assert_eq!(lost.label, "reason");
    assert_eq!(lost.cells[0].0, "row_table_full");
    assert_eq!(lost.cells[0].1.get(), 7);
    assert_eq!(lost.help, "Bytes lost, tx and rx together, by reason.");
}
