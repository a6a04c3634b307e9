//! States from seeds.
//!
//! **Frozen**: the rows in `testsuites/vectors/` are written as differences from what these functions
//! give. A change here makes all of them wrong. Seed 0 is the quiet state: zeros.

use super::case::{DATA, DATA_SIZE, Mode, St, State};
use std::cell::RefCell;
use std::rc::Rc;

/// SplitMix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.draw() % n
    }

    /// One time in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A word that is often an edge value.
    pub fn word(&mut self) -> u64 {
        let v = self.draw();
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.below(64),
            3 => (1 << self.below(64)) - 1,
            4 => self.below(256),
            5 => self.below(256).wrapping_neg(),
            6 => v as u32 as u64,
            _ => v,
        }
    }

    /// A word that is often two singles or a double of note.
    fn float(&mut self) -> u64 {
        const SINGLES: [u32; 8] =
            [0, 1, 0x7f_ffff, 0x80_0000, 0x7f7f_ffff, 0x7f80_0000, 0x7fa0_0001, 0x7fc0_0000];
        let sign = self.draw();
        match self.below(4) {
            0 => self.word(),
            1 => {
                let mut single = || SINGLES[self.below(8) as usize] as u64;
                (single() | single() << 32) ^ sign & 0x8000_0000_8000_0000
            }
            2 => {
                // Widened, the notable singles become doubles of the same kind.
                let s = SINGLES[self.below(8) as usize] as u64;
                let top = if s >= 0x7f80_0000 { 0x7ff0 << 48 } else { 0 };
                top | (s & 0x7f_ffff) << 29 | (s >> 23 & 1) << 52 | sign & 1 << 63
            }
            // Numbers near one another, which add, subtract and round.
            _ => {
                let e = 0x3f80_0000 + (self.below(8) << 23);
                let low = e | self.draw() & 0x7f_ffff;
                let e = 0x3ff0 + self.below(8);
                if sign & 1 == 0 {
                    e << 48 | self.draw() >> 16 | sign & 1 << 63
                } else {
                    low | low << 32
                }
            }
        }
    }

    /// An x87 register.
    fn st(&mut self) -> St {
        let se = match self.below(6) {
            0 => 0,
            1 => 0x7fff,
            2 => self.draw() as u16,
            3 => 1,
            _ => 0x3fff + self.below(70) as u16,
        };
        let m = match self.below(4) {
            0 => self.word(),
            1 => 1 << 63,
            2 => 3 << 62,
            _ => self.draw() | 1 << 63,
        };
        St { m, se: se ^ if self.one_in(2) { 0x8000 } else { 0 } }
    }
}

/// MXCSR with all exceptions masked.
pub const MXCSR: u32 = 0x1f80;
/// The x87 control word with all exceptions masked.
pub const CW: u16 = 0x37f;

/// The quiet state of a mode.
fn quiet(mode: Mode) -> State {
    let segs = match mode {
        Mode::Bits64 => [0, 0x33, 0x2b, 0, 0, 0],
        Mode::Bits32 => [0x2b, 0x23, 0x2b, 0x2b, 0, 0],
        Mode::Bits16 => [0x0f, 0x07, 0x0f, 0x0f, 0, 0],
    };
    State { rip: mode.start(), segs, mxcsr: MXCSR, cw: CW, ..State::default() }
}

/// The registers of a seed: edge values, all exceptions masked, RSP in the data.
pub fn state(mode: Mode, seed: u64) -> State {
    let mut s = quiet(mode);
    if seed == 0 {
        return s;
    }
    let r = &mut Random(seed);
    s.regs = std::array::from_fn(|_| r.word());
    s.regs[4] = DATA + 4096 + (r.below(512) << 3);
    s.flags = r.draw() & 0x8d5;
    s.xmm = std::array::from_fn(|_| (r.float() as u128) << 64 | r.float() as u128);
    s.upper = std::array::from_fn(|_| (r.float() as u128) << 64 | r.float() as u128);
    s.st = std::array::from_fn(|_| r.st());
    s.sw = (r.draw() & 0x7f00) as u16 & 0x4700 | (r.below(8) as u16) << 11;
    s.tags = if r.one_in(2) { 0xff } else { r.draw() as u16 & 0xff };
    if mode != Mode::Bits64 {
        s.regs = std::array::from_fn(|n| if n < 8 { s.regs[n] as u32 as u64 } else { 0 });
    }
    if mode == Mode::Bits16 {
        s.regs[4] -= DATA;
    }
    s
}

/// The data of a seed.
pub fn data(seed: u64) -> Rc<[u8]> {
    LAST.with_borrow_mut(|last| {
        if last.0 != seed {
            *last = (seed, make_data(seed));
        }
        last.1.clone()
    })
}

thread_local! {
    /// The data that was asked for last: one cases after the other has the same.
    static LAST: RefCell<(u64, Rc<[u8]>)> = RefCell::new((0, make_data(0)));
}

fn make_data(seed: u64) -> Rc<[u8]> {
    let mut data = vec![0u8; DATA_SIZE];
    if seed != 0 {
        let r = &mut Random(!seed);
        for (n, c) in data.chunks_exact_mut(8).enumerate() {
            let w = if n & 64 == 0 { r.word() } else { r.float() };
            c.copy_from_slice(&w.to_le_bytes());
        }
    }
    data.into()
}
