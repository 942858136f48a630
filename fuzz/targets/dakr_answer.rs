//! Answers to a push: as recorded from servers, `status line, headers, empty line, body`, in all three framings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::export::dakr::framing::{Framing, Reply};

fuzz_target!(|bytes: &[u8]| {
    let mut parts = bytes.splitn(2, |b| *b == 0);
    let (Some(head), body) = (parts.next(), parts.next()) else { return };
    // A recorded answer has its empty line; what libFuzzer makes of it may end with a zero byte in its place.
    let at = bytes.windows(4).position(|w| w == b"\r\n\r\n");
    let (head, body) = match at {
        Some(at) => (&bytes[..at], &bytes[at + 4..]),
        None => (head, body.unwrap_or_default()),
    };
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|s| s.parse().ok()).unwrap_or(200);
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut reply = Reply { status, headers, body: body.to_vec(), cut: false };
    for cut in [false, true] {
        reply.cut = cut;
        for framing in Framing::ALL {
            let _ = framing.answer(&reply);
        }
    }
});
