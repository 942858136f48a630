//! The socket on which the conntrack table is dumped, and the table's size.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::sys::netlink::{Family, RequestSocket};
use crate::wire::conntrack::{MESSAGE_GET, MESSAGE_GET_STATS};
use crate::wire::netlink::{self, Messages, Writer};

/// The kernel fills at most 32 KiB into one datagram, and as much as the largest buffer that it has seen.
const BUFFER_BYTES: usize = 64 * 1024;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 0x1;
/// `NLM_F_DUMP`.
const DUMP: u16 = 0x300;
const BUCKETS: &str = "/proc/sys/net/netfilter/nf_conntrack_buckets";

/// The request socket and what a dump needs.
pub struct Dump {
    socket: RequestSocket,
    request: Vec<u8>,
    buffer: Vec<u8>,
    buckets: Option<File>,
    seq: u32,
}

impl Dump {
    /// Opens the socket.
    ///
    /// # Errors
    /// As [`RequestSocket::open`].
    pub fn open() -> io::Result<Dump> {
        Ok(Dump {
            socket: RequestSocket::open(Family::Netfilter)?,
            request: Vec::with_capacity(64),
            buffer: vec![0; BUFFER_BYTES],
            buckets: File::open(BUCKETS).ok(),
            seq: 0,
        })
    }

    /// Asks conntrack for its statistics, to learn whether it is there and answers us.
    ///
    /// # Errors
    /// EPERM without CAP_NET_ADMIN, EINVAL without the module.
    pub fn probe(&mut self) -> io::Result<()> {
        self.send(MESSAGE_GET_STATS, REQUEST)?;
        let message = self.receive()?;
        match Messages::of(message).next() {
            Some(Ok(message)) if message.kind == netlink::ERROR && message.errno() != 0 => {
                Err(io::Error::from_raw_os_error(message.errno()))
            }
            _ => Ok(()),
        }
    }

    /// The sequence number that the next request will have.
    pub fn next_seq(&self) -> u32 {
        self.seq.wrapping_add(1)
    }

    /// Asks for a dump of the whole table, both families in one pass.
    ///
    /// # Errors
    /// What the kernel says at once; EBUSY while another dump runs on this socket.
    pub fn request(&mut self) -> io::Result<()> {
        self.send(MESSAGE_GET, REQUEST | DUMP)
    }

    /// The next datagram of the dump.
    ///
    /// # Errors
    /// As [`RequestSocket::receive`].
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        let len = self.socket.receive(&mut self.buffer)?;
        Ok(self.buffer.get(..len).unwrap_or_default())
    }

    /// After a dump that broke off: a new socket, for the old one may still hold the rest, or a dump that runs.
    ///
    /// # Errors
    /// As [`RequestSocket::open`]; the old one stays in use.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.socket = RequestSocket::open(Family::Netfilter)?;
        Ok(())
    }

    /// `nf_conntrack_buckets`, 0 where it cannot be read.
    pub fn buckets(&self) -> u64 {
        let read = || {
            let mut text = [0u8; 24];
            let len = self.buckets.as_ref()?.read_at(&mut text, 0).ok()?;
            std::str::from_utf8(text.get(..len)?).ok()?.trim().parse().ok()
        };
        read().unwrap_or(0)
    }

    fn send(&mut self, kind: u16, flags: u16) -> io::Result<()> {
        self.seq = self.next_seq();
        let mut writer = Writer::reusing(std::mem::take(&mut self.request));
        writer.message(kind, flags, self.seq);
        // struct nfgenmsg: AF_UNSPEC, version 0.
        writer.raw(&[0; 4]);
        self.request = writer.finish();
        self.socket.send(&self.request)
    }
}
