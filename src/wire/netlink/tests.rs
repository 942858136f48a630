use proptest::prelude::*;

use super::*;

#[test]
fn what_is_written_is_read() {
    let mut writer = Writer::default();
    writer.message(0x101, 5, 7);
    writer.raw(&[2, 0, 0, 0]);
    writer.nested(1, |w| w.attribute(2, &[1, 2, 3]));
    writer.message(DONE, 2, 7);
    writer.raw(&[0; 4]);
    let bytes = writer.finish();
    let messages: Vec<Message<'_>> = Messages::of(&bytes).map(|m| m.expect("well formed")).collect();
    assert_eq!(messages.len(), 2);
    assert_eq!((messages[0].kind, messages[0].flags, messages[0].seq), (0x101, 5, 7));
    assert_eq!((messages[1].kind, messages[1].errno()), (DONE, 0));
    let outer = Attributes::of(&messages[0].payload[4..]).next().expect("one").expect("well formed");
    let inner = Attributes::of(outer.value).next().expect("one").expect("well formed");
    assert_eq!((outer.kind, inner.kind, inner.value), (1, 2, &[1, 2, 3][..]));
}

#[test]
fn a_length_too_short_for_its_header_ends_the_walk() {
    for len in [0u32, 1, 15] {
        let mut bytes = [0u8; 32];
        bytes[..4].copy_from_slice(&len.to_ne_bytes());
        assert_eq!(Messages::of(&bytes).collect::<Vec<_>>(), [Err(Malformed)]);
    }
    for len in 0u16..4 {
        let mut bytes = [0u8; 8];
        bytes[..2].copy_from_slice(&len.to_ne_bytes());
        assert_eq!(Attributes::of(&bytes).collect::<Vec<_>>(), [Err(Malformed)]);
    }
}

#[test]
fn a_length_past_the_end_is_malformed() {
    let mut bytes = [0u8; 16];
    bytes[..4].copy_from_slice(&17u32.to_ne_bytes());
    assert_eq!(Messages::of(&bytes).collect::<Vec<_>>(), [Err(Malformed)]);
    assert_eq!(Attributes::of(&[9, 0, 1, 0, 1, 2, 3, 4]).collect::<Vec<_>>(), [Err(Malformed)]);
}

#[test]
fn an_error_carries_its_errno() {
    let mut writer = Writer::default();
    writer.message(ERROR, 0, 1);
    writer.raw(&(-1i32).to_ne_bytes());
    let bytes = writer.finish();
    assert_eq!(Messages::of(&bytes).next().expect("one").expect("well formed").errno(), 1);
}

proptest! {
    #[test]
    fn any_bytes_are_walked_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Messages::of(&bytes).count() <= bytes.len() / 16 + 1);
        prop_assert!(Attributes::of(&bytes).count() <= bytes.len() / 4 + 1);
    }
}
