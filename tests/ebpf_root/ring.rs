//! Our reader of ring buffers against the kernel's: what a program puts in comes out, and no page stays mapped.

use std::fs;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{ProgramInput, ProgramMut};
use netmon::clock::{self, MS, SECOND};
use netmon::sys::poll;
use netmon::sys::ring::Ring;

use crate::bench::TURN;

#[allow(unsafe_code, clippy::undocumented_unsafe_blocks, missing_docs)]
mod skeleton {
    include!(concat!(env!("OUT_DIR"), "/ring.skel.rs"));
}

use skeleton::{RingSkel, RingSkelBuilder};

const RING_BYTES: usize = 64 * 1024;
/// As many as a frame of TEST_RUN holds with ease.
const MOST_BYTES: usize = 3_500;
const ETHERNET_BYTES: usize = 14;

fn load(object: &mut MaybeUninit<libbpf_rs::OpenObject>) -> RingSkel<'_> {
    RingSkelBuilder::default().open(object).expect("open").load().expect("load (root needed)")
}

/// The `n`th record: its number, and a filling whose length is another each time.
fn record(n: u32) -> Vec<u8> {
    let len = 4 + (n as usize * 1_117) % (MOST_BYTES - 4);
    let filling = (0..len - 4).map(|at| (at as u32 ^ n) as u8);
    n.to_le_bytes().into_iter().chain(filling).collect()
}

/// Makes a record of `bytes` in the kernel; whether there was room.
fn put(program: &ProgramMut<'_>, bytes: &[u8]) -> bool {
    let mut frame = vec![2; ETHERNET_BYTES];
    frame[12..].copy_from_slice(&[0x88, 0xb5]);
    frame.extend(bytes);
    let input = ProgramInput { data_in: Some(&frame), repeat: 1, ..ProgramInput::default() };
    program.test_run(input).expect("the program runs").return_value == 1
}

/// Pages of BPF maps that are mapped, by their place in the map: the part of ring buffers that holds their data.
fn pages_of_data() -> usize {
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).expect("known").expect("a size") as u64;
    let smaps = fs::read_to_string("/proc/self/smaps").expect("our own mappings");
    let of_maps = smaps.lines().filter(|line| line.ends_with("anon_inode:bpf-map"));
    let pages = of_maps.map(|line| {
        let mut fields = line.split([' ', '-']);
        let mut next = || u64::from_str_radix(fields.next().expect("a field"), 16);
        let (start, end) = (next().expect("an address"), next().expect("an address"));
        let offset = u64::from_str_radix(line.split(' ').nth(2).expect("an offset"), 16).expect("a number");
        (offset + end - start).saturating_sub(offset.max(2 * page)) / page
    });
    pages.sum::<u64>() as usize
}

#[test]
fn root_every_record_of_a_ring_comes_once_and_in_order() {
    const RECORDS: u32 = 2_000;
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut object = MaybeUninit::uninit();
    let skeleton = load(&mut object);
    let mut ring = Ring::open(skeleton.maps.ring.as_fd()).expect("a ring buffer");
    let mut full = 0;
    let (mut ring, bytes, most_pages) = std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let (mut next, mut bytes, mut most_pages) = (0, 0, 0);
            let deadline = clock::now().mono_ns + 120 * SECOND;
            while next < RECORDS {
                assert!(clock::now().mono_ns < deadline, "only {next} records came");
                if poll::readable(&[ring.fd()], SECOND) == 0 {
                    continue;
                }
                let taken = ring.consume(&mut |got| {
                    assert!(got == record(next), "{} bytes instead of record {next}", got.len());
                    next += 1;
                    bytes += got.len();
                    if next.is_multiple_of(64) {
                        most_pages = most_pages.max(pages_of_data());
                        // Meanwhile the writer runs on until the ring is full.
                        clock::sleep_ns(5 * MS);
                    }
                });
                taken.expect("records");
            }
            (ring, bytes, most_pages)
        });
        for n in 0..RECORDS {
            let record = record(n);
            while !reader.is_finished() && !put(&skeleton.progs.record, &record) {
                full += 1;
                clock::sleep_ns(MS / 10);
            }
        }
        reader.join().expect("the reader")
    });
    // What was given up behind the last.
    ring.consume(&mut |got| panic!("{} bytes more", got.len())).expect("nothing");
    assert_eq!(poll::readable(&[ring.fd()], 0), 0, "there are no more");
    assert!(bytes > 20 * RING_BYTES, "{bytes} bytes are not many turns of the ring");
    assert!(full > 0, "the ring was never full");
    // One page more than the ring has where neither its first byte nor its last is that of a page.
    let page_bytes = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).expect("known").expect("a size");
    assert!((1..=RING_BYTES / page_bytes as usize + 1).contains(&most_pages), "{most_pages} pages were mapped");
    assert_eq!(pages_of_data(), 0, "nothing stays mapped");
    println!("{bytes} bytes in {RECORDS} records, {full} times full, at most {most_pages} pages mapped");
}

#[test]
fn root_a_ring_that_is_read_late_is_full_before_anything_is_refused() {
    let _turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let mut object = MaybeUninit::uninit();
    let skeleton = load(&mut object);
    let mut ring = Ring::open(skeleton.maps.ring.as_fd()).expect("a ring buffer");
    let (mut written, mut read) = (0u32, 0u32);
    for turn in 0..5 {
        let mut held = 0;
        while put(&skeleton.progs.record, &record(written)) {
            held += 8 + record(written).len().next_multiple_of(8) + if written % 2 == 1 { 48 } else { 0 };
            written += 1;
        }
        assert!(held + 8 + record(written).len() + 48 >= RING_BYTES, "turn {turn}: refused at {held} bytes");
        assert_eq!(poll::readable(&[ring.fd()], 0), 1);
        assert_eq!(pages_of_data(), 0);
        let taken = ring.consume(&mut |got| {
            assert!(got == record(read), "{} bytes instead of record {read}", got.len());
            read += 1;
        });
        taken.expect("records");
        assert_eq!((read, pages_of_data()), (written, 0), "turn {turn}");
        assert_eq!(poll::readable(&[ring.fd()], 0), 0);
    }
}
