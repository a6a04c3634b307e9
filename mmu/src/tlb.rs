//! TLB banks: one per regime in use, each with three views for data and two for execution.
//! The interpreter reads the data entries through a raw pointer; only this file writes them. Beside
//! them a bank keeps a few *victims*: entries that others have displaced, so that pages which share a
//! slot change places instead of being looked up anew.
#![expect(unsafe_code, reason = "the entries are shared with the interpreter by raw pointer")]

use crate::kinds::Writers;
use crate::regime::{Regime, Tag, View};
use core::ptr::NonNull;

/// Entries of one view. The index of a linear address is `(la >> 12) % TLB_ENTRIES`.
pub const TLB_ENTRIES: usize = 1024;
/// The tag of an entry that matches nothing: not canonical with 4 nor 5 levels. The slot that this
/// very address would index holds a neighbour's tag instead, so that even an access to a
/// non-canonical address cannot match: see [`TlbEntry::empty`].
pub const TLB_BAD: u64 = 0x5555_0000_0000_0000;
const VIEWS: usize = 3;

/// One translation, for the interpreter's fast path: with `x = la ^ tag`, it hits if
/// `x <= 4096 - size`, and the host address is `addend + la`.
#[repr(C, align(32))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TlbEntry {
    /// The page, if reads hit.
    pub rtag: u64,
    /// The page, if writes hit.
    pub wtag: u64,
    /// Host address minus linear address.
    pub addend: u64,
    /// The frame, and [`TlbEntry::TOLD`] and [`TlbEntry::DEVICE`].
    pub phys: u64,
}

/// The tag that no address can match in slot `index`.
#[inline]
pub(crate) const fn bad_tag(index: usize) -> u64 {
    TLB_BAD ^ ((index == slot(TLB_BAD)) as u64) << 12
}

#[inline]
const fn slot(la: u64) -> usize {
    (la >> 12) as usize % TLB_ENTRIES
}

impl TlbEntry {
    /// Paging permits stores, but no store hits: the frame held code or a paging structure when the
    /// entry was made, so that somebody has to be told of them.
    pub const TOLD: u64 = 1;
    /// The frame is outside RAM, so that nothing hits; `addend` is the page, which paging permits to
    /// read, and to write if the entry is `TOLD`.
    pub const DEVICE: u64 = 2;

    /// The frame that the entry maps to.
    #[inline]
    #[must_use]
    pub const fn frame(&self) -> u64 {
        self.phys & !0xfff
    }

    /// The page that the entry maps.
    #[inline]
    #[must_use]
    pub const fn page(&self) -> u64 {
        if self.is_device() { self.addend } else { self.rtag }
    }

    /// Whether it leads out of RAM.
    #[inline]
    #[must_use]
    pub const fn is_device(&self) -> bool {
        self.phys & 0xfff & !TlbEntry::TOLD == TlbEntry::DEVICE
    }

    /// Whether it says that paging permits a load (or, if `write`, a store) at `la`, hit or not.
    #[inline]
    #[must_use]
    pub const fn permits(&self, la: u64, write: bool) -> bool {
        // Most often it is of another page.
        if self.page() != la & !0xfff {
            return false;
        }
        let valid = self.phys & 0xfff <= TlbEntry::TOLD | TlbEntry::DEVICE;
        valid && (!write || self.wtag == self.rtag && !self.is_device() || self.is_told())
    }

    /// Whether stores are permitted, but do not hit.
    #[inline]
    pub(crate) const fn is_told(&self) -> bool {
        self.phys & 0xfff & TlbEntry::TOLD != 0
    }

    /// An entry of `page` in `frame` outside RAM; `write`: stores are permitted too.
    #[inline]
    pub(crate) fn device(page: u64, frame: u64, write: bool) -> TlbEntry {
        let bad = bad_tag(slot(page));
        let phys = frame | TlbEntry::DEVICE | if write { TlbEntry::TOLD } else { 0 };
        TlbEntry { rtag: bad, wtag: bad, addend: page, phys }
    }

    /// No entry, in no slot.
    const NONE: TlbEntry = TlbEntry::empty(0);

    /// Whether it is an entry at all.
    #[inline]
    const fn is_valid(&self) -> bool {
        self.phys != u64::MAX
    }

