//! Host arithmetic for SSE: whole vectors, rounded to nearest, where that can be neither seen nor
//! wrong.
//!
//! What the host computes is taken if no operand is denormal, and the result is normal and above the
//! least exponent, or known to be exact: then it is what SSE computes, and of the exceptions only
//! Precision can be due, which MXCSR has to have noted and masked. Where it has Invalid too, an x86 host
//! makes NaNs as SSE does, but of two NaNs. All else is [`super::simd`]'s.
#![expect(unsafe_code, reason = "vectors of the host, and conversions that need a check first")]

/// A vector as the host likes it.
#[cfg(target_arch = "x86_64")]
pub type V = core::arch::x86_64::__m128i;
/// A vector as the host likes it.
#[cfg(not(target_arch = "x86_64"))]
pub type V = u128;

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

/// `a` with the low 64 bits replaced.
#[inline(always)]
pub fn low64(a: V, x: u64) -> V {
    of(bits(a) >> 64 << 64 | x as u128)
}

/// `a` with the low 32 bits replaced.
#[inline(always)]
pub fn low32(a: V, x: u32) -> V {
    of(bits(a) >> 32 << 32 | x as u128)
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

/// Whether MXCSR rounds to nearest, and an inexact result is noted already and masked.
#[inline(always)]
pub fn quiet(mxcsr: u32) -> bool {
    const NOTED: u32 = 1 << 5 | 1 << 12;
    mxcsr & (NOTED | 3 << 13) == NOTED
}

/// Whether an invalid operation is noted already and masked.
#[inline(always)]
fn invalid_noted(mxcsr: u32) -> bool {
    const NOTED: u32 = 1 | 1 << 7;
    mxcsr & NOTED == NOTED
}

/// Vectors of a format, as the host computes with them. `SCALAR` means the lowest lane only: a result's
/// others are the first operand's, and what is asked of lanes is not asked of them.
pub trait Lanes: 'static {
    /// Computes `op`.
    fn compute<const SCALAR: bool>(op: Op, a: V, b: V) -> V;
    /// Whether all lanes of operands and result are normal and above the least exponent; operands that are
    /// no numbers may be missed, as they show in the result.
    fn normal<const SCALAR: bool>(a: V, b: V, r: V) -> bool;
    /// Whether `r = a op b` is what SSE computes, and no exception is due but Precision, nor Invalid
    /// unless it is `noted`. `false` is never wrong.
    fn unexceptional<const SCALAR: bool>(op: Op, a: V, b: V, r: V, noted: bool) -> bool;
    /// The same for a comparison.
    fn comparable<const SCALAR: bool>(a: V, b: V, noted: bool) -> bool;
    /// The lanes that are less, equal, greater, as masks.
    fn order(a: V, b: V) -> [V; 3];
}

impl Op {
    /// Whether the result is never inexact.
    pub const fn exact(self) -> bool {
        matches!(self, Op::Min | Op::Max)
    }
}

/// `op` on the host, if it may stand for SSE's. MXCSR is [`quiet`], or the operation exact.
#[inline(always)]
pub fn arith<L: Lanes, const SCALAR: bool>(op: Op, mxcsr: u32, a: V, b: V) -> Option<V> {
    let exact = op.exact();
    let r = L::compute::<SCALAR>(op, a, b);
    // A root has one operand.
    let a = if op == Op::Sqrt { b } else { a };
    let fine = match exact {
        true => ordinary::<L, SCALAR>(mxcsr, a, b),
        _ => {
            L::normal::<SCALAR>(a, b, r)
                || L::unexceptional::<SCALAR>(op, a, b, r, invalid_noted(mxcsr))
        }
    };
    fine.then_some(r)
}

/// Whether `a` and `b` may be compared on the host.
#[inline(always)]
pub fn ordinary<L: Lanes, const SCALAR: bool>(mxcsr: u32, a: V, b: V) -> bool {
    // Of vectors, `normal` may miss an operand that is no number.
    SCALAR && L::normal::<SCALAR>(a, b, b) || L::comparable::<SCALAR>(a, b, invalid_noted(mxcsr))
}

