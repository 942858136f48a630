use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::clock::{Now, SECOND};
use crate::flow::{Addr, Class, Counts, Direction, TxRx};
use crate::names::{Origin, RowName};
use crate::owner::{Owner, Pod, Workload};
use crate::snapshot::SeriesView;
use crate::topology::{Scope, Via, Way};

fn pod(namespace: &str, name: &str, workload: Option<&str>) -> Owner {
    let workload = workload.map(|name| Workload { kind: "Deployment".into(), name: name.into() });
    Owner::Pod(Arc::new(Pod {
        uid: name.into(),
        namespace: namespace.into(),
        name: name.into(),
        workload,
        host_network: false,
    }))
}

fn row(owner: u32, remote: [u8; 4], name: u32, port: u16, bytes: [u64; 2], rate: [f32; 2]) -> RowView {
    let [tx, rx] = bytes.map(|bytes| Counts { bytes, packets: 1 });
    let outside = remote[0] != 10;
    RowView {
        owner,
        remote_owner: None,
        name,
        port,
        protocol: if port == 53 { 17 } else { 6 },
        direction: Direction::Outbound,
        class: if outside { Class::Outside } else { Class::Inside },
        way: Way::new(if outside { Scope::Internet } else { Scope::Zone }, Via::None, 0),
        place: 0,
        is_sum: false,
        more: crate::flow::Further::ZERO,
        is_estimated: false,
        source: crate::config::SourceKind::Netfilter,
        local: Addr::from_v4([10, 244, 1, 7]),
        remote: Addr::from_v4(remote),
        unsettled: TxRx::ZERO,
        total: TxRx { tx, rx },
        changed_wall_ns: 0,
        rate,
    }
}

fn name(text: &str) -> RowName {
    RowName { text: text.into(), origin: Origin::Own, is_service: false }
}

/// Two replicas of a shop, a job without a controller, and the host.
fn shop() -> Snapshot {
    Snapshot {
        taken: Now { mono_ns: 0, wall_ns: 100 * SECOND },
        owners: vec![
            Owner::Host,
            pod("shop", "web-1", Some("web")),
            pod("shop", "web-2", Some("web")),
            pod("jobs", "import", None),
        ],
        names: vec![name("cdn.example.net"), name("db.shop.svc")],
        rows: vec![
            row(1, [203, 0, 113, 1], 0, 443, [10, 100], [1.0, 2.9]),
            row(2, [203, 0, 113, 2], 0, 443, [20, 200], [40.0, 0.0]),
            row(3, [10, 0, 0, 9], 1, 5432, [3000, 3], [0.0, 7.0]),
            row(0, [198, 51, 100, 7], 9, 53, [4, 4], [0.0, 0.0]),
        ],
        series: vec![SeriesView {
            owner: 0,
            protocol: "tcp",
            direction: Direction::Outbound,
            class: Class::Outside,
            more_bytes: [0; 2],
            total: TxRx { tx: Counts { bytes: 7, packets: 1 }, rx: Counts { bytes: 9, packets: 2 } },
        }],
        ..Snapshot::default()
    }
}

const ABOUT: About = About { started_wall_ns: 40 * SECOND, pushed_wall_ns: 0, books: [21, 6, 5, 4, 3, 3] };

fn ask(snapshot: Snapshot, query: &str, piece: usize) -> String {
    let head = Head { node_name: "node-a".into(), status: "healthy", swept_wall_ns: 98 * SECOND, agent: ABOUT };
    let query = Query::parse(query).unwrap_or_else(|refused| panic!("{query}: {refused}"));
    let mut view = View::new(Arc::new(snapshot), head, query.as_ref());
    let mut whole = Vec::new();
    loop {
        let mut out = Vec::new();
        let done = view.fill(&mut out, piece);
        assert!(out.len() < piece + 2048, "a piece is about as large as asked for");
        whole.extend_from_slice(&out);
        if done {
            return String::from_utf8(whole).expect("UTF-8");
        }
    }
}

/// The lines of a TSV without its first.
fn lines(query: &str) -> Vec<Vec<String>> {
    let text = ask(shop(), &format!("{query}&format=tsv"), 100);
    text.lines().skip(1).map(|line| line.split('\t').map(str::to_owned).collect()).collect()
}

/// The first column of what is shown.
fn order(query: &str) -> String {
    lines(query).iter().skip(1).map(|line| line[0].clone()).collect::<Vec<_>>().join(" ")
}

