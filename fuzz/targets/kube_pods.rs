//! What an API server sends: a list of pods, a watch, a refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::kube::decode::{Events, read_list, read_status};

fuzz_target!(|bytes: &[u8]| {
    let _ = read_list(bytes, |_| {});
    // A watch ends with its bytes: every event takes some of them.
    let events = Events::new(bytes).take_while(Result::is_ok).count();
    assert!(events <= bytes.len());
    let _ = read_status(bytes);
});
