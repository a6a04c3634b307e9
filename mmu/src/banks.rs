//! TLB banks and generations: which regime has which bank, and what empties them.

use crate::addr::Linear;
use crate::kinds::PageKind;
use crate::mmu::Mmu;
use crate::regime::{Eptp, Regime, Tag, View};
use crate::tlb::{Count, TlbBank, TlbEntry};
use bitvec::vec::BitVec;

/// Generations fit in 26 bits: the interpreter packs them with the code mode into 28.
const GENERATION_MAX: u64 = (1 << 26) - 1;

/// A TLB bank, and the generations of its execute translations when it was activated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bank {
    /// Number of the bank.
    pub index: u32,
    /// Supervisor, user. See [`Mmu::generation`].
    pub generation: [u64; 2],
}

/// One translation that a TLB holds, for inspection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cached {
    /// Regime that the translation belongs to.
    pub regime: Regime,
    /// In which view; None for execution.
    pub view: Option<View>,
    /// For execution in user mode.
    pub user: bool,
    /// Linear address of the page.
    pub la: u64,
    /// Guest-physical address of the frame.
    pub phys: u64,
    /// Whether it leads to RAM: loads hit.
    pub ram: bool,
    /// Whether stores hit.
    pub writable: bool,
    /// Whether paging permits stores.
    pub permitted: bool,
}

impl Mmu {
    /// Makes `r` current: finds its TLB bank, or evicts the one longest unused. Nothing is flushed.
    #[inline]
    pub fn activate(&mut self, r: &Regime) -> Bank {
        let tag = Tag::new(r);
        if self.banks[self.current].tag != tag {
            self.switch(r, &tag);
        }
        self.ram.window = r.window;
        let generation = self.banks[self.current].generation;
        Bank { index: self.current as u32, generation }
    }

    fn switch(&mut self, r: &Regime, tag: &Tag) {
        self.clock += 1;
        let guess = self.banks[self.current].follower;
        let is = |b: &TlbBank| b.tag == *tag;
        let next = if is(&self.banks[guess]) {
            guess
        } else {
            self.banks.iter().position(is).unwrap_or_else(|| self.evict_bank(r))
        };
        self.banks[self.current].follower = next;
        self.current = next;
        self.banks[next].used = self.clock;
    }

    /// The bank of a regime, if it has one.
    #[inline]
    pub(crate) fn bank_of(&self, r: &Regime) -> Option<usize> {
        let tag = Tag::new(r);
        if self.banks[self.current].tag == tag {
            return Some(self.current);
        }
        self.banks.iter().position(|b| b.tag == tag)
    }

    fn evict_bank(&mut self, r: &Regime) -> usize {
        let oldest = self.banks.iter().enumerate().min_by_key(|(_, b)| b.used);
        let i = oldest.map_or(0, |(i, _)| i);
        self.stats.banks_evicted += u64::from(self.banks[i].regime.is_some());
        self.empty_bank(i);
        self.renew(i, [true; 2]);
        (self.banks[i].regime, self.banks[i].tag) = (Some(*r), Tag::new(r));
        self.assign_role(i);
        i
    }

