//! The boot loaders, on images made here: what is in memory, in which state the kernel is entered,
//! and what bad images get.

#[path = "../common/mod.rs"]
mod common;
mod errors;
mod image;
mod linux;
mod multiboot;
mod payload;
mod pvh;
mod random;

use common::Memory;
use platform::{
    boot::{self, BootError, BootFile, BootModule, BootRequest, Entry, RootPointer},
    memory_map::MemoryMap,
};

/// Bytes of memory of the tests' machine; free memory ends 128 KiB earlier.
pub(crate) const SIZE: u64 = 64 << 20;
pub(crate) const FREE_END: u64 = SIZE - (128 << 10);

/// Loads `kernel` (named "K") with modules (named "M0", "M1", …) of a content and a command line.
pub(crate) fn load(
    kernel: &[u8],
    modules: &[(&[u8], &str)],
    cmdline: &str,
) -> Result<(Entry, Memory), BootError> {
    let names: Vec<String> = (0..modules.len()).map(|number| format!("M{number}")).collect();
    let modules: Vec<BootModule<'_>> = modules
        .iter()
        .zip(&names)
        .map(|(&(bytes, cmdline), name)| BootModule { file: BootFile { name, bytes }, cmdline })
        .collect();
    let rsdp = RootPointer { address: 0xf_0000, bytes: (0..36).collect() };
    let request = BootRequest {
        kernel: BootFile { name: "K", bytes: kernel },
        modules: &modules,
        cmdline,
        map: MemoryMap::new(SIZE),
        rsdp: Some(&rsdp),
    };
    let mut memory = Memory::new(SIZE);
    boot::load(&request, &mut memory).map(|entry| (entry, memory))
}

/// The state at entry is flat 32-bit protected mode, and the descriptor table says so too.
#[track_caller]
pub(crate) fn check_flat(entry: &Entry, memory: &Memory) {
    let (code, data) = (0x10, 0x18);
    assert_eq!((entry.mode, entry.rflags), (boot::Mode::Protected32, 2));
    assert_eq!((entry.cr0, entry.cr3, entry.cr4, entry.efer), (0x11, 0, 0, 0));
    assert_eq!((entry.cs.selector, entry.cs.limit, entry.cs.access), (code, u32::MAX, 0xc09b));
    for segment in [entry.ds, entry.es, entry.fs, entry.gs, entry.ss] {
        assert_eq!((segment.selector, segment.limit, segment.access), (data, u32::MAX, 0xc093));
    }
    assert_eq!(memory.u64(entry.gdtr.base + u64::from(code)), 0x00cf_9b00_0000_ffff);
    assert_eq!(memory.u64(entry.gdtr.base + u64::from(data)), 0x00cf_9300_0000_ffff);
    // The code selector of QEMU's multiboot.
    assert_eq!(memory.u64(entry.gdtr.base + 8), 0x00cf_9b00_0000_ffff);
    assert!(entry.gdtr.limit >= code.max(data) + 7);
}

/// The memory map that every protocol carries: base, size, type.
pub(crate) const MAP: [(u64, u64, u32); 10] = [
    (0, 0x9_fc00, 1),
    (0x9_fc00, 0x400, 2),
    (0xe_0000, 0x2_0000, 2),
    (0x10_0000, FREE_END - 0x10_0000, 1),
    (FREE_END, 0x1_f000, 3),
    (SIZE - 0x1000, 0x1000, 4),
    (0xb000_0000, 0x1000_0000, 2),
    (0xfec0_0000, 0x1000, 2),
    (0xfed0_0000, 0x1000, 2),
    (0xfee0_0000, 0x1000, 2),
];

/// The map at `at` in entries of `stride` bytes.
pub(crate) fn read_map(memory: &Memory, at: u64, stride: u64) -> Vec<(u64, u64, u32)> {
    let entry = |index: u64| {
        let at = at + index * stride;
        (memory.u64(at), memory.u64(at + 8), memory.u32(at + 16))
    };
    (0..MAP.len() as u64).map(entry).collect()
}

#[test]
fn maps_have_no_overlaps_and_all_the_memory() {
    #[track_caller]
    fn check(size: u64, ram: u64) {
        let ranges = MemoryMap::new(size).ranges();
        for pair in ranges.windows(2) {
            assert!(pair[0].base + pair[0].size <= pair[1].base, "{pair:x?}");
        }
        let sizes = ranges.iter().filter(|range| range.kind as u32 == 1).map(|range| range.size);
        assert_eq!(sizes.sum::<u64>(), ram);
    }
    // Not free: 384 KiB below 1 MiB, the EBDA, the ACPI tables.
    let taken = (384 << 10) + 0x400 + (128 << 10);
    check(64 << 20, (64 << 20) - taken);
    check((64 << 20) + 0xfff, (64 << 20) - taken);
    check(0xb000_0000, 0xb000_0000 - taken);
    check(8 << 30, (8 << 30) - taken);
}
