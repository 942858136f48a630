use super::*;
use crate::flow::Counts;

fn carried(bytes: u64) -> TxRx {
    TxRx { tx: Counts { bytes, packets: 1 }, rx: Counts { bytes: 2 * bytes, packets: 1 } }
}

#[test]
fn the_history_is_of_the_last_hour_and_has_its_bound() {
    let history = History::default();
    for second in 0..2 * 3_600 {
        history.note(second * SECOND, carried(second));
    }
    let all = history.all();
    assert_eq!(all.len(), 720);
    assert_eq!(all[719], Past { wall_ns: 7_195 * SECOND, tx_bytes: 7_195, rx_bytes: 14_390 });
    assert!(all.windows(2).all(|two| two[1].wall_ns - two[0].wall_ns == 5 * SECOND));
    history.note(20_000 * SECOND, carried(20_000));
    assert_eq!(history.all().len(), 1, "of a node that slept only what is of the last hour is left");
    history.note(100 * SECOND, carried(20_001));
    assert_eq!(history.all()[0].wall_ns, 100 * SECOND, "a clock that was set back begins anew");
}
