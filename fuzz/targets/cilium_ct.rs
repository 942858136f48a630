//! Entries of Cilium's conntrack maps one behind the other, keys before values; the first byte says of which family. Each
//! value is read as a service's backend too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use netmon::wire::cilium_backend;
use netmon::wire::cilium_ct::{KEY4_BYTES, KEY6_BYTES, Layout, Survey, VALUE_BYTES, parse};

fuzz_target!(|bytes: &[u8]| {
    let Some((family, entries)) = bytes.split_first() else { return };
    let key_bytes = if family & 1 == 0 { KEY4_BYTES } else { KEY6_BYTES };
    let mut survey = Survey::default();
    let mut layout = Layout::Unknown;
    let id = u32::from(*family) << 12;
    for key_bytes in [2, 4] {
        let mut room = [0; 4];
        let written = cilium_backend::key(id, key_bytes, &mut room);
        assert!(written.map_or(key_bytes == 2 && id > 0xffff, |key| key.len() == key_bytes));
    }
    for entry in entries.chunks(key_bytes + VALUE_BYTES) {
        let (key, value) = entry.split_at(key_bytes.min(entry.len()));
        let backend = cilium_backend::parse(value, family & 1 == 0);
        assert!(backend.is_ok_and(|b| b.addr.is_v4() || family & 1 == 1) || value.len() < 18);
        let Ok(entry) = parse(key, value) else { continue };
        let c = entry.connection(layout, 1);
        assert!(c.key.family == 6 || c.key.src.is_v4());
        let cut = c.traffic.without_headers(14);
        assert!(cut.orig.bytes <= c.traffic.orig.bytes && cut.reply.bytes <= c.traffic.reply.bytes);
        assert!(layout != Layout::Sum || c.traffic.orig.is_zero() || c.traffic.reply.is_zero(), "a sum stands once");
        survey.note(&entry);
        layout = survey.layout(layout);
        survey.accounting();
    }
});
