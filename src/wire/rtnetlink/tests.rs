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
    assert_eq!(hop(&route(2)), Some(Hop { link: 0, mtu: 0 }), "the host's own address");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (link(&bytes), counters(&bytes), hop(&bytes));
    }
}
