//! Bytes of the fuzzer as choices: some are knobs, each at its place, the rest is code; what is
//! neither comes from a generator that a knob seeds.

/// Bytes at the start of an input that are not code.
pub const KNOBS: usize = 32;

/// Values at which arithmetic and addresses turn over.
const DEADLINE_ENTRIES: [u64; 16] = [
    0,
    1,
    2,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff,
    0xffff_8000_0000_0000,
    1 << 63,
    u64::MAX,
];

/// An input of the fuzzer.
pub struct Input<'a> {
    knobs: [u8; KNOBS],
    code: &'a [u8],
    seed: u64,
}

impl<'a> Input<'a> {
    /// Any bytes are an input.
    pub fn new(bytes: &'a [u8]) -> Input<'a> {
        let at = bytes.len().min(KNOBS);
        let mut knobs = [0; KNOBS];
        knobs[..at].copy_from_slice(&bytes[..at]);
        let seed = knobs[24..].iter().fold(1, |s, b| s << 8 | u64::from(*b));
        Input { knobs, code: &bytes[at..], seed }
    }

    /// Knob `n`.
    pub fn knob(&self, n: usize) -> u8 {
        self.knobs[n]
    }

    /// Two knobs as one number.
    pub fn wide_knob(&self, n: usize) -> u16 {
        u16::from_le_bytes([self.knobs[n], self.knobs[n + 1]])
    }

    /// The bytes that are executed.
    pub fn code(&self) -> &'a [u8] {
        self.code
    }

    /// 64 random bits. Sebastiano Vigna's SplitMix64.
    pub fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.seed ^ self.seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.random() % n
    }

    /// True once in `n` times.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A value worth trying: at an edge, small, an address of code or data, or anything.
    pub fn value(&mut self) -> u64 {
        match self.below(8) {
            0 => DEADLINE_ENTRIES[self.below(16) as usize],
            1 => DEADLINE_ENTRIES[self.below(16) as usize]
                .wrapping_add(self.below(16))
                .wrapping_sub(8),
            2 => self.below(64),
            3 | 4 => super::memory::DATA + self.below(0x4000),
            5 => super::memory::CODE + self.below(0x1000),
            6 => self.random() & 0xffff_ffff,
            _ => self.random(),
        }
    }

    /// One of `all`.
    pub fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }
}
