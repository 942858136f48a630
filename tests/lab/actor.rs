//! The helper process that sends and answers traffic: told what to do line by line on stdin, it answers each line.
//!
//! Sizes are exact: what a command says is what goes into the socket. It knows nothing of the lab or of the agent.
//!
//! TCP exchange: the client sends 24 bytes (request size, response size, whether the server closes) and the rest of
//! the request, the server answers with the response. UDP: the first 8 bytes of a datagram tell the size of the
//! answer, 0 for none.

use std::collections::HashMap;
use std::io::{self, BufRead, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::TcpStreamExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use netmon::clock;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::socket::{
    self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, sockopt,
};
use nix::unistd::Pid;

/// Size of the header of a TCP exchange; part of the request.
pub const REQUEST_HEADER: u64 = 24;

/// Reads commands until stdin ends.
pub fn run() {
    let mut actor = Actor::default();
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        let words: Vec<&str> = line.split_whitespace().collect();
        match actor.obey(&words) {
            Ok(answer) => println!("ok {answer}"),
            Err(why) => println!("error {line}: {why}"),
        }
    }
}

#[derive(Default)]
struct Actor {
    open: HashMap<u64, TcpStream>,
    last: u64,
}

type Answer = Result<String, Box<dyn std::error::Error>>;

impl Actor {
    fn obey(&mut self, words: &[&str]) -> Answer {
        match *words {
            ["serve-tcp", at] => serve_tcp(at.parse()?),
            ["serve-udp", at] => serve_udp(at.parse()?),
            ["open", to, source] => {
                let stream = dial(to.parse()?, source.parse()?)?;
                self.last += 1;
                self.open.insert(self.last, stream);
                Ok(self.last.to_string())
            }
            ["exchange", id, up, down] => {
                let stream = self.open.get_mut(&id.parse()?).ok_or("no such connection")?;
                exchange(stream, up.parse()?, down.parse()?, false)?;
                Ok(String::new())
            }
            ["close", id] => {
                let stream = self.open.remove(&id.parse()?).ok_or("no such connection")?;
                close(stream)?;
                Ok(String::new())
            }
            ["reset", id] => {
                let stream = self.open.remove(&id.parse()?).ok_or("no such connection")?;
                reset(stream)?;
                Ok(String::new())
            }
            ["move", cgroup] => {
                std::fs::write(format!("{cgroup}/cgroup.procs"), "0")?;
                Ok(String::new())
            }
            // The same by a process that this one forks and that becomes another program.
            ["child", ref rest @ ..] => child(&rest.join(" ")),
            ["burst", to, connections, up, down, per_second, first_port, ports, ending] => burst(&Burst {
                to: to.parse()?,
                connections: connections.parse()?,
                up: up.parse()?,
                down: down.parse()?,
                per_second: per_second.parse()?,
                first_port: first_port.parse()?,
                ports: ports.parse()?,
                ending: Ending::parse(ending)?,
            }),
            ["udp", from, to, first_port, sockets, datagrams, size, answer] => udp(
                from.parse()?,
                to.parse()?,
                first_port.parse()?,
                sockets.parse()?,
                datagrams.parse()?,
                size.parse()?,
                answer.parse()?,
            ),
            ["new-flows", to, first_port, sockets, ports, per_second] => {
                new_flows(to.parse()?, first_port.parse()?, sockets.parse()?, ports.parse()?, per_second.parse()?)
            }
            ["serve-dns", at] => crate::dns::serve(at.parse()?).map(|()| String::new()),
            ["ask-dns-unconnected", to, name] => Ok(crate::dns::ask_unconnected(to.parse()?, name)?.to_string()),
            ["ask-dns", to, name, count, per_second] => {
                Ok(crate::dns::ask(to.parse()?, name, count.parse()?, per_second.parse()?)?.to_string())
            }
            _ => Err("no such command".into()),
        }
    }
}

fn child(command: &str) -> Answer {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["@exec", "-", "@actor"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(stdin) = &mut child.stdin {
        writeln!(stdin, "{command}")?;
    }
    let said = String::from_utf8(child.wait_with_output()?.stdout)?;
    Ok(said.trim().strip_prefix("ok ").ok_or_else(|| format!("the child says {said:?}"))?.to_owned())
}

/// How a short connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client sends its FIN first (and keeps the tuple in TIME_WAIT).
    Client,
    /// The server does.
    Server,
    /// The client sends RST.
    Reset,
}

