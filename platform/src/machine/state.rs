//! The state of a whole machine in one hash.

use super::pages::PageHash;
use super::schedule::{Lead, Processor, QUANTUM};
use crate::board::Board;
use cpu::bus::Message;
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
        if p.still > p.at {
            self.feed(&p.still);
        }
        if let Some(look) = &p.look {
            self.feed(look);
        }
    }

    /// Feeds how far a processor leads, if that is not as always.
    pub(super) fn quantum(&mut self, quantum: u64) {
        if quantum != QUANTUM {
            self.feed(&("quantum", quantum));
        }
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

    /// Feeds the pages of memory that are not all zero: their numbers and hashes.
    pub(super) fn memory(&mut self, pages: impl Iterator<Item = (usize, PageHash)>) {
        for (n, hash) in pages {
            self.bytes(&(n as u64).to_le_bytes());
            self.bytes(&hash);
        }
    }

    /// The hash of what was fed.
    pub(super) fn finish(mut self) -> [u8; 32] {
        self.hash_batch();
        self.hasher.finalize().into()
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
