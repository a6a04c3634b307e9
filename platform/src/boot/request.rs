//! What the loaders are given.

use crate::memory_map::{MIN_MEMORY, MemoryMap};

use super::{error::BootError, layout::check_texts};

/// An address range that is not memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no memory for {length} bytes at {address:#x}")]
pub struct MemoryError {
    /// The first address of the write.
    pub address: u64,
    /// Length in bytes.
    pub length: u64,
}

/// Guest memory as the loaders see it. It is zero where nobody has written.
pub trait GuestMemory {
    /// Copies `bytes` to physical `address`; an error, and nothing written, unless all of it is
    /// memory.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), MemoryError>;
}

/// A file with the name that messages use.
#[derive(Clone, Copy, Debug)]
pub struct BootFile<'a> {
    /// Name for messages.
    pub name: &'a str,
    /// Content of the file.
    pub bytes: &'a [u8],
}

/// A module (or, for Linux, the initial ramdisk).
#[derive(Clone, Copy, Debug)]
pub struct BootModule<'a> {
    /// File of the module.
    pub file: BootFile<'a>,
    /// Its command line, passed on as it is where the protocol carries one.
    pub cmdline: &'a str,
}

/// Everything a loader needs to know.
#[derive(Clone, Copy, Debug)]
pub struct BootRequest<'a> {
    /// File of the kernel.
    pub kernel: BootFile<'a>,
    /// The modules in order. Linux takes one, its initial ramdisk.
    pub modules: &'a [BootModule<'a>],
    /// The kernel's command line.
    pub cmdline: &'a str,
    /// The machine's memory.
    pub map: MemoryMap,
    /// The ACPI root pointer, if there is one.
    pub rsdp: Option<&'a RootPointer>,
}

/// The ACPI root pointer, as [`crate::acpi::install`] leaves it in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootPointer {
    /// Physical address of the bytes.
    pub address: u64,
    /// Content of that memory.
    pub bytes: Vec<u8>,
}

/// The formats that [`super::load`] knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Linux bzImage.
    Linux,
    /// ELF with a PVH entry note.
    Pvh,
    /// Any file with a multiboot 1 header.
    Multiboot1,
    /// Any file with a multiboot 2 header.
    Multiboot2,
}

impl BootRequest<'_> {
    /// The root pointer's address; 0 if there is none.
    pub(super) fn rsdp_address(&self) -> u64 {
        self.rsdp.map_or(0, |rsdp| rsdp.address)
    }

    /// The conditions that all protocols share.
    pub(super) fn check(&self) -> Result<(), BootError> {
        if self.map.low < MIN_MEMORY {
            return Err(BootError::TooLittleMemory { found: self.map.low, needed: MIN_MEMORY });
        }
        let lines = self.modules.iter().map(|module| module.cmdline).chain([self.cmdline]);
        let length = lines.map(|line| line.len() + 1).sum::<usize>();
        check_texts(length)
    }

    /// The command line as multiboot passes it: the kernel's name, then the arguments.
    pub(super) fn named_cmdline(&self) -> String {
        match self.cmdline {
            "" => self.kernel.name.into(),
            arguments => format!("{} {arguments}", self.kernel.name),
        }
    }
}

/// `text` with a terminating zero.
pub(super) fn with_nul(text: &str) -> Vec<u8> {
    text.bytes().chain([0]).collect()
}
