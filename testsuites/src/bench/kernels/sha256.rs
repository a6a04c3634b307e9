//! SHA-256's compression function over a buffer: rotations and additions in registers.

#[path = "../../../../hypervisor/guests/src/work/compress.rs"]
mod compress;

use super::{Memory, Random, fold};
use compress::{START, compress};

const LENGTH: usize = 16 << 10;

pub(super) fn run(count: u32, memory: &mut Memory) -> u64 {
    let text = &mut memory.bytes[..LENGTH];
    let mut random = Random(2);
    text.fill_with(|| random.next() as u8);
    let hash = (0..count).fold(START, |start, _| text.chunks_exact(64).fold(start, compress));
    hash.iter().fold(0, |sum, word| fold(sum, u64::from(*word)))
}
