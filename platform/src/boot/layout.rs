//! Where the loaders put what the boot protocols point to: below 640 KiB, above all that a small
//! kernel at a low address takes. And where modules go.

use crate::memory_map::{EBDA_BASE, EXTENDED_BASE};

use super::{BootError, BootFile, BootRequest, GuestMemory, request::with_nul};

/// Where the real-mode part of a Linux image goes: a segment of 64 KiB with its heap and stack.
pub(super) const SETUP_BASE: u64 = 0x1_0000;
/// First address that a kernel loaded below 640 KiB may not touch.
pub(super) const LOADER_BASE: u64 = 0x8_0000;
/// The descriptor table that the entry state's selectors refer to.
pub(super) const GDT_BASE: u64 = LOADER_BASE;
/// The protocol's main structure.
pub(super) const INFO_BASE: u64 = 0x8_1000;
/// The memory map, where it is apart.
pub(super) const MEMMAP_BASE: u64 = 0x8_2000;
/// The list of modules, where it is apart.
pub(super) const MODLIST_BASE: u64 = 0x8_3000;
/// Command lines, one after the other.
pub(super) const CMDLINE_BASE: u64 = 0x9_0000;
/// Longest text of all command lines together.
pub(super) const CMDLINE_LIMIT: usize = 0xf000;
const LARGE_PAGE: u64 = 0x20_0000;
/// Modules that the list has room for.
const MODULE_LIMIT: usize = 128;
/// The stack of a multiboot kernel, which by the specification has none: GRUB's, for those that use one.
pub(super) const STACK_TOP: u64 = 0x7_ff00;

const _: () = assert!(CMDLINE_BASE + CMDLINE_LIMIT as u64 <= EBDA_BASE);

/// A module in memory.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// The text area: strings one after the other, and where each begins.
pub(super) struct Texts(Vec<u8>);

impl Texts {
    pub(super) fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a string and returns its address.
    pub(super) fn add(&mut self, text: &str) -> u64 {
        let address = CMDLINE_BASE + self.0.len() as u64;
        self.0.extend(with_nul(text));
        address
    }

    /// Writes the area; an error if it is longer than there is room.
    pub(super) fn write(&self, memory: &mut dyn GuestMemory) -> Result<(), BootError> {
        check_texts(self.0.len())?;
        Ok(memory.write(CMDLINE_BASE, &self.0)?)
    }
}

/// The command lines take `length` bytes with their terminators.
pub(super) fn check_texts(length: usize) -> Result<(), BootError> {
    if length > CMDLINE_LIMIT {
        return Err(BootError::CommandLine { found: length, accepted: CMDLINE_LIMIT });
    }
    Ok(())
}

impl BootRequest<'_> {
    /// `[base, end)` is free for a kernel: extended memory below the ACPI tables, or conventional
    /// memory below the loader's own area.
    pub(super) fn is_free(&self, base: u64, end: u64) -> bool {
        let conventional = end <= LOADER_BASE;
        let extended = base >= EXTENDED_BASE && end <= self.map.acpi_base();
        base <= end && (conventional || extended)
    }

    /// `what` of `file` has no room: it needs `size` bytes at `base`.
    pub(super) fn no_room(
        &self,
        file: &BootFile<'_>,
        what: &'static str,
        base: u64,
        size: u64,
    ) -> BootError {
        let end = self.map.acpi_base();
        BootError::DoesNotFit { name: file.name.into(), what, base, size, end }
    }

    fn check_modules(&self) -> Result<(), BootError> {
        let (found, accepted) = (self.modules.len(), MODULE_LIMIT);
        if found > accepted {
            return Err(BootError::Modules { name: self.kernel.name.into(), found, accepted });
        }
        Ok(())
    }

    /// Copies the modules to page boundaries, the first as high as possible, the others below it,
    /// all above `kernel_end`.
    pub(super) fn place_high(
        &self,
        kernel_end: u64,
        memory: &mut dyn GuestMemory,
    ) -> Result<Vec<Placed>, BootError> {
        self.check_modules()?;
        let mut top = self.map.acpi_base();
        let mut placed = Vec::new();
        for module in self.modules {
            let size = module.file.bytes.len() as u64;
            let start = top.saturating_sub(size) & !0xfff;
            if start < kernel_end.max(EXTENDED_BASE) {
                return Err(self.no_room(&module.file, "module", kernel_end, size));
            }
            memory.write(start, module.file.bytes)?;
            placed.push(Placed { start, end: start + size });
            top = start;
        }
        Ok(placed)
    }

    /// Copies the modules to page boundaries, one after the other, from the first 2 MiB boundary after `kernel_end`
    /// on: kernels map themselves by pages of 2 MiB, and take what follows in the last for their own.
    pub(super) fn place_low(
        &self,
        kernel_end: u64,
        memory: &mut dyn GuestMemory,
    ) -> Result<Vec<Placed>, BootError> {
        self.check_modules()?;
        let mut top = kernel_end.max(EXTENDED_BASE).next_multiple_of(LARGE_PAGE);
        let mut placed = Vec::new();
        for module in self.modules {
            let (start, size) = (top.next_multiple_of(0x1000), module.file.bytes.len() as u64);
            if start + size > self.map.acpi_base() {
                return Err(self.no_room(&module.file, "module", start, size));
            }
            memory.write(start, module.file.bytes)?;
            placed.push(Placed { start, end: start + size });
            top = start + size;
        }
        Ok(placed)
    }
}
