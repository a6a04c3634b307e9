//! AVX and AVX2: moves, broadcasts, permutations, masked moves, gathers, variable shifts, binary16.

use super::avx::{
    self, Done, V, extract, immediate, load, move_scalar, of_bytes, operand, test, to_bytes,
    under_mxcsr, width,
};
use super::vector::pure;
use super::{Exec, Form, avx_fast as fast, forms, sse_moves as mov, sse4};
use crate::Cpu;
use crate::fpu::lanes::{Lane, build, lane_of, lanes};
use crate::fpu::simd;
use crate::fpu::soft::Rounding;
use crate::state::CodeMode;
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::{Instruction, OpKind, Register};
use mmu::AccessKind;

/// Shifts a lane by another's count.
#[inline(always)]
fn variable<W: Word + Lane>(a: u128, b: u128, f: impl Fn(u64, u32) -> u64) -> u128 {
    let shifted = |x: W, n: W| match n.u() {
        n if n < W::BITS as u64 => W::of(f(x.u(), n as u32)),
        _ => W::of(0),
    };
    lanes::<W>(a, b, shifted)
}

pure! {
    SllVD(a, b, _i) => variable::<u32>(a, b, |x, n| x << n);
    SllVQ(a, b, _i) => variable::<u64>(a, b, |x, n| x << n);
    SrlVD(a, b, _i) => variable::<u32>(a, b, |x, n| x >> n);
    SrlVQ(a, b, _i) => variable::<u64>(a, b, |x, n| x >> n);
    SraVD(a, b, _i) => lanes::<i32>(a, b, |x, n| x >> (n as u32).min(31));
    PermD(a, b, _i) => build::<u32>(|k| lane_of(a, lane_of::<u32>(b, k) as usize & 3));
    PermQ(a, b, _i) => build::<u64>(|k| lane_of(a, lane_of::<u64>(b, k) as usize >> 1 & 1));
    PermDImm(a, b, imm) => build::<u32>(|k| lane_of(b, (imm >> (2 * k) & 3) as usize));
    PermQImm(a, b, imm) => build::<u64>(|k| lane_of(b, (imm >> k & 1) as usize));
}

/// Operand 1, of the destination's width, aligned where `ALIGNED`.
fn load_full<const ALIGNED: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    if ALIGNED && i.op1_kind() == OpKind::Memory {
        cpu.aligned_operand(i, width(i, 0), width(i, 0) as u64, false)?;
    }
    let v = operand(cpu, i, 1, 0)?;
    cpu.set_vector(i.op0_register(), v);
    Ok(())
}

fn store_full<const ALIGNED: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let v = cpu.vector(i.op1_register());
    if i.op0_kind() == OpKind::Register {
        cpu.set_vector(i.op0_register(), v);
        return Ok(());
    }
    let size = width(i, 1);
    let align = if ALIGNED { size as u64 } else { 1 };
    let (s, la) = cpu.aligned_operand(i, size, align, true)?;
    cpu.store_bytes(s, la, &to_bytes(v)[..size])
}

/// `MOVQ xmm/m64, xmm`.
fn movq_store(cpu: &mut Cpu, i: &Instruction) -> Done {
    if i.op0_kind() == OpKind::Memory {
        return extract::<mov::Take, u64>(cpu, i);
    }
    cpu.check_avx()?;
    let v = cpu.vector(i.op1_register())[0] as u64;
    cpu.set_vector(i.op0_register(), [v as u128, 0]);
    Ok(())
}

/// All registers, or their upper halves, become zero; the first eight outside 64-bit mode.
fn zero<const ALL: bool>(cpu: &mut Cpu, _: &Instruction) -> Done {
    cpu.check_avx()?;
    let n = if cpu.caches.mode == CodeMode::Bits64 { 16 } else { 8 };
    cpu.state.fpu.upper[..n].fill(0);
    if ALL {
        cpu.state.fpu.xmm[..n].fill(0);
    }
    Ok(())
}

fn ldmxcsr(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    mov::ldmxcsr(cpu, i)
}

fn stmxcsr(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let v = cpu.state.fpu.mxcsr;
    cpu.store_operand(i, v)
}

