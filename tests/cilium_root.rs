//! The Cilium source against real pinned maps, in a BPF file system that each test mounts for itself. The entries come
//! from a C program (`cilium_writer/writer.c`) that was made from the formats' tables alone, by another hand than the
//! reader; that it writes what Cilium writes is the first test.
//!
//! Needs root and clang.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::os::fd::AsFd;

#[path = "support/cilium.rs"]
mod cilium;
#[path = "support/counting.rs"]
mod counting;
#[path = "cilium_root/instead.rs"]
mod instead;
#[path = "cilium_root/ipcache.rs"]
mod ipcache;
mod support;

use cilium::{Bpffs, FIXTURES, LRU_HASH, MAPS, Writer, fixture};
use counting::{Counting, allocations};
use netmon::clock::{Now, SECOND};
use netmon::collect::pipeline::Pipeline;
use netmon::flow::{Direction, Split, TxRx};
use netmon::ledger::Ledger;
use netmon::source::cilium::Cilium;
use netmon::source::{Source, SourceError, Sweep};
use netmon::stats::{Skip, Unattributed};
use netmon::sys::bpf::{BatchReader, open_pinned};
use netmon::sys::privileges::{self, Capabilities};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LOCAL: &str = "-local-cidrs=10.0.1.0/24,fd00:10:244:1::/64";
const CT4: &str = "cilium_ct4_global";
const CT6: &str = "cilium_ct6_global";

// ---- the bench: the source and the tables behind it ------------------------------------------------------------

/// A reader as the agent has one: the source, and the way to rows.
struct Reader {
    source: Cilium,
    pipeline: Pipeline,
    sweeps: u64,
}

impl Reader {
    fn open(bpffs: &Bpffs) -> Reader {
        Reader::of(Cilium::open(Some(&bpffs.root)).expect("maps are pinned"))
    }

    fn of(source: Cilium) -> Reader {
        Reader::on_node_of(source, LOCAL)
    }

    fn on_node_of(source: Cilium, local: &str) -> Reader {
        let pipeline = Pipeline::new(&support::standalone(&[local]), 400_000, 1);
        Reader { source, pipeline, sweeps: 0 }
    }

    /// One that has made its first sweep.
    fn warm(bpffs: &Bpffs) -> Reader {
        let mut reader = Reader::open(bpffs);
        assert!(reader.sweep().complete);
        reader
    }

    fn now(&self) -> Now {
        Now { mono_ns: self.sweeps * SECOND, wall_ns: (1_000 + self.sweeps) * SECOND }
    }

    fn try_sweep(&mut self) -> Result<Sweep, SourceError> {
        self.sweeps += 1;
        let now = self.now();
        self.pipeline.begin_sweep();
        let result = self.source.sweep(now, &mut |c| self.pipeline.record(c, now));
        self.pipeline.end_sweep(&result.as_ref().copied().unwrap_or_default(), now);
        result
    }

    fn sweep(&mut self) -> Sweep {
        self.try_sweep().expect("the maps are read")
    }

    fn rows(&self) -> BTreeMap<String, (TxRx, bool)> {
        let rows = self.pipeline.rows().iter().map(|row| {
            let way = if row.key.direction == Direction::Outbound { "to" } else { "from" };
            let text =
                format!("{} {way} {} port {} by {}", row.key.local, row.key.remote, row.key.port, row.key.protocol);
            (text, (row.total, row.split() != Split::Known))
        });
        rows.collect()
    }

    /// Bytes of tx and rx of a row, 0 where there is none.
    fn bytes(&self, row: &str) -> (u64, u64) {
        let (counts, _) = self.rows().get(row).copied().unwrap_or_default();
        (counts.tx.bytes, counts.rx.bytes)
    }

    fn complaint(&mut self) -> String {
        let now = self.now();
        self.source.upkeep(now).degraded
    }

    fn unattributed(&self) -> u64 {
        let Ledger { unattributed, .. } = self.pipeline.ledger();
        unattributed[Unattributed::NoLocalEnd as usize].total_bytes()
    }
}

