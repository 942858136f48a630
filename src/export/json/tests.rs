use super::*;
use crate::audit::Account;
use crate::audit::equation::Part;
use crate::clock::Now;
use crate::export::view::query::Query;
use crate::export::view::{Head, View};
use crate::flow::{Addr, Class, Counts, Direction, TxRx};
use crate::names::{Origin, RowName};
use crate::owner::{Owner, Pod, Workload};
use crate::snapshot::{LookupView, SeriesView};
use crate::topology::names::{Learner, Names};
use crate::topology::{Scope, Via, Way};
use serde_json::Value;

fn row(local: &str, remote: &str, bytes: u64) -> RowView {
    let addr = |text: &str| Addr::from(text.parse::<std::net::IpAddr>().expect("a literal"));
    let counts = TxRx { tx: Counts { bytes, packets: 41 }, rx: Counts { bytes: 148_201, packets: 120 } };
    RowView {
        owner: 0,
        remote_owner: None,
        name: 0,
        port: 443,
        protocol: 6,
        direction: Direction::Outbound,
        class: Class::Outside,
        way: Way::new(Scope::Internet, Via::None, 0),
        place: 0,
        is_sum: false,
        source: crate::config::SourceKind::Netfilter,
        local: addr(local),
        remote: addr(remote),
        unsettled: counts,
        total: counts + counts,
        more: crate::flow::Further::ZERO,
        is_estimated: false,
        changed_wall_ns: 1_790_000_000_250_000_000,
        rate: [0.0; 2],
    }
}

fn pod(name: &str) -> Owner {
    Owner::Pod(Arc::new(Pod {
        uid: "u-1".into(),
        namespace: "shop".into(),
        name: name.into(),
        workload: Some(Workload { kind: "StatefulSet".into(), name: "web".into() }),
        host_network: false,
    }))
}

fn text(snapshot: Snapshot, limit: Option<usize>, piece: usize) -> String {
    let query = limit.map(|limit| Query { limit: Some(limit), ..Query::default() });
    let head = Head { node_name: "node-a".into(), status: "healthy", swept_wall_ns: 0, agent: About::default() };
    let mut flows = View::new(Arc::new(snapshot), head, query.as_ref());
    let mut whole = Vec::new();
    loop {
        let mut out = Vec::new();
        let done = flows.fill(&mut out, piece);
        assert!(out.len() < piece + 2048, "a piece is about as large as asked for");
        whole.extend_from_slice(&out);
        if done {
            return String::from_utf8(whole).expect("JSON is UTF-8");
        }
    }
}

#[test]
fn an_item_has_the_incumbents_shape_and_ours_behind_it() {
    let snapshot = Snapshot {
        taken: Now { mono_ns: 0, wall_ns: 1_790_000_001_000_000_000 },
        rows: vec![row("10.244.1.7", "93.184.215.14", 5312)],
        series: vec![SeriesView {
            owner: 0,
            protocol: "tcp",
            direction: Direction::Outbound,
            class: Class::Outside,
            total: TxRx { tx: Counts { bytes: 7, packets: 1 }, rx: Counts { bytes: 9, packets: 2 } },
            more_bytes: [0; 2],
        }],
        owners: vec![pod("web-0")],
        names: vec![RowName { text: "example.com".into(), origin: Origin::Node, is_service: false }],
        lookups: vec![
            LookupView {
                client: Addr::from_v4([10, 244, 1, 7]),
                name: "example.com".into(),
                resolved_end: 1,
                answered_wall_ns: 1_789_999_999_999_999_999,
                pod: match pod("web-0") {
                    Owner::Pod(pod) => Some(pod),
                    _ => None,
                },
            },
            LookupView {
                client: Addr::from_v4([127, 0, 0, 1]),
                name: "b.test".into(),
                resolved_end: 3,
                answered_wall_ns: 1_790_000_000_000_000_000,
                pod: None,
            },
        ],
        resolved: [[93, 184, 215, 14], [192, 0, 2, 1], [192, 0, 2, 2]].map(Addr::from_v4).to_vec(),
        ..Snapshot::default()
    };
    let text = text(snapshot, None, 1 << 16);
    assert_eq!(
        text,
        concat!(
            r#"{"node_name":"node-a","items":[{"src_ip":"10.244.1.7","dst_ip":"93.184.215.14","#,
            r#""src_pod_name":"web-0","src_pod_namespace":"shop","protocol":6,"dst_port":443,"tx_bytes":5312,"#,
            r#""rx_bytes":148201,"tx_packets":41,"rx_packets":120,"timestamp":"2026-09-21T14:13:20.25Z","#,
            r#""direction":"outbound","class":"outside","scope":"internet","source":"netfilter","owner":{"kind":"pod","namespace":"shop","name":"web-0","#,
            r#""uid":"u-1","workload":{"kind":"StatefulSet","name":"web"}},"#,
            r#""dst_domain":"example.com","dst_domain_from":"node","total_tx_bytes":10624,"#,
            r#""total_rx_bytes":296402,"total_tx_packets":82,"total_rx_packets":240,"#,
            r#""tx_wire_bytes":10624,"rx_wire_bytes":296402,"tx_frames":82,"rx_frames":240}],"dns_lookups":["#,
            r#"{"client_ip":"10.244.1.7","domain":"example.com","resolved_ips":["93.184.215.14"],"#,
            r#""timestamp":"2026-09-21T14:13:19.999999999Z","src_pod_name":"web-0","src_pod_namespace":"shop"},"#,
            "\n",
            r#"{"client_ip":"127.0.0.1","domain":"b.test","resolved_ips":["192.0.2.1","192.0.2.2"],"#,
            r#""timestamp":"2026-09-21T14:13:20Z"}],"ip2domain":{"93.184.215.14":"example.com"},"#,
            r#""timestamp":"2026-09-21T14:13:21Z","rows":1,"#,
            r#""totals":{"tx_bytes":7,"rx_bytes":9,"tx_packets":1,"rx_packets":2}}"#,
            "\n"
        )
    );
}

