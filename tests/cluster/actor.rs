//! What a pod does: serves transfers, and makes them when told through a socket of the file system, so that being told
//! costs no traffic. A transfer says first how much goes up and down: eight bytes, which are part of what goes up.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use netmon::clock::{self, SECOND};
use nix::sys::signal::{SigHandler, Signal, signal};

/// Where pods and cases meet: a folder of the node that every pod mounts.
pub const MEETING: &str = "/run/cluster";

const PATIENCE: Duration = Duration::from_secs(10);
/// Largest datagram that no path cuts in pieces.
const DATAGRAM: usize = 1200;

/// Serves commands for ever, one a line, each with an answer of one line: `ok ...` or what went wrong.
pub fn run(name: &str) -> ExitCode {
    end_at_sigterm();
    let path = format!("{MEETING}/{name}");
    let _ = std::fs::remove_file(&path);
    let listener = match UnixListener::bind(&path) {
        Ok(listener) => listener,
        Err(error) => {
            eprintln!("cannot listen at {path}: {error}");
            return ExitCode::FAILURE;
        }
    };
    for stream in listener.incoming().flatten() {
        thread::spawn(move || serve(stream));
    }
    ExitCode::SUCCESS
}

/// One command of the command line, tried for some seconds: a pod's network may be a moment late.
pub fn send_once(words: &[&str]) -> ExitCode {
    end_at_sigterm();
    match obey(&words.join(" ")) {
        Ok(said) => {
            println!("{said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The first process of a container has no handler of its own, and the kernel then drops the signal.
pub fn end_at_sigterm() {
    extern "C" fn end(_: i32) {
        std::process::exit(0);
    }
    // SAFETY: the handler only ends the process.
    #[allow(unsafe_code)]
    let _ = unsafe { signal(Signal::SIGTERM, SigHandler::Handler(end)) };
}

fn serve(stream: UnixStream) {
    let Ok(mut answers) = stream.try_clone() else { return };
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let answer = match obey(&line) {
            Ok(said) => format!("ok {said}\n"),
            Err(error) => format!("{}\n", error.replace('\n', " ")),
        };
        if answers.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn obey(line: &str) -> Result<String, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |text: &str| text.parse::<usize>().map_err(|_| format!("no number: {text}"));
    match words[..] {
        ["listen", "tcp", port] => {
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, number(port)? as u16)).map_err(said(line))?;
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    thread::spawn(move || answer(stream));
                }
            });
            Ok(String::new())
        }
        ["listen", "udp", port] => {
            // One of each family: an answer must leave with the address that was asked.
            let port = number(port)? as u16;
            for any in ["0.0.0.0", "::"] {
                let socket = bound(any, port).map_err(said(line))?;
                thread::spawn(move || answer_datagrams(&socket));
            }
            Ok(String::new())
        }
        ["tcp", host, port, up, down] => transfer(host, number(port)?, (number(up)?, number(down)?), 0),
        // Open for so many seconds: where sockets are looked at now and then, a shorter one may be missed.
        ["held", host, port, up, down, seconds] => {
            transfer(host, number(port)?, (number(up)?, number(down)?), number(seconds)? as u64)
        }
        // So many transfers, at most so many a second, by four hands.
        ["many", host, port, up, down, count, rate] => {
            many(host, number(port)?, (number(up)?, number(down)?), number(count)?, number(rate)?)
        }
        ["udp", host, port, up, down, count] => {
            datagrams(host, number(port)?, (number(up)?, number(down)?), number(count)?)
        }
        ["resolve", host] => Ok(format!("{:?}", resolved(host, 0)?)),
        ["exit", code] => std::process::exit(number(code)? as i32),
        _ => Err(format!("no command: {line}")),
    }
}

fn bound(any: &str, port: u16) -> std::io::Result<UdpSocket> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt};
    use std::os::fd::AsRawFd;
    let address: SocketAddr = SocketAddr::new(any.parse().expect("a literal"), port);
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(UdpSocket::from(fd))
}