/// Bytes of layer 3 of what stands as frames.
fn l3(bytes: u64, packets: u64) -> u64 {
    bytes - 14 * packets
}

fn skipped(sweep: &Sweep, reason: Skip) -> u64 {
    sweep.skipped.0[reason as usize]
}

/// Has the writer write fixtures.
fn lay(bpffs: &Bpffs, fixtures: &[&str]) {
    fixtures.iter().for_each(|name| bpffs.tell(fixture(name)));
}

// ---- the writer ------------------------------------------------------------------------------------------------

#[test]
fn the_writer_writes_every_fixture_as_cilium_does() {
    let bpffs = Bpffs::with_maps();
    let mut written = 0;
    for (name, entry) in FIXTURES.lines().skip(1).filter_map(|line| line.split_once(": ")) {
        let line = fixture(name);
        let tuple = line.split(' ').skip(2).take(4).collect::<Vec<_>>().join(" ");
        bpffs.tell(line);
        assert_eq!(bpffs.ask(&format!("show {tuple}")), entry, "{name}");
        // Entries of 1.16 without an interface are such of 1.19 without an address.
        bpffs.tell(&line.replacen("entry b", "entry c", 1));
        assert_eq!(bpffs.ask(&format!("show {tuple}")), entry, "{name}");
        written += 1;
    }
    assert_eq!(written, 18);
}

// ---- layouts ---------------------------------------------------------------------------------------------------

#[test]
fn every_fixture_of_the_split_layout_gives_its_row() {
    let bpffs = Bpffs::with_maps();
    let mut reader = Reader::warm(&bpffs);
    lay(&bpffs, &["A1", "A2", "A3", "A4", "A5", "A6", "A7"]);
    let sweep = reader.sweep();
    assert_eq!(skipped(&sweep, Skip::Service), 2, "A3 and A4");
    let rows = reader.rows();
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(rows.values().all(|(_, is_sum)| !is_sum));
    assert_eq!(reader.bytes("10.0.1.23 to 10.0.2.34 port 8080 by 6"), (l3(3456, 12), l3(98_765, 10)));
    assert_eq!(reader.bytes("10.0.1.23 to 10.0.0.53 port 53 by 17"), (l3(91, 1), l3(161, 1)));
    assert_eq!(reader.bytes("10.0.1.23 from 203.0.113.9 port 8443 by 6"), (l3(2_100_000, 1500), l3(81_000, 900)));
    // A2 is the other node's business, A7 passes through to another node.
    let elsewhere = l3(3456, 12) + l3(98_765, 10) + l3(4100, 48) + l3(60_000, 50);
    assert_eq!(reader.unattributed(), elsewhere);
    assert_eq!(reader.complaint(), "");
    // On the node of its responder A2 is the row, and A1 the other node's.
    let there = Bpffs::with_maps();
    let source = Cilium::open(Some(&there.root)).expect("maps are pinned");
    let mut responder = Reader::on_node_of(source, "-local-cidrs=10.0.2.0/24");
    responder.sweep();
    lay(&there, &["A1", "A2"]);
    responder.sweep();
    assert_eq!(responder.rows().len(), 1);
    assert_eq!(responder.bytes("10.0.2.34 from 10.0.1.23 port 8080 by 6"), (l3(98_765, 10), l3(3456, 12)));
    // A8 is A1 by another clock.
    lay(&bpffs, &["A8"]);
    reader.sweep();
    assert_eq!(reader.bytes("10.0.1.23 to 10.0.2.34 port 8080 by 6"), (l3(3456, 12), l3(98_765, 10)));
}

