//! One peer: it reads a request, writes the answer, and limits the time for each.
//!
//! A state machine, stepped when its socket is ready or its deadline has passed. It gets the time as an argument, and
//! knows routes only as a function from a request to an answer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use super::request::{self, HEAD_BYTES, Parsed};
use super::response::Body;
use super::routes::{Answer, Context, Peer, Wanted};
use super::snapshots::{Availability, Queues, SnapshotQueue, Ticket};
use crate::clock::{Now, SECOND};
use crate::snapshot::{Snapshot, SnapshotKind};

/// Time for the peer to send a whole request head.
const HEAD_NS: u64 = 5 * SECOND;
/// Time in which the peer must take some of the answer.
const DRAIN_NS: u64 = 10 * SECOND;
/// Time for the peer to close its side after the answer.
const LINGER_NS: u64 = SECOND;
/// Approximate bytes of an answer that are rendered before the peer has read them.
pub const PIECE_BYTES: usize = 64 * 1024;
/// Bytes discarded in one read while the connection lingers.
const SINK_BYTES: usize = 2048;

/// The fate of a connection after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays open.
    Keep,
    /// It ends as intended.
    Close,
    /// It ends early: too slow, malformed, or closed by the peer.
    Cut,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Bytes from the peer.
    Read,
    /// Room for bytes to the peer.
    Write,
    Snapshot,
}

enum State {
    Reading,
    Waiting(Wanted, Ticket),
    /// The answer is made from this when the peer's turn comes.
    Ready(Wanted, Option<Arc<Snapshot>>),
    Writing(Body),
    Lingering,
}

pub struct Connection {
    stream: TcpStream,
    peer: Peer,
    state: State,
    /// Deadline of the current phase, monotonic.
    deadline_ns: u64,
    /// Time of its last activity, monotonic.
    active_ns: u64,
    head: [u8; HEAD_BYTES],
    head_len: usize,
    /// Rendered and not yet sent: `out[sent..]`.
    out: Vec<u8>,
    sent: usize,
    refused: bool,
}

impl Connection {
    /// Starts with an accepted socket; `out` is a buffer to reuse.
    pub fn new(stream: TcpStream, peer: Peer, out: Vec<u8>, now: Now) -> Connection {
        Connection {
            stream,
            peer,
            state: State::Reading,
            deadline_ns: now.mono_ns.saturating_add(HEAD_NS),
            active_ns: now.mono_ns,
            head: [0; HEAD_BYTES],
            head_len: 0,
            out,
            sent: 0,
            refused: false,
        }
    }

    /// The socket, to poll.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Returns the event that it waits for.
    pub fn interest(&self) -> Interest {
        match self.state {
            State::Reading | State::Lingering => Interest::Read,
            State::Waiting(..) => Interest::Snapshot,
            State::Ready(..) | State::Writing(_) => Interest::Write,
        }
    }

    /// The latest time for its next step, monotonic.
    pub fn deadline_ns(&self) -> u64 {
        match self.state {
            State::Waiting(_, ticket) => ticket.until_ns.min(self.deadline_ns),
            _ => self.deadline_ns,
        }
    }

    /// The order in which connections make room for new ones. Answered ones leave first, then those without a request,
    /// then those that are being answered; within each kind the one that is idle longest.
    pub fn worth(&self) -> (u8, u64) {
        let kind = match self.state {
            State::Lingering => 0,
            State::Reading => 1,
            State::Waiting(..) | State::Ready(..) | State::Writing(_) => 2,
        };
        (kind, self.active_ns)
    }

    /// Whether it has its whole answer.
    pub fn is_answered(&self) -> bool {
        matches!(self.state, State::Lingering)
    }

    /// Whether it holds a snapshot of this kind that `latest` is not.
    pub fn holds_older(&self, kind: SnapshotKind, latest: Option<*const Snapshot>) -> bool {
        let held = match &self.state {
            State::Ready(wanted, Some(held)) => Some((wanted.kind(), Arc::as_ptr(held))),
            State::Writing(body) => body.snapshot(),
            _ => None,
        };
        held.is_some_and(|(of, held)| of == kind && Some(held) != latest)
    }

    /// Returns its buffer for reuse.
    pub fn into_buffer(mut self) -> Vec<u8> {
        self.out.clear();
        self.out
    }

