//! Links, counters and routes: what follows `struct nlmsghdr`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::wire::rtnetlink::{counters, hop, link, route, rule};

fuzz_target!(|bytes: &[u8]| {
    if let Some(link) = link(bytes) {
        assert_eq!(link.index.to_ne_bytes(), bytes[4..8]);
    }
    let _ = rule(bytes);
    if let Some(route) = route(bytes) {
        assert!(route.hop.is_none_or(|hop| hop.link == 0 || bytes.len() >= 12 + 8), "a link stands in an attribute");
    }
    if let Some(hop) = hop(bytes) {
        assert!(hop.link == 0 || bytes.len() >= 12 + 8, "a link stands in an attribute");
    }
    let _ = counters(bytes);
});
