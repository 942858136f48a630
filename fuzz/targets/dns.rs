//! DNS messages, as one datagram and as a TCP segment.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::wire::dns::{MAX_TEXT_BYTES, Message, next_of_segment};

fuzz_target!(|bytes: &[u8]| {
    read(bytes);
    let mut rest = bytes;
    while let Some((message, next)) = next_of_segment(rest) {
        read(message);
        rest = next;
    }
});

fn read(bytes: &[u8]) {
    let Ok(message) = Message::read(bytes) else { return };
    let mut room = [0; MAX_TEXT_BYTES];
    let text = message.name.text(&mut room);
    assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()));
    let mut addresses = 0;
    let mut least_ttl_seen = u32::MAX;
    let found = message.addresses(&mut |_, ttl| {
        addresses += 1;
        least_ttl_seen = least_ttl_seen.min(ttl);
    });
    if let Ok(found) = found {
        assert_eq!(found.addresses, addresses);
        assert!(addresses == 0 || least_ttl_seen <= i32::MAX as u32, "RFC 2181");
    }
}
