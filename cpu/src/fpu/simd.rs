//! SSE's floating point: operations on one lane, with MXCSR's rules for NaNs, denormals and
//! exceptions. SDM vol. 1, "SSE and SSE2 ... Exceptions", "Operating on NaNs".
//!
//! Where rounding is to nearest and an inexact result is already set in MXCSR, host arithmetic
//! computes normal results from normal operands: there it cannot differ, nor raise anything new.

use super::soft::{Env, F16, F32, F64, Format, Kind, Num, Rounding, Wide, compare};
use crate::state::fpu::MXCSR_RESET;
use crate::state::fpu::flag::{D, I, Z};
use std::cmp::Ordering;

/// The bits of a binary32 (`u32`) or binary64 (`u64`).
pub trait Float: Copy + Eq + 'static {
    /// Format of the number.
    const FORMAT: Format;
    /// From the low bits.
    fn of(bits: u64) -> Self;
    /// The bits of the number, zero-extended.
    fn bits(self) -> u64;
    /// Normal or zero.
    fn tame(self) -> bool;
    /// With the sign turned.
    fn negated(self) -> Self;
    /// Zero of either sign.
    fn is_zero(self) -> bool;
    /// Normal, and not the least exponent, to which tiny results may round.
    fn settled(self) -> bool;
    /// Host arithmetic: round to nearest.
    fn host(op: Op, a: Self, b: Self) -> Self;
    /// Host comparison.
    fn host_compare(a: Self, b: Self) -> Option<Ordering>;
    /// Host square root.
    fn host_sqrt(a: Self) -> Self;
}

/// The four basic operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Op {
    Add,
    Sub,
    Mul,
    Div,
}

