//! Cilium's map of addresses, a real trie in the BPF file system of the test's own: what it tells, which of two is in use,
//! and what becomes of one that is none.

use std::ffi::CString;
use std::fmt::Write as _;
use std::os::fd::AsFd;
use std::sync::Arc;

use netmon::clock;
use netmon::config::TopologySource;
use netmon::flow::{Addr, Cidr};
use netmon::locate::cilium::Ipcache;
use netmon::locate::{Locator, Own, Settings, Teller};
use netmon::stats::{Stats, TopologyRefused};
use netmon::sys::bpf::{BatchReader, open_pinned};
use netmon::topology::Scope;
use netmon::topology::names::Names;

use super::cilium::Bpffs;
use super::counting::peak_of;

/// `BPF_MAP_TYPE_HASH` and `BPF_MAP_TYPE_LPM_TRIE`.
const HASH: u32 = 1;
const TRIE: u32 = 11;
/// As releases until 1.17 have it, and those from 1.18 on.
const V1: (&str, usize) = ("cilium_ipcache", 12);
const V2: (&str, usize) = ("cilium_ipcache_v2", 24);
/// What a full map holds.
const FULL: u32 = 512_000;

/// Two nodes, and the world.
const NODE_A: &str = "c0a80107";
const NODE_B: &str = "c0a80207";
const NONE: &str = "00000000";

fn make(bpffs: &Bpffs, (name, value_bytes): (&str, usize), kind: u32) {
    // A trie must say that its memory comes as it goes (BPF_F_NO_PREALLOC).
    let flags = u32::from(kind == TRIE);
    let sizes = format!("type={kind} key=24 value={value_bytes} entries={FULL}");
    bpffs.tell(&format!("map {name} {sizes} flags={flags}"));
}

/// The line that writes an entry; the address in hex, of IPv4 or IPv6 by its length.
fn entry((name, value_bytes): (&str, usize), addr: &str, prefix: u32, node: &str) -> String {
    let family = if addr.len() == 8 { 1 } else { 2 };
    let bits: String = (32 + prefix).to_ne_bytes().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    });
    let value = match value_bytes {
        12 => format!("{}{node}000003{}", "fe6f0000", "00"),
        _ => format!("{}{node:0<32}000003{:02x}", "fe6f0000", if node == NONE { 0 } else { 2 }),
    };
    format!("raw {name} {bits}000000{family:02x}{addr:0<32} {value}")
}

fn reader(bpffs: &Bpffs) -> (Ipcache, Arc<Stats>) {
    let stats = Arc::new(Stats::default());
    (Ipcache::new(Some(&bpffs.root), Arc::clone(&stats)), stats)
}

/// What is told now, as text.
fn told(bpffs: &Bpffs) -> Vec<String> {
    let hops = reader(bpffs).0.read_if_due().expect("it is read");
    hops.iter().map(|(range, node)| format!("{range} {node}")).collect()
}

fn refused(stats: &Stats) -> u64 {
    stats.topology_refused[TopologyRefused::Source as usize].get()
}

#[test]
fn a_pod_lies_behind_the_node_that_cilium_names() {
    for map in [V1, V2] {
        let bpffs = Bpffs::new();
        assert_eq!(told(&bpffs), [""; 0], "nothing is pinned");
        make(&bpffs, map, TRIE);
        assert_eq!(told(&bpffs), [""; 0], "and nothing is in it");
        let lines = [
            // A node's range, a pod of it, and one in it that is on another node.
            entry(map, "0a000200", 24, NODE_A),
            entry(map, "0a000222", 32, NODE_A),
            entry(map, "0a000223", 32, NODE_B),
            entry(map, "0a000224", 32, NODE_A),
            // Two that may become one range once it is known where their node is.
            entry(map, "0a000304", 32, NODE_B),
            entry(map, "0a000305", 32, NODE_B),
            entry(map, "fd001000000000000000000000000022", 128, NODE_A),
            // A pod of this node, a node, and the world.
            entry(map, "0a000117", 32, NONE),
            entry(map, NODE_A, 32, NODE_A),
            entry(map, "00000000", 0, NONE),
        ];
        bpffs.tell(&lines.join("\n"));
        let expected = [
            "10.0.2.34/32 192.168.1.7",
            "10.0.2.35/32 192.168.2.7",
            "10.0.2.0/24 192.168.1.7",
            "10.0.3.4/32 192.168.2.7",
            "10.0.3.5/32 192.168.2.7",
            "fd00:1000::22/128 192.168.1.7",
        ];
        assert_eq!(told(&bpffs), expected, "{map:?}");
        // Kernels without batches for tries are read entry by entry, in the same order.
        let fd = open_pinned(&CString::new(bpffs.pin(map.0)).expect("a path")).expect("pinned");
        let mut all = [const { Vec::new() }; 3];
        for (n, batch) in [(0, 2), (1, 512)] {
            let mut reader = BatchReader::new(24, map.1, batch);
            let read = reader.read(fd.as_fd(), &mut |key, value| all[n].push((key.to_vec(), value.to_vec())));
            assert_eq!(read.expect("read"), (lines.len() as u64, true));
        }
        let mut reader = BatchReader::new(24, map.1, 2);
        let walk = reader.walk(fd.as_fd(), &mut |key, value| all[2].push((key.to_vec(), value.to_vec())));
        assert_eq!(walk.expect("read"), (lines.len() as u64, true));
        assert!(all[0] == all[1] && all[1] == all[2]);
    }
}

