//! One name, asked of the name servers: A and AAAA apart, server after server, by TCP where UDP does not hold the answer.
//!
//! Each type has its own socket for each server. A firewall or a translation that loses one of two questions from the
//! same port loses none of these. Knows no search list; that is [`super::resolve`]'s.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use super::files::Resolv;
use crate::clock::{self, MS};
use crate::sys::poll::readable;
use crate::wire::dns::{self, Message, TYPE_A, TYPE_AAAA};

/// How long the other type is waited for once one has addresses.
const GRACE_NS: u64 = 500 * MS;
/// How often the deadline is looked at, for it may be brought forward meanwhile.
const GLANCE_NS: u64 = 100 * MS;
/// Between two tries, however little time there is.
const STEP_MIN_NS: u64 = 50 * MS;

/// What stood in the way of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No word from it.
    Silent(SocketAddr),
    /// The network or its host says that it cannot be reached, and how.
    Unreachable(SocketAddr, std::io::ErrorKind),
    /// It answered with this code.
    Code(SocketAddr, u16),
    /// It refers to servers that we do not ask: it does not resolve for us.
    Lame(SocketAddr),
    /// The time of the request is over.
    Late,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Silent(server) => write!(f, "name server {server} does not answer"),
            Trouble::Unreachable(server, why) => write!(f, "cannot reach name server {server}: {why}"),
            Trouble::Code(server, dns::SERVFAIL) => write!(f, "name server {server} answers SERVFAIL"),
            Trouble::Code(server, dns::REFUSED) => write!(f, "name server {server} answers REFUSED"),
            Trouble::Code(server, code) => write!(f, "name server {server} answers with code {code}"),
            Trouble::Lame(server) => write!(f, "name server {server} does not resolve for us"),
            Trouble::Late => f.write_str("the time for it is over"),
        }
    }
}

/// What the servers know of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// These.
    Addresses(Vec<IpAddr>),
    /// There is no such name, or it has no address.
    Nothing,
    /// Nobody said.
    Unknown(Trouble),
}

/// Asks for `name`, which ends with a dot, for at most `share_ns`, and never beyond what `until_ns` says.
pub fn ask(resolv: &Resolv, first_server: usize, name: &str, share_ns: u64, until_ns: &dyn Fn() -> u64) -> Verdict {
    let tries = resolv.servers.len() * resolv.attempts;
    let step_ns = (share_ns / tries.max(1) as u64).max(STEP_MIN_NS);
    let salt = RandomState::new();
    let mut questions = [TYPE_A, TYPE_AAAA]
        .map(|kind| Question::new(resolv, name, kind, (salt.hash_one((name, kind)) & 0xffff) as u16));
    let mut grace_ns = u64::MAX;
    loop {
        let now_ns = clock::now().mono_ns;
        let end_ns = until_ns();
        if now_ns >= end_ns {
            questions.iter_mut().for_each(Question::give_up);
        }
        let mut wake_ns = end_ns.min(grace_ns).min(now_ns.saturating_add(GLANCE_NS));
        let mut waits = false;
        for question in &mut questions {
            if waits && resolv.one_by_one {
                break;
            }
            question.go_on(resolv, first_server, now_ns, step_ns, end_ns);
            if question.verdict.is_none() {
                waits = true;
                wake_ns = wake_ns.min(question.next_ns);
            }
        }
        let has_addresses = questions.iter().any(|q| matches!(q.verdict, Some(Verdict::Addresses(_))));
        if !waits && (!resolv.one_by_one || questions.iter().all(|q| q.verdict.is_some()))
            || has_addresses && now_ns >= grace_ns
        {
            break;
        }
        if has_addresses {
            grace_ns = grace_ns.min(now_ns.saturating_add(GRACE_NS));
            wake_ns = wake_ns.min(grace_ns);
        }
        let sockets: Vec<RawFd> = questions.iter().flat_map(Question::sockets).collect();
        let ready = readable(&sockets, wake_ns.saturating_sub(now_ns).max(MS));
        if ready != 0 {
            questions.iter_mut().for_each(|question| question.hear(resolv, end_ns));
        }
    }
    together(questions.map(|question| question.verdict))
}