/// `v` as an integer of `bits` bits, to nearest or towards zero; `None` near the ends of the range, or if
/// it is inexact and that is not `quiet`.
#[inline(always)]
pub fn to_integer<const NEAR: bool>(quiet: bool, v: f64, bits: u32) -> Option<u128> {
    // Added and taken away again it leaves no fraction in what is below 2^51: 1.5 * 2^52.
    const WHOLE: f64 = 6755399441055744.0;
    let limit = (1u64 << (bits - 1)) as f64;
    let limit = if NEAR { (limit - 1.0).min((1u64 << 51) as f64) } else { limit };
    if v.abs() >= limit || v.is_nan() {
        return None;
    }
    let whole = if NEAR { (v + WHOLE) - WHOLE } else { v };
    // SAFETY: it was found to be in range.
    let n: i64 = unsafe { whole.to_int_unchecked() };
    let fine = quiet || !NEAR && n as f64 == v;
    fine.then_some((n as u64 & u64::MAX >> (64 - bits)) as u128)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Lanes, Op, V, of};
    use core::arch::x86_64::*;

    /// What binary32 and binary64 differ in. Magnitudes are compared by the top 16 bits of lanes, which
    /// hold the exponent; of the lanes that come out, only the top bits mean anything.
    trait Width {
        /// All but the sign bits.
        const MAGNITUDE: u128;
        /// The top bits of the exponent 2.
        const TWO: i16;
        /// The top bits of the largest number.
        const LARGEST: i16;
        /// Lanes that are equal.
        unsafe fn equal(x: V, y: V) -> V;
        /// Lanes of which one is a NaN.
        unsafe fn unordered(x: V, y: V) -> V;
        /// The top bits of the lanes.
        unsafe fn tops(x: V) -> i32;
        /// The top 32 bits of the lowest lanes, in the three lowest lanes of 32 bits.
        unsafe fn lowest(a: V, b: V, r: V) -> V;
    }

    #[inline(always)]
    unsafe fn magnitude<W: Width>(x: V) -> V {
        _mm_and_si128(x, of(W::MAGNITUDE))
    }

    #[inline(always)]
    unsafe fn zero<W: Width>(x: V) -> V {
        W::equal(x, of(0))
    }

    /// Lanes below exponent 2.
    #[inline(always)]
    unsafe fn small<W: Width>(x: V) -> V {
        _mm_cmpgt_epi16(_mm_set1_epi16(W::TWO), x)
    }

    /// Lanes that are denormal.
    #[inline(always)]
    unsafe fn denormal<W: Width>(x: V) -> V {
        let below = _mm_cmpgt_epi16(_mm_set1_epi16(W::TWO / 2), x);
        _mm_andnot_si128(zero::<W>(x), below)
    }

    /// Lanes that are no numbers.
    #[inline(always)]
    unsafe fn special<W: Width>(x: V) -> V {
        _mm_cmpgt_epi16(x, _mm_set1_epi16(W::LARGEST))
    }

    /// Whether no lane that matters is marked.
    #[inline(always)]
    unsafe fn none<W: Width, const SCALAR: bool>(x: V) -> bool {
        W::tops(x) & if SCALAR { 1 } else { 15 } == 0
    }

    /// The same; the compiler does not know, and so does not compute other lanes of it once more.
    #[inline(always)]
    unsafe fn opaque(mut x: V) -> V {
        std::arch::asm!("/* {x} */", x = inout(xmm_reg) x, options(pure, nomem, nostack, preserves_flags));
        x
    }

    #[inline(always)]
    unsafe fn normal<W: Width, const SCALAR: bool>(a: V, b: V, r: V) -> bool {
        if SCALAR {
            let all = _mm_and_si128(W::lowest(a, b, r), _mm_set1_epi32(i32::MAX));
            // Both ends of the range in one comparison: it is moved to that of i16.
            let moved = _mm_sub_epi16(all, _mm_set1_epi16(W::TWO ^ i16::MIN));
            let end = _mm_set1_epi16((W::LARGEST - W::TWO) ^ i16::MIN);
            let bad = _mm_castsi128_ps(_mm_cmpgt_epi16(moved, end));
            return _mm_movemask_ps(bad) & 7 == 0;
        }
        let (a, b, r) = (magnitude::<W>(a), magnitude::<W>(b), magnitude::<W>(r));
        let least = _mm_min_epi16(_mm_min_epi16(a, b), r);
        none::<W, SCALAR>(_mm_or_si128(small::<W>(least), special::<W>(r)))
    }

    #[inline(always)]
    unsafe fn unexceptional<W: Width, const SCALAR: bool>(
        op: Op,
        a: V,
        b: V,
        r: V,
        noted: bool,
    ) -> bool {
        let (a, b, r) = (magnitude::<W>(a), magnitude::<W>(b), magnitude::<W>(r));
        // Sums that are zero are exact, and roots; and so is what a zero operand makes zero.
        let source = match op {
            Op::Mul => _mm_or_si128(zero::<W>(a), zero::<W>(b)),
            Op::Div => zero::<W>(a),
            _ => zero::<W>(r),
        };
        let inexact = _mm_andnot_si128(_mm_and_si128(zero::<W>(r), source), small::<W>(r));
        let operands = _mm_or_si128(denormal::<W>(a), denormal::<W>(b));
        // A NaN comes from an invalid operation or an operand, another infinity than an operand's from
        // an overflow or a division by zero.
        let nan = W::unordered(r, r);
        let infinite = _mm_andnot_si128(nan, special::<W>(r));
        let given = _mm_or_si128(special::<W>(a), special::<W>(b));
        // Of two NaNs the compiler may exchange the operands, so that the wrong one is taken.
        let both = _mm_and_si128(W::unordered(a, a), W::unordered(b, b));
        let nan = if noted { both } else { nan };
        let result = _mm_or_si128(nan, _mm_andnot_si128(given, infinite));
        none::<W, SCALAR>(_mm_or_si128(operands, _mm_or_si128(inexact, result)))
    }

    #[inline(always)]
    unsafe fn comparable<W: Width, const SCALAR: bool>(a: V, b: V, noted: bool) -> bool {
        let (a, b) = (magnitude::<W>(a), magnitude::<W>(b));
        let nan = if noted { of(0) } else { W::unordered(a, b) };
        let denormal = _mm_or_si128(denormal::<W>(a), denormal::<W>(b));
        none::<W, SCALAR>(_mm_or_si128(denormal, nan))
    }

    macro_rules! width {
        ($lane:ty, $magnitude:expr, $two:expr, $largest:expr, $to:ident, $from:ident, $tops:expr,
         |$la:ident, $lb:ident, $lr:ident| $lowest:expr,
         $(($op:ident, $scalar:literal) => |$a:ident, $b:ident| $e:expr;)*
         order $lt:ident $eq:ident $un:ident) => {
            impl Width for $lane {
                const MAGNITUDE: u128 = $magnitude;
                const TWO: i16 = $two;
                const LARGEST: i16 = $largest;
                #[inline(always)]
                unsafe fn equal(x: V, y: V) -> V {
                    $from($eq($to(x), $to(y)))
                }
                #[inline(always)]
                unsafe fn unordered(x: V, y: V) -> V {
                    $from($un($to(x), $to(y)))
                }
                #[inline(always)]
                unsafe fn tops(x: V) -> i32 {
                    $tops($to(x))
                }
                #[inline(always)]
                unsafe fn lowest($la: V, $lb: V, $lr: V) -> V {
                    $lowest
                }
            }

            impl Lanes for $lane {
                #[inline(always)]
                fn compute<const SCALAR: bool>(op: Op, a: V, b: V) -> V {
                    // SAFETY: SSE2 is a part of x86-64; so below.
                    unsafe {
                        let (a, b) = ($to(a), $to(b));
                        let r = $from(match (op, SCALAR) {
                            $((Op::$op, $scalar) => { let ($a, $b) = (a, b); $e })*
                        });
                        if SCALAR { opaque(r) } else { r }
                    }
                }
                #[inline(always)]
                fn normal<const SCALAR: bool>(a: V, b: V, r: V) -> bool {
                    // SAFETY: as above.
                    unsafe { normal::<$lane, SCALAR>(a, b, r) }
                }
                #[inline(always)]
                fn unexceptional<const SCALAR: bool>(op: Op, a: V, b: V, r: V, noted: bool) -> bool {
                    // SAFETY: as above.
                    unsafe { unexceptional::<$lane, SCALAR>(op, a, b, r, noted) }
                }
                #[inline(always)]
                fn comparable<const SCALAR: bool>(a: V, b: V, noted: bool) -> bool {
                    // SAFETY: as above.
                    unsafe { comparable::<$lane, SCALAR>(a, b, noted) }
                }
                #[inline(always)]
                fn order(a: V, b: V) -> [V; 3] {
                    // SAFETY: as above.
                    unsafe {
                        let (a, b) = ($to(a), $to(b));
                        [$from($lt(a, b)), $from($eq(a, b)), $from($lt(b, a))]
                    }
                }
            }
        };
    }

    width! {
        u32, 0x7fffffff_7fffffff_7fffffff_7fffffff, 0x100, 0x7f7f, _mm_castsi128_ps, _mm_castps_si128,
        _mm_movemask_ps,
        |a, b, r| _mm_unpacklo_epi64(_mm_unpacklo_epi32(a, b), r),
        (Add, false) => |a, b| _mm_add_ps(a, b);
        (Sub, false) => |a, b| _mm_sub_ps(a, b);
        (Mul, false) => |a, b| _mm_mul_ps(a, b);
        (Div, false) => |a, b| _mm_div_ps(a, b);
        (Sqrt, false) => |_a, b| _mm_sqrt_ps(b);
        (Min, false) => |a, b| _mm_min_ps(a, b);
        (Max, false) => |a, b| _mm_max_ps(a, b);
        (Add, true) => |a, b| _mm_add_ss(a, b);
        (Sub, true) => |a, b| _mm_sub_ss(a, b);
        (Mul, true) => |a, b| _mm_mul_ss(a, b);
        (Div, true) => |a, b| _mm_div_ss(a, b);
        (Sqrt, true) => |a, b| _mm_move_ss(a, _mm_sqrt_ss(b));
        (Min, true) => |a, b| _mm_min_ss(a, b);
        (Max, true) => |a, b| _mm_max_ss(a, b);
        order _mm_cmplt_ps _mm_cmpeq_ps _mm_cmpunord_ps
    }
    width! {
        u64, 0x7fffffff_ffffffff_7fffffff_ffffffff, 0x20, 0x7fef, _mm_castsi128_pd, _mm_castpd_si128,
        _mm_movemask_pd,
        |a, b, r| _mm_unpackhi_epi64(_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(r, r)),
        (Add, false) => |a, b| _mm_add_pd(a, b);
        (Sub, false) => |a, b| _mm_sub_pd(a, b);
        (Mul, false) => |a, b| _mm_mul_pd(a, b);
        (Div, false) => |a, b| _mm_div_pd(a, b);
        (Sqrt, false) => |_a, b| _mm_sqrt_pd(b);
        (Min, false) => |a, b| _mm_min_pd(a, b);
        (Max, false) => |a, b| _mm_max_pd(a, b);
        (Add, true) => |a, b| _mm_add_sd(a, b);
        (Sub, true) => |a, b| _mm_sub_sd(a, b);
        (Mul, true) => |a, b| _mm_mul_sd(a, b);
        (Div, true) => |a, b| _mm_div_sd(a, b);
        (Sqrt, true) => |a, b| _mm_sqrt_sd(a, b);
        (Min, true) => |a, b| _mm_min_sd(a, b);
        (Max, true) => |a, b| _mm_max_sd(a, b);
        order _mm_cmplt_pd _mm_cmpeq_pd _mm_cmpunord_pd
    }
}

