//! Links, counters and routes, and what generic netlink says of tunnels: what follows `struct nlmsghdr`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::wire::genetlink::{HEAD_BYTES, listening_port, number, receiving_port};
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
    let _ = number(bytes);
    if let Some(port) = receiving_port(bytes) {
        assert!(bytes.windows(2).any(|two| two == port.to_be_bytes()));
    }
    if let Some(port) = listening_port(bytes, 0) {
        assert_eq!(port.to_ne_bytes(), bytes[HEAD_BYTES - 2..HEAD_BYTES], "nothing behind the head is read");
    }
});
