//! The code cache: decoded blocks by physical address, linked to one another.
//!
//! A block is a run of operations that starts at one instruction and stays in one page. Blocks are
//! found by frame, page offset and mode; a store to a page that holds code drops the blocks that
//! overlap it, and only those (a bit for each byte tells data that merely shares a page with code).
//! Links into a dropped block are reset. A dropped block's memory stays until the whole cache is
//! flushed, from the outer loop, when it has grown past its budget: no operation in flight dangles.
//!
//! Operations stand close together, in the order in which they were decoded, which is much the order
//! in which they run: what the host's caches miss is most of what a large guest costs.
#![expect(unsafe_code, reason = "blocks link to one another by address")]

use crate::arena::Arena;
use crate::limits::MAX_BLOCK;
use crate::op::Op;
use crate::plain::Side;
use crate::state::CodeMode;
use mmu::{HostPhys, Mmu, PageKind};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a block was decoded for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// Frame number.
    pub frame: u64,
    /// Page offset of the first instruction.
    pub page_offset: u16,
    /// Width and kind of the code.
    pub mode: CodeMode,
    /// How long it may be.
    pub limit: BlockLimit,
}

/// How many instructions a block may have: any number, or a power of two, for exact stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockLimit(u8);

impl BlockLimit {
    /// As many as blocks have.
    pub const ANY: BlockLimit = BlockLimit(0);
    /// Blocks of one instruction.
    pub const ONE: BlockLimit = BlockLimit(1);
    /// Index of the largest limit, which every block fits; [`Key`] has three bits for the index.
    const LAST: u8 = {
        let last = MAX_BLOCK.ilog2() as u8 + 1;
        assert!(last < 8);
        last
    };

    /// The largest power of two that is at most `room`; 1 for 0.
    pub fn within(room: u64) -> BlockLimit {
        BlockLimit((room.max(1).ilog2() as u8 + 1).min(BlockLimit::LAST))
    }

    /// The number, where blocks have at most `longest`.
    pub fn limit(self, longest: usize) -> usize {
        if self == BlockLimit::ANY { longest } else { longest.min(1 << (self.0 - 1)) }
    }

    /// As a number from 0 to 7.
    pub(crate) fn index(self) -> u8 {
        self.0
    }

    /// What has this [`BlockLimit::index`].
    pub(crate) fn of(index: u8) -> BlockLimit {
        BlockLimit(index.min(BlockLimit::LAST))
    }
}

impl Key {
    fn short(&self) -> u32 {
        // 12 bits of offset, 2 of mode, 3 of the limit.
        u32::from(self.page_offset) | (self.mode as u32) << 12 | u32::from(self.limit.index()) << 14
    }

    /// All of it, and never 0.
    fn whole(&self) -> u64 {
        self.frame << 18 | 1 << 17 | u64::from(self.short())
    }

    /// Where it stands in the cache of what was found last.
    fn slot(&self) -> usize {
        (self.frame ^ self.page_offset as u64 ^ (self.page_offset as u64) << 5) as usize
            % BLOCK_CACHE_ENTRIES
    }
}

/// The tag of a link into another page that holds nowhere, see `isa::branch`.
pub const NO_TAG: u64 = 0;

/// Bytes held besides operations, for each operation that the budget allows.
const BESIDES: usize = 2 * size_of::<Op>();

/// Entries of the cache of what was found last.
const BLOCK_CACHE_ENTRIES: usize = 8192;

/// A block that was looked for: [`Key::whole`], 0 for none.
#[derive(Clone, Copy)]
struct BlockCacheEntry {
    key: u64,
    start: Start,
}

impl BlockCacheEntry {
    const NONE: BlockCacheEntry =
        BlockCacheEntry { key: 0, start: Start { op: std::ptr::null(), count: 0 } };
}

/// What an operation's side data takes, with the pointer to it and the allocator's own.
const SIDE_BYTES: usize = size_of::<Side>() + 24;

/// A decoded block.
pub struct Block {
    key: Key,
    /// Page offset after its last byte; above 4096 when it runs into the next page.
    end: u16,
    /// The second frame of a block whose only instruction crosses a page.
    second: Option<u64>,
    start: Start,
    #[expect(clippy::vec_box, reason = "operations refer to them by address")]
    _sides: Vec<Box<Side>>,
    /// Branch operations that link here, with the stub each falls back to.
    incoming: Vec<(*mut Op, u64)>,
    live: bool,
}