#[test]
fn every_fixture_of_the_sum_layouts_gives_its_row() {
    for with_addresses in [false, true] {
        let bpffs = Bpffs::with_maps();
        let mut reader = Reader::warm(&bpffs);
        for name in ["B1", "B2", "B3", "B5", "B6", "B7", "B8"] {
            let line = fixture(name);
            bpffs.tell(&if with_addresses { line.replacen("entry b", "entry c", 1) } else { line.to_owned() });
        }
        if with_addresses {
            lay(&bpffs, &["C1", "C2"]);
        }
        let sweep = reader.sweep();
        assert_eq!((skipped(&sweep, Skip::Service), skipped(&sweep, Skip::NoCounters)), (1, 1), "B3, B8");
        let rows = reader.rows();
        assert_eq!(rows.len(), 4, "{rows:?}");
        assert!(rows.values().all(|(_, is_sum)| *is_sum));
        assert_eq!(reader.bytes("10.0.1.23 to 10.0.2.34 port 8080 by 6"), (l3(102_221, 22), 0));
        assert_eq!(reader.bytes("10.0.1.23 to 10.0.1.42 port 6379 by 6"), (l3(9000, 40), 0));
        assert_eq!(reader.bytes("10.0.1.42 from 10.0.1.23 port 6379 by 6"), (l3(9000, 40), 0));
        assert_eq!(reader.bytes("fd00:10:244:1::17 to fd00:10:244:2::22 port 8080 by 6"), (l3(102_661, 22), 0));
        assert_eq!(reader.unattributed(), l3(102_221, 22), "B2 is the other node's business");
        // The load balancer's entries of C: their backend is a pod of ours, whose own entry counts.
        let covered = reader.pipeline.take_skipped().0[Skip::Covered as usize];
        assert_eq!(covered, if with_addresses { 2 } else { 0 });
    }
}

#[test]
fn a_sum_and_accounting_that_is_off_are_complained_of_with_the_way_out() {
    let bpffs = Bpffs::with_maps();
    let mut reader = Reader::warm(&bpffs);
    assert_eq!(reader.complaint(), "", "an empty map is no trouble");
    lay(&bpffs, &["B4"]);
    let sweep = reader.sweep();
    assert_eq!((sweep.seen, skipped(&sweep, Skip::NoCounters)), (0, 1));
    let off = reader.complaint();
    assert!(off.contains("accounting is off") && off.contains("bpf.ctAccounting=true"), "{off}");
    assert!(reader.rows().is_empty(), "no zeros dressed up as data");
    lay(&bpffs, &["B6"]);
    reader.sweep();
    assert!(reader.complaint().contains("off for some pods"), "{}", reader.complaint());
    lay(&bpffs, &["B1"]);
    reader.sweep();
    let sum = reader.complaint();
    assert!(!sum.contains("off") && sum.contains("one sum") && sum.contains("\"split\":\"unknown\""), "{sum}");
    assert_eq!(reader.bytes("10.0.1.23 to 10.0.2.34 port 8080 by 6"), (l3(102_221, 22), 0), "counted from the start");
}

#[test]
fn the_nodes_own_entries_are_left_out() {
    let bpffs = Bpffs::with_maps();
    let mut reader = Reader::warm(&bpffs);
    reader.pipeline.local_ends().add_host("172.18.0.3".parse::<std::net::IpAddr>().expect("literal").into());
    bpffs.tell("entry b out tcp 172.18.0.3:58624 172.18.0.4:6443 sum=10/1000 tcp=1a/00 reported=9/0");
    reader.sweep();
    assert!(reader.rows().is_empty());
    assert_eq!(reader.pipeline.take_skipped().0[Skip::HostPartial as usize], 1);
}

// ---- sequences -------------------------------------------------------------------------------------------------

const B1_ENDS: &str = "10.0.1.23:45678 10.0.2.34:8080";
const B1_ROW: &str = "10.0.1.23 to 10.0.2.34 port 8080 by 6";

fn put_sum(bpffs: &Bpffs, packets: u64, bytes: u64) {
    bpffs.tell(&format!("entry b out tcp {B1_ENDS} sum={packets}/{bytes} tcp=1a/1a reported=9/9"));
}