#[test]
fn an_address_has_one_domain_that_of_the_row_with_the_most_bytes() {
    let names = ["small.test", "large.test", "service.test", "v6.test"];
    let names: Vec<RowName> = names
        .map(|text| RowName { text: text.into(), origin: Origin::Own, is_service: text == "service.test" })
        .to_vec();
    let remotes = [("198.51.100.7", 1, 0), ("198.51.100.7", 9, 1), ("198.51.100.7", 99, 2), ("2001:db8::1", 1, 3)];
    let rows = remotes.map(|(remote, bytes, name)| RowView { name, ..row("10.0.0.1", remote, bytes) }).to_vec();
    let nameless = RowView { name: u32::MAX, ..row("10.0.0.1", "198.51.100.8", 1_000) };
    let snapshot = || Snapshot { rows: [&rows[..], &[nameless]].concat(), names: names.clone(), ..Snapshot::default() };
    let domains = |limit| {
        let value: Value = serde_json::from_str(&text(snapshot(), limit, 1)).expect("JSON");
        value.get("ip2domain").map(Value::to_string)
    };
    let all = r#"{"198.51.100.7":"large.test","2001:db8::1":"v6.test"}"#;
    assert_eq!(domains(None).as_deref(), Some(all));
    assert_eq!(domains(Some(2)), None, "the two largest rows have no name of their remote end");
    assert_eq!(domains(Some(3)).as_deref(), Some(r#"{"198.51.100.7":"large.test"}"#));
}

#[test]
fn a_sum_of_both_directions_says_that_its_split_is_unknown() {
    let sum = RowView { is_sum: true, ..row("10.0.0.1", "10.0.0.2", 1) };
    let snapshot = Snapshot { rows: vec![sum, row("10.0.0.1", "10.0.0.3", 1)], ..Snapshot::default() };
    let value: Value = serde_json::from_str(&text(snapshot, None, 1 << 16)).expect("JSON");
    assert_eq!((&value["items"][0]["split"], value["items"][1].get("split")), (&Value::from("unknown"), None));
}

#[test]
fn every_owner_and_every_name_makes_valid_json() {
    let nasty = "a\"b\\c\n\u{1}</script>\u{2028}é";
    let mut rows = vec![row("10.0.0.1", "fd00::1", 1); 7];
    for (at, row) in rows.iter_mut().enumerate() {
        row.owner = at as u32;
        row.remote_owner = (at == 1).then_some(3);
    }
    rows[5].owner = 4;
    rows[6].owner = 5;
    rows[4].owner = 9;
    let group = |path: &str| Owner::Group(crate::owner::group::Group(path.into()));
    let owners = vec![
        Owner::Host,
        Owner::Address,
        Owner::Other,
        pod(nasty),
        group("unit/nginx.service"),
        group("container/docker-3fa2b1c4d5e6"),
    ];
    let value: Value =
        serde_json::from_str(&text(Snapshot { rows, owners, ..Snapshot::default() }, None, 100)).expect("JSON");
    let items = value["items"].as_array().expect("items");
    let kinds: Vec<_> = items.iter().map(|i| i["owner"]["kind"].as_str().expect("kind")).collect();
    assert_eq!(kinds, ["host", "address", "other", "pod", "other", "unit", "container"]);
    assert_eq!((&items[5]["owner"]["name"], items[5].get("src_pod_name")), (&"nginx.service".into(), None));
    assert_eq!(items[6]["owner"]["name"], "docker-3fa2b1c4d5e6");
    assert!(items[0].get("src_pod_name").is_none());
    assert_eq!(items[3]["src_pod_name"], nasty);
    assert_eq!(items[0]["dst_ip"], "fd00::1");
    assert!(items[0].get("remote_owner").is_none());
    assert_eq!(items[1]["remote_owner"]["name"], nasty);
}

#[test]
fn nothing_is_an_empty_list() {
    let value: Value = serde_json::from_str(&text(Snapshot::default(), None, 1)).expect("JSON");
    assert_eq!(value["items"], Value::Array(vec![]));
    assert_eq!(value["dns_lookups"], Value::Null);
    assert!(value.get("ip2domain").is_none());
}

#[test]
fn a_limit_keeps_the_largest_rows_and_says_how_many_there_are() {
    let rows = (0..100).map(|n| row("10.0.0.1", "10.0.0.2", (n * 37 % 100) * 1000)).collect();
    let value: Value =
        serde_json::from_str(&text(Snapshot { rows, ..Snapshot::default() }, Some(3), 1 << 16)).expect("JSON");
    let sent: Vec<_> = value["items"].as_array().expect("items").iter().map(|i| i["tx_bytes"].as_u64()).collect();
    assert_eq!(sent, [Some(99_000), Some(98_000), Some(97_000)]);
    assert_eq!(value["rows"], 100);
}

#[test]
fn times_are_those_of_go() {
    let shown = |ns: u64| Timestamp(ns).to_string();
    assert_eq!(shown(0), "1970-01-01T00:00:00Z");
    assert_eq!(shown(1_790_000_000_999_999_999), "2026-09-21T14:13:20.999999999Z");
    assert_eq!(shown(951_782_400_000_000_001), "2000-02-29T00:00:00.000000001Z");
    assert_eq!(shown(4_107_542_399_100_000_000), "2100-02-28T23:59:59.1Z");
    assert_eq!(shown(u64::MAX), "2554-07-21T23:34:33.709551615Z");
}

#[test]
fn what_prices_depend_on_is_said_where_it_is_known() {
    let mut learner = Learner::new(Names::default());
    let service = learner.service("aws-s3").expect("room");
    let place = learner.place("us-east-1a", "us-east-1").expect("room");
    let snapshot = Snapshot {
        rows: vec![RowView {
            way: Way::new(Scope::Zone, Via::PrivateLink, service),
            place,
            ..row("10.0.0.1", "10.0.0.2", 1)
        }],
        places: Arc::new(learner.finish()),
        ..Snapshot::default()
    };
    let item: Value = serde_json::from_str(&text(snapshot, None, 1 << 16)).expect("JSON");
    let item = &item["items"][0];
    let said =
        ["scope", "via", "service", "remote_zone", "remote_region"].map(|key| item[key].as_str().unwrap_or_default());
    assert_eq!(said, ["zone", "privatelink", "aws-s3", "us-east-1a", "us-east-1"]);
}

#[test]
fn rule_19_uplinks_stand_behind_the_totals() {
    let mut account = Account { is_tx: false, header_bytes: 14, is_measured: true, ..Account::default() };
    account.name[..4].copy_from_slice(b"eth0");
    account.closed.layer3_bytes = 1_000;
    account.closed.parts[Part::Unexplained as usize] = -100;
    let with = text(Snapshot { interfaces: vec![account], ..Snapshot::default() }, None, 100);
    let found: Value = serde_json::from_str(&with).expect("JSON");
    let side = &found["interfaces"][0];
    assert_eq!((&side["interface"], &side["flow"], &side["bytes"]), (&"eth0".into(), &"rx".into(), &1_000.into()));
    assert_eq!((&side["header"], &side["parts"]["unexplained"]), (&"measured".into(), &(-100).into()));
    let without = text(Snapshot::default(), None, 100);
    assert_eq!(with.replace(&with[with.find(",\"interfaces\"").expect("there")..with.len() - 2], ""), without);
}

#[test]
fn rule_17_wire_bytes_stand_behind_the_totals_and_say_that_they_are_estimated() {
    let more = TxRx { tx: Counts { bytes: 520, packets: 10 }, rx: Counts { bytes: 104, packets: 2 } };
    for is_estimated in [false, true] {
        let mut further = crate::flow::Further::ZERO;
        further.add(more);
        let rows = vec![RowView { more: further, is_estimated, ..row("10.0.0.1", "10.0.0.2", 1_000) }];
        let found: Value =
            serde_json::from_str(&text(Snapshot { rows, ..Snapshot::default() }, None, 100)).expect("JSON");
        let item = &found["items"][0];
        assert_eq!((&item["total_tx_bytes"], &item["tx_wire_bytes"]), (&2_000.into(), &2_520.into()));
        assert_eq!((&item["tx_frames"], &item["rx_frames"]), (&92.into(), &242.into()));
        assert_eq!(item["wire"] == "estimated", is_estimated);
    }
}
