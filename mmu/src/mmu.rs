//! The machine-wide MMU, shared by all vCPUs: translation, TLB banks, tracking of stores.

use crate::addr::{GuestPhys, HostPhys, Linear};
use crate::ept::{self, Mapping, Purpose};
use crate::kinds::{Kind, KindMap, Kinds};
use crate::paging::Rights;
use crate::ram::{Ram, pieces};
use crate::regime::{Access, AccessKind, Eptp, Fault, Mode, Regime, View};
use crate::tlb::{TlbBank, TlbEntry, bad_tag};

/// Generations fit in 28 bits.
const GENERATION_MAX: u64 = (1 << 28) - 1;

/// Bounds on what is cached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// TLB banks: 1 to 64.
    pub banks: u32,
    /// Shadow pages (4 KiB of host memory each).
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
    /// Walks of guest paging structures.
    pub walks: u64,
    /// Walks of EPT structures.
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
}

/// A TLB bank, and the generations of its execute translations when it was activated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bank {
    /// Which.
    pub index: u32,
    /// Supervisor, user. See [`Mmu::generation`].
    pub generation: [u64; 2],
}

/// A finished translation of one 4 KiB page.
struct Translation {
    phys: HostPhys,
    rights: Rights,
    /// The page is dirty at every level that counts.
    dirty: bool,
    /// What EPT permits: R, W, X.
    ept: u64,
}

/// Memory as the processors see it.
pub struct Mmu {
    /// RAM.
    pub ram: Ram,
    kinds: KindMap,
    banks: Vec<TlbBank>,
    current: usize,
    clock: u64,
    next_generation: u64,
    wrapped: bool,
    changed: bool,
    code_stores: Vec<HostPhys>,
    pub(crate) ept_cache: ept::Cache,
    pub(crate) stats: Stats,
}

impl Mmu {
    /// An MMU on `ram` with empty caches.
    #[must_use]
    pub fn new(ram: Ram, limits: Limits) -> Mmu {
        let mut mmu = Mmu {
            kinds: KindMap::new(ram.frames()),
            banks: (0..limits.banks.clamp(1, 64)).map(|_| TlbBank::new()).collect(),
            current: 0,
            clock: 0,
            next_generation: 1,
            wrapped: false,
            changed: false,
            code_stores: Vec::new(),
            ept_cache: ept::Cache::new(),
            stats: Stats::default(),
            ram,
        };
        (0..mmu.banks.len()).for_each(|b| mmu.renew(b, [true; 2]));
        mmu
    }

    /// Counts so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Makes `r` current: finds its TLB bank, or evicts the one longest unused. Nothing is flushed.
    #[inline]
    pub fn activate(&mut self, r: &Regime) -> Bank {
        if self.banks[self.current].regime.as_ref() != Some(r) {
            self.switch(r);
        }
        let generation = self.banks[self.current].generation;
        Bank { index: self.current as u32, generation }
    }

    fn switch(&mut self, r: &Regime) {
        self.clock += 1;
        let found = self.banks.iter().position(|b| b.regime.as_ref() == Some(r));
        self.current = found.unwrap_or_else(|| self.evict_bank(r));
        self.banks[self.current].used = self.clock;
    }

    fn evict_bank(&mut self, r: &Regime) -> usize {
        let oldest = self.banks.iter().enumerate().min_by_key(|(_, b)| b.used);
        let i = oldest.map_or(0, |(i, _)| i);
        self.stats.banks_evicted += u64::from(self.banks[i].regime.is_some());
        self.empty_bank(i);
        self.renew(i, [true; 2]);
        self.banks[i].regime = Some(*r);
        i
    }

    /// The generations of a bank's execute translations, supervisor and user. A number changes
    /// whenever one that existed may have changed or gone; numbers are never used twice.
    #[must_use]
    #[inline]
    pub fn generation(&self, b: u32) -> [u64; 2] {
        self.banks[b as usize].generation
    }

    /// Whether a generation or a bank has changed since this was last asked.
    #[inline]
    pub fn changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// Whether generations have started over since this was last asked: stamped links are void.
    pub fn generation_wrapped(&mut self) -> bool {
        core::mem::take(&mut self.wrapped)
    }

    fn renew(&mut self, b: usize, which: [bool; 2]) {
        for (i, _) in which.iter().enumerate().filter(|(_, w)| **w) {
            if self.next_generation > GENERATION_MAX {
                self.restart_generations();
            }
            self.banks[b].generation[i] = self.next_generation;
            self.next_generation += 1;
        }
        self.changed = true;
    }

    fn restart_generations(&mut self) {
        self.wrapped = true;
        self.next_generation = 1;
        for g in self.banks.iter_mut().flat_map(|b| &mut b.generation) {
            *g = self.next_generation;
            self.next_generation += 1;
        }
    }

    /// The first entry of view `v` of bank `b`.
    #[inline]
    pub fn tlb(&mut self, b: u32, v: View) -> *mut TlbEntry {
        self.banks[b as usize].view(v)
    }

    /// Translates one access that stays in a page; fills no TLB.
    pub fn translate(&mut self, r: &Regime, la: Linear, a: Access) -> Result<HostPhys, Fault> {
        self.lookup(r, la.0, a).map(|t| t.phys)
    }

