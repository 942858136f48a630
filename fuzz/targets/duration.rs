//! Durations of flags and environment.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::config::duration::parse;

fuzz_target!(|text: &str| {
    if let Some(ns) = parse(text) {
        assert!(ns <= i64::MAX as u64, "beyond what Go can hold");
        assert_eq!(parse(&format!("{ns}ns")), Some(ns));
        // What is read once is read the same with nothing added.
        assert_eq!(parse(&format!("{}0ns", if text == "0" { "" } else { text })), Some(ns));
    }
});