fn maskmovdqu(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    mov::maskmovdqu(cpu, i)
}

/// `SIZE` bytes, everywhere.
fn broadcast<const SIZE: usize>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let b = to_bytes(operand(cpu, i, 1, SIZE)?);
    let mut r = [0; 32];
    r.iter_mut().enumerate().for_each(|(k, x)| *x = b[k % SIZE]);
    cpu.set_vector(i.op0_register(), of_bytes(&r));
    Ok(())
}

fn insert128(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let [b, _] = operand(cpu, i, 2, 16)?;
    let mut v = cpu.vector(i.op1_register());
    v[immediate(i) as usize & 1] = b;
    cpu.set_vector(i.op0_register(), v);
    Ok(())
}

fn extract128(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let v = cpu.vector(i.op1_register())[immediate(i) as usize & 1];
    if i.op0_kind() == OpKind::Register {
        cpu.set_vector(i.op0_register(), [v, 0]);
        return Ok(());
    }
    let (s, la) = cpu.memory_operand(i, 16, true)?;
    cpu.store_bytes(s, la, &v.to_le_bytes())
}

fn perm128(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let b = operand(cpu, i, 2, 0)?;
    let a = cpu.vector(i.op1_register());
    let half = |c: u8| match c & 15 {
        0 => a[0],
        1 => a[1],
        2 => b[0],
        3 => b[1],
        c if c & 8 != 0 => 0,
        c => {
            if c & 2 != 0 {
                b[c as usize & 1]
            } else {
                a[c as usize & 1]
            }
        }
    };
    let imm = immediate(i);
    cpu.set_vector(i.op0_register(), [half(imm), half(imm >> 4)]);
    Ok(())
}

/// Lane `k` of both halves together.
fn lane_across<L: Lane>(v: V, k: usize) -> L {
    let n = 16 / size_of::<L>();
    lane_of(v[k / n], k % n)
}

/// `VPERMD`, `VPERMPS`: the first source holds the indices.
fn permd(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let b = operand(cpu, i, 2, 0)?;
    let index = cpu.vector(i.op1_register());
    let half = |h: V, from: usize| {
        build::<u32>(|k| lane_across(h, lane_across::<u32>(index, from + k) as usize & 7))
    };
    cpu.set_vector(i.op0_register(), [half(b, 0), half(b, 4)]);
    Ok(())
}

fn permq(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let b = operand(cpu, i, 1, 0)?;
    let imm = immediate(i);
    let half =
        |from: usize| build::<u64>(|k| lane_across(b, (imm >> (2 * (from + k)) & 3) as usize));
    cpu.set_vector(i.op0_register(), [half(0), half(2)]);
    Ok(())
}

/// A blend by the sign bits of a fourth operand.
fn blendv<L: Lane + Into<i64>>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let b = operand(cpu, i, 2, 0)?;
    let (a, m) = (cpu.vector(i.op1_register()), cpu.vector(i.op3_register()));
    let half = |k: usize| sse4::blend_by::<L>(a[k], b[k], m[k]);
    cpu.set_vector(i.op0_register(), [half(0), half(1)]);
    Ok(())
}

/// Whether the element of `SIZE` bytes at `at` is chosen by its sign bit.
fn chosen<const SIZE: usize>(mask: &[u8; 32], at: usize) -> bool {
    mask[at + SIZE - 1] >> 7 != 0
}

/// Loads the chosen elements; the others become zero and are not accessed.
fn maskmov_load<const SIZE: usize>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let mask = to_bytes(cpu.vector(i.op1_register()));
    let mut r = [0; 32];
    for at in (0..width(i, 0)).step_by(SIZE).filter(|at| chosen::<SIZE>(&mask, *at)) {
        let (_, la) = element(cpu, i, at, SIZE, AccessKind::Read)?;
        cpu.load_unaligned(la, &mut r[at..at + SIZE])?;
    }
    cpu.set_vector(i.op0_register(), of_bytes(&r));
    Ok(())
}

