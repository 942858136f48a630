//! Request heads, in whatever pieces they arrive: the first byte says where the second piece begins.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::http::request::{HEAD_BYTES, Parsed, parse};

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let whole = parse(bytes);
    let first = bytes.get(..usize::from(*cut)).unwrap_or(bytes);
    let verdict = parse(first);
    assert!(verdict == Parsed::Partial || verdict == whole, "{verdict:?} became {whole:?}");
    if let Parsed::Whole(request) = whole {
        assert!(request.path.starts_with('/') && !request.path.contains('?'));
    }
    assert!(whole != Parsed::Partial || bytes.len() < HEAD_BYTES, "someone may wait for ever");
});
