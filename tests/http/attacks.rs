//! What unauthenticated peers do to an endpoint. Throughout, `/healthz` answers within a second; afterwards memory,
//! descriptors and threads are what they were.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use netmon::clock::{self, MS, SECOND};
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

use crate::answers;
use crate::child::Served;
use crate::client::{connect, get};
use crate::{Outcome, Verdict};

/// Growth of the resident set that an attack may cause, KiB.
const GROWTH_KIB: u64 = 4 * 1024;
/// Rows that the server shows: an answer of 7 MB.
const ROWS: u32 = 20_000;
/// Connections at a time.
const CROWD: usize = 1_000;
/// How long `/healthz` may take.
const HEALTHY: Duration = Duration::from_secs(1);

/// Whether attacks last ten seconds.
pub fn long() -> bool {
    std::env::var_os("NETMON_LONG").is_some_and(|v| v == "1")
}

fn attack_ns() -> u64 {
    if long() { 10 * SECOND } else { 3 * SECOND / 2 }
}

/// The time of an attack: says when it is over and counts what was done.
struct Attack {
    over: AtomicBool,
    blows: AtomicU64,
}

impl Attack {
    fn goes_on(&self) -> bool {
        !self.over.load(Relaxed)
    }

    fn blow(&self) {
        self.blows.fetch_add(1, Relaxed);
    }
}

/// Runs an attack from a few threads and judges the server.
fn judge(descriptors: u32, threads: usize, attack: impl Fn(&Attack, SocketAddr) + Sync) -> Outcome {
    let server = Served::start(ROWS, descriptors)?;
    for _ in 0..3 {
        // Both snapshots and a few buffers are there before the measurement begins.
        get(server.addr, "/flows", Duration::from_secs(10))?;
        get(server.addr, "/metrics", Duration::from_secs(10))?;
        clock::sleep_ns(SECOND / 2);
    }
    let before = settled(&server)?;
    server.reset_peak()?;
    let resident_kib = server.status_kib("VmRSS")?;
    let state = Attack { over: AtomicBool::new(false), blows: AtomicU64::new(0) };
    let (mut probes, mut slowest) = (0, 0);
    let watched = std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| attack(&state, server.addr));
        }
        let until_ns = clock::now().mono_ns + attack_ns();
        let mut result = Ok(());
        while clock::now().mono_ns < until_ns && result.is_ok() {
            let began_ns = clock::now().mono_ns;
            // Whoever connects and does not ask at once may have to make room; a busy machine may not let us ask at once.
            let asked = loop {
                match get(server.addr, "/healthz", HEALTHY) {
                    Err(_) if clock::now().mono_ns - began_ns < HEALTHY.as_nanos() as u64 => {}
                    asked => break asked,
                }
            };
            match asked {
                Ok(reply) if reply.status == 200 => {}
                Ok(reply) => result = Err(reply.head),
                Err(why) => result = Err(format!("/healthz after {probes} good probes: {why}")),
            }
            let took_ms = (clock::now().mono_ns - began_ns) / MS;
            if took_ms > HEALTHY.as_millis() as u64 {
                result = Err(format!("/healthz took {took_ms} ms"));
            }
            probes += 1;
            slowest = slowest.max(took_ms);
            clock::sleep_ns(20 * MS);
        }
        state.over.store(true, Relaxed);
        result
    });
    watched?;
    let growth_kib = server.status_kib("VmHWM")?.saturating_sub(resident_kib);
    if growth_kib > GROWTH_KIB {
        return Err(format!("the resident set grew by {growth_kib} KiB"));
    }
    let after = settled(&server)?;
    if after != before {
        return Err(format!("descriptors and threads: {before:?} before, {after:?} after"));
    }
    if get(server.addr, "/flows", Duration::from_secs(10))?.status != 200 {
        return Err("/flows does not work any more".to_owned());
    }
    server.end()?;
    let blows = state.blows.load(Relaxed);
    if blows == 0 {
        return Err("the attack did not happen".to_owned());
    }
    Ok(Verdict::Passed(format!("{blows} blows, {probes} probes, slowest {slowest} ms, resident set +{growth_kib} KiB")))
}

