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
mod pvh;
mod request;

pub use entry::{Entry, Mode, Segment, Table};
pub use error::BootError;
pub use request::{
    BootFile, BootModule, BootRequest, Format, GuestMemory, MemoryError, RootPointer,
};

/// What the loaders call themselves.
const LOADER_NAME: &str = "strata";

/// What [`load`] takes a file for. An image with several headers is loaded by the first of
/// multiboot 1, PVH, multiboot 2, Linux.
#[must_use]
pub fn recognise(kernel: &[u8]) -> Option<Format> {
    if multiboot1::recognise(kernel) {
        Some(Format::Multiboot1)
    } else if pvh::recognise(kernel) {
        Some(Format::Pvh)
    } else if multiboot2::recognise(kernel) {
        Some(Format::Multiboot2)
    } else if linux::recognise(kernel) {
        Some(Format::Linux)
    } else {
        None
    }
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
