use super::*;

fn addr(n: u8) -> Addr {
    Addr::from_v4([10, 0, 0, n])
}

#[test]
fn a_way_is_kept_until_it_is_forgotten() {
    let mut paths = Paths::default();
    assert_eq!(paths.known(addr(1)), None);
    let eth0 = Way { uplink: Some(0), mtu: 1500 };
    let path = paths.learn(addr(1), eth0);
    assert_eq!(paths.known(addr(1)), Some(path));
    assert_eq!(paths.known(addr(2)), None);
    assert_eq!(paths.learn(addr(2), eth0), path, "one number for one way");
    assert_eq!(paths.way(path), eth0);
    assert_eq!(paths.learn(addr(3), Way::default()), Path::UNKNOWN);
    paths.forget();
    assert_eq!(paths.known(addr(1)), None);
    assert_eq!(paths.way(path), eth0, "the number still means it");
}

#[test]
fn ways_without_a_number_left_are_unknown() {
    let mut paths = Paths::default();
    let numbers: Vec<u8> = (1..=70).map(|mtu| paths.learn(addr(1), Way { uplink: Some(0), mtu }).number()).collect();
    assert_eq!(numbers[..31], (1..32).collect::<Vec<u8>>());
    assert_eq!(numbers[31..], [0; 39]);
    assert_eq!(Path::of_number(32), Path::UNKNOWN);
}

/// The kernel takes microseconds for what is not kept.
#[test]
fn neighbours_do_not_drive_each_other_out() {
    let mut paths = Paths::default();
    let addresses = || (0..4_000u32).map(|n| Addr::from_v4((10 << 24 | n).to_be_bytes()));
    addresses().for_each(|addr| _ = paths.learn(addr, Way { uplink: Some(1), mtu: 1500 }));
    let known = addresses().filter(|addr| paths.known(*addr).is_some()).count();
    assert!(known > 3_800, "{known} of 4,000");
}
