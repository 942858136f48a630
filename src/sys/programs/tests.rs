use super::*;

#[test]
fn missing_capabilities_are_named() {
    let new = (6, 1);
    assert_eq!(missing_capabilities(0, new), ["CAP_BPF", "CAP_NET_ADMIN"]);
    assert_eq!(missing_capabilities(1 << 39, new), ["CAP_NET_ADMIN"]);
    assert_eq!(missing_capabilities(1 << 12, new), ["CAP_BPF"]);
    assert!(missing_capabilities(1 << 12 | 1 << 39, new).is_empty());
    assert!(missing_capabilities(1 << 21, new).is_empty());
    assert_eq!(missing_capabilities(1 << 12 | 1 << 39, (5, 10)), ["CAP_SYS_RESOURCE"]);
}

#[test]
fn the_verifiers_last_word_is_found() {
    let lines = [
        "libbpf: prog 'egress': BPF program load failed: -EACCES\n".to_owned(),
        "libbpf: prog 'egress': -- BEGIN PROG LOAD LOG --\n0: R1=ctx()\nattempt to corrupt spilled pointer on \
             stack\nprocessed 12 insns\n-- END PROG LOAD LOG --\n"
            .to_owned(),
        "libbpf: failed to load object\n".to_owned(),
    ];
    assert_eq!(verifier_line(&lines).as_deref(), Some("attempt to corrupt spilled pointer on stack"));
    assert_eq!(verifier_line(&lines[2..]), None);
}
