//! Frames of a recording: the first byte is the kind, the rest the payload; length and checksum are made to fit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::wire::recording::{CHECKSUM, FRAME_HEADER, HEADER, append, check_header, header, parse, payload_len};

fuzz_target!(|bytes: &[u8]| {
    if let Some(head) = bytes.first_chunk::<HEADER>() {
        assert_eq!(check_header(head).is_ok(), *head == header());
    }
    let Some((kind, payload)) = bytes.split_first() else { return };
    let mut frame = (payload.len() as u32).to_le_bytes().to_vec();
    frame.extend(bytes);
    frame.extend(crc32(&frame).to_le_bytes());
    let (head, body) = frame.split_first_chunk::<FRAME_HEADER>().expect("it is longer");
    assert_eq!(payload_len(head), Ok(payload.len()));
    if let Ok(read) = parse(head, body) {
        let mut written = Vec::new();
        append(&mut written, &read);
        assert_eq!(written, frame, "kind {kind} is written as it was read");
    }
    // As it came, so that neither length nor checksum fit.
    if let Some((head, body)) = bytes.split_first_chunk::<FRAME_HEADER>() {
        let accepted = parse(head, body).is_ok();
        assert!(!accepted || body.len() >= CHECKSUM);
    }
});

/// CRC-32 of zlib, bit by bit: slow, and not the one that is tested.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}
