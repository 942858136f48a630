use proptest::prelude::*;

use super::*;

fn frames() -> impl Strategy<Value = (Frame<'static>, Vec<u8>)> {
    let bytes = proptest::collection::vec(any::<u8>(), 0..200);
    (0usize..14, any::<u64>(), any::<u64>(), any::<u32>(), bytes).prop_map(|(which, a, b, c, bytes)| {
        let now = Now { mono_ns: a, wall_ns: b };
        let addr = Addr::from_v4(c.to_be_bytes());
        let frame = match which {
            0 => Frame::SweepBegins(now, c),
            1 => Frame::DrainBegins(now),
            2 => Frame::Ends,
            3 => Frame::Buckets(a),
            4 => Frame::DumpFailed(c as i32),
            5 => Frame::Overflow(c),
            6 => Frame::Dropped(c),
            7 => Frame::Address(AddressChange::Added(addr)),
            8 => Frame::Address(AddressChange::Removed(addr)),
            9 => Frame::Closed,
            13 => Frame::Started(now),
            10 | 11 => Frame::Chunk(&[]),
            _ => Frame::Event(&[]),
        };
        (frame, bytes)
    })
}

/// Frames with bytes of their own cannot be static, so the bytes are put in afterwards.
fn with<'a>(frame: Frame<'a>, bytes: &'a [u8]) -> Frame<'a> {
    match frame {
        Frame::Chunk(_) => Frame::Chunk(bytes),
        Frame::Event(_) => Frame::Event(bytes),
        other => other,
    }
}

fn read(bytes: &[u8]) -> Result<Frame<'_>, Corrupt> {
    let (head, body) = bytes.split_first_chunk::<FRAME_HEADER>().expect("a header");
    parse(head, body)
}

proptest! {
    #[test]
    fn what_is_appended_is_read((frame, bytes) in frames()) {
        let frame = with(frame, &bytes);
        let mut out = Vec::new();
        append(&mut out, &frame);
        prop_assert_eq!(read(&out), Ok(frame));
    }

    #[test]
    fn a_flipped_bit_is_noticed((frame, bytes) in frames(), bit in any::<prop::sample::Index>()) {
        let mut out = Vec::new();
        append(&mut out, &with(frame, &bytes));
        let bit = bit.index(out.len() * 8);
        out[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(read(&out).is_err());
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), FRAME_HEADER..64)) {
        let _ = read(&bytes);
    }
}

#[test]
fn a_kind_and_its_length_belong_together() {
    let mut out = Vec::new();
    append(&mut out, &Frame::Buckets(1));
    let (len, payload) = (8u32.to_le_bytes(), &out[FRAME_HEADER..FRAME_HEADER + 8]);
    for (kind, expected) in [(kind::ENDS, Corrupt::Payload(kind::ENDS)), (99, Corrupt::Kind(99))] {
        let head = [len[0], len[1], len[2], len[3], kind];
        let mut body = payload.to_vec();
        body.extend(checksum(&head, payload).to_le_bytes());
        assert_eq!(parse(&head, &body), Err(expected));
    }
}

#[test]
fn a_foreign_header_is_named() {
    assert_eq!(check_header(&header()), Ok(()));
    assert_eq!(check_header(&[0; HEADER]), Err(Corrupt::NotARecording));
    let mut bytes = header();
    bytes[8] = 9;
    assert_eq!(check_header(&bytes), Err(Corrupt::Version(9)));
    let mut bytes = header();
    bytes[12..].reverse();
    assert_eq!(check_header(&bytes), Err(Corrupt::ByteOrder));
    assert_eq!(payload_len(&[0, 0, 0x11, 0, 1]), Err(Corrupt::Length(0x11_0000)));
}
