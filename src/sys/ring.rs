//! Reads a BPF ring buffer that is mapped only while it is read. Knows nothing of what the records mean.
//!
//! libbpf's reader maps the ring for ever, and twice over, so that a record that goes over its end lies in one piece;
//! each page of it counts as resident, though it is the kernel's and there anyway. Ours keeps the page with the reader's
//! position and the one with the writers', and maps the pages between the two when there is something to read. The
//! kernel maps any part of its list of pages, which holds the data twice (`ringbuf_map_mmap`, `remap_vmalloc_range`).
//!
//! The kernel wakes who waits when it finishes the record that the reader's position stands at. Who reads late misses
//! nothing all the same: poll(2) looks at the positions, and says "readable" as long as they differ.
#![allow(unsafe_code)]

mod walk;

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use nix::libc::off_t;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::unistd::{SysconfVar, sysconf};

use super::bpf;
use walk::{HEAD_BYTES, Room, walk};

// Positions are the kernel's `unsigned long`, and are read as 64 bits. Half of them would wrap within hours.
const _: () = assert!(size_of::<usize>() == 8, "BPF ring buffers are read on 64-bit machines only");

/// The reading end; there must be no other of the same map.
#[derive(Debug)]
pub struct Ring {
    map: OwnedFd,
    size: u64,
    page_bytes: u64,
    consumer: Mapping,
    producer: Mapping,
}

impl Ring {
    /// Takes a map of type `BPF_MAP_TYPE_RINGBUF`; another fails with `EINVAL`.
    pub fn open(map: BorrowedFd<'_>) -> io::Result<Ring> {
        let info = bpf::info(map)?;
        if info.kind != libbpf_sys::BPF_MAP_TYPE_RINGBUF {
            return Err(io::Error::from_raw_os_error(nix::libc::EINVAL));
        }
        Ring::over(map.try_clone_to_owned()?, info.max_entries.into())
    }

    /// `map` is laid out as a ring buffer of `size` bytes of data.
    fn over(map: OwnedFd, size: u64) -> io::Result<Ring> {
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE)?.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(4096);
        let consumer = Mapping::new(map.as_fd(), 0, page_bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
        let producer = Mapping::new(map.as_fd(), page_bytes, page_bytes, ProtFlags::PROT_READ)?;
        Ok(Ring { map, size, page_bytes, consumer, producer })
    }

    /// Readable for poll(2) as long as there is something to consume, finished or not.
    pub fn fd(&self) -> RawFd {
        self.map.as_raw_fd()
    }

    /// Hands over the finished records, in order, until there are no more or as many came as the ring holds: poll again.
    ///
    /// # Errors
    /// Where the kernel refuses the mapping; the records stay. Where no records stand in it: all of them are left out.
    pub fn consume(&mut self, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut window: Option<Window> = None;
        let mut consumed = 0;
        while consumed < self.size {
            let (from, to) = (self.consumer.position(), self.producer.position());
            let waiting = to.wrapping_sub(from);
            if waiting == 0 {
                break;
            }
            if waiting > self.size || !from.is_multiple_of(HEAD_BYTES) {
                return Err(self.give_up(from, to));
            }
            let mapped = match window.take().filter(|window| window.holds(from, waiting)) {
                Some(window) => window,
                None => self.map_from(from, waiting)?,
            };
            let mut at = from;
            let walked = walk(&mapped, from, to, each, &mut |next| {
                at = next;
                self.consumer.set_position(next);
            });
            if walked.is_err() {
                return Err(self.give_up(at, to));
            }
            if at == from {
                break;
            }
            consumed += at.wrapping_sub(from);
            window = Some(mapped);
            // A program that finishes its record now either sees this position and wakes us, or is seen here.
            fence(Ordering::SeqCst);
        }
        Ok(())
    }

    /// Leaves everything out up to the producer's position.
    fn give_up(&self, at: u64, to: u64) -> io::Error {
        self.consumer.set_position(to);
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("no record stands at position {at} of the BPF ring buffer: what it held up to {to} is left out"),
        )
    }

    /// The pages of `len` bytes from position `from` on; `len` is at most the ring's size.
    fn map_from(&self, from: u64, len: u64) -> io::Result<Window> {
        let before = from % self.page_bytes;
        let offset = 2 * self.page_bytes + from % self.size - before;
        let whole = (before + len).next_multiple_of(self.page_bytes);
        let mapping = Mapping::new(self.map.as_fd(), offset, whole, ProtFlags::PROT_READ)?;
        Ok(Window { mapping, first: from.wrapping_sub(before) })
    }
}

