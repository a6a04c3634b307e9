//! The programs of the bench.

use super::{Memory, copy, crc32, hash, mixed, search, sha256, sieve, sort, sse, x87};

/// One program of the bench.
pub struct Kernel {
    /// Its name, which is a word of the guest's command line.
    pub name: &'static str,
    /// Works `count` times; the checksum.
    pub run: fn(count: u32, memory: &mut Memory) -> u64,
    /// The count that takes some four million instructions.
    pub unit: u32,
}

/// The programs of the bench, in order.
#[rustfmt::skip]
pub const KERNELS: [Kernel; 10] = [
    Kernel { name: "mixed",  run: mixed::run,  unit: 16 },
    Kernel { name: "sieve",  run: sieve::run,  unit: 1 },
    Kernel { name: "crc32",  run: crc32::run,  unit: 10 },
    Kernel { name: "sha256", run: sha256::run, unit: 4 },
    Kernel { name: "sort",   run: sort::run,   unit: 2 },
    Kernel { name: "hash",   run: hash::run,   unit: 8 },
    Kernel { name: "copy",   run: copy::run,   unit: 4000 },
    Kernel { name: "search", run: search::run, unit: 8 },
    Kernel { name: "x87",    run: x87::run,    unit: 10 },
    Kernel { name: "sse",    run: sse::run,    unit: 120 },
];
