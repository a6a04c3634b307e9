//! The frame table: owner and reference count of each machine frame, and the allocator.
//!
//! Frames come from a list of RAM ranges. Freed frames are reused last-in first-out, untouched
//! ones ascend, so the sequence of allocations decides every address. The list of freed frames
//! runs through their own entries: what guests free takes no memory.

use super::host_services::DomId;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

/// The use of an allocated frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// A domain's memory, which counts against its owner until the last reference is gone.
    Ram,
    /// The hypervisor's, though the owner may see it: `shared_info`, grant tables, EPT tables.
    Xen,
}

/// The end of the list of freed frames.
const END: u32 = u32::MAX;

/// The table's entry for one frame.
#[derive(Debug, Clone, Copy)]
enum Frame {
    /// Free; the list of freed frames goes on at `next`.
    Free { next: u32 },
    /// In use, with `refs` references, at least one.
    Used { kind: FrameKind, owner: DomId, refs: u32 },
}

const _: () = assert!(size_of::<Frame>() == 8, "the heap is sized for 8 bytes a frame");

/// One range of managed frames.
#[derive(Debug, Clone)]
struct Zone {
    frames: Range<u64>,
    /// Frames below it have been handed out at least once.
    next: u64,
    table: Vec<Frame>,
}

/// Owner, reference count and free list of all managed frames.
#[derive(Debug, Clone)]
pub struct FrameTable {
    zones: Vec<Zone>,
    /// The frame that was freed last.
    freed: u32,
    free: u64,
    /// Frames of RAM by owner.
    pages: BTreeMap<DomId, u64>,
}

impl Default for FrameTable {
    fn default() -> Self {
        Self { zones: Vec::new(), freed: END, free: 0, pages: BTreeMap::new() }
    }
}

impl FrameTable {
    /// Adds a range of free frames, which overlaps no earlier one. Frames beyond 16 TiB are left
    /// out.
    pub fn add(&mut self, frames: Range<u64>) {
        let frames = frames.start..frames.end.min(END.into());
        let count = frames.end.saturating_sub(frames.start);
        let table = alloc::vec![Frame::Free { next: END }; count as usize];
        self.free += count;
        self.zones.push(Zone { next: frames.start, frames, table });
    }

    fn slot(&mut self, mfn: u64) -> Option<&mut Frame> {
        let zone = self.zones.iter_mut().find(|zone| zone.frames.contains(&mfn))?;
        zone.table.get_mut((mfn - zone.frames.start) as usize)
    }

    fn frame(&self, mfn: u64) -> Option<Frame> {
        let zone = self.zones.iter().find(|zone| zone.frames.contains(&mfn))?;
        zone.table.get((mfn - zone.frames.start) as usize).copied()
    }

    /// Takes a free frame; it is not zeroed.
    pub fn alloc(&mut self, owner: DomId, kind: FrameKind) -> Option<u64> {
        let mfn = match self.frame(self.freed.into()) {
            Some(Frame::Free { next }) => core::mem::replace(&mut self.freed, next).into(),
            _ => {
                let zone = self.zones.iter_mut().find(|zone| zone.next < zone.frames.end)?;
                zone.next += 1;
                zone.next - 1
            }
        };
        self.take(mfn..mfn + 1, owner, kind);
        Some(mfn)
    }

    /// Takes `count` contiguous untouched frames starting at a multiple of `align` frames.
    pub fn alloc_contiguous(
        &mut self,
        owner: DomId,
        kind: FrameKind,
        count: u64,
        align: u64,
    ) -> Option<u64> {
        let (index, first) = self.zones.iter().enumerate().find_map(|(index, zone)| {
            let first = zone.next.next_multiple_of(align.max(1));
            (first.checked_add(count)? <= zone.frames.end).then_some((index, first))
        })?;
        let zone = &mut self.zones[index];
        let skipped = zone.next..first;
        zone.next = first + count;
        skipped.rev().for_each(|mfn| self.list(mfn));
        self.take(first..first + count, owner, kind);
        Some(first)
    }

    /// Puts a frame at the head of the list of freed frames.
    fn list(&mut self, mfn: u64) {
        let next = self.freed;
        if let Some(slot) = self.slot(mfn) {
            *slot = Frame::Free { next };
            self.freed = mfn as u32;
        }
    }

    fn take(&mut self, frames: Range<u64>, owner: DomId, kind: FrameKind) {
        let count = frames.end - frames.start;
        for mfn in frames {
            if let Some(slot) = self.slot(mfn) {
                *slot = Frame::Used { kind, owner, refs: 1 };
            }
        }
        self.free -= count;
        if kind == FrameKind::Ram {
            *self.pages.entry(owner).or_insert(0) += count;
        }
    }

    /// Takes a reference on an allocated frame; a free or unknown frame is left alone.
    pub fn get(&mut self, mfn: u64) {
        if let Some(Frame::Used { refs, .. }) = self.slot(mfn) {
            *refs += 1;
        }
    }

    /// Drops a reference; true if it was the last one and the frame is now free.
    pub fn put(&mut self, mfn: u64) -> bool {
        let Some(Frame::Used { kind, owner, refs }) = self.slot(mfn) else { return false };
        *refs -= 1;
        if *refs > 0 {
            return false;
        }
        let (kind, owner) = (*kind, *owner);
        self.list(mfn);
        self.free += 1;
        if kind == FrameKind::Ram
            && let Some(pages) = self.pages.get_mut(&owner)
        {
            *pages -= 1;
            if *pages == 0 {
                self.pages.remove(&owner);
            }
        }
        true
    }

    /// The references to a frame; 0 is free or unknown.
    pub fn refs(&self, mfn: u64) -> u32 {
        match self.frame(mfn) {
            Some(Frame::Used { refs, .. }) => refs,
            _ => 0,
        }
    }

    /// The owner of an allocated frame.
    pub fn owner(&self, mfn: u64) -> Option<DomId> {
        match self.frame(mfn)? {
            Frame::Used { owner, .. } => Some(owner),
            Frame::Free { .. } => None,
        }
    }

    /// The use of an allocated frame.
    pub fn kind(&self, mfn: u64) -> Option<FrameKind> {
        match self.frame(mfn)? {
            Frame::Used { kind, .. } => Some(kind),
            Frame::Free { .. } => None,
        }
    }

    /// The frames of RAM that count against `owner`: a frame that others still use counts, though
    /// its owner has given it up.
    pub fn pages(&self, owner: DomId) -> u64 {
        self.pages.get(&owner).copied().unwrap_or(0)
    }

    /// Free frames.
    pub fn free_pages(&self) -> u64 {
        self.free
    }

    /// All managed frames.
    pub fn total_pages(&self) -> u64 {
        self.zones.iter().map(|zone| zone.frames.end - zone.frames.start).sum()
    }

    /// The highest managed frame.
    pub fn max_mfn(&self) -> u64 {
        self.zones.iter().map(|zone| zone.frames.end.saturating_sub(1)).max().unwrap_or(0)
    }
}