/// Some pages of the map, unmapped when dropped.
#[derive(Debug)]
struct Mapping {
    start: NonNull<c_void>,
    len: usize,
}

// SAFETY: a mapping belongs to the process, not to the thread that made it, and nothing else holds its address.
unsafe impl Send for Mapping {}

impl Mapping {
    /// `offset` and `len` are multiples of a page.
    fn new(map: BorrowedFd<'_>, offset: u64, len: u64, protection: ProtFlags) -> io::Result<Mapping> {
        let out_of_range = |_| io::Error::from_raw_os_error(nix::libc::EOVERFLOW);
        let offset = off_t::try_from(offset).map_err(out_of_range)?;
        let len = NonZeroUsize::try_from(usize::try_from(len).map_err(out_of_range)?).map_err(out_of_range)?;
        // SAFETY: without an address and MAP_FIXED the kernel chooses a place where nothing is mapped yet.
        let start = unsafe { mmap(None, len, protection, MapFlags::MAP_SHARED, map, offset) }?;
        Ok(Mapping { start, len: len.get() })
    }

    /// The position that stands at the beginning; what was written before it is seen by whoever has seen it.
    fn position(&self) -> u64 {
        // SAFETY: the mapping is at least a page, so 8 bytes are there, aligned, as long as `self` lives; everybody who
        // writes them while they are mapped does so in one piece (the kernel, and `set_position`).
        let position = unsafe { self.start.cast::<AtomicU64>().as_ref() }.load(Ordering::Relaxed);
        // Not an acquiring load: those are not promised to work on pages that cannot be written.
        fence(Ordering::Acquire);
        position
    }

    /// Gives the room before `position` back to the programs. The mapping must be writable.
    fn set_position(&self, position: u64) {
        // SAFETY: as in `position`; only the consumer's page is written, which is mapped writable.
        unsafe { self.start.cast::<AtomicU64>().as_ref() }.store(position, Ordering::Release);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this very length; references into it borrow `self`, so none is left.
        let unmapped = unsafe { munmap(self.start, self.len) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}

/// The part of the data that is being read.
#[derive(Debug)]
struct Window {
    mapping: Mapping,
    /// Position of its first byte.
    first: u64,
}

impl Window {
    fn holds(&self, at: u64, len: u64) -> bool {
        let offset = at.wrapping_sub(self.first);
        offset.checked_add(len).is_some_and(|end| end <= self.mapping.len as u64)
    }

    /// Where the `len` bytes at `at` lie, if they are all inside.
    fn place(&self, at: u64, len: u64) -> Option<NonNull<u8>> {
        let offset = at.wrapping_sub(self.first) as usize;
        // SAFETY: `holds` has found the offset to be within the mapping, or at its end.
        self.holds(at, len).then(|| unsafe { self.mapping.start.cast::<u8>().add(offset) })
    }
}

impl Room for Window {
    fn head(&self, at: u64) -> Option<u32> {
        let place = self.place(at, HEAD_BYTES)?;
        if !at.is_multiple_of(HEAD_BYTES) {
            return None;
        }
        // SAFETY: `place` has found eight bytes inside; `first` and the mapping begin at a page, so four are aligned
        // where `at` is. The kernel writes this word in one piece.
        let word = unsafe { place.cast::<AtomicU32>().as_ref() }.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        Some(word)
    }

    fn bytes(&self, at: u64, len: u32) -> Option<&[u8]> {
        let place = self.place(at, len.into())?;
        // SAFETY: `place` has found them all inside. Nobody writes them while they are lent: `walk` asks for finished
        // records only, which the kernel leaves alone until the consumer's position has passed them, and that is moved
        // when the loan has ended.
        Some(unsafe { std::slice::from_raw_parts(place.as_ptr(), len as usize) })
    }
}

#[cfg(test)]
mod tests;
