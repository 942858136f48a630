use super::*;

fn addr(text: &str) -> Addr {
    text.parse::<std::net::IpAddr>().expect("a literal").into()
}

fn cidr(text: &str) -> Cidr {
    let (base, bits) = text.split_once('/').expect("a literal");
    Cidr::new(addr(base), bits.parse().expect("a literal")).expect("a literal")
}

#[test]
fn rule_9_outside_ranges_cut_holes_into_inside() {
    let classes = Classes::new(&[cidr("10.0.0.0/8"), cidr("fc00::/7")], &[cidr("10.9.0.0/16")], &[]);
    assert!(classes.is_inside(addr("10.1.2.3")) && classes.is_inside(addr("fd00::1")));
    assert!(!classes.is_inside(addr("10.9.2.3")) && !classes.is_inside(addr("192.0.2.1")));
}

#[test]
fn rule_6_tunnels_are_known_by_protocol_or_port() {
    let classes = Classes::new(&[], &[], &[4790]);
    assert!(classes.is_tunnel(protocol::GRE, 0) && classes.is_tunnel(protocol::UDP, 8472));
    assert!(classes.is_tunnel(protocol::UDP, 4790));
    assert!(!classes.is_tunnel(protocol::TCP, 8472) && !classes.is_tunnel(protocol::UDP, 53));
}

#[test]
fn rule_13_a_prefix_that_crosses_a_class_border_is_no_fold() {
    let classes = Classes::new(&[cidr("10.0.0.0/8")], &[cidr("10.1.2.128/25"), cidr("198.51.100.0/24")], &[]);
    assert_eq!(classes.prefix_of(addr("10.1.3.77")), Some(addr("10.1.3.0")));
    assert_eq!(classes.prefix_of(addr("10.1.2.7")), None);
    assert_eq!(classes.prefix_of(addr("198.51.100.9")), Some(addr("198.51.100.0")), "the border is the prefix's own");
    assert_eq!(classes.prefix_of(addr("2001:db8:1:2:3::4")), Some(addr("2001:db8:1:2::")));
}

#[test]
fn rule_13_the_stand_in_keeps_the_class() {
    let classes = Classes::new(&[cidr("172.16.0.0/12"), cidr("fc00::/7")], &[], &[]);
    assert_eq!(classes.stand_in(Class::Inside, true), addr("172.16.0.0"));
    assert_eq!(classes.stand_in(Class::Inside, false), addr("fc00::"));
    assert_eq!(classes.stand_in(Class::Outside, true), Addr::UNSPECIFIED_V4);
}
