//! The state of a whole machine in one hash.

use super::schedule::{Lead, Processor};
use crate::board::Board;
use crate::memory_map::MemoryMap;
use cpu::bus::Message;
use mmu::{HostPhys, Mmu};
use serde::Serialize;

/// Bytes that are hashed at once: many, because the hash function then does several blocks at a time.
const BATCH: usize = 1 << 20;

/// A hash that is fed with the parts of a machine.
#[derive(Default)]
pub(super) struct StateHash {
    hasher: blake3::Hasher,
    /// What was fed and is not hashed yet.
    batch: Vec<u8>,
}

impl StateHash {
    /// Feeds a processor.
    pub(super) fn processor(&mut self, p: &Processor) {
        self.feed(&p.cpu.save());
        self.feed(&(p.at, p.idle));
    }

    /// Feeds the turn that a pause has cut, if there is one: what comes next depends on that.
    pub(super) fn cut(&mut self, lead: Option<Lead>) {
        if let Some(lead) = lead {
            self.feed(&lead);
        }
    }

    /// Feeds the board, every device of which has been brought to now, and messages on their way.
    pub(super) fn board(&mut self, board: &Board, messages: &[Message]) {
        self.feed(board);
        self.feed(&messages);
    }

    /// Feeds the pages that are not all zero: of memory with their address, of system-management RAM
    /// with their number.
    pub(super) fn memory(&mut self, map: &MemoryMap, mmu: &Mmu) {
        let mut page = [0; 4096];
        for frame in (0..map.low).chain(1 << 32..(1 << 32) + map.high).step_by(4096) {
            if mmu.read_slice(HostPhys(frame), &mut page) {
                self.page(&frame.to_le_bytes(), &page);
            }
        }
        for n in 0..32 {
            self.page(&[n as u8], &mmu.ram.smram_page(n));
        }
    }

    /// The hash of what was fed.
    pub(super) fn finish(mut self) -> [u8; 32] {
        self.hash_batch();
        self.hasher.finalize().into()
    }

    fn page(&mut self, name: &[u8], page: &[u8; 4096]) {
        if *page != [0; 4096] {
            self.bytes(name);
            self.bytes(page);
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.batch.extend_from_slice(bytes);
        if self.batch.len() >= BATCH {
            self.hash_batch();
        }
    }

    fn hash_batch(&mut self) {
        self.hasher.update(&self.batch);
        self.batch.clear();
    }

    fn feed(&mut self, value: &impl Serialize) {
        let buffer = postcard::to_extend(value, Vec::new()).expect("state is plain data");
        self.bytes(&(buffer.len() as u64).to_le_bytes());
        self.bytes(&buffer);
    }
}
