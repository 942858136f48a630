//! What reading pods costs, by our narrow view and by the full types of `k8s-openapi`, in one run: thread CPU time
//! (medians of rounds in turn) and the most heap held at once. The bodies are what a server sends: pods of two
//! containers with 25 variables each, managed fields, status; and events of 1 MB, one by an annotation
//! and one by its managed fields.
//!
//! `--test` (as `cargo test --benches` gives it) runs the small sizes once.

#[path = "../tests/support/counting.rs"]
mod counting;
#[path = "../tests/support/fake_kube/fixtures.rs"]
#[allow(dead_code)]
mod fixtures;

use std::collections::VecDeque;
use std::io::{self, BufReader, Read};

use counting::{Counting, peak_of};
use k8s_openapi::List;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::WatchEvent;
use netmon::clock::thread_cpu_ns;
use netmon::kube::decode::{Event, Events, PodView, read_list};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Goals: so many times less heap and less time than the full types.
const HEAP_GOAL: u64 = 50;
const TIME_GOAL: f64 = 3.0;

/// A list of many pods that is never in memory as a whole.
struct Body<'a>(VecDeque<&'a [u8]>);

impl<'a> Body<'a> {
    fn new(head: &'a [u8], items: &'a [Vec<u8>], count: usize) -> Body<'a> {
        let mut pieces = VecDeque::from([head]);
        for number in 0..count {
            pieces.extend([&b","[usize::from(number == 0)..], &items[number % items.len()]]);
        }
        pieces.push_back(b"]}");
        Body(pieces)
    }

    fn len(&self) -> usize {
        self.0.iter().map(|piece| piece.len()).sum()
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.0.front().is_some_and(|piece| piece.is_empty()) {
            self.0.pop_front();
        }
        let Some(piece) = self.0.front_mut() else { return Ok(0) };
        piece.read(buffer)
    }
}

/// Of one way to read.
struct Cost {
    /// The median of the rounds.
    ns: u64,
    bytes: u64,
}

/// Both ways, in turn, for a shared machine is fast and slow by the second; and the median of the rounds' ratios.
struct Costs {
    narrow: Cost,
    full: Cost,
    ratio: f64,
}

fn costs<N, F>(rounds: usize, mut narrow: impl FnMut() -> N, mut full: impl FnMut() -> F) -> Costs {
    let (narrow_bytes, full_bytes) = (peak_of(&mut narrow).1, peak_of(&mut full).1);
    let pairs: Vec<(u64, u64)> = (0..rounds).map(|_| (time_of(&mut narrow), time_of(&mut full))).collect();
    let median = |mut all: Vec<u64>| {
        all.sort_unstable();
        all[all.len() / 2]
    };
    let mut ratios: Vec<f64> = pairs.iter().map(|(narrow, full)| *full as f64 / (*narrow).max(1) as f64).collect();
    ratios.sort_by(f64::total_cmp);
    Costs {
        narrow: Cost { ns: median(pairs.iter().map(|pair| pair.0).collect()), bytes: narrow_bytes },
        full: Cost { ns: median(pairs.iter().map(|pair| pair.1).collect()), bytes: full_bytes },
        ratio: ratios[rounds / 2],
    }
}

fn time_of<T>(run: &mut impl FnMut() -> T) -> u64 {
    // What the run before gave back (2 GB by the full types) is put in order by the allocator at the next large
    // request: not at the cost of this run.
    drop(std::hint::black_box(Vec::<u8>::with_capacity(64 << 10)));
    let start = thread_cpu_ns();
    std::hint::black_box(run());
    thread_cpu_ns() - start
}

/// Prints a line; whether the goals are met. `time_counts`: of one long string the heap alone is a goal, for both ways
/// walk it byte by byte.
fn row(what: &str, size: usize, costs: &Costs, time_counts: bool) -> bool {
    let Costs { narrow, full, ratio } = costs;
    let less = full.bytes / narrow.bytes.max(1);
    println!(
        "{what:<14} {:>8.2} MB | {:>9.2} ms {:>10.1} kB | {:>9.2} ms {:>12.1} kB | time 1/{ratio:<4.1} heap 1/{less}",
        size as f64 / 1e6,
        narrow.ns as f64 / 1e6,
        narrow.bytes as f64 / 1e3,
        full.ns as f64 / 1e6,
        full.bytes as f64 / 1e3,
    );
    (*ratio >= TIME_GOAL || !time_counts) && less >= HEAP_GOAL
}

/// A pod with an annotation of 1 MB, which an escape interrupts every few characters.
fn pod_of_text() -> Pod {
    let mut pod = fixtures::full_pod(7);
    if let Some(annotations) = &mut pod.metadata.annotations {
        annotations.insert("example.org/large".to_owned(), "\"quoted\" ".repeat(90_000));
    }
    pod
}

/// A pod with 1 MB of managed fields: many short keys in many small objects.
fn pod_of_fields() -> Pod {
    let mut pod = fixtures::full_pod(7);
    if let Some(entries) = &mut pod.metadata.managed_fields {
        *entries = entries.iter().cycle().take(270).cloned().collect();
    }
    pod
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--test");
    let head = br#"{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"5"},"items":["#;
    let items: Vec<Vec<u8>> =
        (1..=110).map(|number| serde_json::to_vec(&fixtures::full_pod(number)).expect("JSON")).collect();
    println!(
        "what                   size |            narrow view          |             full types            | ratio"
    );
    let mut met = true;
    for (count, rounds) in [(110, 9), (1000, 3), (10_000, 3)].into_iter().take(if quick { 1 } else { 3 }) {
        let rounds = if quick { 1 } else { rounds };
        let body = || Body::new(head, &items, count);
        let narrow = || {
            let mut pods: Vec<PodView> = Vec::new();
            read_list(body(), |pod| pods.extend(pod)).expect("a list");
            assert_eq!(pods.len(), count);
            pods
        };
        let full = || {
            let list: List<Pod> = serde_json::from_reader(BufReader::with_capacity(16 << 10, body())).expect("a list");
            assert_eq!(list.items.len(), count);
            list
        };
        met &= row(&format!("{count} pods"), body().len(), &costs(rounds, narrow, full), true);
    }

    for (what, pod) in [("text", pod_of_text()), ("fields", pod_of_fields())] {
        let line = fixtures::event("MODIFIED", &pod, "6");
        let rounds = if quick { 1 } else { 15 };
        let narrow = || {
            let event = Events::new(line.as_bytes()).next().expect("an event").expect("readable");
            assert!(matches!(event, Event::Changed { object: Some(_), .. }));
            event
        };
        let full = || {
            let reader = BufReader::with_capacity(16 << 10, line.as_bytes());
            let event: WatchEvent<Pod> =
                serde_json::Deserializer::from_reader(reader).into_iter().next().expect("an event").expect("readable");
            event
        };
        met &= row(&format!("event, {what}"), line.len(), &costs(rounds, narrow, full), what != "text");
    }
    println!("goal (time 1/{TIME_GOAL}, heap 1/{HEAP_GOAL}): {}", if met { "met" } else { "NOT met everywhere" });
}
