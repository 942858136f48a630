use proptest::prelude::*;

use super::*;
use crate::wire::netlink::Messages;

fn message(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.message(1, 0, 0);
    fill(&mut writer);
    let bytes = writer.finish();
    Messages::of(&bytes).next().expect("one").expect("well formed").payload.to_vec()
}

#[test]
fn a_link_is_read() {
    let payload = message(|w| {
        let mut header = [0; LINK_HEADER];
        header[2] = 1;
        header[4] = 7;
        w.raw(&header);
        w.attribute(IFLA_IFNAME, b"flannel.1\0");
        w.attribute(IFLA_MTU, &1450_u32.to_ne_bytes());
        w.attribute(IFLA_LINK, &2_u32.to_ne_bytes());
        w.attribute(IFLA_MASTER, &9_u32.to_ne_bytes());
        w.nested(IFLA_LINKINFO, |w| w.attribute(IFLA_INFO_KIND, b"vxlan\0"));
    });
    let link = link(&payload).expect("a link");
    assert_eq!((link.index, link.mtu, link.lower, link.master, link.is_ethernet), (7, 1450, 2, 9, true));
    assert_eq!((&link.name[..10], link.kind), (&b"flannel.1\0"[..], LinkKind::Tunnel { overhead: 50 }));
}

#[test]
fn f38_a_tunnels_port_is_read() {
    let of = |kind: &[u8], port: u16| {
        let payload = message(|w| {
            w.raw(&[0; LINK_HEADER]);
            w.nested(IFLA_LINKINFO, |w| {
                w.attribute(IFLA_INFO_KIND, kind);
                w.nested(IFLA_INFO_DATA, |w| {
                    w.attribute(IFLA_VXLAN_LINK, &4_u32.to_ne_bytes());
                    w.attribute(port, &5000_u16.to_be_bytes());
                });
            });
        });
        link(&payload).map(|link| (link.lower, link.port))
    };
    assert_eq!(of(b"vxlan\0", IFLA_VXLAN_PORT), Some((4, 5000)));
    assert_eq!(of(b"geneve\0", IFLA_GENEVE_PORT), Some((0, 5000)));
    assert_eq!(of(b"geneve\0", IFLA_VXLAN_PORT), Some((0, 0)));
    assert_eq!(of(b"vlan\0", IFLA_GENEVE_PORT), Some((0, 0)));
}

#[test]
fn f38_a_tunnel_within_udp_tells_its_port_and_who_knows_more() {
    let of = |kind: &[u8], at: [u16; 2], encap: u16| {
        let payload = message(|w| {
            w.raw(&[0; LINK_HEADER]);
            w.nested(IFLA_LINKINFO, |w| {
                w.attribute(IFLA_INFO_KIND, kind);
                w.nested(IFLA_INFO_DATA, |w| {
                    w.attribute(at[0], &encap.to_ne_bytes());
                    w.attribute(at[1], &5555_u16.to_be_bytes());
                });
            });
        });
        let link = link(&payload).expect("a link");
        (link.port, link.more_ports, link.kind)
    };
    // As if_tunnel.h numbers IFLA_IPTUN_ENCAP_TYPE and _DPORT, IFLA_GRE_ENCAP_TYPE and _DPORT.
    let (iptun, gre) = ([15, 18], [14, 17]);
    let fou = Some(Family::Fou);
    assert_eq!(of(b"ipip\0", iptun, 1), (5555, fou, LinkKind::Tunnel { overhead: 28 }));
    assert_eq!(of(b"sit\0", iptun, 2), (5555, fou, LinkKind::Tunnel { overhead: 32 }), "GUE");
    assert_eq!(of(b"gre\0", gre, 1), (5555, fou, LinkKind::Tunnel { overhead: 32 }));
    assert_eq!(of(b"ip6gretap\0", gre, 1), (5555, fou, LinkKind::Tunnel { overhead: 0 }));
    assert_eq!(of(b"ipip\0", iptun, 0), (0, None, LinkKind::Tunnel { overhead: 20 }), "no UDP");
    assert_eq!(of(b"gre\0", iptun, 1), (0, None, LinkKind::Tunnel { overhead: 24 }));
    assert_eq!(of(b"wireguard\0", iptun, 1), (0, Some(Family::WireGuard), LinkKind::Tunnel { overhead: 60 }));
}

#[test]
fn counters_and_hops_are_read() {
    let numbers: Vec<u8> = (1..=4_u64).flat_map(u64::to_ne_bytes).collect();
    let payload = message(|w| {
        w.raw(&[0; STATS_HEADER]);
        w.attribute(IFLA_STATS_LINK_64, &numbers);
    });
    let found = counters(&payload).expect("counters");
    assert_eq!((found.rx.packets, found.tx.packets, found.rx.bytes, found.tx.bytes), (1, 2, 3, 4));
    let route = |kind: u8| {
        message(|w| {
            let mut header = [0; ROUTE_HEADER];
            header[7] = kind;
            w.raw(&header);
            w.attribute(RTA_OIF, &3_u32.to_ne_bytes());
            w.nested(RTA_METRICS, |w| w.attribute(RTAX_MTU, &1400_u32.to_ne_bytes()));
        })
    };
    assert_eq!(hop(&route(RTN_UNICAST)), Some(Hop { link: 3, mtu: 1400 }));
    assert_eq!(hop(&route(RTN_BROADCAST)), Some(Hop { link: 3, mtu: 1400 }));
    assert_eq!(hop(&route(RTN_LOCAL)), Some(Hop { link: 0, mtu: 0 }), "the host's own address");
}

