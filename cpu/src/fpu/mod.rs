//! x87, MMX, SSE: state and arithmetic.
//!
//! Reading order: [`soft`] (exact arithmetic on any binary format), [`simd`] (SSE's rules on top),
//! [`host`] and `integers` (what the host may do instead),
//! [`x87`] (the register stack), [`extended`] (its usual arithmetic), [`transcendental`].
//! The instructions are in [`crate::isa`].

pub mod extended;
pub mod host;
#[cfg(target_arch = "x86_64")]
pub mod integers;
pub mod simd;
pub mod soft;
pub mod transcendental;
pub mod x87;

use crate::control::{CR0_EM, CR0_TS};
use crate::state::Cpu;
use crate::trap::{Trap, vector};
use serde::{Deserialize, Serialize};

/// CR4.OSFXSR.
pub const CR4_OSFXSR: u64 = 1 << 9;
/// CR4.OSXMMEXCPT.
pub const CR4_OSXMMEXCPT: u64 = 1 << 10;
/// CR4.OSXSAVE.
pub const CR4_OSXSAVE: u64 = 1 << 18;

/// Exception flags, at the same places in MXCSR and in the x87 status word; the masks of MXCSR are
/// seven bits higher, those of the x87 control word at the same places.
pub mod flag {
    /// Invalid operation.
    pub const I: u32 = 1;
    /// Denormal operand.
    pub const D: u32 = 2;
    /// Division by zero.
    pub const Z: u32 = 4;
    /// Overflow.
    pub const O: u32 = 8;
    /// Underflow.
    pub const U: u32 = 16;
    /// Precision: the result is inexact.
    pub const P: u32 = 32;
    /// All six.
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

/// Floating-point and vector state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fpu {
    /// XMM registers.
    pub xmm: [u128; 16],
    /// The upper halves of the YMM registers.
    pub upper: [u128; 16],
    /// SSE control and status.
    pub mxcsr: u32,
    /// x87 registers R0 to R7 (not relative to TOP).
    pub r: [F80; 8],
    /// x87 control word.
    pub cw: u16,
    /// x87 status word, with TOP.
    pub sw: u16,
    /// A bit for each of R0 to R7 that is not empty: the tag word as FXSAVE keeps it.
    pub tags: u8,
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
            r: [F80::default(); 8],
            cw: 0x40,
            sw: 0,
            tags: 0xff,
            fop: 0,
            fip: 0,
            fdp: 0,
        }
    }
}

impl Cpu {
    /// Whether SSE instructions may run.
    #[inline(always)]
    pub fn sse_enabled(&self) -> bool {
        self.sys.cr0 & (CR0_EM | CR0_TS) == 0 && self.sys.cr4 & CR4_OSFXSR != 0
    }

    /// #UD or #NM, if SSE instructions may not run. SDM vol. 2, "Exceptions Type" of each.
    pub fn check_sse(&self) -> Result<(), Trap> {
        if self.sys.cr0 & CR0_EM != 0 || self.sys.cr4 & CR4_OSFXSR == 0 {
            return Err(Trap::UD);
        }
        if self.sys.cr0 & CR0_TS != 0 { Err(Trap::NM) } else { Ok(()) }
    }

    /// The exception of an SSE instruction that found an unmasked condition.
    pub fn simd_exception(&self) -> Trap {
        if self.sys.cr4 & CR4_OSXMMEXCPT != 0 { Trap::fault(vector::XM) } else { Trap::UD }
    }
}
