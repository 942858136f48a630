use super::*;

#[test]
fn an_ipv4_key_is_read_at_its_offsets() {
    let key = [10, 0, 0, 1, 192, 0, 2, 7, 0x1f, 0x90, 0xc0, 0x00, 6, 0, 0, 0];
    let tuple = Tuple::read(&key).expect("sixteen bytes");
    assert_eq!(tuple.local.to_string(), "10.0.0.1");
    assert_eq!(tuple.remote.to_string(), "192.0.2.7");
    assert_eq!((tuple.local_port, tuple.remote_port), (8080, 49152));
    assert_eq!((tuple.protocol, tuple.family, tuple.flags), (6, 4, 0));
}

#[test]
fn an_ipv6_key_is_read_at_its_offsets() {
    let mut key = [0u8; 40];
    key[0] = 0xfd;
    key[15] = 1;
    key[16] = 0xfd;
    key[31] = 2;
    key[32..38].copy_from_slice(&[0, 53, 0x80, 1, 17, 1]);
    let tuple = Tuple::read(&key).expect("forty bytes");
    assert_eq!((tuple.local.to_string(), tuple.remote.to_string()), ("fd00::1".to_owned(), "fd00::2".to_owned()));
    assert_eq!((tuple.local_port, tuple.remote_port), (53, 32769));
    assert_eq!((tuple.protocol, tuple.family, tuple.flags), (17, 6, 1));
}

#[test]
fn a_value_is_read_at_its_offsets() {
    let mut value = [0u8; 64];
    for (at, n) in [(0, 100u64), (8, 200), (16, 3), (24, 4), (32, 26 << 32 | 2), (40, 10 << 32 | 1), (48, 77)] {
        value[at..at + 8].copy_from_slice(&n.to_ne_bytes());
    }
    value[57] = 1;
    value[58] = 1;
    value[61] = 1;
    let counted = Counted::read(&value).expect("64 bytes");
    assert_eq!(counted.tx, Counts { bytes: 100, packets: 3 });
    assert_eq!(counted.rx, Counts { bytes: 200, packets: 4 });
    assert_eq!(counted.more_tx, Counts { bytes: 104, packets: 2 });
    assert_eq!(counted.more_rx, Counts { bytes: 40, packets: 1 });
    assert_eq!(counted.cgroup, 77);
    assert!(counted.opened_by_remote && !counted.opened_by_local && counted.first_is_tx && !counted.listens);
    assert!(counted.answered_remote && !counted.answered_local);
}

#[test]
fn other_lengths_are_refused() {
    assert_eq!(Tuple::read(&[0; 17]), None);
    assert_eq!(Tuple::read(&[]), None);
    assert_eq!(Counted::read(&[0; 63]), None);
}
