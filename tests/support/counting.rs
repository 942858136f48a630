//! An allocator that counts, for the tests and benches that promise not to allocate. A program makes it its own by
//! `#[global_allocator] static ALLOCATOR: Counting = Counting;`.

// The trait is unsafe to implement: the one place outside `src/sys` that is, and only in tests.
#![allow(unsafe_code)]
// Each program uses some of it.
#![allow(dead_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Allocations and growths by this thread, so that the harness's own threads do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes that this thread holds, and the most that it held.
    static HELD: Cell<(i64, i64)> = const { Cell::new((0, 0)) };
}

/// The system's allocator, counted.
pub struct Counting;

/// How often the calling thread has allocated or grown memory so far.
pub fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// What a function returns, and the most bytes that it held at once beyond those held before it.
pub fn peak_of<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let before = HELD.with(|cell| {
        cell.set((cell.get().0, cell.get().0));
        cell.get().0
    });
    let returned = run();
    (returned, (HELD.with(Cell::get).1 - before).max(0) as u64)
}

fn count() {
    // A thread that ends has no cell any more.
    let _ = ALLOCATIONS.try_with(|cell| cell.set(cell.get() + 1));
}

fn hold(bytes: i64) {
    let _ = HELD.try_with(|cell| {
        let (held, most) = cell.get();
        cell.set((held + bytes, most.max(held + bytes)));
    });
}

// SAFETY: every call goes to `System` as it came; counting neither allocates nor panics (a const-initialised cell without
// a destructor).
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size() as i64);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        hold(size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
