//! SSE3, SSSE3, SSE4.1: horizontal and mixed arithmetic, blends, insertions, rounding.

use super::mmx::{self, Packs};
use super::sse_float::{Add, LaneOp, Packed, Scalar, Sub};
use super::sse_moves::number;
use super::vector::{self, Floating, floating, fp_full, fp_narrow, from_gpr, full, narrow, pure};
use super::{AddressingMode, Exec, Form, Operands, avx, forms};
use crate::Cpu;
use crate::dispatch::Handler;
use crate::fpu::host::{self, Lanes, V};
use crate::fpu::lanes::{Lane, build, each, lane_of, lanes, with_lane};
use crate::fpu::simd::{self, Float, Op};
use crate::fpu::soft::{Env, Rounding};
use crate::state::flags;
use crate::trap::Trap;
use iced_x86::Instruction;
use std::marker::PhantomData;

/// Neighbouring lanes of both operands, combined.
#[inline(always)]
fn pairs<L: Lane>(a: u128, b: u128, mut f: impl FnMut(L, L) -> L) -> u128 {
    let n = 16 / size_of::<L>();
    build::<L>(|k| {
        let (v, at) = if k < n / 2 { (a, 2 * k) } else { (b, 2 * k - n) };
        f(lane_of(v, at), lane_of(v, at + 1))
    })
}

/// The low lanes, widened.
#[inline(always)]
fn widen<L: Lane, M: Lane>(b: u128, f: impl Fn(L) -> M) -> u128 {
    build::<M>(|k| f(lane_of(b, k)))
}

/// Lanes of `b` where `imm` has a bit, of `a` elsewhere.
#[inline(always)]
fn blend<L: Lane>(a: u128, b: u128, imm: u8) -> u128 {
    build::<L>(|k| lane_of(if imm >> k & 1 != 0 { b } else { a }, k))
}

/// Lanes of `b` where the mask's sign bit is set, of `a` elsewhere.
#[inline(always)]
pub(super) fn blend_by<L: Lane + Into<i64>>(a: u128, b: u128, mask: u128) -> u128 {
    build::<L>(|k| lane_of(if lane_of::<L>(mask, k).into() < 0 { b } else { a }, k))
}

fn shuffle_bytes(a: u128, b: u128, n: usize) -> u128 {
    #[cfg(target_arch = "x86_64")]
    if let (16, Some(r)) = (n, crate::fpu::integers::shuffle_bytes(a, b)) {
        return r;
    }
    let (x, y) = (u8::split(a), u8::split(b));
    build::<u8>(|k| if y[k] >> 7 != 0 { 0 } else { x[y[k] as usize & (n - 1)] })
}

/// Products of unsigned and signed bytes, added in pairs.
fn multiply_add_bytes(a: u128, b: u128) -> u128 {
    let (x, y) = (u8::split(a), i8::split(b));
    let product = |k: usize| x[k] as i32 * y[k] as i32;
    build::<i16>(|k| (product(2 * k) + product(2 * k + 1)).clamp(-0x8000, 0x7fff) as i16)
}

fn rounded_high(x: i16, y: i16) -> i16 {
    ((((x as i32 * y as i32) >> 14) + 1) >> 1) as i16
}

/// Bytes of the pair `a:b` from byte `imm` on; the operands are `n` bytes long.
fn align(a: u128, b: u128, imm: u8, n: u32) -> u128 {
    let by = 8 * imm as u32;
    match imm as u32 / n {
        0 if by == 0 => b,
        0 => b >> by | a << (8 * n - by),
        1 => a >> (by - 8 * n),
        _ => 0,
    }
}

fn sums_of_differences(a: u128, b: u128, imm: u8) -> u128 {
    let (x, y) = (u8::split(a), u8::split(b));
    let (from, with) = (4 * (imm as usize >> 2 & 1), 4 * (imm as usize & 3));
    build::<u16>(|k| (0..4).map(|j| x[from + k + j].abs_diff(y[with + j]) as u16).sum())
}

fn least_word(b: u128) -> u128 {
    let words = u16::split(b);
    let least = (0..8).min_by_key(|k| (words[*k], *k)).unwrap_or(0);
    words[least] as u128 | (least as u128) << 16
}

/// A lane inserted, then lanes cleared.
fn insert_single(a: u128, lane: u32, imm: u8) -> u128 {
    let r = with_lane(a, imm as usize >> 4 & 3, lane);
    build::<u32>(|k| if imm >> k & 1 != 0 { 0 } else { lane_of(r, k) })
}