/// Where a block begins.
#[derive(Clone, Copy)]
pub struct Start {
    /// First operation of the block.
    pub op: *const Op,
    /// The most guest instructions that it may retire before it ends or goes on in another.
    pub count: u64,
}

/// What the decoder hands over.
pub struct Decoded {
    /// Operations of the block, in order.
    pub ops: Vec<Op>,
    /// Stubs of the branches that have none yet: index of the branch, operation.
    pub stubs: Vec<(usize, Op)>,
    /// Side data of the plain operations.
    pub sides: Vec<Box<Side>>,
    /// Page offset after the last byte.
    pub end: u16,
    /// The second frame, if the instruction crosses a page.
    pub second: Option<u64>,
}

/// Bytes of a page, a bit for each.
struct PageBytes([u64; 64]);

impl PageBytes {
    const NONE: PageBytes = PageBytes([0; 64]);

    /// Calls `each` with the words of the bytes from `first` to before `end`, and their bits there, until it is true.
    fn any(&mut self, first: u16, end: u16, mut each: impl FnMut(&mut u64, u64) -> bool) -> bool {
        let last = end.clamp(first + 1, 4096) - 1;
        let words = &mut self.0[usize::from(first >> 6)..=usize::from(last >> 6)];
        let ends = words.len() - 1;
        words.iter_mut().enumerate().any(|(index, word)| {
            let from = if index == 0 { u64::MAX << (first & 63) } else { u64::MAX };
            let to = if index == ends { u64::MAX >> (63 - (last & 63)) } else { u64::MAX };
            each(word, from & to)
        })
    }

    fn insert(&mut self, first: u16, end: u16) {
        self.any(first, end, |word, bits| {
            *word |= bits;
            false
        });
    }

    fn overlaps(&mut self, first: u16, end: u16) -> bool {
        self.any(first, end, |word, bits| *word & bits != 0)
    }
}

struct Page {
    /// Which bytes are decoded code.
    code: PageBytes,
    /// Sorted by key: (short key, block index).
    starts: Vec<(u32, u32)>,
    /// Blocks of the page before that end in this one.
    tails: Vec<u32>,
}

/// An epoch that no cache in this process has had. It decides only when look-up tables are emptied, which no guest can
/// tell.
fn new_epoch() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// All decoded code of a machine.
pub struct CodeCache {
    /// Frame number to index + 1 into `pages`.
    frames: Vec<u32>,
    pages: Vec<Page>,
    blocks: Vec<Block>,
    /// What was found last: where address spaces change often, the same blocks are looked for again.
    block_cache: Vec<BlockCacheEntry>,
    ops: Arena,
    /// Apart from `ops`, because each runs but once.
    stubs: Arena,
    /// Bytes held besides operations: blocks, their side data, the links to them.
    besides: usize,
    budget: usize,
    /// More is held than the budget allows.
    full: bool,
    /// Longest block in instructions.
    pub max_block: usize,
    /// Whether compare-and-branch pairs fuse.
    pub fuse: bool,
    /// What the processors' model lacks.
    pub filter: crate::feature_filter::FeatureFilter,
    /// Page offsets before which blocks end, sorted: those of breakpoints, now or before.
    pub(crate) breaks: Vec<u16>,
    /// Counters for the user.
    pub stats: CodeStats,
    /// Changes whenever a block that somebody may hold a pointer to is gone.
    epoch: u64,
}

/// Counters of the code cache.
#[derive(Clone, Copy, Debug, Default)]
pub struct CodeStats {
    /// Blocks decoded.
    pub blocks: u64,
    /// Instructions decoded.
    pub instructions: u64,
    /// Blocks dropped because their bytes were written.
    pub dropped: u64,
    /// Whole-cache flushes.
    pub flushes: u64,
    /// BlockLimit operations held at once.
    pub peak_ops: u64,
}

impl CodeCache {
    /// An empty cache that holds about `budget` operations (32 bytes each), and at most twice as much besides.
    pub fn new(budget: usize) -> CodeCache {
        CodeCache {
            frames: Vec::new(),
            pages: Vec::new(),
            blocks: Vec::new(),
            block_cache: vec![BlockCacheEntry::NONE; BLOCK_CACHE_ENTRIES],
            ops: Arena::default(),
            stubs: Arena::default(),
            besides: 0,
            budget,
            full: false,
            max_block: MAX_BLOCK,
            fuse: true,
            filter: Default::default(),
            breaks: Vec::new(),
            stats: CodeStats::default(),
            epoch: new_epoch(),
        }
    }

