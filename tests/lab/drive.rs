//! The test's side of a helper process: commands as methods.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

pub use crate::actor::Ending;
use crate::process::{self, Place};

/// A helper process. It ends with this value, or with the thread that started it.
pub struct Actor {
    child: Child,
    pipe: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
}

/// Where the ports of UDP sockets begin.
const FIRST_UDP_PORT: u16 = 33_000;

/// One TCP connection that a helper holds open.
pub struct Held<'a> {
    actor: &'a Actor,
    id: String,
}

/// Many short connections.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Whom to.
    pub to: SocketAddr,
    /// How many.
    pub connections: u64,
    /// Payload of the request, at least 24 bytes.
    pub up: u64,
    /// Payload of the answer.
    pub down: u64,
    /// 0: as fast as it goes.
    pub per_second: u64,
    /// Source ports, first and how many; 0 of them: the kernel chooses.
    pub ports: (u16, u16),
    /// How each ends.
    pub ending: Ending,
}

impl Burst {
    /// `connections` to `to` that end with the client's FIN, as fast as they go.
    pub fn new(to: SocketAddr, connections: u64, up: u64, down: u64) -> Burst {
        Burst { to, connections, up, down, per_second: 0, ports: (0, 0), ending: Ending::Client }
    }

    fn words(self) -> String {
        let Burst { to, connections, up, down, per_second, ports: (first, ports), ending } = self;
        let ending = ending.word();
        format!("burst {to} {connections} {up} {down} {per_second} {first} {ports} {ending}")
    }
}

/// Many UDP flows of one datagram each.
#[derive(Clone, Copy, Debug)]
pub struct NewFlows {
    /// Whom to; the first of its ports.
    pub to: SocketAddr,
    /// How many, a multiple of `ports`.
    pub flows: u64,
    /// To so many ports in turn.
    pub ports: u16,
    /// At this rate.
    pub per_second: u64,
}

impl Actor {
    /// Starts one in the caller's network namespace.
    pub fn start(place: &Place) -> Result<Actor, String> {
        let mut child = process::command("@actor", place)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot start a helper: {e}"))?;
        let pipe = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        Ok(Actor { child, pipe: RefCell::new(pipe) })
    }

    /// Tells it to do something, without waiting; one [`Actor::answer`] must follow.
    fn tell(&self, line: &str) -> Result<(), String> {
        writeln!(self.pipe.borrow_mut().0, "{line}").map_err(|e| format!("a helper is gone: {e}"))
    }

    fn answer(&self) -> Result<String, String> {
        let mut line = String::new();
        self.pipe.borrow_mut().1.read_line(&mut line).map_err(|e| format!("a helper is gone: {e}"))?;
        match line.trim_end_matches('\n').split_once(' ') {
            Some(("ok", rest)) => Ok(rest.to_owned()),
            _ => Err(format!("a helper says: {line:?}")),
        }
    }

    fn ask(&self, line: &str) -> Result<String, String> {
        self.tell(line)?;
        self.answer()
    }

    /// Answers TCP at an address.
    pub fn serve_tcp(&self, at: SocketAddr) -> Result<(), String> {
        self.ask(&format!("serve-tcp {at}")).map(|_| ())
    }

    /// Answers UDP at an address.
    pub fn serve_udp(&self, at: SocketAddr) -> Result<(), String> {
        self.ask(&format!("serve-udp {at}")).map(|_| ())
    }

    /// Answers DNS questions at an address, or lies.
    pub fn serve_dns(&self, at: SocketAddr) -> Result<(), String> {
        self.ask(&format!("serve-dns {at}")).map(|_| ())
    }

    /// Asks for `count` names that begin with `name`; returns how many answers came.
    pub fn ask_dns(&self, to: SocketAddr, name: &str, count: u64, per_second: u64) -> Result<u64, String> {
        let answers = self.ask(&format!("ask-dns {to} {name} {count} {per_second}"))?;
        answers.parse().map_err(|_| format!("{answers:?} answers came"))
    }

    /// Asks for `name` from a socket that is not connected; returns whether an answer came.
    pub fn ask_dns_unconnected(&self, to: SocketAddr, name: &str) -> Result<bool, String> {
        Ok(self.ask(&format!("ask-dns-unconnected {to} {name}"))? == "true")
    }

    /// Opens a TCP connection from a port of the kernel's choice.
    pub fn open(&self, to: SocketAddr) -> Result<Held<'_>, String> {
        self.open_from(to, 0)
    }

    /// Opens a TCP connection from `port`.
    pub fn open_from(&self, to: SocketAddr, port: u16) -> Result<Held<'_>, String> {
        Ok(Held { actor: self, id: self.ask(&format!("open {to} {port}"))? })
    }

    /// Sends a datagram in each of many new flows; returns how many milliseconds it took.
    pub fn new_flows(&self, plan: NewFlows) -> Result<u64, String> {
        let NewFlows { to, flows, ports, per_second } = plan;
        let sockets = flows / u64::from(ports);
        self.tell(&format!("new-flows {to} {FIRST_UDP_PORT} {sockets} {ports} {per_second}"))?;
        self.finish()
    }

    /// Makes many short connections and waits for the last; returns how many milliseconds it took.
    pub fn burst(&self, burst: Burst) -> Result<u64, String> {
        self.start_burst(burst)?;
        self.finish()
    }

    /// The same by a child that it forks, which becomes another program.
    pub fn burst_by_child(&self, burst: Burst) -> Result<(), String> {
        self.ask(&format!("child {}", burst.words())).map(|_| ())
    }

    /// Moves to another cgroup.
    pub fn move_to(&self, cgroup: &std::path::Path) -> Result<(), String> {
        self.ask(&format!("move {}", cgroup.display())).map(|_| ())
    }

    /// Starts many short connections; [`Actor::finish`] waits for them.
    pub fn start_burst(&self, burst: Burst) -> Result<(), String> {
        self.tell(&burst.words())
    }

    /// Waits for what was started; returns how many milliseconds it took.
    pub fn finish(&self) -> Result<u64, String> {
        let answer = self.answer()?;
        answer.parse().map_err(|_| format!("a helper took {answer:?} ms"))
    }

    /// From each of `sockets` sockets `datagrams` of `size` payload bytes, each answered with `answer` bytes (0: not).
    /// The ports are always the same and all different, so each socket is one connection, and a repetition reuses them.
    pub fn udp(&self, to: SocketAddr, sockets: u16, datagrams: u64, size: u64, answer: u64) -> Result<(), String> {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        self.ask(&format!("udp {any} {to} {FIRST_UDP_PORT} {sockets} {datagrams} {size} {answer}")).map(|_| ())
    }

    /// The same from sockets of this address, without answers.
    pub fn udp_from(&self, from: IpAddr, to: SocketAddr, datagrams: u64, size: u64) -> Result<(), String> {
        self.ask(&format!("udp {from} {to} {FIRST_UDP_PORT} 1 {datagrams} {size} 0")).map(|_| ())
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // An end by signal: what the helper holds open is reset by nobody, the namespace goes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Held<'_> {
    /// A request of `up` payload bytes (at least 24) and an answer of `down`.
    pub fn exchange(&self, up: u64, down: u64) -> Result<(), String> {
        self.actor.ask(&format!("exchange {} {up} {down}", self.id)).map(|_| ())
    }

    /// Both sides close, this one first.
    pub fn close(self) -> Result<(), String> {
        self.actor.ask(&format!("close {}", self.id)).map(|_| ())
    }

    /// Ends with RST.
    pub fn reset(self) -> Result<(), String> {
        self.actor.ask(&format!("reset {}", self.id)).map(|_| ())
    }
}