/// The same in scalar code, for other hosts.
#[cfg(any(not(target_arch = "x86_64"), test))]
mod portable {
    use super::Op;
    use crate::fpu::simd::{self, Float};
    use crate::fpu::soft::Num;
    use crate::isa::vector::{Lane, lane_of, lanes, merge};
    use std::cmp::Ordering;

    fn one<F: Float>(op: Op, a: F, b: F) -> F {
        match op {
            Op::Add => F::host(simd::Op::Add, a, b),
            Op::Sub => F::host(simd::Op::Sub, a, b),
            Op::Mul => F::host(simd::Op::Mul, a, b),
            Op::Div => F::host(simd::Op::Div, a, b),
            Op::Sqrt => F::host_sqrt(b),
            Op::Min if F::host_compare(a, b) == Some(Ordering::Less) => a,
            Op::Max if F::host_compare(a, b) == Some(Ordering::Greater) => a,
            Op::Min | Op::Max => b,
        }
    }

    pub(super) fn compute<F: Float + Lane, const SCALAR: bool>(op: Op, a: u128, b: u128) -> u128 {
        let all = lanes::<F>(a, b, |a, b| one(op, a, b));
        if SCALAR { merge(a, all, 8 * size_of::<F>() as u32) } else { all }
    }

    fn every<F: Float + Lane, const SCALAR: bool>(f: impl Fn(usize) -> bool) -> bool {
        (0..if SCALAR { 1 } else { 16 / size_of::<F>() }).all(f)
    }