#[test]
fn units_and_containers_are_owners_and_workloads() {
    let with_groups = || {
        let mut snapshot = shop();
        for path in ["unit/nginx.service", "container/docker-3fa2b1c4d5e6"] {
            let owner = snapshot.owners.len() as u32;
            snapshot.rows.push(row(owner, [203, 0, 113, 9], 0, 443, [u64::from(owner), 1], [9.0, 1.0]));
            snapshot.owners.push(Owner::Group(crate::owner::group::Group(path.into())));
        }
        snapshot
    };
    for (query, shown) in [
        ("by=owner&sort=tx&format=csv&match=x", "unit/nginx.service"),
        ("by=workload&format=csv&match=nginx", "unit/nginx.service"),
        ("by=owner&format=csv&match=docker", "container/docker-3fa2b1c4d5e6"),
        ("by=namespace&format=csv&match=nginx", "unit"),
        ("format=csv&match=nginx", ",,unit,nginx.service,10.244.1.7"),
    ] {
        let text = ask(with_groups(), query, 100);
        assert!(text.lines().skip(1).any(|line| line.starts_with(&format!("{shown},"))), "{query}: {text}");
    }
}

#[test]
fn sums_are_named_and_sorted_by_what_is_asked() {
    assert_eq!(order("by=owner&sort=rate"), "shop/web-2 jobs/import shop/web-1 host");
    assert_eq!(order("by=owner&sort=rx"), "jobs/import shop/web-1 shop/web-2 host", "of equals, more bytes come first");
    assert_eq!(order("by=owner"), "jobs/import shop/web-2 shop/web-1 host");
    assert_eq!(order("by=workload&sort=tx"), "shop/Deployment/web jobs/import host");
    assert_eq!(order("by=namespace"), "jobs shop host");
    assert_eq!(order("by=remote"), "db.shop.svc cdn.example.net 198.51.100.7", "two addresses of one name are one");
    assert_eq!(order("by=port"), "5432/tcp 443/tcp 53/udp");
    assert_eq!(order("by=class"), "inside outside");
    assert_eq!(order("by=scope&limit=1"), "zone");
    let lines = lines("by=workload&match=WEB");
    assert_eq!(lines[0].join(" "), "workload rows tx_bytes rx_bytes tx_rate rx_rate");
    assert_eq!(lines[1..], [["shop/Deployment/web", "2", "30", "300", "41", "2"].map(str::to_owned)]);
}

#[test]
fn rows_are_found_by_whatever_is_seen_of_them() {
    for (query, found) in [
        ("match=web-1", "shop/web-1"),
        ("match=deploy", "shop/web-2 shop/web-1"),
        ("match=HOST", "host"),
        ("match=203.0.113.2", "shop/web-2"),
        ("match=cdn.", "shop/web-2 shop/web-1"),
        ("match=53%2Fudp", "host"),
        ("match=nothing", ""),
        ("class=inside", "jobs/import"),
        ("scope=internet&match=443", "shop/web-2 shop/web-1"),
        ("sort=rate&limit=2", "shop/web-2 jobs/import"),
    ] {
        assert_eq!(order(query), found, "{query}");
    }
}

/// The fastest row may be a new one, with few bytes yet.
#[test]
fn the_fastest_row_of_many_is_first_however_few_its_bytes_are() {
    let mut rows = vec![row(1, [203, 0, 113, 1], 0, 443, [1 << 40, 1 << 40], [5.0, 5.0]); 2_000];
    rows.push(row(2, [203, 0, 113, 9], 9, 443, [9, 9], [100.0, 240_000.0]));
    let text = ask(Snapshot { rows, ..shop() }, "sort=rate&limit=1", 1 << 16);
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&value["items"][0]["dst_ip"], &value["items"][0]["rx_rate"]), (&"203.0.113.9".into(), &240_000.into()));
    assert_eq!((&value["rows"], &value["matched"]), (&2_001.into(), &2_001.into()), "what the limit cut is told");
}

#[test]
fn json_of_sums_says_how_many_rows_there_are() {
    let value: Value = serde_json::from_str(&ask(shop(), "by=namespace&class=outside", 1)).expect("JSON");
    assert_eq!((&value["node_name"], &value["by"]), (&"node-a".into(), &"namespace".into()));
    assert_eq!((&value["rows"], &value["matched"], &value["groups"]), (&4.into(), &3.into(), &2.into()));
    let cut: Value = serde_json::from_str(&ask(shop(), "by=namespace&class=outside&limit=1", 1)).expect("JSON");
    assert_eq!(
        (cut["items"].as_array().expect("items").len(), &cut["matched"], &cut["groups"]),
        (1, &3.into(), &2.into())
    );
    assert_eq!(value["totals"]["rx_bytes"], 9);
    let first =
        serde_json::json!({"key": "shop", "rows": 2, "tx_bytes": 30, "rx_bytes": 300, "tx_rate": 41, "rx_rate": 2});
    assert_eq!(value["items"][0], first);
    let empty: Value = serde_json::from_str(&ask(Snapshot::default(), "by=owner", 1)).expect("JSON");
    assert_eq!(empty["items"], serde_json::json!([]));
}

