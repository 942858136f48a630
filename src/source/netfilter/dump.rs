//! A dump of the conntrack table, chunk by chunk, events first.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::chunk::{self, Progress};
use super::events::Events;
use crate::source::replay::Recorder;
use crate::source::{Each, Sweep};
use crate::sys::netlink::{Family, RequestSocket};
use crate::wire::conntrack::MESSAGE_GET;
use crate::wire::netlink::{Messages, Writer};

/// The kernel fills at most 32 KiB into one datagram, and as much as the largest buffer that it has seen.
const BUFFER_BYTES: usize = 64 * 1024;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const FLAGS: u16 = 0x1 | 0x300;
const BUCKETS: &str = "/proc/sys/net/netfilter/nf_conntrack_buckets";

/// The request socket and what a dump needs.
pub struct Dump {
    socket: RequestSocket,
    request: Vec<u8>,
    buffer: Vec<u8>,
    /// The table's size; a change in mid-dump voids the dump (rule 11), and the kernel says nothing of it.
    buckets: Option<File>,
    seq: u32,
}

impl Dump {
    /// Opens the socket.
    pub fn open() -> io::Result<Dump> {
        Ok(Dump {
            socket: RequestSocket::open(Family::Netfilter)?,
            request: Vec::with_capacity(64),
            buffer: vec![0; BUFFER_BYTES],
            buckets: File::open(BUCKETS).ok(),
            seq: 0,
        })
    }

    /// Reads the whole table of both families; hands over ends first, then the entries of each chunk. Returns whether
    /// the dump was complete.
    pub fn read(
        &mut self,
        events: &mut Events,
        recorder: &mut Recorder,
        sweep: &mut Sweep,
        each: Each<'_>,
    ) -> io::Result<bool> {
        let before = self.read_buckets();
        self.request()?;
        let mut whole = true;
        let whole = loop {
            let len = self.socket.receive(&mut self.buffer)?;
            let datagram = self.buffer.get(..len).unwrap_or_default();
            // A leftover of a dump that was given up: neither its entries nor its end are ours.
            if Messages::of(datagram).next().is_some_and(|m| m.is_ok_and(|m| m.seq != self.seq)) {
                continue;
            }
            events.drain(recorder, sweep, each)?;
            recorder.dump(datagram);
            match chunk::read_dump(datagram, &mut whole, sweep, each) {
                Progress::More => {}
                Progress::Done { whole } => break whole,
                Progress::Refused(errno) => return Err(io::Error::from_raw_os_error(errno)),
            }
        };
        Ok(whole && before == self.read_buckets())
    }

    fn request(&mut self) -> io::Result<()> {
        self.seq = self.seq.wrapping_add(1).max(1);
        let mut writer = Writer::reusing(std::mem::take(&mut self.request));
        writer.message(MESSAGE_GET, FLAGS, self.seq);
        // struct nfgenmsg: AF_UNSPEC, version 0: one pass over the table gives both families.
        writer.raw(&[0; 4]);
        self.request = writer.finish();
        self.socket.send(&self.request)
    }

    fn read_buckets(&self) -> Option<u64> {
        let mut text = [0u8; 24];
        let len = self.buckets.as_ref()?.read_at(&mut text, 0).ok()?;
        std::str::from_utf8(text.get(..len)?).ok()?.trim().parse().ok()
    }
}
