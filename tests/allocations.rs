//! The collector allocates nothing per sweep in steady state: a counting allocator proves it.
//!
//! One test in a binary of its own, for the counter is the process's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use netmon::clock::{Now, SECOND};
use netmon::collect::pipeline::Pipeline;
use netmon::flow::{Addr, Connection, ConnectionKey, Counts, Ends, Reading, Traffic};
use netmon::source::Sweep;
use netmon::stats::Stats;

mod support;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed on to the system allocator unchanged; counting has no effect on memory.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises about `layout` are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises about `memory` and `layout` are handed on.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

const CONNECTIONS: u32 = 10_000;

fn connection(number: u32, bytes: u64) -> Connection {
    let [_, a, b, c] = number.to_be_bytes();
    let remote = Addr::from_v4([198, 51, a ^ b, c]);
    let counts = Counts { bytes, packets: bytes / 100 };
    Connection {
        key: ConnectionKey {
            src: Addr::from_v4([10, 244, 1, (number % 110) as u8]),
            dst: remote,
            sport: (number % 50_000) as u16,
            dport: 443,
            zone: 0,
            protocol: 6,
            family: 4,
            realm: 0,
        },
        backend: remote,
        backend_port: 443,
        ends: Ends::Both,
        reading: Reading::Live,
        id: number + 1,
        start_ns: 0,
        traffic: Traffic { orig: counts, reply: counts },
        cgroup: 0,
    }
}

/// A sweep in which every connection moved, some ended and as many were born.
fn sweep(pipeline: &mut Pipeline, round: u32, stats: &Stats) {
    let now = Now { mono_ns: u64::from(round) * SECOND, wall_ns: 1_790_000_000 * SECOND };
    pipeline.begin_sweep();
    for number in round * 100..CONNECTIONS + round * 100 {
        pipeline.record(&connection(number, u64::from(round) * 1_000), now);
    }
    for number in round * 100..round * 100 + 100 {
        let ended = Connection { reading: Reading::Ended, ..connection(number, u64::from(round) * 1_000 + 60) };
        pipeline.record(&ended, now);
    }
    pipeline.end_sweep(&Sweep { complete: true, ..Sweep::default() }, now);
    pipeline.publish(stats);
}

#[test]
fn a_sweep_allocates_nothing_once_warm() {
    let config = support::standalone(&["-local-cidrs", "10.244.1.0/24", "-max-rows", "4096"]);
    let mut pipeline = Pipeline::new(&config, 2 * CONNECTIONS, 1);
    let stats = Stats::default();
    for round in 0..4 {
        sweep(&mut pipeline, round, &stats);
    }
    let before = ALLOCATIONS.load(Relaxed);
    for round in 4..12 {
        sweep(&mut pipeline, round, &stats);
    }
    let allocated = ALLOCATIONS.load(Relaxed) - before;
    assert!(pipeline.ledger().folded_rows > 0, "the sweep shall include folding");
    assert!(pipeline.ledger().is_balanced());
    assert_eq!(allocated, 0, "allocations in eight sweeps of {CONNECTIONS} connections");
}