    pub(super) fn normal<F: Float + Lane, const SCALAR: bool>(a: u128, b: u128, r: u128) -> bool {
        every::<F, SCALAR>(|k| [a, b, r].iter().all(|v| lane_of::<F>(*v, k).settled()))
    }

    pub(super) fn unexceptional<F: Float + Lane, const SCALAR: bool>(
        op: Op,
        a: u128,
        b: u128,
        r: u128,
    ) -> bool {
        every::<F, SCALAR>(|k| {
            let [a, b, r] = [a, b, r].map(|v| lane_of::<F>(v, k));
            let exact = match op {
                Op::Mul => a.is_zero() || b.is_zero(),
                Op::Div => a.is_zero(),
                _ => true,
            };
            // What is no number shows in the result: NaNs are none of the host's business here.
            let denormal = |x: F| Num::of_bits(&F::FORMAT, x.bits()).denormal;
            !denormal(a) && !denormal(b) && (r.settled() || r.is_zero() && exact)
        })
    }

    pub(super) fn comparable<F: Float + Lane, const SCALAR: bool>(a: u128, b: u128) -> bool {
        every::<F, SCALAR>(|k| lane_of::<F>(a, k).tame() && lane_of::<F>(b, k).tame())
    }

    pub(super) fn order<F: Float + Lane>(a: u128, b: u128) -> [u128; 3] {
        [Ordering::Less, Ordering::Equal, Ordering::Greater].map(|wanted| {
            let holds = |a, b| F::host_compare(a, b) == Some(wanted);
            lanes::<F>(a, b, |a, b| F::of(if holds(a, b) { u64::MAX } else { 0 }))
        })
    }

