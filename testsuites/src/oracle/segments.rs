//! The descriptors that a case can name: Linux's own that user mode sees, and a local table of odd
//! segments. The host gets the local table by `modify_ldt`, ours gets both as memory.

use super::case::{CODE, DATA};

/// A row of the local descriptor table, in the words of Linux's `struct user_desc`.
pub struct Row {
    /// Base address.
    pub base: u32,
    /// Limit, in pages if `pages`.
    pub limit: u32,
    /// Kind of memory described.
    pub kind: Kind,
    /// D/B.
    pub big: bool,
    /// Data that cannot be written, or code that cannot be read.
    pub bare: bool,
    /// G.
    pub pages: bool,
    /// P.
    pub present: bool,
}

/// Kinds of segments; the numbers are Linux's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A data segment, growing upwards.
    Data = 0,
    /// Expand-down data.
    Down = 1,
    /// A readable code segment.
    Code = 2,
    /// Conforming code, which Linux lets nobody have unless it is not present.
    Conforming = 3,
}

const D: u32 = DATA as u32;
const C: u32 = CODE as u32;

/// The local table. Selectors are `index * 8 + 7`.
#[rustfmt::skip]
pub const LOCAL: &[Row] = &[
    // 07: 16-bit code, 0f: 16-bit data
    Row { base: C, limit: 0xfff, kind: Kind::Code, big: false, bare: false, pages: false, present: true },
    Row { base: D, limit: 0x1fff, kind: Kind::Data, big: false, bare: false, pages: false, present: true },
    // 17: 32-bit data with a small limit, 1f: the same, expand-down
    Row { base: D, limit: 0xfff, kind: Kind::Data, big: true, bare: false, pages: false, present: true },
    Row { base: D, limit: 0x7ff, kind: Kind::Down, big: true, bare: false, pages: false, present: true },
    // 27: read-only, 2f: not present
    Row { base: D + 0x1000, limit: 0xffe, kind: Kind::Data, big: false, bare: true, pages: false, present: true },
    Row { base: D, limit: 0x1fff, kind: Kind::Data, big: true, bare: false, pages: false, present: false },
    // 37: execute-only 32-bit code with a base, 3f: conforming
    Row { base: C, limit: 0xfff, kind: Kind::Code, big: true, bare: true, pages: false, present: true },
    Row { base: 0, limit: 0xf_ffff, kind: Kind::Conforming, big: true, bare: false, pages: true, present: false },
    // 47: 16-bit expand-down, 4f: flat with a 16-bit stack
    Row { base: D, limit: 0xfff, kind: Kind::Down, big: false, bare: false, pages: false, present: true },
    Row { base: 0, limit: 0xf_ffff, kind: Kind::Data, big: false, bare: false, pages: true, present: true },
    // 57: code that is not present, 5f: flat 16-bit code
    Row { base: 0, limit: 0xf_ffff, kind: Kind::Code, big: true, bare: false, pages: true, present: false },
    Row { base: 0, limit: 0xf_ffff, kind: Kind::Code, big: false, bare: false, pages: true, present: true },
    // 67: flat expand-down at an odd limit, 6f: read-only expand-down with a base that wraps
    Row { base: 0, limit: (D - 1) >> 12, kind: Kind::Down, big: true, bare: false, pages: true, present: true },
    Row { base: D.wrapping_sub(0x8000), limit: 0x7fff, kind: Kind::Down, big: false, bare: true, pages: false, present: true },
];

/// Linux's global table as far as user mode can tell: kernel code and data, user code and data, TSS,
/// LDT. arch/x86/include/asm/segment.h.
pub const GLOBAL: [u64; 16] = [
    0,
    0x00cf_9b00_0000_ffff,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    0,
    0x0000_8b00_0000_206f,
    0,
    0x0000_8200_0000_ffff,
    0,
    0,
    0,
    0,
    0x0040_f500_0000_0000,
];

/// Selectors that may be in SS, DS, ES, FS, GS when a 32- or 16-bit case begins.
pub const DATA_SELECTORS: &[u16] = &[0x2b, 0x0f, 0x17, 0x1f, 0x27, 0x47, 0x4f, 0x67, 0x6f];
/// Those of them that SS takes.
pub const STACK_SELECTORS: &[u16] = &[0x2b, 0x0f, 0x17, 0x1f, 0x47, 0x4f, 0x67];

/// The base of the segment that a selector names.
pub fn base(selector: u16) -> u64 {
    let local = LOCAL.get((selector >> 3) as usize).filter(|_| selector & 4 != 0);
    local.map_or(0, |row| row.base as u64)
}

impl Row {
    /// As the processor reads it. Linux sets S, DPL 3 and the accessed bit.
    pub fn descriptor(&self) -> u64 {
        let (base, limit) = (self.base as u64, self.limit as u64);
        let kind = 1 | (!self.bare as u64) << 1 | (self.kind as u64) << 2;
        let ar = kind | 0x70 | (self.present as u64) << 7;
        let high = (self.big as u64) << 6 | (self.pages as u64) << 7 | limit >> 16 & 15;
        limit & 0xffff | (base & 0xff_ffff) << 16 | ar << 40 | high << 48 | (base >> 24) << 56
    }

    /// The descriptor in the form that `modify_ldt` takes.
    pub fn user_desc(&self, index: u32) -> [u32; 4] {
        let bits = self.big as u32
            | (self.kind as u32) << 1
            | (self.bare as u32) << 3
            | (self.pages as u32) << 4
            | (!self.present as u32) << 5;
        [index, self.base, self.limit, bits]
    }
}
