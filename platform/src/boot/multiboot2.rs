//! Multiboot 2: a header made of tags, and an information structure made of tags.
//!
//! Multiboot2 Specification 2.0. There are neither a framebuffer, nor a text console, nor EFI.

use crate::memory_map::LOWER_KIB;

use super::{
    BootError, BootFile, BootRequest, Entry, GuestMemory,
    address_fields::AddressFields,
    elf::Elf,
    layout::{INFO_BASE, Placed, check_texts},
    request::with_nul,
};

/// How far into the file the header may be.
const SEARCH: usize = 32768;
const HEADER_MAGIC: u32 = 0xe852_50d6;
/// Architecture: 32-bit protected mode of i386.
const I386: u32 = 0;
/// EAX at entry.
const LOADER_MAGIC: u64 = 0x36d7_6289;
/// Bytes of the header before its tags.
const FIXED: u64 = 16;
/// Tag flag: the loader may ignore the tag.
const OPTIONAL: u16 = 1;
/// Loading at an address of the image's choice: the file's start is the image's start.
const WHOLE_FILE: u32 = u32::MAX;

/// The kinds of information tags.
mod info {
    pub(super) const END: u32 = 0;
    pub(super) const CMDLINE: u32 = 1;
    pub(super) const LOADER_NAME: u32 = 2;
    pub(super) const MODULE: u32 = 3;
    pub(super) const BASIC_MEMORY: u32 = 4;
    pub(super) const MEMORY_MAP: u32 = 6;
    pub(super) const OLD_RSDP: u32 = 14;
    pub(super) const NEW_RSDP: u32 = 15;
    pub(super) const LOAD_BASE: u32 = 21;
    /// The last that the specification has.
    pub(super) const LAST: u32 = 21;
}

/// Bytes of the root pointer's first version.
const OLD_RSDP_SIZE: usize = 20;

/// What the header's tags ask for.
#[derive(Default)]
struct Wishes {
    addresses: Option<AddressFields>,
    entry: Option<u32>,
    relocation: Option<Relocation>,
}

/// The relocatable tag.
struct Relocation {
    min: u64,
    max: u64,
    align: u64,
    /// The highest possible address is preferred to the lowest.
    high: bool,
}

/// The file offset of a header with a correct checksum.
fn find(kernel: &[u8]) -> Option<usize> {
    let header = |at: &usize| {
        let word = |index: usize| {
            let at = at + index * 4;
            kernel.get(at..at + 4).map_or(0, |w| u32::from_le_bytes([w[0], w[1], w[2], w[3]]))
        };
        let sum = (0..4).fold(0u32, |sum, index| sum.wrapping_add(word(index)));
        word(0) == HEADER_MAGIC && sum == 0
    };
    (0..kernel.len().min(SEARCH)).step_by(8).find(header)
}

/// The file has a multiboot 2 header.
pub(super) fn recognise(kernel: &[u8]) -> bool {
    find(kernel).is_some()
}

/// Loads the kernel, the modules above it, and the information tags.
pub(super) fn load(
    request: &BootRequest<'_>,
    memory: &mut dyn GuestMemory,
) -> Result<Entry, BootError> {
    let kernel = &request.kernel;
    let wishes = Wishes::read(kernel, find(kernel.bytes).unwrap_or(0) as u64)?;
    let (image_entry, base, end) = match &wishes.addresses {
        Some(fields) => (None, fields.load_addr.into(), fields.load(request, memory)?),
        None => load_elf(request, &wishes, memory)?,
    };
    let entry = wishes.entry.or(image_entry).ok_or_else(|| {
        kernel.bad_field("multiboot2 entry address tag", 0, 0, "present beside an address tag")
    })?;
    let modules = request.place_low(end, memory)?;
    let tags = information(request, &modules, base)?;
    memory.write(INFO_BASE, &tags)?;
    let entry = Entry::multiboot(entry, LOADER_MAGIC);
    entry.write_gdt(memory)?;
    Ok(entry)
}

