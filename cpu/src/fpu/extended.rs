//! The usual case of the x87's arithmetic: normal numbers or zeros, rounded to nearest with 64 bits to a
//! normal number or an exact zero. Of the exceptions only Precision can be due.
//!
//! All else is `None` here, and [`super::soft`]'s, which these functions agree with where they answer.

#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "a division of 128 bits by 64"))]

use super::flag::P;
use super::x87::C1;
use super::{F80, Fpu};
use crate::mem::rare;

/// The sign bit of [`F80::se`].
const SIGN: u16 = 0x8000;
const TOP: u64 = 1 << 63;
/// The exponent field of 1.
const ONE: i32 = 0x3fff;

/// A result, and the bits that the status word gets with it: Precision, and C1 if it was rounded up.
pub type Rounded = (F80, u16);

#[inline(always)]
fn exponent(v: F80) -> i32 {
    (v.se & !SIGN) as i32
}

/// One less than the exponent field: below [`LAST`] for a normal number, with some room at the top.
#[inline(always)]
fn place(v: F80) -> u32 {
    (v.se as u32).wrapping_sub(1) & 0x7fff
}

/// The end of the exponents, less one, that no rounding and no sum carries out of the range.
const LAST: u32 = 0x7ffc;

#[inline(always)]
fn normal(v: F80) -> bool {
    v.m & TOP != 0 && place(v) < LAST
}

#[inline(always)]
fn is_zero(v: F80) -> bool {
    v.m == 0 && v.se << 1 == 0
}

#[inline(always)]
fn fine(v: F80) -> bool {
    normal(v) || is_zero(v)
}

/// A significand that `rest`, in units of 2^-64, was cut from, rounded to even: (significand, whether it
/// became 0 by a carry, status).
#[inline(always)]
fn round(m: u64, rest: u64) -> (u64, bool, u16) {
    if rest == 0 {
        return (m, false, 0);
    }
    // More than a half, or a half if `m` is odd.
    let up = (rest - (!m & 1)) >> 63;
    let (m, carry) = m.overflowing_add(up);
    (m, carry, P as u16 | (up as u16) << C1.trailing_zeros())
}

/// Rounds and packs; `m` has its top bit set. `se` is sign and exponent, with room for a carry.
#[inline(always)]
fn pack(se: u16, m: u64, rest: u64) -> Rounded {
    let (m, carry, status) = round(m, rest);
    if carry {
        rare();
        return (F80 { m: TOP, se: se + 1 }, status);
    }
    (F80 { m, se }, status)
}

/// `a + b`.
#[inline(always)]
pub fn add(a: F80, b: F80) -> Option<Rounded> {
    let (ea, eb) = (place(a), place(b));
    if (a.m & b.m) & TOP == 0 || ea >= LAST || eb >= LAST {
        rare();
        return add_zero(a, b);
    }
    if ea >= eb { add_smaller(a, b, ea - eb) } else { add_smaller(b, a, eb - ea) }
}

/// `big + small`, whose exponents differ by `by`.
#[inline(always)]
fn add_smaller(big: F80, small: F80, by: u32) -> Option<Rounded> {
    if by > 63 {
        rare();
        return None;
    }
    let y = small.m >> (by & 63);
    let rest = ((small.m as u128) << 64 >> (by & 63)) as u64;
    if (big.se ^ small.se) & SIGN == 0 {
        let (m, carry) = big.m.overflowing_add(y);
        if carry {
            // What was cut off is even.
            return Some(pack(big.se + 1, m >> 1 | TOP, rest >> 1 | m << 63));
        }
        return Some(pack(big.se, m, rest));
    }
    let (m, borrow) = big.m.overflowing_sub(y);
    if borrow {
        // The exponents are equal, so nothing was cut off.
        return normalized(small.se, m.wrapping_neg(), 0);
    }
    let m = m.wrapping_sub((rest != 0) as u64);
    let rest = rest.wrapping_neg();
    if m & TOP != 0 {
        return Some(pack(big.se, m, rest));
    }
    normalized(big.se, m, rest)
}

/// A difference of which the leading bits are gone.
#[inline(always)]
fn normalized(se: u16, m: u64, rest: u64) -> Option<Rounded> {
    if m == 0 {
        rare();
        return (rest == 0).then_some((F80::default(), 0));
    }
    let by = m.leading_zeros();
    if (se & !SIGN) as u32 <= by {
        rare();
        return None;
    }
    let m = ((m as u128) << 64 | rest as u128) << (by & 63);
    Some(pack(se - by as u16, (m >> 64) as u64, m as u64))
}