/// An upgrade leaves the older one, a downgrade the newer one, and the agent makes its own anew when it starts.
#[test]
fn of_two_maps_the_one_that_was_made_last_is_in_use() {
    let bpffs = Bpffs::new();
    let (mut map, stats) = reader(&bpffs);
    for (n, made) in [V1, V2, V1, V1, V2].into_iter().enumerate() {
        make(&bpffs, made, TRIE);
        bpffs.tell(&entry(made, &format!("0a00020{n}"), 32, NODE_A));
        let expected: Cidr = Cidr::new(Addr::from_v4([10, 0, 2, n as u8]), 32).expect("a range");
        // It rests after each reading, and longest after the first.
        let read = loop {
            match map.read_if_due() {
                Some(read) => break read,
                None => clock::sleep_ns(clock::MS),
            }
        };
        assert_eq!(read, [(expected, Addr::from_v4([192, 168, 1, 7]))], "{n}");
    }
    assert_eq!(refused(&stats), 0);
}

#[test]
fn a_map_of_no_known_release_is_told_once_and_not_used() {
    let wrong = [(("cilium_ipcache_v2", 20), TRIE), (("cilium_ipcache_v2", 12), HASH)];
    for ((name, value_bytes), kind) in wrong {
        let bpffs = Bpffs::new();
        make(&bpffs, V1, TRIE);
        bpffs.tell(&entry(V1, "0a000222", 32, NODE_A));
        make(&bpffs, (name, value_bytes), kind);
        let (mut map, stats) = reader(&bpffs);
        for _ in 0..3 {
            assert!(map.read_if_due().is_none_or(|hops| hops.is_empty()));
            clock::sleep_ns(50 * clock::MS);
        }
        assert_eq!(refused(&stats), 1, "{name} of type {kind}");
    }
}

/// Pods of a node whose range is there take no room; more lone ones than two tables hold are not used, and who reads
/// rests a hundred times as long as it took.
#[test]
fn a_full_map_is_read_within_bounds() {
    let bpffs = Bpffs::new();
    make(&bpffs, V2, TRIE);
    let mut lines = String::new();
    let node = |n: u32| if n.is_multiple_of(2) { NODE_A } else { NODE_B };
    for n in 0..1000u32 {
        let first = 0x0a00_0000 + (n << 8);
        let _ = writeln!(lines, "{}", entry(V2, &format!("{first:08x}"), 24, node(n)));
        for pod in 1..=110 {
            let _ = writeln!(lines, "{}", entry(V2, &format!("{:08x}", first + 2 * pod), 32, node(n)));
        }
    }
    bpffs.tell(&lines);
    let (mut map, stats) = reader(&bpffs);
    let (hops, peak) = peak_of(|| map.read_if_due().expect("the first time"));
    println!("111,000 entries: {} ranges, {peak} bytes at most", hops.len());
    assert_eq!(hops.len(), 1000);
    assert!(peak < 512 << 10, "{peak} bytes");
    assert!(map.read_if_due().is_none(), "it rests");

    // Every other address, so that none can be joined.
    lines.clear();
    for n in 0..140_000u32 {
        let _ = writeln!(lines, "{}", entry(V2, &format!("{:08x}", 0x0b00_0000 + 2 * n), 32, NODE_A));
    }
    bpffs.tell(&lines);
    let (mut map, more) = reader(&bpffs);
    let (hops, peak) = peak_of(|| map.read_if_due());
    println!("140,000 more: {peak} bytes at most");
    assert_eq!(hops, Some(Vec::new()));
    assert!(peak < 32 << 20, "{peak} bytes");
    assert_eq!((refused(&stats), refused(&more)), (0, 1));
}

/// From the map to the scope of a row: the file says where the nodes are.
#[test]
fn what_cilium_tells_lies_where_the_file_says_its_node_is() {
    let bpffs = Bpffs::new();
    make(&bpffs, V1, TRIE);
    let lines = [("0a000222", NODE_A), ("0a000223", NODE_B), ("0a000224", "ac100001")];
    bpffs.tell(&lines.map(|(pod, node)| entry(V1, pod, 32, node)).join("\n"));
    let file = std::env::temp_dir().join(format!("netmon-ipcache-{}", std::process::id()));
    std::fs::write(&file, "192.168.1.0/24 zone=a1 region=a\n192.168.2.0/24 zone=a2 region=a\n").expect("ours");
    let labels = Own { zone: "a1".to_owned(), region: "a".to_owned() };
    let settings =
        Settings { file: Some(file.clone()), source: TopologySource::Routes, labels, fallback: Own::default() };
    let mut locator = Locator::new(settings, Names::default(), Arc::default());
    locator.look().expect("a file");
    std::fs::remove_file(file).expect("ours");
    let hops = reader(&bpffs).0.read_if_due().expect("it is read");
    let topology = locator.set_hops(Teller::Cilium, hops).expect("new");
    let scope = |last| topology.charge(Addr::from_v4([10, 0, 2, last]), false, true).way.scope();
    assert_eq!([34, 35, 36, 37].map(scope), [Scope::Zone, Scope::Region, Scope::Unknown, Scope::Unknown]);
}
