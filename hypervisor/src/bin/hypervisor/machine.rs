//! The machine's memory, seen directly: every physical address is mapped at itself.
#![expect(unsafe_code, reason = "physical memory is raw memory")]

use hypervisor::bare::heap::Heap;
use hypervisor::phys::Physical;

/// Physical memory through the identity map.
pub(crate) struct Direct;

impl Physical for Direct {
    fn read(&self, addr: u64, buf: &mut [u8]) {
        // SAFETY: `Physical`'s callers own the frames they name, and all RAM is mapped at itself.
        unsafe { core::ptr::copy(addr as *const u8, buf.as_mut_ptr(), buf.len()) };
    }

    fn write(&mut self, addr: u64, data: &[u8]) {
        // SAFETY: as `read`.
        unsafe { core::ptr::copy(data.as_ptr(), addr as *mut u8, data.len()) };
    }

    fn clear(&mut self, addr: u64, len: u64) {
        // SAFETY: as `read`.
        unsafe { core::ptr::write_bytes(addr as *mut u8, 0, len as usize) };
    }
}

/// Gives the heap its first memory, inside the image, enough to read the boot information.
pub(crate) fn early_heap(heap: &Heap) {
    static mut EARLY: [u8; 256 << 10] = [0; 256 << 10];
    // SAFETY: called once, and nothing else names this array.
    unsafe { heap.give(&raw mut EARLY as usize, 256 << 10) };
}
