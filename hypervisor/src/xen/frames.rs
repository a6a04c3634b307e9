//! The frame table: owner and reference count of each machine frame, and the allocator.
//!
//! Frames come from a list of RAM ranges. Freed frames are reused last-in first-out, untouched
//! ones ascend, so the sequence of allocations decides every address.

use super::host_services::DomId;
use alloc::vec::Vec;
use core::ops::Range;

/// The table's entry for one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameInfo {
    /// The owner; meaningless while `refs` is 0.
    pub owner: DomId,
    /// References; 0 is free.
    pub refs: u32,
}

/// One range of managed frames.
#[derive(Debug, Clone)]
struct Zone {
    frames: Range<u64>,
    /// Frames below it have been handed out at least once.
    next: u64,
    info: Vec<FrameInfo>,
}

/// Owner, reference count and free list of all managed frames.
#[derive(Debug, Clone, Default)]
pub struct FrameTable {
    zones: Vec<Zone>,
    freed: Vec<u64>,
    free: u64,
}

impl FrameTable {
    /// Adds a range of free frames, which overlaps no earlier one.
    pub fn add(&mut self, frames: Range<u64>) {
        let count = frames.end.saturating_sub(frames.start);
        let info = alloc::vec![FrameInfo::default(); count as usize];
        self.free += count;
        self.zones.push(Zone { next: frames.start, frames, info });
    }

    fn slot(&mut self, mfn: u64) -> Option<&mut FrameInfo> {
        let zone = self.zones.iter_mut().find(|zone| zone.frames.contains(&mfn))?;
        zone.info.get_mut((mfn - zone.frames.start) as usize)
    }

    /// The entry of `mfn`; `None` outside the managed ranges.
    pub fn info(&self, mfn: u64) -> Option<FrameInfo> {
        let zone = self.zones.iter().find(|zone| zone.frames.contains(&mfn))?;
        zone.info.get((mfn - zone.frames.start) as usize).copied()
    }

    /// Takes a free frame; it is not zeroed.
    pub fn alloc(&mut self, owner: DomId) -> Option<u64> {
        let mfn = match self.freed.pop() {
            Some(mfn) => mfn,
            None => {
                let zone = self.zones.iter_mut().find(|zone| zone.next < zone.frames.end)?;
                zone.next += 1;
                zone.next - 1
            }
        };
        self.take(mfn, owner);
        Some(mfn)
    }

    /// Takes `count` contiguous untouched frames starting at a multiple of `align` frames.
    pub fn alloc_contiguous(&mut self, owner: DomId, count: u64, align: u64) -> Option<u64> {
        let (index, first) = self.zones.iter().enumerate().find_map(|(index, zone)| {
            let first = zone.next.next_multiple_of(align.max(1));
            (first.checked_add(count)? <= zone.frames.end).then_some((index, first))
        })?;
        let zone = &mut self.zones[index];
        let skipped = zone.next..first;
        zone.next = first + count;
        self.freed.extend(skipped.rev());
        (first..first + count).for_each(|mfn| self.take(mfn, owner));
        Some(first)
    }

    fn take(&mut self, mfn: u64, owner: DomId) {
        if let Some(info) = self.slot(mfn) {
            *info = FrameInfo { owner, refs: 1 };
            self.free -= 1;
        }
    }

    /// Takes a reference on an allocated frame; a free or unknown frame is left alone.
    pub fn get(&mut self, mfn: u64) {
        if let Some(info) = self.slot(mfn).filter(|info| info.refs > 0) {
            info.refs += 1;
        }
    }

    /// Drops a reference; true if it was the last one and the frame is now free.
    pub fn put(&mut self, mfn: u64) -> bool {
        let Some(info) = self.slot(mfn).filter(|info| info.refs > 0) else { return false };
        info.refs -= 1;
        let last = info.refs == 0;
        if last {
            self.freed.push(mfn);
            self.free += 1;
        }
        last
    }

    /// The owner of an allocated frame.
    pub fn owner(&self, mfn: u64) -> Option<DomId> {
        self.info(mfn).filter(|info| info.refs > 0).map(|info| info.owner)
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
