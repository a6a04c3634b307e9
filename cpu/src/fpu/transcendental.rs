//! The x87's transcendental functions, computed with 128 bits of significand by series, in integers
//! only: the same on every host, and rounded right but in rarest cases.

use super::soft::{Num, Wide};

const fn constant(exp: i32, sig: u128) -> Wide {
    Wide { sign: false, exp, sig }
}

/// The number π, rounded to the width.
pub const PI: Wide = constant(1, 0xc90fdaa22168c234c4c6628b80dc1cd1);
/// log2(10).
pub const L2T: Wide = constant(1, 0xd49a784bcd1b8afe492bf6ff4dafdb4c);
/// The binary logarithm of e.
pub const L2E: Wide = constant(0, 0xb8aa3b295c17f0bbbe87fed0691d3e88);
/// log10(2).
pub const LG2: Wide = constant(-2, 0x9a209a84fbcff7988f8959ac0b7c9178);
/// The natural logarithm of 2, rounded to the width.
pub const LN2: Wide = constant(-1, 0xb17217f7d1cf79abc9e3b39803f2f6af);
const ONE: Wide = constant(0, 1 << 127);
const HALF_PI: Wide = Wide { exp: 0, ..PI };

/// π in units of 2^-66, cut to 66 bits: what arguments are reduced by. SDM vol. 1, "Pi".
const PI_66: u128 = 0xc_90fd_aa22_168c_234c;

fn negated(w: Wide) -> Wide {
    Wide { sign: !w.sign, ..w }
}

/// Scaled by a power of two.
fn scaled(w: Wide, by: i32) -> Wide {
    Wide { exp: w.exp + by, ..w }
}

/// The 256-bit product of two 128-bit numbers: its upper and lower half.
fn multiply(a: u128, b: u128) -> (u128, u128) {
    let low = |v: u128| v & u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, low(a), b >> 64, low(b));
    let (p00, p01, p10, p11) = (a0 * b0, a0 * b1, a1 * b0, a1 * b1);
    let middle = (p00 >> 64) + low(p01) + low(p10);
    (p11 + (p01 >> 64) + (p10 >> 64) + (middle >> 64), middle << 64 | low(p00))
}

/// The product, cut to 128 bits with a sticky bit.
pub fn mul(a: Wide, b: Wide) -> Wide {
    let (high, low) = multiply(a.sig, b.sig);
    let lz = high.leading_zeros();
    let sig = if lz > 0 { high << lz | low >> (128 - lz) } else { high };
    let rest = low << lz != 0;
    Wide { sign: a.sign != b.sign, exp: a.exp + b.exp + 1 - lz as i32, sig: sig | rest as u128 }
}

/// The quotient, cut to 128 bits with a sticky bit.
pub fn div(a: Wide, b: Wide) -> Wide {
    let less = a.sig < b.sig;
    let (mut rest, mut carry) = (a.sig, false);
    if less {
        carry = rest >> 127 != 0;
        rest <<= 1;
    }
    let mut q = 0u128;
    for _ in 0..128 {
        q <<= 1;
        if carry || rest >= b.sig {
            rest = rest.wrapping_sub(b.sig);
            q |= 1;
        }
        carry = rest >> 127 != 0;
        rest <<= 1;
    }
    let sticky = (carry || rest != 0) as u128;
    Wide { sign: a.sign != b.sign, exp: a.exp - b.exp - less as i32, sig: q | sticky }
}

fn div_small(a: Wide, n: u32) -> Wide {
    let q = a.sig / n as u128;
    let lz = q.leading_zeros();
    Wide { sign: a.sign, exp: a.exp - lz as i32, sig: q << lz }
}

/// A sum that is known not to be zero.
fn add(a: Wide, b: Wide) -> Wide {
    Wide::sum(a, b).unwrap_or(ONE)
}

/// How many terms of a series whose ratio is at most `2^exp` matter.
fn terms(exp: i32, most: u32) -> u32 {
    if exp >= -1 { most } else { most.min(140 / -(exp + 1).min(-1) as u32 + 2) }
}

/// `1 + c1 z (1 + c2 z (1 + …))`, `coefficient(c_k z rest, k)` applying the k-th coefficient.
fn nested(z: Wide, n: u32, coefficient: impl Fn(Wide, u32) -> Wide) -> Wide {
    (1..=n).rev().fold(ONE, |acc, k| add(ONE, coefficient(mul(z, acc), k)))
}

