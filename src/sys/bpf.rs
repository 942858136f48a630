//! Reads BPF maps where libbpf-rs has no sound call: batches that read or empty a hash, and per-CPU values into our own
//! buffer.
//!
//! libbpf-rs's own batch calls take a short batch for the last one. But the kernel returns short batches whenever the
//! next bucket does not fit, so entries are lost without an error. Knows nothing of what keys and values mean.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Entries asked for in one call. More does not pay (310 ns an entry either way), and the buffers stay resident.
const BATCH: u32 = 4096;
/// Entries that a buffer grows to where one bucket of the map holds more; beyond it the map is not read.
const LARGEST_BATCH: u32 = 1 << 17;
/// The kernel's errno for an operation that a map type does not have (`include/linux/errno.h`; not in libc).
const ENOTSUPP: i32 = 524;

/// `BPF_MAP_TYPE_HASH` and `BPF_MAP_TYPE_LRU_HASH`: one value for a key. Of maps per CPU the kernel copies more than the size
/// that it tells.
pub const HASHES: [u32; 2] = [1, 9];
/// `BPF_MAP_TYPE_LPM_TRIE`: one value for a range, and the keys in order of address, ranges behind what is in them.
pub const LPM_TRIE: u32 = 11;
/// What marks the place between two batches: four bytes of a hash, a key of a trie, and never more than this.
type Token = [u64; 4];

/// The kernel's description of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapInfo {
    /// Its id: never that of another map while this one lives.
    pub id: u32,
    /// `BPF_MAP_TYPE_…`.
    pub kind: u32,
    /// Size of a key.
    pub key_bytes: usize,
    /// Size of a value.
    pub value_bytes: usize,
    /// Entries that it holds at most.
    pub max_entries: u32,
}

/// Opens a map by its pin, for reading.
pub fn open_pinned(path: &CStr) -> io::Result<OwnedFd> {
    let opts = libbpf_sys::bpf_obj_get_opts {
        sz: size_of::<libbpf_sys::bpf_obj_get_opts>() as libbpf_sys::size_t,
        file_flags: libbpf_sys::BPF_F_RDONLY,
        ..Default::default()
    };
    // SAFETY: a path that ends in 0 and options that say their size.
    let result = unsafe { libbpf_sys::bpf_obj_get_opts(path.as_ptr(), &raw const opts) };
    check(result)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(result) })
}

/// A pinned map, open for reading.
#[derive(Debug)]
pub struct PinnedMap {
    fd: OwnedFd,
    info: MapInfo,
}

impl PinnedMap {
    /// Opens it by its pin.
    pub fn open(path: &CStr) -> io::Result<PinnedMap> {
        let fd = open_pinned(path)?;
        let info = info(fd.as_fd())?;
        Ok(PinnedMap { fd, info })
    }

    /// Reads the kernel's description.
    pub fn info(&self) -> &MapInfo {
        &self.info
    }

    /// Copies the value of `key` into `value`; whether there is one. It must be a hash and both must have its sizes, else it
    /// fails with `EINVAL`.
    pub fn look_up(&self, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
        let sizes = (self.info.key_bytes, self.info.value_bytes);
        if !HASHES.contains(&self.info.kind) || (key.len(), value.len()) != sizes {
            return Err(io::Error::from_raw_os_error(nix::libc::EINVAL));
        }
        let (fd, value) = (self.fd.as_raw_fd(), value.as_mut_ptr().cast());
        // SAFETY: key and value have the sizes that the kernel reported for this very map, and they never change. Of a
        // hash that is not per CPU the kernel copies just one value of that size.
        match check(unsafe { libbpf_sys::bpf_map_lookup_elem(fd, key.as_ptr().cast(), value) }) {
            Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(false),
            found => found.map(|()| true),
        }
    }
}

impl AsFd for PinnedMap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// What the kernel says of `map`.
#[allow(clippy::cast_possible_truncation, reason = "the size of a struct")]
pub fn info(map: BorrowedFd<'_>) -> io::Result<MapInfo> {
    let mut info = libbpf_sys::bpf_map_info::default();
    let mut len = size_of::<libbpf_sys::bpf_map_info>() as u32;
    // SAFETY: `info` is `len` bytes long, and the kernel writes no more than that.
    check(unsafe { libbpf_sys::bpf_map_get_info_by_fd(map.as_raw_fd(), &raw mut info, &raw mut len) })?;
    Ok(MapInfo {
        id: info.id,
        kind: info.type_,
        key_bytes: info.key_size as usize,
        value_bytes: info.value_size as usize,
        max_entries: info.max_entries,
    })
}

/// The programs of a kind that are attached to a cgroup itself, not to one above it. Their flags show whether another
/// program fits beside them (bpf(2), `BPF_PROG_QUERY`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    pub first_id: u32,
    pub count: u32,
    pub flags: u32,
}

