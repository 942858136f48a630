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
        dns_lookups: (0..lookups).map(|i| DnsLookupItem { domain: format!("d{i}"), ..Default::default() }).collect(),
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
