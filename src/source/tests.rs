use super::*;

fn config(mode: &str, fallback: &str) -> Config {
    let flags = ["-standalone", "-collector-mode", mode, "-fallback", fallback].map(Into::into);
    match crate::config::parse(flags, |_| None, Some("n".into())) {
        Ok(crate::config::Command::Run(config)) => *config,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_source_states_the_facts_of_its_own_kind_and_no_two_have_one_rank() {
    for kind in SourceKind::ALL {
        assert_eq!(facts(kind).kind, kind);
        assert_eq!(facts(kind).rank.is_some(), kind.mode().is_some(), "a fallback needs no argument");
    }
    let mut ranks: Vec<u8> = SourceKind::ALL.iter().filter_map(|kind| facts(*kind).rank).collect();
    let all = ranks.len();
    ranks.sort_unstable();
    ranks.dedup();
    assert_eq!(ranks.len(), all);
}

#[test]
fn the_fallback_goes_from_the_wanted_source_on() {
    let of = |mode, fallback| candidates(&config(mode, fallback));
    assert_eq!(of("cilium", "auto"), [Mode::Cilium, Mode::Ebpf, Mode::Netfilter]);
    assert_eq!(of("ebpf", "auto"), [Mode::Ebpf, Mode::Netfilter]);
    assert_eq!(of("netfilter", "auto"), [Mode::Netfilter]);
    assert_eq!(of("auto", "auto"), [Mode::Auto, Mode::Ebpf, Mode::Netfilter]);
    assert_eq!(of("cilium", "none"), [Mode::Cilium]);
    assert_eq!(of("replay:x", "auto"), [Mode::Replay("x".into())]);
}
