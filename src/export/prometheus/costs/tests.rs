use std::sync::Arc;

use super::*;
use crate::clock::{Now, SECOND};
use crate::owner::Pod;
use crate::topology::Way;
use crate::topology::names::{Learner, Names};

const HOLD_NS: u64 = 360 * SECOND;

fn pod(name: &str, uid: &str) -> Owner {
    Owner::Pod(Arc::new(Pod {
        uid: uid.into(),
        namespace: "shop".into(),
        name: name.into(),
        workload: None,
        host_network: false,
    }))
}

/// Owners 3 and 4 bear one name.
fn snapshot(now_s: u64, costs: &[(u32, Way, u64, u64, u64)]) -> Snapshot {
    let mut learner = Learner::new(Names::default());
    learner.service("aws-s3").expect("room");
    let view = |(owner, way, tx_bytes, rx_bytes, since_s): &(u32, Way, u64, u64, u64)| CostView {
        owner: *owner,
        way: *way,
        tx_bytes: *tx_bytes,
        rx_bytes: *rx_bytes,
        since_mono_ns: since_s * SECOND,
    };
    Snapshot {
        taken: Now { mono_ns: now_s * SECOND, wall_ns: 0 },
        owners: vec![Owner::Host, Owner::Address, Owner::Other, pod("web-0", "1"), pod("web-0", "2"), pod("cart", "3")],
        costs: costs.iter().map(view).collect(),
        places: Arc::new(learner.finish()),
        ..Snapshot::default()
    }
}

fn written(snapshot: &Snapshot, hold_ns: Option<u64>) -> Vec<String> {
    let mut costs = Costs::new(Some(snapshot), hold_ns);
    let mut out = Vec::new();
    while costs.write_next(snapshot, &mut out) {}
    let text = String::from_utf8(out).expect("UTF-8");
    text.lines().filter(|line| !line.starts_with("# HELP")).map(str::to_owned).collect()
}

fn plain(scope: Scope) -> Way {
    Way::new(scope, Via::None, 0)
}

#[test]
fn nothing_is_written_of_nothing() {
    assert_eq!(written(&snapshot(0, &[]), Some(HOLD_NS)), Vec::<String>::new());
    assert!(!Costs::new(None, Some(HOLD_NS)).write_next(&snapshot(0, &[]), &mut Vec::new()));
}

#[test]
fn equal_labels_are_one_series_and_the_node_is_there() {
    let s3 = Way::new(Scope::Zone, Via::PrivateLink, 1);
    let snapshot = snapshot(
        9,
        &[(3, s3, 1, 2, 0), (4, s3, 10, 20, 0), (0, plain(Scope::Overlay), 5, 6, 0), (2, plain(Scope::Node), 7, 8, 0)],
    );
    let label = |pod: &str, namespace: &str, rest: &str, flow: &str, bytes: u64| {
        format!("netmon_cost_bytes_total{{namespace=\"{namespace}\",pod=\"{pod}\",{rest},flow=\"{flow}\"}} {bytes}")
    };
    let none = |scope: &str| format!("scope=\"{scope}\",via=\"\",service=\"\"");
    let s3 = "scope=\"zone\",via=\"privatelink\",service=\"aws-s3\"";
    assert_eq!(
        written(&snapshot, None),
        [
            "# TYPE netmon_cost_bytes_total counter".to_owned(),
            label("", "", &none("overlay"), "tx", 5),
            label("", "", &none("overlay"), "rx", 6),
            label("(other)", "", &none("node"), "tx", 7),
            label("(other)", "", &none("node"), "rx", 8),
            label("web-0", "shop", s3, "tx", 11),
            label("web-0", "shop", s3, "rx", 22),
        ]
    );
}

/// Labels, their order and their values as in OpenCost's own fixture.
#[test]
fn opencosts_counters_have_exactly_its_labels() {
    let nat = Way::new(Scope::Internet, Via::Nat, 1);
    let costs = [
        (5, plain(Scope::Node), 1, 100, 0),
        (5, plain(Scope::Zone), 2, 200, 0),
        (5, plain(Scope::Region), 4, 400, 0),
        (5, plain(Scope::CrossRegion), 8, 800, 0),
        (5, plain(Scope::Internet), 16, 1_600, 0),
        (5, nat, 32, 3_200, 0),
        (5, plain(Scope::Unknown), 64, 6_400, 0),
        (5, plain(Scope::Overlay), 128, 128, 0),
        (0, plain(Scope::Internet), 256, 256, 0),
        (1, plain(Scope::Internet), 256, 256, 0),
        (2, plain(Scope::Internet), 256, 256, 0),
    ];
    let snapshot = snapshot(1_000, &costs);
    let mut egress = written(&snapshot, Some(HOLD_NS));
    egress.retain(|line| line.starts_with("kubecost_pod_network_egress_bytes_total"));
    let line = |internet: &str, region: &str, zone: &str, rest: &str, bytes: u64| {
        format!(
            "kubecost_pod_network_egress_bytes_total{{pod_name=\"cart\",namespace=\"shop\",internet=\"{internet}\",\
             same_region=\"{region}\",same_zone=\"{zone}\",{rest}}} {bytes}"
        )
    };
    let no_service = "service=\"\"";
    assert_eq!(
        egress,
        [
            line("false", "false", "false", no_service, 8),
            line("false", "true", "false", no_service, 4),
            line("false", "true", "true", no_service, 3),
            line("false", "unknown", "unknown", no_service, 64),
            line("true", "false", "false", no_service, 16),
            line("true", "false", "false", "service=\"aws-s3\",nat_gateway=\"true\"", 32),
        ]
    );
    let ingress = written(&snapshot, Some(HOLD_NS));
    let ingress = ingress.iter().filter(|line| line.starts_with("kubecost_pod_network_ingress_bytes_total"));
    let bytes = ingress.map(|line| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or_default());
    assert_eq!(bytes.collect::<Vec<_>>(), [800, 400, 300, 6_400, 1_600, 3_200]);
    assert!(written(&snapshot, None).iter().all(|line| !line.contains("kubecost")), "only under the switch");
}

#[test]
fn a_new_series_is_shown_as_0_until_the_hold_is_over() {
    let at = |now_s| {
        let costs = [(3, plain(Scope::Region), 10, 20, 100), (4, plain(Scope::Region), 5, 6, 300)];
        let lines = written(&snapshot(now_s, &costs), Some(HOLD_NS));
        let of = |name: &str| {
            lines.iter().find(|line| line.starts_with(name)).and_then(|line| line.rsplit(' ').next().map(str::to_owned))
        };
        (of("netmon_cost_bytes_total"), of("kubecost_pod_network_egress"), of("kubecost_pod_network_ingress"))
    };
    let text = |own: &str, egress: &str, ingress: &str| {
        (Some(own.to_owned()), Some(egress.to_owned()), Some(ingress.to_owned()))
    };
    assert_eq!(at(300), text("15", "0", "0"), "only OpenCost's are late");
    assert_eq!(at(459), text("15", "0", "0"));
    assert_eq!(at(460), text("15", "15", "26"), "a namesake that came later holds nothing back");
}
