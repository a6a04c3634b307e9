//! The machine's memory, seen directly: every physical address is mapped at itself.
#![expect(unsafe_code, reason = "physical memory is raw memory")]

use alloc::vec::Vec;
use hypervisor::boot::{BootInfo, Range};
use hypervisor::cmdline;
use hypervisor::memory::Memory;
use hypervisor::phys::Physical;
use hypervisor::ranges::{carve, free_ranges};
use hypervisor::xen::domain::HEAP;
use runtime::cpu::cpuid;
use runtime::heap::Heap;

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

    fn read_u64(&self, addr: u64) -> u64 {
        // SAFETY: as `read`.
        unsafe { (addr as *const u64).read_unaligned() }
    }

    fn write_u64(&mut self, addr: u64, value: u64) {
        // SAFETY: as `read`.
        unsafe { (addr as *mut u64).write_unaligned(value) };
    }
}

unsafe extern "C" {
    static image_start: u8;
    static image_end: u8;
    static mut boot_pdpt: [u64; 512];
}

/// Gives the heap its first memory, inside the image, enough to read the boot information.
pub(crate) fn early_heap(heap: &Heap) {
    // 256 modules, each with a command line of 4 KiB, and a copy of one.
    const SIZE: usize = 2 << 20;
    static mut EARLY: [u8; SIZE] = [0; SIZE];
    // SAFETY: called once, and nothing else names this array.
    unsafe { heap.give(&raw mut EARLY as usize, SIZE) };
}

/// The bytes of a module, which stay where the loader put them.
pub(crate) fn bytes(range: Range) -> &'static [u8] {
    let len = range.end.saturating_sub(range.start);
    // SAFETY: `take_heap` keeps modules out of the memory that is given away.
    unsafe { core::slice::from_raw_parts(range.start as *const u8, len as usize) }
}

/// The most domains of dom0's tools at a time.
const MOST_CREATED: u64 = 16;

/// The most domains that there can be at a time: those of the modules, and for dom0's tools one more
/// for each 64 MiB of RAM, up to a limit.
pub(crate) fn most_domains(boot: &BootInfo) -> usize {
    let modules = boot.modules.iter().filter(|module| cmdline::is_kernel(&module.cmdline)).count();
    let ram: u64 = boot.ram.iter().map(|range| range.end.saturating_sub(range.start)).sum();
    modules + (ram >> 26).min(MOST_CREATED) as usize
}

/// Gives the heap memory for its real work; what RAM is left, in order of address.
pub(crate) fn take_heap(heap: &Heap, boot: &BootInfo) -> Option<Vec<Range>> {
    const MIB: u64 = 1 << 20;
    let image = Range { start: &raw const image_start as u64, end: &raw const image_end as u64 };
    // The first MiB belongs to the firmware.
    let mut taken = alloc::vec![Range { start: 0, end: MIB }, image];
    taken.extend(boot.modules.iter().map(|module| module.range));
    let mut free = free_ranges(&boot.ram, &taken);
    let ram: u64 = free.iter().map(|range| range.end - range.start).sum();
    // Every domain's share is there from the beginning, so none can take another's. The frame table
    // takes 8 bytes a frame, rounded up to a power of two.
    let domains = most_domains(boot) as u64;
    let size = (8 * MIB + domains * HEAP + ram / 256).next_multiple_of(4096);
    let start = carve(&mut free, size, 1 << 32)?;
    // SAFETY: this RAM is free and now out of the list of free ranges.
    unsafe { heap.give(start as usize, size as usize) };
    Some(free)
}

/// Maps RAM from 4 GiB to `end` at itself; false if there is no memory for the tables.
pub(crate) fn map_high(memory: &mut Memory<Direct>, end: u64) -> bool {
    const PRESENT_WRITABLE: u64 = 3;
    const LARGE: u64 = 1 << 7;
    let huge = cpuid(0x8000_0001, 0)[3] & 1 << 26 != 0;
    for gigabyte in 4..end.div_ceil(1 << 30).min(512) {
        let entry = if huge {
            gigabyte << 30 | LARGE | PRESENT_WRITABLE
        } else {
            let Some(table) = memory.own_frame() else { return false };
            for i in 0..512 {
                let page = gigabyte << 30 | i << 21 | LARGE | PRESENT_WRITABLE;
                memory.physical.write_u64(table + 8 * i, page);
            }
            table | PRESENT_WRITABLE
        };
        // SAFETY: adds translations for addresses that had none.
        unsafe { boot_pdpt[gigabyte as usize] = entry };
    }
    true
}
