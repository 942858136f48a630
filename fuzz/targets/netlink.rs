//! Datagrams of netlink: messages, their attributes, and those nested in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::wire::netlink::{Attributes, Messages};

fuzz_target!(|bytes: &[u8]| {
    let mut seen = 0;
    for message in Messages::of(bytes) {
        let Ok(message) = message else { break };
        seen += 16 + message.payload.len();
        message.errno();
        // Behind struct nfgenmsg, and behind struct ifaddrmsg.
        for offset in [4, 8] {
            attributes(message.payload.get(offset..).unwrap_or_default(), 4);
        }
    }
    assert!(seen <= bytes.len(), "messages overlap");
});

fn attributes(bytes: &[u8], depth: usize) {
    let mut seen = 0;
    for attribute in Attributes::of(bytes) {
        let Ok(attribute) = attribute else { break };
        seen += 4 + attribute.value.len();
        if depth > 0 {
            attributes(attribute.value, depth - 1);
        }
    }
    assert!(seen <= bytes.len(), "attributes overlap");
}
