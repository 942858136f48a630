use super::*;
use crate::findings::{Verdict, json, status, text};

/// A node on which all is well.
fn well() -> Facts {
    Facts {
        release: "6.12.1".to_owned(),
        btf: true,
        held: Capabilities::NET_ADMIN.and(Capabilities::BPF),
        cgroup_root: Ok("/sys/fs/cgroup".to_owned()),
        conntrack: Some(Conntrack { count: 580, max: 262_144, accounting: true, events: Some(1) }),
        carried: Some(("eth0".to_owned(), 36_000_000)),
        looked_ms: 2_000,
        flowtables: Some(Vec::new()),
        ..Facts::default()
    }
}

const CLUSTER: Wanted =
    Wanted { netfilter: true, programs: false, names: true, both: false, standalone: false, manage: true };
const OWN: Wanted = Wanted { netfilter: false, programs: true, ..CLUSTER };
const AUTO: Wanted = Wanted { both: true, ..OWN };

/// The one finding that is not as it should be.
fn only(facts: &Facts, wanted: Wanted) -> Finding {
    let mut bad = findings(facts, wanted);
    bad.retain(|finding| finding.verdict != Verdict::Ok);
    assert_eq!(bad.len(), 1, "{bad:?}");
    bad.remove(0)
}

fn with_conntrack(change: impl Fn(&mut Conntrack)) -> Facts {
    let mut facts = well();
    change(facts.conntrack.as_mut().expect("there"));
    facts
}

#[test]
fn a_node_on_which_all_is_well_has_no_cure() {
    for wanted in [CLUSTER, OWN, Wanted { standalone: true, ..CLUSTER }] {
        let found = findings(&well(), wanted);
        assert!(found.iter().all(|finding| finding.verdict == Verdict::Ok && finding.cure.is_empty()), "{found:?}");
        assert_eq!(status(&found), 0);
    }
    assert_eq!(blind_causes(&well()), [""; 0], "and no cause to be suspected");
}

