//! What a sweep costs beyond the kernel's own dump, and what the end of a connection costs.
//!
//! `cargo bench --bench sweep [-- ENTRIES...]`, as root: makes a network namespace of its own, fills its conntrack table
//! by `IPCTNL_MSG_CT_NEW` (seven of ten TCP, the rest UDP; half with a translated destination; a quarter IPv6) and runs
//! the stages in turn, round after round:
//!
//! - `floor`: the dump received and thrown away;
//! - `parse`: the source as it is, records thrown away;
//! - `rows`: records through baselines, owners and rows, no counter moved since the sweep before.
//!
//! Then all entries are deleted; their ends are drained and thrown away (`heard`) or counted into rows that are there,
//! batch by batch: of a bare host's local ends (`end`), and of pods (`pod's`).
//!
//! CPU time of the thread. Ratios are medians of the ratios within a round, for the machine's moods change between
//! rounds and not within them.

use std::net::IpAddr;
use std::sync::Arc;

use netmon::clock;
use netmon::collect::pipeline::Pipeline;
use netmon::config::{self, Command};
use netmon::flow::{Addr, Connection, Counts, Traffic};
use netmon::owner::pods::{Pod, PodIndex, Tenure};
use netmon::source::Source;
use netmon::source::netfilter::{Netfilter, Options};
use netmon::source::recorder::Recorder;
use netmon::sys::netlink::{Family, RequestSocket};
use netmon::wire::conntrack::{MESSAGE_DELETE, MESSAGE_GET, MESSAGE_NEW};
use netmon::wire::netlink::{self, Messages, Writer};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};

const ROUNDS: usize = 9;
/// Messages in one datagram of the fill.
const AT_ONCE: u32 = 128;
/// `NLM_F_REQUEST`, with `NLM_F_DUMP`, or with `NLM_F_CREATE | NLM_F_EXCL`.
const REQUEST: u16 = 0x1;
const DUMP: u16 = REQUEST | 0x300;
const CREATE: u16 = REQUEST | 0x600;

fn main() {
    unshare(CloneFlags::CLONE_NEWNET).expect("root, to make a network namespace");
    let asked: Vec<u32> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![10_000, 100_000, 250_000] } else { asked };
    let mut source = Netfilter::open(Options { manage_conntrack: true, standalone: true }, Recorder::off())
        .expect("CAP_NET_ADMIN, and conntrack");
    assert_eq!(source.upkeep(clock::now()).degraded, "");
    let mut floor = Floor::open();
    println!("{:>8} {:>6} {:>12} {:>8} {:>8}", "entries", "stage", "ns/entry", "ratio", "user ns");
    let mut filled = 0;
    for size in sizes {
        fill(filled..size);
        filled = size;
        sweeps(size, &mut source, &mut floor);
    }
    ends(filled, &mut source);
}

fn sweeps(entries: u32, source: &mut Netfilter, floor: &mut Floor) {
    let mut pipeline = pipeline(entries);
    let mut rounds: Vec<[f64; 3]> = Vec::new();
    let mut user_ns = [0; 3];
    // The first round warms tables and caches.
    for round in 0..=ROUNDS {
        let mut cost = [0.0; 3];
        // Each stage takes each turn equally often.
        for turn in 0..3 {
            let stage = (turn + round) % 3;
            let (begin, user) = (clock::thread_cpu_ns(), thread_user_ns());
            let seen = match stage {
                0 => floor.dump(),
                1 => parse(source),
                _ => rows(source, &mut pipeline),
            };
            cost[stage] = (clock::thread_cpu_ns() - begin) as f64 / f64::from(entries);
            user_ns[stage] += if round > 0 { thread_user_ns() - user } else { 0 };
            assert_eq!(seen, u64::from(entries), "stage {stage}");
        }
        if round > 0 {
            rounds.push(cost);
        }
    }
    for (stage, name) in ["floor", "parse", "rows"].into_iter().enumerate() {
        let ns = median(rounds.iter().map(|cost| cost[stage]));
        let ratio = median(rounds.iter().map(|cost| cost[stage] / cost[0]));
        let user = user_ns[stage] as f64 / (ROUNDS as f64 * f64::from(entries));
        println!("{entries:>8} {name:>6} {ns:>12.0} {ratio:>8.3} {user:>8.0}");
    }
}

/// The part of the thread's CPU time that it spent in user mode. Where the kernel tells the two apart by its tick this
/// is a sample: the sum of all rounds is shown, not one.
fn thread_user_ns() -> u64 {
    let used = getrusage(UsageWho::RUSAGE_THREAD).expect("getrusage").user_time();
    (used.tv_sec() * 1_000_000 + used.tv_usec()) as u64 * 1_000
}

