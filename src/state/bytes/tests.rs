use super::*;

fn there_and_back<T: Persist + PartialEq + std::fmt::Debug>(word: T) {
    let mut out = Vec::new();
    word.put(&mut out);
    let mut from = In(&out);
    assert_eq!(T::take(&mut from).as_ref(), Ok(&word));
    assert!(from.0.is_empty());
    for len in 0..out.len() {
        assert_eq!(T::take(&mut In(&out[..len])), Err(Malformed), "cut at {len}");
    }
}

#[test]
fn words_come_back_as_they_were_and_never_from_less() {
    there_and_back(u64::MAX);
    there_and_back(u32::MAX);
    there_and_back(0u16);
    there_and_back(true);
    there_and_back::<Box<str>>("shop/web-0".into());
    there_and_back(Addr::from_v4([10, 0, 0, 1]));
    there_and_back(Addr::from_v6([0x20; 16]));
    there_and_back(TxRx { tx: Counts { bytes: 1 << 40, packets: 3 }, rx: Counts::ZERO });
}

#[test]
fn numbers_that_are_too_large_are_refused() {
    let mut out = Vec::new();
    varint(&mut out, 1 << 16);
    assert_eq!(u16::take(&mut In(&out)), Err(Malformed));
    assert_eq!(u64::take(&mut In(&[0xff; 11])), Err(Malformed));
    let mut over = [0xff; 10];
    over[9] = 2;
    assert_eq!(u64::take(&mut In(&over)), Err(Malformed));
    assert_eq!(bool::take(&mut In(&[2])), Err(Malformed));
}
