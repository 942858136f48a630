use std::sync::Arc;

use super::*;
use crate::flow::{Counts, Direction, TxRx};
use crate::owner::Pod;

fn at(seconds: u64) -> Now {
    Now { mono_ns: seconds * SECOND, wall_ns: 0 }
}

#[test]
fn u6_once_an_hour_a_line_says_what_was_counted_and_by_whom() {
    let (mut hourly, stats) = (Hourly::default(), Stats::default());
    let (mut series, mut owners) = (SeriesTable::default(), OwnerTable::default());
    let pod = |name: &str| Pod {
        uid: name.into(),
        namespace: "shop".into(),
        name: name.into(),
        workload: None,
        host_network: false,
    };
    let ids: Vec<OwnerId> = (0..7).map(|n| owners.id_of(&Arc::new(pod(&format!("web-{n}"))))).collect();
    let bytes = |bytes| TxRx { tx: Counts { bytes, packets: 1 }, rx: Counts::ZERO };
    let mut lines = Vec::new();
    for second in 0..=7_200 {
        if second == 1_000 {
            for (n, id) in ids.iter().enumerate() {
                let class = if n == 6 { Class::Outside } else { Class::Inside };
                series.add(*id, 6, Direction::Outbound, class, bytes(1_000_000 * (n as u64 + 1)), 0);
            }
            stats.counted_tx_bytes.add(28_000_000);
            stats.pushes_ok.add(59);
            stats.pushes_failed.add(1);
        }
        if second == 5_000 {
            series.add(ids[0], 6, Direction::Outbound, Class::Inside, bytes(3_000), 0);
            stats.counted_rx_bytes.add(3_000);
            stats.lost_events[0].add(2);
        }
        lines.extend(hourly.look(at(second), &stats, &series, &owners));
    }
    assert_eq!(
        lines,
        [
            "the last hour: 28 MB counted, 7.0 MB of it outside; 59 pushes, 1 failed; 0 B and 0 events lost; most by \
             shop/web-6 7.0 MB, shop/web-5 6.0 MB, shop/web-4 5.0 MB, shop/web-3 4.0 MB, shop/web-2 3.0 MB",
            "the last hour: 3.0 kB counted, 0 B of it outside; 0 pushes, 0 failed; 0 B and 2 events lost; most by \
             shop/web-0 3.0 kB",
        ]
    );
}