impl Ending {
    /// The word on the wire to the helper.
    pub fn word(self) -> &'static str {
        match self {
            Ending::Client => "client",
            Ending::Server => "server",
            Ending::Reset => "reset",
        }
    }

    fn parse(word: &str) -> Result<Ending, String> {
        [Ending::Client, Ending::Server, Ending::Reset]
            .into_iter()
            .find(|e| e.word() == word)
            .ok_or_else(|| format!("no ending is called {word}"))
    }
}

struct Burst {
    to: SocketAddr,
    connections: u64,
    up: u64,
    down: u64,
    per_second: u64,
    first_port: u16,
    ports: u16,
    ending: Ending,
}

fn serve_tcp(at: SocketAddr) -> Answer {
    let family = if at.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(at))?;
    // The standard library's backlog is too short for a burst; a dropped SYN would cost a second.
    socket::listen(&fd, Backlog::MAXCONN)?;
    let listener = TcpListener::from(fd);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { continue };
            let answered = thread::Builder::new().stack_size(64 << 10).spawn(move || answer_tcp(stream));
            answered.expect("a thread for a connection");
        }
    });
    Ok(String::new())
}

/// Answers exchanges until the client closes, resets, or asked for the server to close.
fn answer_tcp(mut stream: TcpStream) {
    let mut answer = || -> io::Result<bool> {
        let mut header = [0; REQUEST_HEADER as usize];
        stream.read_exact(&mut header)?;
        let word = |at: usize| u64::from_be_bytes(std::array::from_fn(|i| header[at + i]));
        let (up, down, last) = (word(0), word(8), word(16) == 1);
        skip(&mut stream, up - REQUEST_HEADER)?;
        fill(&mut stream, down)?;
        if last {
            stream.shutdown(Shutdown::Write)?;
            skip_to_end(&mut stream)?;
        }
        Ok(last)
    };
    while matches!(answer(), Ok(false)) {}
}

fn skip(stream: &mut TcpStream, bytes: u64) -> io::Result<()> {
    let got = io::copy(&mut Read::by_ref(stream).take(bytes), &mut io::sink())?;
    if got == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn skip_to_end(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(|_| ())
}

fn fill(stream: &mut TcpStream, bytes: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(b'x').take(bytes), stream).map(|_| ())
}

fn dial(to: SocketAddr, source_port: u16) -> Result<TcpStream, Box<dyn std::error::Error>> {
    if source_port == 0 {
        return Ok(TcpStream::connect_timeout(&to, Duration::from_secs(20))?);
    }
    let (family, any) = match to.ip() {
        IpAddr::V4(_) => (AddressFamily::Inet, IpAddr::from([0; 4])),
        IpAddr::V6(_) => (AddressFamily::Inet6, IpAddr::from([0; 16])),
    };
    let fd: OwnedFd = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(any, source_port)))?;
    connect(fd.as_raw_fd(), &SockaddrStorage::from(to))?;
    Ok(TcpStream::from(fd))
}

fn exchange(stream: &mut TcpStream, up: u64, down: u64, last: bool) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let rest = up.checked_sub(REQUEST_HEADER).ok_or(io::ErrorKind::InvalidInput)?;
    // One write for header and request, so that a small request is one segment.
    let mut request = Vec::with_capacity(up.min(64 << 10) as usize);
    request.extend_from_slice(&up.to_be_bytes());
    request.extend_from_slice(&down.to_be_bytes());
    request.extend_from_slice(&u64::from(last).to_be_bytes());
    let first = rest.min((64 << 10) - REQUEST_HEADER);
    request.resize((REQUEST_HEADER + first) as usize, b'x');
    stream.write_all(&request)?;
    fill(stream, rest - first)?;
    skip(stream, down)?;
    // The last segments are acknowledged now, not within 200 ms: an exchange that is over sends nothing more.
    stream.set_quickack(true)
}

/// Closes and waits for the other side to have closed too.
fn close(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown(Shutdown::Write)?;
    skip_to_end(&mut stream)
}

fn reset(stream: TcpStream) -> nix::Result<()> {
    setsockopt(&stream, sockopt::Linger, &nix::libc::linger { l_onoff: 1, l_linger: 0 })
}

