use super::*;

fn range(text: &str) -> Cidr {
    crate::topology::lines::range_of(text).expect("a range")
}

fn addr(text: &str) -> Addr {
    Addr::from(text.parse::<std::net::IpAddr>().expect("an address"))
}

fn node(zone: &str, ranges: &[&str], addresses: &[&str]) -> Node {
    Node {
        zone: zone.into(),
        region: if zone.is_empty() { "".into() } else { "r".into() },
        ranges: ranges.iter().map(|text| range(text)).collect(),
        addresses: addresses.iter().map(|text| addr(text)).collect(),
    }
}

fn lines(cluster: &Cluster) -> Vec<String> {
    let found = cluster.ranges().expect("few");
    found.ranges.iter().map(|(range, place)| format!("{range} {}", found.places[usize::from(*place)].0)).collect()
}

fn of(nodes: &[(&str, Node)]) -> Cluster {
    let mut cluster = Cluster::default();
    assert!(cluster.replace_nodes(nodes.iter().map(|(name, node)| ((*name).into(), node.clone()))));
    cluster
}

#[test]
fn ranges_and_addresses_lie_where_their_node_is_and_neighbours_are_joined() {
    let cluster = of(&[
        ("a", node("z1", &["10.1.0.0/24", "fd00:1::/64"], &["192.168.0.1"])),
        ("b", node("z1", &["10.1.1.0/24"], &["192.168.0.4"])),
        ("c", node("z2", &["10.1.2.0/24"], &["192.168.0.9"])),
        ("nowhere", node("", &["10.1.3.0/24"], &["192.168.0.10"])),
    ]);
    assert_eq!(
        lines(&cluster),
        [
            "10.1.0.0/23 z1",
            "10.1.2.0/24 z2",
            "192.168.0.1/32 z1",
            "192.168.0.4/32 z1",
            "192.168.0.9/32 z2",
            "fd00:1::/64 z1"
        ]
    );
    assert!(!cluster.needs_pods());
}

#[test]
fn what_two_zones_claim_is_said_of_neither() {
    let mut cluster = of(&[
        ("old", node("z1", &["10.1.0.0/24"], &["192.168.0.1"])),
        ("new", node("z2", &["10.1.0.0/24"], &["192.168.0.2"])),
    ]);
    assert_eq!(lines(&cluster), ["192.168.0.1/32 z1", "192.168.0.2/32 z2"]);
    assert!(cluster.remove_node("old"));
    assert_eq!(lines(&cluster), ["10.1.0.0/24 z2", "192.168.0.2/32 z2"], "the replacement has it now");
}

#[test]
fn a_relabelled_node_moves_and_one_that_is_as_before_changes_nothing() {
    let mut cluster = of(&[("a", node("z1", &["10.1.0.0/24"], &[]))]);
    assert!(!cluster.set_node("a", node("z1", &["10.1.0.0/24"], &[])), "a heartbeat");
    assert!(cluster.set_node("a", node("z2", &["10.1.0.0/24"], &[])));
    assert_eq!(lines(&cluster), ["10.1.0.0/24 z2"]);
    assert!(!cluster.replace_nodes([("a".into(), node("z2", &["10.1.0.0/24"], &[]))].into_iter()), "listed again");
    assert!(cluster.replace_nodes([].into_iter()));
    assert!(lines(&cluster).is_empty());
}

#[test]
fn pods_lie_where_their_node_is_unless_a_range_says_it_already() {
    let mut cluster = of(&[("a", node("z1", &["10.1.0.0/24"], &[])), ("b", node("z2", &[], &[]))]);
    assert!(cluster.needs_pods());
    let placed = |node: &str, text: &str| Placed { node: node.into(), addresses: vec![addr(text)] };
    assert!(cluster.set_pod("1", placed("a", "10.1.0.7")));
    assert!(cluster.set_pod("2", placed("b", "10.9.0.1")));
    assert!(cluster.set_pod("3", placed("gone", "10.9.0.2")));
    assert_eq!(lines(&cluster), ["10.1.0.0/24 z1", "10.9.0.1/32 z2"]);
    assert!(!cluster.set_pod("2", placed("b", "10.9.0.1")));
    assert!(cluster.set_pod("2", placed("a", "10.9.0.1")), "its address went to another node");
    assert_eq!(lines(&cluster), ["10.1.0.0/24 z1", "10.9.0.1/32 z1"]);
    assert!(cluster.remove_pod("2"));
    assert_eq!(lines(&cluster), ["10.1.0.0/24 z1"]);
}

#[test]
fn more_than_a_table_holds_is_said() {
    let mut cluster = of(&[("a", node("z1", &[], &[])), ("b", node("z2", &[], &[]))]);
    for n in 0..=MAX_RANGES as u32 {
        // Every other address: nothing can be joined.
        let address = Addr::from_v4((0x0a00_0000 + 2 * n).to_be_bytes());
        cluster.set_pod(&n.to_string(), Placed { node: "a".into(), addresses: vec![address] });
    }
    assert_eq!(cluster.ranges(), Err(TooMuch));
    cluster.remove_pod("0");
    assert_eq!(cluster.ranges().map(|found| found.ranges.len()), Ok(MAX_RANGES));
}
