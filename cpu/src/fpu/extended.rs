//! The fast path of the x87's arithmetic: normal numbers or zeros, rounded to nearest with 64 bits to a
//! normal number or an exact zero. Of the exceptions only Precision can be due.
//!
//! All else is `None` here, and [`super::soft`]'s, which these functions agree with where they answer.
#![expect(unsafe_code, reason = "shifts and a division of 128 bits")]

use crate::hint::rare;
use crate::state::fpu::{EMPTY, EXPONENT, HALF, ODD, Register, SIGN};

const TOP: u64 = 1 << 63;
/// The exponent field of 1.
const ONE: i32 = 0x3fff;
/// Positive zero.
const ZERO: Register = Register { m: 0, se: ODD };

/// A result, and what becomes of the status word, see [`crate::state::fpu::StatusWord`].
#[derive(Clone, Copy, Debug)]
pub struct Rounded<T = Register> {
    /// The computed value.
    pub v: T,
    /// Not 0 if it is inexact.
    pub inexact: u64,
    /// Above [`HALF`] if it was rounded up.
    pub cut: u64,
}

/// A result that needed no rounding.
#[inline(always)]
fn exact<T>(v: T) -> Rounded<T> {
    Rounded { v, inexact: 0, cut: 0 }
}

#[inline(always)]
fn exponent(v: Register) -> i32 {
    (v.se & EXPONENT) as i32
}

#[inline(always)]
fn normal(v: Register) -> bool {
    v.se & (EMPTY | ODD) == 0
}

#[inline(always)]
fn is_zero(v: Register) -> bool {
    v.m == 0 && v.se & !SIGN == ODD
}

#[inline(always)]
fn fine(v: Register) -> bool {
    normal(v) || is_zero(v)
}

/// A zero with the sign in `se`.
#[inline(always)]
fn zero(se: u64) -> Register {
    Register { m: 0, se: se & SIGN | ODD }
}

/// A significand that `rest`, in units of 2^-64, was cut from, rounded to even: (significand, whether it
/// became 0 by a carry, see [`Rounded::cut`]).
#[inline(always)]
fn round(m: u64, rest: u64) -> (u64, bool, u64) {
    // More than a half, or a half if `m` is odd.
    let cut = rest | m & 1;
    let (m, carry) = m.overflowing_add((cut > HALF) as u64);
    (m, carry, cut)
}

/// Rounds and packs; `m` has its top bit set. `se` is sign and exponent.
#[inline(always)]
fn pack(se: u64, m: u64, rest: u64) -> Option<Rounded> {
    let (m, carry, cut) = round(m, rest);
    if carry {
        rare();
        if se & EXPONENT >= LAST {
            return None;
        }
        return Some(Rounded { v: Register { m: TOP, se: se + 1 }, inexact: rest, cut });
    }
    Some(Rounded { v: Register { m, se }, inexact: rest, cut })
}

/// The last exponent field of a normal number.
const LAST: u64 = EXPONENT - 1;

/// Whether neither is zero or fallback.
#[inline(always)]
pub fn both_normal(a: Register, b: Register) -> bool {
    (a.se | b.se) & (EMPTY | ODD) == 0
}