/// Segment and linear address of the element `at` bytes into the memory operand, whose offset wraps at
/// the address size. Alignment is not checked.
fn element(
    cpu: &mut Cpu,
    i: &Instruction,
    at: usize,
    size: usize,
    kind: AccessKind,
) -> Result<(usize, u64), Trap> {
    let s = crate::operand::segment_number(i.memory_segment());
    let cut = u64::MAX >> (64 - 8 * crate::operand::address_size(i, cpu.is_64()));
    let off = cpu.ea(i).wrapping_add(at as u64) & cut;
    let la = cpu.linear(s, off, size, kind == AccessKind::Write)?;
    for k in [0, size as u64 - 1] {
        let byte = cpu.step(la, k);
        let byte = if k == 0 || byte >> 12 == la >> 12 { byte } else { byte & !0xfff };
        cpu.probe(s, byte, 1, kind)?;
    }
    Ok((s, la))
}

/// Stores the chosen elements, all or none.
fn maskmov_store<const SIZE: usize>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let mask = to_bytes(cpu.vector(i.op1_register()));
    let data = to_bytes(cpu.vector(i.op2_register()));
    let all = || (0..width(i, 1)).step_by(SIZE).filter(|at| chosen::<SIZE>(&mask, *at));
    for at in all() {
        element(cpu, i, at, SIZE, AccessKind::Write)?;
    }
    for at in all() {
        let (_, la) = element(cpu, i, at, SIZE, AccessKind::Write)?;
        cpu.store_unaligned(la, &data[at..at + SIZE])?;
    }
    Ok(())
}

/// The offset of a gathered element, from its index.
fn gather_address(cpu: &Cpu, i: &Instruction, index: i64) -> u64 {
    let base = match i.memory_base() {
        Register::None => 0,
        r => cpu.reg(r),
    };
    let scaled = (index as u64).wrapping_mul(i.memory_index_scale() as u64);
    let a = base.wrapping_add(scaled).wrapping_add(i.memory_displacement64());
    a & u64::MAX >> (64 - 8 * crate::operand::address_size(i, cpu.is_64()))
}

/// Gathers elements of `SIZE` bytes by indices of `INDEX` bytes. Elements that are done before a fault
/// stay done, with their mask cleared. SDM vol. 2, "VPGATHERDD".
fn gather<const SIZE: usize, const INDEX: usize>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let (d, x, m) = (i.op0_register(), i.memory_index(), i.op2_register());
    if d.number() == x.number() || d.number() == m.number() || x.number() == m.number() {
        return Err(Trap::UD);
    }
    let s = crate::operand::segment_number(i.memory_segment());
    let count = (width(i, 0) / SIZE).min(if x.is_ymm() { 32 } else { 16 } / INDEX);
    let index = to_bytes(cpu.vector(x));
    let whole = |cpu: &Cpu, r: Register| {
        let n = r.number();
        to_bytes([cpu.state.fpu.xmm[n], cpu.state.fpu.upper[n]])
    };
    let (mut r, mut mask) = (whole(cpu, d), whole(cpu, m));
    let mut done = Ok(());
    for k in 0..count {
        if !chosen::<SIZE>(&mask, k * SIZE) {
            continue;
        }
        let bits =
            index[k * INDEX..(k + 1) * INDEX].iter().rev().fold(0u64, |v, b| v << 8 | *b as u64);
        let signed = if INDEX == 4 { bits as i32 as i64 } else { bits as i64 };
        let at = cpu.linear(s, gather_address(cpu, i, signed), SIZE, false);
        let lanes = &mut r[k * SIZE..(k + 1) * SIZE];
        done = at.and_then(|la| cpu.load_unaligned(la, lanes));
        if done.is_err() {
            break;
        }
        mask[k * SIZE..(k + 1) * SIZE].fill(0);
    }
    if done.is_ok() {
        mask.fill(0);
        r[count * SIZE..].fill(0);
    }
    for (reg, bytes) in [(d, r), (m, mask)] {
        let n = reg.number();
        [cpu.state.fpu.xmm[n], cpu.state.fpu.upper[n]] = of_bytes(&bytes);
    }
    done
}