    /// What never matches in the slot `index`.
    #[must_use]
    pub const fn empty(index: usize) -> TlbEntry {
        TlbEntry { rtag: bad_tag(index), wtag: bad_tag(index), addend: 0, phys: u64::MAX }
    }

    /// An entry of `page` in RAM frame `frame` at host address `host`, that reads may use, and stores
    /// if `write`; `told`: stores are permitted, but have to be told of.
    #[inline]
    pub(crate) fn new(page: u64, frame: u64, host: *mut u8, write: bool, told: bool) -> TlbEntry {
        let wtag = if write { page } else { bad_tag(slot(page)) };
        let phys = frame | if told { TlbEntry::TOLD } else { 0 };
        TlbEntry { rtag: page, wtag, addend: (host as u64).wrapping_sub(page), phys }
    }

    /// Whether the entry serves writes.
    #[inline]
    pub(crate) fn writable(&self) -> bool {
        self.wtag == self.rtag && self.phys & 0xfff == 0
    }
}

/// Victims of one view.
const VICTIMS: usize = 64;

/// The place of a page among the victims. Pages that share a slot have different ones, unless they
/// lie a multiple of 256 MiB apart.
#[inline]
const fn victim_place(la: u64) -> usize {
    (la >> 12 ^ la >> 22) as usize % VICTIMS
}

/// The entries of one view.
#[repr(C, align(4096))]
pub struct TlbView(pub [TlbEntry; TLB_ENTRIES]);

impl TlbView {
    /// Entries that never match.
    pub const EMPTY: TlbView = {
        let mut all = [TlbEntry::empty(0); TLB_ENTRIES];
        let mut index = 1;
        while index < TLB_ENTRIES {
            all[index] = TlbEntry::empty(index);
            index += 1;
        }
        TlbView(all)
    };
}

/// One translation for execution.
#[derive(Clone, Copy)]
struct ExecEntry {
    tag: u64,
    phys: u64,
}

impl ExecEntry {
    const fn empty(index: usize) -> ExecEntry {
        ExecEntry { tag: bad_tag(index), phys: u64::MAX }
    }
}

/// How the bank finds the frame numbers that [`Writers`] counts by.
pub(crate) struct Count<'a> {
    pub(crate) writers: &'a mut Writers,
    pub(crate) ram: &'a crate::Ram,
}

impl Count<'_> {
    #[inline]
    fn lost(&mut self, e: &TlbEntry) {
        if e.writable()
            && let Some(frame) = self.ram.place(crate::HostPhys(e.frame()))
        {
            self.writers.lost(frame);
        }
    }
}

/// The translations of one regime.
pub(crate) struct TlbBank {
    pub(crate) regime: Option<Regime>,
    /// Tag of the regime that the entries belong to.
    pub(crate) tag: Tag,
    /// How the regime's entries are read; see `shadow`.
    pub(crate) role: u16,
    /// Links to the top shadow pages; 32-bit and PAE paging have four.
    pub(crate) roots: [u64; 4],
    /// The bank that was last made current after this one.
    pub(crate) follower: usize,
    /// When it was last made current, for LRU.
    pub(crate) used: u64,
    /// Of execute translations: supervisor, user.
    pub(crate) generation: [u64; 2],
    /// Whether anything was put in since it was emptied.
    dirty: bool,
    /// `VIEWS * TLB_ENTRIES` entries, freed on drop.
    data: NonNull<TlbEntry>,
    exec: Box<[[ExecEntry; TLB_ENTRIES]; 2]>,
    /// Displaced data entries, by [`victim_place`].
    victims: Box<[[TlbEntry; VICTIMS]; VIEWS]>,
    /// The places among the victims where any view may have one, a bit each.
    displaced: u64,
}

// SAFETY: `data` is owned, like a box.
unsafe impl Send for TlbBank {}

impl TlbBank {
    pub(crate) fn new() -> TlbBank {
        let all: Box<[TlbView]> = (0..VIEWS).map(|_| TlbView::EMPTY).collect();
        TlbBank {
            regime: None,
            tag: Tag::NONE,
            role: 0,
            roots: [0; 4],
            follower: 0,
            used: 0,
            generation: [0; 2],
            dirty: false,
            data: NonNull::from(Box::leak(all)).cast(),
            exec: Box::new([core::array::from_fn(ExecEntry::empty); 2]),
            victims: Box::new([[TlbEntry::NONE; VICTIMS]; VIEWS]),
            displaced: 0,
        }
    }

