use super::*;

#[test]
fn large_ones_are_kept_apart_and_do_not_wrap() {
    let mut further = Further::ZERO;
    let tx = Counts { bytes: 0x1234_5678_9abc, packets: 0x0fed_cba9_8765 };
    further.add(TxRx { tx, rx: Counts { bytes: 52, packets: 1 } });
    further.add(TxRx { tx: Counts { bytes: 1, packets: 1 }, rx: Counts { bytes: 0xffff_ffff, packets: 0xffff_ffff } });
    let both = further.get();
    assert_eq!(both.tx, tx + Counts { bytes: 1, packets: 1 });
    assert_eq!(both.rx, Counts { bytes: 0x1_0000_0033, packets: 0x1_0000_0000 });
    further.add(TxRx { tx: Counts { bytes: 1 << 48, packets: u64::MAX }, rx: Counts::ZERO });
    assert_eq!((further.get().tx, further.get().rx), (Counts { bytes: MOST, packets: MOST }, both.rx));
}
