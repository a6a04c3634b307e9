//! The user kernels: small programs with a result that can be checked. The same source is a part
//! of the freestanding guest (`benches/guest`) and of this library, whose results the guest's
//! must equal. Only `core` is used, and nothing of the host.
//!
//! Each kernel does its work `count` times on memory that it fills first, and gives a checksum.

mod copy;
mod crc32;
mod hash;
mod mixed;
mod search;
mod sha256;
mod sieve;
mod sort;
mod sse;
pub mod table;
mod x87;

pub use table::KERNELS;

/// What the kernels work on; each fills what it uses.
#[repr(C, align(4096))]
pub struct Memory {
    bytes: [u8; BYTES],
    words: [u32; WORDS],
    nodes: [Node; NODES],
}

const BYTES: usize = 512 << 10;
const WORDS: usize = 64 << 10;
const NODES: usize = 48 << 10;

/// A link of a list or of a hash chain; links are indices, [`END`] is none.
#[repr(C)]
#[derive(Clone, Copy)]
struct Node {
    key: u64,
    value: u64,
    next: u32,
    order: u32,
}

/// The index that stands for no node.
const END: u32 = u32::MAX;

impl Memory {
    /// Memory of zeros.
    pub const fn new() -> Self {
        let node = Node { key: 0, value: 0, next: 0, order: 0 };
        Self { bytes: [0; BYTES], words: [0; WORDS], nodes: [node; NODES] }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Numbers without a pattern that matters here: a linear congruence's upper half.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }
}

/// Adds a number to a checksum.
fn fold(sum: u64, value: u64) -> u64 {
    (sum.rotate_left(7) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
