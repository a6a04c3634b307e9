//! Host arithmetic in scalar code, for hosts that are no x86: of normal numbers and zeros, where the result
//! is normal and above the least exponent, or known to be exact. Then it is what SSE computes, and of the
//! exceptions only Precision can be due, which the guest's MXCSR has set already.

use super::Op;
use crate::fpu::lanes::{Lane, lane_of, lanes, merge};
use crate::fpu::simd::{self, Float};
use crate::fpu::soft::Num;
use std::cmp::Ordering;

/// What can be computed so.
pub(crate) trait Portable {}
impl<F: Float + Lane> Portable for F {}

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

fn every<F: Float + Lane, const SCALAR: bool>(f: impl Fn(usize) -> bool) -> bool {
    (0..if SCALAR { 1 } else { 16 / size_of::<F>() }).all(f)
}

fn fine<F: Float>(op: Op, a: F, b: F, r: F) -> bool {
    let exact = match op {
        Op::Mul => a.is_zero() || b.is_zero(),
        Op::Div => a.is_zero(),
        _ => true,
    };
    let denormal = |x: F| Num::of_bits(&F::FORMAT, x.bits()).denormal;
    let number = |x: F| x.tame() || F::host_compare(x, x).is_some() && !denormal(x);
    // What is no number shows in the result, but of MIN and MAX.
    number(a) && number(b) && (r.settled() || r.is_zero() && exact)
}

/// As [`super::Lanes::arith`].
pub(crate) fn arith<F: Float + Lane, const SCALAR: bool>(op: Op, a: u128, b: u128) -> Option<u128> {
    let all = lanes::<F>(a, b, |a, b| one(op, a, b));
    let r = if SCALAR { merge(a, all, 8 * size_of::<F>() as u32) } else { all };
    let fine = |k| {
        let [x, y, r] = [a, b, r].map(|v| lane_of::<F>(v, k));
        fine(op, if op == Op::Sqrt { y } else { x }, y, r)
    };
    every::<F, SCALAR>(fine).then_some(r)
}

#[cfg(not(target_arch = "x86_64"))]
pub use other::*;

/// What the x86 host does by itself. Conversions are all left to the definition.
#[cfg(not(target_arch = "x86_64"))]
mod other {
    use super::super::{Lanes, Op};
    use crate::fpu::lanes::Lane;
    use crate::fpu::simd::Float;

    /// A vector in the host's form.
    pub type V = u128;

    /// Whether the host notes exceptions.
    pub const NOTES: bool = false;

    /// The host's MXCSR, if it had one.
    pub fn mxcsr() -> u32 {
        super::super::MXCSR
    }

    /// Ignores the value: there is no host MXCSR.
    pub fn set_mxcsr(_: u32) {}

    impl<F: Float + Lane> Lanes for F {
        fn arith<const SCALAR: bool>(op: Op, a: V, b: V) -> Option<V> {
            super::arith::<F, SCALAR>(op, a, b)
        }
        fn compare<const SCALAR: bool>(_: V, _: V, _: u8) -> Option<V> {
            None
        }
        fn relation<const SILENT: bool>(_: V, _: V) -> Option<V> {
            None
        }
    }

    macro_rules! none {
        ($($name:ident($($a:ident)*))*) => {$(
            #[doc = concat!("`", stringify!($name), "`.")]
            pub fn $name($($a: V),*) -> Option<V> {
                $(let _ = $a;)*
                None
            }
        )*};
    }
    none! {
        cvtss2sd(a b) cvtsd2ss(a b) cvtps2pd(b) cvtpd2ps(b) cvtdq2ps(b) cvtdq2pd(b) cvtps2dq(b) cvttps2dq(b)
        cvtpd2dq(b) cvttpd2dq(b) cvtsi2ss32(a b) cvtsi2ss64(a b) cvtsi2sd32(a b) cvtsi2sd64(a b)
        cvtss2si32(b) cvtss2si64(b) cvtsd2si32(b) cvtsd2si64(b) cvttss2si32(b) cvttss2si64(b)
        cvttsd2si32(b) cvttsd2si64(b)
    }
}