    /// A value that changes whenever a block that somebody may hold a pointer to is gone, and that no
    /// two caches share: what was found under another epoch must not be entered.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the cache has outgrown its budget and wants [`CodeCache::flush`].
    pub fn full(&self) -> bool {
        self.full
    }

    /// Counts `bytes` more that are held besides operations.
    fn hold(&mut self, bytes: usize) {
        self.besides += bytes;
        self.full = self.held() > self.budget || self.besides / BESIDES > self.budget;
    }

    /// Operations held.
    fn held(&self) -> usize {
        self.ops.held() + self.stubs.held()
    }

    /// Drops everything. Only from the outer loop: no operation may be in flight.
    pub fn flush(&mut self, mmu: &mut Mmu) {
        for (frame, slot) in self.frames.iter_mut().enumerate().filter(|(_, s)| **s != 0) {
            mmu.set_kind(HostPhys((frame as u64) << 12), PageKind::Code, false);
            *slot = 0;
        }
        self.pages.clear();
        self.blocks.clear();
        self.block_cache.fill(BlockCacheEntry::NONE);
        self.ops.clear();
        self.stubs.clear();
        (self.besides, self.full) = (0, false);
        self.stats.flushes += 1;
        self.epoch = new_epoch();
    }

    fn page(&mut self, mmu: &mut Mmu, frame: u64) -> &mut Page {
        let f = frame as usize;
        if f >= self.frames.len() {
            self.frames.resize(f + 1, 0);
        }
        if self.frames[f] == 0 {
            self.hold(size_of::<Page>());
            let (starts, tails) = (Vec::new(), Vec::new());
            self.pages.push(Page { code: PageBytes::NONE, starts, tails });
            self.frames[f] = self.pages.len() as u32;
        }
        mmu.set_kind(HostPhys(frame << 12), PageKind::Code, true);
        &mut self.pages[self.frames[f] as usize - 1]
    }

    fn find_page(&self, frame: u64) -> Option<usize> {
        let slot = *self.frames.get(frame as usize)?;
        (slot != 0).then(|| slot as usize - 1)
    }

    /// The block with this key, if it is decoded.
    pub fn find(&mut self, key: Key) -> Option<Start> {
        let slot = key.slot();
        if self.block_cache[slot].key == key.whole() {
            return Some(self.block_cache[slot].start);
        }
        let page = &self.pages[self.find_page(key.frame)?];
        let at = page.starts.binary_search_by_key(&key.short(), |s| s.0).ok()?;
        let start = self.blocks[page.starts[at].1 as usize].start;
        self.block_cache[slot] = BlockCacheEntry { key: key.whole(), start };
        Some(start)
    }

    /// Takes in a decoded block.
    pub fn insert(&mut self, mmu: &mut Mmu, key: Key, decoded: Decoded) -> Start {
        let Decoded { ops, stubs, sides, end, second } = decoded;
        let index = self.blocks.len() as u32;
        let page = self.page(mmu, key.frame);
        page.code.insert(key.page_offset, end);
        let at = page.starts.partition_point(|s| s.0 < key.short());
        page.starts.insert(at, (key.short(), index));
        if let Some(frame) = second {
            let page = self.page(mmu, frame);
            page.code.insert(0, end - 4096);
            page.tails.push(index);
        }
        let first = self.ops.put(&ops);
        for (branch, stub) in stubs {
            // SAFETY: the index is one of the block's.
            let branch = unsafe { first.add(branch) };
            let stub = self.stubs.put(&[Op { imm: branch as u64, ..stub }]);
            // SAFETY: in the arena, and nobody else knows of it yet.
            unsafe { (*branch).imm = stub as u64 };
        }
        self.stats.blocks += 1;
        self.stats.peak_ops = self.stats.peak_ops.max(self.held() as u64);
        self.hold(size_of::<Block>() + sides.len() * SIDE_BYTES);
        let count = ops.iter().map(|op| op.retired.into()).max().unwrap_or(0);
        let start = Start { op: first, count };
        self.blocks.push(Block {
            key,
            end,
            second,
            start,
            _sides: sides,
            incoming: Vec::new(),
            live: true,
        });
        start
    }

    /// Notes that `branch` now links to the block with `key`; `reset` is what its `imm` becomes when
    /// the block is dropped.
    pub fn link(&mut self, key: Key, branch: *mut Op, reset: u64) {
        let Some(page) = self.find_page(key.frame) else { return };
        let starts = &self.pages[page].starts;
        if let Ok(at) = starts.binary_search_by_key(&key.short(), |s| s.0) {
            let index = starts[at].1 as usize;
            self.blocks[index].incoming.push((branch, reset));
            self.hold(size_of::<(*mut Op, u64)>());
        }
    }

