//! What keeps shadow pages and TLBs in agreement with the paging structures in memory.
//!
//! The chain is: a TLB entry exists only while the shadow entries it came through do, and a shadow
//! entry only while the guest's bytes are what it was made from. Each shadow page knows the TLB
//! banks that came through it and, where it has leaves, the linear address of its first entry. So a
//! dropped leaf is one look in each of those banks.

use crate::addr::HostPhys;
use crate::kinds::PageKind;
use crate::mmu::Mmu;
use crate::paging::Rights;
use crate::ram::pieces;
use crate::regime::{Access, Fault, Mode, Regime};
use crate::shadow::{ENTRIES, Found, Key, Slot};
use crate::walk::{Step, Walk};

/// After this many stores without a walk through it, a table is taken to be one no longer.
const FLOOD: u32 = 64;
/// Nor is one overwritten by so many bytes at once.
const BULK: usize = 1024;
/// TLB entries of a bank that are looked for one by one; where it would be more, the bank starts afresh.
const SEARCH: usize = 4096;

/// Which of a bank's four roots `la` is under.
#[inline]
pub(crate) fn root_index(mode: Mode, la: u64) -> usize {
    if matches!(mode, Mode::Level4 | Mode::Level5) { 0 } else { (la >> 30 & 3) as usize }
}

/// The lowest bit of `la` that a top shadow page's index uses.
#[inline]
pub(crate) fn root_shift(r: &Regime) -> u32 {
    12 + 9 * (u32::from(r.top()) - 1)
}

/// The numbers of the bits set.
fn ones(mut mask: u64) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        let i = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (i < 64).then_some(i as usize)
    })
}

impl Mmu {
    /// Walks for `a`, from the deepest shadow page on the way, and caches the result for bank `b`.
    /// `lacks` is that page and the rights above it, if it is known.
    #[cold]
    pub(crate) fn walk_and_install(
        &mut self,
        r: &Regime,
        b: usize,
        la: u64,
        a: Access,
        lacks: Option<(u32, Rights)>,
    ) -> Result<Found, Fault> {
        let root = Slot(self.banks[b].roots[root_index(r.mode, la)]);
        let mut w = Walk::new();
        let known = lacks.and_then(|(page, rights)| self.shadow.start(page, rights));
        if let Some((page, start)) = known.or_else(|| self.shadow.deepest(root, la)) {
            let link = self.shadow.link_to(page, Rights::ALL);
            self.walk(r, la, a, Some(start), &mut w)?;
            let frame = self.shadow.frame_of(&self.ram, w.steps()[0].at);
            let same = self.shadow.pages[page as usize].key.frame == frame;
            if same && self.shadow.target(link) == Some(page) {
                return Ok(self.install(r, b, la, &w, Some(page)));
            }
            // EPT flags were set in that very table, or EPT has moved it.
        }
        self.walk(r, la, a, None, &mut w)?;
        Ok(self.install(r, b, la, &w, None))
    }

    /// Caches a walk that began at shadow page `first`, or at the root.
    fn install(&mut self, r: &Regime, b: usize, la: u64, w: &Walk, first: Option<u32>) -> Found {
        self.shadow.begin();
        let steps = w.steps();
        let mut pages = [0; 5];
        if let Some(first) = first {
            self.shadow.pin(first);
            pages[0] = first;
        }
        let known = usize::from(first.is_some());
        for (page, step) in pages.iter_mut().zip(steps).skip(known) {
            *page = self.page_for(r, b, la, step);
        }
        if first.is_none() {
            self.set_root(b, root_index(r.mode, la), self.shadow.link_to(pages[0], Rights::ALL));
        }
        for (i, s) in steps[..steps.len() - 1].iter().enumerate() {
            let link = self.shadow.link_to(pages[i + 1], s.rights);
            self.set_slot(pages[i], la, link);
        }
        let last = steps.len() - 1;
        let page = pages[last];
        let shift = self.shadow.pages[page as usize].key.shift();
        let leaf = Slot::leaf(w.gpa.0 & u64::MAX << shift, steps[last].rights, w.dirty);
        let index = self.set_slot(page, la, leaf) as u32;
        self.shadow.pages[page as usize].reached(la);
        Found { page, index, slot: leaf, gpa: w.gpa.0, rights: w.rights }
    }

