//! Random states and memory: small numbers, addresses in reach and out of reach, and anything.

use super::side::{CODE, DATA, LANDING, OTHER_LANDING, PAGES};
use cpu::state::State;
use cpu::state::fpu::{F80, Register};

/// A linear congruential generator.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.0 ^ self.0 >> 32
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 8) % n
    }

    fn word(&mut self) -> u64 {
        match self.below(10) {
            0..4 => DATA + self.below(PAGES * 4096),
            4 => DATA + 16 * self.below(PAGES * 256),
            5 => self.below(64),
            6 => self.below(64).wrapping_neg(),
            7 => [CODE + LANDING, CODE + OTHER_LANDING][self.below(2) as usize],
            8 => DATA + 4096 * self.below(PAGES + 1) - self.below(16),
            _ => self.next(),
        }
    }

    fn double(&mut self) -> u64 {
        match self.below(8) {
            0 => self.next(),
            1 => 0,
            _ => (self.below(2000) as f64 / 16.0 - 60.0).to_bits(),
        }
    }

    fn extended(&mut self) -> Register {
        let normal = F80 { m: self.next() | 1 << 63, se: 0x3fff - 4 + self.below(8) as u16 };
        match self.below(8) {
            0 => Register::full(F80 { m: self.next(), se: self.next() as u16 }),
            1 => Register::full(F80::default()),
            _ => Register::full(normal),
        }
    }

    /// A state that begins as `start` does.
    pub(crate) fn state(&mut self, start: &State) -> State {
        let mut state = start.clone();
        state.flags.set_status(self.next());
        state.regs = std::array::from_fn(|_| self.word());
        if self.below(4) > 0 {
            state.regs[4] = DATA + 8 * self.below(PAGES * 512);
        }
        state.fpu.xmm = std::array::from_fn(|_| match self.below(2) {
            0 => self.double() as u128 | (self.double() as u128) << 64,
            _ => (0..4).fold(0, |v, _| v << 32 | (self.below(99) as f32 / 8.0).to_bits() as u128),
        });
        state.fpu.r = std::array::from_fn(|_| self.extended());
        state
    }

    /// The bytes of the data pages.
    pub(crate) fn data(&mut self) -> Vec<u8> {
        (0..PAGES * 512)
            .flat_map(|k| {
                match k % 3 {
                    0 => self.double(),
                    _ => self.word(),
                }
                .to_le_bytes()
            })
            .collect()
    }
}
