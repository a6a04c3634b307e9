//! SSE and SSE2 floating point: arithmetic, comparisons, conversions.

use super::vector::{
    Floating, floating, fp_from_gpr, fp_full, fp_narrow, fp_to_flags, fp_to_gpr, full, narrow, pure,
};
use super::{Exec, Form, forms};
use crate::fpu::host::{self, Lanes, V};
use crate::fpu::lanes::{Lane, lanes, merge};
use crate::fpu::simd::{self, Float, Op};
use crate::fpu::soft::{Env, Rounding};
use crate::state::flags;
use std::cmp::Ordering;
use std::marker::PhantomData;

/// What happens to one lane.
pub(crate) trait LaneOp: 'static {
    /// The host's operation; `None` if there is none.
    const HOST: Option<host::Op>;
    /// Computes one lane.
    fn run<F: Float>(e: &mut Env, a: F, b: F, imm: u8) -> F;
}

macro_rules! lane_ops {
    ($($name:ident $host:expr, ($e:ident, $a:ident, $b:ident) => $body:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub(crate) struct $name;
        impl LaneOp for $name {
            const HOST: Option<host::Op> = Some($host);
            #[inline(always)]
            #[allow(unused_variables)]
            fn run<F: Float>($e: &mut Env, $a: F, $b: F, _: u8) -> F {
                $body
            }
        }
    )*};
}

lane_ops! {
    Add host::Op::Add, (e, a, b) => simd::arith(e, Op::Add, a, b);
    Sub host::Op::Sub, (e, a, b) => simd::arith(e, Op::Sub, a, b);
    Mul host::Op::Mul, (e, a, b) => simd::arith(e, Op::Mul, a, b);
    Div host::Op::Div, (e, a, b) => simd::arith(e, Op::Div, a, b);
    Min host::Op::Min, (e, a, b) => simd::pick(e, a, b, Ordering::Less);
    Max host::Op::Max, (e, a, b) => simd::pick(e, a, b, Ordering::Greater);
    Sqrt host::Op::Sqrt, (e, a, b) => simd::sqrt(e, b);
}

/// The operation on all lanes.
pub(crate) struct Packed<F, O>(PhantomData<(F, O)>);
/// The lowest lane; the others are the first operand's.
pub(crate) struct Scalar<F, O>(PhantomData<(F, O)>);
/// Comparisons of all lanes, or of the lowest, by the low bits of the immediate that are in `MASK`:
/// SSE looks at three, AVX at five.
pub(crate) struct Compare<F, const SCALAR: bool, const MASK: u8>(PhantomData<F>);

impl<F: Float + Lane + Lanes, O: LaneOp> Floating for Packed<F, O> {
    #[inline(always)]
    fn run(e: &mut Env, a: u128, b: u128, imm: u8) -> u128 {
        lanes::<F>(a, b, |x, y| O::run(e, x, y, imm))
    }
    #[inline(always)]
    fn on_host(a: V, b: V, _: u8) -> Option<V> {
        F::arith::<false>(O::HOST?, a, b)
    }
}

impl<F: Float + Lane + Lanes, O: LaneOp> Floating for Scalar<F, O> {
    #[inline(always)]
    fn run(e: &mut Env, a: u128, b: u128, imm: u8) -> u128 {
        let r = O::run(e, F::of(a as u64), F::of(b as u64), imm);
        merge(a, r.bits() as u128, 8 * size_of::<F>() as u32)
    }
    #[inline(always)]
    fn on_host(a: V, b: V, _: u8) -> Option<V> {
        F::arith::<true>(O::HOST?, a, b)
    }
}

impl<F: Float + Lane + Lanes, const SCALAR: bool, const MASK: u8> Floating
    for Compare<F, SCALAR, MASK>
{
    #[inline(always)]
    fn run(e: &mut Env, a: u128, b: u128, imm: u8) -> u128 {
        let mut holds =
            |x: F, y: F| F::of(if simd::predicate(e, x, y, imm & MASK) { u64::MAX } else { 0 });
        if SCALAR {
            let low = holds(F::of(a as u64), F::of(b as u64)).bits();
            return merge(a, low as u128, 8 * size_of::<F>() as u32);
        }
        lanes::<F>(a, b, holds)
    }
    #[inline(always)]
    fn on_host(a: V, b: V, imm: u8) -> Option<V> {
        F::compare::<SCALAR>(a, b, imm & MASK)
    }
}