/// What hangs at `cgroup` for ingress or egress; `None` if nothing does.
pub fn attached(cgroup: BorrowedFd<'_>, egress: bool) -> io::Result<Option<Attached>> {
    let kind = if egress { libbpf_sys::BPF_CGROUP_INET_EGRESS } else { libbpf_sys::BPF_CGROUP_INET_INGRESS };
    let (mut flags, mut ids, mut count) = (0, [0u32; 64], 64);
    // SAFETY: `ids` holds `count` ids, and the kernel writes no more than that.
    let result = unsafe {
        let fd = cgroup.as_raw_fd();
        libbpf_sys::bpf_prog_query(fd, kind, 0, &raw mut flags, ids.as_mut_ptr(), &raw mut count)
    };
    check(result)?;
    Ok((count > 0).then_some(Attached { first_id: ids[0], count, flags }))
}

/// The name of a program; `None` where the kernel does not tell it (it asks for CAP_SYS_ADMIN), or it has none.
#[allow(clippy::cast_possible_truncation, reason = "the size of a struct")]
pub fn program_name(id: u32) -> Option<String> {
    // SAFETY: takes a number.
    let result = unsafe { libbpf_sys::bpf_prog_get_fd_by_id(id) };
    check(result).ok()?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    let fd = unsafe { OwnedFd::from_raw_fd(result) };
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut len = size_of::<libbpf_sys::bpf_prog_info>() as u32;
    // SAFETY: `info` is `len` bytes long, and the kernel writes no more than that.
    check(unsafe { libbpf_sys::bpf_prog_get_info_by_fd(fd.as_raw_fd(), &raw mut info, &raw mut len) }).ok()?;
    let name: String = info.name.iter().map(|c| c.to_ne_bytes()[0] as char).take_while(|c| *c != '\0').collect();
    (!name.is_empty()).then_some(name)
}

/// Takes libbpf's results, which are the negative errno.
fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(()) }
}

