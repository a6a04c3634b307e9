//! CRC-32 by a table of 256 words: each load's address depends on the one before.

use super::{Memory, Random, fold};

const LENGTH: usize = 64 << 10;

pub(super) fn run(count: u32, memory: &mut Memory) -> u64 {
    let (table, text) = (&mut memory.words[..256], &mut memory.bytes[..LENGTH]);
    for (n, entry) in table.iter_mut().enumerate() {
        *entry = (0..8).fold(n as u32, |crc, _| crc >> 1 ^ (crc & 1).wrapping_neg() & 0xEDB8_8320);
    }
    let mut random = Random(1);
    text.fill_with(|| random.next() as u8);
    (0..count).fold(0, |sum, _| {
        let crc = text
            .iter()
            .fold(sum as u32, |crc, byte| table[usize::from(crc as u8 ^ byte)] ^ crc >> 8);
        fold(sum, u64::from(crc))
    })
}
