use super::*;

fn message(kind: u16, header: [u8; HEADER], attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.message(kind, 0, 1);
    writer.raw(&header);
    attributes.iter().for_each(|(kind, value)| writer.attribute(*kind, value));
    writer.finish().split_off(16)
}

fn route_of(prefix: u8, kind: u8, attributes: &[(u16, &[u8])]) -> Option<(String, u32, String)> {
    let header = [2, prefix, 0, 0, 254, 0, 0, kind, 0, 0, 0, 0];
    route(&message(24, header, attributes)).map(|r| (r.range.to_string(), r.device, r.gateway.to_string()))
}

#[test]
fn only_a_range_behind_one_gateway_is_one() {
    let (dst, gateway, device) =
        ((RTA_DST, &[10, 1, 2, 0][..]), (RTA_GATEWAY, &[192, 168, 0, 3][..]), 7u32.to_ne_bytes());
    let device = (RTA_OIF, &device[..]);
    let good = route_of(24, RTN_UNICAST, &[dst, device, gateway]).expect("a route");
    assert_eq!(good, ("10.1.2.0/24".to_owned(), 7, "192.168.0.3".to_owned()));
    assert_eq!(route_of(24, RTN_UNICAST, &[dst, device]), None, "on the link");
    assert_eq!(route_of(0, RTN_UNICAST, &[gateway, device]), None, "the default route");
    assert_eq!(route_of(24, 2, &[dst, device, gateway]), None, "local");
    assert_eq!(route_of(33, RTN_UNICAST, &[dst, device, gateway]), None, "a prefix that there is not");
    assert_eq!(route_of(24, RTN_UNICAST, &[(RTA_DST, &[10, 1][..]), device, gateway]), None, "half an address");
    for cut in 0..HEADER {
        assert!(route(&[0; HEADER][..cut]).is_none());
    }
}

#[test]
fn the_kernels_own_routes_can_be_read() {
    let mut routes = Routes::open().expect("rtnetlink needs no privilege");
    let hops = routes.next_hops().expect("the kernel answers");
    assert!(hops.iter().all(|(range, _)| range.prefix() > 0));
    assert_eq!(routes.next_hops().expect("again"), hops);
}
