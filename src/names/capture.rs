//! Loads and attaches the DNS programs, and decodes their records.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::path::Path;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapHandle, RingBuffer};

use crate::flow::Addr;
use crate::sys::bpf::PerCpuReader;
use crate::sys::programs::{Failure, LoadError, are_attached, explained, ring_of};

/// The generated skeleton, which contains `unsafe`.
#[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/dns.skel.rs"));
}

use skeleton::DnsSkelBuilder;
use skeleton::types::dns_stats;

// The C side asserts the same number. It also asserts the size of the record's head, whose type is not generated here
// because no map contains it.
const _: () = assert!(size_of::<dns_stats>() == STATS_BYTES);

/// Largest payload that the programs copy (`LARGE`).
pub const MAX_PAYLOAD_BYTES: usize = 4096;
const HEAD_BYTES: usize = 56;
const STATS_BYTES: usize = 24;
/// Records taken at once, so that a flood of answers does not keep the thread from its other work.
const MOST_RECORDS: usize = 4096;

/// A question or an answer, as its client's socket sent or received it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Captured<'a> {
    /// The address that asks.
    pub client: Addr,
    /// The DNS server.
    pub server: Addr,
    pub client_port: u16,
    pub server_port: u16,
    pub protocol: u8,
    /// Cgroup of the client's socket: a loopback address is another in each network namespace.
    pub cgroup: u64,
    /// True for an answer that the client received, false for a question that it sent.
    pub is_answer: bool,
    /// A message over UDP or a segment over TCP; may be truncated.
    pub payload: &'a [u8],
    /// Payload bytes in the packet.
    pub length: u32,
}

impl<'a> Captured<'a> {
    /// Decodes `struct dns_record` and the payload after it. `None` if the bytes are too short.
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
            cgroup: head.last_chunk().copied().map_or(0, u64::from_ne_bytes),
            is_answer,
            payload: payload.get(..copied)?,
            length: u32::from_ne_bytes([head[40], head[41], head[42], head[43]]),
        })
    }

    /// Whether the payload is truncated.
    pub fn is_cut(&self) -> bool {
        (self.payload.len() as u64) < u64::from(self.length)
    }
}

/// Counters of the programs since they were loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub answers: u64,
    /// Answers dropped because the ring buffer was full.
    pub answers_lost: u64,
    /// Questions dropped for the same reason; their answers count as unasked.
    pub questions_lost: u64,
}

/// The attached programs and their ring buffer.
pub struct Capture {
    ring: RingBuffer<'static>,
    stats: MapHandle,
    reader: PerCpuReader,
    /// Detach the programs when dropped.
    links: [Link; 2],
}

impl Capture {
    /// Loads and attaches the programs. Call it before threads start, because it captures libbpf's log for the whole
    /// process.
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

    /// A descriptor that is readable while the ring buffer holds records.
    pub fn fd(&self) -> RawFd {
        self.ring.epoll_fd()
    }

    /// Passes on records of the ring buffer. Some may remain: poll again.
    pub fn consume(&mut self) -> std::io::Result<()> {
        let result = self.ring.consume_raw_n(MOST_RECORDS);
        if result < 0 { Err(std::io::Error::from_raw_os_error(-result)) } else { Ok(()) }
    }

    /// Reads the programs' counters.
    pub fn seen(&mut self) -> std::io::Result<Seen> {
        let mut sum = [0u64; 3];
        for of_cpu in self.reader.read(self.stats.as_fd(), 0)? {
            for (sum, number) in sum.iter_mut().zip(of_cpu.chunks_exact(8)) {
                *sum += number.first_chunk().copied().map_or(0, u64::from_ne_bytes);
            }
        }
        Ok(Seen { answers: sum[0], answers_lost: sum[1], questions_lost: sum[2] })
    }

    /// Whether the programs are still attached.
    pub fn is_attached(&self) -> bool {
        are_attached(&self.links)
    }
}