/// Dot products of `N` halves: `imm` chooses factors (high half) and results (low half). The steps
/// after one that found an unmasked exception are not done. SDM vol. 2, "DPPS": "Exceptions are
/// determined separately for each add and multiply operation." Which of several NaNs an element gets follows from the
/// order of operands, which is that of Intel's processors (Sapphire Rapids): of singles the neighbour's product comes
/// before the element's own, else what is the element's own comes first.
pub(super) fn dots<F: Float + Lane, const N: usize>(
    e: &mut Env,
    a: [u128; N],
    b: [u128; N],
    imm: u8,
) -> [u128; N] {
    let (n, zero) = (16 / size_of::<F>(), F::of(0));
    let mut t = [[zero; 4]; N];
    for (k, lane) in (0..N).flat_map(|k| (0..n).map(move |lane| (k, lane))) {
        if imm >> (4 + lane) & 1 != 0 {
            t[k][lane] = simd::arith(e, Op::Mul, lane_of(a[k], lane), lane_of(b[k], lane));
        }
    }
    let mut distance = 1;
    while distance < n && !e.trapped() {
        let before = t;
        for (k, lane) in (0..N).flat_map(|k| (0..n).map(move |lane| (k, lane))) {
            let (own, other) = (before[k][lane], before[k][lane ^ distance]);
            let (x, y) = if (n, distance) == (4, 1) { (other, own) } else { (own, other) };
            t[k][lane] = simd::arith(e, Op::Add, x, y);
        }
        distance *= 2;
    }
    t.map(|t| build::<F>(|k| if imm >> k & 1 != 0 { t[k] } else { zero }))
}

fn dot<F: Float + Lane>(e: &mut Env, a: u128, b: u128, imm: u8) -> u128 {
    let [r] = dots::<F, 1>(e, [a], [b], imm);
    r
}

/// `VDPPS` of YMM registers.
pub(super) fn vdpps_wide(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    avx::wide(cpu, i, dots::<u32, 2>)
}

/// Status flags of PTEST.
#[inline(always)]
fn tested(a: u128, b: u128) -> u128 {
    let bit = |on, f| if on { f } else { 0 };
    (bit(a & b == 0, flags::ZF) | bit(!a & b == 0, flags::CF)) as u128
}

/// ROUNDPS and its like: bits 1:0 the mode unless bit 2 says MXCSR's, bit 3: no precision exception.
pub(super) struct Round;

impl LaneOp for Round {
    const HOST: Option<host::Op> = None;
    #[inline(always)]
    fn run<F: Float>(e: &mut Env, _: F, b: F, imm: u8) -> F {
        let rm = if imm & 4 != 0 { e.rm } else { Rounding::of(imm as u32) };
        simd::round_integral(e, b, rm, imm & 8 != 0)
    }
}

/// Alternately subtracts and adds.
pub(crate) struct AddSub<F>(PhantomData<F>);
/// Adds or subtracts neighbours.
pub(crate) struct Horizontal<F, O>(PhantomData<(F, O)>);

/// Whether no lane is a NaN, by integers, which note nothing.
fn ordered<F: Float + Lane>(v: u128) -> bool {
    let infinity = (2 * F::FORMAT.emax as u64 + 1) << (F::FORMAT.p - 1);
    let magnitude = u64::MAX >> (65 - 8 * size_of::<F>());
    (0..16 / size_of::<F>()).all(|k| lane_of::<F>(v, k).bits() & magnitude <= infinity)
}

impl<F: Float + Lane + Lanes> Floating for AddSub<F> {
    fn run(e: &mut Env, a: u128, b: u128, _: u8) -> u128 {
        build::<F>(|k| {
            let op = if k & 1 == 0 { Op::Sub } else { Op::Add };
            simd::arith(e, op, lane_of(a, k), lane_of(b, k))
        })
    }
    #[inline(always)]
    fn on_host(a: V, b: V, _: u8) -> Option<V> {
        // A difference is the sum with what has the other sign, but for the sign of a NaN.
        let b = host::bits(b);
        let b =
            build::<F>(|k| if k & 1 == 0 { lane_of::<F>(b, k).negated() } else { lane_of(b, k) });
        F::arith::<false>(host::Op::Add, a, host::of(b)).filter(|r| ordered::<F>(host::bits(*r)))
    }
}

