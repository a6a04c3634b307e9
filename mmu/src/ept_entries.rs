//! Which EPT entries cached mappings were made from, so that a store to one of them drops what depends on it.
//!
//! A processor may keep guest-physical mappings until INVEPT. Strata drops them with the store: what is cached
//! then follows from memory alone, and a state that is restored, with nothing cached, goes on as the one that
//! was saved.

use std::collections::BTreeMap;

/// Frames that are remembered at most.
const MOST: usize = 1 << 14;

/// The entries of a frame that are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InUse {
    /// A bit for each entry of 8 bytes.
    entries: [u64; 8],
    /// The EPT root that they are reached from; `None`: several.
    root: Option<u64>,
}

/// EPT entries in use, by number of their frame.
#[derive(Default)]
pub(crate) struct EptEntries(BTreeMap<usize, InUse>);

impl EptEntries {
    /// No more frames should be added.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    /// Adds the entry at `offset` of `frame`, reached from `root`. True if the frame is new.
    pub(crate) fn add(&mut self, frame: usize, offset: u64, root: u64) -> bool {
        let (word, bit) = (offset as usize >> 9, 1 << (offset >> 3 & 63));
        let mut new = false;
        let in_use = self.0.entry(frame).or_insert_with(|| {
            new = true;
            InUse { entries: [0; 8], root: Some(root) }
        });
        in_use.entries[word] |= bit;
        if in_use.root != Some(root) {
            in_use.root = None;
        }
        new
    }

    /// The root on which mappings depend that were made from bytes `[offset, offset + len)` of `frame`, which are at
    /// least one: `Some(None)` if they depend on several.
    pub(crate) fn depends(&self, frame: usize, offset: usize, len: usize) -> Option<Option<u64>> {
        let in_use = self.0.get(&frame)?;
        let mut entries = offset >> 3..=(offset + len - 1) >> 3;
        entries.any(|n| in_use.entries[n >> 6] >> (n & 63) & 1 != 0).then_some(in_use.root)
    }

    /// Forgets the frames of `root`, or all: their numbers.
    pub(crate) fn take(&mut self, root: Option<u64>) -> Vec<usize> {
        let of_root = |in_use: &InUse| root.is_none() || in_use.root == root;
        let gone = self.0.iter().filter(|(_, in_use)| of_root(in_use)).map(|(frame, _)| *frame);
        let gone: Vec<usize> = gone.collect();
        for frame in &gone {
            self.0.remove(frame);
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_and_roots() {
        let mut all = EptEntries::default();
        assert!(all.add(7, 0, 0x1000) && !all.add(7, 0xff8, 0x1000) && all.add(8, 8, 0x2000));
        assert_eq!(all.depends(7, 0, 1), Some(Some(0x1000)));
        assert_eq!(all.depends(7, 8, 0xff0), None);
        assert_eq!(all.depends(7, 0xff7, 2), Some(Some(0x1000)));
        assert_eq!(all.depends(9, 0, 4096), None);
        assert!(!all.add(7, 16, 0x2000));
        assert_eq!(all.depends(7, 0, 1), Some(None));
        assert_eq!(all.take(Some(0x2000)), [8]);
        assert_eq!(all.take(None), [7]);
        assert!(all.depends(7, 0, 4096).is_none());
    }
}
