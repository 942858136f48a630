use super::*;
use crate::flow::Counts;

/// All of it outside but one byte, each way.
fn carried(bytes: u64) -> [TxRx; 4] {
    let both = |tx, rx| TxRx { tx: Counts { bytes: tx, packets: 1 }, rx: Counts { bytes: rx, packets: 1 } };
    let mut by_class = [TxRx::ZERO; 4];
    by_class[Class::Inside as usize] = both(1, 1);
    by_class[Class::Outside as usize] = both(bytes, 2 * bytes);
    by_class
}

#[test]
fn the_history_is_of_the_last_hour_and_has_its_bound() {
    let history = History::default();
    for second in 0..2 * 3_600 {
        history.note(second * SECOND, &carried(second));
    }
    let all = history.since(0);
    assert_eq!(all.len(), 720);
    assert_eq!((all[719].wall_ns, all[719].bytes(None)), (7_195 * SECOND, [7_196, 14_391]));
    let of = |class| all[719].bytes(Some(class));
    assert_eq!((of(Class::Inside), of(Class::Outside), of(Class::Overlay)), ([1, 1], [7_195, 14_390], [0, 0]));
    assert_eq!(history.since(7_190 * SECOND).len(), 2);
    assert!(size_of::<Past>() * History::POINTS <= 52 << 10, "an hour of it has its bound");
    assert!(all.windows(2).all(|two| two[1].wall_ns - two[0].wall_ns == 5 * SECOND));
    history.note(20_000 * SECOND, &carried(20_000));
    assert_eq!(history.since(0).len(), 1, "of a node that slept only what is of the last hour is left");
    history.note(100 * SECOND, &carried(20_001));
    assert_eq!(history.since(0)[0].wall_ns, 100 * SECOND, "a clock that was set back begins anew");
}
