//! The host's own instructions, on x86.

use super::{Lanes, Op, low, of};
use std::arch::asm;

/// A vector in the host's form.
pub type V = core::arch::x86_64::__m128i;

/// Whether the host notes exceptions.
pub const NOTES: bool = true;

/// The host's MXCSR.
#[inline(always)]
pub fn mxcsr() -> u32 {
    let mut v = 0u32;
    // SAFETY: it stores four bytes.
    unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut v, options(nostack, preserves_flags)) };
    v
}

/// Sets the host's MXCSR. But for the sticky flags it is always [`super::MXCSR`], or what the caller of a run had.
#[inline(always)]
pub fn set_mxcsr(v: u32) {
    // SAFETY: it loads four bytes that were MXCSR, or its initial value.
    unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const v, options(nostack, readonly)) };
}

// The instructions are not said to be pure: they note exceptions.

/// The first operand is the destination, whose rest the instruction leaves.
macro_rules! binary {
    ($name:expr, $a:expr, $b:expr) => {{
        let mut r = $a;
        // SAFETY: SSE2 is a part of x86-64; it changes the destination and MXCSR.
        unsafe {
            asm!(concat!($name, " {r}, {b}"), r = inout(xmm_reg) r, b = in(xmm_reg) $b,
                options(nomem, nostack));
        }
        Some(r)
    }};
}

/// A comparison by a predicate.
macro_rules! predicate {
    ($name:expr, $n:literal, $a:expr, $b:expr) => {{
        let mut r = $a;
        // SAFETY: as above.
        unsafe {
            asm!(concat!($name, " {r}, {b}, ", $n), r = inout(xmm_reg) r, b = in(xmm_reg) $b,
                options(nomem, nostack));
        }
        Some(r)
    }};
}

macro_rules! lanes {
    ($lane:ty, $packed:literal, $scalar:literal) => {
        impl Lanes for $lane {
            #[inline(always)]
            fn arith<const SCALAR: bool>(op: Op, a: V, b: V) -> Option<V> {
                match (op, SCALAR) {
                    (Op::Add, false) => binary!(concat!("add", $packed), a, b),
                    (Op::Sub, false) => binary!(concat!("sub", $packed), a, b),
                    (Op::Mul, false) => binary!(concat!("mul", $packed), a, b),
                    (Op::Div, false) => binary!(concat!("div", $packed), a, b),
                    (Op::Sqrt, false) => binary!(concat!("sqrt", $packed), a, b),
                    (Op::Min, false) => binary!(concat!("min", $packed), a, b),
                    (Op::Max, false) => binary!(concat!("max", $packed), a, b),
                    (Op::Add, true) => binary!(concat!("add", $scalar), a, b),
                    (Op::Sub, true) => binary!(concat!("sub", $scalar), a, b),
                    (Op::Mul, true) => binary!(concat!("mul", $scalar), a, b),
                    (Op::Div, true) => binary!(concat!("div", $scalar), a, b),
                    (Op::Sqrt, true) => binary!(concat!("sqrt", $scalar), a, b),
                    (Op::Min, true) => binary!(concat!("min", $scalar), a, b),
                    (Op::Max, true) => binary!(concat!("max", $scalar), a, b),
                }
            }
            #[inline(always)]
            fn compare<const SCALAR: bool>(a: V, b: V, predicate: u8) -> Option<V> {
                match (predicate, SCALAR) {
                    (0, false) => predicate!(concat!("cmp", $packed), 0, a, b),
                    (1, false) => predicate!(concat!("cmp", $packed), 1, a, b),
                    (2, false) => predicate!(concat!("cmp", $packed), 2, a, b),
                    (3, false) => predicate!(concat!("cmp", $packed), 3, a, b),
                    (4, false) => predicate!(concat!("cmp", $packed), 4, a, b),
                    (5, false) => predicate!(concat!("cmp", $packed), 5, a, b),
                    (6, false) => predicate!(concat!("cmp", $packed), 6, a, b),
                    (7, false) => predicate!(concat!("cmp", $packed), 7, a, b),
                    (0, true) => predicate!(concat!("cmp", $scalar), 0, a, b),
                    (1, true) => predicate!(concat!("cmp", $scalar), 1, a, b),
                    (2, true) => predicate!(concat!("cmp", $scalar), 2, a, b),
                    (3, true) => predicate!(concat!("cmp", $scalar), 3, a, b),
                    (4, true) => predicate!(concat!("cmp", $scalar), 4, a, b),
                    (5, true) => predicate!(concat!("cmp", $scalar), 5, a, b),
                    (6, true) => predicate!(concat!("cmp", $scalar), 6, a, b),
                    (7, true) => predicate!(concat!("cmp", $scalar), 7, a, b),
                    // AVX's others.
                    _ => None,
                }
            }
            #[inline(always)]
            fn relation<const SILENT: bool>(a: V, b: V) -> Option<V> {
                let flags: u16;
                // SAFETY: as above.
                unsafe {
                    if SILENT {
                        asm!(concat!("ucomi", $scalar, " {a}, {b}"), "lahf", a = in(xmm_reg) a,
                            b = in(xmm_reg) b, out("ax") flags, options(nomem, nostack));
                    } else {
                        asm!(concat!("comi", $scalar, " {a}, {b}"), "lahf", a = in(xmm_reg) a,
                            b = in(xmm_reg) b, out("ax") flags, options(nomem, nostack));
                    }
                }
                const SEEN: u64 = crate::state::flags::ZF | crate::state::flags::PF | crate::state::flags::CF;
                Some(of(((flags >> 8) as u64 & SEEN) as u128))
            }
        }
    };
}
lanes!(u32, "ps", "ss");
lanes!(u64, "pd", "sd");

