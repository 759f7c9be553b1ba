//! The system's allocator, counted for each thread: what a thread holds, and how often it has asked.
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: vestibule_counting::Counting = vestibule_counting::Counting;
//!
//! let before = vestibule_counting::held();
//! let kept = vec![0_u8; 1000];
//! assert_eq!(vestibule_counting::held() - before, 1000);
//! drop(kept);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static ASKED: Cell<usize> = const { Cell::new(0) };
}

/// Bytes that this thread has allocated less those it has freed.
#[must_use]
pub fn held() -> isize {
    HELD.with(Cell::get)
}

/// Allocations of this thread so far; to grow or shrink one counts, too.
#[must_use]
pub fn allocations() -> usize {
    ASKED.with(Cell::get)
}

fn hold(bytes: usize, sign: isize) {
    HELD.with(|held| held.set(held.get() + sign * bytes as isize));
}

fn ask() {
    ASKED.with(|asked| asked.set(asked.get() + 1));
}

/// Counts, and passes on to the system's allocator.
#[derive(Debug)]
pub struct Counting;

// SAFETY: every call is passed on unchanged to the system allocator, whose contract is the same; counting touches only
// thread-local `Cell`s without a destructor and allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        hold(layout.size(), 1);
        ask();
        // SAFETY: the caller keeps `alloc`'s contract, which is `System`'s.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        hold(layout.size(), 1);
        ask();
        // SAFETY: the caller keeps `alloc_zeroed`'s contract, which is `System`'s.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(layout.size(), -1);
        // SAFETY: `pointer` came from `alloc` above with the same layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        hold(layout.size(), -1);
        hold(size, 1);
        ask();
        // SAFETY: `pointer` came from `alloc` above with the same layout; the caller keeps `realloc`'s contract.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
