//! What the BPF programs cost: per packet against an empty program and against an older design, per drained entry,
//! in kernel memory, and in throughput over a veth with and without them. Needs root; run with
//! `cargo bench --bench bpf`, or `cargo bench --bench bpf -- PART...` for parts of it: packets, dns, memory, drain,
//! sweep, throughput.
//!
//! All programs run in one process, turn by turn, so that the machine's moods hit all alike; medians of the rounds.
//! BPF_PROG_TEST_RUN measures a hot cache and a loop of its own, which the empty program shows. Read ratios first.

use std::error::Error;
use std::fs;
use std::io::{Read, Write};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::channel;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{MapCore, MapFlags, ProgramInput, ProgramMut, RingBufferBuilder};
use netmon::clock::{self, MS, Now, SECOND};
use netmon::source::Source;
use netmon::source::ebpf::{Ebpf, Settings};
use netmon::stats::Stats;
use netmon::sys::bpf::BatchReader;
use netmon::sys::cgroup;
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

#[allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]
mod flow {
    include!(concat!(env!("OUT_DIR"), "/flow.skel.rs"));
}
#[allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]
mod dns {
    include!(concat!(env!("OUT_DIR"), "/dns.skel.rs"));
}
#[allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]
mod shapes {
    include!(concat!(env!("OUT_DIR"), "/shapes.skel.rs"));
}

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const ROUNDS: usize = 15;
const REPEAT: u32 = 300_000;
/// Offset of `ifindex` in `struct __sk_buff`.
const IFINDEX_AT: usize = 40;
/// Size of `struct __sk_buff` as of Linux 5.10.
const CONTEXT_BYTES: usize = 184;

fn main() -> Outcome {
    // A namespace of our own: the test runs need a device that is not loopback, the sends an address.
    unshare(CloneFlags::CLONE_NEWNET)?;
    for command in [
        "link add v0 type veth peer name v1",
        "link set v0 up",
        "link set v1 up",
        "addr add 10.78.0.1/24 dev v0",
        "neigh add 10.78.0.2 lladdr 02:00:00:00:00:02 dev v0",
    ] {
        ip(command)?;
    }
    let parts: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let is_wanted = |part: &str| parts.is_empty() || parts.iter().any(|wanted| wanted == part);
    if is_wanted("packets") {
        packets()?;
    }
    if is_wanted("dns") {
        dns_packets()?;
    }
    if is_wanted("memory") {
        memory()?;
    }
    if is_wanted("drain") {
        for flows in [65_536, 250_000] {
            drain(flows)?;
        }
    }
    if is_wanted("sweep") {
        for sockets in [1, 4] {
            in_cgroup(|path| sweep(path, sockets))?;
        }
    }
    // Last, for it takes an end of the veth away.
    if is_wanted("throughput") {
        in_cgroup(throughput)?;
    }
    Ok(())
}

fn ip(command: &str) -> Outcome {
    match Command::new("ip").args(command.split(' ')).status()?.success() {
        true => Ok(()),
        false => Err(format!("ip {command} failed").into()),
    }
}

/// Does `work` in a cgroup of its own.
fn in_cgroup(work: impl FnOnce(&Path) -> Outcome) -> Outcome {
    let home = cgroup::find(None)?;
    let path = home.join(format!("nm-ebpf-bench-{}", std::process::id()));
    fs::create_dir(&path)?;
    fs::write(path.join("cgroup.procs"), std::process::id().to_string())?;
    let outcome = work(&path);
    fs::write(home.join("cgroup.procs"), std::process::id().to_string())?;
    fs::remove_dir(&path)?;
    outcome
}

// ---- per packet --------------------------------------------------------------------------------------------------