    /// Translates, and puts the page into bank `b`, view `v`, if it is RAM that may be there.
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
        let t = self.lookup(r, la.0, a)?;
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
        let a = Access { kind: AccessKind::Execute, user, ac: false, implicit: false };
        let t = self.lookup(r, la.0, a)?;
        if self.ram.frame(t.phys).is_some_and(|f| !self.kinds.get(f, Kind::Trap)) {
            self.stats.fills += 1;
            self.banks[b].put_exec(user, la.0, t.phys.page().0);
        }
        Ok(t.phys)
    }

    /// The translation of one access, by whatever is cached.
    fn lookup(&mut self, r: &Regime, la: u64, a: Access) -> Result<Translation, Fault> {
        let (gpa, rights, dirty) = if r.mode == Mode::Off {
            (GuestPhys(la), Rights::ALL, true)
        } else {
            let w = self.walk(r, la, a)?;
            w.steps().iter().for_each(|s| self.track(s.at));
            (w.gpa, w.rights, w.dirty)
        };
        let Mapping { page, rights: ept } = self.mapping(r, gpa, Purpose::data(a.kind, la))?;
        Ok(Translation { phys: HostPhys(page | gpa.offset()), rights, dirty, ept })
    }

    #[inline]
    fn mapping(&mut self, r: &Regime, gpa: GuestPhys, why: Purpose) -> Result<Mapping, Fault> {
        match r.ept {
            Some(eptp) => self.ept(r, eptp, gpa, why),
            None => Ok(Mapping { page: gpa.page().0, rights: ept::R | ept::W | ept::X }),
        }
    }

    /// Marks the frame of a paging structure.
    fn track(&mut self, at: HostPhys) {
        if !self.kinds(at).table {
            self.set_kind(at, Kind::Table, true);
        }
    }

    fn insert(&mut self, r: &Regime, b: usize, v: View, la: u64, t: &Translation) {
        let Some(frame) = self.ram.frame(t.phys) else { return };
        let kinds = self.kinds.all(frame);
        let seen = match v {
            View::Supervisor => true,
            View::User => t.rights.user,
            View::SupervisorSmap => !t.rights.user,
        };
        if kinds.trap || !seen {
            return;
        }
        let page = la & !0xfff;
        let bad = bad_tag((la >> 12) as usize % crate::TLB_ENTRIES);
        let may = t.rights.write || (v != View::User && !r.wp);
        let write = may && t.dirty && t.ept & ept::W != 0 && !kinds.code && !kinds.table;
        let addend = (self.ram.frame_ptr(frame) as u64).wrapping_sub(page);
        let rtag = if t.ept & ept::R != 0 { page } else { bad };
        let wtag = if write { page } else { bad };
        self.stats.fills += 1;
        self.banks[b].put(v, la, TlbEntry { rtag, wtag, addend, phys: t.phys.page().0 });
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

    /// Tells of a store to a frame of kind [`Kind::Table`], before or after it is made: drops
    /// exactly what was built from those bytes.
    pub fn note_store(&mut self, p: HostPhys, len: usize) {
        if pieces(p, len).any(|(at, _)| self.kinds(at).table) {
            self.flush_all();
        }
    }

    /// After the MMU's own store to a paging structure.
    pub(crate) fn wrote_entry(&mut self, at: HostPhys, _bytes: u64) {
        if self.kinds(at).code {
            self.code_stores.push(at);
        }
    }

    /// A store that the MMU itself made (accessed and dirty flags) to a frame of kind
    /// [`Kind::Code`]; each is told once, and there may be several.
    pub fn code_store(&mut self) -> Option<HostPhys> {
        self.code_stores.pop()
    }

    /// The kinds of the frame of `p`; none outside RAM.
    #[must_use]
    #[inline]
    pub fn kinds(&self, p: HostPhys) -> Kinds {
        self.ram.frame(p).map_or(Kinds::default(), |f| self.kinds.all(f))
    }

    /// Sets or clears a kind of a frame; setting one drops what the TLBs may no longer hold.
    pub fn set_kind(&mut self, p: HostPhys, k: Kind, on: bool) {
        let Some(frame) = self.ram.frame(p) else { return };
        if self.kinds.set(frame, k, on) || !on {
            return;
        }
        for b in 0..self.banks.len() {
            if k != Kind::Trap {
                self.banks[b].protect_frame(p.page().0);
            } else if self.banks[b].drop_frame(p.page().0) {
                self.renew(b, [true; 2]);
            }
        }
    }

    /// INVLPG: nothing to do, for what is cached agrees with memory.
    pub fn invlpg(&mut self, _r: &Regime, _la: Linear) {}

    /// Empties the TLB bank of a regime.
    pub fn flush_regime(&mut self, r: &Regime) {
        if let Some(b) = self.banks.iter().position(|b| b.regime.as_ref() == Some(r)) {
            self.flush_bank(b);
        }
    }

    /// INVEPT: drops guest-physical mappings of one EPT root, or all, and what was built on them.
    pub fn flush_ept(&mut self, ept: Option<Eptp>) {
        self.ept_cache.flush(ept.map(Eptp::root));
        for b in 0..self.banks.len() {
            let of = self.banks[b].regime.and_then(|r| r.ept);
            if of.is_some_and(|e| ept.is_none_or(|x| x.root() == e.root())) {
                self.flush_bank(b);
            }
        }
    }

    /// Drops everything that is cached.
    pub fn flush_all(&mut self) {
        self.ept_cache.flush(None);
        (0..self.banks.len()).for_each(|b| self.flush_bank(b));
        self.kinds.clear(Kind::Table);
        self.stats.dropped += 1;
    }

    fn flush_bank(&mut self, b: usize) {
        if self.empty_bank(b) {
            self.renew(b, [true; 2]);
        }
    }

    fn empty_bank(&mut self, b: usize) -> bool {
        self.banks[b].clear()
    }
}