impl<F: Float + Lane + Lanes, O: LaneOp> Floating for Horizontal<F, O> {
    fn run(e: &mut Env, a: u128, b: u128, imm: u8) -> u128 {
        pairs::<F>(a, b, |x, y| O::run(e, x, y, imm))
    }
    #[inline(always)]
    fn on_host(a: V, b: V, _: u8) -> Option<V> {
        let (a, b) = (host::bits(a), host::bits(b));
        let n = 16 / size_of::<F>();
        let pick =
            |odd| build::<F>(|k| lane_of(if k < n / 2 { a } else { b }, k % (n / 2) * 2 + odd));
        F::arith::<false>(O::HOST?, host::of(pick(0)), host::of(pick(1)))
    }
}

floating! {
    DotPS(e, a, b, imm) => dot::<u32>(e, a, b, imm);
    DotPD(e, a, b, imm) => dot::<u64>(e, a, b, imm & 0x33);
    Test(e, a, b, _i) => tested(a, b),
        |a, b| Some(host::of(tested(host::bits(a), host::bits(b))));
}

pure! {
    ShufB(a, b, _i) => shuffle_bytes(a, b, 16);
    ShufB8(a, b, _i) => shuffle_bytes(a, b, 8);
    HAddW(a, b, _i) => pairs::<u16>(a, b, u16::wrapping_add);
    HAddD(a, b, _i) => pairs::<u32>(a, b, u32::wrapping_add);
    HAddSW(a, b, _i) => pairs::<i16>(a, b, i16::saturating_add);
    HSubW(a, b, _i) => pairs::<u16>(a, b, u16::wrapping_sub);
    HSubD(a, b, _i) => pairs::<u32>(a, b, u32::wrapping_sub);
    HSubSW(a, b, _i) => pairs::<i16>(a, b, i16::saturating_sub);
    MulAddUBSW(a, b, _i) => multiply_add_bytes(a, b);
    SignB(a, b, _i) => lanes::<i8>(a, b, |x, y| x.wrapping_mul(y.signum()));
    SignW(a, b, _i) => lanes::<i16>(a, b, |x, y| x.wrapping_mul(y.signum()));
    SignD(a, b, _i) => lanes::<i32>(a, b, |x, y| x.wrapping_mul(y.signum()));
    MulHRSW(a, b, _i) => lanes::<i16>(a, b, rounded_high);
    AbsB(a, b, _i) => each::<i8>(b, i8::wrapping_abs);
    AbsW(a, b, _i) => each::<i16>(b, i16::wrapping_abs);
    AbsD(a, b, _i) => each::<i32>(b, i32::wrapping_abs);
    AlignR(a, b, imm) => align(a, b, imm, 16);
    AlignR8(a, b, imm) => align(a, b, imm, 8);
    MulDQ(a, b, _i) => lanes::<i64>(a, b, |x, y| x as i32 as i64 * y as i32 as i64);
    MulLD(a, b, _i) => lanes::<u32>(a, b, u32::wrapping_mul);
    MinSB(a, b, _i) => lanes::<i8>(a, b, i8::min);
    MaxSB(a, b, _i) => lanes::<i8>(a, b, i8::max);
    MinUW(a, b, _i) => lanes::<u16>(a, b, u16::min);
    MaxUW(a, b, _i) => lanes::<u16>(a, b, u16::max);
    MinSD(a, b, _i) => lanes::<i32>(a, b, i32::min);
    MaxSD(a, b, _i) => lanes::<i32>(a, b, i32::max);
    MinUD(a, b, _i) => lanes::<u32>(a, b, u32::min);
    MaxUD(a, b, _i) => lanes::<u32>(a, b, u32::max);
    CmpEqQ(a, b, _i) => lanes::<u64>(a, b, |x, y| if x == y { u64::MAX } else { 0 });
    CmpGtQ(a, b, _i) => lanes::<i64>(a, b, |x, y| -((x > y) as i64));
    PackUSDW(a, b, _i) => {
        build::<u16>(|k| {
            lane_of::<i32>(if k < 4 { a } else { b }, k & 3).clamp(0, 0xffff) as u16
        })
    };
    MinPos(a, b, _i) => least_word(b);
    SumsAD(a, b, imm) => sums_of_differences(a, b, imm);
    BlendD(a, b, imm) => blend::<u32>(a, b, imm);
    BlendQ(a, b, imm) => blend::<u64>(a, b, imm);
    BlendW(a, b, imm) => blend::<u16>(a, b, imm);
    SxBW(a, b, _i) => widen(b, |x: i8| x as i16);
    SxBD(a, b, _i) => widen(b, |x: i8| x as i32);
    SxBQ(a, b, _i) => widen(b, |x: i8| x as i64);
    SxWD(a, b, _i) => widen(b, |x: i16| x as i32);
    SxWQ(a, b, _i) => widen(b, |x: i16| x as i64);
    SxDQ(a, b, _i) => widen(b, |x: i32| x as i64);
    ZxBW(a, b, _i) => widen(b, |x: u8| x as u16);
    ZxBD(a, b, _i) => widen(b, |x: u8| x as u32);
    ZxBQ(a, b, _i) => widen(b, |x: u8| x as u64);
    ZxWD(a, b, _i) => widen(b, |x: u16| x as u32);
    ZxWQ(a, b, _i) => widen(b, |x: u16| x as u64);
    ZxDQ(a, b, _i) => widen(b, |x: u32| x as u64);
    InsertB(a, b, imm) => with_lane(a, imm as usize & 15, b as u8);
    InsertD(a, b, imm) => with_lane(a, imm as usize & 3, b as u32);
    InsertQ(a, b, imm) => with_lane(a, imm as usize & 1, b as u64);
    InsertPS(a, b, imm) => insert_single(a, lane_of(b, imm as usize >> 6), imm);
    InsertPSMem(a, b, imm) => insert_single(a, b as u32, imm);
    ExtractB(a, b, imm) => lane_of::<u8>(b, imm as usize & 15) as u128;
    ExtractD(a, b, imm) => lane_of::<u32>(b, imm as usize & 3) as u128;
    ExtractQ(a, b, imm) => lane_of::<u64>(b, imm as usize & 1) as u128;
}

