//! How a guest's paging-structure entry is read, and what its rights permit. Pure functions.
//! SDM vol. 3, chapter "Paging".

use crate::regime::{Access, AccessKind, Fault, Mode, Regime};

/// Bit P: the entry is present.
pub(crate) const P: u64 = 1;
/// Bit R/W: writes are allowed.
pub(crate) const W: u64 = 1 << 1;
/// Bit U/S: user-mode accesses are allowed.
pub(crate) const U: u64 = 1 << 2;
/// Bit A: the entry was used.
pub(crate) const A: u64 = 1 << 5;
/// Bit D: the page was written.
pub(crate) const D: u64 = 1 << 6;
/// Page size.
const PS: u64 = 1 << 7;
/// Bit XD: execution is forbidden.
const NX: u64 = 1 << 63;

/// What an entry permits, or a whole walk: bits [`W`], [`U`] and [`Rights::EXECUTE`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rights(u64);

impl Rights {
    const EXECUTE: u64 = 1 << 3;
    const MASK: u64 = W | U | Self::EXECUTE;
    pub(crate) const ALL: Rights = Rights(Self::MASK);

    fn new(write: bool, user: bool, execute: bool) -> Rights {
        let bit = |on: bool, bit: u64| if on { bit } else { 0 };
        Rights(bit(write, W) | bit(user, U) | bit(execute, Self::EXECUTE))
    }

    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Rights {
        Rights(bits & Self::MASK)
    }

    #[inline]
    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) const fn and(self, o: Rights) -> Rights {
        Rights(self.0 & o.0)
    }

    #[inline]
    pub(crate) const fn write(self) -> bool {
        self.0 & W != 0
    }

    #[inline]
    pub(crate) const fn user(self) -> bool {
        self.0 & U != 0
    }

    #[inline]
    pub(crate) const fn execute(self) -> bool {
        self.0 & Self::EXECUTE != 0
    }
}

/// A guest entry, read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    NotPresent,
    Reserved,
    /// Names the next table.
    Table {
        gpa: u64,
        rights: Rights,
    },
    /// Maps a page of `1 << shift` bytes.
    Leaf {
        gpa: u64,
        shift: u32,
        rights: Rights,
    },
}

/// Bits `lo..=hi`, empty if `lo > hi`.
pub(crate) const fn bits(lo: u32, hi: u32) -> u64 {
    if lo > hi { 0 } else { u64::MAX >> (63 - hi) & u64::MAX << lo }
}

impl Regime {
    /// Bytes of an entry.
    #[inline]
    pub(crate) const fn entry_bytes(&self) -> u64 {
        if matches!(self.mode, Mode::Bits32 { .. }) { 4 } else { 8 }
    }

    /// The level of the first table in memory.
    #[inline]
    pub(crate) const fn top(&self) -> u8 {
        match self.mode {
            Mode::Off => 0,
            Mode::Bits32 { .. } | Mode::Pae => 2,
            Mode::Level4 => 4,
            Mode::Level5 => 5,
        }
    }

    /// The lowest bit of a linear address that an index at `level` uses.
    #[inline]
    pub(crate) const fn shift(&self, level: u8) -> u32 {
        let width = if self.entry_bytes() == 4 { 10 } else { 9 };
        12 + width * (level as u32 - 1)
    }

    /// The offset in its table of the entry that `la` selects at `level`.
    #[inline]
    pub(crate) const fn entry_offset(&self, la: u64, level: u8) -> u64 {
        let bytes = self.entry_bytes();
        (la >> self.shift(level) & (4096 / bytes - 1)) * bytes
    }

    /// EFER.NXE where it counts: 32-bit paging has no execute-disable.
    #[inline]
    const fn nx(&self) -> bool {
        self.nxe && self.entry_bytes() == 8
    }

    /// Whether an entry at `level` with PS = 1 maps a page.
    const fn large(&self, level: u8) -> bool {
        match (self.mode, level) {
            (Mode::Bits32 { pse }, 2) => pse,
            (_, 2) => true,
            (_, 3) => self.gib_pages,
            _ => false,
        }
    }

    /// Reserved bits of a present entry.
    fn reserved(&self, level: u8, leaf_shift: u32) -> u64 {
        let large = level > 1 && leaf_shift > 12;
        let max = u32::from(self.maxphys);
        if let Mode::Bits32 { .. } = self.mode {
            // PSE-36: bits 20:13 hold address bits 39:32, as far as MAXPHYADDR goes.
            return if large { bits(max.min(40) - 19, 21) } else { 0 };
        }
        let high = if self.mode == Mode::Pae { bits(max, 62) } else { bits(max, 51) };
        let nx = if self.nxe { 0 } else { NX };
        let low = if large { bits(13, leaf_shift - 1) } else { 0 };
        // Where PS cannot map a page it is reserved; level 1 has PAT there.
        let ps = if level > 2 && !large { PS } else { 0 };
        high | nx | low | ps
    }

    /// Reads entry `e` found at `level`.
    pub(crate) fn decode(&self, level: u8, e: u64) -> Entry {
        if e & P == 0 {
            return Entry::NotPresent;
        }
        let leaf = level == 1 || (e & PS != 0 && self.large(level));
        let shift = self.shift(level);
        if e & self.reserved(level, if leaf { shift } else { 0 }) != 0 {
            return Entry::Reserved;
        }
        let execute = !(self.nx() && e & NX != 0);
        let rights = Rights::new(e & W != 0, e & U != 0, execute);
        if !leaf {
            return Entry::Table { gpa: self.address(e, 12), rights };
        }
        let mut gpa = self.address(e, shift);
        if level == 2 && self.entry_bytes() == 4 {
            gpa |= (e & bits(13, 20)) << 19;
        }
        Entry::Leaf { gpa, shift, rights }
    }

    /// The address in an entry, from bit `low` up.
    fn address(&self, e: u64, low: u32) -> u64 {
        e & if self.entry_bytes() == 4 { bits(low, 31) } else { bits(low, 51) }
    }

    /// Whether the rights of a whole walk permit `a`. SDM vol. 3, "Determination of Access Rights".
    #[inline]
    pub(crate) fn permits(&self, rights: Rights, a: Access) -> bool {
        if a.is_user() {
            return rights.user()
                && match a.kind {
                    AccessKind::Read => true,
                    AccessKind::Write => rights.write(),
                    AccessKind::Execute => rights.execute(),
                };
        }
        if a.kind == AccessKind::Execute {
            return rights.execute() && !(rights.user() && self.smep);
        }
        if rights.user() && self.smap && (a.implicit || !a.ac) {
            return false;
        }
        a.kind == AccessKind::Read || rights.write() || !self.wp
    }

    /// The page fault of `a`: `present` and `reserved` are bits 0 and 3.
    pub(crate) fn page_fault(&self, a: Access, present: bool, reserved: bool) -> Fault {
        let write = a.kind == AccessKind::Write;
        let fetch = a.kind == AccessKind::Execute && (self.nx() || self.smep);
        let flags = [present, write, a.is_user(), reserved, fetch];
        let code = flags.iter().enumerate().fold(0, |c, (i, &f)| c | u32::from(f) << i);
        Fault::Page { code }
    }
}

/// Whether PDPTEs may be loaded: reserved bits of the present ones are 0.
/// SDM vol. 3, "PDPTE Registers".
#[must_use]
pub fn pdptes_valid(pdpte: &[u64; 4], maxphys: u8) -> bool {
    let reserved = bits(1, 2) | bits(5, 8) | bits(u32::from(maxphys), 63);
    pdpte.iter().all(|e| e & P == 0 || e & reserved == 0)
}