    /// Does what can be done now. `called`: whether poll(2) reported an event of the socket.
    pub fn step(&mut self, called: bool, context: &Context, queues: &mut Queues, now: Now) -> Fate {
        if now.mono_ns >= self.deadline_ns {
            return if matches!(self.state, State::Lingering) { Fate::Close } else { Fate::Cut };
        }
        match &self.state {
            State::Reading if called => self.read(context, queues, now),
            State::Waiting(wanted, ticket) => {
                // This state polls only for hang-up and error.
                if called {
                    return Fate::Cut;
                }
                let (wanted, ticket) = (*wanted, *ticket);
                match SnapshotQueue::wait(context.snapshots.of(wanted.kind()), ticket, now.mono_ns) {
                    Availability::Soon(_) => {}
                    snapshot => self.receive(wanted, snapshot, now),
                }
                Fate::Keep
            }
            State::Ready(..) if called => self.show(context, now),
            State::Writing(_) if called => self.write(now),
            State::Lingering if called => self.linger(),
            _ => Fate::Keep,
        }
    }

    fn read(&mut self, context: &Context, queues: &mut Queues, now: Now) -> Fate {
        let room = self.head.get_mut(self.head_len..).unwrap_or_default();
        match self.stream.read(room) {
            Ok(0) => return if self.head_len == 0 { Fate::Close } else { Fate::Cut },
            Ok(n) => self.head_len += n,
            Err(error) => return blocked(&error),
        }
        self.active_ns = now.mono_ns;
        let bytes = self.head.get(..self.head_len).unwrap_or_default();
        let (answer, head_only, chunks) = match request::parse(bytes) {
            Parsed::Partial => return Fate::Keep,
            Parsed::Refused(refusal) => {
                self.refused = true;
                (Answer::refusal(refusal), false, false)
            }
            Parsed::Whole(request) => {
                context.stats.http_requests.inc();
                (context.route(&request, self.peer, now), request.head_only, request.chunks)
            }
        };
        match answer {
            Answer::Now(response) => {
                let body = response.write_head(&mut self.out, head_only, chunks);
                self.answer(body, now)
            }
            Answer::Snapshot(mut wanted) => {
                wanted.head_only = head_only;
                wanted.chunks = chunks;
                let snapshot = queues.take(&context.snapshots, wanted.kind(), now.mono_ns);
                self.receive(wanted, snapshot, now);
                Fate::Keep
            }
        }
    }

    /// Gets a snapshot, or waits for it. Showing it costs more than all the rest, so that waits for the peer's turn.
    fn receive(&mut self, wanted: Wanted, snapshot: Availability, now: Now) {
        self.deadline_ns = now.mono_ns.saturating_add(DRAIN_NS);
        self.state = match snapshot {
            Availability::Soon(ticket) => State::Waiting(wanted, ticket),
            Availability::Ready(snapshot) => State::Ready(wanted, Some(snapshot)),
            Availability::Missing => State::Ready(wanted, None),
        };
    }

    fn show(&mut self, context: &Context, now: Now) -> Fate {
        let State::Ready(wanted, snapshot) = &mut self.state else { return Fate::Keep };
        let (wanted, snapshot) = (*wanted, snapshot.take());
        let response = context.show(wanted, snapshot);
        let body = response.write_head(&mut self.out, wanted.head_only, wanted.chunks);
        self.answer(body, now)
    }

    fn answer(&mut self, body: Body, now: Now) -> Fate {
        self.deadline_ns = now.mono_ns.saturating_add(DRAIN_NS);
        self.state = State::Writing(body);
        self.write(now)
    }

    /// Sends rendered bytes. Once they are out it renders one more piece, then lets other peers have their turn.
    fn write(&mut self, now: Now) -> Fate {
        let State::Writing(body) = &mut self.state else { return Fate::Keep };
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
        if self.out.len() < PIECE_BYTES / 2 {
            body.fill(&mut self.out, PIECE_BYTES);
        }
        let done = body.is_done();
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return Fate::Cut,
                Ok(n) => {
                    self.sent += n;
                    self.active_ns = now.mono_ns;
                    // The kernel says that there is room only where a third of its small buffer was taken.
                    self.deadline_ns = now.mono_ns.saturating_add(DRAIN_NS);
                }
                Err(error) => return blocked(&error),
            }
        }
        if !done {
            return Fate::Keep;
        }
        // Closing with unread bytes in the socket would reset the connection, and the peer could lose the answer.
        if self.stream.shutdown(std::net::Shutdown::Write).is_err() {
            return Fate::Cut;
        }
        self.state = State::Lingering;
        self.deadline_ns = now.mono_ns.saturating_add(LINGER_NS);
        self.linger()
    }

    fn linger(&mut self) -> Fate {
        let mut sink = [0; SINK_BYTES];
        match self.stream.read(&mut sink) {
            Ok(0) if self.refused => Fate::Cut,
            Ok(0) => Fate::Close,
            Ok(_) => Fate::Keep,
            Err(error) => blocked(&error),
        }
    }
}

/// Converts an error of a non-blocking socket.
fn blocked(error: &io::Error) -> Fate {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Fate::Keep,
        _ => Fate::Cut,
    }
}

#[cfg(test)]
mod tests;
