//! DNS in the lab: a server that answers anything or lies (helper side), many questions at a given pace (helper side),
//! and Debian's dnsmasq and dig (test side).

use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use netmon::clock;
use nix::sys::socket::{setsockopt, sockopt};

use crate::process;
use crate::topology::Host;

/// A question for A records of `name`.
fn question(id: u16, name: &str) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.split('.') {
        out.push(label.len() as u8);
        out.extend(label.bytes());
    }
    out.extend([0, 0, 1, 0, 1]);
    out
}

/// The answer to `question` with one address.
fn answer(question: &[u8], address: [u8; 4]) -> Vec<u8> {
    let mut out = question.to_vec();
    out[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1]);
    out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    out.extend(address);
    out
}

/// Helper: answers every question with an address made from its name; a question that begins with "liar" gets an answer
/// to another id, one to another name, one with two questions, one whose name has no end, and never its own.
pub fn serve(at: SocketAddr) -> Result<(), Box<dyn std::error::Error>> {
    let socket = UdpSocket::bind(at)?;
    setsockopt(&socket, sockopt::RcvBufForce, &(32 << 20))?;
    setsockopt(&socket, sockopt::SndBufForce, &(32 << 20))?;
    thread::spawn(move || {
        let mut bytes = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut bytes) {
            let asked = &bytes[..length];
            let sum = asked[12..].iter().fold(7u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(*byte)));
            let [_, a, b, c] = sum.to_be_bytes();
            if !asked[13..].starts_with(b"liar") {
                let _ = socket.send_to(&answer(asked, [198, 18 | a & 1, b, c]), from);
                continue;
            }
            let mut lies = [(); 4].map(|()| answer(asked, [10, 10, 0, 2]));
            lies[0][1] ^= 1;
            lies[1][13] = b'b';
            lies[2][5] = 2;
            let end = lies[3].len();
            lies[3][end - 16..end - 14].copy_from_slice(&(0xc000 | (end as u16 - 16)).to_be_bytes());
            for lie in lies {
                let _ = socket.send_to(&lie, from);
            }
        }
    });
    Ok(())
}

/// Helper: asks for `count` names, so many a second, from several sockets. Returns how many answers came within a second
/// of the last question.
pub fn ask(to: SocketAddr, name: &str, count: u64, per_second: u64) -> Result<u64, Box<dyn std::error::Error>> {
    const SOCKETS: usize = 16;
    let answers = Arc::new(AtomicU64::new(0));
    let mut sockets = Vec::new();
    for _ in 0..SOCKETS.min(count as usize) {
        let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.connect(to)?;
        setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20))?;
        let (reader, answers) = (socket.try_clone()?, Arc::clone(&answers));
        thread::spawn(move || {
            let mut bytes = [0; 512];
            while reader.recv(&mut bytes).is_ok() {
                answers.fetch_add(1, Relaxed);
            }
        });
        sockets.push(socket);
    }
    let started_ns = clock::now().mono_ns;
    for n in 0..count {
        let due_ns = started_ns + n * clock::SECOND / per_second;
        if n.is_multiple_of(32) {
            clock::sleep_ns(due_ns.saturating_sub(clock::now().mono_ns));
        }
        let socket = &sockets[n as usize % sockets.len()];
        // Every second name is asked for twice in a row.
        socket
            .send(&question((n / SOCKETS as u64) as u16, &format!("{name}{}.flood.lab", n / 4 * 4 + (n % 4).min(2))))?;
    }
    clock::sleep_ns(clock::SECOND);
    Ok(answers.load(Relaxed))
}

/// Helper: asks once, as musl's resolver does: by a socket that is bound and not connected. Returns whether an answer
/// came from whom was asked.
pub fn ask_unconnected(to: SocketAddr, name: &str) -> Result<bool, Box<dyn std::error::Error>> {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send_to(&question(7, name), to)?;
    Ok(socket.recv_from(&mut [0; 512]).is_ok_and(|(_, from)| from == to))
}

/// A dnsmasq. Ends when dropped.
pub struct Dnsmasq(Child);

impl Dnsmasq {
    /// Listens on `address` of `host` for its own records and what `arguments` add.
    pub fn start(host: &Host, address: &str, arguments: &[&str]) -> Result<Dnsmasq, String> {
        let mut command = process::command("dnsmasq", &host.place);
        command.args(["--keep-in-foreground", "--user=root", "--pid-file=", "--conf-file=/dev/null", "--no-resolv"]);
        command.args(["--no-hosts", "--bind-interfaces", "--except-interface=none"]);
        command.args(address.split(',').map(|address| format!("--listen-address={address}"))).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = host.netns.enter(|| command.spawn()).map_err(|e| format!("cannot start dnsmasq: {e}"))?;
        Ok(Dnsmasq(child))
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks `server` from `host` by dig; returns what it prints, which must not be nothing.
pub fn dig(host: &Host, server: &str, arguments: &[&str]) -> Result<String, String> {
    let mut said = String::new();
    // The server may be just starting.
    for _ in 0..20 {
        let mut command = process::command("dig", &host.place);
        command.args([&format!("@{server}"), "+short", "+tries=1", "+timeout=2"]).args(arguments);
        let output = host.netns.enter(|| command.stdin(Stdio::null()).output()).map_err(|e| format!("no dig: {e}"))?;
        said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() && !said.is_empty() && !said.contains(";;") {
            return Ok(said);
        }
        clock::sleep_ns(100 * clock::MS);
    }
    Err(format!("dig {arguments:?} at {server} says {said:?}"))
}
