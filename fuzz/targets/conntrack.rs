//! Payloads of conntrack messages (what follows `struct nlmsghdr`).
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::flow::Reading;
use netmon::wire::conntrack::parse;

fuzz_target!(|bytes: &[u8]| {
    let live = parse(bytes, Reading::Live);
    let ended = parse(bytes, Reading::Ended);
    assert_eq!(live.is_ok(), ended.is_ok(), "what it says does not hang on who asks");
    if let Ok(record) = live {
        let key = record.connection.key;
        assert!(matches!(key.family, 4 | 6));
        assert!(key.family == 6 || key.src.is_v4());
    }
});