#[test]
fn each_cause_is_the_only_one_named_with_its_cure() {
    use Verdict::{Fail, Warn};
    let no_caps = Facts { held: Capabilities::NONE, ..well() };
    let admin = Facts { held: Capabilities::NET_ADMIN, ..well() };
    let flowtable = |counts| Some(vec![Flowtable { name: "ip filter ft".to_owned(), counts }]);
    let cases: Vec<(Facts, Wanted, Verdict, &str, &str)> = vec![
        (
            with_conntrack(|c| c.count = 0),
            CLUSTER,
            Fail,
            "no rule asks for connection tracking: 0 entries, eth0 carried 36000000 bytes in 2 s",
            "-collector-mode ebpf",
        ),
        (
            Facts { carried: None, ..with_conntrack(|c| c.count = 0) },
            CLUSTER,
            Warn,
            "nothing to tell by",
            "while there is traffic",
        ),
        (
            with_conntrack(|c| c.accounting = false),
            CLUSTER,
            Warn,
            "accounting off",
            "switches accounting on when it starts",
        ),
        (
            with_conntrack(|c| c.accounting = false),
            Wanted { manage: false, ..CLUSTER },
            Fail,
            "accounting off",
            "net.netfilter.nf_conntrack_acct=1",
        ),
        (with_conntrack(|c| c.count = c.max), CLUSTER, Fail, "the table is full", "nf_conntrack_max"),
        (with_conntrack(|c| c.count = c.max / 100 * 91), CLUSTER, Warn, "nearly full", "nf_conntrack_max"),
        (with_conntrack(|c| c.events = Some(0)), CLUSTER, Warn, "events 0", "nf_conntrack_events=1"),
        (Facts { conntrack: None, carried: None, ..well() }, OWN, Verdict::Ok, "", ""),
        (no_caps, CLUSTER, Fail, "none", "CAP_NET_ADMIN missing"),
        (admin.clone(), CLUSTER, Warn, "CAP_NET_ADMIN", "no names of remote addresses without CAP_BPF"),
        (admin, OWN, Fail, "CAP_NET_ADMIN", "CAP_BPF missing"),
        (Facts { release: "5.4.0".to_owned(), ..well() }, OWN, Fail, "Linux 5.4.0", "-collector-mode netfilter"),
        (Facts { cgroup_root: Err("mount it".to_owned()), ..well() }, CLUSTER, Warn, "counted as the node", "mount it"),
        (Facts { cgroup_root: Err("mount it".to_owned()), ..well() }, OWN, Fail, "cannot attach", "mount it"),
        (
            Facts { cgroup_v1: true, ..well() },
            CLUSTER,
            Warn,
            "beside net_cls or net_prio",
            "unified_cgroup_hierarchy=1",
        ),
        (
            Facts { v1_of_pods: Some("/sys/fs/cgroup/pids".to_owned()), ..well() },
            CLUSTER,
            Warn,
            "/sys/fs/cgroup holds no pods, /sys/fs/cgroup/pids (cgroup v1) does",
            "cgroupDriver: systemd",
        ),
        (Facts { ipvs_services: 3, ..well() }, CLUSTER, Fail, "IPVS has 3 services", "net.ipv4.vs.conntrack=1"),
        (
            Facts { flowtables: flowtable(false), ..well() },
            CLUSTER,
            Fail,
            "flow table ip filter ft has no counter",
            "counter;",
        ),
        (Facts { bridges: vec!["cni0".to_owned()], ..well() }, CLUSTER, Warn, "bridge cni0", "br_netfilter"),
        (Facts { ipvs_services: 3, ipvs_conntrack: true, ..well() }, OWN, Warn, "IPVS has 3", "-collector-mode auto"),
        (Facts { ipvs_services: 3, ..well() }, AUTO, Warn, "IPVS has 3", "net.ipv4.vs.conntrack=1"),
        (Facts { ipsec: true, ..well() }, OWN, Warn, "IPsec has policies", "-collector-mode auto"),
        (Facts { ipvlan_l3s: true, ..well() }, CLUSTER, Warn, "ipvlan devices in mode l3s", "-collector-mode auto"),
    ];
    for (facts, wanted, verdict, seen, cure) in cases {
        if verdict == Verdict::Ok {
            assert_eq!(status(&findings(&facts, wanted)), 0, "not this mode's trouble");
            continue;
        }
        let found = only(&facts, wanted);
        assert_eq!(found.verdict, verdict, "{found:?}");
        assert!(found.text.contains(seen) && found.cure.contains(cure), "{found:?}");
    }
    for calm in [
        Facts { flowtables: flowtable(true), ..well() },
        Facts { ipvs_services: 3, ipvs_conntrack: true, ..well() },
        Facts { bridges: vec!["cni0".to_owned()], bridged_is_tracked: true, ..well() },
        Facts { btf: false, ..well() },
    ] {
        assert_eq!(status(&findings(&calm, CLUSTER)), 0, "{calm:?}");
    }
    let all = Facts { ipvs_services: 3, ipvs_conntrack: true, ipsec: true, ipvlan_l3s: true, ..well() };
    assert_eq!(status(&findings(&all, AUTO)), 0, "mode auto sees all of it");
    assert_eq!(status(&findings(&Facts { ipsec: true, ..well() }, CLUSTER)), 0, "conntrack sees the node's own");
}

