//! What frames are used for: four bitmaps, and how often the TLBs make a frame writable.

use bitvec::vec::BitVec;

/// A use of a frame that keeps the TLB from making it writable, or from holding it at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageKind {
    /// Decoded code is cached: never matches for writes.
    Code = 0,
    /// A paging structure from which translations are cached: never matches for writes.
    Table = 1,
    /// Every access goes to the slow path: the APIC-access page, watched pages.
    SlowPath = 2,
    /// EPT entries from which mappings are cached: never matches for writes.
    Ept = 3,
}

/// All kinds of one frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PageKinds {
    /// [`PageKind::Code`].
    pub code: bool,
    /// [`PageKind::Table`] or [`PageKind::Ept`].
    pub table: bool,
    /// [`PageKind::SlowPath`].
    pub slow_path: bool,
}

/// The bitmaps, interleaved: bit `4 * frame + kind`, so that one load answers for a frame. Plain words: a
/// `BitVec` spends a dozen instructions on its pointer for each.
pub(crate) struct KindMap(Vec<u64>);

const PER_FRAME: usize = 4;

impl KindMap {
    pub(crate) fn new(frames: usize) -> KindMap {
        KindMap(vec![0; (frames * PER_FRAME).div_ceil(64)])
    }

    #[inline]
    fn word(&self, frame: usize) -> u64 {
        let bit = frame * PER_FRAME;
        self.0[bit / 64] >> (bit % 64)
    }

    #[inline]
    pub(crate) fn get(&self, frame: usize, k: PageKind) -> bool {
        self.word(frame) >> k as u32 & 1 != 0
    }

    #[inline]
    pub(crate) fn all(&self, frame: usize) -> PageKinds {
        let word = self.word(frame);
        PageKinds { code: word & 1 != 0, table: word & 0b1010 != 0, slow_path: word & 4 != 0 }
    }

    /// Returns what it was.
    pub(crate) fn set(&mut self, frame: usize, k: PageKind, on: bool) -> bool {
        let was = self.get(frame, k);
        let bit = frame * PER_FRAME + k as usize;
        self.0[bit / 64] ^= u64::from(was != on) << (bit % 64);
        was
    }

    pub(crate) fn clear(&mut self, k: PageKind) {
        let every = (u64::MAX / 15) << k as u32;
        self.0.iter_mut().for_each(|w| *w &= !every);
    }
}

/// Sets bit `n`, by words: a third of the host's instructions that `BitVec::set` takes.
#[inline]
pub(crate) fn set(bits: &mut BitVec<u64>, n: usize) {
    bits.as_raw_mut_slice()[n / 64] |= 1 << (n % 64);
}

/// For each frame, how many TLB entries make it writable, and the page of the last one. So the
/// entries of a frame that becomes code or a paging structure are found without a search:
/// mostly there is one, and it is where it was last put.
pub(crate) struct Writers {
    /// By frame: the count, and the page.
    entries: Vec<[u64; 2]>,
    /// Frames made writable since they were last all clean.
    pub(crate) dirty: BitVec<u64>,
}

impl Writers {
    pub(crate) fn new(frames: usize) -> Writers {
        Writers { entries: vec![[0; 2]; frames], dirty: BitVec::repeat(false, frames) }
    }

    #[inline]
    pub(crate) fn gained(&mut self, frame: usize, page: u64) {
        let [count, last] = &mut self.entries[frame];
        *count += 1;
        *last = page;
        set(&mut self.dirty, frame);
    }

    #[inline]
    pub(crate) fn lost(&mut self, frame: usize) {
        self.entries[frame][0] -= 1;
    }

    #[inline]
    pub(crate) fn count(&self, frame: usize) -> u64 {
        self.entries[frame][0]
    }

    /// The page at which the frame was last made writable.
    pub(crate) fn last(&self, frame: usize) -> u64 {
        self.entries[frame][1]
    }
}
