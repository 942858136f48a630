//! What a row costs on its way into a message, and a message on its way into a request.
//!
//! Prints allocations per row beside the times: the budget is none.

#[path = "../tests/support/counting.rs"]
mod counting;

use counting::{Counting, allocations};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use netmon::export::dakr::encode::{Header, Item, begin, end, item};
use netmon::export::dakr::framing::Framing;
use netmon::export::dakr::split::split;
use netmon::flow::{Addr, Counts, TxRx};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ITEMS: u32 = 5000;

const HEADER: Header<'static> = Header {
    cluster_id: "6f1c8f0e-5f4c-4b7a-9a3e-2f6f3c1d0b11",
    node_name: "node-a",
    operator_version: Some("0.1.0"),
    operator_commit: Some("9be33fdf"),
};

fn address(v6: bool, n: u32) -> Addr {
    let [_, a, b, c] = n.to_be_bytes();
    match v6 {
        false => Addr::from_v4([10, a, b, c]),
        true => Addr::from_v6([0xfd, 0, 0x12, 0x34, 0, 1, 0, 2, 0, 0, 0, 0, 0, a, b, c]),
    }
}

fn encode(out: &mut Vec<u8>, v6: bool) {
    out.clear();
    begin(out, &HEADER);
    for n in 0..ITEMS {
        let counts = Counts { bytes: u64::from(n) * 1451, packets: u64::from(n) };
        item(
            out,
            &Item {
                local: address(v6, n >> 8),
                remote: address(v6, n.wrapping_mul(2_654_435_761) >> 8),
                pod_name: "web-6c9f7d5b8-x2x9k",
                pod_namespace: "shop",
                protocol: 6,
                port: 443,
                counts: TxRx { tx: counts, rx: counts },
                timestamp_ns: 1_790_000_000_250_000_000 + u64::from(n),
            },
        );
    }
    end(out, &HEADER);
}

fn benches(c: &mut Criterion) {
    let mut out = Vec::new();
    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(u64::from(ITEMS)));
    for (name, v6) in [("row of IPv4", false), ("row of IPv6", true)] {
        encode(&mut out, v6);
        let before = allocations();
        encode(&mut out, v6);
        println!(
            "{name}: {} allocations for {ITEMS} rows, {} bytes per row",
            allocations() - before,
            out.len() / ITEMS as usize
        );
        group.bench_function(name, |b| b.iter(|| encode(&mut out, v6)));
    }
    encode(&mut out, false);
    let mut body = Vec::new();
    group.bench_function("row compressed in a request", |b| {
        b.iter(|| Framing::Connect.request(&out, 15_000, &mut body));
    });
    println!("compressed to {} of {} bytes", body.len(), out.len());
    group.bench_function("row divided for 413", |b| b.iter_batched(|| &out, |out| split(out), BatchSize::LargeInput));
    group.finish();
}

criterion_group!(encoding, benches);
criterion_main!(encoding);