/// A sum with a zero among the operands.
#[inline(always)]
fn add_zero(a: F80, b: F80) -> Option<Rounded> {
    let sum = match (is_zero(a), is_zero(b)) {
        (true, true) => F80 { m: 0, se: a.se & b.se },
        (true, false) if normal(b) => b,
        (false, true) if normal(a) => a,
        _ => return None,
    };
    Some((sum, 0))
}

/// With the sign turned.
#[inline(always)]
pub fn negated(v: F80) -> F80 {
    F80 { se: v.se ^ SIGN, ..v }
}

/// Rounds and packs, if exponent field `e` has room for a carry.
#[inline(always)]
fn pack_checked(sign: u16, e: i32, m: u64, rest: u64) -> Option<Rounded> {
    if (e as u32).wrapping_sub(1) >= LAST {
        rare();
        return None;
    }
    Some(pack(sign | e as u16, m, rest))
}

/// `a * b`.
#[inline(always)]
pub fn mul(a: F80, b: F80) -> Option<Rounded> {
    let sign = (a.se ^ b.se) & SIGN;
    let (ea, eb) = (place(a), place(b));
    if (a.m & b.m) & TOP == 0 || ea >= LAST || eb >= LAST {
        rare();
        let zero = is_zero(a) && fine(b) || is_zero(b) && fine(a);
        return zero.then_some((F80 { m: 0, se: sign }, 0));
    }
    let e = (ea + eb) as i32 - (ONE - 2);
    let p = a.m as u128 * b.m as u128;
    let (m, rest) = ((p >> 64) as u64, p as u64);
    match m & TOP {
        0 => pack_checked(sign, e, m << 1 | rest >> 63, rest << 1),
        _ => pack_checked(sign, e + 1, m, rest),
    }
}

/// Quotient, which fits, and remainder.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn divide(n: u128, d: u64) -> (u64, u64) {
    let (mut low, mut high) = (n as u64, (n >> 64) as u64);
    // SAFETY: one instruction on registers; it cannot fault, because the quotient fits.
    unsafe {
        std::arch::asm!("div {d}", d = in(reg) d, inout("rax") low, inout("rdx") high,
            options(pure, nomem, nostack));
    }
    (low, high)
}

#[cfg(not(target_arch = "x86_64"))]
fn divide(n: u128, d: u64) -> (u64, u64) {
    ((n / d as u128) as u64, (n % d as u128) as u64)
}

/// `a / b`.
#[inline(always)]
pub fn div(a: F80, b: F80) -> Option<Rounded> {
    let sign = (a.se ^ b.se) & SIGN;
    if !normal(a) || !normal(b) {
        return (is_zero(a) && normal(b)).then_some((F80 { m: 0, se: sign }, 0));
    }
    let less = a.m < b.m;
    // The quotient has 64 bits: its top bit is set, and no other comes before.
    let (q, r) = divide((a.m as u128) << (63 + less as u32), b.m);
    let beyond_half = r.cmp(&(b.m - r)) as i64;
    let rest = if r == 0 { 0 } else { TOP.wrapping_add_signed(beyond_half) };
    pack_checked(sign, exponent(a) - exponent(b) + ONE - less as i32, q, rest)
}

/// How two numbers compare: (less, equal).
#[inline(always)]
pub fn compare(a: F80, b: F80) -> Option<(bool, bool)> {
    if !fine(a) || !fine(b) {
        return None;
    }
    let (negative, equal) = (a.se & SIGN != 0, a.m == b.m && a.se == b.se);
    if (a.se ^ b.se) & SIGN != 0 {
        let zeros = a.m | b.m == 0;
        return Some((negative && !zeros, zeros));
    }
    let less = (exponent(a), a.m) < (exponent(b), b.m);
    Some((!equal && less != negative, equal))
}

/// A binary64 from its bits: a normal number or zero.
#[inline(always)]
pub fn of_double(v: u64) -> Option<F80> {
    let (sign, e) = ((v >> 48) as u16 & SIGN, (v >> 52) as i32 & 0x7ff);
    if (e as u32).wrapping_sub(1) < 0x7fe {
        return Some(F80 { m: TOP | v << 11, se: sign | (e + ONE - 1023) as u16 });
    }
    (v << 1 == 0).then_some(F80 { m: 0, se: sign })
}