/// Many short connections, several at a time, at a given rate (0: as fast as it goes) and perhaps from few ports.
fn burst(plan: &Burst) -> Answer {
    const LANES: u64 = 8;
    let started = clock::now().mono_ns;
    let next = AtomicU64::new(0);
    let lane = |lane: u64| -> Result<(), String> {
        // With given ports every lane has its own, so that no two connections want the same tuple at a time; and stays on
        // one CPU, for elsewhere a SYN may overtake the reset of the connection before it, and conntrack counts no SYN
        // of what it takes for established.
        if plan.ports > 0 {
            stay_on_one_cpu(lane as usize).map_err(|e| format!("cannot stay on one CPU: {e}"))?;
        }
        let mut own_ports = (0..plan.ports).filter(|p| u64::from(*p) % LANES == lane).cycle();
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= plan.connections {
                return Ok(());
            }
            if let Some(due_ns) = (number * clock::SECOND).checked_div(plan.per_second) {
                clock::sleep_ns((started + due_ns).saturating_sub(clock::now().mono_ns));
            }
            let port = own_ports.next().map_or(0, |p| plan.first_port + p);
            one(plan, port).map_err(|e| format!("connection {number} from port {port}: {e}"))?;
        }
    };
    let lane = &lane;
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..LANES).map(|n| scope.spawn(move || lane(n))).collect();
        lanes.into_iter().try_for_each(|l| l.join().map_err(|_| "a lane panicked".to_owned())?)
    })?;
    Ok(((clock::now().mono_ns - started) / clock::MS).to_string())
}

/// This thread, on one of the CPUs that it may use.
fn stay_on_one_cpu(number: usize) -> nix::Result<()> {
    let may = sched_getaffinity(Pid::from_raw(0))?;
    let cpus: Vec<usize> = (0..CpuSet::count()).filter(|cpu| may.is_set(*cpu) == Ok(true)).collect();
    let mut own = CpuSet::new();
    own.set(cpus[number % cpus.len()])?;
    sched_setaffinity(Pid::from_raw(0), &own)
}

fn one(plan: &Burst, port: u16) -> Result<(), Box<dyn std::error::Error>> {
    let mut stream = dial(plan.to, port)?;
    stream.set_nodelay(true)?;
    exchange(&mut stream, plan.up, plan.down, plan.ending == Ending::Server)?;
    match plan.ending {
        Ending::Client => close(stream)?,
        Ending::Server => skip_to_end(&mut stream)?,
        Ending::Reset => reset(stream)?,
    }
    Ok(())
}

fn serve_udp(at: SocketAddr) -> Answer {
    let socket = UdpSocket::bind(at)?;
    setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20))?;
    thread::spawn(move || {
        let mut datagram = vec![0; 65_536];
        let answer = vec![b'x'; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            let Some(head) = datagram.first_chunk::<8>().filter(|_| length >= 8) else { continue };
            let size = u64::from_be_bytes(*head) as usize;
            if size > 0 {
                let _ = socket.send_to(&answer[..size], from);
            }
        }
    });
    Ok(String::new())
}

/// From each of `sockets` new sockets, at ports from `first_port` on: `datagrams` of `size` payload bytes, each answered
/// (or not) before the next.
fn udp(
    from: IpAddr,
    to: SocketAddr,
    first_port: u16,
    sockets: u16,
    datagrams: u64,
    size: usize,
    answer: u64,
) -> Answer {
    let mut payload = vec![b'x'; size];
    payload.get_mut(..8).ok_or("a datagram has at least 8 bytes")?.copy_from_slice(&answer.to_be_bytes());
    let mut got = vec![0; 65_536];
    for port in first_port..first_port + sockets {
        let socket = UdpSocket::bind((from, port))?;
        socket.set_read_timeout(Some(Duration::from_secs(20)))?;
        socket.connect(to)?;
        for _ in 0..datagrams {
            socket.send(&payload)?;
            if answer > 0 {
                let length = socket.recv(&mut got)? as u64;
                if length != answer {
                    return Err(format!("an answer of {length} bytes, not {answer}").into());
                }
            }
        }
    }
    Ok(String::new())
}

/// From each of `sockets` new sockets, at ports from `first_port` on, one datagram to each of `ports` ports, at a given
/// rate; returns how many milliseconds it took.
fn new_flows(to: SocketAddr, first_port: u16, sockets: u16, ports: u16, per_second: u64) -> Answer {
    let started = clock::now().mono_ns;
    for number in 0..sockets {
        let due_ns = u64::from(number) * u64::from(ports) * clock::SECOND / per_second;
        clock::sleep_ns((started + due_ns).saturating_sub(clock::now().mono_ns));
        let socket = UdpSocket::bind(("0.0.0.0", first_port + number))?;
        for port in 0..ports {
            socket.send_to(&[b'x'; 36], (to.ip(), to.port() + port))?;
        }
    }
    Ok(((clock::now().mono_ns - started) / clock::MS).to_string())
}