    /// Finds or makes the shadow page of one step's table.
    fn page_for(&mut self, r: &Regime, b: usize, la: u64, s: &Step) -> u32 {
        let slice = match (r.mode, s.level) {
            (Mode::Bits32 { .. }, 2) => la >> 30 & 3,
            (Mode::Bits32 { .. }, _) => la >> 21 & 1,
            _ => 0,
        };
        let key = Key {
            frame: self.shadow.frame_of(&self.ram, s.at),
            role: self.banks[b].role,
            level: s.level,
            slice: slice as u8,
            entry_bytes: r.entry_bytes() as u8,
            top: s.level == r.top(),
        };
        let table = s.gpa.page().0;
        let page = match self.shadow.find(key, table) {
            Some(page) => page,
            None => self.add_page(key, table, s.at),
        };
        let p = &mut self.shadow.pages[page as usize];
        p.banks |= 1 << b;
        p.idle = 0;
        page
    }

    fn add_page(&mut self, key: Key, table: u64, at: HostPhys) -> u32 {
        self.reap(key.frame);
        if !self.shadow.has_room() {
            self.stats.shadow_evicted += 1;
            let victim = self.shadow.victim();
            self.destroy(victim);
        }
        let page = self.shadow.add(key, table);
        self.stats.shadow_peak = self.stats.shadow_peak.max(self.shadow.live() as u64);
        self.set_kind(at, PageKind::Table, true);
        page
    }

    /// Removes shadow pages of a frame that nothing will look for.
    fn reap(&mut self, frame: u32) {
        let mut next = self.shadow.first(frame);
        while let Some(page) = next {
            next = self.shadow.pages[page as usize].next;
            if self.shadow.is_dead(page) {
                self.destroy(page);
            }
        }
    }

    fn set_root(&mut self, b: usize, i: usize, root: Slot) {
        let old = Slot(self.banks[b].roots[i]);
        if old == root {
            return;
        }
        // With EPT, the root's frame may have changed without INVEPT.
        if self.shadow.target(old).is_some() {
            self.flush_bank(b);
        }
        self.banks[b].roots[i] = root.0;
    }

    /// Makes `new` the entry for `la` in a shadow page. Returns its index.
    fn set_slot(&mut self, page: u32, la: u64, new: Slot) -> usize {
        let p = &self.shadow.pages[page as usize];
        let index = (la >> p.key.shift()) as usize % ENTRIES;
        let old = p.slots[index];
        let mut new = new;
        if old.same_but_history(new) {
            new = new.with_history(old);
        } else if !old.is_empty() {
            self.drop_slot(page, index);
        }
        let p = &mut self.shadow.pages[page as usize];
        p.live += u32::from(p.slots[index].is_empty());
        p.slots[index] = new;
        index
    }

    /// Tells of a store to a frame of kind [`PageKind::Table`] or [`PageKind::Ept`], before or after it is made:
    /// drops what was built from those bytes.
    pub fn note_store(&mut self, p: HostPhys, len: usize) {
        if p.offset() as usize + len <= 4096 {
            return self.note_store_in(p, len);
        }
        for (at, part) in pieces(p, len) {
            self.note_store_in(at, part.len());
        }
    }

    /// As `note_store`, inside a frame.
    fn note_store_in(&mut self, p: HostPhys, len: usize) {
        let Some(frame) = self.ram.frame(p) else { return };
        self.ept_entries_stored(frame, p.offset() as usize, len);
        self.shadow_stored(frame, p, len);
    }

    /// Bytes of a frame have been stored: drops the shadow entries made from them.
    fn shadow_stored(&mut self, frame: usize, p: HostPhys, len: usize) {
        let mut next = self.shadow.first(frame as u32);
        while let Some(page) = next {
            next = self.shadow.pages[page as usize].next;
            self.stored(page, p.offset() as usize, len);
        }
    }

    /// A store to the bytes of one shadow page.
    fn stored(&mut self, page: u32, offset: usize, len: usize) {
        self.drop_covered(page, offset, len);
        let stores = self.shadow.count_store(page);
        if stores >= FLOOD || len >= BULK || self.shadow.is_dead(page) {
            self.destroy(page);
        }
    }

    fn drop_covered(&mut self, page: u32, offset: usize, len: usize) {
        for i in self.shadow.pages[page as usize].key.covered(offset, offset + len - 1) {
            if !self.shadow.pages[page as usize].slots[i].is_empty() {
                self.drop_slot(page, i);
            }
        }
    }

    /// The MMU itself set accessed or dirty flags in a guest's entry of `bytes` bytes. Shadow
    /// entries of the same width do not mind; in others the flag is some other bit.
    pub(crate) fn marked_entry(&mut self, at: HostPhys, bytes: u64) {
        let Some(frame) = self.ram.frame(at) else { return };
        self.code_stored(frame, at);
        self.ept_entries_stored(frame, at.offset() as usize, bytes as usize);
        let mut next = self.shadow.first(frame as u32);
        while let Some(page) = next {
            let p = &self.shadow.pages[page as usize];
            next = p.next;
            if u64::from(p.key.entry_bytes) != bytes {
                self.drop_covered(page, at.offset() as usize, bytes as usize);
            }
        }
    }

