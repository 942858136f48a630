//! Reads the ends of connections, conntrack's DESTROY events.

use std::io;
use std::os::fd::RawFd;

use crate::sys::netlink::{EventSocket, Family, Received};
use crate::wire::conntrack::GROUP_DESTROY;
use crate::wire::recording::Frame;

/// Room for some 52,000 events (the kernel charges 1,280 bytes for each); charged only while they are queued.
pub const QUEUE_BYTES: usize = 32 << 20;

/// The event socket. It stays open whatever happens: a new one would have missed what ended meanwhile.
pub struct Events {
    socket: EventSocket,
}

impl Events {
    /// Joins the group with a queue of a given size.
    ///
    /// # Errors
    /// As [`EventSocket::open`].
    pub fn open(queue_bytes: usize) -> io::Result<Events> {
        let groups = 1 << (GROUP_DESTROY - 1);
        Ok(Events { socket: EventSocket::open(Family::Netfilter, groups, queue_bytes)? })
    }

    /// To poll for reading.
    pub fn raw_fd(&self) -> RawFd {
        self.socket.raw_fd()
    }

    /// Hands over all that is queued.
    ///
    /// # Errors
    /// None that another call would not meet again.
    pub fn drain(&mut self, take: &mut dyn FnMut(&Frame<'_>)) -> io::Result<()> {
        let mut overflowed = false;
        loop {
            match self.socket.receive()? {
                Received::Datagrams(0) => break,
                Received::Datagrams(count) => {
                    for number in 0..count {
                        take(&Frame::Event(self.socket.datagram(number)));
                    }
                }
                Received::Overflow(drops) => {
                    overflowed = true;
                    take(&Frame::Overflow(drops));
                }
            }
        }
        // From the first drop until its queue is empty the kernel drops everything, and says ENOBUFS only once.
        if overflowed {
            match self.socket.new_drops() {
                0 => {}
                drops => take(&Frame::Dropped(drops)),
            }
        }
        Ok(())
    }
}