/// `VCVTPH2PS`. Alignment is not checked here and below. SDM vol. 2, "Exceptions Type 11".
fn from_half(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let b = if i.op1_kind() == OpKind::Memory {
        let (_, la) = cpu.memory_operand(i, width(i, 0) / 2, false)?;
        let mut bytes = [0; 16];
        cpu.load_unaligned(la, &mut bytes[..width(i, 0) / 2])?;
        u128::from_le_bytes(bytes)
    } else {
        cpu.vector(i.op1_register())[0]
    };
    let n = width(i, 0) / 4;
    let r = under_mxcsr(cpu, |e| {
        let mut r = [0; 32];
        for k in 0..n {
            let v = simd::half_to_single(e, lane_of::<u16>(b, k));
            r[4 * k..4 * k + 4].copy_from_slice(&v.to_le_bytes());
        }
        of_bytes(&r)
    })?;
    cpu.set_vector(i.op0_register(), r);
    Ok(())
}

/// `VCVTPS2PH`.
fn to_half(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let a = cpu.vector(i.op1_register());
    let n = width(i, 1) / 4;
    let imm = immediate(i);
    if i.op0_kind() == OpKind::Memory {
        let (_, la) = cpu.memory_operand(i, 2 * n, true)?;
        cpu.probe_unaligned(la, 2 * n, AccessKind::Write)?;
    }
    let r = under_mxcsr(cpu, |e| {
        let rm = if imm & 4 != 0 { e.rm } else { Rounding::of(imm as u32) };
        (0..n).fold(0, |r, k| {
            r | (simd::single_to_half(e, lane_across(a, k), rm) as u128) << (16 * k)
        })
    })?;
    if i.op0_kind() == OpKind::Register {
        cpu.set_vector(i.op0_register(), [r, 0]);
        return Ok(());
    }
    let (_, la) = cpu.memory_operand(i, 2 * n, true)?;
    cpu.store_unaligned(la, &r.to_le_bytes()[..2 * n])
}

/// `VMOVDDUP`, whose XMM form reads 8 bytes of memory.
fn movddup(cpu: &mut Cpu, i: &Instruction) -> Done {
    if i.op0_register().is_ymm() {
        return avx::pure::<mov::DupLow64, 0, 0>(cpu, i);
    }
    avx::pure::<mov::DupLow64, 0, 8>(cpu, i)
}

/// `VINSERTPS`.
fn insertps(cpu: &mut Cpu, i: &Instruction) -> Done {
    if i.op2_kind() == OpKind::Memory {
        return avx::pure::<sse4::InsertPSMem, 0, 4>(cpu, i);
    }
    avx::pure::<sse4::InsertPS, 0, 4>(cpu, i)
}

/// `VMOVLPS` and its like from memory: 8 bytes beside those of the first source.
fn load_half<const HIGH: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let [b, _] = load(cpu, i, 8)?;
    let a = cpu.vector(i.op1_register())[0];
    let r = if HIGH { a as u64 as u128 | b << 64 } else { a >> 64 << 64 | b };
    cpu.set_vector(i.op0_register(), [r, 0]);
    Ok(())
}