fn said<E: std::fmt::Display>(line: &str) -> impl Fn(E) -> String + '_ {
    move |error| format!("{line}: {error}")
}

fn resolved(host: &str, port: usize) -> Result<SocketAddr, String> {
    let mut all = (host, port as u16).to_socket_addrs().map_err(|e| format!("cannot resolve {host}: {e}"))?;
    all.next().ok_or_else(|| format!("{host} has no address"))
}

fn answer(mut stream: TcpStream) {
    let mut head = [0; 8];
    let _ = stream.set_read_timeout(Some(PATIENCE * 6));
    if stream.read_exact(&mut head).is_err() {
        return;
    }
    let part = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
    let (up, down) = (part(0), part(4));
    let mut rest = vec![0; up.saturating_sub(8)];
    if stream.read_exact(&mut rest).is_ok() && stream.write_all(&vec![b'd'; down]).is_ok() {
        // Until the client has closed, so that it is the one that waits for what is under way.
        let _ = stream.read(&mut head);
    }
}

fn transfer(host: &str, port: usize, (up, down): (usize, usize), seconds: u64) -> Result<String, String> {
    let address = resolved(host, port)?;
    let failed = |what: &str, e: std::io::Error| format!("{what} {host} ({address}): {e}");
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(|e| failed("cannot connect to", e))?;
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let mut sent = vec![b'u'; up.max(8)];
    sent[..4].copy_from_slice(&(up.max(8) as u32).to_be_bytes());
    sent[4..8].copy_from_slice(&(down as u32).to_be_bytes());
    stream.write_all(&sent).map_err(|e| failed("cannot send to", e))?;
    let mut got = vec![0; down];
    stream.read_exact(&mut got).map_err(|e| failed("cannot read from", e))?;
    clock::sleep_ns(seconds * SECOND);
    stream.local_addr().map(|a| a.ip().to_string()).map_err(|e| failed("no own address to", e))
}

/// Says how many a second there were.
fn many(host: &str, port: usize, amounts: (usize, usize), count: usize, rate: usize) -> Result<String, String> {
    const HANDS: usize = 4;
    let begun_ns = clock::now().mono_ns;
    let one_hand = |hand: usize| -> Result<(), String> {
        for turn in (hand..count).step_by(HANDS) {
            let due_ns = begun_ns + turn as u64 * SECOND / rate.max(1) as u64;
            clock::sleep_ns(due_ns.saturating_sub(clock::now().mono_ns));
            transfer(host, port, amounts, 0)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS).map(|hand| scope.spawn(move || one_hand(hand))).collect();
        hands.into_iter().try_for_each(|hand| hand.join().unwrap_or_else(|_| Err("a hand panicked".into())))
    })?;
    Ok((count as u64 * SECOND / (clock::now().mono_ns - begun_ns).max(1)).to_string())
}

/// Each datagram is answered by one of the size that it asks for in its first two bytes.
fn answer_datagrams(socket: &UdpSocket) {
    let mut buffer = [0; 2048];
    while let Ok((length, from)) = socket.recv_from(&mut buffer) {
        if length >= 2 {
            let down = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
            let _ = socket.send_to(&vec![b'd'; down.min(DATAGRAM)], from);
        }
    }
}

fn datagrams(host: &str, port: usize, (up, down): (usize, usize), count: usize) -> Result<String, String> {
    let address = resolved(host, port)?;
    let failed = |e: std::io::Error| format!("datagrams to {host} ({address}): {e}");
    let socket = UdpSocket::bind((if address.is_ipv4() { "0.0.0.0" } else { "::" }, 0)).map_err(failed)?;
    socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    socket.connect(address).map_err(failed)?;
    let mut sent = vec![b'u'; up.clamp(2, DATAGRAM)];
    sent[..2].copy_from_slice(&(down as u16).to_be_bytes());
    let mut buffer = [0; 2048];
    for _ in 0..count {
        socket.send(&sent).map_err(failed)?;
        socket.recv(&mut buffer).map_err(failed)?;
    }
    socket.local_addr().map(|a| a.ip().to_string()).map_err(failed)
}
