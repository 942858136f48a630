use super::*;
use crate::audit::Shown;
use crate::audit::equation::Closed;

fn account(name: u8, is_tx: bool, layer3_bytes: u64, unexplained: i64) -> Account {
    let mut closed = Closed { layer3_bytes, ..Closed::default() };
    closed.parts[Part::Unexplained as usize] = unexplained;
    let shown = Shown::default();
    Account { name: [name; 16], is_tx, header_bytes: 14, is_measured: false, closed, shown }
}

fn window(watch: &mut Watch, accounts: &[Account]) -> Sight {
    assert_eq!(watch.end_sweep(accounts), Sight::Unknown);
    assert_eq!(watch.end_sweep(accounts), Sight::Unknown);
    watch.end_sweep(accounts)
}

#[test]
fn rule_16_more_than_half_of_an_uplink_unexplained_is_blind() {
    let mut watch = Watch::default();
    let base = |layer3, unexplained| [account(b'e', true, 500, 0), account(b'e', false, layer3, unexplained)];
    assert_eq!(watch.end_sweep(&base(700, 9)), Sight::Unknown);
    assert_eq!(window(&mut watch, &base(3_000_700, 9)), Sight::Clear);
    let blind =
        Sight::Blind { interface: [b'e'; 16], is_tx: false, interface_bytes: 3_000_000, unexplained_bytes: 1_500_001 };
    assert_eq!(window(&mut watch, &base(6_000_700, 1_500_010)), Sight::Unknown, "it may be under way");
    assert_eq!(window(&mut watch, &base(9_000_700, 3_000_011)), blind, "the second window in turn");
    assert_eq!(window(&mut watch, &base(12_000_700, 4_500_011)), Sight::Clear, "half is not more than half");
    assert_eq!(window(&mut watch, &base(12_900_700, 5_400_000)), Sight::Unknown, "too little to say");
    assert_eq!(window(&mut watch, &base(19_900_700, -5)), Sight::Clear, "more counted than carried");
}

#[test]
fn rule_16_the_uplink_that_hides_most_is_named() {
    let mut watch = Watch::default();
    let both = |of_a, of_b| [account(b'a', true, of_a, of_a as i64), account(b'b', true, of_b, of_b as i64)];
    assert_eq!(watch.end_sweep(&both(0, 0)), Sight::Unknown);
    assert_eq!(window(&mut watch, &both(2_000_000, 9_000_000)), Sight::Unknown);
    let found = window(&mut watch, &both(4_000_000, 18_000_000));
    assert!(matches!(found, Sight::Blind { interface, .. } if interface == [b'b'; 16]), "{found:?}");
}
