//! What a sweep of Cilium's maps costs beyond the kernel's own batches.
//!
//! `cargo bench --bench cilium [-- ENTRIES...]`, as root: fills a pinned map of its own (layout of 1.10 to
//! 1.15; no counter moves) and runs the stages in turn, round after round:
//!
//! - `floor`: the batches read and thrown away;
//! - `parse`: the source as it is, records thrown away;
//! - `rows`: records through baselines, owners and rows.
//!
//! CPU time of the thread; ratios are medians of the ratios within a round.

use std::ffi::CString;
use std::os::fd::AsFd;

#[path = "../tests/support/cilium.rs"]
mod cilium;

use cilium::{Bpffs, LRU_HASH};
use netmon::clock;
use netmon::collect::pipeline::Pipeline;
use netmon::config::{self, Command};
use netmon::source::Source;
use netmon::source::cilium::Cilium;
use netmon::sys::bpf::{BatchReader, open_pinned};

const ROUNDS: usize = 9;
const MAP: &str = "cilium_ct4_global";

fn main() {
    let asked: Vec<u32> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![10_000, 100_000, 300_000] } else { asked };
    println!("{:>8} {:>6} {:>12} {:>8}", "entries", "stage", "ns/entry", "ratio");
    for size in sizes {
        // As large as Cilium makes it.
        let bpffs = Bpffs::new();
        bpffs.create(MAP, LRU_HASH, 14, 56, 524_288);
        bpffs.fill('a', size, 9);
        sweeps(size, &bpffs);
    }
}

fn sweeps(entries: u32, bpffs: &Bpffs) {
    let pin = CString::new(bpffs.pin(MAP)).expect("a path");
    let mut floor = BatchReader::new(14, 56, 4096);
    let mut source = Cilium::open(Some(&bpffs.root)).expect("a map");
    let mut pipeline = pipeline(entries);
    let mut rounds: Vec<[f64; 3]> = Vec::new();
    // The first round warms tables and caches.
    for round in 0..=ROUNDS {
        let mut cost = [0.0; 3];
        // Each stage takes each turn equally often.
        for turn in 0..3 {
            let stage = (turn + round) % 3;
            let begin = clock::thread_cpu_ns();
            let seen = match stage {
                0 => {
                    let map = open_pinned(&pin).expect("a map");
                    floor.read(map.as_fd(), &mut |_, _| {}).expect("batches").0
                }
                1 => source.sweep(clock::now(), &mut |_| {}).expect("a sweep").seen,
                _ => {
                    let now = clock::now();
                    pipeline.begin_sweep();
                    let sweep = source.sweep(now, &mut |c| pipeline.record(c, now)).expect("a sweep");
                    pipeline.end_sweep(&sweep, now);
                    sweep.seen
                }
            };
            cost[stage] = (clock::thread_cpu_ns() - begin) as f64 / f64::from(entries);
            assert_eq!(seen, u64::from(entries), "stage {stage}");
        }
        if round > 0 {
            rounds.push(cost);
        }
    }
    for (stage, name) in ["floor", "parse", "rows"].into_iter().enumerate() {
        let ns = median(rounds.iter().map(|cost| cost[stage]));
        let ratio = median(rounds.iter().map(|cost| cost[stage] / cost[0]));
        println!("{entries:>8} {name:>6} {ns:>12.0} {ratio:>8.2}");
    }
}

fn pipeline(entries: u32) -> Pipeline {
    let arguments = ["-standalone", "-local-cidrs=10.0.1.0/24"].map(Into::into);
    match config::parse(arguments, |_| None, Some("bench".into())) {
        Ok(Command::Run(config)) => Pipeline::new(&config, entries + entries / 4, 1),
        _ => panic!("plain flags"),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