macro_rules! float {
    ($bits:ty, $float:ty, $format:expr) => {
        impl Float for $bits {
            const FORMAT: Format = $format;
            #[inline(always)]
            fn of(bits: u64) -> Self {
                bits as $bits
            }
            #[inline(always)]
            fn bits(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn tame(self) -> bool {
                const ONE: $bits = 1 << ($format.p - 1);
                let twice = self << 1;
                // Exponent field 1 to all-ones minus 1.
                twice.wrapping_sub(ONE << 1) < <$bits>::MAX - (ONE << 2) + 1 || twice == 0
            }
            #[inline(always)]
            fn negated(self) -> Self {
                self ^ 1 << (<$bits>::BITS - 1)
            }
            #[inline(always)]
            fn is_zero(self) -> bool {
                self << 1 == 0
            }
            #[inline(always)]
            fn settled(self) -> bool {
                const ONE: $bits = 1 << ($format.p - 1);
                (self << 1).wrapping_sub(ONE << 2) < <$bits>::MAX - (ONE << 2) - (ONE << 1) + 1
            }
            #[inline(always)]
            fn host(op: Op, a: Self, b: Self) -> Self {
                let (a, b) = (<$float>::from_bits(a), <$float>::from_bits(b));
                let r = match op {
                    Op::Add => a + b,
                    Op::Sub => a - b,
                    Op::Mul => a * b,
                    Op::Div => a / b,
                };
                r.to_bits()
            }
            #[inline(always)]
            fn host_compare(a: Self, b: Self) -> Option<Ordering> {
                <$float>::from_bits(a).partial_cmp(&<$float>::from_bits(b))
            }
            #[inline(always)]
            fn host_sqrt(a: Self) -> Self {
                <$float>::from_bits(a).sqrt().to_bits()
            }
        }
    };
}
float!(u32, f32, F32);
float!(u64, f64, F64);

impl Env {
    /// As MXCSR says.
    #[inline(always)]
    pub fn sse(mxcsr: u32) -> Env {
        let rm = Rounding::of(mxcsr >> 13);
        // Precision set and masked.
        let quiet = mxcsr & (1 << 5 | 1 << 12) == (1 << 5 | 1 << 12);
        Env {
            rm,
            ftz: mxcsr >> 15 & 1 != 0,
            daz: mxcsr >> 6 & 1 != 0,
            unmasked: !(mxcsr >> 7) & 63,
            flags: 0,
            up: false,
            fast: quiet && rm == Rounding::Nearest,
        }
    }
}

/// Unpacks an operand, a denormal as zero where DAZ says so.
pub fn unpack<F: Float>(e: &Env, v: F) -> Num {
    let n = Num::of_bits(&F::FORMAT, v.bits());
    if n.denormal && e.daz { Num::zero(n.sign) } else { n }
}

/// Packs a result.
pub fn pack<F: Float>(n: Num) -> F {
    F::of(n.to_bits(&F::FORMAT))
}

/// The result for NaN operands: the first one's payload, quiet. `None` if there is no NaN.
pub fn nan_result(e: &mut Env, operands: &[Num]) -> Option<Num> {
    let nan = operands.iter().find(|n| n.is_nan())?;
    if operands.iter().any(|n| n.kind == Kind::Signaling) {
        e.raise(I);
    }
    Some(nan.quieted())
}

fn invalid(e: &mut Env) -> Num {
    e.raise(I);
    Num::DEFAULT_NAN
}

/// The quotient by zero.
fn by_zero(e: &mut Env, a: &Num, sign: bool) -> Num {
    if !a.is_infinite() {
        e.raise(Z);
    }
    Num::infinity(sign)
}

/// An operation on numbers that are not NaN, rounded to `f`. Serves SSE and x87.
pub fn operate(e: &mut Env, f: &Format, op: Op, a: Num, b: Num) -> Num {
    let b = if op == Op::Sub { b.negated() } else { b };
    let sign = a.sign != b.sign;
    let special = match op {
        Op::Add | Op::Sub => match (a.is_infinite(), b.is_infinite()) {
            (true, true) if sign => return invalid(e),
            (true, _) => Some(a),
            (_, true) => Some(b),
            _ => None,
        },
        Op::Mul => match (a.is_infinite() || b.is_infinite(), a.is_zero() || b.is_zero()) {
            (true, true) => return invalid(e),
            (true, _) => Some(Num::infinity(sign)),
            (_, true) => Some(Num::zero(sign)),
            _ => None,
        },
        Op::Div => match (a.kind, b.kind) {
            (Kind::Infinity, Kind::Infinity) | (Kind::Zero, Kind::Zero) => return invalid(e),
            (_, Kind::Zero) => return by_zero(e, &a, sign),
            (Kind::Infinity, _) => Some(Num::infinity(sign)),
            (Kind::Zero, _) | (_, Kind::Infinity) => Some(Num::zero(sign)),
            _ => None,
        },
    };
    if a.denormal || b.denormal {
        e.raise(D);
    }
    if let Some(n) = special {
        return n;
    }
    match op {
        Op::Add | Op::Sub => add(e, f, a, b),
        Op::Mul => e.round(f, Wide::product(&a, &b)),
        Op::Div => e.round(f, Wide::quotient(&a, &b)),
    }
}

fn add(e: &mut Env, f: &Format, a: Num, b: Num) -> Num {
    let w = match (a.is_zero(), b.is_zero()) {
        (true, true) => None,
        (true, _) => Some(b.wide()),
        (_, true) => Some(a.wide()),
        _ => Wide::sum(a.wide(), b.wide()),
    };
    e.round_sum(f, w, (a.sign, b.sign))
}

/// Addition, subtraction, multiplication, division.
#[inline(always)]
pub fn arith<F: Float>(e: &mut Env, op: Op, a: F, b: F) -> F {
    if e.fast && a.tame() && b.tame() {
        let r = F::host(op, a, b);
        if r.settled() {
            return r;
        }
    }
    arith_soft(e, op, a, b)
}

#[inline(never)]
fn arith_soft<F: Float>(e: &mut Env, op: Op, a: F, b: F) -> F {
    let (x, y) = (unpack(e, a), unpack(e, b));
    if let Some(n) = nan_result(e, &[x, y]) {
        return pack(n);
    }
    pack(operate(e, &F::FORMAT, op, x, y))
}

/// Square root.
pub fn sqrt<F: Float>(e: &mut Env, a: F) -> F {
    if e.fast && a.tame() {
        let r = F::host_sqrt(a);
        if r.settled() {
            return r;
        }
    }
    let n = unpack(e, a);
    pack(nan_result(e, &[n]).unwrap_or_else(|| root(e, &F::FORMAT, n)))
}

/// The square root of a number that is not NaN.
pub fn root(e: &mut Env, f: &Format, n: Num) -> Num {
    match n.kind {
        Kind::Zero => n,
        _ if n.sign => invalid(e),
        Kind::Infinity => n,
        _ => {
            e.raise(if n.denormal { D } else { 0 });
            e.round(f, Wide::root(&n))
        }
    }
}

/// How two operands compare; `None` is unordered. A quiet NaN is invalid where `signaling`.
#[inline(always)]
pub fn relation<F: Float>(e: &mut Env, a: F, b: F, signaling: bool) -> Option<Ordering> {
    if a.tame() && b.tame() {
        return F::host_compare(a, b);
    }
    let (x, y) = (unpack(e, a), unpack(e, b));
    if x.is_nan() || y.is_nan() {
        if signaling || x.kind == Kind::Signaling || y.kind == Kind::Signaling {
            e.raise(I);
        }
        return None;
    }
    e.raise(if x.denormal || y.denormal { D } else { 0 });
    Some(compare(&x, &y))
}

/// Less, in [`holds`].
pub const LT: u8 = 1;
/// The operands are equal.
pub const EQ: u8 = 2;
/// The first operand is greater.
pub const GT: u8 = 4;
/// One operand is a NaN.
pub const UN: u8 = 8;

/// The relations in which predicate `p` (0 to 31) of CMPPS and its like holds. SDM vol. 2, "CMPPD".
#[inline(always)]
pub fn holds(p: u8) -> u8 {
    const HOLDS: [u8; 16] = [
        EQ,
        LT,
        LT | EQ,
        UN,
        LT | GT | UN,
        EQ | GT | UN,
        GT | UN,
        LT | EQ | GT,
        EQ | UN,
        LT | UN,
        LT | EQ | UN,
        0,
        LT | GT,
        GT | EQ,
        GT,
        LT | EQ | GT | UN,
    ];
    HOLDS[p as usize & 15]
}

/// Whether predicate `p` holds.
pub fn predicate<F: Float>(e: &mut Env, a: F, b: F, p: u8) -> bool {
    const SIGNALING: u16 = 0b0110_0110_0110_0110;
    let signaling = (SIGNALING >> (p & 15) & 1 != 0) != (p & 16 != 0);
    let bit = match relation(e, a, b, signaling) {
        Some(Ordering::Less) => LT,
        Some(Ordering::Equal) => EQ,
        Some(Ordering::Greater) => GT,
        None => UN,
    };
    holds(p) & bit != 0
}

/// MIN and MAX: the second operand, unless the first is surely more `wanted`.
pub fn pick<F: Float>(e: &mut Env, a: F, b: F, wanted: Ordering) -> F {
    let chosen = if relation(e, a, b, true) == Some(wanted) { a } else { b };
    let n = unpack(e, chosen);
    if n.is_nan() { chosen } else { pack(n) }
}

/// Between formats.
pub fn convert<F: Float, G: Float>(e: &mut Env, a: F) -> G {
    let n = unpack(e, a);
    pack(convert_num(e, &G::FORMAT, n))
}

/// A number rounded to another format; a NaN made quiet.
pub fn convert_num(e: &mut Env, f: &Format, n: Num) -> Num {
    if let Some(nan) = nan_result(e, &[n]) {
        return nan;
    }
    e.raise(if n.denormal { D } else { 0 });
    if n.kind == Kind::Finite { e.round(f, n.wide()) } else { n }
}

/// From a signed integer.
pub fn from_int<F: Float>(e: &mut Env, v: i64) -> F {
    let n = Num::of_int(v);
    pack(if n.is_zero() { n } else { e.round(&F::FORMAT, n.wide()) })
}

/// To a signed integer of `bits` bits; the integer indefinite and invalid when it does not fit.
pub fn to_int<F: Float>(e: &mut Env, a: F, bits: u32, rm: Rounding) -> u64 {
    let n = unpack(e, a);
    int_of(e, &n, bits, rm).unwrap_or(1 << (bits - 1)) & (u64::MAX >> (64 - bits))
}

/// A number as a signed integer of `bits` bits; `None`, and invalid, when it does not fit.
pub fn int_of(e: &mut Env, n: &Num, bits: u32, rm: Rounding) -> Option<u64> {
    let finite = matches!(n.kind, Kind::Zero | Kind::Finite);
    let rounded = if finite { Env::to_integer(rm, n) } else { None };
    let limit = 1i128 << (bits - 1);
    match rounded {
        Some((v, inexact, up)) if (-limit..limit).contains(&v) => {
            e.raise(if inexact { crate::state::fpu::flag::P } else { 0 });
            e.up = up;
            Some(v as u64)
        }
        _ => {
            e.raise(I);
            None
        }
    }
}

/// Rounds to an integral value in the same format (ROUNDPS and its like).
pub fn round_integral<F: Float>(e: &mut Env, a: F, rm: Rounding, quiet: bool) -> F {
    let n = unpack(e, a);
    if let Some(nan) = nan_result(e, &[n]) {
        return pack(nan);
    }
    if n.is_infinite() {
        return a;
    }
    match Env::to_integer(rm, &n) {
        Some((v, inexact, _)) => {
            e.raise(if inexact && !quiet { crate::state::fpu::flag::P } else { 0 });
            pack(Num::of_integral(n.sign, v))
        }
        None => a,
    }
}

/// Fused multiply and add, rounded once: `±a * b ± c`.
pub fn fma<F: Float>(e: &mut Env, operands: [F; 3], minus_product: bool, minus_sum: bool) -> F {
    let [x, y, z] = operands.map(|v| unpack(e, v));
    if let Some(n) = nan_result(e, &[x, y, z]) {
        return pack(n);
    }
    let z = Num { sign: z.sign != minus_sum, ..z };
    let x = Num { sign: x.sign != minus_product, ..x };
    let sign = x.sign != y.sign;
    let infinite = x.is_infinite() || y.is_infinite();
    let zero = x.is_zero() || y.is_zero();
    if infinite && (zero || z.is_infinite() && sign != z.sign) {
        return pack(invalid(e));
    }
    e.raise(if x.denormal || y.denormal || z.denormal { D } else { 0 });
    if infinite {
        return pack(Num::infinity(sign));
    }
    if z.is_infinite() {
        return pack(z);
    }
    let product = (!zero).then(|| Wide::product(&x, &y));
    let w = match (product, z.is_zero()) {
        (None, true) => None,
        (None, false) => Some(z.wide()),
        (p, true) => p,
        (Some(p), false) => Wide::sum(p, z.wide()),
    };
    pack(e.round_sum(&F::FORMAT, w, (sign, z.sign)))
}

/// An approximation of 1/x or 1/√x with 12 bits, exactly rounded to them.
/// DEPARTURE: hardware's tables, which differ between vendors, are within 1.5 * 2^-12 too, with
/// other digits.
pub fn approximate(a: u32, root: bool) -> u32 {
    let mut e = Env::sse(MXCSR_RESET | 1 << 6);
    let n = unpack(&e, a);
    let coarse = Format { p: 12, emin: F32.emin, emax: F32.emax };
    let one = Num::of_int(1);
    if n.is_nan() {
        return pack(n.quieted());
    }
    if n.is_zero() {
        return pack(Num::infinity(n.sign));
    }
    if root && n.sign {
        return pack(Num::DEFAULT_NAN);
    }
    if n.is_infinite() {
        return pack(Num::zero(n.sign));
    }
    let r = if root {
        let w = Wide::root(&n);
        let s = Num::finite(false, w.exp, (w.sig >> 64) as u64, false);
        Wide::quotient(&one, &s)
    } else {
        Wide::quotient(&one, &n)
    };
    // Tiny results are flushed to zero.
    e.ftz = true;
    pack(e.round(&coarse, r))
}

/// binary16 to binary32.
pub fn half_to_single(e: &mut Env, a: u16) -> u32 {
    let n = Num::of_bits(&F16, a as u64);
    // Denormals of the half format raise nothing and are never taken for zero.
    let n = Num { denormal: false, ..n };
    pack(convert_num(e, &F32, n))
}

/// binary32 to binary16.
pub fn single_to_half(e: &mut Env, a: u32, rm: Rounding) -> u16 {
    let n = unpack(e, a);
    let mut inner = Env { rm, ftz: false, ..*e };
    let r = convert_num(&mut inner, &F16, n);
    e.flags = inner.flags;
    r.to_bits(&F16) as u16
}
