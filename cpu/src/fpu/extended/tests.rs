//! The fast arithmetic against the exact one.

use super::*;
use crate::fpu::simd::{self, Op, int_of};
use crate::fpu::soft::{self, Env, F32, F64, Num, Rounding, X80};
use crate::fpu::x87::arith;
use crate::state::Fpu;
use crate::state::fpu::F80;
use crate::state::fpu::flag::P;
use std::cmp::Ordering;

/// Significands and exponents at the ends, close together, and between.
fn values() -> Vec<Register> {
    let significands =
        [TOP, TOP | 1, TOP | 1 << 10, TOP | 1 << 11, 0xc000_0000_0000_0400, u64::MAX];
    let more = [0xaaaa_aaaa_aaaa_aaaa, u64::MAX - 1, u64::MAX << 11, u64::MAX << 40, 3 << 62];
    let exponents = [0, 1, 2, 0x3c01, 0x3f81, 0x3ffe, 0x3fff, 0x4000, 0x401d, 0x401e, 0x403d];
    let others = [0x403e, 0x403f, 0x7ffd, 0x7ffe, 0x7fff];
    let exponents = exponents.into_iter().chain(others);
    let numbers =
        exponents.flat_map(|se| significands.into_iter().chain(more).map(move |m| F80 { m, se }));
    let odd = [F80::default(), F80 { m: 1, se: 0 }, F80 { m: 1, se: 0x4000 }];
    numbers.chain(odd).map(Register::full).flat_map(|v| [v, negated(v)]).collect()
}

fn env() -> Env {
    Fpu { cw: 0x37f, ..Fpu::default() }.env()
}

/// Whether it was inexact and whether it was rounded up; `None` if more than Precision was found.
fn status(e: &Env) -> Option<(bool, bool)> {
    (e.flags & !P == 0).then_some((e.flags != 0, e.flags != 0 && e.up))
}

#[track_caller]
fn check<T: PartialEq + std::fmt::Debug>(
    fast: Option<Rounded<T>>,
    exact: impl FnOnce(&mut Env) -> T,
    operands: &[Register],
) -> bool {
    let mut e = env();
    let v = exact(&mut e);
    if let Some(fast) = fast.as_ref() {
        let seen = (fast.inexact != 0, fast.cut > HALF);
        assert_eq!(Some((&fast.v, seen)), status(&e).map(|s| (&v, s)), "{operands:x?}");
    }
    fast.is_some()
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
    type FastPath = fn(Register, Register) -> Option<Rounded>;
    let ops: [(Op, FastPath); 4] =
        [(Op::Add, sum), (Op::Sub, |a, b| sum(a, negated(b))), (Op::Mul, product), (Op::Div, div)];
    for (n, (op, f)) in ops.into_iter().enumerate() {
        for (a, b) in values.iter().flat_map(|a| values.iter().map(move |b| (*a, *b))) {
            let (x, y) = (Num::of_f80(a.value()), Num::of_f80(b.value()));
            let exact = |e: &mut Env| Register::full(arith(e, &X80, op, x, y).to_f80());
            answers[n] += check(f(a, b), exact, &[a, b]) as u32;
        }
    }
    // BlockLimit pairs are far apart, or near an end of the range.
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
            let fast = of_double(bits);
            assert!(fast.is_none_or(|f| f.value() == n.to_f80() && !n.denormal && !n.is_nan()));
            assert!(fast.is_some() || e == 0 || e == 2047, "{bits:x}");
            let bits = ((e.min(255) << 23) | v >> 29 | v << 31) as u32;
            let n = Num::of_bits(&F32, bits as u64);
            assert!(of_single(bits).is_none_or(|f| f.value() == n.to_f80()), "{bits:x}");
        }
        for n in [v as i64, -(v as i64), i64::MIN, i64::MAX] {
            assert_eq!(of_int(n).value(), Num::of_int(n).to_f80());
        }
    }
}
