//! The EPT walk and the cache of guest-physical mappings.
//! SDM vol. 3, "The Extended Page Table Mechanism (EPT)".

use crate::addr::{GuestPhys, HostPhys};
use crate::kinds::PageKind;
use crate::mmu::Mmu;
use crate::paging::bits;
use crate::regime::{AccessKind, Eptp, Fault, Regime};

/// Read, in entries and in the qualification.
pub(crate) const R: u64 = 1;
/// Bit W: write access.
pub(crate) const W: u64 = 2;
/// Bit X: execute access.
const X: u64 = 4;
const RWX: u64 = 7;
/// Maps a page (above level 1).
const LARGE: u64 = 1 << 7;
/// Bit A: the entry was used.
const A: u64 = 1 << 8;
/// Bit D: the page was written.
const D: u64 = 1 << 9;
/// Qualification: the linear address is valid.
const LINEAR_VALID: u64 = 1 << 7;
/// Qualification: the access is to the translation of the linear address, not to a table.
const FINAL: u64 = 1 << 8;

/// Why a guest-physical address is translated.
#[derive(Clone, Copy)]
pub(crate) struct Purpose {
    /// The rights needed: R, W, X.
    pub(crate) need: u64,
    /// Bits 7 and 8 of the qualification.
    report: u64,
    linear: u64,
}

impl Purpose {
    /// The data (or code) at linear address `la`.
    pub(crate) fn data(kind: AccessKind, la: u64) -> Purpose {
        Purpose { need: need(kind), report: LINEAR_VALID | FINAL, linear: la }
    }

    /// A paging structure on the way to `la`. With EPT A/D flags on, every access to one is a write.
    pub(crate) fn table(eptp: Eptp, update: bool, la: u64) -> Purpose {
        let need = if update || eptp.ad() { R | W } else { R };
        Purpose { need, report: LINEAR_VALID, linear: la }
    }

    /// An access with no linear address.
    pub(crate) fn physical(kind: AccessKind) -> Purpose {
        Purpose { need: need(kind), report: 0, linear: 0 }
    }

    fn violation(self, gpa: GuestPhys, rights: u64) -> Fault {
        let qualification = self.need | rights << 3 | self.report;
        Fault::EptViolation { gpa, qualification, linear: self.linear }
    }
}

fn need(kind: AccessKind) -> u64 {
    match kind {
        AccessKind::Read => R,
        AccessKind::Write => W,
        AccessKind::Execute => X,
    }
}

/// A guest-physical mapping of one 4 KiB page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mapping {
    /// Guest-physical address of the frame.
    pub(crate) page: u64,
    /// R, W, X over all levels; W only once the dirty flag needs no update.
    pub(crate) rights: u64,
}

impl Mapping {
    /// Without EPT.
    #[inline]
    pub(crate) const fn identity(gpa: u64) -> Mapping {
        Mapping { page: gpa & !0xfff, rights: RWX }
    }
}

/// Slots of the cache.
const SLOTS: usize = 8192;

#[derive(Clone, Copy)]
struct Slot {
    eptp: u64,
    gpa: u64,
    mapping: Mapping,
}

/// Guest-physical mappings, direct-mapped. Kept until INVEPT, or a store to an entry that they were made from.
pub(crate) struct Cache(Vec<Slot>);

/// An EPTP that no VM entry accepts: marks an empty slot.
const EMPTY: Slot = Slot { eptp: u64::MAX, gpa: 0, mapping: Mapping { page: 0, rights: 0 } };

impl Cache {
    pub(crate) fn new() -> Cache {
        Cache(vec![EMPTY; SLOTS])
    }

    #[inline]
    fn slot(eptp: Eptp, gpa: u64) -> usize {
        ((gpa >> 12) ^ (eptp.0 >> 9)) as usize % SLOTS
    }

    #[inline]
    pub(crate) fn get(&self, eptp: Eptp, gpa: GuestPhys) -> Option<Mapping> {
        let s = &self.0[Self::slot(eptp, gpa.0)];
        (s.eptp == eptp.0 && s.gpa == gpa.page().0).then_some(s.mapping)
    }

    fn put(&mut self, eptp: Eptp, gpa: GuestPhys, mapping: Mapping) {
        let gpa = gpa.page().0;
        self.0[Self::slot(eptp, gpa)] = Slot { eptp: eptp.0, gpa, mapping };
    }

    /// Forgets the mapping of one page, as an EPT violation does.
    fn drop(&mut self, eptp: Eptp, gpa: GuestPhys) {
        if self.get(eptp, gpa).is_some() {
            self.0[Self::slot(eptp, gpa.0)] = EMPTY;
        }
    }

    /// Forgets one EPT root's mappings, or all.
    pub(crate) fn flush(&mut self, root: Option<u64>) {
        for s in &mut self.0 {
            if root.is_none_or(|r| Eptp(s.eptp).root() == r) {
                *s = EMPTY;
            }
        }
    }
}