    #[cfg(not(target_arch = "x86_64"))]
    impl<F: Float + Lane> super::Lanes for F {
        fn compute<const SCALAR: bool>(op: Op, a: u128, b: u128) -> u128 {
            compute::<F, SCALAR>(op, a, b)
        }
        fn normal<const SCALAR: bool>(a: u128, b: u128, r: u128) -> bool {
            normal::<F, SCALAR>(a, b, r)
        }
        fn unexceptional<const SCALAR: bool>(
            op: Op,
            a: u128,
            b: u128,
            r: u128,
            _noted: bool,
        ) -> bool {
            unexceptional::<F, SCALAR>(op, a, b, r)
        }
        fn comparable<const SCALAR: bool>(a: u128, b: u128, _noted: bool) -> bool {
            comparable::<F, SCALAR>(a, b)
        }
        fn order(a: u128, b: u128) -> [u128; 3] {
            order::<F>(a, b)
        }
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::{Lanes, Op, V, bits, of, portable};
    use crate::fpu::flag::{I, P};
    use crate::fpu::simd::{self, Float};
    use crate::fpu::soft::Env;
    use crate::isa::vector::{Lane, build, lane_of};
    use std::cmp::Ordering;
    use std::fmt::Debug;

    const OPS: [Op; 7] = [Op::Add, Op::Sub, Op::Mul, Op::Div, Op::Sqrt, Op::Min, Op::Max];

    /// Ends of ranges, and one thing between.
    fn values<F: Float>() -> Vec<F> {
        let one = 1 << (F::FORMAT.p - 1);
        let top = 2 * F::FORMAT.emax as u64 + 1;
        let exponents = [0, 1, 2, 3, top / 2 - 1, top / 2, top / 2 + 1, top - 2, top - 1, top];
        let significands = [0, 1, one / 2, one - 1, one / 3];
        let each = exponents.iter().flat_map(|e| significands.map(|m| e * one + m));
        each.flat_map(|v| [v, v | ((top + 1) * one)]).map(F::of).collect()
    }

    /// MXCSR at its start, with Precision noted, and with Invalid too.
    const MXCSR: [u32; 2] = [crate::fpu::MXCSR_RESET | P, crate::fpu::MXCSR_RESET | P | I];

