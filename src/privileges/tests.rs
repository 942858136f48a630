use super::*;

#[test]
fn the_collector_keeps_what_its_source_goes_on_needing() {
    let net = Capabilities::NET_ADMIN;
    let old = Capabilities::BPF.and(Capabilities::SYS_RESOURCE);
    for (running, release, kept) in [
        ("netfilter", "5.10.0-30-amd64", net),
        ("ebpf", "6.1.0-28-cloud-amd64", net),
        ("ebpf", "5.19.0", net),
        ("ebpf", "5.15.0-1051-aws", net.and(old)),
        ("ebpf", "unreadable", net.and(old)),
        ("cilium", "6.12.1", Capabilities::NONE),
        ("cilium", "5.10.0", old),
        ("replay", "6.12.1", Capabilities::NONE),
    ] {
        assert_eq!(kept_by_collector(running, release), kept, "{running} on {release}");
    }
}