/// Both verdicts as one: addresses go before trouble, trouble before nothing.
fn together(verdicts: [Option<Verdict>; 2]) -> Verdict {
    let mut addresses = Vec::new();
    let mut trouble = None;
    for verdict in verdicts.into_iter().flatten() {
        match verdict {
            Verdict::Addresses(found) => addresses.extend(found),
            Verdict::Unknown(why) => trouble = trouble.or(Some(why)),
            Verdict::Nothing => {}
        }
    }
    match (addresses.is_empty(), trouble) {
        (false, _) => Verdict::Addresses(addresses),
        (true, Some(why)) => Verdict::Unknown(why),
        (true, None) => Verdict::Nothing,
    }
}

/// One type of a name.
struct Question {
    name: String,
    kind: u16,
    id: u16,
    /// Whether EDNS0 is used; no more once a server did not understand it.
    edns: bool,
    /// By server.
    sockets: Vec<Option<UdpSocket>>,
    /// Tries that were made.
    made: usize,
    /// When the next one is due.
    next_ns: u64,
    /// The server of the last try.
    asked: usize,
    trouble: Option<Trouble>,
    verdict: Option<Verdict>,
}

impl Question {
    fn new(resolv: &Resolv, name: &str, kind: u16, id: u16) -> Question {
        Question {
            name: name.to_owned(),
            kind,
            id,
            edns: true,
            sockets: resolv.servers.iter().map(|_| None).collect(),
            made: 0,
            next_ns: 0,
            asked: 0,
            trouble: None,
            verdict: None,
        }
    }

    fn sockets(&self) -> impl Iterator<Item = RawFd> {
        let open = self.verdict.is_none();
        self.sockets.iter().flatten().filter(move |_| open).map(AsRawFd::as_raw_fd)
    }

    fn give_up(&mut self) {
        self.verdict.get_or_insert(Verdict::Unknown(Trouble::Late));
    }

    /// Makes the next try where it is due, and gives up behind the last.
    fn go_on(&mut self, resolv: &Resolv, first_server: usize, now_ns: u64, step_ns: u64, end_ns: u64) {
        let servers = resolv.servers.len();
        while self.verdict.is_none() && now_ns >= self.next_ns {
            if self.made == servers * resolv.attempts {
                let silent = || resolv.servers.get(self.asked).map_or(Trouble::Late, |server| Trouble::Silent(*server));
                let trouble = self.trouble.clone().unwrap_or_else(silent);
                self.verdict = Some(Verdict::Unknown(trouble));
                return;
            }
            self.asked = (first_server + self.made) % servers;
            self.made += 1;
            self.next_ns = now_ns.saturating_add(step_ns);
            let Some(server) = resolv.servers.get(self.asked).copied() else { return };
            if resolv.by_tcp {
                self.by_tcp(server, self.next_ns.min(end_ns));
            } else if let Err(error) = self.send(server) {
                self.fail(Trouble::Unreachable(server, error.kind()));
            }
        }
    }

    /// A try that failed: the next one is due at once.
    fn fail(&mut self, trouble: Trouble) {
        self.trouble.get_or_insert(trouble);
        self.next_ns = 0;
    }

    fn message(&self) -> std::io::Result<Vec<u8>> {
        dns::question(self.id, &self.name, self.kind, self.edns).map_err(|_| std::io::ErrorKind::InvalidInput.into())
    }

    fn send(&mut self, server: SocketAddr) -> std::io::Result<()> {
        let message = self.message()?;
        let Some(place) = self.sockets.get_mut(self.asked) else { return Ok(()) };
        if place.is_none() {
            let any: IpAddr =
                if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
            let socket = UdpSocket::bind((any, 0))?;
            socket.set_nonblocking(true)?;
            socket.connect(server)?;
            *place = Some(socket);
        }
        match place {
            Some(socket) => socket.send(&message).map(drop),
            None => Ok(()),
        }
    }

    /// Reads what has come.
    fn hear(&mut self, resolv: &Resolv, end_ns: u64) {
        let mut room = [0; dns::UDP_ANSWER_BYTES as usize];
        for (at, server) in resolv.servers.iter().enumerate() {
            while let Some(socket) = self.sockets.get(at).and_then(Option::as_ref).filter(|_| self.verdict.is_none()) {
                match socket.recv(&mut room) {
                    Ok(length) => self.judge(*server, at, room.get(..length).unwrap_or_default(), end_ns),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                    Err(error) => {
                        // An ICMP message; what was sent since has its own.
                        if at == self.asked {
                            self.fail(Trouble::Unreachable(*server, error.kind()));
                        }
                        break;
                    }
                }
            }
        }
    }

