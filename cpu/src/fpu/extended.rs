//! The usual case of the x87's arithmetic: normal numbers or zeros, rounded to nearest with 64 bits to a
//! normal number or an exact zero. Of the exceptions only Precision can be due.
//!
//! All else is `None` here, and [`super::soft`]'s, which these functions agree with where they answer. Among
//! it are registers that are empty: their exponents look too large.
#![expect(unsafe_code, reason = "what the compiler cannot know; a division of 128 bits by 64")]

use super::flag::P;
use super::x87::C1;
use super::{EMPTY, Register};
use crate::mem::rare;
use std::hint::assert_unchecked;

/// The sign bit of [`Register::se`].
const SIGN: u64 = 0x8000;
const TOP: u64 = 1 << 63;
/// The exponent field of 1.
const ONE: i32 = 0x3fff;
/// Positive zero.
const ZERO: Register = Register { m: 0, se: 0 };

/// A result, and the bits that the status word gets with it: Precision, and C1 if it was rounded up.
pub type Rounded = (Register, u32);

#[inline(always)]
fn exponent(v: Register) -> i32 {
    (v.se & !SIGN) as i32
}

/// One less than the exponent field: below [`LAST`] for a normal number, with some room at the top.
#[inline(always)]
fn place(v: Register) -> u32 {
    (v.se as u32).wrapping_sub(1) & !(SIGN as u32)
}

/// The end of the exponents, less one, that no rounding and no sum carries out of the range. Odd, so that
/// the compiler compares the very number that is computed with afterwards.
const LAST: u32 = 0x7ffb;

#[inline(always)]
fn normal(v: Register) -> bool {
    v.m & TOP != 0 && place(v) < LAST
}

#[inline(always)]
fn is_zero(v: Register) -> bool {
    v.m == 0 && v.se & !SIGN == 0
}

#[inline(always)]
fn fine(v: Register) -> bool {
    normal(v) || is_zero(v)
}

/// A significand that `rest`, in units of 2^-64, was cut from, rounded to even: (significand, whether it
/// became 0 by a carry, status).
#[inline(always)]
fn round(m: u64, rest: u64) -> (u64, bool, u32) {
    if rest == 0 {
        return (m, false, 0);
    }
    // More than a half, or a half if `m` is odd.
    let up = (rest - (!m & 1)) >> 63;
    let (m, carry) = m.overflowing_add(up);
    (m, carry, P | (up as u32) << C1.trailing_zeros())
}

/// Rounds and packs; `m` has its top bit set. `se` is sign and exponent, with room for a carry.
#[inline(always)]
fn pack(se: u64, m: u64, rest: u64) -> Rounded {
    let (m, carry, status) = round(m, rest);
    if carry {
        rare();
        return (Register { m: TOP, se: se + 1 }, status);
    }
    (Register { m, se }, status)
}

/// Whether neither is zero or unusual.
#[inline(always)]
pub fn both_normal(a: Register, b: Register) -> bool {
    (a.m & b.m) & TOP != 0 && place(a) < LAST && place(b) < LAST
}

/// `a + b`, which are [normal](both_normal).
#[inline(always)]
pub fn add(a: Register, b: Register) -> Option<Rounded> {
    debug_assert!(both_normal(a, b));
    let (ea, eb) = (place(a), place(b));
    if ea >= eb { add_smaller(a, b, ea - eb) } else { add_smaller(b, a, eb - ea) }
}

/// `m` shifted right by up to 63, and what is cut off, in units of 2^-64.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn shifted(m: u64, by: u32) -> (u64, u64) {
    let mut rest = 0_u64;
    // SAFETY: one instruction on registers.
    unsafe {
        std::arch::asm!("shrd {rest}, {m}, cl", rest = inout(reg) rest, m = in(reg) m, in("ecx") by,
            options(pure, nomem, nostack));
    }
    (m.wrapping_shr(by), rest)
}

#[cfg(not(target_arch = "x86_64"))]
fn shifted(m: u64, by: u32) -> (u64, u64) {
    // By 64 less `by`, in two steps.
    (m.wrapping_shr(by), (m << 1).wrapping_shl(!by))
}