#[test]
fn rule_10_an_entry_made_anew_counts_from_its_start() {
    let bpffs = Bpffs::with_maps();
    put_sum(&bpffs, 22, 102_221);
    let mut reader = Reader::warm(&bpffs);
    assert_eq!(reader.bytes(B1_ROW), (0, 0), "what was there before us is a baseline");
    put_sum(&bpffs, 30, 110_000);
    reader.sweep();
    assert_eq!(reader.bytes(B1_ROW), (7779 - 14 * 8, 0));
    put_sum(&bpffs, 1, 74);
    reader.sweep();
    assert_eq!(reader.bytes(B1_ROW), (7779 - 14 * 8 + 60, 0));
}

#[test]
fn rule_11_an_entry_that_is_away_for_one_sweep_is_counted_on() {
    let bpffs = Bpffs::with_maps();
    put_sum(&bpffs, 10, 1000);
    let mut reader = Reader::warm(&bpffs);
    bpffs.tell(&format!("delete out tcp {B1_ENDS}"));
    reader.sweep();
    put_sum(&bpffs, 20, 3000);
    reader.sweep();
    assert_eq!(reader.bytes(B1_ROW), (2000 - 140, 0));
    // Gone for good: no event was lost, for Cilium keeps what has ended longer than a sweep takes to come.
    bpffs.tell(&format!("delete out tcp {B1_ENDS}"));
    for _ in 0..3 {
        reader.sweep();
    }
    assert!(reader.pipeline.baselines().len() == 0);
}

#[test]
fn an_upgrade_in_place_is_counted_on_and_relabelled() {
    let bpffs = Bpffs::with_maps();
    lay(&bpffs, &["A1"]);
    let mut reader = Reader::warm(&bpffs);
    assert!(reader.source.tells_directions());
    // Cilium is replaced: the old entry's sum goes on where its tx was.
    let hit = || bpffs.tell(&format!("hit b out tcp {B1_ENDS} sum=20/10000"));
    hit();
    reader.sweep();
    assert_eq!(reader.bytes(B1_ROW), (10_000 - 280, 0), "the received bytes stand still and count for nothing");
    bpffs.tell("entry b in tcp 10.0.1.42:50000 10.0.1.23:80 sum=4/400 tcp=1a/1a reported=100008/100008");
    reader.sweep();
    assert!(!reader.source.tells_directions(), "a new entry tells who writes now");
    hit();
    reader.sweep();
    assert_eq!(reader.rows().get(B1_ROW).map(|(_, is_sum)| *is_sum), Some(true), "the row holds a sum from here on");
    assert_eq!(reader.bytes(B1_ROW), (20_000 - 560, 0), "and nothing is counted twice");
    assert!(reader.complaint().contains("one sum"));
}

#[test]
fn what_was_undecided_is_labelled_once_it_is_known() {
    let bpffs = Bpffs::with_maps();
    let mut reader = Reader::warm(&bpffs);
    bpffs.tell(&format!("entry a out tcp {B1_ENDS} tx=1/74 tcp=02/00 reported=9/0"));
    reader.sweep();
    assert!(reader.rows()[B1_ROW].1, "a SYN of either layout");
    bpffs.tell(&format!("hit a out tcp {B1_ENDS} tx=1/66 rx=1/74 tcp=02/12 reported=9/9"));
    reader.sweep();
    assert_eq!((reader.rows()[B1_ROW].1, reader.bytes(B1_ROW)), (false, (112, 60)));
}

#[test]
fn twins_of_one_connection_are_told_apart() {
    let bpffs = Bpffs::with_maps();
    let mut reader = Reader::warm(&bpffs);
    let put = |role: &str, p: u64| {
        let ends = "10.0.1.23:50000 10.0.1.42:6379";
        bpffs.tell(&format!("entry b {role} tcp {ends} sum={p}/{} reported=9/9", p * 100));
    };
    put("out", 10);
    put("in", 10);
    reader.sweep();
    put("out", 5);
    put("in", 30);
    reader.sweep();
    put("out", 25);
    reader.sweep();
    assert_eq!(reader.bytes("10.0.1.23 to 10.0.1.42 port 6379 by 6").0, 86 * (10 + 5 + 20));
    assert_eq!(reader.bytes("10.0.1.42 from 10.0.1.23 port 6379 by 6").0, 86 * 30);
}

