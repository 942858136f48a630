//! Entries of Cilium's map of addresses one behind the other, keys before values; the first byte says of which layout.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::wire::cilium_ipcache::{KEY_BYTES, Layout, parse};

fuzz_target!(|bytes: &[u8]| {
    let Some((layout, entries)) = bytes.split_first() else { return };
    let (layout, value_bytes) = if layout & 1 == 0 { (Layout::V1, 12) } else { (Layout::V2, 24) };
    assert_eq!(Layout::of(KEY_BYTES, value_bytes), Some(layout));
    for entry in entries.chunks(KEY_BYTES + value_bytes) {
        let (key, value) = entry.split_at(KEY_BYTES.min(entry.len()));
        if let Ok(Some((range, node))) = parse(layout, key, value) {
            assert!(range.prefix() > 0 && !range.contains(node));
        }
    }
});
