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
//! Then all entries are deleted; their ends are drained and thrown away (`heard`) or counted into rows that are there
//! (`end`), batch by batch.
//!
//! CPU time of the thread. Ratios are medians of the ratios within a round, for the machine's moods change between
//! rounds and not within them.

use std::net::IpAddr;

use netmon::clock;
use netmon::collect::pipeline::Pipeline;
use netmon::config::{self, Command};
use netmon::flow::{Connection, Counts, Traffic};
use netmon::source::Source;
use netmon::source::netfilter::{Netfilter, Options};
use netmon::source::replay::Recorder;
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
    let mut pipeline = pipeline(entries);
    rows(source, &mut pipeline);
    // Another sweep makes the rows.
    pipeline.begin_sweep();
    let now = clock::now();
    let sweep = source.sweep(now, &mut |c| pipeline.record(&with_traffic(c, 1), now)).expect("a dump");
    pipeline.end_sweep(&sweep, now);
    let (mut cpu_ns, mut user_ns, mut told) = ([0; 2], [0; 2], [0u64; 2]);
    let socket = RequestSocket::open(Family::Netfilter).expect("a socket");
    for (turn, number) in (0..entries).step_by(AT_ONCE as usize * 16).enumerate() {
        for first in (number..(number + AT_ONCE * 16).min(entries)).step_by(AT_ONCE as usize) {
            let mut writer = Writer::default();
            for number in first..(first + AT_ONCE).min(entries) {
                entry(&mut writer, MESSAGE_DELETE, REQUEST, number);
            }
            send(&socket, writer);
        }
        let counts = turn % 2;
        let now = clock::now();
        let mut each = |c: &Connection| {
            if counts == 1 {
                pipeline.hear(&with_traffic(c, 2), now);
            }
        };
        let (begin, user) = (clock::thread_cpu_ns(), thread_user_ns());
        let drained = source.drain(now, &mut each);
        pipeline.end_drain(now);
        cpu_ns[counts] += clock::thread_cpu_ns() - begin;
        user_ns[counts] += thread_user_ns() - user;
        let drained = drained.expect("events");
        assert_eq!(drained.overflows, 0);
        told[counts] += drained.seen;
    }
    assert_eq!(told[0] + told[1], u64::from(entries), "every end was told");
    let ns = [0, 1].map(|which| cpu_ns[which] as f64 / told[which] as f64);
    let user = [0, 1].map(|which| user_ns[which] as f64 / told[which] as f64);
    println!("{entries:>8} {:>6} {:>12.0} {:>8.3} {:>8.0}", "heard", ns[0], 1.0, user[0]);
    println!("{entries:>8} {:>6} {:>12.0} {:>8.3} {:>8.0}", "end", ns[1], ns[1] / ns[0], user[1]);
    println!("{:>8} {:>6} {:>12.0}   counting adds to hearing", "", "", ns[1] - ns[0]);
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
