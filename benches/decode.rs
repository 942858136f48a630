//! What reading pods costs, by our narrow view and by the full types of `k8s-openapi`, in one run: thread CPU time
//! (the least of several rounds) and the most heap held at once. The bodies are what a server sends: pods of two
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

struct Cost {
    ns: u64,
    bytes: u64,
}

fn cost<T>(rounds: usize, mut run: impl FnMut() -> T) -> Cost {
    let (value, bytes) = peak_of(&mut run);
    drop(value);
    let ns = (0..rounds).map(|_| {
        let start = thread_cpu_ns();
        std::hint::black_box(run());
        thread_cpu_ns() - start
    });
    Cost { ns: ns.min().unwrap_or(0), bytes }
}

fn row(what: &str, size: usize, narrow: &Cost, full: &Cost) -> bool {
    let ratio = full.ns as f64 / narrow.ns.max(1) as f64;
    let less = full.bytes / narrow.bytes.max(1);
    println!(
        "{what:<14} {:>8.2} MB | {:>9.2} ms {:>10.1} kB | {:>9.2} ms {:>12.1} kB | time 1/{ratio:<4.1} heap 1/{less}",
        size as f64 / 1e6,
        narrow.ns as f64 / 1e6,
        narrow.bytes as f64 / 1e3,
        full.ns as f64 / 1e6,
        full.bytes as f64 / 1e3,
    );
    ratio >= TIME_GOAL && less >= HEAP_GOAL
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
    for (count, rounds) in [(110, 9), (1000, 3), (10_000, 1)].into_iter().take(if quick { 1 } else { 3 }) {
        let rounds = if quick { 1 } else { rounds };
        let body = || Body::new(head, &items, count);
        let narrow = cost(rounds, || {
            let mut pods: Vec<PodView> = Vec::new();
            read_list(body(), |pod| pods.extend(pod)).expect("a list");
            assert_eq!(pods.len(), count);
            pods
        });
        let full = cost(rounds, || {
            let list: List<Pod> = serde_json::from_reader(BufReader::with_capacity(16 << 10, body())).expect("a list");
            assert_eq!(list.items.len(), count);
            list
        });
        met &= row(&format!("{count} pods"), body().len(), &narrow, &full);
    }

    for (what, pod) in [("text", pod_of_text()), ("fields", pod_of_fields())] {
        let line = fixtures::event("MODIFIED", &pod, "6");
        let rounds = if quick { 1 } else { 15 };
        let narrow = cost(rounds, || {
            let event = Events::new(line.as_bytes()).next().expect("an event").expect("readable");
            assert!(matches!(event, Event::Changed { pod: Some(_), .. }));
            event
        });
        let full = cost(rounds, || {
            let reader = BufReader::with_capacity(16 << 10, line.as_bytes());
            let event: WatchEvent<Pod> =
                serde_json::Deserializer::from_reader(reader).into_iter().next().expect("an event").expect("readable");
            event
        });
        met &= row(&format!("event, {what}"), line.len(), &narrow, &full);
    }
    println!("goal (time 1/{TIME_GOAL}, heap 1/{HEAP_GOAL}): {}", if met { "met" } else { "NOT met everywhere" });
}
