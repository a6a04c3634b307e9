//! The machine-wide MMU, shared by all vCPUs: translation, and physical memory.

use crate::addr::{GuestPhys, HostPhys, Linear};
use crate::coherence::{root_index, root_shift};
use crate::ept::{self, Mapping, Purpose};
use crate::ept_entries::EptEntries;
use crate::kinds::{KindMap, PageKind, PageKinds, Writers};
use crate::paging::Rights;
use crate::ram::{Ram, pieces};
use crate::regime::{Access, AccessKind, Fault, Mode, Regime, View};
use crate::shadow::{Found, Shadow, Slot};
use crate::tlb::{Count, TlbBank, TlbEntry};
use crate::walk::Walk;
use std::collections::BTreeSet;

/// Bounds on what is cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// TLB banks: 1 to 64.
    pub banks: u32,
    /// Shadow pages, of 4 KiB of host memory each; at least 8.
    pub shadow_pages: u32,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { banks: 32, shadow_pages: 16384 }
    }
}

/// Counts of what the MMU did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Walks of guest paging structures in memory.
    pub walks: u64,
    /// Walks of EPT structures in memory.
    pub ept_walks: u64,
    /// TLB entries made, for data and for execution.
    pub fills: u64,
    /// Shadow pages in use.
    pub shadow_live: u64,
    /// The most there have been.
    pub shadow_peak: u64,
    /// Shadow pages evicted for lack of room.
    pub shadow_evicted: u64,
    /// Shadow entries dropped because of a store.
    pub dropped: u64,
    /// TLB banks taken from another regime.
    pub banks_evicted: u64,
    /// TLB banks emptied.
    pub flushes: u64,
}

/// A finished translation.
struct Translation {
    phys: HostPhys,
    rights: Rights,
    dirty: bool,
    /// What EPT permits: R, W, X; W only if it needs no dirty flag set.
    ept: u64,
    /// Where it is cached.
    found: Option<(u32, u32)>,
}

impl Translation {
    fn new(f: &Found, m: Mapping, la: u64) -> Translation {
        let phys = HostPhys(m.page | la & 0xfff);
        let found = Some((f.page, f.index));
        Translation { phys, rights: f.rights, dirty: f.slot.dirty(), ept: m.rights, found }
    }
}

/// Whether what was found serves `a` without a walk. If not, a walk decides why.
#[inline]
fn permits(r: &Regime, f: &Found, a: Access) -> bool {
    r.permits(f.rights, a) && (a.kind != AccessKind::Write || f.slot.dirty())
}

/// Guest memory with its translation structures.
pub struct Mmu {
    /// RAM.
    pub ram: Ram,
    pub(crate) kinds: KindMap,
    pub(crate) writers: Writers,
    pub(crate) shadow: Shadow,
    pub(crate) banks: Vec<TlbBank>,
    /// The bank last made current.
    pub(crate) current: usize,
    /// Counts activations, for LRU.
    pub(crate) clock: u64,
    pub(crate) next_generation: u64,
    pub(crate) wrapped: bool,
    pub(crate) changed: bool,
    /// Pages, so that there are never many.
    pub(crate) code_stores: BTreeSet<HostPhys>,
    pub(crate) ept_cache: ept::Cache,
    pub(crate) ept_entries: EptEntries,
    /// Numbers of linear pages that no TLB holds for data.
    pub(crate) watched: Vec<u64>,
    pub(crate) stats: Stats,
}

impl Mmu {
    /// An MMU on `ram` with empty caches.
    #[must_use]
    pub fn new(ram: Ram, limits: Limits) -> Mmu {
        let mut mmu = Mmu {
            kinds: KindMap::new(ram.frames()),
            writers: Writers::new(ram.frames()),
            shadow: Shadow::new(ram.frames(), limits.shadow_pages),
            banks: (0..limits.banks.clamp(1, 64)).map(|_| TlbBank::new()).collect(),
            current: 0,
            clock: 0,
            next_generation: 1,
            wrapped: false,
            changed: false,
            code_stores: BTreeSet::new(),
            ept_cache: ept::Cache::new(),
            ept_entries: EptEntries::default(),
            watched: Vec::new(),
            stats: Stats::default(),
            ram,
        };
        (0..mmu.banks.len()).for_each(|b| mmu.renew(b, [true; 2]));
        mmu
    }