/// Loads an ELF image, relocated if it may be; returns its entry, base and end.
fn load_elf(
    request: &BootRequest<'_>,
    wishes: &Wishes,
    memory: &mut dyn GuestMemory,
) -> Result<(Option<u32>, u64, u64), BootError> {
    let elf = Elf::read(&request.kernel)?;
    let (link_base, link_end) = elf.extent();
    let base = match &wishes.relocation {
        Some(relocation) => relocation.choose(link_base, link_end, request)?,
        None => link_base,
    };
    let slide = base.wrapping_sub(link_base);
    let end = elf.load(slide, request, memory)?;
    // An entry address tag takes the place of the image's own entry.
    let entry = if wishes.entry.is_some() { None } else { Some(elf.entry32(slide)?) };
    Ok((entry, base, end))
}

impl Relocation {
    /// Where the image goes: where it was linked, if it may; else as preferred.
    fn choose(&self, base: u64, end: u64, request: &BootRequest<'_>) -> Result<u64, BootError> {
        let size = end - base;
        let fits = |at: u64| {
            let top = at.saturating_add(size);
            at >= self.min && top <= self.max && request.is_free(at, top)
        };
        let low = self.min.max(crate::memory_map::EXTENDED_BASE).next_multiple_of(self.align);
        let top = self.max.min(request.map.acpi_base()).saturating_sub(size);
        let high = top - top % self.align;
        let choices = if self.high { [base, high] } else { [base, low] };
        let linked_well = base.is_multiple_of(self.align);
        choices
            .into_iter()
            .find(|&at| (at != base || linked_well) && fits(at))
            .ok_or_else(|| request.no_room(&request.kernel, "relocatable image", low, size))
    }
}

impl Wishes {
    /// Reads the header at `at`.
    fn read(kernel: &BootFile<'_>, at: u64) -> Result<Self, BootError> {
        let what = "multiboot2 header";
        let architecture = kernel.u32(at + 4, what)?;
        if architecture != I386 {
            let accepted = "0 (i386 protected mode)";
            let found = architecture.into();
            return Err(kernel.bad_field("multiboot2 architecture", at + 4, found, accepted));
        }
        let length = u64::from(kernel.u32(at + 8, what)?);
        let mut wishes = Self::default();
        let (mut tag, end) = (at + FIXED, at + length);
        while tag + 8 <= end {
            let (kind, flags) = (kernel.u16(tag, what)?, kernel.u16(tag + 2, what)?);
            let size = u64::from(kernel.u32(tag + 4, what)?);
            if size < 8 {
                let accepted = "at least 8";
                return Err(kernel.bad_field("multiboot2 tag size", tag + 4, size, accepted));
            }
            if kind == 0 {
                break;
            }
            wishes.tag(kernel, at, tag, kind, size, flags & OPTIONAL != 0)?;
            tag = (tag + size).next_multiple_of(8);
        }
        Ok(wishes)
    }

    /// Takes the tag at offset `tag` of the header at offset `header` into account.
    fn tag(
        &mut self,
        kernel: &BootFile<'_>,
        header: u64,
        tag: u64,
        kind: u16,
        size: u64,
        optional: bool,
    ) -> Result<(), BootError> {
        let field = |offset| kernel.u32(tag + offset, "multiboot2 tag");
        match kind {
            1 if !optional => check_requests(kernel, tag, size)?,
            2 => self.addresses = Some(address_fields(kernel, header, tag)?),
            3 => self.entry = Some(field(8)?),
            // Console flags: bit 0 insists on a console.
            4 if field(8)? & 1 == 0 => {}
            // Module alignment is given always; EFI entry points are for EFI machines.
            1 | 6 | 8 | 9 => {}
            10 => {
                self.relocation = Some(Relocation {
                    min: field(8)?.into(),
                    max: field(12)?.into(),
                    align: u64::from(field(16)?).max(1),
                    high: field(20)? == 2,
                });
            }
            _ if optional => {}
            _ => {
                let accepted = "optional, or one of 1 to 4, 6, 8 to 10 (no framebuffer, no EFI)";
                return Err(kernel.bad_field("multiboot2 tag", tag, kind.into(), accepted));
            }
        }
        Ok(())
    }
}