fn parse(source: &mut Netfilter) -> u64 {
    let mut bytes = 0u64;
    let sweep = source.sweep(clock::now(), &mut |c| bytes = bytes.wrapping_add(c.traffic.orig.bytes));
    std::hint::black_box(bytes);
    sweep.expect("a dump").seen
}

fn rows(source: &mut Netfilter, pipeline: &mut Pipeline) -> u64 {
    let now = clock::now();
    pipeline.begin_sweep();
    let sweep = source.sweep(now, &mut |c| pipeline.record(c, now)).expect("a dump");
    pipeline.end_sweep(&sweep, now);
    sweep.seen
}

/// The tables as a standalone agent has them; every client is a local end.
fn pipeline(entries: u32) -> Pipeline {
    let arguments = ["-standalone", "-local-cidrs", "10.1.0.0/16,fd00::a01:0/112"];
    let config = config::parse(arguments.into_iter().map(Into::into), |_| None, None);
    let Ok(Command::Run(config)) = config else { panic!("the arguments are refused") };
    Pipeline::new(&config, entries.next_power_of_two(), clock::now().wall_ns)
}

/// Deletes all entries, as many at a time as the event queue holds with ease, and times the drains: every other one
/// counts what it hears.
fn ends(entries: u32, source: &mut Netfilter) {
    let mut pipelines = [pipeline(entries), pipeline_of_pods(entries)];
    for pipeline in &mut pipelines {
        rows(source, pipeline);
        // Another sweep makes the rows.
        pipeline.begin_sweep();
        let now = clock::now();
        let sweep = source.sweep(now, &mut |c| pipeline.record(&with_traffic(c, 1), now)).expect("a dump");
        pipeline.end_sweep(&sweep, now);
    }
    let (mut cpu_ns, mut user_ns, mut told) = ([0; 3], [0; 3], [0u64; 3]);
    let socket = RequestSocket::open(Family::Netfilter).expect("a socket");
    for (turn, number) in (0..entries).step_by(AT_ONCE as usize * 16).enumerate() {
        for first in (number..(number + AT_ONCE * 16).min(entries)).step_by(AT_ONCE as usize) {
            let mut writer = Writer::default();
            for number in first..(first + AT_ONCE).min(entries) {
                entry(&mut writer, MESSAGE_DELETE, REQUEST, number);
            }
            send(&socket, writer);
        }
        let how = turn % 3;
        let now = clock::now();
        let mut counted = how.checked_sub(1).map(|which| &mut pipelines[which]);
        let mut each = |c: &Connection| {
            if let Some(pipeline) = &mut counted {
                pipeline.hear(&with_traffic(c, 2), now);
            }
        };
        let (begin, user) = (clock::thread_cpu_ns(), thread_user_ns());
        let drained = source.drain(now, &mut each);
        if let Some(pipeline) = counted {
            pipeline.end_drain(now);
        }
        cpu_ns[how] += clock::thread_cpu_ns() - begin;
        user_ns[how] += thread_user_ns() - user;
        let drained = drained.expect("events");
        assert_eq!(drained.overflows, 0);
        told[how] += drained.seen;
    }
    assert_eq!(told.iter().sum::<u64>(), u64::from(entries), "every end was told");
    for pipeline in &pipelines {
        assert!(pipeline.ledger().is_balanced() && pipeline.ledger().waiting.is_zero(), "every end has found its row");
    }
    let ns = [0, 1, 2].map(|how| cpu_ns[how] as f64 / told[how] as f64);
    for (how, name) in ["heard", "end", "pod's"].into_iter().enumerate() {
        let user = user_ns[how] as f64 / told[how] as f64;
        println!("{entries:>8} {name:>6} {:>12.0} {:>8.3} {user:>8.0}", ns[how], ns[how] / ns[0]);
    }
}

/// The tables as an agent of a cluster has them; every client is a pod with both of its addresses.
fn pipeline_of_pods(entries: u32) -> Pipeline {
    let environment = |name: &str| (name == "NODE_NAME").then(|| "bench".into());
    let config = config::parse([], environment, None);
    let Ok(Command::Run(config)) = config else { panic!("the defaults are refused") };
    let mut pipeline = Pipeline::new(&config, entries.next_power_of_two(), clock::now().wall_ns);
    let mut tenures = Vec::new();
    let mut pods = Vec::new();
    for number in 0..=entries >> 8 {
        let pod = Arc::new(Pod {
            uid: format!("7d6c2f0e-9b1a-4c56-8f3d-{number:012x}").into(),
            namespace: "shop".into(),
            name: format!("web-5f7d9c8b6d-{number:05}").into(),
            workload: None,
            host_network: false,
        });
        for v6 in [false, true] {
            let octets = address(v6, 0x0a01_0000 + number);
            let addr = match octets.len() {
                4 => Addr::from_v4(octets.try_into().expect("four")),
                _ => Addr::from_v6(octets.try_into().expect("sixteen")),
            };
            tenures.push(Tenure { addr, from_ns: 1, ended_ns: u64::MAX, until_ns: u64::MAX, pod: Arc::clone(&pod) });
        }
        pods.push(pod);
    }
    pipeline.set_pods(Arc::new(PodIndex::new(tenures, pods, true, 1)), clock::now());
    pipeline
}