    /// The MMU itself set accessed or dirty flags in an EPT entry.
    pub(crate) fn marked_ept(&mut self, at: HostPhys) {
        let Some(frame) = self.ram.frame(at) else { return };
        self.code_stored(frame, at);
        if self.kinds.get(frame, PageKind::Table) {
            self.shadow_stored(frame, at, 8);
        }
    }

    fn code_stored(&mut self, frame: usize, at: HostPhys) {
        if self.kinds.get(frame, PageKind::Code) {
            self.code_stores.insert(at.page());
        }
    }

    /// Drops a shadow entry in use, and what was reached through the entry.
    fn drop_slot(&mut self, page: u32, index: usize) {
        self.stats.dropped += 1;
        let banks = self.banks_of(page);
        let p = &mut self.shadow.pages[page as usize];
        let slot = core::mem::take(&mut p.slots[index]);
        p.live -= 1;
        self.unreach_slot(page, index, slot, banks);
    }

    /// The banks that may hold translations made through a page.
    fn banks_of(&self, page: u32) -> u64 {
        let p = &self.shadow.pages[page as usize];
        if !p.key.top {
            return p.banks;
        }
        // A bank has moved on from a top page when it has another root: exact, so that reusing a
        // dead process's top table disturbs nobody.
        ones(p.banks)
            .filter(|b| self.banks.get(*b).is_some_and(|b| self.is_root(b.roots, page)))
            .fold(0, |m, b| m | 1 << b)
    }

    fn is_root(&self, roots: [u64; 4], page: u32) -> bool {
        roots.iter().any(|root| self.shadow.target(Slot(*root)) == Some(page))
    }

    /// Drops from the TLBs of `banks` what was reached through one entry.
    fn unreach_slot(&mut self, page: u32, index: usize, slot: Slot, banks: u64) {
        if slot.is_leaf() {
            self.unmap(page, index, slot, banks);
        } else if let Some(child) = self.shadow.target(slot) {
            self.unreach(child, banks);
        }
    }

    /// Drops from the TLBs of `banks` what was reached through a page. Its entries stay.
    fn unreach(&mut self, page: u32, banks: u64) {
        let p = &self.shadow.pages[page as usize];
        let banks = banks & p.banks;
        if banks == 0 || p.live == 0 {
            return;
        }
        if self.entries_under(page) > SEARCH {
            ones(banks).for_each(|b| self.flush_bank(b));
            return;
        }
        for index in 0..ENTRIES {
            let slot = self.shadow.pages[page as usize].slots[index];
            if !slot.is_empty() {
                self.unreach_slot(page, index, slot, banks);
            }
        }
    }

    /// How many TLB entries of a bank may have come through a page; counted up to [`SEARCH`].
    fn entries_under(&self, page: u32) -> usize {
        let p = &self.shadow.pages[page as usize];
        match p.key.level {
            1 => p.live as usize,
            2 => {
                let mut entries = 0;
                for slot in p.slots.iter().filter(|slot| !slot.is_empty()) {
                    let child = self.shadow.target(*slot).map(|c| &self.shadow.pages[c as usize]);
                    // A large page has an entry for each of its 4 KiB pages.
                    entries +=
                        if slot.is_leaf() { ENTRIES } else { child.map_or(0, |c| c.live as usize) };
                    if entries > SEARCH {
                        break;
                    }
                }
                entries
            }
            // Upwards of 512 GiB nobody counts.
            _ => usize::MAX,
        }
    }

    /// Drops from the TLBs of `banks` the page or pages that a leaf maps.
    fn unmap(&mut self, page: u32, index: usize, slot: Slot, banks: u64) {
        let p = &self.shadow.pages[page as usize];
        let (many, base, shift) = (p.many, p.base, p.key.shift());
        let Some(base) = base else { return };
        let la = base | (index as u64) << shift;
        for b in ones(banks & p.banks) {
            if many {
                self.flush_bank(b);
                continue;
            }
            let mut count = crate::tlb::Count { writers: &mut self.writers, ram: &self.ram };
            self.banks[b].drop_range(la, shift, &mut count);
            if slot.executed() != [false; 2] {
                self.renew(b, slot.executed());
            }
        }
    }

    /// Removes a shadow page, with what was reached through the page.
    fn destroy(&mut self, page: u32) {
        if !self.shadow.is_dead(page) {
            let banks = self.banks_of(page);
            self.unreach(page, banks);
        }
        let frame = self.shadow.pages[page as usize].key.frame;
        if self.shadow.remove(page) && frame != self.shadow.outside() {
            self.kinds.set(frame as usize, PageKind::Table, false);
        }
    }
}
