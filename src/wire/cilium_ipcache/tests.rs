use proptest::prelude::*;

use super::*;

const NODE_V4: [u8; 4] = [192, 168, 1, 7];
const NODE_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

/// As Cilium writes it; `cluster` are the three bytes before the family.
fn key(family: u8, prefix: u32, addr: &[u8], cluster: [u8; 3]) -> Vec<u8> {
    let mut key = (BITS_BEFORE + prefix).to_ne_bytes().to_vec();
    key.extend(cluster);
    key.push(family);
    key.extend(addr);
    key.resize(KEY_BYTES, 0);
    key
}

fn v1(node: [u8; 4]) -> Vec<u8> {
    // Identity, node, number of the node until 1.14, key, flags since 1.15.
    [&[0xfe, 0x6f, 0, 0][..], &node, &[0xaa, 0xbb, 0xff, 0xff]].concat()
}

fn v2(node: &[u8], flags: u8) -> Vec<u8> {
    let mut value = [&[0xfe, 0x6f, 0, 0][..], node].concat();
    value.resize(20, 0);
    value.extend([0xaa, 0xbb, 0xff, flags]);
    value
}

fn read(layout: Layout, key: &[u8], value: &[u8]) -> Option<(String, String)> {
    let found = parse(layout, key, value).expect("well formed");
    found.map(|(range, node)| (range.to_string(), node.to_string()))
}

fn told(range: &str, node: &str) -> Option<(String, String)> {
    Some((range.to_owned(), node.to_owned()))
}

#[test]
fn every_layout_tells_the_node_of_a_range_of_either_family() {
    let pod = key(IPV4, 32, &[10, 0, 2, 34], [0; 3]);
    let range = key(IPV4, 24, &[10, 0, 2, 0], [0; 3]);
    let pod_v6 = key(IPV6, 128, &[0xfd, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x22], [0; 3]);
    let range_v6 = key(IPV6, 64, &[0xfd, 0, 0, 0x10, 0, 0, 0, 2], [0; 3]);
    let ranges = [
        (&pod, "10.0.2.34/32"),
        (&range, "10.0.2.0/24"),
        (&pod_v6, "fd00:10::22/128"),
        (&range_v6, "fd00:10:0:2::/64"),
    ];
    for (key, text) in ranges {
        assert_eq!(read(Layout::V1, key, &v1(NODE_V4)), told(text, "192.168.1.7"));
        // Whatever else the flags say: that it is sent without a tunnel, that the node is of another cluster.
        for others in [0, 0b1001, 0xf8] {
            assert_eq!(read(Layout::V2, key, &v2(&NODE_V4, HAS_NODE | others)), told(text, "192.168.1.7"));
            let flags = HAS_NODE | NODE_IS_V6 | others;
            assert_eq!(read(Layout::V2, key, &v2(&NODE_V6, flags)), told(text, "fd00::7"));
        }
    }
}

/// A dump of bpftool's of 1.9, whose layout stood until 1.17: a pod of the node itself.
#[test]
fn an_entry_of_a_real_node_is_read() {
    let key = [0x40, 0, 0, 0, 0, 0, 0, 1, 10, 0, 0, 0xb9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut value = [0xfe, 0x6f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(read(Layout::V1, &key, &value), None);
    value[4..8].copy_from_slice(&NODE_V4);
    assert_eq!(read(Layout::V1, &key, &value), told("10.0.0.185/32", "192.168.1.7"));
}

#[test]
fn what_has_no_other_node_or_is_of_another_cluster_is_left_out() {
    let pod = key(IPV4, 32, &[10, 0, 2, 34], [0; 3]);
    let none = |key: &[u8]| {
        assert_eq!(read(Layout::V1, key, &v1(NODE_V4)), None);
        assert_eq!(read(Layout::V2, key, &v2(&NODE_V4, HAS_NODE)), None);
    };
    assert_eq!(read(Layout::V1, &pod, &v1([0; 4])), None, "local, or the world");
    assert_eq!(read(Layout::V2, &pod, &v2(&NODE_V4, 1)), None, "by the flag, whatever stands there");
    assert_eq!(read(Layout::V2, &pod, &v2(&[0; 16], HAS_NODE | NODE_IS_V6)), None);
    // The number of a cluster: one byte until 1.13, two since.
    none(&key(IPV4, 32, &[10, 0, 2, 34], [0, 0, 1]));
    none(&key(IPV4, 32, &[10, 0, 2, 34], [1, 0, 0]));
    none(&key(IPV4, 32, &[10, 0, 2, 34], [0, 1, 0]));
    none(&key(IPV4, 32, &NODE_V4, [0; 3]));
    none(&key(IPV4, 0, &[0; 4], [0; 3]));
    none(&key(IPV6, 0, &[0; 16], [0; 3]));
}

#[test]
fn what_no_release_writes_is_refused() {
    let pod = key(IPV4, 32, &[10, 0, 2, 34], [0; 3]);
    let (short, long) = (v1(NODE_V4), v2(&NODE_V4, HAS_NODE));
    assert_eq!(parse(Layout::V1, &key(IPV4, 33, &[10, 0, 2, 34], [0; 3]), &short), Err(Malformed));
    assert_eq!(parse(Layout::V1, &key(IPV6, 129, &[0xfd], [0; 3]), &short), Err(Malformed));
    assert_eq!(parse(Layout::V1, &key(3, 32, &[10, 0, 2, 34], [0; 3]), &short), Err(Malformed));
    assert_eq!(parse(Layout::V1, &[31u32.to_ne_bytes().to_vec(), pod[4..].to_vec()].concat(), &short), Err(Malformed));
    for cut in 0..12 {
        assert_eq!(parse(Layout::V1, &pod[..cut], &short), Err(Malformed));
    }
    assert_eq!(parse(Layout::V1, &pod, &short[..7]), Err(Malformed));
    assert_eq!(parse(Layout::V2, &pod, &long[..23]), Err(Malformed));
    let sizes = [(24, 12), (24, 24), (24, 16), (20, 12), (12, 24)].map(|(key, value)| Layout::of(key, value));
    assert_eq!(sizes, [Some(Layout::V1), Some(Layout::V2), None, None, None]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(
        key in proptest::collection::vec(any::<u8>(), 0..=KEY_BYTES),
        value in proptest::collection::vec(any::<u8>(), 0..=24),
    ) {
        for layout in [Layout::V1, Layout::V2] {
            if let Ok(Some((range, node))) = parse(layout, &key, &value) {
                prop_assert!(range.prefix() > 0 && !range.contains(node));
            }
        }
    }
}
