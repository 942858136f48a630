use super::*;

const DEV: &[u8] = b"Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 9999999   99999    0    0    0     0          0         0  9999999   99999    0    0    0     0       0          0
  eth0: 2014000    1000    0    0    0     0          0         0     1400     100    0    0    0     0       0          0
";

fn watch() -> Watch {
    Watch { file: None, ..Watch::open() }
}

fn window(watch: &mut Watch, interface_bytes: u64, seen_bytes: u64) -> Sight {
    let start = watch.at_start.first().map_or(0, |r| r.layer3_bytes);
    let mut sight = Sight::Unknown;
    for step in 1..=3 {
        watch.now = vec![Reading { name: [b'e'; 16], layer3_bytes: start + interface_bytes * step / 3 }];
        sight = watch.judge(seen_bytes / 3);
    }
    sight
}

#[test]
fn loopback_and_link_headers_do_not_count() {
    let mut readings = Vec::new();
    parse(DEV, &mut readings);
    assert_eq!(readings.len(), 1);
    assert_eq!(readings[0].layer3_bytes, 2_000_000);
    assert_eq!(&readings[0].name[..5], b"eth0\0");
}

#[test]
fn rule_16_half_of_the_busiest_interface_unseen_is_blind() {
    let mut watch = watch();
    watch.now = vec![Reading { name: [b'e'; 16], layer3_bytes: 500 }];
    assert_eq!(watch.judge(0), Sight::Unknown);
    assert_eq!(window(&mut watch, 3_000_000, 3_000_000), Sight::Clear);
    assert_eq!(
        window(&mut watch, 3_000_000, 1_200_000),
        Sight::Blind { interface_bytes: 3_000_000, seen_bytes: 1_200_000 }
    );
    assert_eq!(window(&mut watch, 900_000, 0), Sight::Unknown, "too little to say");
}
