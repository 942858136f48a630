//! A file in memory stands in for the map: it is mapped by the same calls, and says no of nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::sys::memfd::{MFdFlags, memfd_create};

use super::walk::{BUSY, DISCARDED};
use super::*;

struct Bench {
    file: File,
    ring: Ring,
    page: u64,
    size: u64,
    /// The writers' position.
    to: u64,
}

impl Bench {
    /// A ring of `pages` pages whose positions both stand at `at`.
    fn new(pages: u64, at: u64) -> Bench {
        let page = sysconf(SysconfVar::PAGE_SIZE).expect("a size").expect("known") as u64;
        let size = pages * page;
        let file = File::from(memfd_create(c"ring", MFdFlags::MFD_CLOEXEC).expect("a file in memory"));
        file.set_len(2 * page + 2 * size).expect("room");
        for offset in [0, page] {
            file.write_all_at(&at.to_ne_bytes(), offset).expect("written");
        }
        let ring = Ring::over(file.try_clone().expect("a descriptor").into(), size).expect("mapped");
        Bench { file, ring, page, size, to: at }
    }

    /// Both views of the data.
    fn put(&self, at: u64, bytes: &[u8]) {
        for (byte, n) in bytes.iter().zip(0..) {
            let offset = 2 * self.page + at.wrapping_add(n) % self.size;
            for view in [0, self.size] {
                self.file.write_all_at(&[*byte], offset + view).expect("written");
            }
        }
    }

    fn tell(&mut self, to: u64) {
        self.to = to;
        self.file.write_all_at(&to.to_ne_bytes(), self.page).expect("written");
    }

    fn write(&mut self, word: u32, payload: &[u8]) -> u64 {
        let at = self.to;
        self.put(at, &word.to_ne_bytes());
        self.put(at.wrapping_add(HEAD_BYTES), payload);
        self.tell(at.wrapping_add((HEAD_BYTES + payload.len() as u64).next_multiple_of(HEAD_BYTES)));
        at
    }

    fn read(&mut self) -> (Vec<Vec<u8>>, io::Result<()>) {
        let mut read = Vec::new();
        let ended = self.ring.consume(&mut |bytes| read.push(bytes.to_vec()));
        (read, ended)
    }

    fn position(&self) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 0).expect("read");
        u64::from_ne_bytes(bytes)
    }
}

#[test]
fn records_are_read_through_the_ring_and_over_its_end_and_that_of_the_positions() {
    for start in [0, 0u64.wrapping_sub(2 * 4096 * 16)] {
        let mut b = Bench::new(2, start);
        let mut n = 0usize;
        while b.to.wrapping_sub(start) < 10 * b.size {
            let payload = vec![n as u8; n * 37 % 3000];
            b.write(payload.len() as u32, &payload);
            let (read, ended) = b.read();
            assert!(ended.is_ok() && read == [payload], "record {n}: {ended:?}");
            assert_eq!(b.position(), b.to);
            n += 1;
        }
    }
}

/// The first within the pages that are mapped by then, the second beyond them.
#[test]
fn what_comes_while_one_is_read_is_read_in_the_same_turn() {
    let mut b = Bench::new(4, 0);
    b.write(1, b"a");
    let long = b.page as usize;
    let (mut ends, mut at) = (vec![], b.to);
    for len in [5, long] {
        b.put(at, &(len as u32).to_ne_bytes());
        at += (HEAD_BYTES + len as u64).next_multiple_of(HEAD_BYTES);
        ends.insert(0, at);
    }
    let mut read = Vec::new();
    let taken = b.ring.consume(&mut |bytes| {
        if let Some(end) = ends.pop() {
            b.file.write_all_at(&end.to_ne_bytes(), b.page).expect("written");
        }
        read.push(bytes.len());
    });
    assert!(taken.is_ok() && read == [1, 5, long], "{read:?}, {taken:?}");
}

#[test]
fn an_unfinished_record_stays_and_a_discarded_one_goes() {
    let mut b = Bench::new(1, 0);
    b.write(3 | DISCARDED, b"bad");
    let busy = b.write(4 | BUSY, b"soon");
    assert!(matches!(b.read(), (read, Ok(())) if read.is_empty()));
    assert_eq!(b.position(), busy);
    b.put(busy, &4u32.to_ne_bytes());
    assert!(matches!(b.read(), (read, Ok(())) if read == [b"soon".to_vec()]));
    assert_eq!(b.position(), b.to);
}

#[test]
fn what_makes_no_sense_is_said_once_and_left_out() {
    type Spoil = fn(&mut Bench);
    let spoils: [(&str, Spoil); 4] = [
        ("a length beyond the end", |b| assert!(b.write(5_000, b"123") > 0)),
        ("a length beyond all", |b| assert!(b.write(DISCARDED - 1, b"123") > 0)),
        ("more than the ring holds", |b| b.tell(b.to + b.size + 8)),
        ("a position behind the reader's", |b| b.tell(b.to - 16)),
    ];
    for (what, spoil) in spoils {
        let mut b = Bench::new(1, 4096);
        b.write(3, b"one");
        assert!(b.read().1.is_ok());
        spoil(&mut b);
        let (read, ended) = b.read();
        assert!(read.is_empty() && ended.is_err_and(|e| e.to_string().starts_with("no record stands at")), "{what}");
        assert_eq!(b.position(), b.to, "{what}");
        assert!(matches!(b.read(), (read, Ok(())) if read.is_empty()), "{what}: said once");
        b.write(3, b"two");
        assert!(matches!(b.read(), (read, Ok(())) if read == [b"two".to_vec()]), "{what}: goes on");
    }
}

#[test]
fn another_map_is_refused() {
    let file = File::from(memfd_create(c"none", MFdFlags::MFD_CLOEXEC).expect("a file in memory"));
    assert!(Ring::open(file.as_fd()).is_err());
}
