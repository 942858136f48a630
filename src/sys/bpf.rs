//! Reads of BPF maps that libbpf-rs has no sound call for: batches that empty a hash, and per-CPU values into a
//! buffer of ours.
//!
//! libbpf-rs's own batch calls take a short batch for the last one, although the kernel returns short batches whenever
//! the next bucket does not fit; entries are lost without an error. Knows nothing of what keys and values mean.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Entries asked for in one call. More does not pay (310 ns an entry either way), and the buffers stay resident.
const BATCH: u32 = 4096;

/// Empties hash maps of one key and value size into buffers that are made once.
#[derive(Debug)]
pub struct BatchReader {
    keys: Vec<u8>,
    values: Vec<u8>,
    key_bytes: usize,
    value_bytes: usize,
    capacity: u32,
}

impl BatchReader {
    /// For maps with keys and values of these sizes, and with at most `entries` entries.
    pub fn new(key_bytes: usize, value_bytes: usize, entries: u32) -> BatchReader {
        let capacity = BATCH.min(entries.max(1));
        BatchReader {
            keys: vec![0; key_bytes * capacity as usize],
            values: vec![0; value_bytes * capacity as usize],
            key_bytes,
            value_bytes,
            capacity,
        }
    }

    /// Removes every entry of `map` and hands it over. The map must not be written to meanwhile, or what is written may
    /// be missed; and it must have the sizes this reader was made for, else the call fails with `EINVAL`.
    pub fn drain(&mut self, map: BorrowedFd<'_>, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<u64> {
        let opts = libbpf_sys::bpf_map_batch_opts {
            sz: size_of::<libbpf_sys::bpf_map_batch_opts>() as libbpf_sys::size_t,
            ..Default::default()
        };
        check_sizes(map, self.key_bytes, self.value_bytes)?;
        let mut token = 0u32;
        let mut first = true;
        let mut total = 0u64;
        loop {
            let mut count = self.capacity;
            let mut next = 0u32;
            let given = if first { std::ptr::null_mut() } else { (&raw mut token).cast() };
            // SAFETY: the kernel writes at most `count` keys and values of the map's sizes, which `check_sizes` has
            // found equal to those the buffers were made for `capacity` times; a hash map's token is four bytes.
            let result = unsafe {
                libbpf_sys::bpf_map_lookup_and_delete_batch(
                    map.as_raw_fd(),
                    given,
                    (&raw mut next).cast(),
                    self.keys.as_mut_ptr().cast(),
                    self.values.as_mut_ptr().cast(),
                    &raw mut count,
                    &raw const opts,
                )
            };
            let errno = -result;
            // One bucket holds more than fits; the kernel took nothing and the token still stands.
            if errno == nix::libc::ENOSPC {
                self.grow();
                continue;
            }
            // "No such entry" says that the last bucket was read; what it brought counts.
            let last = errno == nix::libc::ENOENT;
            if result < 0 && !last {
                return Err(io::Error::from_raw_os_error(errno));
            }
            let count = count.min(self.capacity) as usize;
            for (key, value) in
                self.keys.chunks_exact(self.key_bytes).zip(self.values.chunks_exact(self.value_bytes)).take(count)
            {
                each(key, value);
            }
            total += count as u64;
            if last {
                return Ok(total);
            }
            token = next;
            first = false;
        }
    }

    fn grow(&mut self) {
        self.capacity = self.capacity.saturating_mul(2);
        self.keys.resize(self.key_bytes * self.capacity as usize, 0);
        self.values.resize(self.value_bytes * self.capacity as usize, 0);
    }
}

/// Reads one entry of a per-CPU array into a buffer that is made once.
#[derive(Debug)]
pub struct PerCpuReader {
    values: Vec<u8>,
    value_bytes: usize,
    stride: usize,
}

impl PerCpuReader {
    /// For maps with values of this size and keys of four bytes.
    pub fn new(value_bytes: usize) -> io::Result<PerCpuReader> {
        let cpus = libbpf_rs::num_possible_cpus().map_err(|error| io::Error::other(error.to_string()))?;
        let stride = value_bytes.next_multiple_of(8);
        Ok(PerCpuReader { values: vec![0; stride * cpus], value_bytes, stride })
    }

    /// The values of entry `index`, one per possible CPU.
    pub fn read(&mut self, map: BorrowedFd<'_>, index: u32) -> io::Result<impl Iterator<Item = &[u8]>> {
        check_sizes(map, 4, self.value_bytes)?;
        // SAFETY: the kernel writes the value, rounded up to eight bytes, once per possible CPU; the buffer was made
        // for just that, and `check_sizes` has found the map's value size to be ours.
        let result = unsafe {
            libbpf_sys::bpf_map_lookup_elem(map.as_raw_fd(), (&raw const index).cast(), self.values.as_mut_ptr().cast())
        };
        if result < 0 {
            return Err(io::Error::from_raw_os_error(-result));
        }
        Ok(self.values.chunks_exact(self.stride).filter_map(|value| value.get(..self.value_bytes)))
    }
}

/// Fails with `EINVAL` where the map's keys and values are not of these sizes.
fn check_sizes(map: BorrowedFd<'_>, key_bytes: usize, value_bytes: usize) -> io::Result<()> {
    let mut info = libbpf_sys::bpf_map_info::default();
    let mut len = size_of::<libbpf_sys::bpf_map_info>() as u32;
    // SAFETY: `info` is `len` bytes long, and the kernel writes no more than that.
    let result = unsafe { libbpf_sys::bpf_map_get_info_by_fd(map.as_raw_fd(), &raw mut info, &raw mut len) };
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    if info.key_size as usize != key_bytes || info.value_size as usize != value_bytes {
        return Err(io::Error::from_raw_os_error(nix::libc::EINVAL));
    }
    Ok(())
}