    /// The exact result, if MXCSR does not change.
    fn exact<F: Float>(op: Op, mxcsr: u32, a: F, b: F) -> Option<F> {
        let mut e = Env { fast: false, ..Env::sse(mxcsr) };
        let r = match op {
            Op::Add => simd::arith(&mut e, simd::Op::Add, a, b),
            Op::Sub => simd::arith(&mut e, simd::Op::Sub, a, b),
            Op::Mul => simd::arith(&mut e, simd::Op::Mul, a, b),
            Op::Div => simd::arith(&mut e, simd::Op::Div, a, b),
            Op::Sqrt => simd::sqrt(&mut e, b),
            Op::Min => simd::pick(&mut e, a, b, Ordering::Less),
            Op::Max => simd::pick(&mut e, a, b, Ordering::Greater),
        };
        (e.flags & !mxcsr == 0).then_some(r)
    }

    #[track_caller]
    fn check<F: Float + Lane + Lanes + Debug>(op: Op, mxcsr: u32, a: F, b: F) {
        let lane = |v: F, other: u64| of(build::<F>(|k| if k == 0 { v } else { F::of(other) }));
        let all = |v: F| of(build::<F>(|_| v));
        // The lanes that a scalar operation has nothing to do with hold what it could stumble over.
        let (x, y) = (lane(a, u64::MAX), lane(b, 1));
        let scalar = super::arith::<F, true>(op, mxcsr, x, y).map(bits);
        let packed = super::arith::<F, false>(op, mxcsr, all(a), all(b)).map(bits);
        let low = |v: u128| lane_of::<F>(v, 0);
        let context = format!("{op:?} {mxcsr:x} {:x} {:x}", a.bits(), b.bits());
        assert_eq!(scalar.map(low), packed.map(low), "{context}");
        let two_nans = op != Op::Min && op != Op::Max && F::host_compare(a, a).is_none();
        assert!(packed.is_none() || !two_nans || F::host_compare(b, b).is_some(), "{context}");
        if let Some(r) = packed {
            assert_eq!(Some(low(r)), exact(op, mxcsr, a, b), "{context}");
            assert_eq!(r, bits(all(low(r))), "{context}");
            let upper = bits(x) >> (8 * size_of::<F>());
            assert_eq!(scalar.map(|v| v >> (8 * size_of::<F>())), Some(upper), "{context}");
        }
        agree::<F>(op, x, y);
        agree::<F>(op, all(a), all(b));
    }

    /// Both ways judge alike, and what they let pass they compute alike.
    #[track_caller]
    fn agree<F: Float + Lane + Lanes>(op: Op, a: V, b: V) {
        one_of::<F, true>(op, a, b);
        one_of::<F, false>(op, a, b);
    }

    #[track_caller]
    fn one_of<F: Float + Lane + Lanes, const SCALAR: bool>(op: Op, a: V, b: V) {
        let r = F::compute::<SCALAR>(op, a, b);
        let a = if op == Op::Sqrt { b } else { a };
        let (x, y, z) = (bits(a), bits(b), bits(r));
        let context = format!("{op:?} {SCALAR} {x:x} {y:x} {z:x}");
        let normal = portable::normal::<F, SCALAR>(x, y, z);
        assert!(!normal || F::normal::<SCALAR>(a, b, r), "{context}");
        let fine = portable::unexceptional::<F, SCALAR>(op, x, y, z);
        assert!(!fine || F::unexceptional::<SCALAR>(op, a, b, r, false), "{context}");
        let twin = portable::compute::<F, SCALAR>(op, x, y);
        assert!(!fine || lane_of::<F>(twin, 0) == lane_of(z, 0), "{context}");
        let comparable = portable::comparable::<F, SCALAR>(x, y);
        assert!(!comparable || F::comparable::<SCALAR>(a, b, false), "{context}");
        assert_eq!(F::order(a, b).map(bits), portable::order::<F>(x, y), "{context}");
    }

    fn pairs<F: Float + Lane + Lanes + Debug>() {
        let values = values::<F>();
        for (op, mxcsr) in OPS.iter().flat_map(|op| MXCSR.map(|mxcsr| (*op, mxcsr))) {
            for a in &values {
                values.iter().for_each(|b| check(op, mxcsr, *a, *b));
            }
        }
        // What is ordinary takes the way of the host.
        let [one, two] = [F::FORMAT.emax as u64, F::FORMAT.emax as u64 + 1]
            .map(|e| F::of(e << (F::FORMAT.p - 1)));
        for op in OPS {
            let [zero, one, two] = [0, one.bits(), two.bits()].map(|v| of(v as u128));
            assert!(super::arith::<F, true>(op, MXCSR[0], one, two).is_some());
            assert!(super::arith::<F, true>(op, MXCSR[0], zero, one).is_some(), "{op:?}");
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
