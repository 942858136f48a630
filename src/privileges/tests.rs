use super::*;

#[test]
fn the_collector_keeps_what_its_source_goes_on_needing() {
    let net = Capabilities::NET_ADMIN;
    let old = Capabilities::BPF.and(Capabilities::SYS_RESOURCE);
    let needs = |net_admin, bpf_maps| Needs { net_admin, bpf_maps };
    for (needs, release, kept) in [
        (needs(true, false), "5.10.0-30-amd64", net),
        (needs(true, true), "6.1.0-28-cloud-amd64", net),
        (needs(true, true), "5.19.0", net),
        (needs(true, true), "5.15.0-1051-aws", net.and(old)),
        (needs(true, true), "unreadable", net.and(old)),
        (needs(false, true), "6.12.1", Capabilities::NONE),
        (needs(false, true), "5.10.0", old),
        (needs(false, false), "6.12.1", Capabilities::NONE),
    ] {
        assert_eq!(kept_by_collector(needs, release), kept, "{needs:?} on {release}");
    }
}