/// `a + b`, which are [normal](both_normal).
#[inline(always)]
pub fn add(a: Register, b: Register) -> Option<Rounded> {
    debug_assert!(both_normal(a, b));
    // The signs go out.
    let by = |b: u64| (a.se as u32).wrapping_sub(b as u32) as i32;
    if (a.se ^ b.se) & SIGN == 0 {
        let by = by(b.se);
        return if by >= 0 { sum(a, b, by as u32) } else { sum(b, a, by.unsigned_abs()) };
    }
    let by = by(b.se ^ SIGN);
    if by >= 0 { difference(a, b, by as u32) } else { difference(b, a, by.unsigned_abs()) }
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

/// `big + small`, of the same sign, whose exponents differ by `by`.
#[inline(always)]
fn sum(big: Register, small: Register, by: u32) -> Option<Rounded> {
    if by > 63 {
        rare();
        return None;
    }
    let (y, rest) = shifted(small.m, by);
    let (m, carry) = big.m.overflowing_add(y);
    if !carry {
        return pack(big.se, m, rest);
    }
    if big.se & EXPONENT >= LAST {
        rare();
        return None;
    }
    // What was cut off is even.
    pack(big.se + 1, m >> 1 | TOP, rest >> 1 | m << 63)
}

/// As [`sum`], of different signs.
#[inline(always)]
fn difference(big: Register, small: Register, by: u32) -> Option<Rounded> {
    if by > 63 {
        rare();
        return None;
    }
    let (y, rest) = shifted(small.m, by);
    let (m, borrow) = big.m.overflowing_sub(y);
    if borrow {
        // The exponents are equal, so nothing was cut off.
        return normalized(small.se, m.wrapping_neg(), 0);
    }
    let m = m.wrapping_sub((rest != 0) as u64);
    let rest = rest.wrapping_neg();
    if m & TOP != 0 {
        return pack(big.se, m, rest);
    }
    normalized(big.se, m, rest)
}

/// A difference of which the leading bits are gone.
#[inline(always)]
fn normalized(se: u64, m: u64, rest: u64) -> Option<Rounded> {
    if m == 0 {
        rare();
        return (rest == 0).then_some(exact(ZERO));
    }
    let by = m.leading_zeros();
    if (se & EXPONENT) as u32 <= by {
        rare();
        return None;
    }
    let m = ((m as u128) << 64 | rest as u128) << (by & 63);
    pack(se - by as u64, (m >> 64) as u64, m as u64)
}

/// A sum with a zero among the operands.
#[inline(always)]
pub fn add_zero(a: Register, b: Register) -> Option<Rounded> {
    let sum = match (is_zero(a), is_zero(b)) {
        (true, true) => zero(a.se & b.se),
        (true, false) if normal(b) => b,
        (false, true) if normal(a) => a,
        _ => return None,
    };
    Some(exact(sum))
}

/// With the sign turned.
#[inline(always)]
pub fn negated(v: Register) -> Register {
    Register { se: v.se ^ SIGN, ..v }
}

/// Rounds and packs, if exponent field and a carry keep to what is normal.
#[inline(always)]
fn pack_checked(se: u32, m: u64, rest: u64) -> Option<Rounded> {
    // Without the sign. One below, which is more than there is, has all bits above.
    if (se << 1).wrapping_sub(2) >= 2 * (LAST as u32 - 1) {
        rare();
        return None;
    }
    pack(se as u64, m, rest)
}

/// A product with a zero among the operands.
#[inline(always)]
pub fn mul_zero(a: Register, b: Register) -> Option<Rounded> {
    let some = is_zero(a) && fine(b) || is_zero(b) && fine(a);
    some.then_some(exact(zero(a.se ^ b.se)))
}

/// `a * b`, which are [normal](both_normal).
#[inline(always)]
pub fn mul(a: Register, b: Register) -> Option<Rounded> {
    debug_assert!(both_normal(a, b));
    // With the sign: that of the product has the same place.
    let se = (a.se as u32).wrapping_add(b.se as u32).wrapping_sub(ONE as u32 - 1);
    // The exponent may be one less.
    if (se << 1).wrapping_sub(4) >= 2 * (LAST as u32 - 2) {
        rare();
        return None;
    }
    let p = a.m as u128 * b.m as u128;
    let (m, rest) = ((p >> 64) as u64, p as u64);
    match m & TOP {
        0 => pack(se as u64 - 1, m << 1 | rest >> 63, rest << 1),
        _ => pack(se as u64, m, rest),
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
    if !both_normal(a, b) {
        return (is_zero(a) && normal(b)).then_some(exact(zero(a.se ^ b.se)));
    }
    let less = a.m < b.m;
    // The quotient has 64 bits: its top bit is set, and no other comes before.
    let (q, r) = divide((a.m as u128) << (63 + less as u32), b.m);
    let beyond_half = r.cmp(&(b.m - r)) as i64;
    let rest = if r == 0 { 0 } else { TOP.wrapping_add_signed(beyond_half) };
    let up = ONE as u32 - less as u32;
    pack_checked((a.se as u32).wrapping_sub(b.se as u32).wrapping_add(up), q, rest)
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
        return is_zero(v).then_some(exact(v));
    }
    let e = exponent(v) - ONE;
    let (m, left) = root((v.m as u128) << (63 + (e & 1)));
    // Never halfway: the square of that is no integer.
    let rest = match left {
        0 => 0,
        _ if left > m as u128 => TOP + 1,
        _ => 1,
    };
    pack((ONE + (e >> 1)) as u64, m, rest)
}

/// How two numbers compare: (less, equal).
#[inline(always)]
pub fn compare(mut a: Register, mut b: Register) -> Option<(bool, bool)> {
    if !both_normal(a, b) {
        rare();
        if !fine(a) || !fine(b) {
            return None;
        }
        (a.se, b.se) = (a.se & !ODD, b.se & !ODD);
    }
    let key = |v: Register| (v.se as u128) << 64 | v.m as u128;
    if (a.se | b.se) & SIGN == 0 {
        return Some((key(a) < key(b), key(a) == key(b)));
    }
    let zeros = (a.m | b.m == 0) && a.se != b.se;
    // A sign makes a key larger than any without; it turns the order of those that have it.
    let less = (key(b) < key(a)) && !zeros;
    Some((less, zeros || key(a) == key(b)))
}

/// A number with a significand of its own format, from its bits without it: sign and exponent, moved to
/// where they are in a register, with `MASK` for those bits, and how much is to be added.
#[inline(always)]
fn widened<const MASK: u64>(signed: i32, bias: i32, m: u64) -> Register {
    Register { m: TOP | m, se: (signed as u64 & MASK) + (ONE - bias) as u64 }
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
    (v << 1 == 0).then_some(zero(signed as u64))
}

/// As [`of_double`], of a binary32.
#[inline(always)]
pub fn of_single(v: u32) -> Option<Register> {
    let signed = (v as i32) >> 23;
    if (signed + 1) & 0xfe != 0 {
        return Some(widened::<{ SIGN | 0xff }>(signed, 127, (v as u64) << 40));
    }
    rare();
    (v << 1 == 0).then_some(zero(signed as u64))
}

/// The register that holds an integer.
#[inline(always)]
pub fn of_int(v: i64) -> Register {
    if v == 0 {
        return ZERO;
    }
    whole((v >> 32) as u64 & SIGN, v.unsigned_abs())
}

/// A whole number that is not zero.
#[inline(always)]
fn whole(sign: u64, n: u64) -> Register {
    let by = n.leading_zeros();
    Register { m: n << (by & 63), se: sign | (ONE as u64 + 63 - by as u64) }
}

/// Rounded to a format with `BITS` bits of significand and exponents up to `EMAX`: its bits.
#[inline(always)]
pub fn to_format<const BITS: u32, const EMAX: i32>(v: Register) -> Option<Rounded<u64>> {
    let sign = ((v.se >> 31) & 1) << if BITS == 53 { 63 } else { 31 };
    if !normal(v) {
        rare();
        return is_zero(v).then_some(exact(sign));
    }
    let e = exponent(v) - ONE + EMAX;
    // With room for the carry.
    if (e as u32).wrapping_sub(1) >= 2 * EMAX as u32 - 1 {
        rare();
        return None;
    }
    let rest = v.m << BITS;
    let (m, _, cut) = round(v.m >> (64 - BITS), rest);
    // The integer bit adds one to the exponent field, and a carry another.
    let v = sign | (((e - 1) as u64) << (BITS - 1)).wrapping_add(m);
    Some(Rounded { v, inexact: rest, cut })
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
pub fn to_int<const BITS: u32>(v: Register, towards_zero: bool) -> Option<Rounded<u64>> {
    let e = exponent(v) - ONE;
    if !normal(v) || e >= BITS as i32 - 1 {
        return is_zero(v).then_some(exact(0));
    }
    let (m, inexact) = parts(v, e);
    let (n, _, cut) = round(m, inexact);
    let (n, cut) = if towards_zero { (m, 0) } else { (n, cut) };
    // It may have become one too large.
    if n >> (BITS - 1) != 0 {
        return None;
    }
    Some(Rounded { v: if v.se & SIGN != 0 { n.wrapping_neg() } else { n }, inexact, cut })
}

/// Rounded to an integral value.
#[inline(always)]
pub fn to_integral(v: Register) -> Option<Rounded> {
    let e = exponent(v) - ONE;
    if !normal(v) || e >= 63 {
        return fine(v).then_some(exact(v));
    }
    let ((m, inexact), sign) = (parts(v, e), v.se & SIGN);
    let (n, _, cut) = round(m, inexact);
    let v = if n == 0 { zero(sign) } else { whole(sign, n) };
    Some(Rounded { v, inexact, cut })
}

#[cfg(test)]
mod tests;