/// A node whose bridge, flow table or rules hid pods was called healthy while nothing showed by volume.
#[test]
fn f35_what_hides_traffic_is_found_without_any() {
    let bridge = || vec!["cni0".to_owned()];
    let notrack = || vec!["inet raw prerouting".to_owned()];
    let flowtable = |counts| Some(vec![Flowtable { name: "ip filter ft".to_owned(), counts }]);
    // What is there; whether it hides traffic from conntrack alone, programs alone, and both; a word of it.
    let cases = [
        (well(), [false; 3], ""),
        (Facts { bridges: bridge(), ..well() }, [true, false, false], "bridge cni0"),
        (Facts { bridges: bridge(), bridged_is_tracked: true, ..well() }, [false; 3], ""),
        (Facts { notrack: notrack(), ..well() }, [true, false, false], "notrack"),
        (Facts { flowtables: flowtable(false), ..well() }, [true, false, false], "flow table"),
        (Facts { flowtables: flowtable(true), ..well() }, [false; 3], ""),
        (Facts { ipvs_services: 3, ..well() }, [true, true, true], "IPVS has 3 services"),
        (Facts { ipvs_services: 3, ipvs_conntrack: true, ..well() }, [false, true, false], "IPVS has 3 services"),
        (Facts { ipsec: true, ..well() }, [false, true, false], "IPsec"),
        (Facts { ipvlan_l3s: true, ..well() }, [true, false, false], "ipvlan"),
    ];
    for (facts, hides, word) in cases {
        for ((by_conntrack, by_programs), hides) in [(true, false), (false, true), (true, true)].into_iter().zip(hides)
        {
            let found = hiding(&facts, by_conntrack, by_programs);
            assert_eq!(!found.is_empty(), hides, "{by_conntrack} {by_programs} {found:?}");
            assert!(found.iter().all(|cause| cause.contains(word) && cause.ends_with(')')), "{found:?}");
        }
    }
}

/// On a host of its own the agent asks for tracking itself.
#[test]
fn standalone_needs_no_rule_but_may_be_forbidden_one() {
    let standalone = Wanted { standalone: true, ..CLUSTER };
    for facts in [with_conntrack(|c| c.count = 0), Facts { conntrack: None, ..well() }] {
        assert_eq!(status(&findings(&facts, standalone)), 0);
        assert_eq!(status(&findings(&facts, Wanted { manage: false, ..standalone })), 1);
    }
}

#[test]
fn only_causes_that_were_found_are_named_for_a_blind_source() {
    let facts = Facts { bridges: vec!["cni0".to_owned()], ..with_conntrack(|c| c.count = 0) };
    let causes = blind_causes(&facts);
    assert_eq!(causes.len(), 2, "{causes:?}");
    assert!(causes[0].starts_with("no rule asks") && causes[1].starts_with("bridge cni0"), "{causes:?}");
}

#[test]
fn a_report_says_cures_and_counts() {
    let found = [
        Finding::ok("kernel", "fine"),
        Finding::warn("clock", "9 s off", "run chrony"),
        Finding::fail("DAKR", "401", "token?"),
    ];
    let want = "  ok    kernel        fine\n  warn  clock         9 s off\n                     -> run chrony\n  FAIL  DAKR          401\n                     -> token?\n1 failed, 1 warning\n";
    assert_eq!(text(&found, "->"), want);
    assert_eq!((status(&found), status(&found[..2]), status(&found[..1]), status(&[])), (1, 3, 0, 0));
    let value: serde_json::Value = serde_json::from_str(&json(&found)).expect("JSON");
    assert_eq!(value[2], serde_json::json!({"area": "DAKR", "verdict": "fail", "text": "401", "cure": "token?"}));
    assert_eq!(text(&found[..1], "->").lines().last(), Some("all is well"));
}

#[test]
fn a_rule_that_takes_packets_out_of_tracking_is_named() {
    let notrack = vec!["ip raw of iptables-legacy".to_owned()];
    let blind = Facts { notrack, ..with_conntrack(|c| c.count = 0) };
    let causes = blind_causes(&blind).join("; ");
    assert!(causes.starts_with("rules take all packets out of connection tracking"), "{causes}");
    assert!(!causes.contains("no rule asks"), "a rule may well ask: {causes}");
    let facts = Facts { notrack: vec!["ip raw PREROUTING".to_owned(), "inet t pre".to_owned()], ..well() };
    let causes = blind_causes(&facts);
    assert!(causes.iter().any(|cause| cause.contains("chain ip raw PREROUTING (and 1 more)")), "{causes:?}");
    assert!(!blind_causes(&well()).iter().any(|cause| cause.contains("notrack")));
}
