//! JSON with its long strings cut: whoever reads it finds what stands in the whole, or refuses both. The first byte
//! says how large the reads are.
#![no_main]

use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use netmon::kube::abridged::Abridged;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::error::Category;

/// Longer than any string that is kept.
const LONG_BYTES: usize = 513;

/// Hands out so many bytes at a time.
struct Pieces<'a> {
    left: &'a [u8],
    most: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.most);
        self.left.read(&mut buffer[..most])
    }
}

fn read(bytes: &[u8]) -> Result<Value, Category> {
    let mut value = serde_json::from_slice(bytes).map_err(|error| error.classify())?;
    level(&mut value);
    Ok(value)
}

/// Makes all strings that are too long the same.
fn level(value: &mut Value) {
    match value {
        Value::String(text) if text.len() >= LONG_BYTES => *text = "too long".to_owned(),
        Value::Array(list) => list.iter_mut().for_each(level),
        Value::Object(map) => {
            map.retain(|key, _| key.len() < LONG_BYTES);
            map.values_mut().for_each(level);
        }
        _ => {}
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((size, whole)) = bytes.split_first() else { return };
    let mut cut = Vec::new();
    let source = Pieces { left: whole, most: usize::from(*size) * 3 + 1 };
    Abridged::new(source).read_to_end(&mut cut).expect("memory");
    assert_eq!(read(whole), read(&cut));
    let skipped = |bytes| serde_json::from_slice::<IgnoredAny>(bytes).map_err(|error| error.classify());
    assert_eq!(skipped(whole).err(), skipped(&cut).err());
});
