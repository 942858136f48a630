use super::*;
use crate::wire::rtnetlink::LinkKind;

#[test]
fn the_kernel_tells_links_counters_and_routes() {
    let mut links = Links::open().expect("a socket");
    let mut found = Vec::new();
    links.list(&mut |link| found.push(*link)).expect("a list");
    let lo = found.iter().find(|link| link.kind == LinkKind::Loopback).expect("every namespace has one");
    assert_eq!((lo.index, &lo.name[..3]), (1, &b"lo\0"[..]));
    let before = links.counters(lo.index).expect("counters");
    std::net::UdpSocket::bind("127.0.0.1:0")
        .and_then(|socket| socket.send_to(&[0; 1_000], "127.0.0.1:9"))
        .expect("loopback is up");
    let after = links.counters(lo.index).expect("counters");
    assert!(after.tx.bytes >= before.tx.bytes + 1_028 && after.tx.packets > before.tx.packets, "{before:?} {after:?}");
    let own = links.route(Addr::from_v4([127, 0, 0, 1])).expect("a route");
    assert_eq!(own.link, 0, "it leaves by no link");
    assert!(links.counters(u32::MAX >> 1).is_err());
    assert!(links.counters(lo.index).is_ok(), "an error leaves nothing behind");
}

#[test]
fn invalid_packets_are_summed_over_the_cpus() {
    let text = "entries  clashres found new invalid ignore\n0000000a 0 0 0 00000010 0\n0000000a 0 0 0 00000002 0\n";
    assert_eq!(invalid_of(text), 18);
    assert_eq!(invalid_of(""), 0);
    assert_eq!(invalid_of("a b\n1 2\n"), 0);
}

#[test]
fn neighbour_discovery_is_summed_by_direction() {
    let text = "ifIndex \t2\nIcmp6InNeighborSolicits  \t3\nIcmp6InEchos \t9\nIcmp6OutMLDv2Reports \t4\n\
                Icmp6OutNeighborAdvertisements \t2\nIcmp6OutType143 \t4\nIp6InMcastPkts 8\n";
    assert_eq!(neighbours_of(text), [6, 3, 8]);
    assert_eq!(neighbours_of(""), [0; 3]);
}
