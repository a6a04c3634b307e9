//! SSE and SSE2 floating point: arithmetic, comparisons, conversions.

use super::vector::{
    Floating, Lane, floating, fp_from_gpr, fp_full, fp_narrow, fp_to_flags, fp_to_gpr, full, lanes,
    merge, narrow, pure,
};
use super::{Form, Make, forms};
use crate::flags;
use crate::fpu::host::{self, Lanes, V, low, low32, low64, quiet};
use crate::fpu::simd::{self, Float, Op};
use crate::fpu::soft::{Env, F32, F64, Rounding};
use std::cmp::Ordering;
use std::marker::PhantomData;

/// What happens to one lane.
pub trait LaneOp: 'static {
    /// What the host calls it; `None` if it does not have it.
    const HOST: Option<host::Op>;
    /// Computes it.
    fn run<F: Float>(e: &mut Env, a: F, b: F, imm: u8) -> F;
}

macro_rules! lane_ops {
    ($($name:ident $host:expr, ($e:ident, $a:ident, $b:ident) => $body:expr;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub struct $name;
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

/// All lanes.
pub struct Packed<F, O>(PhantomData<(F, O)>);
/// The lowest lane; the others are the first operand's.
pub struct Scalar<F, O>(PhantomData<(F, O)>);
/// Comparisons of all lanes, or of the lowest, by the low bits of the immediate that are in `MASK`:
/// SSE looks at three, AVX at five.
pub struct Compare<F, const SCALAR: bool, const MASK: u8>(PhantomData<F>);

/// Whether the usual case is for a quiet MXCSR only, see [`Floating::QUIET`].
pub(super) const fn rounds<O: LaneOp>() -> bool {
    matches!(O::HOST, Some(op) if !op.exact())
}

/// The usual case of an operation on lanes.
#[inline(always)]
fn on_host<F: Lanes, O: LaneOp, const SCALAR: bool>(mxcsr: u32, a: V, b: V) -> Option<V> {
    host::arith::<F, SCALAR>(O::HOST?, mxcsr, a, b)
}

impl<F: Float + Lane + Lanes, O: LaneOp> Floating for Packed<F, O> {
    const QUIET: bool = rounds::<O>();
    #[inline(always)]
    fn run(e: &mut Env, a: u128, b: u128, imm: u8) -> u128 {
        lanes::<F>(a, b, |x, y| O::run(e, x, y, imm))
    }
    #[inline(always)]
    fn usual(mxcsr: u32, a: V, b: V, _: u8) -> Option<V> {
        on_host::<F, O, false>(mxcsr, a, b)
    }
}

impl<F: Float + Lane + Lanes, O: LaneOp> Floating for Scalar<F, O> {
    const QUIET: bool = rounds::<O>();
    #[inline(always)]
    fn run(e: &mut Env, a: u128, b: u128, imm: u8) -> u128 {
        let r = O::run(e, F::of(a as u64), F::of(b as u64), imm);
        merge(a, r.bits() as u128, 8 * size_of::<F>() as u32)
    }
    #[inline(always)]
    fn usual(mxcsr: u32, a: V, b: V, _: u8) -> Option<V> {
        on_host::<F, O, true>(mxcsr, a, b)
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
    fn usual(mxcsr: u32, a: V, b: V, imm: u8) -> Option<V> {
        if !host::ordinary::<F, SCALAR>(mxcsr, a, b) {
            return None;
        }
        let wanted = simd::holds(imm & MASK);
        let [less, equal, greater] = F::order(a, b).map(host::bits);
        let all = |bit, lanes| if wanted & bit != 0 { lanes } else { 0 };
        let r = all(simd::LT, less)
            | all(simd::EQ, equal)
            | all(simd::GT, greater)
            | all(simd::UN, !(less | equal | greater));
        Some(host::of(if SCALAR { merge(host::bits(a), r, 8 * size_of::<F>() as u32) } else { r }))
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

/// The usual case of [`comparison`].
#[inline(always)]
fn compared<F: Lanes>(mxcsr: u32, a: V, b: V) -> Option<V> {
    let [less, equal, greater] = F::order(a, b).map(|v| host::bits(v) as u64);
    let unordered = !(less | equal | greater);
    let bits = (less | unordered) & flags::CF | (equal | unordered) & flags::ZF;
    // Only the lowest bits of the masks matter.
    let bits = bits | unordered & flags::PF;
    host::ordinary::<F, true>(mxcsr, a, b).then_some(host::of(bits as u128))
}

/// A double made a single, in the usual case.
#[inline(always)]
fn to_single(quiet: bool, v: u64) -> Option<u32> {
    let r = (f64::from_bits(v) as f32).to_bits();
    // Only zero becomes zero exactly.
    (quiet && v.tame() && (r.settled() || v.is_zero())).then_some(r)
}

/// A single made a double: always exact.
#[inline(always)]
fn to_double(v: u32) -> Option<u64> {
    v.tame().then(|| (f32::from_bits(v) as f64).to_bits())
}

/// All four lanes, as 32 bits each.
#[inline(always)]
fn four(b: V, mut f: impl FnMut(u32) -> Option<u128>) -> Option<V> {
    let (b, mut r) = (host::bits(b), 0);
    for k in 0..4 {
        r |= f((b >> (32 * k)) as u32)? << (32 * k);
    }
    Some(host::of(r))
}

/// Both lanes, as 32 bits each, from singles or doubles of `FROM` bits to `TO` bits.
#[inline(always)]
fn two<const FROM: u32, const TO: u32>(b: V, mut f: impl FnMut(u64) -> Option<u128>) -> Option<V> {
    let (b, lane) = (host::bits(b), u64::MAX >> (64 - FROM));
    let low = f(b as u64 & lane)?;
    Some(host::of(low | f((b >> FROM) as u64 & lane)? << TO))
}

/// To an integer, to nearest or towards zero, in the usual case.
#[inline(always)]
fn single_to<const NEAR: bool>(quiet: bool, v: u32, bits: u32) -> Option<u128> {
    host::to_integer::<NEAR>(quiet, f32::from_bits(v) as f64, bits)
}

/// As [`single_to`].
#[inline(always)]
fn double_to<const NEAR: bool>(quiet: bool, v: u64, bits: u32) -> Option<u128> {
    host::to_integer::<NEAR>(quiet, f64::from_bits(v), bits)
}

/// From an integer, in the usual case.
#[inline(always)]
fn single_from(quiet: bool, v: i64) -> Option<u128> {
    let exact = v.unsigned_abs() < 1 << F32.p;
    (quiet || exact).then(|| (v as f32).to_bits() as u128)
}

/// As [`single_from`].
#[inline(always)]
fn double_from(quiet: bool, v: i64) -> Option<u128> {
    let exact = v.unsigned_abs() < 1 << F64.p;
    (quiet || exact).then(|| (v as f64).to_bits() as u128)
}

floating! {
    ComiSS(e, a, b, _i) => comparison::<u32>(e, a, b, true), |m, a, b| compared::<u32>(m, a, b);
    ComiSD(e, a, b, _i) => comparison::<u64>(e, a, b, true), |m, a, b| compared::<u64>(m, a, b);
    UcomiSS(e, a, b, _i) => comparison::<u32>(e, a, b, false), |m, a, b| compared::<u32>(m, a, b);
    UcomiSD(e, a, b, _i) => comparison::<u64>(e, a, b, false), |m, a, b| compared::<u64>(m, a, b);
    SS2SD(e, a, b, _i) => merge(a, simd::convert::<u32, u64>(e, b as u32) as u128, 64),
        |m, a, b| Some(low64(a, to_double(low(b) as u32)?));
    SD2SS(e, a, b, _i) => merge(a, simd::convert::<u64, u32>(e, b as u64) as u128, 32),
        |m, a, b| Some(low32(a, to_single(quiet(m), low(b))?));
    PS2PD(e, a, b, _i) => two_to_doubles(b, |v| simd::convert::<u32, u64>(e, v)),
        |m, a, b| two::<32, 64>(b, |v| Some(to_double(v as u32)? as u128));
    PD2PS(e, a, b, _i) => two_doubles(b, |v| simd::convert::<u64, u32>(e, v) as u128),
        |m, a, b| two::<64, 32>(b, |v| Some(to_single(quiet(m), v)? as u128));
    DQ2PS(e, a, b, _i) => lanes::<u32>(b, b, |v, _| simd::from_int(e, v as i32 as i64)),
        |m, a, b| four(b, |v| single_from(quiet(m), v as i32 as i64));
    DQ2PD(e, a, b, _i) => two_to_doubles(b, |v| simd::from_int(e, v as i32 as i64)),
        |m, a, b| two::<32, 64>(b, |v| double_from(quiet(m), v as i32 as i64));
    PS2DQ(e, a, b, _i) => lanes::<u32>(b, b, |v, _| near(e, v, 32) as u32),
        |m, a, b| four(b, |v| single_to::<true>(quiet(m), v, 32));
    TPS2DQ(e, a, b, _i) => lanes::<u32>(b, b, |v, _| cut(e, v, 32) as u32),
        |m, a, b| four(b, |v| single_to::<false>(quiet(m), v, 32));
    PD2DQ(e, a, b, _i) => two_doubles(b, |v| near(e, v, 32)),
        |m, a, b| two::<64, 32>(b, |v| double_to::<true>(quiet(m), v, 32));
    TPD2DQ(e, a, b, _i) => two_doubles(b, |v| cut(e, v, 32)),
        |m, a, b| two::<64, 32>(b, |v| double_to::<false>(quiet(m), v, 32));
    PI2PS(e, a, b, _i) => merge(a, DQ2PS::run(e, 0, b as u64 as u128, 0), 64);
    PS2PI(e, a, b, _i) => PS2DQ::run(e, 0, b as u64 as u128, 0);
    TPS2PI(e, a, b, _i) => TPS2DQ::run(e, 0, b as u64 as u128, 0);
    SI2SS32(e, a, b, _i) => merge(a, simd::from_int::<u32>(e, b as i32 as i64) as u128, 32),
        |m, a, b| Some(low32(a, single_from(quiet(m), low(b) as i32 as i64)? as u32));
    SI2SS64(e, a, b, _i) => merge(a, simd::from_int::<u32>(e, b as i64) as u128, 32),
        |m, a, b| Some(low32(a, single_from(quiet(m), low(b) as i64)? as u32));
    SI2SD32(e, a, b, _i) => merge(a, (b as i32 as f64).to_bits() as u128, 64),
        |m, a, b| Some(low64(a, (low(b) as i32 as f64).to_bits()));
    SI2SD64(e, a, b, _i) => merge(a, simd::from_int::<u64>(e, b as i64) as u128, 64),
        |m, a, b| Some(low64(a, double_from(quiet(m), low(b) as i64)? as u64));
    SS2SI32(e, a, b, _i) => near(e, b as u32, 32),
        |m, a, b| single_to::<true>(quiet(m), low(b) as u32, 32).map(host::of);
    SS2SI64(e, a, b, _i) => near(e, b as u32, 64),
        |m, a, b| single_to::<true>(quiet(m), low(b) as u32, 64).map(host::of);
    SD2SI32(e, a, b, _i) => near(e, b as u64, 32),
        |m, a, b| double_to::<true>(quiet(m), low(b), 32).map(host::of);
    SD2SI64(e, a, b, _i) => near(e, b as u64, 64),
        |m, a, b| double_to::<true>(quiet(m), low(b), 64).map(host::of);
    TSS2SI32(e, a, b, _i) => cut(e, b as u32, 32),
        |m, a, b| single_to::<false>(quiet(m), low(b) as u32, 32).map(host::of);
    TSS2SI64(e, a, b, _i) => cut(e, b as u32, 64),
        |m, a, b| single_to::<false>(quiet(m), low(b) as u32, 64).map(host::of);
    TSD2SI32(e, a, b, _i) => cut(e, b as u64, 32),
        |m, a, b| double_to::<false>(quiet(m), low(b), 32).map(host::of);
    TSD2SI64(e, a, b, _i) => cut(e, b as u64, 64),
        |m, a, b| double_to::<false>(quiet(m), low(b), 64).map(host::of);
}

pure! {
    RcpPS(a, b, _i) => lanes::<u32>(b, b, |v, _| simd::approximate(v, false));
    RcpSS(a, b, _i) => merge(a, simd::approximate(b as u32, false) as u128, 32);
    RsqrtPS(a, b, _i) => lanes::<u32>(b, b, |v, _| simd::approximate(v, true));
    RsqrtSS(a, b, _i) => merge(a, simd::approximate(b as u32, true) as u128, 32);
}

/// The table of this family.
#[rustfmt::skip]
pub const FORMS: &[Form] = forms! {
    Addps_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u32, Add>>);
    Addpd_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u64, Add>>);
    Addss_xmm_xmmm32 => Make::Typed(fp_narrow::<Scalar<u32, Add>, u32>);
    Addsd_xmm_xmmm64 => Make::Typed(fp_narrow::<Scalar<u64, Add>, u64>);
    Subps_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u32, Sub>>);
    Subpd_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u64, Sub>>);
    Subss_xmm_xmmm32 => Make::Typed(fp_narrow::<Scalar<u32, Sub>, u32>);
    Subsd_xmm_xmmm64 => Make::Typed(fp_narrow::<Scalar<u64, Sub>, u64>);
    Mulps_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u32, Mul>>);
    Mulpd_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u64, Mul>>);
    Mulss_xmm_xmmm32 => Make::Typed(fp_narrow::<Scalar<u32, Mul>, u32>);
    Mulsd_xmm_xmmm64 => Make::Typed(fp_narrow::<Scalar<u64, Mul>, u64>);
    Divps_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u32, Div>>);
    Divpd_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u64, Div>>);
    Divss_xmm_xmmm32 => Make::Typed(fp_narrow::<Scalar<u32, Div>, u32>);
    Divsd_xmm_xmmm64 => Make::Typed(fp_narrow::<Scalar<u64, Div>, u64>);
    Minps_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u32, Min>>);
    Minpd_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u64, Min>>);
    Minss_xmm_xmmm32 => Make::Typed(fp_narrow::<Scalar<u32, Min>, u32>);
    Minsd_xmm_xmmm64 => Make::Typed(fp_narrow::<Scalar<u64, Min>, u64>);
    Maxps_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u32, Max>>);
    Maxpd_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u64, Max>>);
    Maxss_xmm_xmmm32 => Make::Typed(fp_narrow::<Scalar<u32, Max>, u32>);
    Maxsd_xmm_xmmm64 => Make::Typed(fp_narrow::<Scalar<u64, Max>, u64>);
    Sqrtps_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u32, Sqrt>>);
    Sqrtpd_xmm_xmmm128 => Make::Typed(fp_full::<Packed<u64, Sqrt>>);
    Sqrtss_xmm_xmmm32 => Make::Typed(fp_narrow::<Scalar<u32, Sqrt>, u32>);
    Sqrtsd_xmm_xmmm64 => Make::Typed(fp_narrow::<Scalar<u64, Sqrt>, u64>);
    Cmpps_xmm_xmmm128_imm8 => Make::Typed(fp_full::<Compare<u32, false, 7>>);
    Cmppd_xmm_xmmm128_imm8 => Make::Typed(fp_full::<Compare<u64, false, 7>>);
    Cmpss_xmm_xmmm32_imm8 => Make::Typed(fp_narrow::<Compare<u32, true, 7>, u32>);
    Cmpsd_xmm_xmmm64_imm8 => Make::Typed(fp_narrow::<Compare<u64, true, 7>, u64>);
    Comiss_xmm_xmmm32 => Make::Typed(fp_to_flags::<ComiSS, u32>);
    Comisd_xmm_xmmm64 => Make::Typed(fp_to_flags::<ComiSD, u64>);
    Ucomiss_xmm_xmmm32 => Make::Typed(fp_to_flags::<UcomiSS, u32>);
    Ucomisd_xmm_xmmm64 => Make::Typed(fp_to_flags::<UcomiSD, u64>);
    Rcpps_xmm_xmmm128 => Make::Typed(full::<RcpPS>);
    Rcpss_xmm_xmmm32 => Make::Typed(narrow::<RcpSS, u32>);
    Rsqrtps_xmm_xmmm128 => Make::Typed(full::<RsqrtPS>);
    Rsqrtss_xmm_xmmm32 => Make::Typed(narrow::<RsqrtSS, u32>);
    Cvtss2sd_xmm_xmmm32 => Make::Typed(fp_narrow::<SS2SD, u32>);
    Cvtsd2ss_xmm_xmmm64 => Make::Typed(fp_narrow::<SD2SS, u64>);
    Cvtps2pd_xmm_xmmm64 => Make::Typed(fp_narrow::<PS2PD, u64>);
    Cvtpd2ps_xmm_xmmm128 => Make::Typed(fp_full::<PD2PS>);
    Cvtdq2ps_xmm_xmmm128 => Make::Typed(fp_full::<DQ2PS>);
    Cvtdq2pd_xmm_xmmm64 => Make::Typed(fp_narrow::<DQ2PD, u64>);
    Cvtps2dq_xmm_xmmm128 => Make::Typed(fp_full::<PS2DQ>);
    Cvttps2dq_xmm_xmmm128 => Make::Typed(fp_full::<TPS2DQ>);
    Cvtpd2dq_xmm_xmmm128 => Make::Typed(fp_full::<PD2DQ>);
    Cvttpd2dq_xmm_xmmm128 => Make::Typed(fp_full::<TPD2DQ>);
    Cvtsi2ss_xmm_rm32 => Make::Typed(fp_from_gpr::<SI2SS32, u32>);
    Cvtsi2ss_xmm_rm64 => Make::Typed(fp_from_gpr::<SI2SS64, u64>);
    Cvtsi2sd_xmm_rm32 => Make::Typed(fp_from_gpr::<SI2SD32, u32>);
    Cvtsi2sd_xmm_rm64 => Make::Typed(fp_from_gpr::<SI2SD64, u64>);
    Cvtss2si_r32_xmmm32 => Make::Typed(fp_to_gpr::<SS2SI32, u32, u32>);
    Cvtss2si_r64_xmmm32 => Make::Typed(fp_to_gpr::<SS2SI64, u64, u32>);
    Cvtsd2si_r32_xmmm64 => Make::Typed(fp_to_gpr::<SD2SI32, u32, u64>);
    Cvtsd2si_r64_xmmm64 => Make::Typed(fp_to_gpr::<SD2SI64, u64, u64>);
    Cvttss2si_r32_xmmm32 => Make::Typed(fp_to_gpr::<TSS2SI32, u32, u32>);
    Cvttss2si_r64_xmmm32 => Make::Typed(fp_to_gpr::<TSS2SI64, u64, u32>);
    Cvttsd2si_r32_xmmm64 => Make::Typed(fp_to_gpr::<TSD2SI32, u32, u64>);
    Cvttsd2si_r64_xmmm64 => Make::Typed(fp_to_gpr::<TSD2SI64, u64, u64>);
};
