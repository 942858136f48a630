//! Certificates of servers, as far as messages are made of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::wire::x509::Certificate;

fuzz_target!(|bytes: &[u8]| {
    let Ok(read) = Certificate::read(bytes) else { return };
    assert!(read.version > 0);
    assert!(read.names.iter().chain([&read.subject, &read.issuer]).all(|text| !text.contains(char::is_control)));
});