const ALL: u128 = u128::MAX;
const SIGNS32: u128 = 0x8000_0000_8000_0000_8000_0000_8000_0000;
const SIGNS64: u128 = 0x8000_0000_0000_0000_8000_0000_0000_0000;

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    VEX_Vmovups_xmm_xmmm128 => fast::load::<false>(load_full::<false>);
    VEX_Vmovups_ymm_ymmm256 => fast::load::<false>(load_full::<false>);
    VEX_Vmovups_xmmm128_xmm => fast::store::<false>(store_full::<false>);
    VEX_Vmovups_ymmm256_ymm => fast::store::<false>(store_full::<false>);
    VEX_Vmovupd_xmm_xmmm128 => fast::load::<false>(load_full::<false>);
    VEX_Vmovupd_ymm_ymmm256 => fast::load::<false>(load_full::<false>);
    VEX_Vmovupd_xmmm128_xmm => fast::store::<false>(store_full::<false>);
    VEX_Vmovupd_ymmm256_ymm => fast::store::<false>(store_full::<false>);
    VEX_Vmovdqu_xmm_xmmm128 => fast::load::<false>(load_full::<false>);
    VEX_Vmovdqu_ymm_ymmm256 => fast::load::<false>(load_full::<false>);
    VEX_Vmovdqu_xmmm128_xmm => fast::store::<false>(store_full::<false>);
    VEX_Vmovdqu_ymmm256_ymm => fast::store::<false>(store_full::<false>);
    VEX_Vmovaps_xmm_xmmm128 => fast::load::<true>(load_full::<true>);
    VEX_Vmovaps_ymm_ymmm256 => fast::load::<true>(load_full::<true>);
    VEX_Vmovaps_xmmm128_xmm => fast::store::<true>(store_full::<true>);
    VEX_Vmovaps_ymmm256_ymm => fast::store::<true>(store_full::<true>);
    VEX_Vmovapd_xmm_xmmm128 => fast::load::<true>(load_full::<true>);
    VEX_Vmovapd_ymm_ymmm256 => fast::load::<true>(load_full::<true>);
    VEX_Vmovapd_xmmm128_xmm => fast::store::<true>(store_full::<true>);
    VEX_Vmovapd_ymmm256_ymm => fast::store::<true>(store_full::<true>);
    VEX_Vmovdqa_xmm_xmmm128 => fast::load::<true>(load_full::<true>);
    VEX_Vmovdqa_ymm_ymmm256 => fast::load::<true>(load_full::<true>);
    VEX_Vmovdqa_xmmm128_xmm => fast::store::<true>(store_full::<true>);
    VEX_Vmovdqa_ymmm256_ymm => fast::store::<true>(store_full::<true>);
    VEX_Vmovntps_m128_xmm => fast::store::<true>(store_full::<true>);
    VEX_Vmovntps_m256_ymm => fast::store::<true>(store_full::<true>);
    VEX_Vmovntpd_m128_xmm => fast::store::<true>(store_full::<true>);
    VEX_Vmovntpd_m256_ymm => fast::store::<true>(store_full::<true>);
    VEX_Vmovntdq_m128_xmm => fast::store::<true>(store_full::<true>);
    VEX_Vmovntdq_m256_ymm => fast::store::<true>(store_full::<true>);
    VEX_Vmovntdqa_xmm_m128 => fast::load::<true>(load_full::<true>);
    VEX_Vmovntdqa_ymm_m256 => fast::load::<true>(load_full::<true>);
    VEX_Vlddqu_xmm_m128 => fast::load::<false>(load_full::<false>);
    VEX_Vlddqu_ymm_m256 => fast::load::<false>(load_full::<false>);
    VEX_Vmovss_xmm_xmm_xmm => Exec::Function(move_scalar::<32>);
    VEX_Vmovss_xmm_xmm_xmm_0F11 => Exec::Function(move_scalar::<32>);
    VEX_Vmovss_xmm_m32 => fast::pure::<mov::Take, 0, 4>();
    VEX_Vmovss_m32_xmm => Exec::Function(extract::<mov::Take, u32>);
    VEX_Vmovsd_xmm_xmm_xmm => Exec::Function(move_scalar::<64>);
    VEX_Vmovsd_xmm_xmm_xmm_0F11 => Exec::Function(move_scalar::<64>);
    VEX_Vmovsd_xmm_m64 => fast::pure::<mov::Take, 0, 8>();
    VEX_Vmovsd_m64_xmm => Exec::Function(extract::<mov::Take, u64>);
    VEX_Vmovd_xmm_rm32 => fast::pure::<mov::Take, 0, 4>();
    VEX_Vmovq_xmm_rm64 => fast::pure::<mov::Take, 0, 8>();
    VEX_Vmovd_rm32_xmm => Exec::Function(extract::<mov::Take, u32>);
    VEX_Vmovq_rm64_xmm => Exec::Function(extract::<mov::Take, u64>);
    VEX_Vmovq_xmm_xmmm64 => fast::pure::<mov::ZeroHigh, 0, 8>();
    VEX_Vmovq_xmmm64_xmm => Exec::Function(movq_store);
    VEX_Vmovlps_xmm_xmm_m64 => Exec::Function(load_half::<false>);
    VEX_Vmovhps_xmm_xmm_m64 => Exec::Function(load_half::<true>);
    VEX_Vmovlps_m64_xmm => Exec::Function(extract::<mov::Take, u64>);
    VEX_Vmovhps_m64_xmm => Exec::Function(extract::<mov::UpperHalf, u64>);
    VEX_Vmovlpd_xmm_xmm_m64 => Exec::Function(load_half::<false>);
    VEX_Vmovhpd_xmm_xmm_m64 => Exec::Function(load_half::<true>);
    VEX_Vmovlpd_m64_xmm => Exec::Function(extract::<mov::Take, u64>);
    VEX_Vmovhpd_m64_xmm => Exec::Function(extract::<mov::UpperHalf, u64>);
    VEX_Vmovlhps_xmm_xmm_xmm => fast::pure::<mov::High64, 0, 0>();
    VEX_Vmovhlps_xmm_xmm_xmm => fast::pure::<mov::HighToLow, 0, 0>();
    VEX_Vmovddup_xmm_xmmm64 => Exec::Function(movddup);
    VEX_Vmovddup_ymm_ymmm256 => Exec::Function(movddup);
    VEX_Vmovsldup_xmm_xmmm128 => fast::pure::<mov::DupEven32, 0, 0>();
    VEX_Vmovsldup_ymm_ymmm256 => fast::pure::<mov::DupEven32, 0, 0>();
    VEX_Vmovshdup_xmm_xmmm128 => fast::pure::<mov::DupOdd32, 0, 0>();
    VEX_Vmovshdup_ymm_ymmm256 => fast::pure::<mov::DupOdd32, 0, 0>();
    VEX_Vzeroall => Exec::Function(zero::<true>);
    VEX_Vzeroupper => fast::zero_upper(zero::<false>);
    VEX_Vldmxcsr_m32 => Exec::Function(ldmxcsr);
    VEX_Vstmxcsr_m32 => Exec::Function(stmxcsr);
    VEX_Vmaskmovdqu_rDI_xmm_xmm => Exec::Function(maskmovdqu);
    VEX_Vbroadcastss_xmm_m32 => Exec::Function(broadcast::<4>);
    VEX_Vbroadcastss_xmm_xmm => Exec::Function(broadcast::<4>);
    VEX_Vpbroadcastb_xmm_xmmm8 => Exec::Function(broadcast::<1>);
    VEX_Vpbroadcastw_xmm_xmmm16 => Exec::Function(broadcast::<2>);
    VEX_Vpbroadcastd_xmm_xmmm32 => Exec::Function(broadcast::<4>);
    VEX_Vpbroadcastq_xmm_xmmm64 => Exec::Function(broadcast::<8>);
    VEX_Vbroadcastss_ymm_m32 => Exec::Function(broadcast::<4>);
    VEX_Vbroadcastss_ymm_xmm => Exec::Function(broadcast::<4>);
    VEX_Vpbroadcastb_ymm_xmmm8 => Exec::Function(broadcast::<1>);
    VEX_Vpbroadcastw_ymm_xmmm16 => Exec::Function(broadcast::<2>);
    VEX_Vpbroadcastd_ymm_xmmm32 => Exec::Function(broadcast::<4>);
    VEX_Vpbroadcastq_ymm_xmmm64 => Exec::Function(broadcast::<8>);
    VEX_Vbroadcastsd_ymm_m64 => Exec::Function(broadcast::<8>);
    VEX_Vbroadcastsd_ymm_xmm => Exec::Function(broadcast::<8>);
    VEX_Vbroadcastf128_ymm_m128 => Exec::Function(broadcast::<16>);
    VEX_Vbroadcasti128_ymm_m128 => Exec::Function(broadcast::<16>);
    VEX_Vinsertf128_ymm_ymm_xmmm128_imm8 => Exec::Function(insert128);
    VEX_Vextractf128_xmmm128_ymm_imm8 => Exec::Function(extract128);
    VEX_Vperm2f128_ymm_ymm_ymmm256_imm8 => Exec::Function(perm128);
    VEX_Vinserti128_ymm_ymm_xmmm128_imm8 => Exec::Function(insert128);
    VEX_Vextracti128_xmmm128_ymm_imm8 => Exec::Function(extract128);
    VEX_Vperm2i128_ymm_ymm_ymmm256_imm8 => Exec::Function(perm128);
    VEX_Vpermd_ymm_ymm_ymmm256 => Exec::Function(permd);
    VEX_Vpermps_ymm_ymm_ymmm256 => Exec::Function(permd);
    VEX_Vpermq_ymm_ymmm256_imm8 => Exec::Function(permq);
    VEX_Vpermpd_ymm_ymmm256_imm8 => Exec::Function(permq);
    VEX_Vpermilps_xmm_xmm_xmmm128 => fast::pure::<PermD, 0, 0>();
    VEX_Vpermilpd_xmm_xmm_xmmm128 => fast::pure::<PermQ, 0, 0>();
    VEX_Vpsllvd_xmm_xmm_xmmm128 => fast::pure::<SllVD, 0, 0>();
    VEX_Vpsllvq_xmm_xmm_xmmm128 => fast::pure::<SllVQ, 0, 0>();
    VEX_Vpsrlvd_xmm_xmm_xmmm128 => fast::pure::<SrlVD, 0, 0>();
    VEX_Vpsrlvq_xmm_xmm_xmmm128 => fast::pure::<SrlVQ, 0, 0>();
    VEX_Vpsravd_xmm_xmm_xmmm128 => fast::pure::<SraVD, 0, 0>();
    VEX_Vpblendd_xmm_xmm_xmmm128_imm8 => fast::pure::<sse4::BlendD, 4, 0>();
    VEX_Vpermilps_ymm_ymm_ymmm256 => fast::pure::<PermD, 0, 0>();
    VEX_Vpermilpd_ymm_ymm_ymmm256 => fast::pure::<PermQ, 0, 0>();
    VEX_Vpsllvd_ymm_ymm_ymmm256 => fast::pure::<SllVD, 0, 0>();
    VEX_Vpsllvq_ymm_ymm_ymmm256 => fast::pure::<SllVQ, 0, 0>();
    VEX_Vpsrlvd_ymm_ymm_ymmm256 => fast::pure::<SrlVD, 0, 0>();
    VEX_Vpsrlvq_ymm_ymm_ymmm256 => fast::pure::<SrlVQ, 0, 0>();
    VEX_Vpsravd_ymm_ymm_ymmm256 => fast::pure::<SraVD, 0, 0>();
    VEX_Vpblendd_ymm_ymm_ymmm256_imm8 => fast::pure::<sse4::BlendD, 4, 0>();
    VEX_Vpermilps_xmm_xmmm128_imm8 => fast::pure::<PermDImm, 0, 0>();
    VEX_Vpermilpd_xmm_xmmm128_imm8 => fast::pure::<PermQImm, 2, 0>();
    VEX_Vptest_xmm_xmmm128 => Exec::Function(test::<ALL>);
    VEX_Vtestps_xmm_xmmm128 => Exec::Function(test::<SIGNS32>);
    VEX_Vtestpd_xmm_xmmm128 => Exec::Function(test::<SIGNS64>);
    VEX_Vpermilps_ymm_ymmm256_imm8 => fast::pure::<PermDImm, 0, 0>();
    VEX_Vpermilpd_ymm_ymmm256_imm8 => fast::pure::<PermQImm, 2, 0>();
    VEX_Vptest_ymm_ymmm256 => Exec::Function(test::<ALL>);
    VEX_Vtestps_ymm_ymmm256 => Exec::Function(test::<SIGNS32>);
    VEX_Vtestpd_ymm_ymmm256 => Exec::Function(test::<SIGNS64>);
    VEX_Vblendvps_xmm_xmm_xmmm128_xmm => Exec::Function(blendv::<i32>);
    VEX_Vblendvpd_xmm_xmm_xmmm128_xmm => Exec::Function(blendv::<i64>);
    VEX_Vpblendvb_xmm_xmm_xmmm128_xmm => Exec::Function(blendv::<i8>);
    VEX_Vblendvps_ymm_ymm_ymmm256_ymm => Exec::Function(blendv::<i32>);
    VEX_Vblendvpd_ymm_ymm_ymmm256_ymm => Exec::Function(blendv::<i64>);
    VEX_Vpblendvb_ymm_ymm_ymmm256_ymm => Exec::Function(blendv::<i8>);
    VEX_Vmaskmovps_xmm_xmm_m128 => Exec::Function(maskmov_load::<4>);
    VEX_Vmaskmovps_m128_xmm_xmm => Exec::Function(maskmov_store::<4>);
    VEX_Vmaskmovps_ymm_ymm_m256 => Exec::Function(maskmov_load::<4>);
    VEX_Vmaskmovps_m256_ymm_ymm => Exec::Function(maskmov_store::<4>);
    VEX_Vmaskmovpd_xmm_xmm_m128 => Exec::Function(maskmov_load::<8>);
    VEX_Vmaskmovpd_m128_xmm_xmm => Exec::Function(maskmov_store::<8>);
    VEX_Vmaskmovpd_ymm_ymm_m256 => Exec::Function(maskmov_load::<8>);
    VEX_Vmaskmovpd_m256_ymm_ymm => Exec::Function(maskmov_store::<8>);
    VEX_Vpmaskmovd_xmm_xmm_m128 => Exec::Function(maskmov_load::<4>);
    VEX_Vpmaskmovd_m128_xmm_xmm => Exec::Function(maskmov_store::<4>);
    VEX_Vpmaskmovd_ymm_ymm_m256 => Exec::Function(maskmov_load::<4>);
    VEX_Vpmaskmovd_m256_ymm_ymm => Exec::Function(maskmov_store::<4>);
    VEX_Vpmaskmovq_xmm_xmm_m128 => Exec::Function(maskmov_load::<8>);
    VEX_Vpmaskmovq_m128_xmm_xmm => Exec::Function(maskmov_store::<8>);
    VEX_Vpmaskmovq_ymm_ymm_m256 => Exec::Function(maskmov_load::<8>);
    VEX_Vpmaskmovq_m256_ymm_ymm => Exec::Function(maskmov_store::<8>);
    VEX_Vpgatherdd_xmm_vm32x_xmm => Exec::Function(gather::<4, 4>);
    VEX_Vpgatherdd_ymm_vm32y_ymm => Exec::Function(gather::<4, 4>);
    VEX_Vgatherdps_xmm_vm32x_xmm => Exec::Function(gather::<4, 4>);
    VEX_Vgatherdps_ymm_vm32y_ymm => Exec::Function(gather::<4, 4>);
    VEX_Vpgatherdq_xmm_vm32x_xmm => Exec::Function(gather::<8, 4>);
    VEX_Vpgatherdq_ymm_vm32x_ymm => Exec::Function(gather::<8, 4>);
    VEX_Vgatherdpd_xmm_vm32x_xmm => Exec::Function(gather::<8, 4>);
    VEX_Vgatherdpd_ymm_vm32x_ymm => Exec::Function(gather::<8, 4>);
    VEX_Vpgatherqd_xmm_vm64x_xmm => Exec::Function(gather::<4, 8>);
    VEX_Vpgatherqd_xmm_vm64y_xmm => Exec::Function(gather::<4, 8>);
    VEX_Vgatherqps_xmm_vm64x_xmm => Exec::Function(gather::<4, 8>);
    VEX_Vgatherqps_xmm_vm64y_xmm => Exec::Function(gather::<4, 8>);
    VEX_Vpgatherqq_xmm_vm64x_xmm => Exec::Function(gather::<8, 8>);
    VEX_Vpgatherqq_ymm_vm64y_ymm => Exec::Function(gather::<8, 8>);
    VEX_Vgatherqpd_xmm_vm64x_xmm => Exec::Function(gather::<8, 8>);
    VEX_Vgatherqpd_ymm_vm64y_ymm => Exec::Function(gather::<8, 8>);
    VEX_Vcvtph2ps_xmm_xmmm64 => Exec::Function(from_half);
    VEX_Vcvtph2ps_ymm_xmmm128 => Exec::Function(from_half);
    VEX_Vcvtps2ph_xmmm64_xmm_imm8 => Exec::Function(to_half);
    VEX_Vcvtps2ph_xmmm128_ymm_imm8 => Exec::Function(to_half);
    VEX_Vinsertps_xmm_xmm_xmmm32_imm8 => Exec::Function(insertps);
};
