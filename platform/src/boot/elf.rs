//! ELF, as far as boot loaders look at it: the header, the program headers, the notes.
//!
//! System V ABI, "ELF Header" and "Program Header"; both classes, little-endian.

use super::{BootError, BootFile, BootRequest, GuestMemory};

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const CLASS_64: u8 = 2;
const EM_386: u16 = 3;
const EM_X86_64: u16 = 62;

/// A program header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    kind: u32,
    offset: u64,
    vaddr: u64,
    paddr: u64,
    file_size: u64,
    memory_size: u64,
    align: u64,
}

/// An ELF image whose header has been read.
pub(super) struct Elf<'a> {
    file: &'a BootFile<'a>,
    entry: u64,
    segments: Vec<Segment>,
}

/// The file begins as an ELF image of either class does.
pub(super) fn recognise(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// Looks whether all that an ELF file's headers tell of is there: it may be one that has been cut short.
pub(super) fn whole(file: &BootFile<'_>) -> Result<(), BootError> {
    if recognise(file.bytes) {
        let told = Elf::read(file)?.segments.into_iter();
        for segment in told.filter(|segment| matches!(segment.kind, PT_LOAD | PT_NOTE)) {
            file.slice(segment.offset, segment.file_size, "ELF segment")?;
        }
    }
    Ok(())
}

impl<'a> Elf<'a> {
    /// Reads the headers of an x86 executable.
    pub(super) fn read(file: &'a BootFile<'a>) -> Result<Self, BootError> {
        let what = "ELF header";
        let identity = file.slice(0, 16, what)?;
        let wide = identity[4] == CLASS_64;
        if !matches!(identity[4], 1..=CLASS_64) || identity[5] != 1 {
            let found = u64::from(u16::from_le_bytes([identity[4], identity[5]]));
            return Err(file.bad_field("ELF class and data", 4, found, "0x101 or 0x102"));
        }
        let machine = file.u16(18, what)?;
        if !matches!(machine, EM_386 | EM_X86_64) {
            return Err(file.bad_field("ELF machine", 18, machine.into(), "3 (386), 62 (x86-64)"));
        }
        let (entry, table, sizes) = if wide {
            (file.u64(24, what)?, file.u64(32, what)?, 54)
        } else {
            (file.u32(24, what)?.into(), file.u32(28, what)?.into(), 42)
        };
        let (size, count) = (file.u16(sizes, what)?, file.u16(sizes + 2, what)?);
        let segment = |index: u16| {
            let at = table.saturating_add(u64::from(size) * u64::from(index));
            if wide { Segment::read64(file, at) } else { Segment::read32(file, at) }
        };
        Ok(Self { file, entry, segments: (0..count).map(segment).collect::<Result<_, _>>()? })
    }

    /// The loadable segments that take memory.
    fn loadable(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.kind == PT_LOAD && segment.memory_size != 0)
    }

    /// Copies every loadable segment to its physical address, `slide` bytes higher (modulo 2⁶⁴),
    /// and returns the first address past the last.
    pub(super) fn load(
        &self,
        slide: u64,
        request: &BootRequest<'_>,
        memory: &mut dyn GuestMemory,
    ) -> Result<u64, BootError> {
        let mut top = 0;
        for segment in self.loadable() {
            let base = segment.paddr.wrapping_add(slide);
            let end = base.saturating_add(segment.memory_size.max(segment.file_size));
            if !request.is_free(base, end) {
                return Err(request.no_room(self.file, "ELF segment", base, end - base));
            }
            let bytes = self.file.slice(segment.offset, segment.file_size, "ELF segment")?;
            memory.write(base, bytes)?;
            top = top.max(end);
        }
        if top == 0 {
            return Err(self.file.bad_field("ELF loadable segments", 0, 0, "at least one"));
        }
        Ok(top)
    }

    /// The physical addresses that the image takes: first, and past the last.
    pub(super) fn extent(&self) -> (u64, u64) {
        let base = self.loadable().map(|segment| segment.paddr).min().unwrap_or(0);
        let ends = self.loadable().map(|segment| segment.paddr.saturating_add(segment.memory_size));
        (base, ends.max().unwrap_or(0))
    }

    /// The physical address of the entry point in an image loaded `slide` bytes higher. A virtual
    /// entry point is translated by its segment.
    pub(super) fn entry32(&self, slide: u64) -> Result<u32, BootError> {
        let holder = self.loadable().find(|segment| segment.holds(self.entry));
        let physical = holder
            .map_or(self.entry, |segment| segment.paddr.wrapping_add(self.entry - segment.vaddr));
        u32::try_from(physical.wrapping_add(slide)).map_err(|_| {
            self.file.bad_field("ELF entry point", 24, self.entry, "a 32-bit physical address")
        })
    }

    /// The descriptor of the first note called `name` with type `kind`.
    pub(super) fn note(&self, name: &[u8], kind: u32) -> Option<&'a [u8]> {
        let notes = self.segments.iter().filter(|segment| segment.kind == PT_NOTE);
        notes
            .filter_map(|notes| {
                let bytes = self.file.bytes.get(usize::try_from(notes.offset).ok()?..)?;
                let size = usize::try_from(notes.file_size).unwrap_or(usize::MAX);
                Some((&bytes[..size.min(bytes.len())], if notes.align == 8 { 8 } else { 4 }))
            })
            .find_map(|(bytes, align)| find_note(bytes, align, name, kind))
    }
}

/// Walks the notes in `bytes`, whose parts are padded to `align`.
fn find_note<'a>(mut bytes: &'a [u8], align: usize, name: &[u8], kind: u32) -> Option<&'a [u8]> {
    loop {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let (name_size, size, found) = (word(0)? as usize, word(4)? as usize, word(8)?);
        let content = 12usize.checked_add(name_size)?.checked_next_multiple_of(align)?;
        let end = content.checked_add(size)?;
        let its_name = bytes.get(12..12 + name_size)?;
        if found == kind && its_name.strip_suffix(&[0]) == Some(name) {
            return bytes.get(content..end);
        }
        bytes = bytes.get(end.checked_next_multiple_of(align)?..)?;
    }
}

impl Segment {
    fn read64(file: &BootFile<'_>, at: u64) -> Result<Self, BootError> {
        let what = "ELF program header";
        let field = |offset: u64| file.u64(at.saturating_add(offset), what);
        Ok(Self {
            kind: file.u32(at, what)?,
            offset: field(8)?,
            vaddr: field(16)?,
            paddr: field(24)?,
            file_size: field(32)?,
            memory_size: field(40)?,
            align: field(48)?,
        })
    }

    fn read32(file: &BootFile<'_>, at: u64) -> Result<Self, BootError> {
        let field =
            |offset: u64| file.u32(at.saturating_add(offset), "ELF program header").map(u64::from);
        Ok(Self {
            kind: field(0)? as u32,
            offset: field(4)?,
            vaddr: field(8)?,
            paddr: field(12)?,
            file_size: field(16)?,
            memory_size: field(20)?,
            align: field(28)?,
        })
    }

    /// `vaddr` lies in this segment.
    fn holds(&self, vaddr: u64) -> bool {
        vaddr.checked_sub(self.vaddr).is_some_and(|at| at < self.memory_size)
    }
}
