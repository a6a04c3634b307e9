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

/// What [`load`] takes a file for.
#[must_use]
pub fn recognise(kernel: &[u8]) -> Option<Format> {
    FORMATS.into_iter().find(|&format| offers(kernel, format))
}

/// Loads `request.kernel` and everything it needs into `memory`.
pub fn load(request: &BootRequest<'_>, memory: &mut dyn GuestMemory) -> Result<Entry, BootError> {
    request.check()?;
    match recognise(request.kernel.bytes) {
        Some(Format::Multiboot1) => multiboot1::load(request, memory),
        Some(Format::Multiboot2) => multiboot2::load(request, memory),
        Some(Format::Pvh) => pvh::load(request, memory),
        Some(Format::Linux) => linux::load(request, memory),
        None => Err(error::unrecognised(&request.kernel)),
    }
}
