//! Direct boot: puts a kernel, its modules and its command line into memory and says in which state
//! the processor enters it, as a boot loader would have. The format is found by looking at the file.

mod elf;
mod entry;
mod error;
mod linux;
mod pvh;
mod request;

pub use entry::{Entry, Mode, Segment, Table};
pub use error::BootError;
pub use request::{BootFile, BootModule, BootRequest, Format, GuestMemory, MemoryError};

/// What [`load`] takes a file for.
#[must_use]
pub fn recognise(kernel: &[u8]) -> Option<Format> {
    if pvh::recognise(kernel) {
        Some(Format::Pvh)
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
        Some(Format::Pvh) => pvh::load(request, memory),
        Some(Format::Linux) => linux::load(request, memory),
        None => Err(error::unrecognised(&request.kernel)),
    }
}
