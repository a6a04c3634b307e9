//! What is known of each page of memory between two looks at it: what it may hold, and its hash.

use bitvec::vec::BitVec;
use mmu::Mmu;

/// The hash of a page of 4 KiB: the first half of its BLAKE3 hash, or zero for one that is all zero.
pub type PageHash = [u8; 16];

/// The hash of a page of zeros.
pub const ZERO_PAGE: PageHash = [0; 16];

/// Pages by their number in the map of memory, see [`mmu::Ram::page`].
pub(super) struct Pages {
    /// Pages that may hold anything but zeros.
    written: BitVec<u64>,
    /// Pages that may have changed since they were hashed.
    unhashed: BitVec<u64>,
    /// Pages that may have changed since they were last asked for by [`Pages::take_changed`].
    unsaved: BitVec<u64>,
    /// Pages that may have changed since they were last asked for by [`Pages::take_unmarked`].
    unmarked: BitVec<u64>,
    hashes: Vec<PageHash>,
    /// The hashes when they were last asked for by [`Pages::take_changed`].
    saved: Vec<PageHash>,
}

impl Pages {
    /// Nothing is known of `count` pages but that they are zero.
    pub(super) fn zero(count: usize) -> Pages {
        let none = || BitVec::repeat(false, count);
        let [hashes, saved] = [(); 2].map(|()| vec![ZERO_PAGE; count]);
        let [written, unhashed, unsaved, unmarked] = [none(), none(), none(), none()];
        Pages { written, unhashed, unsaved, unmarked, hashes, saved }
    }

    /// The pages `held` have these hashes, the others are zero. All count as saved.
    pub(super) fn holding(count: usize, held: &[(usize, PageHash)]) -> Pages {
        let mut pages = Pages::zero(count);
        for (n, hash) in held {
            pages.written.set(*n, true);
            (pages.hashes[*n], pages.saved[*n]) = (*hash, *hash);
        }
        pages
    }

    /// Learns of the stores since the last call.
    fn look(&mut self, mmu: &mut Mmu) {
        for n in mmu.take_dirty() {
            self.written.set(n, true);
            self.unhashed.set(n, true);
            self.unsaved.set(n, true);
            self.unmarked.set(n, true);
        }
    }

    /// Learns of the stores since the last call, and hashes what has changed.
    fn update(&mut self, mmu: &mut Mmu) {
        self.look(mmu);
        for n in self.unhashed.iter_ones() {
            self.hashes[n] = hash(mmu.ram.page(n));
        }
        self.unhashed.fill(false);
    }

    /// The pages that are not all zero, in ascending order.
    pub(super) fn held(&mut self, mmu: &mut Mmu) -> impl Iterator<Item = (usize, PageHash)> {
        self.update(mmu);
        let written = self.written.iter_ones().map(|n| (n, self.hashes[n]));
        written.filter(|(_, hash)| *hash != ZERO_PAGE)
    }

    /// The pages that may have changed since the last call of this or of [`Pages::take_all`].
    pub(super) fn take_unmarked(&mut self, mmu: &mut Mmu) -> Vec<usize> {
        let unmarked = self.unmarked(mmu);
        self.unmarked.fill(false);
        unmarked
    }

    /// The same pages, which stay unmarked.
    pub(super) fn unmarked(&mut self, mmu: &mut Mmu) -> Vec<usize> {
        self.look(mmu);
        self.unmarked.iter_ones().collect()
    }

    /// The pages that may hold anything but zeros.
    pub(super) fn take_all(&mut self, mmu: &mut Mmu) -> Vec<usize> {
        drop(self.take_unmarked(mmu));
        self.written.iter_ones().collect()
    }

    /// The pages that have changed since the last call, or since the machine was made or restored. Which pages may have
    /// changed is the caches' business; these are the same whatever is cached.
    pub(super) fn take_changed(&mut self, mmu: &mut Mmu) -> Vec<(usize, PageHash)> {
        self.update(mmu);
        let Pages { unsaved, hashes, saved, .. } = self;
        let changed = unsaved.iter_ones().filter(|n| hashes[*n] != saved[*n]);
        let changed: Vec<_> = changed.map(|n| (n, hashes[n])).collect();
        changed.iter().for_each(|(n, hash)| saved[*n] = *hash);
        unsaved.fill(false);
        changed
    }
}

/// The hash of a page.
#[must_use]
pub fn hash(page: &[u8; 4096]) -> PageHash {
    if *page == [0; 4096] {
        return ZERO_PAGE;
    }
    let mut short = ZERO_PAGE;
    short.copy_from_slice(&blake3::hash(page).as_bytes()[..16]);
    short
}
