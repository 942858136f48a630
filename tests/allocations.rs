//! The collector allocates nothing per sweep in steady state: a counting allocator proves it.
//!
//! One test in a binary of its own, for the counter is the process's.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use netmon::clock::{Now, SECOND};
use netmon::collect::pipeline::Pipeline;
use netmon::config::SourceKind;
use netmon::flow::{Addr, Connection, ConnectionKey, Counts, Ends, Reading, Traffic};
use netmon::owner::cgroup::Holds;
use netmon::owner::socket_owners::SocketOwners;
use netmon::owner::{Pod, PodIndex};
use netmon::source::Sweep;
use netmon::stats::Stats;
use netmon::topology::names::{Learner, Names};
use netmon::topology::{Topology, Via, lines};
use nix::sched::{CloneFlags, unshare};

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
const PODS: usize = 50;
const NODE: Addr = Addr::from_v4([192, 168, 1, 10]);

/// With cgroups: of a pod's socket, or of one of the host's that nobody knows.
fn connection(number: u32, bytes: u64, cgroups: &[u64]) -> Connection {
    let [_, a, b, c] = number.to_be_bytes();
    let remote = Addr::from_v4([198, 51, a ^ b, c]);
    let counts = Counts { bytes, packets: bytes / 100 };
    let cgroup = cgroups.get(number as usize % (cgroups.len() + 1)).copied();
    let of_host = !cgroups.is_empty() && cgroup.is_none();
    Connection {
        key: ConnectionKey {
            src: if of_host { NODE } else { Addr::from_v4([10, 244, 1, (number % 110) as u8]) },
            dst: remote,
            sport: (number % 50_000) as u16,
            dport: 443,
            ct_zone: 0,
            protocol: 6,
            family: 4,
            realm: 0,
        },
        backend: remote,
        backend_port: 443,
        ends: if cgroup.is_some() { Ends::Originator } else { Ends::Both },
        reading: Reading::Live,
        id: number + 1,
        start_ns: 0,
        traffic: Traffic { orig: counts, reply: counts },
        more: None,
        cgroup: cgroup.unwrap_or(0),
    }
}

/// A sweep in which every connection moved, some ended and as many were born.
fn sweep(pipeline: &mut Pipeline, round: u32, stats: &Stats, cgroups: &[u64]) {
    let now = Now { mono_ns: u64::from(round) * SECOND, wall_ns: 1_790_000_000 * SECOND };
    for number in round * 100..round * 100 + 100 {
        let ended =
            Connection { reading: Reading::Ended, ..connection(number + 900, u64::from(round) * 1_000, cgroups) };
        pipeline.hear(&ended, now);
    }
    pipeline.end_drain(now);
    pipeline.begin_sweep();
    for number in round * 100..CONNECTIONS + round * 100 {
        pipeline.record(&connection(number, u64::from(round) * 1_000, cgroups), now);
    }
    for number in round * 100..round * 100 + 100 {
        let ended =
            Connection { reading: Reading::Ended, ..connection(number, u64::from(round) * 1_000 + 60, cgroups) };
        pipeline.record(&ended, now);
    }
    if pipeline.arbiter().is_some() {
        // The programs have what the pods' sockets sent.
        for number in round * 100..CONNECTIONS + round * 100 {
            let told = connection(number, 1_000, cgroups);
            pipeline.record(&Connection { reading: Reading::Increment, ends: Ends::Originator, ..told }, now);
        }
    }
    pipeline.end_sweep(&Sweep { complete: true, ..Sweep::default() }, now);
    if let Some(socket_owners) = pipeline.socket_owners() {
        socket_owners.look().expect("this test has a socket");
        pipeline.place_deferred();
        if pipeline.socket_owners().is_some_and(SocketOwners::walk) {
            pipeline.settle_waiting(now);
        }
    }
    pipeline.publish(stats);
}

