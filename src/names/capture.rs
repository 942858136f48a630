//! Loads the DNS programs, attaches them, and takes apart what they hand over.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapHandle, RingBuffer};

use crate::flow::Addr;
use crate::sys::bpf::PerCpuReader;
use crate::sys::programs::{Failure, LoadError, are_attached, explained, ring_of};

/// The generated skeleton, which is full of `unsafe`.
#[allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/dns.skel.rs"));
}

use skeleton::DnsSkelBuilder;
use skeleton::types::dns_stats;

// The C side asserts the same number, and that of the record's head, whose type is in no map and so not here.
const _: () = assert!(size_of::<dns_stats>() == STATS_BYTES);

/// Bytes of payload that the programs copy at most (`LARGE`).
pub const MAX_PAYLOAD_BYTES: usize = 4096;
const HEAD_BYTES: usize = 48;
const STATS_BYTES: usize = 24;
/// Records taken at once, so that a flood of answers does not keep the thread from its other work.
const MOST_RECORDS: usize = 4096;

/// A question or an answer, as its client's socket sent or received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured<'a> {
    /// Who asks.
    pub client: Addr,
    /// Who is asked.
    pub server: Addr,
    /// The client's port.
    pub client_port: u16,
    /// The server's port.
    pub server_port: u16,
    /// TCP or UDP.
    pub protocol: u8,
    /// Received by the client, or sent.
    pub is_answer: bool,
    /// A message over UDP, a segment over TCP; perhaps not all of it.
    pub payload: &'a [u8],
    /// Bytes of payload that there were.
    pub length: u32,
}

impl<'a> Captured<'a> {
    /// Reads `struct dns_record` and what follows it; `None` where the bytes are none.
    pub fn read(bytes: &'a [u8]) -> Option<Captured<'a>> {
        let (head, payload) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let addr = |at: usize| head.get(at..)?.first_chunk().map(|octets| Addr::from_v6(*octets));
        let two = |at: usize| head.get(at..)?.first_chunk::<2>().copied();
        let copied = usize::from(two(36).map(u16::from_ne_bytes)?);
        let is_answer = head[45] != 0;
        let source = (addr(0)?, two(32).map(u16::from_be_bytes)?);
        let dest = (addr(16)?, two(34).map(u16::from_be_bytes)?);
        let (client, server) = if is_answer { (dest, source) } else { (source, dest) };
        Some(Captured {
            client: client.0,
            server: server.0,
            client_port: client.1,
            server_port: server.1,
            protocol: head[44],
            is_answer,
            payload: payload.get(..copied)?,
            length: u32::from_ne_bytes([head[40], head[41], head[42], head[43]]),
        })
    }

    /// Whether more came than was copied.
    pub fn is_cut(&self) -> bool {
        (self.payload.len() as u64) < u64::from(self.length)
    }
}

/// What the programs have counted since they were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Answers.
    pub answers: u64,
    /// Answers that found no room in the ring buffer.
    pub answers_lost: u64,
    /// Questions that found none; their answers will be called unasked.
    pub questions_lost: u64,
}

/// What runs in the kernel, and its ring buffer.
pub struct Capture {
    ring: RingBuffer<'static>,
    stats: MapHandle,
    reader: PerCpuReader,
    /// Detach when dropped.
    links: [Link; 2],
}

impl Capture {
    /// Loads and attaches; `each` gets what [`Capture::consume`] reads. Call it before threads start: libbpf's log is
    /// captured process-wide meanwhile.
    pub fn open(
        cgroup_root: Option<&Path>,
        ports: &[u16],
        each: impl FnMut(&Captured<'_>) + Send + 'static,
    ) -> Result<Capture, LoadError> {
        explained(cgroup_root, |cgroup| Capture::load(cgroup, ports, each))
    }

    fn load(
        cgroup: BorrowedFd<'_>,
        ports: &[u16],
        mut each: impl FnMut(&Captured<'_>) + Send + 'static,
    ) -> Result<Capture, Failure> {
        let mut object = MaybeUninit::uninit();
        let mut open = DnsSkelBuilder::default().open(&mut object).map_err(Failure::at("open"))?;
        if let Some(rodata) = open.maps.rodata_data.as_mut() {
            rodata.ports = std::array::from_fn(|n| ports.get(n).map_or(0, |port| port.to_be()));
        }
        let skeleton = open.load().map_err(Failure::at("load"))?;
        let ring = ring_of(&skeleton.maps.records, move |bytes| {
            if let Some(captured) = Captured::read(bytes) {
                each(&captured);
            }
        })?;
        let stats = MapHandle::try_from(&skeleton.maps.stats).map_err(Failure::at("hold"))?;
        let reader = PerCpuReader::new(STATS_BYTES).map_err(Failure::of_system("count CPUs for"))?;
        let ingress = skeleton.progs.dns_ingress.attach_cgroup(cgroup.as_raw_fd()).map_err(Failure::at("attach"))?;
        let egress = skeleton.progs.dns_egress.attach_cgroup(cgroup.as_raw_fd()).map_err(Failure::at("attach"))?;
        Ok(Capture { ring, stats, reader, links: [ingress, egress] })
    }

    /// Readable as long as there is something to consume.
    pub fn fd(&self) -> RawFd {
        self.ring.epoll_fd()
    }

    /// Reads what is in the ring buffer, perhaps not all of it: poll again.
    pub fn consume(&mut self) -> std::io::Result<()> {
        let result = self.ring.consume_raw_n(MOST_RECORDS);
        if result < 0 { Err(std::io::Error::from_raw_os_error(-result)) } else { Ok(()) }
    }

    /// What the programs have counted.
    pub fn seen(&mut self) -> std::io::Result<Seen> {
        let mut sum = [0u64; 3];
        for of_cpu in self.reader.read(self.stats.as_fd(), 0)? {
            for (sum, number) in sum.iter_mut().zip(of_cpu.chunks_exact(8)) {
                *sum += number.first_chunk().copied().map_or(0, u64::from_ne_bytes);
            }
        }
        Ok(Seen { answers: sum[0], answers_lost: sum[1], questions_lost: sum[2] })
    }

    /// Whether the programs still hang where they were attached.
    pub fn is_attached(&self) -> bool {
        are_attached(&self.links)
    }
}