/// As [`of_double`], of a binary32.
#[inline(always)]
pub fn of_single(v: u32) -> Option<F80> {
    let (sign, e) = ((v >> 16) as u16 & SIGN, (v >> 23) as i32 & 0xff);
    if (e as u32).wrapping_sub(1) < 0xfe {
        return Some(F80 { m: TOP | (v as u64) << 40, se: sign | (e + ONE - 127) as u16 });
    }
    (v << 1 == 0).then_some(F80 { m: 0, se: sign })
}

/// An integer.
#[inline(always)]
pub fn of_int(v: i64) -> F80 {
    if v == 0 {
        return F80::default();
    }
    let m = v.unsigned_abs();
    let by = m.leading_zeros();
    F80 { m: m << by, se: (v >> 48) as u16 & SIGN | (ONE as u16 + 63 - by as u16) }
}

/// Rounded to a format with `BITS` bits of significand and exponents up to `EMAX`: its bits, and the status.
#[inline(always)]
pub fn to_format<const BITS: u32, const EMAX: i32>(v: F80) -> Option<(u64, u16)> {
    let sign = (v.se as u64 >> 15) << if BITS == 53 { 63 } else { 31 };
    if !normal(v) {
        return is_zero(v).then_some((sign, 0));
    }
    let e = exponent(v) - ONE + EMAX;
    // With room for the carry.
    if (e as u32).wrapping_sub(1) >= 2 * EMAX as u32 - 1 {
        return None;
    }
    let (m, _, status) = round(v.m >> (64 - BITS), v.m << BITS);
    // The integer bit adds one to the exponent field, and a carry another.
    Some((sign | (((e - 1) as u64) << (BITS - 1)).wrapping_add(m), status))
}

/// Rounded to an integer of `bits` bits, to nearest or towards zero.
#[inline(always)]
pub fn to_int<const BITS: u32>(v: F80, cut: bool) -> Option<(u64, u16)> {
    let e = exponent(v) - ONE;
    if !normal(v) || e >= BITS as i32 - 1 {
        return is_zero(v).then_some((0, 0));
    }
    let (m, rest) = match e {
        0.. => (v.m >> (63 - e), v.m << 1 << e),
        -1 => (0, v.m),
        // Less than a half.
        _ => (0, 1),
    };
    let (n, _, status) = round(m, rest);
    let (n, status) = if cut { (m, status & P as u16) } else { (n, status) };
    // It may have become one too large.
    if n >> (BITS - 1) != 0 {
        return None;
    }
    Some((if v.se & SIGN != 0 { n.wrapping_neg() } else { n }, status))
}

