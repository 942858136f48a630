use super::*;

#[test]
fn f18_the_time_that_is_missing_is_said_for_each_source() {
    let said = gap(SourceKind::Ebpf, Some(61_250_000_000));
    assert!(said.contains("61.2 s ago") && said.contains("in no counter"), "{said}");
    for source in [SourceKind::Netfilter, SourceKind::Cilium] {
        assert!(gap(source, Some(SECOND)).contains("1.0 s ago: traffic since then is counted"), "{source:?}");
    }
}