/// Conversions, by the names of their instructions; the lanes that one leaves are `a`'s.
macro_rules! conversions {
    (merge $($merge:ident)*; whole $($whole:ident)*;
     from $($from:ident $from_name:literal $n:literal)*; to $($to:ident $to_name:literal $m:literal $t:ty)*;) => {
        $(
            #[doc = concat!("`", stringify!($merge), "`.")]
            #[inline(always)]
            pub fn $merge(a: V, b: V) -> Option<V> {
                binary!(stringify!($merge), a, b)
            }
        )*
        $(
            #[doc = concat!("`", stringify!($whole), "`.")]
            #[inline(always)]
            pub fn $whole(b: V) -> Option<V> {
                binary!(stringify!($whole), b, b)
            }
        )*
        $(
            #[doc = concat!("`", stringify!($from), "`.")]
            #[inline(always)]
            pub fn $from(a: V, b: V) -> Option<V> {
                let mut r = a;
                // SAFETY: as above.
                unsafe {
                    asm!(concat!($from_name, " {r}, {v", $n, "}"), r = inout(xmm_reg) r, v = in(reg) low(b),
                        options(nomem, nostack));
                }
                Some(r)
            }
        )*
        $(
            #[doc = concat!("`", stringify!($to), "`.")]
            #[inline(always)]
            pub fn $to(b: V) -> Option<V> {
                let r: u64;
                // SAFETY: as above.
                unsafe {
                    asm!(concat!($to_name, " {r", $m, "}, {b}"), r = lateout(reg) r, b = in(xmm_reg) b,
                        options(nomem, nostack));
                }
                Some(of(r as $t as u128))
            }
        )*
    };
}
conversions! {
    merge cvtss2sd cvtsd2ss;
    whole cvtps2pd cvtpd2ps cvtdq2ps cvtdq2pd cvtps2dq cvttps2dq cvtpd2dq cvttpd2dq;
    from cvtsi2ss32 "cvtsi2ss" ":e" cvtsi2ss64 "cvtsi2ss" "" cvtsi2sd32 "cvtsi2sd" ":e" cvtsi2sd64 "cvtsi2sd" "";
    to cvtss2si32 "cvtss2si" ":e" u32 cvtss2si64 "cvtss2si" "" u64 cvtsd2si32 "cvtsd2si" ":e" u32
        cvtsd2si64 "cvtsd2si" "" u64 cvttss2si32 "cvttss2si" ":e" u32 cvttss2si64 "cvttss2si" "" u64
        cvttsd2si32 "cvttsd2si" ":e" u32 cvttsd2si64 "cvttsd2si" "" u64;
}