    /// Counts so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { shadow_live: self.shadow.live() as u64, ..self.stats }
    }

    /// Translates one access that stays in a page; fills no TLB.
    pub fn translate(&mut self, r: &Regime, la: Linear, a: Access) -> Result<HostPhys, Fault> {
        let bank = self.bank_of(r);
        self.lookup(r, bank, la.0, a).map(|t| t.phys)
    }

    /// Translates, and puts the page into bank `b`, which is `r`'s, view `v`, if it is RAM that
    /// may be there.
    pub fn fill(
        &mut self,
        r: &Regime,
        b: u32,
        v: View,
        la: Linear,
        a: Access,
    ) -> Result<HostPhys, Fault> {
        if a.kind == AccessKind::Execute {
            return self.fetch(r, b, a.is_user(), la);
        }
        debug_assert_eq!(self.banks[b as usize].regime.as_ref(), Some(r));
        let mut count = Count { writers: &mut self.writers, ram: &self.ram };
        let write = a.kind == AccessKind::Write;
        if let Some(frame) = self.banks[b as usize].recall(v, la.0, write, &mut count) {
            return Ok(HostPhys(frame | la.offset()));
        }
        let t = self.lookup(r, Some(b as usize), la.0, a)?;
        self.insert(r, b as usize, v, la.0, &t);
        Ok(t.phys)
    }

    /// Where an instruction at `la` is fetched from. A few nanoseconds on a hit.
    #[inline]
    pub fn fetch(&mut self, r: &Regime, b: u32, user: bool, la: Linear) -> Result<HostPhys, Fault> {
        match self.banks[b as usize].exec(user, la.0) {
            Some(page) => Ok(HostPhys(page | la.offset())),
            None => self.fetch_miss(r, b as usize, user, la),
        }
    }

    #[cold]
    fn fetch_miss(
        &mut self,
        r: &Regime,
        b: usize,
        user: bool,
        la: Linear,
    ) -> Result<HostPhys, Fault> {
        debug_assert_eq!(self.banks[b].regime.as_ref(), Some(r));
        let a = Access { kind: AccessKind::Execute, user, ac: false, implicit: false };
        let t = self.lookup(r, Some(b), la.0, a)?;
        if let Some((page, index)) = t.found {
            // Even if it does not stay in the TLB: the caller may link blocks through it.
            self.shadow.pages[page as usize].slots[index as usize].set_executed(user);
        }
        self.banks[b].gave_exec();
        if self.ram.code_frame(t.phys).is_some_and(|f| !self.kinds.get(f, PageKind::SlowPath)) {
            self.stats.fills += 1;
            self.banks[b].put_exec(user, la.0, t.phys.page().0);
        }
        Ok(t.phys)
    }

    /// The translation of one access, by what is cached for bank `b`, or by a walk.
    #[inline]
    fn lookup(
        &mut self,
        r: &Regime,
        b: Option<usize>,
        la: u64,
        a: Access,
    ) -> Result<Translation, Fault> {
        if self.ept_entries.is_full() {
            self.flush_ept(None);
        }
        let Some(b) = b.filter(|_| r.mode != Mode::Off) else {
            return self.lookup_unshadowed(r, b, la, a);
        };
        let root = Slot(self.banks[b].roots[root_index(r.mode, la)]);
        let found = match self.shadow.walk(root, la, root_shift(r), 1 << b) {
            Ok(f) if permits(r, &f, a) => f,
            Ok(_) => self.walk_and_install(r, b, la, a, None)?,
            Err(lacks) => self.walk_and_install(r, b, la, a, lacks)?,
        };
        let Some(eptp) = r.ept else {
            return Ok(Translation::new(&found, Mapping::identity(found.gpa), la));
        };
        match self.ept(r, eptp, GuestPhys(found.gpa), Purpose::data(a.kind, la)) {
            Ok(m) if self.shadow.slot_of(&found).is_some() => Ok(Translation::new(&found, m, la)),
            // EPT flags were set in the guest's own paging structure. That happens only once.
            Ok(_) => self.lookup(r, Some(b), la, a),
            Err(fault) => {
                self.forget_combined(b, la, Some(&found));
                Err(fault)
            }
        }
    }

    /// Without paging, or for a regime that has no bank.
    #[cold]
    fn lookup_unshadowed(
        &mut self,
        r: &Regime,
        b: Option<usize>,
        la: u64,
        a: Access,
    ) -> Result<Translation, Fault> {
        let (gpa, rights, dirty) = if r.mode == Mode::Off {
            (GuestPhys(la), Rights::ALL, true)
        } else {
            let mut w = Walk::new();
            self.walk(r, la, a, None, &mut w)?;
            (w.gpa, w.rights, w.dirty)
        };
        let m = self.mapping(r, gpa, Purpose::data(a.kind, la));
        if let (Err(_), Some(b)) = (m, b) {
            self.forget_combined(b, la, None);
        }
        m.map(|Mapping { page, rights: ept }| {
            let phys = HostPhys(page | la & 0xfff);
            Translation { phys, rights, dirty, ept, found: None }
        })
    }

    /// The EPT part of a translation.
    fn mapping(&mut self, r: &Regime, gpa: GuestPhys, why: Purpose) -> Result<Mapping, Fault> {
        match r.ept {
            Some(eptp) => self.ept(r, eptp, gpa, why),
            None => Ok(Mapping::identity(gpa.0)),
        }
    }

    /// An EPT violation invalidates the combined mappings of its linear address.
    #[cold]
    fn forget_combined(&mut self, b: usize, la: u64, found: Option<&Found>) {
        let slot = found.and_then(|f| self.shadow.slot_of(f));
        let executed = slot.map_or([true; 2], |s| s.executed());
        let mut count = Count { writers: &mut self.writers, ram: &self.ram };
        self.banks[b].drop_range(la, 12, &mut count);
        if executed != [false; 2] {
            self.renew(b, executed);
        }
    }

    fn insert(&mut self, r: &Regime, b: usize, v: View, la: u64, t: &Translation) {
        let frame = self.ram.frame(t.phys);
        let kinds = frame.map_or(PageKinds::default(), |f| self.kinds.all(f));
        let seen = match v {
            View::Supervisor => true,
            View::User => t.rights.user(),
            View::SupervisorSmap => !t.rights.user(),
        };
        let watched = !self.watched.is_empty() && self.watched.contains(&(la >> 12));
        if kinds.slow_path || watched || !seen || t.ept & ept::R == 0 {
            return;
        }
        let may = t.rights.write() || (v != View::User && !r.wp);
        let permitted = may && t.dirty && t.ept & ept::W != 0;
        let write = permitted && !kinds.code && !kinds.table;
        let (page, phys) = (la & !0xfff, t.phys.page().0);
        let e = match frame {
            None => TlbEntry::device(page, phys, permitted),
            Some(frame) => {
                if write {
                    self.writers.gained(frame, page);
                }
                let host = self.ram.frame_ptr(frame);
                TlbEntry::new(page, phys, host, write, permitted && !write)
            }
        };
        let mut count = Count { writers: &mut self.writers, ram: &self.ram };
        self.banks[b].put(v, e, &mut count);
        self.stats.fills += 1;
    }

    /// Guest-physical to physical alone, for what has no linear address.
    pub fn guest_phys(
        &mut self,
        r: &Regime,
        gpa: GuestPhys,
        k: AccessKind,
    ) -> Result<HostPhys, Fault> {
        let m = self.mapping(r, gpa, Purpose::physical(k))?;
        Ok(HostPhys(m.page | gpa.offset()))
    }

    /// Reads physical memory; None unless all of it is RAM.
    #[must_use]
    pub fn read_phys<const N: usize>(&self, p: HostPhys) -> Option<[u8; N]> {
        let mut buf = [0; N];
        self.ram.read(p, &mut buf).then_some(buf)
    }

    /// Reads physical memory; false unless all of it is RAM.
    #[must_use]
    pub fn read_slice(&self, p: HostPhys, buf: &mut [u8]) -> bool {
        self.ram.read(p, buf)
    }

    /// Writes physical memory, with [`Mmu::note_store`] where needed; false, and nothing done,
    /// unless all of it is RAM. Decoded code is the caller's to drop (see [`Mmu::kinds`]).
    #[must_use]
    pub fn write_slice(&mut self, p: HostPhys, buf: &[u8]) -> bool {
        if !self.ram.write(p, buf) {
            return false;
        }
        for (at, part) in pieces(p, buf.len()) {
            if self.kinds(at).table {
                self.note_store(at, part.len());
            }
        }
        true
    }

    /// A page of kind [`PageKind::Code`] that the MMU itself has stored to (accessed and dirty flags)
    /// since it was last named here. To be asked after a translation until there is none.
    #[inline]
    pub fn code_store(&mut self) -> Option<HostPhys> {
        self.code_stores.pop_first()
    }

    /// The kinds of the frame of `p`; none outside RAM.
    #[must_use]
    #[inline]
    pub fn kinds(&self, p: HostPhys) -> PageKinds {
        self.ram.frame(p).map_or(PageKinds::default(), |f| self.kinds.all(f))
    }

    /// Sets or clears a kind of a frame; setting one drops what the TLBs may no longer hold.
    /// [`PageKind::Table`] and [`PageKind::Ept`] are the MMU's own to set.
    pub fn set_kind(&mut self, p: HostPhys, k: PageKind, on: bool) {
        // Code in a frame stays known while the frame is hidden.
        let structure = matches!(k, PageKind::Table | PageKind::Ept);
        let frame = if structure { self.ram.frame(p) } else { self.ram.place(p) };
        let Some(frame) = frame else { return };
        if self.kinds.set(frame, k, on) == on || !on {
            return;
        }
        match k {
            PageKind::SlowPath => self.drop_frame(p.page().0),
            PageKind::Code | PageKind::Table | PageKind::Ept => {
                self.protect_frame(frame, p.page().0);
            }
        }
    }
}