    /// An answer by UDP.
    fn judge(&mut self, server: SocketAddr, at: usize, bytes: &[u8], end_ns: u64) {
        let Some(heard) = self.read(server, bytes) else { return };
        match heard {
            Heard::Truncated => self.by_tcp(server, self.next_ns.min(end_ns)),
            Heard::Verdict(verdict) => self.verdict = Some(verdict),
            // It does not know EDNS0: asked anew without.
            Heard::Trouble(Trouble::Code(_, dns::FORMERR | dns::NOTIMP)) if self.edns => {
                self.edns = false;
                self.made = self.made.saturating_sub(1);
                self.next_ns = 0;
            }
            Heard::Trouble(trouble) => {
                // A late answer of a server before is no reason to leave the one that is waited for.
                if at == self.asked {
                    self.fail(trouble);
                } else {
                    self.trouble.get_or_insert(trouble);
                }
            }
        }
    }

    /// What a message says to this question; `None` where it is no answer to it.
    fn read(&self, server: SocketAddr, bytes: &[u8]) -> Option<Heard> {
        let Ok(message) = Message::read(bytes) else {
            // Some servers leave the question out where they refuse.
            let (id, flags, questions) = (bytes.get(..2)?, bytes.get(2..4)?, bytes.get(4..6)?);
            let code = u16::from(flags[1] & 0x0f);
            let is_refusal = id == self.id.to_be_bytes() && flags[0] & 0x80 != 0 && questions == [0, 0] && code != 0;
            return is_refusal.then_some(Heard::Trouble(Trouble::Code(server, code)));
        };
        let mut room = [0; dns::MAX_TEXT_BYTES];
        let bare = self.name.strip_suffix('.').unwrap_or(&self.name);
        let is_ours = message.is_answer
            && message.id == self.id
            && message.kind == self.kind
            && message.name.text(&mut room).eq_ignore_ascii_case(bare);
        if !is_ours {
            return None;
        }
        let mut addresses = Vec::new();
        let found = message.addresses(&mut |address, _| addresses.push(address.to_ip()));
        Some(match (message.code, found) {
            _ if message.is_truncated => Heard::Truncated,
            (dns::NXDOMAIN, _) => Heard::Verdict(Verdict::Nothing),
            (dns::NOERROR, Ok(_)) if !addresses.is_empty() => Heard::Verdict(Verdict::Addresses(addresses)),
            // Neither an authority nor willing to ask one (RA, AA): what it does not say, another may.
            (dns::NOERROR, Ok(_)) if bytes[2] & 0x04 == 0 && bytes[3] & 0x80 == 0 => {
                Heard::Trouble(Trouble::Lame(server))
            }
            (dns::NOERROR, Ok(_)) => Heard::Verdict(Verdict::Nothing),
            (code, _) => Heard::Trouble(Trouble::Code(server, code)),
        })
    }

    /// Asks one server by TCP, to be over by `end_ns`.
    fn by_tcp(&mut self, server: SocketAddr, end_ns: u64) {
        let heard = self.exchange_by_tcp(server, end_ns);
        match heard.map(|bytes| self.read(server, &bytes)) {
            Ok(Some(Heard::Verdict(verdict))) => self.verdict = Some(verdict),
            Ok(Some(Heard::Trouble(trouble))) => self.fail(trouble),
            Ok(Some(Heard::Truncated) | None) => self.fail(Trouble::Lame(server)),
            Err(error) => self.fail(Trouble::Unreachable(server, error.kind())),
        }
    }

    fn exchange_by_tcp(&self, server: SocketAddr, end_ns: u64) -> std::io::Result<Vec<u8>> {
        let left = || Duration::from_nanos(end_ns.saturating_sub(clock::now().mono_ns).max(MS));
        let message = self.message()?;
        let mut stream = TcpStream::connect_timeout(&server, left())?;
        stream.set_write_timeout(Some(left()))?;
        let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
        stream.write_all(&[&length.to_be_bytes()[..], &message].concat())?;
        let mut answer = Vec::new();
        let mut room = [0; 2048];
        loop {
            if let Some((message, _)) = dns::next_of_segment(&answer) {
                return Ok(message.to_vec());
            }
            if clock::now().mono_ns >= end_ns {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            stream.set_read_timeout(Some(left()))?;
            match stream.read(&mut room)? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => answer.extend_from_slice(room.get(..read).unwrap_or_default()),
            }
        }
    }
}

enum Heard {
    Verdict(Verdict),
    Truncated,
    Trouble(Trouble),
}