/// Every kind of information that the tag insists on is one that there is: what the machine lacks is not
/// told, as with GRUB.
fn check_requests(kernel: &BootFile<'_>, tag: u64, size: u64) -> Result<(), BootError> {
    for at in (tag + 8..(tag + size).saturating_sub(3)).step_by(4) {
        let kind = kernel.u32(at, "multiboot2 information request")?;
        if kind > info::LAST {
            let accepted = "0 to 21";
            return Err(kernel.bad_field("multiboot2 requested tag", at, kind.into(), accepted));
        }
    }
    Ok(())
}

fn address_fields(
    kernel: &BootFile<'_>,
    header: u64,
    tag: u64,
) -> Result<AddressFields, BootError> {
    let field = |offset| kernel.u32(tag + offset, "multiboot2 address tag");
    let (header_addr, load_addr) = (field(8)?, field(12)?);
    let load_addr = match load_addr {
        WHOLE_FILE => header_addr.wrapping_sub(header as u32),
        address => address,
    };
    Ok(AddressFields {
        header_at: header,
        header_addr,
        load_addr,
        load_end_addr: field(16)?,
        bss_end_addr: field(20)?,
    })
}

/// The information structure.
fn information(
    request: &BootRequest<'_>,
    modules: &[Placed],
    load_base: u64,
) -> Result<Vec<u8>, BootError> {
    let cmdline = request.named_cmdline();
    let lines = request.modules.iter().map(|module| module.cmdline.len() + 1);
    check_texts(cmdline.len() + 1 + lines.sum::<usize>())?;
    let mut bytes = vec![0; 8];
    tag(&mut bytes, info::CMDLINE, &[&with_nul(&cmdline)]);
    tag(&mut bytes, info::LOADER_NAME, &[&with_nul(super::LOADER_NAME)]);
    for (placed, module) in modules.iter().zip(request.modules) {
        let range = [placed.start, placed.end].map(|word| (word as u32).to_le_bytes()).concat();
        tag(&mut bytes, info::MODULE, &[&range, &with_nul(arguments(module.cmdline))]);
    }
    let sizes = [LOWER_KIB, request.map.upper_kib()].map(u32::to_le_bytes);
    tag(&mut bytes, info::BASIC_MEMORY, &[&sizes.concat()]);
    tag(&mut bytes, info::MEMORY_MAP, &[&memory_map(request)]);
    if let Some(rsdp) = request.rsdp {
        let old = &rsdp.bytes[..OLD_RSDP_SIZE.min(rsdp.bytes.len())];
        tag(&mut bytes, info::OLD_RSDP, &[old]);
        tag(&mut bytes, info::NEW_RSDP, &[&rsdp.bytes]);
    }
    tag(&mut bytes, info::LOAD_BASE, &[&(load_base as u32).to_le_bytes()]);
    tag(&mut bytes, info::END, &[]);
    let total = bytes.len() as u32;
    bytes[..4].copy_from_slice(&total.to_le_bytes());
    Ok(bytes)
}

/// What follows a module's name: GRUB tells no more.
fn arguments(line: &str) -> &str {
    line.split_once(' ').map_or("", |(_, arguments)| arguments.trim_start())
}

/// Appends a tag and pads to the next.
fn tag(bytes: &mut Vec<u8>, kind: u32, content: &[&[u8]]) {
    let size = 8 + content.iter().map(|part| part.len()).sum::<usize>();
    bytes.extend(kind.to_le_bytes());
    bytes.extend((size as u32).to_le_bytes());
    content.iter().for_each(|part| bytes.extend(*part));
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}

/// Entry size 24, version 0, then the entries.
fn memory_map(request: &BootRequest<'_>) -> Vec<u8> {
    let mut bytes = [24u32.to_le_bytes(), 0u32.to_le_bytes()].concat();
    for range in request.map.ranges() {
        bytes.extend(range.base.to_le_bytes());
        bytes.extend(range.size.to_le_bytes());
        bytes.extend((range.kind as u32).to_le_bytes());
        bytes.extend(0u32.to_le_bytes());
    }
    bytes
}
