//! The BPF source against the kernel's own counters: real traffic between two network namespaces, from a cgroup of
//! the test's own, compared byte for byte with nftables counters at the input and output hooks.
//!
//! Needs root, cgroup2, nft and ip. Tests take turns, for the process itself moves into the test's cgroup.

#[path = "support/counting.rs"]
mod counting;

#[path = "ebpf_root/bench.rs"]
mod bench;
#[path = "ebpf_root/bounds.rs"]
mod bounds;
#[path = "ebpf_root/counted.rs"]
mod counted;
#[path = "ebpf_root/odd.rs"]
mod odd;
#[path = "ebpf_root/race.rs"]
mod race;
#[path = "ebpf_root/services.rs"]
mod services;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;
