//! The ends of connections, as conntrack tells them.

use std::io;
use std::os::fd::RawFd;

use super::chunk;
use crate::source::replay::Recorder;
use crate::source::{Each, Sweep};
use crate::sys::netlink::{EventSocket, Family, Received};
use crate::wire::conntrack::GROUP_DESTROY;

/// Room for some 52,000 events (the kernel charges 1,280 bytes for each); charged only while they are queued.
pub const QUEUE_BYTES: usize = 32 << 20;

/// The event socket. It stays open whatever happens: a new one would have missed what ended meanwhile.
pub struct Events {
    socket: EventSocket,
}

impl Events {
    /// Joins the group with a queue of a given size.
    pub fn open(queue_bytes: usize) -> io::Result<Events> {
        let groups = 1 << (GROUP_DESTROY - 1);
        Ok(Events { socket: EventSocket::open(Family::Netfilter, groups, queue_bytes)? })
    }

    /// To poll for reading.
    pub fn raw_fd(&self) -> RawFd {
        self.socket.raw_fd()
    }

    /// Hands over all that is queued.
    pub fn drain(&mut self, recorder: &mut Recorder, sweep: &mut Sweep, each: Each<'_>) -> io::Result<()> {
        loop {
            match self.socket.receive()? {
                Received::Datagrams(0) => return Ok(()),
                Received::Datagrams(count) => {
                    for number in 0..count {
                        let datagram = self.socket.datagram(number);
                        recorder.events(datagram);
                        chunk::read_events(datagram, sweep, each);
                    }
                }
                Received::Overflow(drops) => {
                    recorder.overflow(drops);
                    sweep.overflows += 1;
                    sweep.events_lost += u64::from(drops);
                }
            }
        }
    }
}