#[test]
fn an_answer_to_a_question_says_who_answers_and_its_books() {
    let head = |pushed_wall_ns| About { pushed_wall_ns, ..ABOUT };
    for query in ["sort=rate&limit=1&match=web", "by=owner&limit=1&match=web"] {
        let value: Value = serde_json::from_str(&ask(shop(), query, 1)).expect("JSON");
        assert_eq!((&value["matched"], &value["version"]), (&2.into(), &crate::VERSION.into()), "{query}");
        assert_eq!((&value["started"], &value["pushed"]), (&"1970-01-01T00:00:40Z".into(), &Value::Null));
        let books = serde_json::json!({"counted": 21, "acknowledged": 6, "waiting": 5, "withheld": 4, "unattributed": 3, "lost": 3});
        assert_eq!(value["books"], books, "{query}");
    }
    let mut out = Vec::new();
    Answered { matched: 0, groups: None, agent: head(50 * SECOND) }.write(&mut out);
    assert!(String::from_utf8(out).expect("UTF-8").contains(r#","pushed":"1970-01-01T00:00:50Z","#));
    let whole: Value = serde_json::from_str(&ask(shop(), "", 1)).expect("JSON");
    for name in ["matched", "groups", "version", "started", "books"] {
        assert!(whole.get(name).is_none(), "without a question /flows stays what it is: {name}");
    }
}

#[test]
fn a_program_gets_what_it_wants_to_know_in_the_first_line() {
    let text = ask(shop(), "by=class&format=tsv&class=inside", 1 << 16);
    let first = "#\tnode\tnode-a\tstatus\thealthy\trows\t4\tmatched\t1\ttx_bytes\t7\trx_bytes\t9\ttx_rate\t0\trx_rate\t7\tswept_ms_ago\t2000";
    assert_eq!(text.lines().next(), Some(first));
}

#[test]
fn csv_has_its_columns_and_no_field_breaks_out_of_its_own() {
    let mut snapshot = shop();
    snapshot.names[0] = name("=cmd|' /c calc'!a\"b,c\u{1b}[2J\n");
    snapshot.rows.truncate(1);
    let csv = ask(snapshot, "format=csv", 1);
    let want = "namespace,pod,workload_kind,workload,local,direction,remote,remote_name,port,protocol,class,scope,\
                tx_bytes,rx_bytes,tx_rate,rx_rate\n\
                shop,web-1,Deployment,web,10.244.1.7,outbound,203.0.113.1,\"'=cmd|' /c calc'!a\"\"b,c?[2J?\",443,tcp,\
                outside,internet,10,100,1,2\n";
    assert_eq!(csv, want);
}

proptest! {
    /// However rows are summed, nothing is left out and nothing is counted twice.
    #[test]
    fn sums_add_up_to_the_rows(of in proptest::collection::vec((0u32..5, 0u8..4, 0u32..4, 0u16..3, 0u64..1 << 40), 0..60)) {
        let rows: Vec<RowView> = of
            .iter()
            .map(|(owner, remote, name, port, bytes)| row(*owner, [*remote * 10, 1, 1, 1], *name, *port, [*bytes, 1], [0.0; 2]))
            .collect();
        let total: u64 = of.iter().map(|(.., bytes)| bytes).sum();
        for by in By::ALL {
            let snapshot = Snapshot { rows: rows.clone(), ..shop() };
            let text = ask(snapshot, &format!("by={}&format=tsv", by.as_str()), 64);
            let mut seen = BTreeMap::new();
            let mut last = u64::MAX;
            for line in text.lines().skip(2) {
                let fields: Vec<&str> = line.split('\t').collect();
                let number = |at: usize| fields[at].parse::<u64>().expect("a number");
                let (rows, tx, rx) = if by == By::Row { (1, number(13), number(14)) } else { (number(1), number(2), number(3)) };
                prop_assert!(tx + rx <= last, "sorted");
                last = tx + rx;
                let n = seen.len();
                let key = if by == By::Row { n.to_string() } else { fields[0].to_owned() };
                prop_assert!(seen.insert(key, (rows, tx)).is_none(), "a key twice: {}", line);
            }
            prop_assert_eq!(seen.values().map(|(rows, _)| rows).sum::<u64>(), of.len() as u64);
            prop_assert_eq!(seen.values().map(|(_, tx)| tx).sum::<u64>(), total);
        }
    }
}