fn allocated_once_warm(pipeline: &mut Pipeline, cgroups: &[u64]) -> u64 {
    let stats = Stats::default();
    for round in 0..4 {
        sweep(pipeline, round, &stats, cgroups);
    }
    let before = ALLOCATIONS.load(Relaxed);
    for round in 4..12 {
        sweep(pipeline, round, &stats, cgroups);
    }
    let allocated = ALLOCATIONS.load(Relaxed) - before;
    assert!(pipeline.ledger().is_balanced());
    allocated
}

/// 256 ranges in the world, each of which is half of the one around it.
fn topology() -> Arc<Topology> {
    let mut learner = Learner::new(Names::default());
    let text: String =
        (0..256).map(|n| format!("198.51.{n}.0/24 zone=z{} via=nat\n198.51.{n}.0/25 zone=z1\n", n % 3)).collect();
    let parsed = lines::parse(&text, &mut learner, &[]).expect("it is well");
    Arc::new(Topology::new(Arc::new(parsed.table), Arc::new(learner.finish()), 1))
}

/// A cluster with a tree of cgroups, one pod a directory; what a directory is called is the pod's uid.
fn in_cluster(root: &Path) -> (Pipeline, Vec<u64>) {
    let (mut pods, mut cgroups) = (Vec::new(), Vec::new());
    for number in 0..PODS {
        let uid = format!("{number:08x}-0000-4000-8000-000000000000");
        let dir = root.join(format!("kubepods/pod{uid}"));
        std::fs::create_dir_all(&dir).expect("a writable temporary directory");
        cgroups.push(std::fs::metadata(dir).expect("just made").ino());
        let name = format!("pod-{number}");
        let (namespace, uid) = ("shop".into(), uid.into());
        pods.push(Arc::new(Pod { uid, namespace, name: name.into(), workload: None, host_network: true }));
    }
    let mut pipeline = Pipeline::new(&support::in_cluster(&["-max-rows", "4096"]), 2 * CONNECTIONS, 1);
    pipeline.local_ends().replace_host(&[NODE]);
    pipeline.set_pods(Arc::new(PodIndex::new(Vec::new(), pods, true, 1)), Now::default());
    pipeline.set_socket_owners(SocketOwners::open(root, Holds::Pods, true).expect("socket diagnostics"));
    (pipeline, cgroups)
}

#[test]
fn a_sweep_allocates_nothing_once_warm() {
    let config = support::standalone(&["-local-cidrs", "10.244.1.0/24", "-max-rows", "4096"]);
    let mut pipeline = Pipeline::new(&config, 2 * CONNECTIONS, 1);
    // And with a table of ranges, which is asked of each new row.
    pipeline.set_topology(topology());
    let allocated = allocated_once_warm(&mut pipeline, &[]);
    assert!(pipeline.costs().iter().any(|cost| cost.key.way.via() == Via::Nat), "the table is asked");
    assert!(pipeline.ledger().folded_rows > 0, "the sweep shall include folding");
    assert_eq!(allocated, 0, "allocations in eight sweeps of {CONNECTIONS} connections");

    let mut pipeline = Pipeline::new(&config, 2 * CONNECTIONS, 1);
    pipeline.read_by(SourceKind::Auto);
    let allocated = allocated_once_warm(&mut pipeline, &[]);
    assert_eq!(allocated, 0, "allocations in eight sweeps of two sources");

    // Without the sockets of others, where that is allowed.
    let _ = unshare(CloneFlags::CLONE_NEWNET);
    let _socket = UdpSocket::bind("0.0.0.0:0").expect("a free port");
    let root = std::env::temp_dir().join(format!("netmon-allocations-{}", std::process::id()));
    let (mut pipeline, cgroups) = in_cluster(&root);
    let allocated = allocated_once_warm(&mut pipeline, &cgroups);
    let owners = pipeline.owners().all().len();
    std::fs::remove_dir_all(&root).expect("made above");
    assert!(owners > PODS, "pods are known by their cgroups");
    assert_eq!(allocated, 0, "allocations in eight sweeps with looks at sockets and cgroups");
}
