//! Direct boot: puts a kernel, its modules and its command line into memory and says in which state
//! the processor enters it, as a boot loader would have. The format is found by looking at the file.

mod address_fields;
mod elf;
mod entry;
mod error;
mod layout;
mod linux;
mod multiboot1;
mod multiboot2;
mod payload;
mod pvh;
mod request;

use crate::memory_map::MemoryMap;

pub use entry::{Entry, Mode, Segment, Table};
pub use error::BootError;
pub use payload::payload;
pub use request::{
    BootFile, BootModule, BootRequest, Format, GuestMemory, MemoryError, RootPointer,
};

/// What the loaders call themselves.
const LOADER_NAME: &str = "strata";

/// The formats in the order in which [`load`] looks for them: QEMU's `-kernel` prefers multiboot.
const FORMATS: [Format; 4] = [Format::Multiboot1, Format::Pvh, Format::Multiboot2, Format::Linux];

/// Whether a file can be loaded as `format`; it may have the headers of several.
#[must_use]
pub fn offers(kernel: &[u8], format: Format) -> bool {
    match format {
        Format::Linux => linux::recognise(kernel),
        Format::Pvh => pvh::recognise(kernel),
        Format::Multiboot1 => multiboot1::recognise(kernel),
        Format::Multiboot2 => multiboot2::recognise(kernel),
    }
}

/// The first format of a file, and what [`load`] takes it for unless only another can be loaded.
#[must_use]
pub fn recognise(kernel: &[u8]) -> Option<Format> {
    FORMATS.into_iter().find(|&format| offers(kernel, format))
}

/// Loads `request.kernel` and everything it needs into `memory`: by the first of its formats that can,
/// or else with the error of the first.
pub fn load(request: &BootRequest<'_>, memory: &mut dyn GuestMemory) -> Result<Entry, BootError> {
    request.check()?;
    let mut offered = FORMATS.into_iter().filter(|&format| offers(request.kernel.bytes, format));
    let first = offered.next().ok_or_else(|| {
        let truncated = elf::whole(&request.kernel).err();
        truncated.unwrap_or_else(|| error::unrecognised(&request.kernel))
    })?;
    let can = |&format: &Format| load_as(format, request, &mut Nowhere(request.map)).is_ok();
    let chosen = if can(&first) { first } else { offered.find(can).unwrap_or(first) };
    load_as(chosen, request, memory)
}

fn load_as(
    format: Format,
    request: &BootRequest<'_>,
    memory: &mut dyn GuestMemory,
) -> Result<Entry, BootError> {
    match format {
        Format::Multiboot1 => multiboot1::load(request, memory),
        Format::Multiboot2 => multiboot2::load(request, memory),
        Format::Pvh => pvh::load(request, memory),
        Format::Linux => linux::load(request, memory),
    }
}

/// Memory that only says whether it would take a write.
struct Nowhere(MemoryMap);

impl GuestMemory for Nowhere {
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        let length = bytes.len() as u64;
        let end = address.checked_add(length).filter(|&end| end <= self.0.low);
        end.map(|_| ()).ok_or(MemoryError { address, length })
    }
}