/// Status flags of COMISS and its like. SDM vol. 2, "COMISD".
#[inline(always)]
fn comparison<F: Float>(e: &mut Env, a: u128, b: u128, signaling: bool) -> u128 {
    let bits = match simd::relation(e, F::of(a as u64), F::of(b as u64), signaling) {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => flags::CF,
        Some(Ordering::Equal) => flags::ZF,
        None => flags::ZF | flags::PF | flags::CF,
    };
    bits as u128
}

/// To a 32-bit integer, rounded as MXCSR says.
#[inline(always)]
fn near<F: Float>(e: &mut Env, v: F, bits: u32) -> u128 {
    let rm = e.rm;
    simd::to_int(e, v, bits, rm) as u128
}

/// To an integer, towards zero.
#[inline(always)]
fn cut<F: Float>(e: &mut Env, v: F, bits: u32) -> u128 {
    simd::to_int(e, v, bits, Rounding::Zero) as u128
}

fn two_doubles(b: u128, mut f: impl FnMut(u64) -> u128) -> u128 {
    let low = f(b as u64);
    low | f((b >> 64) as u64) << 32
}

fn two_to_doubles(b: u128, mut f: impl FnMut(u32) -> u64) -> u128 {
    let low = f(b as u32) as u128;
    low | (f((b >> 32) as u32) as u128) << 64
}

floating! {
    ComiSS(e, a, b, _i) => comparison::<u32>(e, a, b, true), |a, b| u32::relation::<false>(a, b);
    ComiSD(e, a, b, _i) => comparison::<u64>(e, a, b, true), |a, b| u64::relation::<false>(a, b);
    UcomiSS(e, a, b, _i) => comparison::<u32>(e, a, b, false), |a, b| u32::relation::<true>(a, b);
    UcomiSD(e, a, b, _i) => comparison::<u64>(e, a, b, false), |a, b| u64::relation::<true>(a, b);
    SS2SD(e, a, b, _i) => merge(a, simd::convert::<u32, u64>(e, b as u32) as u128, 64),
        |a, b| host::cvtss2sd(a, b);
    SD2SS(e, a, b, _i) => merge(a, simd::convert::<u64, u32>(e, b as u64) as u128, 32),
        |a, b| host::cvtsd2ss(a, b);
    PS2PD(e, a, b, _i) => two_to_doubles(b, |v| simd::convert::<u32, u64>(e, v)),
        |a, b| host::cvtps2pd(b);
    PD2PS(e, a, b, _i) => two_doubles(b, |v| simd::convert::<u64, u32>(e, v) as u128),
        |a, b| host::cvtpd2ps(b);
    DQ2PS(e, a, b, _i) => lanes::<u32>(b, b, |v, _| simd::from_int(e, v as i32 as i64)),
        |a, b| host::cvtdq2ps(b);
    DQ2PD(e, a, b, _i) => two_to_doubles(b, |v| simd::from_int(e, v as i32 as i64)),
        |a, b| host::cvtdq2pd(b);
    PS2DQ(e, a, b, _i) => lanes::<u32>(b, b, |v, _| near(e, v, 32) as u32),
        |a, b| host::cvtps2dq(b);
    TPS2DQ(e, a, b, _i) => lanes::<u32>(b, b, |v, _| cut(e, v, 32) as u32),
        |a, b| host::cvttps2dq(b);
    PD2DQ(e, a, b, _i) => two_doubles(b, |v| near(e, v, 32)),
        |a, b| host::cvtpd2dq(b);
    TPD2DQ(e, a, b, _i) => two_doubles(b, |v| cut(e, v, 32)),
        |a, b| host::cvttpd2dq(b);
    PI2PS(e, a, b, _i) => merge(a, DQ2PS::run(e, 0, b as u64 as u128, 0), 64);
    PS2PI(e, a, b, _i) => PS2DQ::run(e, 0, b as u64 as u128, 0);
    TPS2PI(e, a, b, _i) => TPS2DQ::run(e, 0, b as u64 as u128, 0);
    SI2SS32(e, a, b, _i) => merge(a, simd::from_int::<u32>(e, b as i32 as i64) as u128, 32),
        |a, b| host::cvtsi2ss32(a, b);
    SI2SS64(e, a, b, _i) => merge(a, simd::from_int::<u32>(e, b as i64) as u128, 32),
        |a, b| host::cvtsi2ss64(a, b);
    SI2SD32(e, a, b, _i) => merge(a, (b as i32 as f64).to_bits() as u128, 64),
        |a, b| host::cvtsi2sd32(a, b);
    SI2SD64(e, a, b, _i) => merge(a, simd::from_int::<u64>(e, b as i64) as u128, 64),
        |a, b| host::cvtsi2sd64(a, b);
    SS2SI32(e, a, b, _i) => near(e, b as u32, 32),
        |a, b| host::cvtss2si32(b);
    SS2SI64(e, a, b, _i) => near(e, b as u32, 64),
        |a, b| host::cvtss2si64(b);
    SD2SI32(e, a, b, _i) => near(e, b as u64, 32),
        |a, b| host::cvtsd2si32(b);
    SD2SI64(e, a, b, _i) => near(e, b as u64, 64),
        |a, b| host::cvtsd2si64(b);
    TSS2SI32(e, a, b, _i) => cut(e, b as u32, 32),
        |a, b| host::cvttss2si32(b);
    TSS2SI64(e, a, b, _i) => cut(e, b as u32, 64),
        |a, b| host::cvttss2si64(b);
    TSD2SI32(e, a, b, _i) => cut(e, b as u64, 32),
        |a, b| host::cvttsd2si32(b);
    TSD2SI64(e, a, b, _i) => cut(e, b as u64, 64),
        |a, b| host::cvttsd2si64(b);
}

