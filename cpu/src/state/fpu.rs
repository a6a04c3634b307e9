//! Floating-point and vector state.

mod status;

use serde::{Deserialize, Serialize};
pub use status::{BUSY, C0, C1, C2, C3, ES, HALF, SF, StatusWord};

/// Exception flags, at the same places in MXCSR and in the x87 status word; the masks of MXCSR are
/// seven bits higher, those of the x87 control word at the same places.
pub mod flag {
    /// Invalid operation.
    pub const I: u32 = 1;
    /// Denormal operand.
    pub const D: u32 = 2;
    /// Division by zero.
    pub const Z: u32 = 4;
    /// Bit OE: numeric overflow.
    pub const O: u32 = 8;
    /// Bit UE: numeric underflow.
    pub const U: u32 = 16;
    /// Precision: the result is inexact.
    pub const P: u32 = 32;
    /// The six exception flags.
    pub const ALL: u32 = 63;
}

/// MXCSR at power-up: all exceptions masked, round to nearest.
pub const MXCSR_RESET: u32 = 0x1f80;
/// Bits of MXCSR that may be set.
pub const MXCSR_MASK: u32 = 0xffff;

/// An 80-bit x87 register.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct F80 {
    /// Significand with its explicit integer bit; the MMX register.
    pub m: u64,
    /// Sign and exponent.
    pub se: u16,
}

/// An x87 register with its tag. Aligned, so that the host may copy it whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(16))]
pub struct Register {
    /// As in [`F80`].
    pub m: u64,
    /// The exponent field of [`F80`], [`EMPTY`], [`ODD`], [`SIGN`].
    pub se: u64,
}

/// The register is empty.
pub const EMPTY: u64 = 1 << 16;
/// The value is no normal number.
pub const ODD: u64 = 1 << 17;
/// The sign. Products and quotients get theirs with the exponents' sum and difference.
pub const SIGN: u64 = 1 << 31;
/// The bits of the exponent field.
pub const EXPONENT: u64 = 0x7fff;

impl Register {
    /// A register that is not empty.
    #[inline(always)]
    pub const fn full(v: F80) -> Register {
        let e = v.se as u64 & EXPONENT;
        let normal = v.m >> 63 != 0 && e != 0 && e != EXPONENT;
        let odd = if normal { 0 } else { ODD };
        Register { m: v.m, se: e | odd | (v.se as u64 & 0x8000) << 16 }
    }

    /// What it holds, also if it is empty.
    #[inline(always)]
    pub fn value(self) -> F80 {
        F80 { m: self.m, se: (self.se & EXPONENT | self.se >> 16 & 0x8000) as u16 }
    }

    /// Whether it is empty.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.se & EMPTY != 0
    }
}

/// Reasons to leave the fast path, see [`StatusWord`].
pub mod fallback {
    /// SSE instructions may not run.
    pub const SSE: u8 = 1;
    /// MXCSR is not [`crate::fpu::host::can_compute`].
    pub const MXCSR: u8 = 2;
    /// x87 instructions may not run.
    pub const X87: u8 = 4;
    /// The control word does not round to nearest, or does not mask Precision.
    pub const ROUNDING: u8 = 8;
    /// The control word does not round to 64 bits.
    pub const PRECISION: u8 = 16;
}

/// Floating-point and vector state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Saved", into = "Saved")]
pub struct Fpu {
    /// XMM registers.
    pub xmm: [u128; 16],
    /// The upper halves of the YMM registers.
    pub upper: [u128; 16],
    /// SSE control and status.
    pub mxcsr: u32,
    /// x87 registers R0 to R7 (not relative to TOP).
    pub r: [Register; 8],
    /// x87 control word.
    pub cw: u16,
    /// x87 status word, with TOP.
    pub sw: StatusWord,
    /// Last opcode, 11 bits.
    pub fop: u16,
    /// Last instruction pointer.
    pub fip: u64,
    /// Last data pointer.
    pub fdp: u64,
}

impl Default for Fpu {
    /// Power-up. SDM vol. 3, "Processor State After Reset".
    fn default() -> Self {
        Fpu {
            xmm: [0; 16],
            upper: [0; 16],
            mxcsr: MXCSR_RESET,
            r: [Register::default(); 8],
            cw: 0x40,
            sw: StatusWord::ZERO,
            fop: 0,
            fip: 0,
            fdp: 0,
        }
    }
}

/// How [`Fpu`] is saved.
#[derive(Serialize, Deserialize)]
struct Saved {
    xmm: [u128; 16],
    upper: [u128; 16],
    mxcsr: u32,
    r: [F80; 8],
    cw: u16,
    sw: u16,
    tags: u8,
    fop: u16,
    fip: u64,
    fdp: u64,
}

impl From<Fpu> for Saved {
    fn from(f: Fpu) -> Saved {
        let (r, tags) = (f.r.map(Register::value), f.tags());
        let Fpu { xmm, upper, mxcsr, cw, sw, fop, fip, fdp, .. } = f;
        Saved { xmm, upper, mxcsr, r, cw, sw: sw.get(), tags, fop, fip, fdp }
    }
}

impl From<Saved> for Fpu {
    fn from(s: Saved) -> Fpu {
        let Saved { xmm, upper, mxcsr, r, cw, sw, tags, fop, fip, fdp } = s;
        let r = r.map(Register::full);
        let mut f = Fpu { xmm, upper, mxcsr, r, cw, sw: sw.into(), fop, fip, fdp };
        f.set_tags(tags);
        f
    }
}

impl Fpu {
    /// A bit for each of R0 to R7 that is not empty: the tag word of FXSAVE.
    pub fn tags(&self) -> u8 {
        (0..8).fold(0, |tags, n| tags | (!self.r[n].is_empty() as u8) << n)
    }

    /// Sets which of R0 to R7 are empty, see [`Fpu::tags`].
    pub fn set_tags(&mut self, tags: u8) {
        for (n, r) in self.r.iter_mut().enumerate() {
            r.se = r.se & !EMPTY | if tags >> n & 1 == 0 { EMPTY } else { 0 };
        }
    }

    /// Sets the value of register `n` of R0 to R7; empty or not, it stays so.
    pub fn set_value(&mut self, n: usize, v: F80) {
        let r = &mut self.r[n & 7];
        let empty = r.se & EMPTY;
        *r = Register::full(v);
        r.se |= empty;
    }

    /// Sets all x87 registers to zero.
    pub fn clear_values(&mut self) {
        (0..8).for_each(|n| self.set_value(n, F80::default()));
    }
}