/// What is made by netlink has counted nothing, and what has counted nothing makes no row.
fn with_traffic(c: &Connection, packets: u64) -> Connection {
    let counts = Counts { bytes: 60 * packets, packets };
    Connection { traffic: Traffic { orig: counts, reply: counts }, ..*c }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A dump that nobody looks at, but for its end.
struct Floor {
    socket: RequestSocket,
    buffer: Vec<u8>,
    seq: u32,
}

impl Floor {
    fn open() -> Floor {
        let socket = RequestSocket::open(Family::Netfilter).expect("a socket");
        Floor { socket, buffer: vec![0; 64 * 1024], seq: 0 }
    }

    /// Entries are not counted one by one, so the table's own count stands for them.
    fn dump(&mut self) -> u64 {
        self.seq += 1;
        let mut writer = Writer::default();
        writer.message(MESSAGE_GET, DUMP, self.seq);
        writer.raw(&[0; 4]);
        self.socket.send(&writer.finish()).expect("conntrack");
        loop {
            let len = self.socket.receive(&mut self.buffer).expect("a dump");
            // DONE comes in a datagram of its own.
            if Messages::of(&self.buffer[..len]).next().is_some_and(|m| m.is_ok_and(|m| m.kind == netlink::DONE)) {
                let count = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").expect("conntrack");
                return count.trim().parse().expect("a number");
            }
        }
    }
}

fn fill(numbers: std::ops::Range<u32>) {
    let socket = RequestSocket::open(Family::Netfilter).expect("a socket");
    for first in numbers.clone().step_by(AT_ONCE as usize) {
        let mut writer = Writer::default();
        for number in first..(first + AT_ONCE).min(numbers.end) {
            entry(&mut writer, MESSAGE_NEW, CREATE, number);
        }
        send(&socket, writer);
    }
}

/// Refusals come back at once; silence is consent.
fn send(socket: &RequestSocket, writer: Writer) {
    socket.send(&writer.finish()).expect("conntrack");
    let mut buffer = [0; 8 * 1024];
    let refused = socket.discard_pending(&mut buffer);
    assert_eq!(refused, 0, "entries were refused");
}

/// The entry of a number. 250,000 make some 39,000 rows.
fn entry(writer: &mut Writer, kind: u16, flags: u16, number: u32) {
    let v6 = number.is_multiple_of(4);
    let tcp = number % 10 < 7;
    let client = address(v6, 0x0a01_0000 + (number >> 8));
    let asked = address(v6, 0x0a60_0000 + number % 40);
    let backend = if number.is_multiple_of(2) { asked.clone() } else { address(v6, 0x0a02_0000 + number % 40) };
    let (sport, dport) = (20_000 + (number & 0xff) as u16, if tcp { 443u16 } else { 53 });
    writer.message(kind, flags, number + 1);
    writer.raw(&[if v6 { 10 } else { 2 }, 0, 0, 0]);
    let first = if v6 { 3 } else { 1 };
    for (direction, src, dst, from, to) in [(1, &client, &asked, sport, dport), (2, &backend, &client, dport, sport)] {
        writer.nested(direction, |w| {
            w.nested(1, |w| {
                w.attribute(first, src);
                w.attribute(first + 1, dst);
            });
            w.nested(2, |w| {
                w.attribute(1, &[if tcp { 6 } else { 17 }]);
                w.attribute(2, &from.to_be_bytes());
                w.attribute(3, &to.to_be_bytes());
            });
        });
        if kind == MESSAGE_DELETE {
            return;
        }
    }
    // CTA_TIMEOUT; CTA_STATUS: SEEN_REPLY, ASSURED, CONFIRMED.
    writer.attribute(7, &3_600u32.to_be_bytes());
    writer.attribute(3, &0x0eu32.to_be_bytes());
    if tcp {
        // CTA_PROTOINFO of CTA_PROTOINFO_TCP of CTA_PROTOINFO_TCP_STATE: ESTABLISHED.
        writer.nested(4, |w| w.nested(1, |w| w.attribute(1, &[3])));
    }
}

fn address(v6: bool, number: u32) -> Vec<u8> {
    let text = if v6 { format!("fd00::{:x}:{:x}", number >> 16, number & 0xffff) } else { String::new() };
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) => v6.octets().to_vec(),
        _ => number.to_be_bytes().to_vec(),
    }
}
