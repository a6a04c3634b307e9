//! Host arithmetic for SSE: the host's own instructions where it has them.
//!
//! On an x86 host (`x86`) an instruction is done by itself, with all that it notes in MXCSR: while blocks
//! run, the host's MXCSR stands at its initial value, and what it notes there is the guest's, to be taken up
//! ([`Cpu::collect_host_exceptions`](crate::Cpu::collect_host_exceptions)) before anything looks at the guest's MXCSR or computes for
//! itself. That holds where the guest masks all exceptions and neither rounds nor flushes in its own way
//! ([`can_compute`]). Other hosts (`portable`) compute what is normal; all else is [`super::simd`]'s.
#![expect(unsafe_code, reason = "vectors of the host, and its MXCSR")]

#[cfg(any(not(target_arch = "x86_64"), test))]
mod portable;
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

/// MXCSR as after a reset: all exceptions masked, nothing noted, to nearest.
pub const MXCSR: u32 = crate::state::fpu::MXCSR_RESET;

/// Whether a guest's MXCSR differs from [`MXCSR`] in what it has noted at most, and, where the host cannot
/// note anything, has noted Precision already.
#[inline(always)]
pub fn can_compute(mxcsr: u32) -> bool {
    mxcsr & !63 == MXCSR && (NOTES || mxcsr & super::flag::P != 0)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::{Lanes, MXCSR, Op, bits, of, portable};
    use crate::fpu::simd::Float;
    use crate::fpu::soft::Env;
    use crate::isa::sse_float as sse;
    use crate::isa::sse4::{AddSub, Horizontal};
    use crate::isa::vector::{Floating, Lane, build};
    use crate::state::fpu::flag::P;

    /// Ends of ranges, and one thing between.
    fn values<F: Float>() -> Vec<F> {
        let one = 1 << (F::FORMAT.p - 1);
        let top = 2 * F::FORMAT.emax as u64 + 1;
        let exponents = [0, 1, 2, 3, top / 2 - 1, top / 2, top / 2 + 1, top - 2, top - 1, top];
        let more = [31, 32, 51, 52, 62, 63, 64].map(|e| top / 2 + e);
        let significands = [0, 1, one / 2, one - 1, one / 3, one / 2 + 3];
        let each = exponents.iter().chain(&more);
        let each = each.flat_map(|e| significands.map(|m| e * one + m));
        each.flat_map(|v| [v, v | ((top + 1) * one)]).map(F::of).collect()
    }

    /// The host's instruction computes and notes what the definition says.
    #[track_caller]
    fn check<T: Floating>(a: u128, b: u128, imm: u8) {
        let mut e = Env { fast: false, ..Env::sse(MXCSR) };
        let expected = T::run(&mut e, a, b, imm);
        super::set_mxcsr(MXCSR);
        let found = T::on_host(of(a), of(b), imm).map(bits);
        let noted = super::mxcsr() & 63;
        super::set_mxcsr(MXCSR);
        let name = std::any::type_name::<T>();
        if let Some(found) = found {
            assert_eq!(
                (found, noted),
                (expected, e.flags),
                "{name} {a:x} {b:x} {imm}: {:x}",
                found ^ expected
            );
        }
    }

    /// The same on any host, where a number is the result and Precision the only exception.
    #[track_caller]
    fn check_portable<F: Float + Lane + portable::Portable, T: Floating>(op: Op, a: u128, b: u128) {
        let mut e = Env { fast: false, ..Env::sse(MXCSR) };
        let expected = T::run(&mut e, a, b, 0);
        if let Some(found) = portable::arith::<F, false>(op, a, b) {
            assert_eq!((found, e.flags & !P), (expected, 0), "{op:?} {a:x} {b:x}");
        }
    }

    fn pairs<F: Float + Lane + Lanes + portable::Portable>() {
        let values = values::<F>();
        let all = |v: F| build::<F>(|_| v);
        let lane = |v: F, other: u64| build::<F>(|k| if k == 0 { v } else { F::of(other) });
        for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b))) {
            // The lanes that a scalar operation has nothing to do with hold what it could stumble over.
            let (x, y, x1, y1) = (all(a), all(b), lane(a, u64::MAX), lane(b, 1));
            macro_rules! both {
                ($($op:ident)*) => {$(
                    check::<sse::Packed<F, sse::$op>>(x, y, 0);
                    check::<sse::Packed<F, sse::$op>>(x1, y1, 0);
                    check::<sse::Scalar<F, sse::$op>>(x1, y1, 0);
                    check_portable::<F, sse::Packed<F, sse::$op>>(Op::$op, x, y);
                    check_portable::<F, sse::Packed<F, sse::$op>>(Op::$op, x1, y1);
                )*};
            }
            both!(Add Sub Mul Div Min Max Sqrt);
            for predicate in 0..32 {
                check::<sse::Compare<F, false, 31>>(x, y, predicate);
                check::<sse::Compare<F, true, 31>>(x1, y1, predicate);
            }
            check::<AddSub<F>>(x, y, 0);
            check::<Horizontal<F, sse::Add>>(lane(a, b.bits()), y1, 0);
            check::<Horizontal<F, sse::Sub>>(lane(a, b.bits()), y1, 0);
            macro_rules! other {
                ($($name:ident)*) => {$( check::<sse::$name>(x1, y1, 0); check::<sse::$name>(x, y, 0); )*};
            }
            other!(ComiSS ComiSD UcomiSS UcomiSD SS2SD SD2SS PS2PD PD2PS DQ2PS DQ2PD PS2DQ TPS2DQ PD2DQ TPD2DQ);
            other!(SI2SS32 SI2SS64 SI2SD32 SI2SD64 SS2SI32 SS2SI64 SD2SI32 SD2SI64 TSS2SI32 TSS2SI64 TSD2SI32 TSD2SI64);
        }
    }

    #[test]
    fn singles() {
        pairs::<u32>();
    }

    #[test]
    fn doubles() {
        pairs::<u64>();
    }
}