    /// The first entry of a view.
    #[inline]
    pub(crate) fn view(&self, v: View) -> *mut TlbEntry {
        // SAFETY: the allocation holds all views.
        unsafe { self.data.as_ptr().add(v as usize * TLB_ENTRIES) }
    }

    #[inline]
    fn at(&mut self, view: usize, index: usize) -> &mut TlbEntry {
        assert!(view < VIEWS && index < TLB_ENTRIES);
        // SAFETY: in bounds; the interpreter holds no reference while the MMU runs.
        unsafe { &mut *self.data.as_ptr().add(view * TLB_ENTRIES + index) }
    }

    /// All data entries: view, entry.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (usize, TlbEntry)> {
        // SAFETY: the allocation holds that many; it is only read, and not while it is written.
        let all = unsafe { core::slice::from_raw_parts(self.data.as_ptr(), VIEWS * TLB_ENTRIES) };
        let victims = self.victims.iter().enumerate();
        let victims = victims.flat_map(|(v, all)| all.iter().map(move |e| (v, *e)));
        let all = all.iter().enumerate().map(|(i, e)| (i / TLB_ENTRIES, *e));
        all.chain(victims).filter(|(_, e)| e.is_valid())
    }

    /// All execute entries: user, page, frame.
    pub(crate) fn exec_entries(&self) -> impl Iterator<Item = (bool, u64, u64)> {
        let all =
            |user: bool| self.exec[usize::from(user)].iter().map(move |e| (user, e.tag, e.phys));
        all(false).chain(all(true)).filter(|e| e.2 != u64::MAX)
    }

    /// Puts a translation in.
    #[inline]
    pub(crate) fn put(&mut self, v: View, e: TlbEntry, count: &mut Count<'_>) {
        self.dirty = true;
        self.take_victim(v, e.page(), count);
        self.place(v, e, count);
    }

    /// Puts an entry in, and what it displaces among the victims.
    fn place(&mut self, v: View, e: TlbEntry, count: &mut Count<'_>) {
        let old = core::mem::replace(self.at(v as usize, slot(e.page())), e);
        if !old.is_valid() {
            return;
        }
        if old.page() == e.page() {
            return count.lost(&old);
        }
        let place = victim_place(old.page());
        let older = core::mem::replace(&mut self.victims[v as usize][place], old);
        count.lost(&older);
        self.displaced |= 1 << place;
    }

    /// Drops the victim of a page.
    #[inline]
    fn take_victim(&mut self, v: View, page: u64, count: &mut Count<'_>) {
        let place = victim_place(page);
        if self.displaced >> place & 1 != 0 {
            let e = &mut self.victims[v as usize][place];
            if e.is_valid() && e.page() == page {
                count.lost(e);
                *e = TlbEntry::NONE;
            }
        }
    }

    /// Puts the victim back that serves an access at `la`: the frame.
    #[inline]
    pub(crate) fn recall(
        &mut self,
        v: View,
        la: u64,
        write: bool,
        count: &mut Count<'_>,
    ) -> Option<u64> {
        let place = victim_place(la);
        if self.displaced >> place & 1 == 0 {
            return None;
        }
        let e = self.victims[v as usize][place];
        if !e.permits(la, write) {
            return None;
        }
        self.victims[v as usize][place] = TlbEntry::NONE;
        self.place(v, e, count);
        Some(e.frame())
    }

    /// Drops the victims at some places whose page and frame satisfy `which`.
    fn drop_victims(
        &mut self,
        places: u64,
        which: impl Fn(u64, u64) -> bool,
        count: &mut Count<'_>,
    ) {
        let mut left = self.displaced & places;
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            left &= left - 1;
            let mut kept = false;
            for view in self.victims.iter_mut() {
                let e = &mut view[place];
                if e.is_valid() && which(e.page(), e.frame()) {
                    count.lost(e);
                    *e = TlbEntry::NONE;
                }
                kept |= e.is_valid();
            }
            if !kept {
                self.displaced &= !(1 << place);
            }
        }
    }

    /// The frame that `la` executes from.
    #[inline]
    pub(crate) fn exec(&self, user: bool, la: u64) -> Option<u64> {
        let e = &self.exec[usize::from(user)][slot(la)];
        (e.tag == la & !0xfff).then_some(e.phys)
    }

    /// Notes that a translation for execution was given out.
    #[inline]
    pub(crate) fn gave_exec(&mut self) {
        self.dirty = true;
    }

    #[inline]
    pub(crate) fn put_exec(&mut self, user: bool, la: u64, phys: u64) {
        self.exec[usize::from(user)][slot(la)] = ExecEntry { tag: la & !0xfff, phys };
    }

    /// Drops everything. Returns whether there was anything.
    pub(crate) fn clear(&mut self, count: &mut Count<'_>) -> bool {
        if !self.dirty {
            return false;
        }
        self.drop_if(0..TLB_ENTRIES, |_, _| true, count);
        self.drop_victims(u64::MAX, |_, _| true, count);
        self.dirty = false;
        true
    }

    /// Drops the pages from `la` on, `1 << shift` bytes.
    #[inline]
    pub(crate) fn drop_range(&mut self, la: u64, shift: u32, count: &mut Count<'_>) {
        if shift == 12 {
            return self.drop_page(la & !0xfff, count);
        }
        let pages = 1usize << (shift - 12).min(10);
        let from = slot(la) & !(pages - 1);
        let which = |page: u64, _| (page ^ la) >> shift == 0;
        self.drop_if(from..from + pages, which, count);
        self.drop_victims(u64::MAX, which, count);
    }

    /// Drops one page.
    fn drop_page(&mut self, page: u64, count: &mut Count<'_>) {
        let i = slot(page);
        for v in 0..VIEWS {
            let e = self.at(v, i);
            if e.page() == page {
                count.lost(e);
                *e = TlbEntry::empty(i);
            }
        }
        for e in self.exec.iter_mut().map(|view| &mut view[i]).filter(|e| e.tag == page) {
            *e = ExecEntry::empty(i);
        }
        let place = 1 << victim_place(page);
        if self.displaced & place != 0 {
            self.drop_victims(place, |other, _| other == page, count);
        }
    }

    /// Drops the entries of one frame.
    pub(crate) fn drop_frame(&mut self, page: u64, count: &mut Count<'_>) {
        self.drop_if(0..TLB_ENTRIES, |_, phys| phys == page, count);
        self.drop_victims(u64::MAX, |_, phys| phys == page, count);
    }

    /// Drops the entries in some slots whose tag and frame satisfy `which`.
    #[inline]
    fn drop_if(
        &mut self,
        slots: core::ops::Range<usize>,
        which: impl Fn(u64, u64) -> bool,
        count: &mut Count<'_>,
    ) {
        for v in 0..VIEWS {
            for i in slots.clone() {
                let e = self.at(v, i);
                if which(e.page(), e.frame()) {
                    count.lost(e);
                    *e = TlbEntry::empty(i);
                }
            }
        }
        for i in slots {
            for e in self.exec.iter_mut().filter(|e| which(e[i].tag, e[i].phys)) {
                e[i] = ExecEntry::empty(i);
            }
        }
    }

    /// Makes entries of frame `page` match no write: at `la` alone, or everywhere.
    pub(crate) fn protect(&mut self, page: u64, la: Option<u64>, count: &mut Count<'_>) {
        let slots = la.map_or(0..TLB_ENTRIES, |la| slot(la)..slot(la) + 1);
        for v in 0..VIEWS {
            for i in slots.clone() {
                let e = self.at(v, i);
                if e.frame() == page && e.writable() {
                    count.lost(e);
                    e.wtag = bad_tag(i);
                    e.phys |= TlbEntry::TOLD;
                }
            }
        }
        // Victims are few: they are found again by a walk.
        let places = la.map_or(u64::MAX, |la| 1 << victim_place(la));
        self.drop_victims(places, |_, frame| frame == page, count);
    }
}

impl Drop for TlbBank {
    fn drop(&mut self) {
        let all = core::ptr::slice_from_raw_parts_mut(self.data.as_ptr().cast::<TlbView>(), VIEWS);
        // SAFETY: leaked from such a box in `new`.
        drop(unsafe { Box::from_raw(all) });
    }
}
