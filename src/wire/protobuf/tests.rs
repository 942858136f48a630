use super::*;

use proptest::prelude::*;

#[test]
fn varints_are_minimal_and_their_length_is_known() {
    for (value, bytes) in [
        (0, &[0u8][..]),
        (127, &[0x7f]),
        (128, &[0x80, 1]),
        (300, &[0xac, 2]),
        (u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]),
    ] {
        let mut out = Vec::new();
        varint(&mut out, value);
        assert_eq!(out, bytes);
        assert_eq!(varint_len(value), bytes.len());
    }
}

#[test]
fn what_is_cut_or_overlong_is_malformed() {
    for body in [
        &[0x0a][..],                                                      // a length is missing
        &[0x0a, 5, 1],                                                    // a string past the end
        &[0x80],                                                          // a tag without its end
        &[0x00, 1],                                                       // field number 0
        &[0x0b],                                                          // a group
        &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], // 65 bits
        &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], // a length of 2^64 - 1
        &[0x09, 1, 2, 3],                                                 // half a fixed64
    ] {
        assert_eq!(Fields::of(body).last(), Some(Err(Malformed)), "{body:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_walked_without_a_panic_and_every_byte_once(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let walked: Result<Vec<_>, _> = Fields::of(&body).collect();
        if let Ok(fields) = walked {
            let whole: Vec<u8> = fields.iter().flat_map(|f| f.raw.iter().copied()).collect();
            prop_assert_eq!(whole, body);
        }
    }

    #[test]
    fn a_length_is_what_is_appended(value in any::<u64>(), text in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut out = Vec::new();
        integer(&mut out, 15, value);
        prop_assert_eq!(out.len(), integer_len(value));
        out.clear();
        string(&mut out, 15, &text);
        prop_assert_eq!(out.len(), string_len(&text));
    }
}
