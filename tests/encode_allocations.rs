//! Encoding rows for the push allocates nothing once its buffer has its size.

#[path = "support/counting.rs"]
mod counting;

use counting::{Counting, allocations};
use netmon::export::dakr::encode::{Header, Item, begin, end, item};
use netmon::flow::{Addr, Counts, TxRx};

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