/// `INSERTPS`: from memory there is one lane only.
fn insertps(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => narrow::<InsertPS, u32>(s),
        _ => narrow::<InsertPSMem, u32>(s),
    }
}

/// Operand 1 of a plain instruction: a register or aligned memory.
pub(super) fn source(cpu: &mut Cpu, i: &Instruction, aligned: bool) -> Result<u128, Trap> {
    if i.op1_kind() == iced_x86::OpKind::Register {
        return Ok(cpu.state.fpu.xmm[number(i.op1_register()) & 15]);
    }
    let (s, la) = cpu.aligned_operand(i, 16, if aligned { 16 } else { 1 }, false)?;
    let mut b = [0; 16];
    cpu.load_bytes(s, la, &mut b)?;
    Ok(u128::from_le_bytes(b))
}

/// A blend by the sign bits of XMM0.
fn blendv(cpu: &mut Cpu, i: &Instruction, f: fn(u128, u128, u128) -> u128) -> Result<(), Trap> {
    cpu.check_sse()?;
    let b = source(cpu, i, true)?;
    let d = number(i.op0_register()) & 15;
    cpu.state.fpu.xmm[d] = f(cpu.state.fpu.xmm[d], b, cpu.state.fpu.xmm[0]);
    Ok(())
}

fn pblendvb(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    blendv(cpu, i, blend_by::<i8>)
}

fn blendvps(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    blendv(cpu, i, blend_by::<i32>)
}

