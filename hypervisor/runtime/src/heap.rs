//! The heap: blocks of power-of-two sizes on free lists, cut from regions that are never returned.
//!
//! Invariant: a block of class `c` is `16 << c` bytes, aligned to the smaller of its size and 4096
//! bytes, and is either in use or on the list of its class.
#![expect(unsafe_code, reason = "an allocator hands out raw memory")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;

const CLASSES: usize = 27;

struct State {
    next: usize,
    end: usize,
    free: [usize; CLASSES],
}

/// The allocator of a program with one thread of execution.
pub struct Heap(UnsafeCell<State>);

// SAFETY: the programs have one processor and no interrupt handler that allocates.
unsafe impl Sync for Heap {}

impl Heap {
    /// A heap without memory.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(State { next: 0, end: 0, free: [0; CLASSES] }))
    }

    /// Makes `[start, start + len)` the region that new blocks are cut from.
    ///
    /// # Safety
    /// The range is mapped, writable and used by nothing else.
    pub unsafe fn give(&self, start: usize, len: usize) {
        // SAFETY: one thread of execution, and no other reference to the state is alive.
        let state = unsafe { &mut *self.0.get() };
        state.next = start;
        state.end = start + len;
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

fn class_of(layout: Layout) -> usize {
    let size = layout.size().max(layout.align()).max(16).next_power_of_two();
    size.trailing_zeros() as usize - 4
}

// SAFETY: blocks of one class never overlap (see the module's invariant), and alignments above a
// page do not occur: `alloc` refuses them.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one thread of execution, and no other reference to the state is alive.
        let state = unsafe { &mut *self.0.get() };
        let class = class_of(layout);
        if class >= CLASSES || layout.align() > 4096 {
            return null_mut();
        }
        let head = state.free[class];
        if head != 0 {
            // SAFETY: a free block begins with the address of the next one of its class.
            state.free[class] = unsafe { *(head as *const usize) };
            return head as *mut u8;
        }
        let size = 16 << class;
        let start = state.next.next_multiple_of(size.min(4096));
        if start.saturating_add(size) > state.end {
            return null_mut();
        }
        state.next = start + size;
        start as *mut u8
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: one thread of execution, and no other reference to the state is alive.
        let state = unsafe { &mut *self.0.get() };
        let class = class_of(layout);
        // SAFETY: the block is free now, and at least 16 bytes long.
        unsafe { *(block as *mut usize) = state.free[class] };
        state.free[class] = block as usize;
    }
}