// ---- maps ------------------------------------------------------------------------------------------------------

#[test]
fn maps_are_found_where_releases_and_documents_have_them() {
    for folder in ["tc/globals", "", "cilium"] {
        let bpffs = Bpffs::new();
        let folder = bpffs.root.join(folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        Writer::new(&folder).tell(&format!("map {CT6} type=1 entries=100"));
        let mut reader = Reader::open(&bpffs);
        assert!(reader.sweep().complete, "one map of one family, a plain hash, in {folder:?}");
    }
}

#[test]
fn no_maps_and_unknown_maps_are_named() {
    let bpffs = Bpffs::new();
    let refusal = |bpffs: &Bpffs| Cilium::open(Some(&bpffs.root)).err().map(|e| e.to_string()).unwrap_or_default();
    let none = refusal(&bpffs);
    assert!(none.contains("no conntrack map of Cilium's") && none.contains("-cilium-bpf-root"), "{none}");
    bpffs.create(CT4, LRU_HASH, 14, 48, 100);
    let strange = refusal(&bpffs);
    assert!(strange.contains("14-byte keys and 48-byte values"), "{strange}");
    // Beside one that is well, it degrades.
    bpffs.create(CT6, LRU_HASH, 38, 56, 100);
    let mut reader = Reader::warm(&bpffs);
    assert!(
        reader.complaint().contains("cilium_ct4_global is not read: no known Cilium release has a map of type 9"),
        "{}",
        reader.complaint()
    );
}

#[test]
fn rule_10_everything_in_a_new_map_is_new() {
    let bpffs = Bpffs::with_maps();
    put_sum(&bpffs, 10, 1000);
    let mut reader = Reader::warm(&bpffs);
    bpffs.create(CT4, LRU_HASH, 14, 56, 32_768);
    put_sum(&bpffs, 20, 5000);
    let sweep = reader.sweep();
    assert!(sweep.complete);
    assert_eq!(reader.bytes(B1_ROW), (5000 - 280, 0), "more than before, and not less the old map's");
}

#[test]
fn a_map_that_is_away_makes_the_sweep_incomplete_once() {
    let bpffs = Bpffs::with_maps();
    let mut reader = Reader::warm(&bpffs);
    std::fs::remove_file(bpffs.pin(CT4)).expect("the pin");
    assert!(!reader.sweep().complete);
    assert!(reader.sweep().complete, "it stays away: so be it");
    for (name, _) in MAPS {
        let _ = std::fs::remove_file(bpffs.pin(name));
    }
    let gone = reader.try_sweep().expect_err("nothing is left").to_string();
    assert!(gone.contains("are gone"), "{gone}");
}

#[test]
fn a_map_replaced_in_mid_sweep_is_read_to_its_end() {
    let bpffs = Bpffs::with_maps();
    bpffs.fill('a', 5000, 1);
    let mut source = Cilium::open(Some(&bpffs.root)).expect("maps");
    let mut seen = 0;
    let now = Now { mono_ns: 1, wall_ns: 1 };
    let sweep = source
        .sweep(now, &mut |_| {
            seen += 1;
            if seen == 10 {
                bpffs.create(CT4, LRU_HASH, 14, 56, 1000);
            }
        })
        .expect("read");
    assert_eq!((seen, sweep.complete), (5000, true));
    assert_eq!(source.sweep(now, &mut |_| {}).expect("read").seen, 0);
}

#[test]
fn three_hundred_thousand_entries_are_read_without_allocating_by_any_batch() {
    let bpffs = Bpffs::new();
    bpffs.create(CT4, LRU_HASH, 14, 56, 400_000);
    bpffs.fill('a', 300_000, 1);
    let small = Cilium::open_with_batch(Some(&bpffs.root), 2).expect("buckets larger than a batch");
    for source in [Cilium::open(Some(&bpffs.root)).expect("maps"), small] {
        let mut reader = Reader::of(source);
        reader.sweep();
        reader.sweep();
        bpffs.fill('a', 300_000, 2);
        let before = allocations();
        let sweep = reader.sweep();
        let rows = reader.pipeline.rows().len();
        assert!(rows > 30_000, "{rows}");
        assert_eq!((sweep.seen, sweep.complete), (300_000, true));
        assert_eq!(allocations() - before, 0);
        let ledger = reader.pipeline.ledger();
        assert_eq!(ledger.counted.tx.bytes, 300_000 * 86);
        bpffs.fill('a', 300_000, 1);
    }
}

#[test]
fn entry_by_entry_is_the_same_as_by_batches() {
    let bpffs = Bpffs::with_maps();
    bpffs.fill('a', 5000, 3);
    let fd = open_pinned(&CString::new(bpffs.pin(CT4)).expect("a path")).expect("a map");
    let mut reader = BatchReader::new(14, 56, 16);
    let (mut walked, mut batched) = (Vec::new(), Vec::new());
    let walk = reader.walk(fd.as_fd(), &mut |key, value| walked.push((key.to_vec(), value.to_vec()))).expect("read");
    let read = reader.read(fd.as_fd(), &mut |key, value| batched.push((key.to_vec(), value.to_vec()))).expect("read");
    assert_eq!((walk, read), ((5000, true), (5000, true)));
    walked.sort();
    batched.sort();
    assert!(walked == batched);
}

#[test]
fn entries_that_come_and_go_meanwhile_hide_no_other() {
    let bpffs = Bpffs::with_maps();
    bpffs.fill('a', 20_000, 1);
    let mut reader = Reader::warm(&bpffs);
    let churn = bpffs.churn(60);
    let fd = open_pinned(&CString::new(bpffs.pin(CT4)).expect("a path")).expect("a map");
    for packets in 2..12 {
        bpffs.fill('a', 20_000, packets);
        let sweep = reader.sweep();
        assert!(sweep.complete && sweep.seen >= 20_000, "{sweep:?}");
    }
    let mut walker = BatchReader::new(14, 56, 16);
    let mut steady = std::collections::HashSet::new();
    let (_, whole) = walker
        .walk(fd.as_fd(), &mut |key, value| {
            if value[16] == 11 {
                steady.insert(key.to_vec());
            }
        })
        .expect("read");
    assert!(!whole || steady.len() == 20_000, "{}", steady.len());
    churn.join().expect("it came to its end");
    reader.sweep();
    let rows = reader.rows();
    let lasting = (0..20_000u32).map(|n| format!("10.0.1.23 to 10.2.{}.{} port 80 by 6", n >> 8, n & 255));
    let wrong: Vec<String> = lasting.filter(|row| rows.get(row).is_none_or(|(sum, _)| sum.tx.bytes != 860)).collect();
    assert!(wrong.is_empty(), "{} of those that stayed, the first: {}", wrong.len(), wrong[0]);
}

#[test]
fn a_full_map_is_named_with_the_value_that_makes_it_larger() {
    let bpffs = Bpffs::new();
    bpffs.create(CT4, 1, 14, 56, 1000);
    bpffs.fill('a', 990, 1);
    let mut reader = Reader::warm(&bpffs);
    let complaint = reader.complaint();
    assert!(complaint.contains("990 of 1000 entries") && complaint.contains("bpf.ctTcpMax"), "{complaint}");
}

#[test]
fn root_without_capabilities_reads() {
    let bpffs = Bpffs::with_maps();
    bpffs.fill('a', 100, 1);
    privileges::keep_only(Capabilities::NONE).expect("this thread drops what it has");
    assert_eq!(Reader::warm(&bpffs).pipeline.baselines().len(), 100);
}