/// Descriptors and threads once no connection is left.
fn settled(server: &Served) -> Result<(usize, usize), String> {
    let mut last = server.descriptors_and_threads()?;
    // Patience beyond every deadline of the server: 5 s for a head, 10 s for an answer, 1 s to close.
    let until_ns = clock::now().mono_ns + 13 * SECOND;
    let mut still = 0;
    while clock::now().mono_ns < until_ns && still < 10 {
        clock::sleep_ns(50 * MS);
        let now = server.descriptors_and_threads()?;
        still = if now == last { still + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}

fn open(addr: SocketAddr) -> Option<TcpStream> {
    let stream = connect(addr, Duration::from_secs(2)).ok()?;
    stream.set_nonblocking(true).ok()?;
    Some(stream)
}

/// Closes with a reset.
fn reset(stream: TcpStream) {
    let now = linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream.as_fd(), sockopt::Linger, &now).expect("a socket option");
}

/// Connect, a whole GET, and a reset.
pub fn resets() -> Outcome {
    judge(0, 2, |attack, addr| {
        while attack.goes_on() {
            if let Some(mut stream) = open(addr) {
                let _ = stream.write_all(b"GET /flows HTTP/1.1\r\nHost: x\r\n\r\n");
                reset(stream);
                attack.blow();
            }
        }
    })
}

/// One request line that never ends.
pub fn endless_line() -> Outcome {
    judge(0, 2, |attack, addr| {
        let block = vec![b'a'; 64 * 1024];
        while attack.goes_on() {
            let Ok(mut stream) = connect(addr, Duration::from_secs(2)) else { continue };
            let mut sent = stream.write_all(b"GET /");
            while sent.is_ok() && attack.goes_on() {
                attack.blow();
                sent = stream.write_all(&block);
            }
        }
    })
}

/// Requests one after the other on one connection, whose answers nobody reads.
pub fn pipelines_unread() -> Outcome {
    judge(0, 2, |attack, addr| {
        let requests = b"GET /flows HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
        let mut held = Vec::new();
        while attack.goes_on() {
            if let Some(mut stream) = open(addr) {
                while stream.write(&requests).is_ok() {
                    attack.blow();
                }
                held.push(stream);
            }
            if held.len() > 100 {
                held.clear();
            }
        }
    })
}

/// A process that has three descriptors left, and peers that want them all.
pub fn no_descriptors() -> Outcome {
    judge(3, 2, |attack, addr| crowd(attack, addr, CROWD / 2, b"GET /flows HTTP/1.1\r\nHost: x\r\n"))
}

/// A thousand requests that are never finished.
pub fn half_requests() -> Outcome {
    judge(0, 2, |attack, addr| crowd(attack, addr, CROWD / 2, b"GET /flows HTTP/1.1\r\nHost: x\r\n"))
}

/// A thousand whole requests whose answers are not read.
pub fn slow_readers() -> Outcome {
    judge(0, 2, |attack, addr| crowd(attack, addr, CROWD / 2, b"GET /flows HTTP/1.1\r\nHost: x\r\n\r\n"))
}

/// A thousand heads that grow by a byte now and then.
pub fn trickled_heads() -> Outcome {
    judge(0, 2, |attack, addr| crowd(attack, addr, CROWD / 2, b""))
}

/// Holds so many connections that have sent `first`, sips their answers, sends a byte on each, replaces what was cut.
fn crowd(attack: &Attack, addr: SocketAddr, size: usize, first: &[u8]) {
    let mut held: Vec<TcpStream> = Vec::with_capacity(size);
    while attack.goes_on() {
        while held.len() < size && attack.goes_on() {
            if let Some(mut stream) = open(addr) {
                let _ = stream.write(first);
                held.push(stream);
                attack.blow();
            }
        }
        held.retain_mut(|stream| {
            let mut sip = [0; 16];
            // A request that is whole already gets bytes that nobody reads.
            let sent = stream.write(b"G");
            match stream.read(&mut sip) {
                Ok(0) => false,
                Ok(_) => true,
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock && sent.is_ok(),
            }
        });
        clock::sleep_ns(10 * MS);
    }
}

/// The malformed corpus, again and again.
pub fn malformed() -> Outcome {
    let corpus = answers::corpus();
    judge(0, 2, |attack, addr| {
        let mut corpus = corpus.iter().cycle();
        while attack.goes_on() {
            let Some((bytes, _)) = corpus.next() else { return };
            if let Ok(mut stream) = connect(addr, Duration::from_secs(2)) {
                let _ = stream.write_all(bytes);
                let _ = stream.read(&mut [0; 512]);
                attack.blow();
            }
        }
    })
}
