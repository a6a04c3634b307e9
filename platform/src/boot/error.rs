//! What can be wrong with what a loader is given: one line each.

use super::request::{BootFile, MemoryError};

/// A kernel, module or command line that cannot be booted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootError {
    /// No known format.
    #[error(
        "{name}: not a bootable image: begins with {found}; accepted are Linux bzImage (\"HdrS\" at \
         0x202), ELF with a PVH note, multiboot 1 and 2"
    )]
    Unrecognised {
        /// Name of the file.
        name: String,
        /// First bytes of the file.
        found: String,
    },
    /// The file ends too early.
    #[error(
        "{name}: truncated: {what} needs {needed} bytes at offset {offset:#x}, the file has {found}"
    )]
    Truncated {
        /// Name of the file.
        name: String,
        /// What should be there.
        what: &'static str,
        /// Offset in the file.
        offset: u64,
        /// How many bytes it takes.
        needed: u64,
        /// How long the file is.
        found: u64,
    },
    /// A field holds what no boot protocol accepts.
    #[error("{name}: {what} at offset {offset:#x} is {found:#x}; accepted: {accepted}")]
    Field {
        /// Name of the file.
        name: String,
        /// Name of the field.
        what: &'static str,
        /// Offset of the field.
        offset: u64,
        /// Value of the field.
        found: u64,
        /// What it may hold.
        accepted: &'static str,
    },
    /// The packed kernel in a bzImage is none that can be unpacked.
    #[error(
        "{name}: packed kernel: {found}; accepted is an ELF file packed by gzip, xz, lzma, lz4 or \
         zstd, within the memory"
    )]
    Payload {
        /// Name of the file.
        name: String,
        /// The reason why the packed kernel is refused.
        found: String,
    },
    /// No room in memory.
    #[error(
        "{name}: {what} needs {size:#x} bytes at {base:#x}; free memory is 0x100000 to {end:#x}"
    )]
    DoesNotFit {
        /// Name of the file.
        name: String,
        /// Name of the part.
        what: &'static str,
        /// Where it should go.
        base: u64,
        /// How long it is.
        size: u64,
        /// Where free memory ends.
        end: u64,
    },
    /// The machine is too small for any boot protocol.
    #[error("memory: {found:#x} bytes; accepted: at least {needed:#x}")]
    TooLittleMemory {
        /// Bytes of memory that the machine has.
        found: u64,
        /// Bytes of memory that are needed.
        needed: u64,
    },
    /// The command lines are too long.
    #[error("command line: {found} bytes with its terminator; accepted: at most {accepted}")]
    CommandLine {
        /// Length of the text.
        found: usize,
        /// The most that is accepted.
        accepted: usize,
    },
    /// More modules than the protocol carries.
    #[error("{name}: {found} modules given; accepted: at most {accepted}")]
    Modules {
        /// Name of the kernel's file.
        name: String,
        /// Number of modules given.
        found: usize,
        /// The most that is accepted.
        accepted: usize,
    },
    /// The machine's memory and its map disagree.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// No loader wants `file`.
pub(super) fn unrecognised(file: &BootFile<'_>) -> BootError {
    let hex: Vec<String> = file.bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let found = if hex.is_empty() { "nothing (empty file)".into() } else { hex.join(" ") };
    BootError::Unrecognised { name: file.name.into(), found }
}

impl BootFile<'_> {
    /// `length` bytes at `offset`, which are `what`.
    pub(super) fn slice(
        &self,
        offset: u64,
        length: u64,
        what: &'static str,
    ) -> Result<&[u8], BootError> {
        let range = usize::try_from(offset).ok().zip(usize::try_from(length).ok());
        let end =
            range.and_then(|(offset, length)| offset.checked_add(length).map(|end| offset..end));
        end.and_then(|range| self.bytes.get(range)).ok_or_else(|| BootError::Truncated {
            name: self.name.into(),
            what,
            offset,
            needed: length,
            found: self.bytes.len() as u64,
        })
    }

    /// The `N` bytes at `offset`.
    fn array<const N: usize>(&self, offset: u64, what: &'static str) -> Result<[u8; N], BootError> {
        let mut array = [0; N];
        array.copy_from_slice(self.slice(offset, N as u64, what)?);
        Ok(array)
    }

    /// The 16-bit field at `offset`.
    pub(super) fn u16(&self, offset: u64, what: &'static str) -> Result<u16, BootError> {
        self.array(offset, what).map(u16::from_le_bytes)
    }

    /// The 32-bit field at `offset`.
    pub(super) fn u32(&self, offset: u64, what: &'static str) -> Result<u32, BootError> {
        self.array(offset, what).map(u32::from_le_bytes)
    }

    /// The 64-bit field at `offset`.
    pub(super) fn u64(&self, offset: u64, what: &'static str) -> Result<u64, BootError> {
        self.array(offset, what).map(u64::from_le_bytes)
    }

    /// A field that holds something else than what is accepted.
    pub(super) fn bad_field(
        &self,
        what: &'static str,
        offset: u64,
        found: u64,
        accepted: &'static str,
    ) -> BootError {
        BootError::Field { name: self.name.into(), what, offset, found, accepted }
    }
}