/// `big + small`, whose exponents differ by `by`.
#[inline(always)]
fn add_smaller(big: Register, small: Register, by: u32) -> Option<Rounded> {
    if by > 63 {
        rare();
        return None;
    }
    let (y, rest) = shifted(small.m, by);
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
fn normalized(se: u64, m: u64, rest: u64) -> Option<Rounded> {
    if m == 0 {
        rare();
        return (rest == 0).then_some((ZERO, 0));
    }
    let by = m.leading_zeros();
    if (se & !SIGN) as u32 <= by {
        rare();
        return None;
    }
    let m = ((m as u128) << 64 | rest as u128) << (by & 63);
    Some(pack(se - by as u64, (m >> 64) as u64, m as u64))
}

/// A sum with a zero among the operands.
#[inline(always)]
pub fn add_zero(a: Register, b: Register) -> Option<Rounded> {
    let sum = match (is_zero(a), is_zero(b)) {
        (true, true) => Register { m: 0, se: a.se & b.se },
        (true, false) if normal(b) => b,
        (false, true) if normal(a) => a,
        _ => return None,
    };
    Some((sum, 0))
}

/// With the sign turned.
#[inline(always)]
pub fn negated(v: Register) -> Register {
    Register { se: v.se ^ SIGN, ..v }
}

/// Rounds and packs, if exponent field `e` has room for a carry.
#[inline(always)]
fn pack_checked(sign: u64, e: u32, m: u64, rest: u64) -> Option<Rounded> {
    if e.wrapping_sub(1) >= LAST {
        rare();
        return None;
    }
    Some(pack(sign | e as u64, m, rest))
}

/// A product with a zero among the operands.
#[inline(always)]
pub fn mul_zero(a: Register, b: Register) -> Option<Rounded> {
    let zero = is_zero(a) && fine(b) || is_zero(b) && fine(a);
    zero.then_some((Register { m: 0, se: (a.se ^ b.se) & SIGN }, 0))
}

/// `a * b`, which are [normal](both_normal).
#[inline(always)]
pub fn mul(a: Register, b: Register) -> Option<Rounded> {
    debug_assert!(both_normal(a, b));
    let sign = (a.se ^ b.se) & SIGN;
    let e = (place(a) + place(b)).wrapping_sub(ONE as u32 - 2);
    let p = a.m as u128 * b.m as u128;
    let (m, rest) = ((p >> 64) as u64, p as u64);
    match m & TOP {
        0 => pack_checked(sign, e, m << 1 | rest >> 63, rest << 1),
        _ => pack_checked(sign, e.wrapping_add(1), m, rest),
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
pub fn div(a: Register, b: Register) -> Option<Rounded> {
    let sign = (a.se ^ b.se) & SIGN;
    if !normal(a) || !normal(b) {
        return (is_zero(a) && normal(b)).then_some((Register { m: 0, se: sign }, 0));
    }
    let less = a.m < b.m;
    // The quotient has 64 bits: its top bit is set, and no other comes before.
    let (q, r) = divide((a.m as u128) << (63 + less as u32), b.m);
    let beyond_half = r.cmp(&(b.m - r)) as i64;
    let rest = if r == 0 { 0 } else { TOP.wrapping_add_signed(beyond_half) };
    let e = exponent(a) - exponent(b) + ONE - less as i32;
    pack_checked(sign, e as u32, q, rest)
}

/// The largest number whose square is not above `n`, which is at least 2^126; and what is left of `n`.
#[inline(always)]
fn root(n: u128) -> (u64, u128) {
    // Rounded down, so that it fits.
    let first = (((n >> 64) as u64 >> 11) as f64 * 2048.0).sqrt() * 4294967296.0;
    let first = first as u64;
    // A step of Newton's method leaves an error of one or two.
    let off = n.wrapping_sub(first as u128 * first as u128) as i128;
    let step = (off >> 14) as i64 as f64 / (first >> 13) as f64;
    let mut r = first.saturating_add_signed(step as i64);
    let square = |r: u64| r as u128 * r as u128;
    while square(r) > n {
        r -= 1;
    }
    while n - square(r) > 2 * r as u128 {
        r += 1;
    }
    (r, n - square(r))
}

/// The square root.
#[inline(always)]
pub fn sqrt(v: Register) -> Option<Rounded> {
    if !normal(v) || v.se & SIGN != 0 {
        return is_zero(v).then_some((v, 0));
    }
    let e = exponent(v) - ONE;
    let (m, left) = root((v.m as u128) << (63 + (e & 1)));
    // Never halfway: the square of that is no integer.
    let rest = match left {
        0 => 0,
        _ if left > m as u128 => TOP + 1,
        _ => 1,
    };
    Some(pack((ONE + (e >> 1)) as u64, m, rest))
}

/// How two numbers compare: (less, equal).
#[inline(always)]
pub fn compare(a: Register, b: Register) -> Option<(bool, bool)> {
    let (ea, eb) = (place(a), place(b));
    if (a.m & b.m) & TOP == 0 || ea >= LAST || eb >= LAST {
        rare();
        if !fine(a) || !fine(b) {
            return None;
        }
    }
    let negative = a.se & SIGN != 0;
    if (a.se ^ b.se) & SIGN != 0 {
        let zeros = a.m | b.m == 0;
        return Some((negative && !zeros, zeros));
    }
    let (ea, eb) = (exponent(a), exponent(b));
    if ea != eb {
        return Some(((ea < eb) != negative, false));
    }
    let equal = a.m == b.m;
    Some((!equal && (a.m < b.m) != negative, equal))
}

/// A number with a significand of its own format, from its bits without it: sign and exponent, moved to
/// where they are in a register, with `MASK` for those bits, and how much is to be added.
#[inline(always)]
fn widened<const MASK: u64>(signed: i32, bias: i32, m: u64) -> Register {
    let v = Register { m: TOP | m, se: (signed as u64 & MASK) + (ONE - bias) as u64 };
    // SAFETY: the exponent is neither the least nor the largest of a smaller format.
    unsafe { assert_unchecked(place(v) < LAST) };
    v
}

/// A binary64 from its bits: a normal number or zero.
#[inline(always)]
pub fn of_double(v: u64) -> Option<Register> {
    // The sign also in all bits above.
    let signed = ((v as i64) >> 52) as i32;
    if (signed + 1) & 0x7fe != 0 {
        return Some(widened::<{ SIGN | 0x7ff }>(signed, 1023, v << 11));
    }
    rare();
    (v << 1 == 0).then_some(Register { m: 0, se: signed as u64 & SIGN })
}

/// As [`of_double`], of a binary32.
#[inline(always)]
pub fn of_single(v: u32) -> Option<Register> {
    let signed = (v as i32) >> 23;
    if (signed + 1) & 0xfe != 0 {
        return Some(widened::<{ SIGN | 0xff }>(signed, 127, (v as u64) << 40));
    }
    rare();
    (v << 1 == 0).then_some(Register { m: 0, se: signed as u64 & SIGN })
}

/// An integer.
#[inline(always)]
pub fn of_int(v: i64) -> Register {
    if v == 0 {
        return ZERO;
    }
    whole((v >> 48) as u64 & SIGN, v.unsigned_abs())
}

/// A whole number that is not zero.
#[inline(always)]
fn whole(sign: u64, n: u64) -> Register {
    let by = n.leading_zeros();
    Register { m: n << (by & 63), se: sign | (ONE as u64 + 63 - by as u64) }
}

/// Rounded to a format with `BITS` bits of significand and exponents up to `EMAX`: its bits, and the status.
#[inline(always)]
pub fn to_format<const BITS: u32, const EMAX: i32>(v: Register) -> Option<(u64, u32)> {
    let sign = ((v.se >> 15) & 1) << if BITS == 53 { 63 } else { 31 };
    if !normal(v) {
        rare();
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

/// Integer part of a normal number below 2^63, and what is cut off, in units of 2^-64.
#[inline(always)]
fn parts(v: Register, e: i32) -> (u64, u64) {
    match e {
        0.. => (v.m >> ((63 - e) & 63), v.m << 1 << (e & 63)),
        -1 => (0, v.m),
        // Less than a half.
        _ => (0, 1),
    }
}

/// Rounded to an integer of `bits` bits, to nearest or towards zero.
#[inline(always)]
pub fn to_int<const BITS: u32>(v: Register, cut: bool) -> Option<(u64, u32)> {
    let e = exponent(v) - ONE;
    if !normal(v) || e >= BITS as i32 - 1 {
        return is_zero(v).then_some((0, 0));
    }
    let (m, rest) = parts(v, e);
    let (n, _, status) = round(m, rest);
    let (n, status) = if cut { (m, status & P) } else { (n, status) };
    // It may have become one too large.
    if n >> (BITS - 1) != 0 {
        return None;
    }
    Some((if v.se & SIGN != 0 { n.wrapping_neg() } else { n }, status))
}

/// Rounded to an integral value.
#[inline(always)]
pub fn to_integral(v: Register) -> Option<Rounded> {
    let e = exponent(v) - ONE;
    if !normal(v) || e >= 63 {
        return (is_zero(v) || normal(v)).then_some((v, 0));
    }
    let (m, rest) = parts(v, e);
    let ((n, _, status), sign) = (round(m, rest), v.se & SIGN);
    let r = if n == 0 { Register { m: 0, se: sign } } else { whole(sign, n) };
    Some((r, status))
}

/// Whether [`EMPTY`] is beyond what [`place`] lets pass.
const _: () = assert!(EMPTY > LAST as u64 + 1 && EMPTY & SIGN == 0);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fpu::simd::{self, Op, int_of};
    use crate::fpu::soft::{self, Env, F32, F64, Num, Rounding, X80};
    use crate::fpu::x87::arith;
    use crate::fpu::{F80, Fpu};
    use std::cmp::Ordering;

    /// Significands and exponents at the ends, close together, and between.
    fn values() -> Vec<Register> {
        let significands =
            [TOP, TOP | 1, TOP | 1 << 10, TOP | 1 << 11, 0xc000_0000_0000_0400, u64::MAX];
        let more = [0xaaaa_aaaa_aaaa_aaaa, u64::MAX - 1, u64::MAX << 11, u64::MAX << 40, 3 << 62];
        let exponents = [0, 1, 2, 0x3c01, 0x3f81, 0x3ffe, 0x3fff, 0x4000, 0x401d, 0x401e, 0x403d];
        let others = [0x403e, 0x403f, 0x7ffd, 0x7ffe, 0x7fff];
        let exponents = exponents.into_iter().chain(others);
        let numbers = exponents
            .flat_map(|se| significands.into_iter().chain(more).map(move |m| F80 { m, se }));
        let odd = [F80::default(), F80 { m: 1, se: 0 }, F80 { m: 1, se: 0x4000 }];
        numbers.chain(odd).map(Register::full).flat_map(|v| [v, negated(v)]).collect()
    }

    fn env() -> Env {
        Fpu { cw: 0x37f, ..Fpu::default() }.env()
    }

    /// The status that goes with what was found; `None` if more than Precision was.
    fn status(e: &Env) -> Option<u32> {
        let c1 = if e.flags != 0 && e.up { C1 as u32 } else { 0 };
        (e.flags & !P == 0).then_some(e.flags | c1)
    }

    #[track_caller]
    fn check<T: PartialEq + std::fmt::Debug>(
        usual: Option<(T, u32)>,
        exact: impl FnOnce(&mut Env) -> T,
        operands: &[Register],
    ) -> bool {
        let mut e = env();
        let v = exact(&mut e);
        if let Some(usual) = usual.as_ref() {
            assert_eq!(Some(usual), status(&e).map(|s| (v, s)).as_ref(), "{operands:x?}");
        }
        usual.is_some()
    }

    fn sum(a: Register, b: Register) -> Option<Rounded> {
        if both_normal(a, b) { add(a, b) } else { add_zero(a, b) }
    }

    fn product(a: Register, b: Register) -> Option<Rounded> {
        if both_normal(a, b) { mul(a, b) } else { mul_zero(a, b) }
    }

    #[test]
    fn arithmetic() {
        let (values, mut answers) = (values(), [0; 4]);
        type Usual = fn(Register, Register) -> Option<Rounded>;
        let ops: [(Op, Usual); 4] = [
            (Op::Add, sum),
            (Op::Sub, |a, b| sum(a, negated(b))),
            (Op::Mul, product),
            (Op::Div, div),
        ];
        for (n, (op, f)) in ops.into_iter().enumerate() {
            for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b))) {
                let (x, y) = (Num::of_f80(a.value()), Num::of_f80(b.value()));
                let exact = |e: &mut Env| Register::full(arith(e, &X80, op, x, y).to_f80());
                answers[n] += check(f(a, b), exact, &[a, b]) as u32;
            }
        }
        // Most pairs are far apart, or near an end of the range.
        let all = (values.len() * values.len()) as u32;
        assert!(answers.iter().all(|n| *n > all / 5), "{answers:?} of {all}");
    }

    #[test]
    fn empty() {
        let (one, mut answers) = (of_int(1), 0);
        for v in values().into_iter().map(|v| Register { se: v.se | EMPTY, ..v }) {
            for f in [sum, product, div] {
                answers += (f(v, one).is_some() || f(one, v).is_some()) as u32;
            }
            answers += [sqrt, to_integral].iter().any(|f| f(v).is_some()) as u32;
            answers += (compare(v, one).is_some() || compare(one, v).is_some()) as u32;
            answers += to_format::<53, 1023>(v).is_some() as u32;
            answers += to_int::<64>(v, true).is_some() as u32;
        }
        assert_eq!(answers, 0);
    }

    #[test]
    fn unary() {
        let mut answers = [0; 2];
        let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
        let more = (0..20_000).map(|k| {
            bits = bits.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            // Also squares, their neighbours, and what is nearly the next power of two.
            let m = match k % 4 {
                0 => bits,
                1 => (bits >> 32) * (bits >> 32),
                2 => ((bits >> 32) * (bits >> 32)).wrapping_sub(1 + (bits & 3)),
                _ => u64::MAX - (bits & 0xfff),
            };
            let by = m.leading_zeros() & 63;
            Register { m: m << by | TOP, se: 0x3fe0 + (bits >> 7 & 0x7f) }
        });
        for v in values().into_iter().chain(more) {
            let n = Num::of_f80(v.value());
            let root = |e: &mut Env| Register::full(simd::root(e, &X80, n).to_f80());
            answers[0] += check(sqrt(v), root, &[v]) as u32;
            let integral = |e: &mut Env| {
                let Some((r, inexact, up)) = Env::to_integer(e.rm, &n) else { return v };
                e.raise(if inexact { P } else { 0 });
                e.up = up;
                Register::full(Num::of_integral(n.sign, r).to_f80())
            };
            answers[1] += check(to_integral(v), integral, &[v]) as u32;
        }
        assert!(answers.iter().all(|n| *n > 15_000), "{answers:?}");
    }

    #[test]
    fn comparisons() {
        let values = values();
        for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b))) {
            let order = soft::compare(&Num::of_f80(a.value()), &Num::of_f80(b.value()));
            let exact = (order == Ordering::Less, order == Ordering::Equal);
            assert!(compare(a, b).is_none_or(|v| v == exact), "{a:x?} {b:x?}");
            assert!(compare(a, b).is_some() || !normal(a) || !normal(b), "{a:x?} {b:x?}");
        }
    }

    #[test]
    fn conversions() {
        let mut answers = [0; 6];
        for v in values() {
            let n = Num::of_f80(v.value());
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
                assert!(
                    usual.is_none_or(|f| f.value() == n.to_f80() && !n.denormal && !n.is_nan())
                );
                assert!(usual.is_some() || e == 0 || e == 2047, "{bits:x}");
                let bits = ((e.min(255) << 23) | v >> 29 | v << 31) as u32;
                let n = Num::of_bits(&F32, bits as u64);
                assert!(of_single(bits).is_none_or(|f| f.value() == n.to_f80()), "{bits:x}");
            }
            for n in [v as i64, -(v as i64), i64::MIN, i64::MAX] {
                assert_eq!(of_int(n).value(), Num::of_int(n).to_f80());
            }
        }
    }
}
