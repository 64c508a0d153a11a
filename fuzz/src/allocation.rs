// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An allocator that counts, so that an input which buys too much memory is a finding.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Most octets that reading one message may hold at any time.
const LIVE_MAX: usize = 1 << 20;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

/// Does `work` and panics if it held more than 1 MiB above what was held before, at any time.
pub fn bounded<T>(work: impl FnOnce() -> T) -> T {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    let held = PEAK.get() - before;
    assert!(held <= LIVE_MAX, "{held} octets of memory for one message");
    result
}

fn taken(octets: usize) {
    LIVE.set(LIVE.get() + octets);
    PEAK.set(PEAK.get().max(LIVE.get()));
}

// SAFETY: every call goes to the system's allocator unchanged; only numbers are kept, in cells that need no allocation.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        taken(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both are held while the octets move.
        taken(size);
        LIVE.set(LIVE.get().saturating_sub(layout.size()));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}