impl Fpu {
    /// Whether the control word rounds to nearest and masks Precision; `extended`: with 64 bits.
    #[inline(always)]
    pub fn usual_rounding(&self, extended: bool) -> bool {
        const MODE: u16 = 0xc00 | P as u16;
        const PRECISION: u16 = 0x300;
        if extended {
            return self.cw & (MODE | PRECISION) == PRECISION | P as u16;
        }
        self.cw & MODE == P as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fpu::simd::{self, Op, int_of};
    use crate::fpu::soft::{self, Env, F32, F64, Num, Rounding, X80};
    use crate::fpu::x87::arith;
    use std::cmp::Ordering;

    /// Significands and exponents at the ends, close together, and between.
    fn values() -> Vec<F80> {
        let significands =
            [TOP, TOP | 1, TOP | 1 << 10, TOP | 1 << 11, 0xc000_0000_0000_0400, u64::MAX];
        let more = [0xaaaa_aaaa_aaaa_aaaa, u64::MAX - 1, u64::MAX << 11, u64::MAX << 40, 3 << 62];
        let exponents = [0, 1, 2, 0x3c01, 0x3f81, 0x3ffe, 0x3fff, 0x4000, 0x401d, 0x401e, 0x403d];
        let others = [0x403e, 0x403f, 0x7ffd, 0x7ffe, 0x7fff];
        let exponents = exponents.into_iter().chain(others);
        let numbers = exponents
            .flat_map(|se| significands.into_iter().chain(more).map(move |m| F80 { m, se }));
        let odd = [F80::default(), F80 { m: 1, se: 0 }, F80 { m: 1, se: 0x4000 }];
        numbers.chain(odd).flat_map(|v| [v, negated(v)]).collect()
    }

    fn env() -> Env {
        Fpu { cw: 0x37f, ..Fpu::default() }.env()
    }

    /// The status that goes with what was found; `None` if more than Precision was.
    fn status(e: &Env) -> Option<u16> {
        let c1 = if e.flags != 0 && e.up { C1 } else { 0 };
        (e.flags & !P == 0).then_some(e.flags as u16 | c1)
    }

    #[track_caller]
    fn check<T: PartialEq + std::fmt::Debug>(
        usual: Option<(T, u16)>,
        exact: impl FnOnce(&mut Env) -> T,
        operands: &[F80],
    ) -> bool {
        let mut e = env();
        let v = exact(&mut e);
        if let Some(usual) = usual.as_ref() {
            assert_eq!(Some(usual), status(&e).map(|s| (v, s)).as_ref(), "{operands:x?}");
        }
        usual.is_some()
    }

    #[test]
    fn arithmetic() {
        let (values, mut answers) = (values(), [0; 4]);
        type Usual = fn(F80, F80) -> Option<Rounded>;
        let ops: [(Op, Usual); 4] =
            [(Op::Add, add), (Op::Sub, |a, b| add(a, negated(b))), (Op::Mul, mul), (Op::Div, div)];
        for (n, (op, f)) in ops.into_iter().enumerate() {
            for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b))) {
                let (x, y) = (Num::of_f80(a), Num::of_f80(b));
                let exact = |e: &mut Env| arith(e, &X80, op, x, y).to_f80();
                answers[n] += check(f(a, b), exact, &[a, b]) as u32;
            }
        }
        // Most pairs are far apart, or near an end of the range.
        let all = (values.len() * values.len()) as u32;
        assert!(answers.iter().all(|n| *n > all / 5), "{answers:?} of {all}");
    }

    #[test]
    fn comparisons() {
        let values = values();
        for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b))) {
            let order = soft::compare(&Num::of_f80(a), &Num::of_f80(b));
            let exact = (order == Ordering::Less, order == Ordering::Equal);
            assert!(compare(a, b).is_none_or(|v| v == exact), "{a:x?} {b:x?}");
            assert!(compare(a, b).is_some() || !normal(a) || !normal(b), "{a:x?} {b:x?}");
        }
    }

    #[test]
    fn conversions() {
        let mut answers = [0; 6];
        for v in values() {
            let n = Num::of_f80(v);
            let to = |f, e: &mut Env| simd::convert_num(e, f, n).to_bits(f);
            answers[0] += check(to_format::<24, 127>(v), |e| to(&F32, e), &[v]) as u32;
            answers[1] += check(to_format::<53, 1023>(v), |e| to(&F64, e), &[v]) as u32;
            let int = |bits, rm, e: &mut Env| int_of(e, &n, bits, rm).unwrap_or(0);
            let near = |bits| move |e: &mut Env| int(bits, Rounding::Nearest, e);
            answers[2] += check(to_int::<16>(v, false), near(16), &[v]) as u32;
            answers[3] += check(to_int::<32>(v, false), near(32), &[v]) as u32;
            answers[4] += check(to_int::<64>(v, false), near(64), &[v]) as u32;
            let cut = |e: &mut Env| int(64, Rounding::Zero, e);
            answers[5] += check(to_int::<64>(v, true), cut, &[v]) as u32;
        }
        assert!(answers.iter().all(|n| *n > 50), "{answers:?}");
    }

    #[test]
    fn from_memory() {
        for v in [0, 1, 0xfff, 1 << 51, (1 << 52) - 1] {
            for e in [0, 1, 2, 1023, 2046, 2047u64] {
                let bits = e << 52 | v | v << 63;
                let n = Num::of_bits(&F64, bits);
                let usual = of_double(bits);
                assert!(usual.is_none_or(|f| f == n.to_f80() && !n.denormal && !n.is_nan()));
                assert!(usual.is_some() || e == 0 || e == 2047, "{bits:x}");
                let bits = ((e.min(255) << 23) | v >> 29 | v << 31) as u32;
                let n = Num::of_bits(&F32, bits as u64);
                assert!(of_single(bits).is_none_or(|f| f == n.to_f80()), "{bits:x}");
            }
            for n in [v as i64, -(v as i64), i64::MIN, i64::MAX] {
                assert_eq!(of_int(n), Num::of_int(n).to_f80());
            }
        }
    }
}
