//! Host arithmetic for SSE: the host's own instructions where it has them.
//!
//! On an x86 host (`x86`) an instruction is done by itself, with all that it notes in MXCSR: while blocks
//! run, the host's MXCSR stands at its initial value, and what it notes there is the guest's, to be taken up
//! (`Cpu::collect_host_exceptions`) before anything looks at the guest's MXCSR or computes for
//! itself. That holds where the guest masks all exceptions and neither rounds nor flushes in its own way
//! ([`can_compute`]). Other hosts (`portable`) compute what is normal; all else is [`super::simd`]'s.
#![expect(unsafe_code, reason = "vectors of the host, and its MXCSR")]

#[cfg(any(not(target_arch = "x86_64"), test))]
pub(crate) mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(not(target_arch = "x86_64"))]
pub use portable::*;
#[cfg(target_arch = "x86_64")]
pub use x86::*;

/// A vector from its bits.
#[inline(always)]
pub fn of(x: u128) -> V {
    // SAFETY: same size, every bit pattern is valid.
    #[allow(clippy::useless_transmute)]
    unsafe {
        std::mem::transmute(x)
    }
}

/// The bits of a vector.
#[inline(always)]
pub fn bits(x: V) -> u128 {
    // SAFETY: as `of`.
    #[allow(clippy::useless_transmute)]
    unsafe {
        std::mem::transmute(x)
    }
}

/// The low 64 bits.
#[inline(always)]
pub fn low(x: V) -> u64 {
    bits(x) as u64
}

/// An operation that the host has too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Op {
    Add,
    Sub,
    Mul,
    Div,
    /// Of the second operand.
    Sqrt,
    Min,
    Max,
}

/// Vectors of a format, as the host computes with them. `SCALAR` means the lowest lane only: a result's
/// others are the first operand's. The guest's MXCSR is [`can_compute`]; `None` where the host cannot say.
pub trait Lanes: 'static {
    /// Computes `op`.
    fn arith<const SCALAR: bool>(op: Op, a: V, b: V) -> Option<V>;
    /// The lanes for which the predicate holds, as masks. SDM vol. 2, "CMPPS".
    fn compare<const SCALAR: bool>(a: V, b: V, predicate: u8) -> Option<V>;
    /// Status flags of COMISS, or of UCOMISS, which is silent about quiet NaNs.
    fn relation<const SILENT: bool>(a: V, b: V) -> Option<V>;
}

/// MXCSR as after a reset: all exceptions masked, no flag set, to nearest.
pub const MXCSR: u32 = crate::state::fpu::MXCSR_RESET;

/// Whether a guest's MXCSR differs from [`MXCSR`] in its sticky flags at most, and, where the host has no
/// flags of its own, has Precision set already.
#[inline(always)]
pub fn can_compute(mxcsr: u32) -> bool {
    mxcsr & !63 == MXCSR && (NOTES || mxcsr & crate::state::fpu::flag::P != 0)
}