/// Sine and cosine of a nonzero `x` of magnitude at most π/4.
fn sin_cos_small(x: Wide) -> (Wide, Wide) {
    let z = negated(mul(Wide { sign: false, ..x }, Wide { sign: false, ..x }));
    let n = terms(z.exp, 18);
    let sin = nested(z, n, |w, k| div_small(w, 2 * k * (2 * k + 1)));
    let cos = nested(z, n, |w, k| div_small(w, 2 * k * (2 * k - 1)));
    (mul(x, sin), cos)
}

/// Sine and cosine of a nonzero finite number of magnitude below 2^63.
pub fn sin_cos(x: &Num) -> (Wide, Wide) {
    let mut quadrant = 0u8;
    let mut w = Wide { sign: false, ..x.wide() };
    if x.exp >= -1 {
        // π/2 in units of 2^-67; the argument in the same, reduced bit by bit.
        let mut rest = x.sig as u128;
        for _ in 0..x.exp + 4 {
            rest <<= 1;
            quadrant <<= 1;
            if rest >= PI_66 {
                rest -= PI_66;
                quadrant |= 1;
            }
        }
        let over = 2 * rest > PI_66;
        quadrant = quadrant.wrapping_add(over as u8);
        let sig = if over { PI_66 - rest } else { rest };
        w = Wide::new(over, 127 - 67, sig).unwrap_or(w);
    }
    let (s, c) = sin_cos_small(w);
    let (s, c) = match quadrant & 3 {
        0 => (s, c),
        1 => (c, negated(s)),
        2 => (negated(s), negated(c)),
        _ => (negated(c), s),
    };
    (if x.sign { negated(s) } else { s }, c)
}

/// The arc tangent of a positive number of at most 1. Euler's series.
fn atan_small(t: Wide) -> Wide {
    let square = mul(t, t);
    let scale = add(ONE, square);
    let y = div(square, scale);
    let series = nested(y, terms(y.exp, 132), |w, k| {
        let doubled = mul(w, Num::of_int(2 * k as i64).wide());
        div_small(doubled, 2 * k + 1)
    });
    mul(div(t, scale), series)
}

/// The angle of the point (x, y), both nonzero and finite.
pub fn atan2(y: &Num, x: &Num) -> Wide {
    let (a, b) = (Wide { sign: false, ..y.wide() }, Wide { sign: false, ..x.wide() });
    let steep = (a.exp, a.sig) > (b.exp, b.sig);
    let acute =
        if steep { add(HALF_PI, negated(atan_small(div(b, a)))) } else { atan_small(div(a, b)) };
    let angle = if x.sign { add(PI, negated(acute)) } else { acute };
    Wide { sign: y.sign, ..angle }
}

/// `2^x - 1` for a nonzero `x` of magnitude at most 1.
pub fn exp2_minus_1(x: &Num) -> Wide {
    let z = mul(x.wide(), LN2);
    mul(z, nested(z, terms(z.exp, 36), |w, k| div_small(w, k + 1)))
}

/// `log2((1 + s) / (1 - s))` for a nonzero `s` of magnitude at most 0.18.
fn log2_ratio(s: Wide) -> Wide {
    let z = mul(s, s);
    // 1 + z/3 + z²/5 + …
    let n = terms(z.exp, 30);
    let inverse = |k: u32| div_small(ONE, 2 * k + 1);
    let series = (0..n).rev().fold(inverse(n), |acc, k| add(inverse(k), mul(z, acc)));
    mul(mul(s, series), scaled(L2E, 1))
}

/// `log2(x)` of a positive finite number that is no power of two.
pub fn log2(x: &Num) -> Wide {
    // In [√½, √2), so that the whole part does not cancel.
    let up = x.sig > 0xb504_f333_f9de_6484;
    let exp = x.exp + up as i32;
    let m = Wide { exp: -(up as i32), ..x.wide() };
    let fraction = log2_ratio(div(add(m, negated(ONE)), add(m, ONE)));
    if exp == 0 { fraction } else { add(Num::of_int(exp as i64).wide(), fraction) }
}

/// `log2(1 + x)` for a nonzero `x` in the range of FYL2XP1.
pub fn log2_plus_1(x: &Num) -> Wide {
    log2_ratio(div(x.wide(), add(Wide { exp: 1, ..ONE }, x.wide())))
}
