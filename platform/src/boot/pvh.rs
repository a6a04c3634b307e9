//! ELF kernels with a PVH entry note: Xen's `PHYS32_ENTRY` and `struct hvm_start_info`.
//!
//! Xen, public/arch-x86/hvm/start_info.h.

use crate::memory_map::Range;

use super::{
    BootError, BootFile, BootRequest, Entry, GuestMemory,
    elf::{self, Elf},
    layout::{CMDLINE_BASE, INFO_BASE, MEMMAP_BASE, MODLIST_BASE, Placed, Texts},
};

/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const PHYS32_ENTRY: u32 = 18;
/// `XEN_HVM_START_MAGIC_VALUE`.
const START_MAGIC: u32 = 0x336e_c578;
/// Version 1 of the structure has the memory map.
const START_VERSION: u32 = 1;

/// The file is an ELF image with the note.
pub(super) fn recognise(kernel: &[u8]) -> bool {
    let file = BootFile { name: "", bytes: kernel };
    elf::recognise(kernel) && Elf::read(&file).is_ok_and(|elf| entry_note(&elf).is_some())
}

/// The 32-bit entry point. The note holds it in 4 or 8 bytes.
fn entry_note(elf: &Elf<'_>) -> Option<u32> {
    match *elf.note(b"Xen", PHYS32_ENTRY)? {
        [a, b, c, d] | [a, b, c, d, 0, 0, 0, 0] => Some(u32::from_le_bytes([a, b, c, d])),
        _ => None,
    }
}

/// Loads the segments, the modules above them, and the start info.
pub(super) fn load(
    request: &BootRequest<'_>,
    memory: &mut dyn GuestMemory,
) -> Result<Entry, BootError> {
    let elf = Elf::read(&request.kernel)?;
    let accepted = "a 32-bit address";
    let entry = entry_note(&elf)
        .ok_or_else(|| request.kernel.bad_field("PVH entry note", 0, 0, accepted))?;
    let top = elf.load(0, request, memory)?;
    let modules = request.place_high(top, memory)?;
    write_modules(request, &modules, memory)?;
    let map = request.map.ranges();
    let records: Vec<u8> = map.iter().flat_map(memmap_entry).collect();
    memory.write(MEMMAP_BASE, &records)?;
    memory.write(INFO_BASE, &start_info(request, modules.len() as u32, map.len()))?;
    let entry = Entry { rbx: INFO_BASE, ..Entry::flat32(entry) };
    entry.write_gdt(memory)?;
    Ok(entry)
}

/// Writes the list of modules and the command lines.
fn write_modules(
    request: &BootRequest<'_>,
    placed: &[Placed],
    memory: &mut dyn GuestMemory,
) -> Result<(), BootError> {
    let mut texts = Texts::new();
    texts.add(request.cmdline);
    let mut list = Vec::new();
    for (placed, module) in placed.iter().zip(request.modules) {
        let words = [placed.start, placed.end - placed.start, texts.add(module.cmdline), 0];
        list.extend(words.into_iter().flat_map(u64::to_le_bytes));
    }
    memory.write(MODLIST_BASE, &list)?;
    texts.write(memory)
}

/// `struct hvm_memmap_table_entry`.
fn memmap_entry(range: &Range) -> Vec<u8> {
    let words = [range.base, range.size, u64::from(range.kind as u32)];
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// `struct hvm_start_info`.
fn start_info(request: &BootRequest<'_>, modules: u32, map_entries: usize) -> Vec<u8> {
    let modlist = if modules == 0 { 0 } else { MODLIST_BASE };
    let mut bytes = Vec::new();
    for word in [START_MAGIC, START_VERSION, 0, modules] {
        bytes.extend(word.to_le_bytes());
    }
    for address in [modlist, CMDLINE_BASE, request.rsdp_address(), MEMMAP_BASE] {
        bytes.extend(address.to_le_bytes());
    }
    for word in [map_entries as u32, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes
}