    /// Gives a bank the role of its regime, and no roots.
    fn assign_role(&mut self, b: usize) {
        let Some(r) = self.banks[b].regime else { return };
        self.banks[b].roots = [0; 4];
        match self.shadow.role(&r) {
            Some(role) => self.banks[b].role = role,
            None => self.flush_all(),
        }
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
    #[inline]
    pub fn generation_wrapped(&mut self) -> bool {
        self.wrapped && core::mem::take(&mut self.wrapped)
    }

    /// Gives a bank new generations.
    pub(crate) fn renew(&mut self, b: usize, which: [bool; 2]) {
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

    /// Everything that the TLBs hold.
    pub fn cached(&self) -> impl Iterator<Item = Cached> {
        self.banks.iter().filter_map(|b| Some((b.regime?, b))).flat_map(|(regime, b)| {
            let views = [View::Supervisor, View::User, View::SupervisorSmap];
            let data = b.entries().map(move |(v, e)| Cached {
                regime,
                view: Some(views[v]),
                user: v == View::User as usize,
                la: e.page(),
                phys: e.frame(),
                ram: !e.is_device(),
                writable: e.writable(),
                permitted: e.permits(e.page(), true),
            });
            data.chain(b.exec_entries().map(move |(user, la, phys)| Cached {
                regime,
                view: None,
                user,
                la,
                phys,
                ram: true,
                writable: false,
                permitted: false,
            }))
        })
    }

    /// INVLPG: nothing to do, for what is cached agrees with memory.
    pub fn invlpg(&mut self, _r: &Regime, _la: Linear) {}

    /// Empties the TLB bank of a regime.
    pub fn flush_regime(&mut self, r: &Regime) {
        if let Some(b) = self.bank_of(r) {
            self.flush_bank(b);
        }
    }

    /// INVEPT: drops guest-physical mappings of one EPT root, or all, and what was built on them.
    pub fn flush_ept(&mut self, ept: Option<Eptp>) {
        self.flush_ept_root(ept.map(Eptp::root));
    }

    /// As [`Mmu::flush_ept`], by the address of the root.
    pub(crate) fn flush_ept_root(&mut self, root: Option<u64>) {
        self.ept_cache.flush(root);
        self.forget_ept_entries(root);
        self.shadow.kill_roles(root);
        for b in 0..self.banks.len() {
            let of = self.banks[b].regime.and_then(|r| r.ept);
            if of.is_some_and(|e| root.is_none_or(|x| x == e.root())) {
                self.flush_bank(b);
                self.assign_role(b);
            }
        }
    }

    /// Drops everything that is cached.
    pub fn flush_all(&mut self) {
        self.ept_cache.flush(None);
        self.shadow.clear();
        self.forget_ept_entries(None);
        self.kinds.clear(PageKind::Table);
        for b in 0..self.banks.len() {
            self.flush_bank(b);
            self.assign_role(b);
        }
    }

    /// The pages of the map (see [`crate::Ram::page`]) that may have been stored to since the last call, which
    /// are clean from now on. All TLBs are emptied, so that stores are seen again.
    pub fn take_dirty(&mut self) -> Vec<usize> {
        (0..self.banks.len()).for_each(|b| self.flush_bank(b));
        let none = BitVec::repeat(false, self.ram.frames());
        let dirty = core::mem::replace(&mut self.ram.stored, none);
        let dirty = dirty | &self.writers.dirty;
        self.writers.dirty.fill(false);
        dirty.iter_ones().collect()
    }

    /// Has no TLB hold these pages, by their linear page numbers, for data: so every access to one is looked at.
    pub fn watch_pages(&mut self, pages: Vec<u64>) {
        if self.watched != pages {
            self.watched = pages;
            (0..self.banks.len()).for_each(|b| self.flush_bank(b));
        }
    }

    /// Replaces page `n` of the map (see [`crate::Ram::page`]). Its address, if it was another and decoded code lies
    /// in the page, which is the caller's to drop; so is, by [`Mmu::flush_all`], all that was made from tables.
    pub fn replace_page(&mut self, n: usize, page: &[u8; 4096]) -> Option<crate::HostPhys> {
        if self.ram.page(n) == page {
            return None;
        }
        *self.ram.page_mut(n) = *page;
        self.kinds.get(n, PageKind::Code).then(|| self.ram.address(n))
    }

    pub(crate) fn flush_bank(&mut self, b: usize) {
        if self.empty_bank(b) {
            self.renew(b, [true; 2]);
        }
    }

    fn empty_bank(&mut self, b: usize) -> bool {
        let mut count = Count { writers: &mut self.writers, ram: &self.ram };
        let any = self.banks[b].clear(&mut count);
        self.stats.flushes += u64::from(any);
        any
    }

    /// Drops a frame from all TLBs.
    pub(crate) fn drop_frame(&mut self, page: u64) {
        for b in 0..self.banks.len() {
            let mut count = Count { writers: &mut self.writers, ram: &self.ram };
            self.banks[b].drop_frame(page, &mut count);
            self.renew(b, [true; 2]);
        }
    }

    /// Makes a frame match no write in any TLB. Mostly one entry does, and it is known where.
    pub(crate) fn protect_frame(&mut self, frame: usize, page: u64) {
        let last = self.writers.last(frame);
        for la in [Some(last), None] {
            for b in 0..self.banks.len() {
                if self.writers.count(frame) == 0 {
                    return;
                }
                let mut count = Count { writers: &mut self.writers, ram: &self.ram };
                self.banks[b].protect(page, la, &mut count);
            }
        }
    }
}
