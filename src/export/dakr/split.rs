//! Halves the body of a push that DAKR finds too large.
//!
//! Works on the encoded bytes, for the rows that made them may have changed: items, lookups and names are divided, the
//! header's fields stand in both halves.

use super::encode::{DNS_LOOKUPS, IP2DOMAIN, ITEMS, RX_BYTES, TX_BYTES};
use crate::wire::protobuf::{Fields, Value};

/// One half.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Half {
    /// A whole request body.
    pub body: Vec<u8>,
    /// How many items it holds.
    pub items: u32,
    /// How many DNS lookups it holds.
    pub lookups: u32,
    /// tx plus rx bytes of its items.
    pub total_bytes: u64,
}

/// The two halves of a request body, the first with the first items; `None` if it holds a single entry, or is malformed.
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

/// How many DNS lookups a request body holds.
pub fn lookups(body: &[u8]) -> u32 {
    Fields::of(body).filter(|field| field.as_ref().is_ok_and(|field| field.number == DNS_LOOKUPS)).count() as u32
}

/// Index of what is divided; `None` for what is repeated.
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
mod tests {
    use super::super::schema::{DnsLookupItem, NetworkTrafficItem, SendNetworkTrafficMetricsRequest};
    use super::*;

    use proptest::prelude::*;
    use prost::Message as _;

    fn request(items: usize, lookups: usize, names: usize) -> SendNetworkTrafficMetricsRequest {
        SendNetworkTrafficMetricsRequest {
            cluster_id: "c".into(),
            node_name: "n".into(),
            items: (0..items)
                .map(|i| NetworkTrafficItem { tx_bytes: 1 + i as i64, rx_bytes: 1000, ..Default::default() })
                .collect(),
            dns_lookups: (0..lookups)
                .map(|i| DnsLookupItem { domain: format!("d{i}"), ..Default::default() })
                .collect(),
            ip2domain: (0..names).map(|i| (format!("10.0.0.{i}"), "x".to_owned())).collect(),
            operator_version: Some("1".into()),
            ..Default::default()
        }
    }

    fn read(half: &Half) -> SendNetworkTrafficMetricsRequest {
        SendNetworkTrafficMetricsRequest::decode(&half.body[..]).expect("a whole request")
    }

    #[test]
    fn a_single_entry_is_not_divided() {
        for (items, lookups, names) in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)] {
            assert_eq!(split(&request(items, lookups, names).encode_to_vec()), None);
        }
        assert_eq!(split(&[0x22, 9]), None);
    }

    proptest! {
        #[test]
        fn halves_hold_everything_once_and_the_header_twice(items in 0usize..9, lookups in 0usize..5, names in 0usize..5) {
            let whole = request(items, lookups, names);
            let Some((a, b)) = split(&whole.encode_to_vec()) else {
                prop_assert!(items + lookups + names < 2);
                return Ok(());
            };
            let (first, second) = (read(&a), read(&b));
            for half in [&first, &second] {
                prop_assert_eq!(&half.cluster_id, "c");
                prop_assert_eq!(&half.node_name, "n");
                prop_assert_eq!(half.operator_version.as_deref(), Some("1"));
                prop_assert!(half.items.len() + half.dns_lookups.len() + half.ip2domain.len() > 0);
            }
            prop_assert_eq!((a.items as usize, b.items as usize), (first.items.len(), second.items.len()));
            prop_assert_eq!((a.lookups as usize, b.lookups as usize), (first.dns_lookups.len(), second.dns_lookups.len()));
            prop_assert_eq!(super::lookups(&whole.encode_to_vec()) as usize, lookups);
            let sum = |items: &[NetworkTrafficItem]| items.iter().map(|i| (i.tx_bytes + i.rx_bytes) as u64).sum::<u64>();
            prop_assert_eq!((a.total_bytes, b.total_bytes), (sum(&first.items), sum(&second.items)));
            prop_assert_eq!([first.items, second.items].concat(), whole.items);
            prop_assert_eq!([first.dns_lookups, second.dns_lookups].concat(), whole.dns_lookups);
            let mut names = first.ip2domain;
            names.extend(second.ip2domain);
            prop_assert_eq!(names, whole.ip2domain);
        }

        #[test]
        fn any_bytes_are_split_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some((a, b)) = split(&body) {
                prop_assert!(a.body.len() < body.len() && b.body.len() < body.len());
            }
        }
    }
}
