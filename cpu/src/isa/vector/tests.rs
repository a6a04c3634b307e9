//! What the host computes against the definition: results and exceptions.

use super::Floating;
use crate::fpu::host::{self, Lanes, MXCSR, Op, bits, of, portable};
use crate::fpu::lanes::{Lane, build};
use crate::fpu::simd::Float;
use crate::fpu::soft::Env;
use crate::isa::sse_float as sse;
use crate::isa::sse4::{AddSub, Horizontal};
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
    host::set_mxcsr(MXCSR);
    let found = T::on_host(of(a), of(b), imm).map(bits);
    let noted = host::mxcsr() & 63;
    host::set_mxcsr(MXCSR);
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
