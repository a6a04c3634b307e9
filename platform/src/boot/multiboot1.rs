//! Multiboot 1: ELF or self-describing images, entered in flat 32-bit protected mode.
//!
//! Multiboot Specification 0.6.96.

use crate::memory_map::LOWER_KIB;

use super::{
    BootError, BootFile, BootRequest, Entry, GuestMemory,
    address_fields::AddressFields,
    elf::Elf,
    layout::{INFO_BASE, MEMMAP_BASE, MODLIST_BASE, Placed, Texts},
};

/// How far into the file the header may be.
const SEARCH: usize = 8192;
const HEADER_MAGIC: u32 = 0x1bad_b002;
/// EAX at entry.
const LOADER_MAGIC: u64 = 0x2bad_b002;

/// Header flags that a loader must understand: modules aligned, memory information wanted, video
/// mode wanted (none is offered).
const KNOWN_REQUIREMENTS: u32 = 0x7;
const REQUIREMENTS: u32 = 0xffff;
/// The address fields are valid.
const ADDRESS_FIELDS: u32 = 1 << 16;

/// Flags of the information structure: memory sizes, command line, modules, memory map, loader name.
const INFO_FLAGS: u32 = 1 << 0 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9;
const INFO_SIZE: usize = 116;
/// Bytes of a memory map entry after its size field.
const ENTRY_SIZE: u32 = 20;

/// The file offset of a header with a correct checksum.
fn find(kernel: &[u8]) -> Option<usize> {
    let words = kernel[..kernel.len().min(SEARCH)].chunks_exact(4);
    let words: Vec<u32> =
        words.map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect();
    let header =
        |w: &[u32]| w[0] == HEADER_MAGIC && w[0].wrapping_add(w[1]).wrapping_add(w[2]) == 0;
    words.windows(3).position(header).map(|index| index * 4)
}

/// The file has a multiboot header.
pub(super) fn recognise(kernel: &[u8]) -> bool {
    find(kernel).is_some()
}

/// Loads the kernel, the modules above it, and the information structure.
pub(super) fn load(
    request: &BootRequest<'_>,
    memory: &mut dyn GuestMemory,
) -> Result<Entry, BootError> {
    let kernel = &request.kernel;
    let at = find(kernel.bytes).unwrap_or(0) as u64;
    let flags = kernel.u32(at + 4, "multiboot header")?;
    if flags & REQUIREMENTS & !KNOWN_REQUIREMENTS != 0 {
        let accepted = "no required flag but bits 0 to 2";
        return Err(kernel.bad_field("multiboot header flags", at + 4, flags.into(), accepted));
    }
    let (entry, end) = if flags & ADDRESS_FIELDS == 0 {
        load_elf(request, memory)?
    } else {
        let fields = address_fields(kernel, at)?;
        (kernel.u32(at + 28, "multiboot header")?, fields.load(request, memory)?)
    };
    let modules = request.place_low(end, memory)?;
    write_info(request, &modules, memory)?;
    let entry = Entry::multiboot(entry, LOADER_MAGIC);
    entry.write_gdt(memory)?;
    Ok(entry)
}

fn load_elf(
    request: &BootRequest<'_>,
    memory: &mut dyn GuestMemory,
) -> Result<(u32, u64), BootError> {
    let elf = Elf::read(&request.kernel)?;
    let end = elf.load(0, request, memory)?;
    Ok((elf.entry32(0)?, end))
}

fn address_fields(kernel: &BootFile<'_>, at: u64) -> Result<AddressFields, BootError> {
    let field = |offset| kernel.u32(at + offset, "multiboot header");
    Ok(AddressFields {
        header_at: at,
        header_addr: field(12)?,
        load_addr: field(16)?,
        load_end_addr: field(20)?,
        bss_end_addr: field(24)?,
    })
}

/// Writes `struct multiboot_info`, the module list, the memory map and the strings.
fn write_info(
    request: &BootRequest<'_>,
    modules: &[Placed],
    memory: &mut dyn GuestMemory,
) -> Result<(), BootError> {
    let mut texts = Texts::new();
    let cmdline = texts.add(&request.named_cmdline());
    let loader = texts.add(super::LOADER_NAME);
    let mut list = Vec::new();
    for (placed, module) in modules.iter().zip(request.modules) {
        let words = [placed.start, placed.end, texts.add(module.cmdline), 0];
        list.extend(words.into_iter().flat_map(|word| (word as u32).to_le_bytes()));
    }
    texts.write(memory)?;
    memory.write(MODLIST_BASE, &list)?;
    let map = memory_map(request);
    memory.write(MEMMAP_BASE, &map)?;
    let mut info = vec![0u8; INFO_SIZE];
    let fields = [
        (0, INFO_FLAGS),
        (4, LOWER_KIB),
        (8, request.map.upper_kib()),
        (16, cmdline as u32),
        (20, modules.len() as u32),
        (24, MODLIST_BASE as u32),
        (44, map.len() as u32),
        (48, MEMMAP_BASE as u32),
        (64, loader as u32),
    ];
    for (at, value) in fields {
        info[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }
    Ok(memory.write(INFO_BASE, &info)?)
}

fn memory_map(request: &BootRequest<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for range in request.map.ranges() {
        bytes.extend(ENTRY_SIZE.to_le_bytes());
        bytes.extend(range.base.to_le_bytes());
        bytes.extend(range.size.to_le_bytes());
        bytes.extend((range.kind as u32).to_le_bytes());
    }
    bytes
}
