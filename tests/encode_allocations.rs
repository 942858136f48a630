//! Encoding rows for the push, and writing them for who looks at them, allocates nothing once the buffer has its size.

#[path = "support/counting.rs"]
mod counting;

use std::sync::Arc;

use counting::{Counting, allocations};
use netmon::export::dakr::encode::{Header, Item, begin, end, item};
use netmon::export::view::query::Query;
use netmon::export::view::{About, Head, View};
use netmon::flow::{Addr, Class, Counts, Direction, TxRx};
use netmon::names::{Origin, RowName};
use netmon::owner::{Owner, Pod};
use netmon::snapshot::{RowView, Snapshot};
use netmon::topology::Way;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn encode(out: &mut Vec<u8>) {
    let header = Header {
        cluster_id: "6f1c8f0e-5f4c-4b7a-9a3e-2f6f3c1d0b11",
        node_name: "node-a",
        operator_version: Some("0.1.0"),
        operator_commit: Some("9be33fdf"),
    };
    out.clear();
    begin(out, &header);
    for n in 0..5000u32 {
        let octets = n.to_be_bytes();
        let local = if n % 4 == 0 { Addr::from_v6([0xfd; 16]) } else { Addr::from_v4([10, 244, octets[2], octets[3]]) };
        item(
            out,
            &Item {
                local,
                remote: Addr::from_v4(octets),
                pod_name: "web-6c9f7d5b8-x2x9k",
                pod_namespace: "shop",
                protocol: 6,
                port: 443,
                counts: TxRx {
                    tx: Counts { bytes: u64::from(n) << 20, packets: u64::from(n) },
                    rx: Counts { bytes: u64::MAX, packets: 1 },
                },
                timestamp_ns: 1_790_000_000_250_000_000,
            },
        );
    }
    end(out, &header);
}

#[test]
fn encoding_5000_items_into_a_used_buffer_allocates_nothing() {
    let mut out = Vec::new();
    encode(&mut out);
    assert!(allocations() > 0, "the counter counts");
    let before = allocations();
    encode(&mut out);
    assert_eq!(allocations() - before, 0);
    assert!(out.len() < 1 << 20, "{} bytes: a message of 5,000 items stays below a MiB", out.len());
}

#[test]
fn writing_10000_rows_allocates_nothing_per_row() {
    let row = |n: u32| RowView {
        owner: n % 2,
        remote_owner: None,
        name: n % 3,
        port: 443,
        protocol: 6,
        direction: Direction::Outbound,
        class: Class::Outside,
        way: Way::UNKNOWN,
        place: 0,
        is_sum: false,
        more: netmon::flow::Further::ZERO,
        is_estimated: false,
        source: netmon::config::SourceKind::Netfilter,
        local: Addr::from_v4([10, 244, 1, 7]),
        remote: Addr::from_v4(n.to_be_bytes()),
        unsettled: TxRx::ZERO,
        total: TxRx::ZERO,
        changed_wall_ns: 1_790_000_000_250_000_000,
        rate: [1.5, 2.5],
    };
    let pod = |name: &str| {
        Owner::Pod(Arc::new(Pod {
            uid: "u".into(),
            namespace: "shop".into(),
            name: name.into(),
            workload: None,
            host_network: false,
        }))
    };
    let name = |text: &str| RowName { text: text.into(), origin: Origin::Own, is_service: false };
    let snapshot = Arc::new(Snapshot {
        rows: (0..10_000).map(row).collect(),
        owners: vec![Owner::Host, pod("web-6c9f7d5b8-x2x9k")],
        names: vec![name("cdn.example.net"), name("=a,b")],
        ..Snapshot::default()
    });
    let mut out = Vec::with_capacity(16 << 20);
    for query in ["sort=rate", "format=csv", "format=tsv&match=443", "by=remote&format=csv", "by=remote&sort=tx"] {
        let query = Query::parse(query).expect("a query");
        let head = Head { node_name: "node-a".into(), status: "healthy", swept_wall_ns: 1, agent: About::default() };
        let before = allocations();
        let mut view = View::new(Arc::clone(&snapshot), head, query.as_ref());
        // Lists that double as they fill, not one piece for each row.
        assert!(allocations() - before < 40, "{query:?}: {} to choose", allocations() - before);
        let before = allocations();
        out.clear();
        while !view.fill(&mut out, 64 << 10) {
            out.clear();
        }
        assert_eq!(allocations() - before, 0, "{query:?}");
    }
}