/// Whether a present entry is misconfigured. SDM vol. 3, "EPT Misconfigurations".
fn misconfigured(e: u64, level: u8, leaf: bool, maxphys: u8) -> bool {
    let write_only = e & (R | W) == W;
    let memory_type = e >> 3 & 7;
    let bad = if leaf {
        let low = bits(12, 12 + 9 * (u32::from(level) - 1) - 1);
        e & low != 0 || matches!(memory_type, 2 | 3 | 7)
    } else {
        // Bit 7 of a non-leaf is reserved where it could not map a page.
        e & bits(3, 7) != 0
    };
    write_only || bad || e & bits(u32::from(maxphys), 51) != 0
}

/// The entries of one EPT walk, from the root down.
pub(crate) struct Path {
    pub(crate) at: [(HostPhys, u64); 5],
    pub(crate) len: usize,
}

impl Mmu {
    /// Translates `gpa` for one purpose, from the cache if it permits that, otherwise by a walk.
    #[inline]
    pub(crate) fn ept(
        &mut self,
        r: &Regime,
        eptp: Eptp,
        gpa: GuestPhys,
        why: Purpose,
    ) -> Result<Mapping, Fault> {
        match self.ept_cache.get(eptp, gpa) {
            Some(m) if m.rights & why.need == why.need => Ok(m),
            _ => {
                let m = self.ept_walk(r, eptp, gpa, why);
                if m.is_err() {
                    self.ept_cache.drop(eptp, gpa);
                }
                m
            }
        }
    }

    #[cold]
    fn ept_walk(
        &mut self,
        r: &Regime,
        eptp: Eptp,
        gpa: GuestPhys,
        why: Purpose,
    ) -> Result<Mapping, Fault> {
        self.stats.ept_walks += 1;
        let (path, rights, page) = self.ept_read(r, eptp, gpa, why)?;
        if rights & why.need != why.need {
            return Err(why.violation(gpa, rights));
        }
        let mut m = Mapping { page, rights };
        if eptp.ad() {
            let dirty = self.ept_mark(&path, why.need & W != 0);
            m.rights &= if dirty { RWX } else { RWX & !W };
        }
        self.ept_cache.put(eptp, gpa, m);
        self.use_ept_entries(eptp.root(), path.at[..path.len].iter().map(|&(at, _)| at));
        Ok(m)
    }

    /// Reads the entries down to the leaf: the path, the rights, the frame.
    pub(crate) fn ept_read(
        &self,
        r: &Regime,
        eptp: Eptp,
        gpa: GuestPhys,
        why: Purpose,
    ) -> Result<(Path, u64, u64), Fault> {
        let mut level = eptp.levels();
        let mut path = Path { at: [(HostPhys(0), 0); 5], len: 0 };
        let (mut table, mut rights) = (eptp.root(), RWX);
        if gpa.0 >> (12 + 9 * u32::from(level)) != 0 {
            return Err(why.violation(gpa, 0));
        }
        loop {
            let shift = 12 + 9 * (u32::from(level) - 1);
            let at = HostPhys(table | (gpa.0 >> shift & 511) << 3);
            let e = self.ram.entry(at, 8);
            if e & RWX == 0 {
                return Err(why.violation(gpa, 0));
            }
            let large = e & LARGE != 0 && (level == 2 || (level == 3 && r.gib_pages));
            let leaf = level == 1 || large;
            if misconfigured(e, level, leaf, r.maxphys) {
                return Err(Fault::EptMisconfig { gpa });
            }
            path.at[path.len] = (at, e);
            path.len += 1;
            rights &= e;
            table = e & bits(12, 51);
            if leaf {
                return Ok((path, rights, table | gpa.page().0 & bits(0, shift - 1)));
            }
            level -= 1;
        }
    }

    /// Sets the accessed flags of a walk, and the dirty flag of its leaf if `write`.
    /// Returns whether the leaf is dirty.
    fn ept_mark(&mut self, path: &Path, write: bool) -> bool {
        let mut dirty = false;
        for (i, &(at, old)) in path.at[..path.len].iter().enumerate() {
            let leaf = i + 1 == path.len;
            let new = old | A | if leaf && write { D } else { 0 };
            if new != old {
                self.ram.set_entry(at, 8, new);
                self.marked_ept(at);
            }
            dirty = leaf && new & D != 0;
        }
        dirty
    }
}

impl Mmu {
    /// A mapping of `root` is cached that was made from the entries at `path`.
    fn use_ept_entries(&mut self, root: u64, path: impl Iterator<Item = HostPhys>) {
        for at in path {
            let Some(frame) = self.ram.frame(at) else { continue };
            if self.ept_entries.add(frame, at.offset(), root) {
                self.set_kind(at, PageKind::Ept, true);
            }
        }
    }

    /// Bytes of a frame have been stored: drops the mappings that were made from them.
    pub(crate) fn ept_entries_stored(&mut self, frame: usize, offset: usize, len: usize) {
        if self.kinds.get(frame, PageKind::Ept)
            && let Some(root) = self.ept_entries.depends(frame, offset, len)
        {
            self.flush_ept_root(root);
        }
    }

    /// Forgets the entries from which mappings of `root`, or any, were made.
    pub(crate) fn forget_ept_entries(&mut self, root: Option<u64>) {
        for frame in self.ept_entries.take(root) {
            self.kinds.set(frame, PageKind::Ept, false);
        }
    }
}