fn blendvpd(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    blendv(cpu, i, blend_by::<i64>)
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Haddps_xmm_xmmm128 => Exec::Handler(fp_full::<Horizontal<u32, Add>>);
    Haddpd_xmm_xmmm128 => Exec::Handler(fp_full::<Horizontal<u64, Add>>);
    Hsubps_xmm_xmmm128 => Exec::Handler(fp_full::<Horizontal<u32, Sub>>);
    Hsubpd_xmm_xmmm128 => Exec::Handler(fp_full::<Horizontal<u64, Sub>>);
    Addsubps_xmm_xmmm128 => Exec::Handler(fp_full::<AddSub<u32>>);
    Addsubpd_xmm_xmmm128 => Exec::Handler(fp_full::<AddSub<u64>>);
    Pshufb_xmm_xmmm128 => Exec::Handler(full::<ShufB>);
    Phaddw_xmm_xmmm128 => Exec::Handler(full::<HAddW>);
    Phaddd_xmm_xmmm128 => Exec::Handler(full::<HAddD>);
    Phaddsw_xmm_xmmm128 => Exec::Handler(full::<HAddSW>);
    Phsubw_xmm_xmmm128 => Exec::Handler(full::<HSubW>);
    Phsubd_xmm_xmmm128 => Exec::Handler(full::<HSubD>);
    Phsubsw_xmm_xmmm128 => Exec::Handler(full::<HSubSW>);
    Pmaddubsw_xmm_xmmm128 => Exec::Handler(full::<MulAddUBSW>);
    Psignb_xmm_xmmm128 => Exec::Handler(full::<SignB>);
    Psignw_xmm_xmmm128 => Exec::Handler(full::<SignW>);
    Psignd_xmm_xmmm128 => Exec::Handler(full::<SignD>);
    Pmulhrsw_xmm_xmmm128 => Exec::Handler(full::<MulHRSW>);
    Pabsb_xmm_xmmm128 => Exec::Handler(full::<AbsB>);
    Pabsw_xmm_xmmm128 => Exec::Handler(full::<AbsW>);
    Pabsd_xmm_xmmm128 => Exec::Handler(full::<AbsD>);
    Palignr_xmm_xmmm128_imm8 => Exec::Handler(full::<AlignR>);
    Pmuldq_xmm_xmmm128 => Exec::Handler(full::<MulDQ>);
    Pmulld_xmm_xmmm128 => Exec::Handler(full::<MulLD>);
    Pminsb_xmm_xmmm128 => Exec::Handler(full::<MinSB>);
    Pmaxsb_xmm_xmmm128 => Exec::Handler(full::<MaxSB>);
    Pminuw_xmm_xmmm128 => Exec::Handler(full::<MinUW>);
    Pmaxuw_xmm_xmmm128 => Exec::Handler(full::<MaxUW>);
    Pminsd_xmm_xmmm128 => Exec::Handler(full::<MinSD>);
    Pmaxsd_xmm_xmmm128 => Exec::Handler(full::<MaxSD>);
    Pminud_xmm_xmmm128 => Exec::Handler(full::<MinUD>);
    Pmaxud_xmm_xmmm128 => Exec::Handler(full::<MaxUD>);
    Pcmpeqq_xmm_xmmm128 => Exec::Handler(full::<CmpEqQ>);
    Pcmpgtq_xmm_xmmm128 => Exec::Handler(full::<CmpGtQ>);
    Packusdw_xmm_xmmm128 => Exec::Handler(full::<PackUSDW>);
    Phminposuw_xmm_xmmm128 => Exec::Handler(full::<MinPos>);
    Mpsadbw_xmm_xmmm128_imm8 => Exec::Handler(full::<SumsAD>);
    Blendps_xmm_xmmm128_imm8 => Exec::Handler(full::<BlendD>);
    Blendpd_xmm_xmmm128_imm8 => Exec::Handler(full::<BlendQ>);
    Pblendw_xmm_xmmm128_imm8 => Exec::Handler(full::<BlendW>);
    Pblendvb_xmm_xmmm128 => Exec::Function(pblendvb);
    Blendvps_xmm_xmmm128 => Exec::Function(blendvps);
    Blendvpd_xmm_xmmm128 => Exec::Function(blendvpd);
    Ptest_xmm_xmmm128 => Exec::Handler(vector::fp_full_to_flags::<Test>);
    Pmovsxbw_xmm_xmmm64 => Exec::Handler(narrow::<SxBW, u64>);
    Pmovsxbd_xmm_xmmm32 => Exec::Handler(narrow::<SxBD, u32>);
    Pmovsxbq_xmm_xmmm16 => Exec::Handler(narrow::<SxBQ, u16>);
    Pmovsxwd_xmm_xmmm64 => Exec::Handler(narrow::<SxWD, u64>);
    Pmovsxwq_xmm_xmmm32 => Exec::Handler(narrow::<SxWQ, u32>);
    Pmovsxdq_xmm_xmmm64 => Exec::Handler(narrow::<SxDQ, u64>);
    Pmovzxbw_xmm_xmmm64 => Exec::Handler(narrow::<ZxBW, u64>);
    Pmovzxbd_xmm_xmmm32 => Exec::Handler(narrow::<ZxBD, u32>);
    Pmovzxbq_xmm_xmmm16 => Exec::Handler(narrow::<ZxBQ, u16>);
    Pmovzxwd_xmm_xmmm64 => Exec::Handler(narrow::<ZxWD, u64>);
    Pmovzxwq_xmm_xmmm32 => Exec::Handler(narrow::<ZxWQ, u32>);
    Pmovzxdq_xmm_xmmm64 => Exec::Handler(narrow::<ZxDQ, u64>);
    Pinsrb_xmm_r32m8_imm8 => Exec::Handler(from_gpr::<InsertB, u32, u8>);
    Pinsrb_xmm_r64m8_imm8 => Exec::Handler(from_gpr::<InsertB, u64, u8>);
    Pinsrd_xmm_rm32_imm8 => Exec::Handler(from_gpr::<InsertD, u32, u32>);
    Pinsrq_xmm_rm64_imm8 => Exec::Handler(from_gpr::<InsertQ, u64, u64>);
    Insertps_xmm_xmmm32_imm8 => Exec::Handler(insertps);
    Pextrb_r32m8_xmm_imm8 => Exec::Handler(vector::to_gpr_or_memory::<ExtractB, u32, u8>);
    Pextrb_r64m8_xmm_imm8 => Exec::Handler(vector::to_gpr_or_memory::<ExtractB, u64, u8>);
    Pextrw_r32m16_xmm_imm8 => Exec::Handler(vector::to_gpr_or_memory::<super::sse_moves::ExtractW, u32, u16>);
    Pextrw_r64m16_xmm_imm8 => Exec::Handler(vector::to_gpr_or_memory::<super::sse_moves::ExtractW, u64, u16>);
    Pextrd_rm32_xmm_imm8 => Exec::Handler(vector::to_gpr_or_memory::<ExtractD, u32, u32>);
    Pextrq_rm64_xmm_imm8 => Exec::Handler(vector::to_gpr_or_memory::<ExtractQ, u64, u64>);
    Extractps_rm32_xmm_imm8 => Exec::Handler(vector::to_gpr_or_memory::<ExtractD, u32, u32>);
    Extractps_r64m32_xmm_imm8 => Exec::Handler(vector::to_gpr_or_memory::<ExtractD, u64, u32>);
    Roundps_xmm_xmmm128_imm8 => Exec::Handler(fp_full::<Packed<u32, Round>>);
    Roundpd_xmm_xmmm128_imm8 => Exec::Handler(fp_full::<Packed<u64, Round>>);
    Roundss_xmm_xmmm32_imm8 => Exec::Handler(fp_narrow::<Scalar<u32, Round>, u32>);
    Roundsd_xmm_xmmm64_imm8 => Exec::Handler(fp_narrow::<Scalar<u64, Round>, u64>);
    Dpps_xmm_xmmm128_imm8 => Exec::Handler(fp_full::<DotPS>);
    Dppd_xmm_xmmm128_imm8 => Exec::Handler(fp_full::<DotPD>);
    Pshufb_mm_mmm64 => Exec::Function(mmx::binary::<ShufB8, 8>);
    Phaddw_mm_mmm64 => Exec::Function(mmx::binary::<Packs<HAddW>, 8>);
    Phaddd_mm_mmm64 => Exec::Function(mmx::binary::<Packs<HAddD>, 8>);
    Phaddsw_mm_mmm64 => Exec::Function(mmx::binary::<Packs<HAddSW>, 8>);
    Phsubw_mm_mmm64 => Exec::Function(mmx::binary::<Packs<HSubW>, 8>);
    Phsubd_mm_mmm64 => Exec::Function(mmx::binary::<Packs<HSubD>, 8>);
    Phsubsw_mm_mmm64 => Exec::Function(mmx::binary::<Packs<HSubSW>, 8>);
    Pmaddubsw_mm_mmm64 => Exec::Function(mmx::binary::<MulAddUBSW, 8>);
    Psignb_mm_mmm64 => Exec::Function(mmx::binary::<SignB, 8>);
    Psignw_mm_mmm64 => Exec::Function(mmx::binary::<SignW, 8>);
    Psignd_mm_mmm64 => Exec::Function(mmx::binary::<SignD, 8>);
    Pmulhrsw_mm_mmm64 => Exec::Function(mmx::binary::<MulHRSW, 8>);
    Pabsb_mm_mmm64 => Exec::Function(mmx::binary::<AbsB, 8>);
    Pabsw_mm_mmm64 => Exec::Function(mmx::binary::<AbsW, 8>);
    Pabsd_mm_mmm64 => Exec::Function(mmx::binary::<AbsD, 8>);
    Palignr_mm_mmm64_imm8 => Exec::Function(mmx::binary::<AlignR8, 8>);
};