fn of_dump(header: [u8; ROUTE_HEADER], fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    message(|w| {
        w.raw(&header);
        fill(w);
    })
}

#[test]
fn a_route_is_read_and_what_depends_on_more_has_no_hop() {
    let header = |kind: u8| [AF_INET, 16, 0, 0, 254, 0, 0, kind, 0, 0, 0, 0];
    let fill = |w: &mut Writer| {
        w.attribute(RTA_DST, &[10, 1, 0, 0]);
        w.attribute(RTA_OIF, &3_u32.to_ne_bytes());
        w.attribute(RTA_PRIORITY, &100_u32.to_ne_bytes());
    };
    let found = route(&of_dump(header(RTN_UNICAST), fill)).expect("a route");
    let range = Cidr::new(Addr::from_v4([10, 1, 0, 0]), 16).expect("a range");
    assert_eq!(found, Route { range, table: TABLE_MAIN, metric: 100, hop: Some(Hop { link: 3, mtu: 0 }), own_link: 0 });
    let table = route(&of_dump(header(RTN_UNICAST), |w| {
        fill(w);
        w.attribute(RTA_TABLE, &1_000_u32.to_ne_bytes());
    }));
    assert_eq!(table.map(|route| route.table), Some(1_000));
    let hop_of = |header, fill: &dyn Fn(&mut Writer)| route(&of_dump(header, |w| fill(w))).expect("a route").hop;
    assert_eq!(hop_of(header(6), &|_| {}), Some(Hop { link: 0, mtu: 0 }), "a black hole");
    let several = |w: &mut Writer| {
        fill(w);
        w.attribute(RTA_MULTIPATH, &[0; 8]);
    };
    assert_eq!(hop_of(header(RTN_UNICAST), &several), None);
    assert_eq!(hop_of(header(RTN_UNICAST), &|_| {}), None, "by a next hop of its own");
    assert_eq!(hop_of(header(RTN_THROW), &fill), None);
    for (at, value) in [(2, 8), (3, 4), (8, 1), (8, 16)] {
        let mut header = header(RTN_UNICAST);
        header[at] = value;
        assert_eq!(hop_of(header, &fill), None, "source, service, dead, without carrier: {at}");
    }
    let own = route(&of_dump(header(RTN_LOCAL), fill)).expect("a route");
    assert_eq!((own.own_link, own.hop), (3, Some(Hop { link: 0, mtu: 0 })));
    let any = route(&of_dump([AF_INET6, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0], |_| {})).expect("a route");
    assert_eq!(Some(any.range), Cidr::new(Addr::from_v6([0; 16]), 0));
}

#[test]
fn a_rule_is_read() {
    let header = [AF_INET, 0, 0, 0, 254, 0, 0, ACTION_TABLE, 1, 0, 0, 0];
    let none = u32::MAX.to_ne_bytes();
    let usual = |w: &mut Writer| {
        w.attribute(FRA_TABLE, &254_u32.to_ne_bytes());
        w.attribute(FRA_SUPPRESS_PREFIXLEN, &none);
        w.attribute(FRA_PROTOCOL, &[2]);
        w.attribute(FRA_PRIORITY, &32_766_u32.to_ne_bytes());
    };
    let of = |header, more: &dyn Fn(&mut Writer)| {
        let payload = of_dump(header, |w| {
            usual(w);
            more(w);
        });
        rule(&payload).expect("a rule")
    };
    let all = Rule::Table { table: TABLE_MAIN, is_for_all: true };
    assert_eq!(of(header, &|_| {}), all);
    let with = |at: usize, value: u8| {
        let mut header = header;
        header[at] = value;
        header
    };
    assert_eq!(
        of(with(1, 32), &|w| w.attribute(RTA_DST, &[10, 0, 0, 7])),
        Rule::Table { table: 254, is_for_all: false }
    );
    assert_eq!(of(with(2, 32), &|w| w.attribute(2, &[10, 0, 0, 7])), Rule::Never, "by source");
    assert_eq!(of(header, &|w| w.attribute(FRA_FWMARK, &7_u32.to_ne_bytes())), Rule::Never);
    assert_eq!(of(header, &|w| w.attribute(FRA_IIFNAME, b"eth0\0")), Rule::Never);
    assert_eq!(of(header, &|w| w.attribute(FRA_FWMARK, &0_u32.to_ne_bytes())), Rule::Odd);
    assert_eq!(of(header, &|w| w.attribute(FRA_IIFNAME, b"lo\0")), Rule::Odd);
    assert_eq!(of(header, &|w| w.attribute(22, &[6])), Rule::Odd, "by protocol");
    assert_eq!(of(header, &|w| w.attribute(FRA_SUPPRESS_PREFIXLEN, &[0; 4])), Rule::Odd);
    assert_eq!(of(with(3, 4), &|_| {}), Rule::Odd, "by service");
    assert_eq!(of(with(7, 7), &|_| {}), Rule::Odd, "unreachable");
    assert_eq!(of(with(8, 3), &|w| w.attribute(FRA_FWMARK, &7_u32.to_ne_bytes())), Rule::Odd, "not marked so");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (link(&bytes), counters(&bytes), hop(&bytes), route(&bytes), rule(&bytes));
    }
}