pure! {
    RcpPS(a, b, _i) => lanes::<u32>(b, b, |v, _| simd::approximate(v, false));
    RcpSS(a, b, _i) => merge(a, simd::approximate(b as u32, false) as u128, 32);
    RsqrtPS(a, b, _i) => lanes::<u32>(b, b, |v, _| simd::approximate(v, true));
    RsqrtSS(a, b, _i) => merge(a, simd::approximate(b as u32, true) as u128, 32);
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Addps_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u32, Add>>);
    Addpd_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u64, Add>>);
    Addss_xmm_xmmm32 => Exec::Handler(fp_narrow::<Scalar<u32, Add>, u32>);
    Addsd_xmm_xmmm64 => Exec::Handler(fp_narrow::<Scalar<u64, Add>, u64>);
    Subps_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u32, Sub>>);
    Subpd_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u64, Sub>>);
    Subss_xmm_xmmm32 => Exec::Handler(fp_narrow::<Scalar<u32, Sub>, u32>);
    Subsd_xmm_xmmm64 => Exec::Handler(fp_narrow::<Scalar<u64, Sub>, u64>);
    Mulps_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u32, Mul>>);
    Mulpd_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u64, Mul>>);
    Mulss_xmm_xmmm32 => Exec::Handler(fp_narrow::<Scalar<u32, Mul>, u32>);
    Mulsd_xmm_xmmm64 => Exec::Handler(fp_narrow::<Scalar<u64, Mul>, u64>);
    Divps_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u32, Div>>);
    Divpd_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u64, Div>>);
    Divss_xmm_xmmm32 => Exec::Handler(fp_narrow::<Scalar<u32, Div>, u32>);
    Divsd_xmm_xmmm64 => Exec::Handler(fp_narrow::<Scalar<u64, Div>, u64>);
    Minps_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u32, Min>>);
    Minpd_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u64, Min>>);
    Minss_xmm_xmmm32 => Exec::Handler(fp_narrow::<Scalar<u32, Min>, u32>);
    Minsd_xmm_xmmm64 => Exec::Handler(fp_narrow::<Scalar<u64, Min>, u64>);
    Maxps_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u32, Max>>);
    Maxpd_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u64, Max>>);
    Maxss_xmm_xmmm32 => Exec::Handler(fp_narrow::<Scalar<u32, Max>, u32>);
    Maxsd_xmm_xmmm64 => Exec::Handler(fp_narrow::<Scalar<u64, Max>, u64>);
    Sqrtps_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u32, Sqrt>>);
    Sqrtpd_xmm_xmmm128 => Exec::Handler(fp_full::<Packed<u64, Sqrt>>);
    Sqrtss_xmm_xmmm32 => Exec::Handler(fp_narrow::<Scalar<u32, Sqrt>, u32>);
    Sqrtsd_xmm_xmmm64 => Exec::Handler(fp_narrow::<Scalar<u64, Sqrt>, u64>);
    Cmpps_xmm_xmmm128_imm8 => Exec::Handler(fp_full::<Compare<u32, false, 7>>);
    Cmppd_xmm_xmmm128_imm8 => Exec::Handler(fp_full::<Compare<u64, false, 7>>);
    Cmpss_xmm_xmmm32_imm8 => Exec::Handler(fp_narrow::<Compare<u32, true, 7>, u32>);
    Cmpsd_xmm_xmmm64_imm8 => Exec::Handler(fp_narrow::<Compare<u64, true, 7>, u64>);
    Comiss_xmm_xmmm32 => Exec::Handler(fp_to_flags::<ComiSS, u32>);
    Comisd_xmm_xmmm64 => Exec::Handler(fp_to_flags::<ComiSD, u64>);
    Ucomiss_xmm_xmmm32 => Exec::Handler(fp_to_flags::<UcomiSS, u32>);
    Ucomisd_xmm_xmmm64 => Exec::Handler(fp_to_flags::<UcomiSD, u64>);
    Rcpps_xmm_xmmm128 => Exec::Handler(full::<RcpPS>);
    Rcpss_xmm_xmmm32 => Exec::Handler(narrow::<RcpSS, u32>);
    Rsqrtps_xmm_xmmm128 => Exec::Handler(full::<RsqrtPS>);
    Rsqrtss_xmm_xmmm32 => Exec::Handler(narrow::<RsqrtSS, u32>);
    Cvtss2sd_xmm_xmmm32 => Exec::Handler(fp_narrow::<SS2SD, u32>);
    Cvtsd2ss_xmm_xmmm64 => Exec::Handler(fp_narrow::<SD2SS, u64>);
    Cvtps2pd_xmm_xmmm64 => Exec::Handler(fp_narrow::<PS2PD, u64>);
    Cvtpd2ps_xmm_xmmm128 => Exec::Handler(fp_full::<PD2PS>);
    Cvtdq2ps_xmm_xmmm128 => Exec::Handler(fp_full::<DQ2PS>);
    Cvtdq2pd_xmm_xmmm64 => Exec::Handler(fp_narrow::<DQ2PD, u64>);
    Cvtps2dq_xmm_xmmm128 => Exec::Handler(fp_full::<PS2DQ>);
    Cvttps2dq_xmm_xmmm128 => Exec::Handler(fp_full::<TPS2DQ>);
    Cvtpd2dq_xmm_xmmm128 => Exec::Handler(fp_full::<PD2DQ>);
    Cvttpd2dq_xmm_xmmm128 => Exec::Handler(fp_full::<TPD2DQ>);
    Cvtsi2ss_xmm_rm32 => Exec::Handler(fp_from_gpr::<SI2SS32, u32>);
    Cvtsi2ss_xmm_rm64 => Exec::Handler(fp_from_gpr::<SI2SS64, u64>);
    Cvtsi2sd_xmm_rm32 => Exec::Handler(fp_from_gpr::<SI2SD32, u32>);
    Cvtsi2sd_xmm_rm64 => Exec::Handler(fp_from_gpr::<SI2SD64, u64>);
    Cvtss2si_r32_xmmm32 => Exec::Handler(fp_to_gpr::<SS2SI32, u32, u32>);
    Cvtss2si_r64_xmmm32 => Exec::Handler(fp_to_gpr::<SS2SI64, u64, u32>);
    Cvtsd2si_r32_xmmm64 => Exec::Handler(fp_to_gpr::<SD2SI32, u32, u64>);
    Cvtsd2si_r64_xmmm64 => Exec::Handler(fp_to_gpr::<SD2SI64, u64, u64>);
    Cvttss2si_r32_xmmm32 => Exec::Handler(fp_to_gpr::<TSS2SI32, u32, u32>);
    Cvttss2si_r64_xmmm32 => Exec::Handler(fp_to_gpr::<TSS2SI64, u64, u32>);
    Cvttsd2si_r32_xmmm64 => Exec::Handler(fp_to_gpr::<TSD2SI32, u32, u64>);
    Cvttsd2si_r64_xmmm64 => Exec::Handler(fp_to_gpr::<TSD2SI64, u64, u64>);
};
