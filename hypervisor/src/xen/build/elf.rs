//! ELF kernels: the segments to load and the PVH entry point in Xen's note.

use super::BuildError;
use alloc::vec::Vec;

/// `XEN_ELFNOTE_PHYS32_ENTRY`.
const PHYS32_ENTRY: u32 = 18;
const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
/// More program headers than any kernel has.
const MAX_HEADERS: usize = 64;

/// One segment to load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The physical address.
    pub paddr: u64,
    /// The bytes: offset and length in the file.
    pub file: (usize, usize),
    /// The size in memory; bytes beyond those of the file are zero.
    pub size: u64,
}

/// A kernel that can be entered the PVH way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The physical entry point.
    pub entry: u32,
    /// The segments to load.
    pub segments: Vec<Segment>,
}

impl Kernel {
    /// The end of the last segment in memory.
    pub fn end(&self) -> u64 {
        self.segments.iter().map(|segment| segment.paddr + segment.size).max().unwrap_or(0)
    }
}

/// Little-endian field of `size` bytes at `at`.
fn field(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let mut raw = [0; 8];
    raw[..size].copy_from_slice(bytes.get(at..at.checked_add(size)?)?);
    Some(u64::from_le_bytes(raw))
}

/// The places of the fields in one of the two ELF classes.
struct Class {
    phoff: (usize, usize),
    phentsize: usize,
    phnum: usize,
    /// Offset, physical address, size in file, size in memory: (place, width).
    program: [(usize, usize); 4],
}

const ELF64: Class = Class {
    phoff: (32, 8),
    phentsize: 54,
    phnum: 56,
    program: [(8, 8), (24, 8), (32, 8), (40, 8)],
};
const ELF32: Class = Class {
    phoff: (28, 4),
    phentsize: 42,
    phnum: 44,
    program: [(4, 4), (12, 4), (16, 4), (20, 4)],
};

/// Reads the headers of an ELF kernel for x86.
pub fn parse(image: &[u8]) -> Result<Kernel, BuildError> {
    if is_bzimage(image) {
        return Err(BuildError::BzImage);
    }
    if image.get(..4) != Some(b"\x7FELF") {
        return Err(BuildError::NotElf);
    }
    let class = match image.get(4) {
        Some(2) => &ELF64,
        Some(1) => &ELF32,
        _ => return Err(BuildError::NotElf),
    };
    headers(image, class).ok_or(BuildError::Truncated)?
}

fn is_bzimage(image: &[u8]) -> bool {
    image.get(0x1FE..0x200) == Some(&[0x55, 0xAA]) && image.get(0x202..0x206) == Some(b"HdrS")
}

/// `None` if a header lies outside the file.
fn headers(image: &[u8], class: &Class) -> Option<Result<Kernel, BuildError>> {
    let table = field(image, class.phoff.0, class.phoff.1)? as usize;
    let stride = field(image, class.phentsize, 2)? as usize;
    let count = (field(image, class.phnum, 2)? as usize).min(MAX_HEADERS);
    let (mut segments, mut entry) = (Vec::new(), None);
    for index in 0..count {
        let at = table.checked_add(index * stride)?;
        let kind = field(image, at, 4)? as u32;
        let mut values = [0; 4];
        for (value, (place, width)) in values.iter_mut().zip(class.program) {
            *value = field(image, at.checked_add(place)?, width)?;
        }
        let [offset, paddr, filesz, memsz] = values;
        let (offset, filesz) = (usize::try_from(offset).ok()?, usize::try_from(filesz).ok()?);
        match kind {
            PT_LOAD if memsz != 0 => {
                image.get(offset..offset.checked_add(filesz)?)?;
                let size = memsz.max(filesz as u64);
                // Everything is loaded below 4 GiB.
                paddr.checked_add(size).filter(|&end| end <= 1 << 32)?;
                segments.push(Segment { paddr, file: (offset, filesz), size });
            }
            PT_NOTE => {
                let notes = image.get(offset..offset.checked_add(filesz)?)?;
                entry = entry.or_else(|| pvh_entry(notes));
            }
            _ => {}
        }
    }
    let kernel = |entry| Kernel { entry, segments };
    Some(entry.map(kernel).ok_or(BuildError::NoPvhEntry))
}

/// The descriptor of the Xen note of type 18, 4 or 8 bytes.
fn pvh_entry(notes: &[u8]) -> Option<u32> {
    let mut at = 0usize;
    loop {
        let name_len = field(notes, at, 4)? as usize;
        let desc_len = field(notes, at + 4, 4)? as usize;
        let kind = field(notes, at + 8, 4)? as u32;
        let name = at + 12;
        let desc = name.checked_add(name_len.checked_next_multiple_of(4)?)?;
        let next = desc.checked_add(desc_len.checked_next_multiple_of(4)?)?;
        let is_xen = notes.get(name..name.checked_add(name_len)?)? == b"Xen\0";
        if is_xen && kind == PHYS32_ENTRY && (desc_len == 4 || desc_len == 8) {
            return u32::try_from(field(notes, desc, desc_len)?).ok();
        }
        at = next;
    }
}
