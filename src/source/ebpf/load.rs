//! Loads the programs that count, and attaches them.
//!
//! What is returned are kernel handles only: libbpf's own object is freed at once. Detaches when dropped.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, RingBuffer};

use super::Settings;
use crate::sys::programs::{Failure, LoadError, explained, ring_of};

/// The generated skeleton, which is full of `unsafe`.
#[allow(unsafe_code, clippy::undocumented_unsafe_blocks)]
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/flow.skel.rs"));
}

use skeleton::FlowSkelBuilder;
use skeleton::types::{flow_fill, flow_stats, flow_value, flow4_key, flow6_key};

// The C side asserts the same numbers.
const _: () = assert!(size_of::<flow4_key>() == super::tuple::KEY4_BYTES);
const _: () = assert!(size_of::<flow6_key>() == super::tuple::KEY6_BYTES);
const _: () = assert!(size_of::<flow_value>() == super::tuple::VALUE_BYTES);
const _: () = assert!(size_of::<flow_stats>() == super::tuple::STATS_BYTES);
const _: () = assert!(size_of::<flow_fill>() == FILL_BYTES);

const FILL_BYTES: usize = 8;

/// Two buffers of one family and the slot that says which of them the programs fill.
pub struct Buffers {
    slot: MapHandle,
    pair: [MapHandle; 2],
    in_use: usize,
    family: u32,
}

impl Buffers {
    /// Gives the programs the other buffer. When this returns no program uses the one that is returned
    /// (kernel: maybe_wait_bpf_programs).
    pub fn swap(&mut self, fill: &MapHandle) -> Result<BorrowedFd<'_>, libbpf_rs::Error> {
        let next = 1 - self.in_use;
        let fd = self.pair[next].as_fd().as_raw_fd();
        self.slot.update(&0u32.to_ne_bytes(), &fd.to_ne_bytes(), MapFlags::ANY)?;
        let quiet = self.in_use;
        self.in_use = next;
        fill.update(&self.family.to_ne_bytes(), &[0; FILL_BYTES], MapFlags::ANY)?;
        Ok(self.pair[quiet].as_fd())
    }
}

/// What runs in the kernel.
pub struct Programs {
    /// IPv4 buffers.
    pub v4: Buffers,
    /// IPv6 buffers.
    pub v6: Buffers,
    /// Per-CPU `struct flow_stats`.
    pub stats: MapHandle,
    /// How full the buffers in use are.
    pub fill: MapHandle,
    /// Becomes readable when a drain is due.
    pub wake: RingBuffer<'static>,
    /// Detach when dropped.
    pub links: [Link; 2],
}

/// Loads and attaches. Call it before threads start: libbpf's log is captured process-wide meanwhile.
pub fn load(settings: &Settings) -> Result<Programs, LoadError> {
    explained(settings.cgroup_root.as_deref(), |cgroup| load_captured(settings, cgroup))
}

fn load_captured(settings: &Settings, cgroup: BorrowedFd<'_>) -> Result<Programs, Failure> {
    let mut object = MaybeUninit::uninit();
    let mut open = FlowSkelBuilder::default().open(&mut object).map_err(Failure::at("open"))?;
    for map in [&mut open.maps.flows4_a, &mut open.maps.flows4_b] {
        map.set_max_entries(settings.slots_v4.max(1)).map_err(Failure::at("size"))?;
    }
    for map in [&mut open.maps.flows6_a, &mut open.maps.flows6_b] {
        map.set_max_entries(settings.slots_v6.max(1)).map_err(Failure::at("size"))?;
    }
    if let Some(rodata) = open.maps.rodata_data.as_mut() {
        rodata.wake_at_v4 = wake_at(settings.slots_v4);
        rodata.wake_at_v6 = wake_at(settings.slots_v6);
    }
    let skeleton = open.load().map_err(Failure::at("load"))?;

    let handle = |map: &libbpf_rs::MapMut<'_>| MapHandle::try_from(map).map_err(Failure::at("hold"));
    let maps = &skeleton.maps;
    let v4 = Buffers {
        slot: handle(&maps.flows4)?,
        pair: [handle(&maps.flows4_a)?, handle(&maps.flows4_b)?],
        in_use: 0,
        family: 0,
    };
    let v6 = Buffers {
        slot: handle(&maps.flows6)?,
        pair: [handle(&maps.flows6_a)?, handle(&maps.flows6_b)?],
        in_use: 0,
        family: 1,
    };
    let wake = ring_of(&maps.wake, |_| ())?;
    let (stats, fill) = (handle(&maps.stats)?, handle(&maps.fill)?);

    let ingress = skeleton.progs.ingress.attach_cgroup(cgroup.as_raw_fd()).map_err(Failure::at("attach"))?;
    let egress = skeleton.progs.egress.attach_cgroup(cgroup.as_raw_fd()).map_err(Failure::at("attach"))?;
    Ok(Programs { v4, v6, stats, fill, wake, links: [ingress, egress] })
}

/// Three quarters: what comes while the agent wakes finds room.
fn wake_at(slots: u32) -> u32 {
    (slots / 4 * 3).max(1)
}