fn packets() -> Outcome {
    let (mut flow_object, mut shapes_object) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    let flow = flow::FlowSkelBuilder::default().open(&mut flow_object)?.load()?;
    let shapes = shapes::ShapesSkelBuilder::default().open(&mut shapes_object)?.load()?;
    let (tcp4, tcp6) = (packet4(6), packet6(6));
    let udp4 = packet4(17);
    let runs: [(&str, &ProgramMut<'_>, &[u8]); 10] = [
        ("empty", &shapes.progs.empty, &tcp4),
        ("look-up alone, IPv4 key", &shapes.progs.look_up4, &tcp4),
        ("look-up alone, IPv6 key", &shapes.progs.look_up6, &tcp6),
        ("older design, IPv4 TCP", &shapes.progs.load_bytes, &tcp4),
        ("older design, IPv6 TCP", &shapes.progs.load_bytes, &tcp6),
        ("egress, IPv4 TCP", &flow.progs.egress, &tcp4),
        ("ingress, IPv4 TCP", &flow.progs.ingress, &tcp4),
        ("egress, IPv4 UDP", &flow.progs.egress, &udp4),
        ("egress, IPv6 TCP", &flow.progs.egress, &tcp6),
        ("ingress, IPv6 TCP", &flow.progs.ingress, &tcp6),
    ];
    let mut times = [[0.0; ROUNDS]; 10];
    for round in 0..ROUNDS {
        for ((_, program, packet), times) in runs.iter().zip(&mut times) {
            times[round] = test_run(program, packet, REPEAT)?;
        }
    }
    // The kernel gives whole nanoseconds per packet.
    let medians = times.map(median);
    println!("per packet, flow known (budget: <= 1.15x the look-up alone):");
    for ((name, ..), median) in runs.iter().zip(medians) {
        let (look_up, older) = if name.contains("IPv6") { (medians[2], medians[4]) } else { (medians[1], medians[3]) };
        println!(
            "  {name:24} {median:6.1} ns   {:4.2}x empty   {:4.2}x look-up   {:4.2}x older",
            median / medians[0],
            median / look_up,
            median / older
        );
    }
    Ok(())
}

fn median(mut times: [f64; ROUNDS]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[ROUNDS / 2]
}

/// What the DNS programs take for an answer of 72 bytes, and for a packet that is none of theirs, against an ordinary
/// packet of the counting programs.
fn dns_packets() -> Outcome {
    // So many records fit the ring buffer, which is emptied between the rounds.
    const ANSWERS: u32 = 1_500;
    let (mut flow_object, mut dns_object) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    let flow = flow::FlowSkelBuilder::default().open(&mut flow_object)?.load()?;
    let dns = dns::DnsSkelBuilder::default().open(&mut dns_object)?.load()?;
    let mut ring = RingBufferBuilder::new();
    ring.add(&dns.maps.records, |_| 0)?;
    let ring = ring.build()?;
    let other = packet4(6);
    let answers = [packet4(17), packet6(17)].map(|mut packet| {
        // The source port.
        let at = packet.len() - 80;
        packet[at..at + 2].copy_from_slice(&53u16.to_be_bytes());
        packet
    });
    let mut times = [[0.0; ROUNDS]; 4];
    for round in 0..ROUNDS {
        times[0][round] = test_run(&flow.progs.ingress, &other, REPEAT)?;
        times[1][round] = test_run(&dns.progs.dns_ingress, &other, REPEAT)?;
        for (times, answer) in times[2..].iter_mut().zip(&answers) {
            ring.consume()?;
            times[round] = test_run(&dns.progs.dns_ingress, answer, ANSWERS)?;
        }
    }
    let [ordinary, passed_by, v4, v6] = times.map(median);
    println!("DNS (budget: an answer <= 3x an ordinary packet):");
    println!("  ordinary packet, counted {ordinary:6.1} ns");
    for (name, time) in [("no DNS, IPv4 TCP", passed_by), ("an answer, IPv4", v4), ("an answer, IPv6", v6)] {
        println!("  {name:24} {time:6.1} ns   {:4.2}x ordinary", time / ordinary);
    }
    Ok(())
}

fn test_run(program: &ProgramMut<'_>, packet: &[u8], repeat: u32) -> Outcome<f64> {
    let mut context = [0u8; CONTEXT_BYTES];
    context[IFINDEX_AT..IFINDEX_AT + 4].copy_from_slice(&2u32.to_ne_bytes());
    let input =
        ProgramInput { context_in: Some(&mut context), data_in: Some(packet), repeat, ..ProgramInput::default() };
    let output = program.test_run(input)?;
    if output.return_value != 1 {
        return Err(format!("a program returned {}", output.return_value).into());
    }
    Ok(output.duration.as_nanos() as f64)
}

/// 100 bytes of IPv4 behind an Ethernet header: TEST_RUN takes frames and shows the program what follows.
fn packet4(protocol: u8) -> Vec<u8> {
    let mut packet = frame(0x0800);
    packet.extend([0x45, 0, 0, 100, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend(transport(protocol));
    packet
}

fn packet6(protocol: u8) -> Vec<u8> {
    let mut packet = frame(0x86dd);
    packet.extend([0x60, 0, 0, 0, 0, 80, protocol, 64]);
    for last in [1, 2] {
        packet.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    }
    packet.extend(transport(protocol));
    packet
}

fn frame(ethertype: u16) -> Vec<u8> {
    [&[2; 12][..], &ethertype.to_be_bytes()].concat()
}

fn transport(protocol: u8) -> Vec<u8> {
    let mut bytes = vec![0; 80];
    // The socket that TEST_RUN lends has port 0, as the receiver of a packet has the packet's destination port.
    bytes[..4].copy_from_slice(&[0x9c, 0x40, 0, 0]);
    if protocol == 6 {
        bytes[12..14].copy_from_slice(&[0x50, 0x10]);
    }
    bytes
}

// ---- memory ------------------------------------------------------------------------------------------------------

fn memory() -> Outcome {
    let mut object = MaybeUninit::uninit();
    let flow = flow::FlowSkelBuilder::default().open(&mut object)?.load()?;
    let maps = &flow.maps;
    let mut total = 0;
    println!("kernel memory of the maps (budget 24 MiB):");
    for map in [&maps.flows4_a, &maps.flows4_b, &maps.flows6_a, &maps.flows6_b, &maps.stats, &maps.fill, &maps.wake] {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_fd().as_raw_fd()))?;
        let bytes: u64 = info
            .lines()
            .find_map(|line| line.strip_prefix("memlock:"))
            .and_then(|text| text.trim().parse().ok())
            .ok_or("fdinfo has no memlock")?;
        println!("  {:12} {:>10} bytes", map.name().to_string_lossy(), bytes);
        total += bytes;
    }
    println!("  {:12} {:>10} bytes = {:.1} MiB", "all", total, total as f64 / (1 << 20) as f64);
    Ok(())
}

// ---- drain -------------------------------------------------------------------------------------------------------

/// Emptying a map, without what is made of the entries, against reading it in batches and leaving it as it is: both are the
/// kernel's work alone.
fn drain(flows: u32) -> Outcome {
    let mut object = MaybeUninit::uninit();
    let mut open = flow::FlowSkelBuilder::default().open(&mut object)?;
    open.maps.flows4_a.set_max_entries(flows)?;
    let flow = open.load()?;
    let map = &flow.maps.flows4_a;
    let mut reader = BatchReader::new(16, 64, flows);
    let (mut times, mut reads) = (Vec::new(), Vec::new());
    for round in 0..10 {
        for n in 0..flows {
            let mut key = [0u8; 16];
            key[..4].copy_from_slice(&n.to_be_bytes());
            map.update(&key, &[1; 64], MapFlags::ANY)?;
        }
        let began = clock::thread_cpu_ns();
        // In turn, for what was read a moment ago is in the caches.
        if round % 2 == 0 {
            let (read, _) = reader.read(map.as_fd(), &mut |_, _| ())?;
            reads.push((clock::thread_cpu_ns() - began) / read.max(1));
            continue;
        }
        let mut bytes = 0u64;
        let drained = reader.drain(map.as_fd(), &mut |key, value| bytes += (key[0] + value[0]) as u64)?;
        let took = clock::thread_cpu_ns() - began;
        if drained != flows as u64 || bytes == 0 {
            return Err(format!("{drained} of {flows} drained").into());
        }
        times.push(took / flows as u64);
    }
    times.sort_unstable();
    reads.sort_unstable();
    let (drain, read) = (times[times.len() / 2], reads[reads.len() / 2]);
    println!("drain of {flows}: {drain} ns per entry (budget 350), {:.2} times reading", drain as f64 / read as f64);
    Ok(())
}

/// A whole sweep of real flows: swap, drain, roles, records.
fn sweep(path: &Path, sockets: usize) -> Outcome {
    let settings = Settings { cgroup_root: Some(path.to_owned()), slots_v4: 262_144, ..Settings::default() };
    let now = Now { mono_ns: 1, wall_ns: 1 };
    let mut source = Ebpf::open(&settings, Arc::new(Stats::default()), now)?;
    let mut times = Vec::new();
    let mut seen = 0;
    for _ in 0..4 {
        for _ in 0..sockets {
            let socket = UdpSocket::bind("10.78.0.1:0")?;
            for port in 1..=62_500u16 {
                socket.send_to(&[1; 32], ("10.78.0.2", port))?;
            }
        }
        let mut bytes = 0;
        let began = clock::thread_cpu_ns();
        let sweep = source.sweep(now, &mut |record| bytes += record.traffic.orig.bytes)?;
        let took = clock::thread_cpu_ns() - began;
        if sweep.seen < 62_500 * sockets as u64 || bytes == 0 {
            return Err(format!("{} of {} flows seen", sweep.seen, 62_500 * sockets).into());
        }
        seen = sweep.seen;
        times.push(took / sweep.seen);
    }
    times.sort_unstable();
    println!("sweep of {seen} new flows with their roles: {} ns per flow", times[times.len() / 2]);
    Ok(())
}

// ---- throughput --------------------------------------------------------------------------------------------------

/// For so long each turn runs, with and without the programs.
const TURN_NS: u64 = 400 * MS;
const TURNS: usize = 15;

/// Between two namespaces over a veth: one TCP connection as fast as it goes, then UDP datagrams of 64 bytes to a socket
/// that takes them. Programs at both ends.
fn throughput(path: &Path) -> Outcome {
    let mut object = MaybeUninit::uninit();
    let flow = flow::FlowSkelBuilder::default().open(&mut object)?.load()?;
    let cgroup = fs::File::open(path)?;
    let programs = || -> Outcome<_> {
        let at = cgroup.as_raw_fd();
        Ok([flow.progs.ingress.attach_cgroup(at)?, flow.progs.egress.attach_cgroup(at)?])
    };
    // 0: TCP, 1: UDP, 2: the end.
    let phase = &AtomicU8::new(0);
    let (received, sent) = (&AtomicU64::new(0), &AtomicU64::new(0));
    let (ready, is_ready) = channel();
    let (moved, is_moved) = channel();
    println!("over a veth, programs attached against detached, medians of {TURNS} pairs:");
    std::thread::scope(|scope| {
        let outcome = (|| {
            scope.spawn(move || {
                unshare(CloneFlags::CLONE_NEWNET).expect("root");
                let own = format!("/proc/{}/task/{}/ns/net", std::process::id(), nix::unistd::gettid());
                ready.send(own).expect("awaited");
                is_moved.recv().expect("an interface");
                take(received, phase).expect("the far end");
            });
            ip(&format!("link set v1 netns {}", is_ready.recv()?))?;
            moved.send(())?;
            let mut stream = connect()?;
            stream.set_nodelay(true)?;
            scope.spawn(move || {
                let bytes = vec![1; 128 << 10];
                while stream.write_all(&bytes).is_ok() {}
            });
            compare("TCP, bytes received", received, &programs)?;
            phase.store(1, Relaxed);
            let socket = UdpSocket::bind("10.78.0.1:0")?;
            scope.spawn(move || {
                while phase.load(Relaxed) == 1 {
                    sent.fetch_add(socket.send_to(&[1; 64], "10.78.0.2:9").map_or(0, |_| 1), Relaxed);
                }
            });
            compare("UDP, packets sent", sent, &programs)
        })();
        phase.store(2, Relaxed);
        outcome
    })
}

/// The far end brings its interface up, then takes what comes.
fn take(received: &AtomicU64, phase: &AtomicU8) -> Outcome {
    ip("link set v1 up")?;
    ip("addr add 10.78.0.2/24 dev v1")?;
    let udp = UdpSocket::bind("10.78.0.2:9")?;
    let (mut stream, _) = TcpListener::bind("10.78.0.2:9")?.accept()?;
    let mut bytes = vec![0; 128 << 10];
    while phase.load(Relaxed) == 0 {
        received.fetch_add(stream.read(&mut bytes)? as u64, Relaxed);
    }
    drop(stream);
    udp.set_read_timeout(Some(std::time::Duration::from_millis(100)))?;
    while phase.load(Relaxed) == 1 {
        let _ = udp.recv(&mut bytes);
    }
    Ok(())
}

/// The neighbour entry is of an address that the far end does not have yet.
fn connect() -> Outcome<TcpStream> {
    for command in ["neigh del 10.78.0.2 dev v0", "link set v0 up"] {
        ip(command)?;
    }
    let deadline = clock::now().mono_ns + 10 * SECOND;
    loop {
        match TcpStream::connect("10.78.0.2:9") {
            Err(_) if clock::now().mono_ns < deadline => clock::sleep_ns(50 * MS),
            done => return Ok(done?),
        }
    }
}

/// CPU time says more than the rate where the machine has other work.
fn compare<T>(what: &str, counter: &AtomicU64, programs: &dyn Fn() -> Outcome<T>) -> Outcome {
    let turn = || -> Outcome<[f64; 2]> {
        clock::sleep_ns(50 * MS);
        let (began, cpu_ns, before) = (clock::now().mono_ns, process_cpu_ns()?, counter.load(Relaxed));
        clock::sleep_ns(TURN_NS);
        let count = (counter.load(Relaxed) - before).max(1) as f64;
        let took_ns = (clock::now().mono_ns - began) as f64;
        Ok([count / took_ns * SECOND as f64, (process_cpu_ns()? - cpu_ns) / count])
    };
    let (mut without, mut with, mut ratios) = ([[0.0; TURNS]; 2], [[0.0; TURNS]; 2], [[0.0; TURNS]; 2]);
    for n in 0..TURNS {
        let detached = turn()?;
        let links = programs()?;
        let attached = turn()?;
        drop(links);
        for of in 0..2 {
            (without[of][n], with[of][n]) = (detached[of], attached[of]);
            ratios[of][n] = attached[of] / detached[of];
        }
    }
    let [(rate, cpu), (rate_with, cpu_with), (rate_ratio, cpu_ratio)] =
        [without, with, ratios].map(|[rate, cpu]| (median(rate), median(cpu)));
    println!("  {what:20} CPU each {cpu:.2} ns, with programs {cpu_with:.2} ns: {cpu_ratio:.3}");
    println!("  {:20} {rate:.0}/s, with programs {rate_with:.0}/s: {rate_ratio:.3}", "");
    Ok(())
}

/// User and system time of this process, all threads.
fn process_cpu_ns() -> Outcome<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let ns = |time: TimeVal| time.num_microseconds() as f64 * 1_000.0;
    Ok(ns(usage.user_time()) + ns(usage.system_time()))
}