/// Reads or empties hash maps of one key and value size, into buffers that are made once.
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
        // Two at least: an entry and its successor.
        let capacity = entries.clamp(2, BATCH);
        BatchReader {
            keys: vec![0; key_bytes * capacity as usize],
            values: vec![0; value_bytes * capacity as usize],
            key_bytes,
            value_bytes,
            capacity,
        }
    }

    /// Removes every entry of `map` and hands it over. The map must not be written to meanwhile, or what is written may
    /// be missed. It must have the sizes this reader was made for, else the call fails with `EINVAL`.
    pub fn drain(&mut self, map: BorrowedFd<'_>, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<u64> {
        self.batches(map, true, each).map(|(total, _)| total)
    }

    /// Hands over every entry of `map`, which others may write to meanwhile. An entry that exists all the time arrives
    /// once, or a few times where the kernel has no batches for the map. Returns how many arrived and whether they are
    /// all.
    pub fn read(&mut self, map: BorrowedFd<'_>, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<(u64, bool)> {
        match self.batches(map, false, each) {
            Err(error) if matches!(error.raw_os_error(), Some(nix::libc::EINVAL | ENOTSUPP)) => self.walk(map, each),
            read => read,
        }
    }

    fn batches(
        &mut self,
        map: BorrowedFd<'_>,
        and_delete: bool,
        each: &mut dyn FnMut(&[u8], &[u8]),
    ) -> io::Result<(u64, bool)> {
        let opts = libbpf_sys::bpf_map_batch_opts {
            sz: size_of::<libbpf_sys::bpf_map_batch_opts>() as libbpf_sys::size_t,
            ..Default::default()
        };
        let call = match and_delete {
            true => libbpf_sys::bpf_map_lookup_and_delete_batch,
            false => libbpf_sys::bpf_map_lookup_batch,
        };
        let bound = self.bound(map)?;
        let mut token = Token::default();
        let mut first = true;
        let mut total = 0u64;
        while total < bound {
            let mut count = self.capacity;
            let mut next = Token::default();
            let given = if first { std::ptr::null_mut() } else { (&raw mut token).cast() };
            // SAFETY: the kernel writes at most `count` keys and values of the map's sizes. `bound` has found these
            // equal to the sizes that the buffers were made for, `capacity` times each. The token has room for what the
            // kernel writes.
            let result = unsafe {
                call(
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
            if errno == nix::libc::ENOSPC && self.capacity < LARGEST_BATCH {
                self.grow();
                continue;
            }
            // "No such entry" says that the last bucket was read; what it brought counts.
            let last = errno == nix::libc::ENOENT;
            if !last {
                check(result)?;
            }
            let count = count.min(self.capacity) as usize;
            for (key, value) in
                self.keys.chunks_exact(self.key_bytes).zip(self.values.chunks_exact(self.value_bytes)).take(count)
            {
                each(key, value);
            }
            total += count as u64;
            if last {
                return Ok((total, true));
            }
            token = next;
            first = false;
        }
        Ok((total, false))
    }

    /// As [`BatchReader::read`], entry by entry: for kernels before 5.6.
    pub fn walk(&mut self, map: BorrowedFd<'_>, each: &mut dyn FnMut(&[u8], &[u8])) -> io::Result<(u64, bool)> {
        let bound = self.bound(map)?;
        let (fd, value) = (map.as_raw_fd(), self.values.as_mut_ptr());
        let mut total = 0;
        let mut has_previous = false;
        for _ in 0..bound {
            let (previous, current) = self.keys.split_at_mut(self.key_bytes);
            let given = if has_previous { previous.as_ptr() } else { std::ptr::null() };
            // SAFETY: both keys are of the map's size, as `bound` has found; none stands for "the first".
            match check(unsafe { libbpf_sys::bpf_map_get_next_key(fd, given.cast(), current.as_mut_ptr().cast()) }) {
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => return Ok((total, true)),
                next => next?,
            }
            // SAFETY: as above; the kernel writes one value.
            match check(unsafe { libbpf_sys::bpf_map_lookup_elem(fd, current.as_ptr().cast(), value.cast()) }) {
                // Gone since: its predecessor has another successor now. Were that one gone too, the kernel would begin
                // anew, which is why there is a bound.
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => continue,
                found => found?,
            }
            let current = &current[..self.key_bytes];
            each(current, &self.values[..self.value_bytes]);
            total += 1;
            previous.copy_from_slice(current);
            has_previous = true;
        }
        Ok((total, false))
    }

    fn grow(&mut self) {
        self.capacity = self.capacity.saturating_mul(2);
        self.keys.resize(self.key_bytes * self.capacity as usize, 0);
        self.values.resize(self.value_bytes * self.capacity as usize, 0);
    }

    /// How many entries are read at most: a trie in which the last key read is gone begins anew. Fails with `EINVAL` where
    /// the map is none that is read here, or its keys and values are not of our sizes.
    fn bound(&self, map: BorrowedFd<'_>) -> io::Result<u64> {
        let info = check_sizes(map, self.key_bytes, self.value_bytes)?;
        let has_room = HASHES.contains(&info.kind) || (info.kind == LPM_TRIE && self.key_bytes <= size_of::<Token>());
        if has_room {
            Ok(u64::from(info.max_entries) * 4)
        } else {
            Err(io::Error::from_raw_os_error(nix::libc::EINVAL))
        }
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
        // SAFETY: the kernel writes the value, rounded up to eight bytes, once per possible CPU. The buffer was made
        // for just that, and `check_sizes` has found the map's value size to be ours.
        let result = unsafe {
            libbpf_sys::bpf_map_lookup_elem(map.as_raw_fd(), (&raw const index).cast(), self.values.as_mut_ptr().cast())
        };
        check(result)?;
        Ok(self.values.chunks_exact(self.stride).filter_map(|value| value.get(..self.value_bytes)))
    }
}

/// Fails with `EINVAL` where the map's keys and values are not of these sizes.
fn check_sizes(map: BorrowedFd<'_>, key_bytes: usize, value_bytes: usize) -> io::Result<MapInfo> {
    let info = info(map)?;
    if (info.key_bytes, info.value_bytes) != (key_bytes, value_bytes) {
        return Err(io::Error::from_raw_os_error(nix::libc::EINVAL));
    }
    Ok(info)
}

/// Attaches a program that lets everything pass to `cgroup`, alone; gone when dropped.
#[cfg(test)]
pub fn exclusive_program(cgroup: &std::path::Path, name: &str) -> io::Result<Exclusive> {
    let insn = |code, imm| libbpf_sys::bpf_insn { code, imm, ..Default::default() };
    // r0 = 1; exit
    let insns = [insn(0xb7, 1), insn(0x95, 0)];
    let name = std::ffi::CString::new(name)?;
    // SAFETY: a name and a licence that end in 0, and two instructions.
    let result = unsafe {
        let (kind, none) = (libbpf_sys::BPF_PROG_TYPE_CGROUP_SKB, std::ptr::null_mut());
        libbpf_sys::bpf_prog_load(kind, name.as_ptr(), c"GPL".as_ptr(), insns.as_ptr(), 2, none)
    };
    check(result)?;
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    let program = unsafe { OwnedFd::from_raw_fd(result) };
    let cgroup = std::fs::File::open(cgroup)?;
    let (fd, at) = (program.as_raw_fd(), cgroup.as_raw_fd());
    // SAFETY: two descriptors that are open, and numbers.
    check(unsafe { libbpf_sys::bpf_prog_attach(fd, at, libbpf_sys::BPF_CGROUP_INET_EGRESS, 0) })?;
    Ok(Exclusive { program, cgroup })
}

/// See [`exclusive_program`].
#[cfg(test)]
pub struct Exclusive {
    program: OwnedFd,
    cgroup: std::fs::File,
}

#[cfg(test)]
impl Drop for Exclusive {
    fn drop(&mut self) {
        let (fd, at) = (self.program.as_raw_fd(), self.cgroup.as_raw_fd());
        // SAFETY: two descriptors that are open, and a number.
        unsafe { libbpf_sys::bpf_prog_detach2(fd, at, libbpf_sys::BPF_CGROUP_INET_EGRESS) };
    }
}
