use super::*;
use crate::audit::Account;
use crate::audit::equation::{Closed, Part};
use crate::flow::{Class, Direction};
use crate::flow::{Counts, TxRx};
use crate::health::Component;
use crate::owner::{Owner, Pod, Workload};

fn pod(name: &str, uid: &str) -> Owner {
    Owner::Pod(Arc::new(Pod {
        uid: uid.into(),
        namespace: "shop".into(),
        name: name.into(),
        workload: Some(Workload { kind: "StatefulSet".into(), name: "web".into() }),
        host_network: false,
    }))
}

fn view(owner: u32, protocol: &'static str, bytes: u64) -> SeriesView {
    let total = TxRx { tx: Counts { bytes, packets: 1 }, rx: Counts { bytes: 2 * bytes, packets: 2 } };
    SeriesView { owner, protocol, direction: Direction::Outbound, class: Class::Outside, total, more_bytes: [5, 0] }
}

fn text(snapshot: Option<Snapshot>, piece: usize) -> String {
    let stats = Stats::default();
    stats.sweep_cpu_ns.set(1_500_000_000);
    stats.sweep_interval_ms.set(5_000);
    let health = Health::default();
    health.set(Component::Monitor, Status::Degraded, "x");
    let labels = Labels { wanted: "ebpf".into(), running: "netfilter".into(), opencost_hold_ns: None };
    let mut metrics = Metrics::new(&stats, &health, &labels, snapshot.map(Arc::new));
    let mut whole = Vec::new();
    loop {
        let mut out = Vec::new();
        let done = metrics.fill(&mut out, piece);
        assert!(out.len() < piece + 1024);
        whole.extend_from_slice(&out);
        if done {
            return String::from_utf8(whole).expect("UTF-8");
        }
    }
}

#[test]
fn counters_health_and_build_are_there() {
    let text = text(None, 100);
    for line in [
        "netmon_sweep_cpu_seconds_total 1.500000000",
        "netmon_sweep_interval_seconds 5.000",
        "netmon_lost_bytes_total{reason=\"row_table_full\"} 0",
        "netmon_component_health{component=\"monitor\",state=\"degraded\"} 1",
        "netmon_component_health{component=\"monitor\",state=\"healthy\"} 0",
        "netmon_source{wanted=\"ebpf\",running=\"netfilter\"} 1",
        "# TYPE netmon_lost_bytes_total counter",
        "# HELP netmon_lost_bytes_total Bytes lost, tx and rx together, by reason.",
    ] {
        assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
    }
    assert!(!text.contains("netmon_traffic"));
}

#[test]
fn series_of_equal_labels_are_one() {
    let group = Owner::Group(crate::owner::group::Group("unit/nginx.service".into()));
    let owners = vec![Owner::Host, Owner::Address, pod("web-0", "a"), pod("web-0", "b"), Owner::Other, group];
    let series = vec![
        view(0, "tcp", 1),
        view(2, "tcp", 10),
        view(1, "tcp", 2),
        view(3, "tcp", 20),
        view(4, "tcp", 5),
        view(3, "udp", 7),
        view(5, "tcp", 100),
    ];
    let text = text(Some(Snapshot { owners, series, ..Snapshot::default() }), 64);
    let bytes: Vec<&str> = text.lines().filter(|l| l.starts_with("netmon_traffic_bytes_total{")).collect();
    let labels = "direction=\"outbound\",protocol=\"tcp\",class=\"outside\"";
    assert_eq!(bytes.len(), 10, "{bytes:?}");
    let line = |pod: &str, workload: [&str; 2], flow, bytes| {
        let [kind, name] = workload;
        let owner = format!("{pod},workload_kind=\"{kind}\",workload=\"{name}\"");
        format!("netmon_traffic_bytes_total{{{owner},{labels},flow=\"{flow}\"}} {bytes}")
    };
    assert_eq!(bytes[0], line("namespace=\"\",pod=\"\"", ["", ""], "tx", 3), "host and address are one");
    assert_eq!(bytes[2], line("namespace=\"\",pod=\"\"", ["unit", "nginx.service"], "tx", 100));
    assert_eq!(bytes[4], line("namespace=\"\",pod=\"(other)\"", ["", ""], "tx", 5));
    assert_eq!(bytes[7], line("namespace=\"shop\",pod=\"web-0\"", ["StatefulSet", "web"], "rx", 60));
    assert!(bytes[8].contains("protocol=\"udp\""));
    assert_eq!(text.lines().filter(|l| l.starts_with("netmon_traffic_packets_total{")).count(), 10);
    let wire: Vec<&str> = text.lines().filter(|l| l.starts_with("netmon_traffic_wire_bytes_total{")).collect();
    assert_eq!(wire.len(), 10);
    assert!(wire[0].ends_with("flow=\"tx\"} 13") && wire[1].ends_with(" 6"), "{wire:?}");
}

#[test]
fn label_values_and_help_are_escaped() {
    let mut out = Vec::new();
    sample(&mut out, "a", &[("b", "x\"y\\z\n")], 3, 1);
    head(&mut out, "a", "one\\two\n\"three\"", Kind::Gauge);
    let text = String::from_utf8(out).expect("UTF-8");
    assert_eq!(text, "a{b=\"x\\\"y\\\\z\\n\"} 3\n# HELP a one\\\\two\\n\"three\"\n# TYPE a gauge\n");
}

#[test]
fn rule_19_uplinks_have_two_families_and_nothing_else_has() {
    let mut closed = Closed { layer3_bytes: 1_000, ..Closed::default() };
    closed.parts[Part::Rows as usize] = 1_100;
    closed.parts[Part::Unexplained as usize] = -100;
    let account = |is_tx| {
        let mut account = Account { is_tx, header_bytes: 14, closed, ..Account::default() };
        account.name[..4].copy_from_slice(b"eth0");
        account.shown.raise(&closed);
        account
    };
    let written = text(Some(Snapshot { interfaces: vec![account(true), account(false)], ..Snapshot::default() }), 64);
    let lines: Vec<&str> = written.lines().filter(|line| line.contains("interface=")).collect();
    assert_eq!(lines.len(), 2 + 2 * Part::ALL.len(), "{lines:?}");
    assert_eq!(lines[0], "netmon_interface_bytes_total{interface=\"eth0\",flow=\"tx\"} 1000");
    let of = |part| format!("netmon_reconciled_bytes_total{{interface=\"eth0\",flow=\"rx\",part=\"{part}\"}} ");
    assert!(lines.contains(&&*(of("rows") + "1100")), "{lines:?}");
    assert!(lines.contains(&&*(of("unexplained") + "0")), "a counter is not negative: {lines:?}");
    assert!(!text(Some(Snapshot::default()), 64).contains("netmon_interface"));
}
