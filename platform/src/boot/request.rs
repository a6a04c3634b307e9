//! What the loaders are given.

use crate::memory_map::{BIOS_BASE, MIN_MEMORY, MemoryMap};

use super::error::BootError;

/// An address range that is not memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory for {length} bytes at {address:#x}")]
pub struct MemoryError {
    /// The first address of the write.
    pub address: u64,
    /// Its length.
    pub length: u64,
}

/// Guest memory as the loaders see it. It is zero where nobody has written.
pub trait GuestMemory {
    /// Copies `bytes` to physical `address`; an error, and nothing written, unless all of it is
    /// memory.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), MemoryError>;
}

/// A file with the name under which messages speak of it.
#[derive(Clone, Copy, Debug)]
pub struct BootFile<'a> {
    /// Its display name.
    pub name: &'a str,
    /// Its content.
    pub bytes: &'a [u8],
}

/// A module (or, for Linux, the initial ramdisk).
#[derive(Clone, Copy, Debug)]
pub struct BootModule<'a> {
    /// The file.
    pub file: BootFile<'a>,
    /// Its command line, where the protocol carries one.
    pub cmdline: &'a str,
}

/// Everything a loader needs to know.
#[derive(Clone, Copy, Debug)]
pub struct BootRequest<'a> {
    /// The kernel.
    pub kernel: BootFile<'a>,
    /// The modules in order. Linux and PVH kernels take the first as their initial ramdisk.
    pub modules: &'a [BootModule<'a>],
    /// The kernel's command line.
    pub cmdline: &'a str,
    /// The machine's memory.
    pub map: MemoryMap,
    /// Physical address of the ACPI root pointer; 0 if there is none.
    pub rsdp: u64,
}

/// The formats that [`super::load`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Linux bzImage.
    Linux,
    /// ELF with a PVH entry note.
    Pvh,
}

/// Longest command line that the loaders' area below 640 KiB holds.
const CMDLINE_LIMIT: usize = 0xffff;

impl BootRequest<'_> {
    /// The conditions that all protocols share.
    pub(super) fn check(&self) -> Result<(), BootError> {
        if self.map.low < MIN_MEMORY {
            return Err(BootError::TooLittleMemory { found: self.map.low, needed: MIN_MEMORY });
        }
        let lines = self.modules.iter().map(|module| module.cmdline).chain([self.cmdline]);
        let length = lines.map(|line| line.len() + 1).sum::<usize>();
        if length > CMDLINE_LIMIT {
            return Err(BootError::CommandLine { found: length, accepted: CMDLINE_LIMIT });
        }
        Ok(())
    }

    /// `[base, end)` is free memory for the kernel: extended memory below the ACPI tables.
    pub(super) fn is_free(&self, base: u64, end: u64) -> bool {
        let conventional = base < end && end <= BIOS_BASE.min(crate::memory_map::EBDA_BASE);
        let extended = base >= crate::memory_map::EXTENDED_BASE && end <= self.map.acpi_base();
        base <= end && (conventional || extended)
    }
}

/// `bytes` with a terminating zero.
pub(super) fn with_nul(text: &str) -> Vec<u8> {
    text.bytes().chain([0]).collect()
}
