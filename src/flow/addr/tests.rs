use super::*;

fn addr(text: &str) -> Addr {
    text.parse::<IpAddr>().expect("a literal").into()
}

#[test]
fn an_ipv4_address_keeps_its_family_and_text() {
    assert!(addr("10.1.2.3").is_v4());
    assert!(!addr("::1").is_v4());
    assert_eq!(addr("10.1.2.3").to_string(), "10.1.2.3");
    assert_eq!(addr("fd00::5").to_string(), "fd00::5");
}

#[test]
fn a_range_holds_its_own_family_only() {
    let ten = Cidr::new(addr("10.9.9.9"), 8).expect("valid");
    assert_eq!(ten.to_string(), "10.0.0.0/8");
    assert!(ten.contains(addr("10.255.0.1")) && !ten.contains(addr("11.0.0.0")) && !ten.contains(addr("fd00::1")));
    let all_v6 = Cidr::new(addr("::"), 0).expect("valid");
    assert!(all_v6.contains(addr("2001:db8::1")) && !all_v6.contains(addr("10.0.0.1")));
    let all_v4 = Cidr::new(addr("0.0.0.0"), 0).expect("valid");
    assert!(all_v4.contains(addr("255.1.1.1")) && !all_v4.contains(addr("::1")));
    assert!(Cidr::new(addr("10.0.0.0"), 33).is_none() && Cidr::new(addr("::"), 129).is_none());
}
