//! TLB banks: one per regime in use, each with three views for data and two for execution.
//! The interpreter reads the data entries through a raw pointer; only this file writes them.
#![expect(unsafe_code, reason = "the entries are shared with the interpreter by raw pointer")]

use crate::regime::{Regime, View};
use core::ptr::NonNull;

/// Entries of one view. The index of a linear address is `(la >> 12) % TLB_ENTRIES`.
pub const TLB_ENTRIES: usize = 1024;
/// The tag of an entry that matches nothing: not canonical with 4 nor 5 levels. The slot that this
/// very address would index holds a neighbour's tag instead ([`bad_tag`]), so that even an access
/// to a non-canonical address cannot match.
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
    /// The frame.
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
    const fn empty(index: usize) -> TlbEntry {
        TlbEntry { rtag: bad_tag(index), wtag: bad_tag(index), addend: 0, phys: u64::MAX }
    }
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

/// The translations of one regime.
pub(crate) struct TlbBank {
    pub(crate) regime: Option<Regime>,
    /// When it was last made current, for LRU.
    pub(crate) used: u64,
    /// Of execute translations: supervisor, user.
    pub(crate) generation: [u64; 2],
    /// Whether anything was put in since it was emptied.
    dirty: bool,
    /// `VIEWS * TLB_ENTRIES` entries, freed on drop.
    data: NonNull<TlbEntry>,
    exec: Box<[[ExecEntry; TLB_ENTRIES]; 2]>,
}

// SAFETY: `data` is owned, like a box.
unsafe impl Send for TlbBank {}

impl TlbBank {
    pub(crate) fn new() -> TlbBank {
        let all: Box<[TlbEntry]> =
            (0..VIEWS * TLB_ENTRIES).map(|i| TlbEntry::empty(i % TLB_ENTRIES)).collect();
        let exec = Box::new([core::array::from_fn(ExecEntry::empty); 2]);
        let data = NonNull::from(Box::leak(all)).cast();
        TlbBank { regime: None, used: 0, generation: [0; 2], dirty: false, data, exec }
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

    /// Puts a translation in; returns the entry it replaces.
    #[inline]
    pub(crate) fn put(&mut self, v: View, la: u64, e: TlbEntry) -> TlbEntry {
        self.dirty = true;
        core::mem::replace(self.at(v as usize, slot(la)), e)
    }

    /// The frame that `la` executes from.
    #[inline]
    pub(crate) fn exec(&self, user: bool, la: u64) -> Option<u64> {
        let e = &self.exec[usize::from(user)][slot(la)];
        (e.tag == la & !0xfff).then_some(e.phys)
    }

    #[inline]
    pub(crate) fn put_exec(&mut self, user: bool, la: u64, phys: u64) {
        self.dirty = true;
        self.exec[usize::from(user)][slot(la)] = ExecEntry { tag: la & !0xfff, phys };
    }

    /// Drops everything. Returns whether there was anything.
    pub(crate) fn clear(&mut self) -> bool {
        if !self.dirty {
            return false;
        }
        for i in 0..TLB_ENTRIES {
            for v in 0..VIEWS {
                *self.at(v, i) = TlbEntry::empty(i);
            }
            self.exec.iter_mut().for_each(|e| e[i] = ExecEntry::empty(i));
        }
        self.dirty = false;
        true
    }

    /// Drops the entries of one frame. Returns whether one was for execution.
    pub(crate) fn drop_frame(&mut self, page: u64) -> bool {
        let mut executed = false;
        for i in 0..TLB_ENTRIES {
            for v in 0..VIEWS {
                if self.at(v, i).phys == page {
                    *self.at(v, i) = TlbEntry::empty(i);
                }
            }
            for e in self.exec.iter_mut().filter(|e| e[i].phys == page) {
                e[i] = ExecEntry::empty(i);
                executed = true;
            }
        }
        executed
    }

    /// Makes one frame's entries match no write.
    pub(crate) fn protect_frame(&mut self, page: u64) {
        for i in 0..TLB_ENTRIES {
            for v in 0..VIEWS {
                if self.at(v, i).phys == page {
                    self.at(v, i).wtag = bad_tag(i);
                }
            }
        }
    }
}

impl Drop for TlbBank {
    fn drop(&mut self) {
        let all = core::ptr::slice_from_raw_parts_mut(self.data.as_ptr(), VIEWS * TLB_ENTRIES);
        // SAFETY: leaked from such a box in `new`.
        drop(unsafe { Box::from_raw(all) });
    }
}
