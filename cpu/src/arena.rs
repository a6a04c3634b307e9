//! Where operations live: they stay where they are put until all go.
#![expect(unsafe_code, reason = "operations refer to one another by address")]

use crate::op::Op;
use memmap2::{MmapMut, MmapRaw};
use std::alloc::{Layout, handle_alloc_error};

/// Operations of a chunk: 8 MiB of them.
const CHUNK: usize = (8 << 20) / size_of::<Op>();

/// Operations in the order in which they were put.
#[derive(Default)]
pub(crate) struct Arena {
    chunks: Vec<MmapRaw>,
    /// Chunks that are full.
    full: usize,
    /// Operations in the chunk after those.
    at: usize,
}

impl Arena {
    /// Operations held, with what is left over at the ends of chunks.
    pub(crate) fn held(&self) -> usize {
        self.full * CHUNK + self.at
    }

    /// Forgets all, and keeps the memory.
    pub(crate) fn clear(&mut self) {
        (self.full, self.at) = (0, 0);
    }

    /// Puts `ops` in a row; at most a chunk of them.
    pub(crate) fn put(&mut self, ops: &[Op]) -> *mut Op {
        assert!(ops.len() <= CHUNK, "a block longer than a chunk");
        if self.at + ops.len() > CHUNK {
            self.full += 1;
            self.at = 0;
        }
        if self.full == self.chunks.len() {
            self.chunks.push(chunk());
        }
        let base = self.chunks[self.full].as_mut_ptr().cast::<Op>();
        // SAFETY: `at` and what follows it lie in the chunk, which is aligned to pages and nobody reads
        // after `at`.
        let first = unsafe {
            let first = base.add(self.at);
            first.copy_from_nonoverlapping(ops.as_ptr(), ops.len());
            first
        };
        self.at += ops.len();
        first
    }
}

fn chunk() -> MmapRaw {
    let size = CHUNK * size_of::<Op>();
    let Ok(map) = MmapMut::map_anon(size) else {
        handle_alloc_error(Layout::new::<[Op; CHUNK]>());
    };
    let map = MmapRaw::from(map);
    // Large host pages only make it faster; a host without them is as good.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    map
}