    /// Bytes `[p, p + len)` of a frame that holds code have been written: drops the blocks that
    /// overlap. True if there were any.
    pub fn note_store(&mut self, p: HostPhys, len: usize) -> bool {
        let Some(page) = self.find_page(p.0 >> 12) else { return false };
        let po = (p.0 & 4095) as u16;
        let end = (po as usize + len).min(4096) as u16;
        if !self.pages[page].code.overlaps(po, end) {
            return false;
        }
        let doomed: Vec<u32> = {
            let q = &self.pages[page];
            let here = q.starts.iter().map(|s| s.1);
            let hit = here.filter(|&b| {
                let b = &self.blocks[b as usize];
                b.key.page_offset < end && po < b.end
            });
            let tails =
                q.tails.iter().copied().filter(|&b| po < self.blocks[b as usize].end - 4096);
            hit.chain(tails).collect()
        };
        self.drop_blocks(&doomed);
        !doomed.is_empty()
    }

    /// Has blocks end before instructions at these page offsets, where the host has breakpoints. Only between runs.
    /// What was cut so before stays cut, as breakpoints come and go.
    pub fn break_at(&mut self, mut offsets: Vec<u16>) {
        offsets.retain(|offset| self.breaks.binary_search(offset).is_err());
        if offsets.is_empty() {
            return;
        }
        let cut = |b: &Block| {
            offsets.iter().any(|offset| (b.key.page_offset..b.end).contains(offset)) && b.live
        };
        let doomed: Vec<u32> =
            (0..).zip(&self.blocks).filter(|(_, b)| cut(b)).map(|(index, _)| index).collect();
        self.drop_blocks(&doomed);
        self.breaks.extend(offsets);
        self.breaks.sort_unstable();
    }

    /// Whether no block lies in the frame of `p` any more.
    pub fn vacant(&self, p: HostPhys) -> bool {
        self.find_page(p.0 >> 12).is_none_or(|page| {
            let page = &self.pages[page];
            page.starts.is_empty() && page.tails.is_empty()
        })
    }

    /// Drops the block that starts with `op`, if it is live.
    pub(crate) fn drop_key(&mut self, key: Key) {
        let Some(page) = self.find_page(key.frame) else { return };
        let starts = &self.pages[page].starts;
        if let Ok(at) = starts.binary_search_by_key(&key.short(), |s| s.0) {
            let doomed = starts[at].1;
            self.drop_blocks(&[doomed]);
        }
    }

    fn drop_blocks(&mut self, doomed: &[u32]) {
        let mut frames = BTreeSet::new();
        for &index in doomed {
            self.unlink(index);
            let block = &self.blocks[index as usize];
            frames.extend([Some(block.key.frame), block.second].into_iter().flatten());
        }
        // Once for each page: a store may drop thousands of blocks.
        for frame in frames {
            if let Some(page) = self.find_page(frame) {
                self.forget_dropped(page);
            }
        }
    }

    /// Takes a block out of use, and back the links that lead there.
    fn unlink(&mut self, index: u32) {
        let block = &mut self.blocks[index as usize];
        if !block.live {
            return;
        }
        block.live = false;
        self.block_cache[block.key.slot()] = BlockCacheEntry::NONE;
        for (branch, reset) in std::mem::take(&mut block.incoming) {
            // SAFETY: a branch lives as long as its block's memory, which only `flush` frees, and that
            // frees this list too. A link of its own has the branch before it.
            unsafe {
                (*branch).imm = reset;
                if reset == NO_TAG {
                    (*branch.sub(1)).set_alternate_tag(NO_TAG);
                }
            }
        }
        self.stats.dropped += 1;
        self.epoch = new_epoch();
    }

    /// Forgets the blocks of a page that are out of use.
    fn forget_dropped(&mut self, page: usize) {
        let (blocks, page) = (&self.blocks, &mut self.pages[page]);
        page.starts.retain(|s| blocks[s.1 as usize].live);
        page.tails.retain(|&t| blocks[t as usize].live);
        page.code = PageBytes::NONE;
        for block in page.starts.iter().map(|s| &blocks[s.1 as usize]) {
            page.code.insert(block.key.page_offset, block.end);
        }
        for &tail in &page.tails {
            page.code.insert(0, blocks[tail as usize].end - 4096);
        }
    }
}
