//! Halves the body of a push that is too large for DAKR.
//!
//! Works on the encoded bytes, because the rows behind them may have changed. Items, lookups and names are divided; both
//! halves repeat the fields of the header.

use super::encode::{DNS_LOOKUPS, IP2DOMAIN, ITEMS, RX_BYTES, TX_BYTES};
use crate::wire::protobuf::{Fields, Value};

/// One half of a request body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Half {
    /// Complete in itself.
    pub body: Vec<u8>,
    pub items: u32,
    pub lookups: u32,
    /// tx plus rx bytes of its items.
    pub total_bytes: u64,
}

/// Returns the two halves, the first items in the first; `None` if there is a single entry, or the body is malformed.
pub fn split(body: &[u8]) -> Option<(Half, Half)> {
    let mut entries = [0usize; 3];
    for field in Fields::of(body) {
        if let Some(kind) = kind(field.ok()?.number) {
            entries[kind] += 1;
        }
    }
    let [items, lookups, names] = entries;
    let mut first = [items.div_ceil(2), lookups / 2, names / 2];
    // Neither half may be empty, or halving would never end.
    if first == [0; 3] {
        first[1] = lookups;
    }
    if first == [0; 3] || first == entries {
        return None;
    }
    let mut halves = (Half::default(), Half::default());
    let mut seen = [0usize; 3];
    for field in Fields::of(body) {
        let field = field.ok()?;
        let Some(kind) = kind(field.number) else {
            halves.0.body.extend_from_slice(field.raw);
            halves.1.body.extend_from_slice(field.raw);
            continue;
        };
        let half = if seen[kind] < first[kind] { &mut halves.0 } else { &mut halves.1 };
        seen[kind] += 1;
        half.body.extend_from_slice(field.raw);
        half.lookups += u32::from(field.number == DNS_LOOKUPS);
        if field.number == ITEMS {
            half.items += 1;
            half.total_bytes = half.total_bytes.saturating_add(item_bytes(&field.value));
        }
    }
    Some(halves)
}

/// Counts the DNS lookups in a request body.
#[allow(clippy::cast_possible_truncation, reason = "a message has at most 5,000 items")]
pub fn lookups(body: &[u8]) -> u32 {
    Fields::of(body).filter(|field| field.as_ref().is_ok_and(|field| field.number == DNS_LOOKUPS)).count() as u32
}

/// Index of a divided field; `None` for one that both halves repeat.
fn kind(field: u64) -> Option<usize> {
    [ITEMS, DNS_LOOKUPS, IP2DOMAIN].iter().position(|divided| *divided == field)
}

/// tx plus rx bytes of an item.
fn item_bytes(item: &Value<'_>) -> u64 {
    let Value::Bytes(item) = item else { return 0 };
    Fields::of(item)
        .flatten()
        .filter(|field| field.number == TX_BYTES || field.number == RX_BYTES)
        .map(|field| match field.value {
            Value::Varint(bytes) => bytes,
            _ => 0,
        })
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests;
