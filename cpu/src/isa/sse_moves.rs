//! SSE and SSE2 moves, shuffles between registers and memory, non-temporal stores.

use super::vector::{
    self, Pure, from_gpr, full, hot, hot_unaligned, narrow, pure, store, store_full, to_gpr,
};
use super::{Exec, Form, forms};
use crate::Cpu;
use crate::fpu::lanes::{Lane, build, lane_of, merge, with_lane};
use crate::state::gpr;
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::{Instruction, Register};

pure! {
    Take(a, b, _i) => b;
    Low32(a, b, _i) => merge(a, b, 32);
    Low64(a, b, _i) => merge(a, b, 64);
    High64(a, b, _i) => merge(b << 64, a, 64);
    HighToLow(a, b, _i) => merge(a, b >> 64, 64);
    ZeroHigh(a, b, _i) => b as u64 as u128;
    UpperHalf(a, b, _i) => b >> 64;
    MaskB(a, b, _i) => mask::<u8>(b), _mm_movemask_epi8;
    MaskD(a, b, _i) => mask::<u32>(b), _mm_movemask_ps;
    MaskQ(a, b, _i) => mask::<u64>(b), _mm_movemask_pd;
    DupLow64(a, b, _i) => b as u64 as u128 | b << 64;
    DupEven32(a, b, _i) => build::<u32>(|k| lane_of(b, k & 2));
    DupOdd32(a, b, _i) => build::<u32>(|k| lane_of(b, k | 1));
    InsertW(a, b, imm) => with_lane(a, imm as usize & 7, b as u16);
    ExtractW(a, b, imm) => lane_of::<u16>(b, imm as usize & 7) as u128;
}

/// The sign bits of the lanes.
#[inline(always)]
fn mask<L: Lane + Word>(b: u128) -> u128 {
    let lanes = L::split(b);
    let bits = lanes.as_ref().iter().enumerate();
    bits.fold(0, |m, (k, x)| m | ((x.u() >> (L::BITS - 1)) as u128) << k)
}

/// The number of a vector, MMX or x87 register.
pub(super) fn number(r: Register) -> usize {
    r.number() & 31
}

/// Segment and linear address of the implicit `[rDI]` operand.
pub(super) fn destination(cpu: &Cpu, i: &Instruction, size: usize) -> Result<(usize, u64), Trap> {
    use iced_x86::OpKind::*;
    let cut = match i.op0_kind() {
        MemorySegDI => 0xffff,
        MemorySegEDI => 0xffff_ffff,
        _ => u64::MAX,
    };
    let s = crate::operand::segment_number(i.memory_segment());
    Ok((s, cpu.linear(s, cpu.state.regs[gpr::RDI] & cut, size, true)?))
}

/// Stores those of `bytes` whose mask byte has its top bit set. All have to be writable, whatever the
/// mask, and eight by eight aligned where alignment is checked.
pub(super) fn store_halves(
    cpu: &mut Cpu,
    (s, la): (usize, u64),
    bytes: &[u8],
    mask: &[u8],
) -> Result<(), Trap> {
    let halves: Vec<u64> = (0..bytes.len() as u64).step_by(8).map(|k| cpu.step(la, k)).collect();
    for &la in &halves {
        cpu.probe(s, la, 8, mmu::AccessKind::Write)?;
    }
    for (la, (bytes, mask)) in halves.iter().zip(bytes.chunks(8).zip(mask.chunks(8))) {
        if mask.iter().all(|m| m >> 7 == 0) {
            continue;
        }
        let mut new = [0; 8];
        cpu.load_bytes(s, *la, &mut new)?;
        for (k, new) in new.iter_mut().enumerate().filter(|(k, _)| mask[*k] >> 7 != 0) {
            *new = bytes[k];
        }
        cpu.store_bytes(s, *la, &new)?;
    }
    Ok(())
}

pub(super) fn maskmovdqu(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    cpu.check_sse()?;
    let at = destination(cpu, i, 16)?;
    let data = cpu.state.fpu.xmm[number(i.op1_register()) & 15].to_le_bytes();
    let mask = cpu.state.fpu.xmm[number(i.op2_register()) & 15].to_le_bytes();
    store_halves(cpu, at, &data, &mask)
}

pub(super) fn ldmxcsr(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    cpu.check_sse()?;
    let v = cpu.load_operand::<u32>(i)?;
    if v & !crate::state::fpu::MXCSR_MASK != 0 {
        return Err(Trap::GP0);
    }
    cpu.state.fpu.mxcsr = v;
    cpu.update_fallback();
    Ok(())
}

fn stmxcsr(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    cpu.check_sse()?;
    let v = cpu.state.fpu.mxcsr;
    cpu.store_operand(i, v)
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Movups_xmm_xmmm128 => Exec::Handler(hot_unaligned::<Take>);
    Movupd_xmm_xmmm128 => Exec::Handler(hot_unaligned::<Take>);
    Movdqu_xmm_xmmm128 => Exec::Handler(hot_unaligned::<Take>);
    Lddqu_xmm_m128 => Exec::Handler(hot_unaligned::<Take>);
    Movaps_xmm_xmmm128 => Exec::Handler(hot::<Take>);
    Movapd_xmm_xmmm128 => Exec::Handler(hot::<Take>);
    Movdqa_xmm_xmmm128 => Exec::Handler(hot::<Take>);
    Movntdqa_xmm_m128 => Exec::Handler(hot::<Take>);
    Movups_xmmm128_xmm => Exec::Handler(store_full::<Take, false>);
    Movupd_xmmm128_xmm => Exec::Handler(store_full::<Take, false>);
    Movdqu_xmmm128_xmm => Exec::Handler(store_full::<Take, false>);
    Movaps_xmmm128_xmm => Exec::Handler(store_full::<Take, true>);
    Movapd_xmmm128_xmm => Exec::Handler(store_full::<Take, true>);
    Movdqa_xmmm128_xmm => Exec::Handler(store_full::<Take, true>);
    Movntps_m128_xmm => Exec::Handler(store_full::<Take, true>);
    Movntpd_m128_xmm => Exec::Handler(store_full::<Take, true>);
    Movntdq_m128_xmm => Exec::Handler(store_full::<Take, true>);
    Movss_xmm_xmmm32 => Exec::Handler(load_scalar::<Low32, u32>);
    Movsd_xmm_xmmm64 => Exec::Handler(load_scalar::<Low64, u64>);
    Movss_xmmm32_xmm => Exec::Handler(store::<Low32, Take, u32>);
    Movsd_xmmm64_xmm => Exec::Handler(store::<Low64, Take, u64>);
    Movq_xmm_xmmm64 => Exec::Handler(narrow::<ZeroHigh, u64>);
    Movq_xmmm64_xmm => Exec::Handler(store::<ZeroHigh, Take, u64>);
    Movd_xmm_rm32 => Exec::Handler(from_gpr::<Take, u32, u32>);
    Movq_xmm_rm64 => Exec::Handler(from_gpr::<Take, u64, u64>);
    Movd_rm32_xmm => Exec::Handler(vector::to_gpr_or_memory::<Take, u32, u32>);
    Movq_rm64_xmm => Exec::Handler(vector::to_gpr_or_memory::<Take, u64, u64>);
    Movlps_xmm_m64 => Exec::Handler(narrow::<Low64, u64>);
    Movlpd_xmm_m64 => Exec::Handler(narrow::<Low64, u64>);
    Movhps_xmm_m64 => Exec::Handler(narrow::<High64, u64>);
    Movhpd_xmm_m64 => Exec::Handler(narrow::<High64, u64>);
    Movlhps_xmm_xmm => Exec::Handler(narrow::<High64, u64>);
    Movhlps_xmm_xmm => Exec::Handler(narrow::<HighToLow, u64>);
    Movlps_m64_xmm => Exec::Handler(store::<Take, Take, u64>);
    Movlpd_m64_xmm => Exec::Handler(store::<Take, Take, u64>);
    Movhps_m64_xmm => Exec::Handler(store::<Take, UpperHalf, u64>);
    Movhpd_m64_xmm => Exec::Handler(store::<Take, UpperHalf, u64>);
    Movddup_xmm_xmmm64 => Exec::Handler(narrow::<DupLow64, u64>);
    Movsldup_xmm_xmmm128 => Exec::Handler(full::<DupEven32>);
    Movshdup_xmm_xmmm128 => Exec::Handler(full::<DupOdd32>);
    Movmskps_r32_xmm => Exec::Handler(to_gpr::<MaskD, u32>);
    Movmskps_r64_xmm => Exec::Handler(to_gpr::<MaskD, u64>);
    Movmskpd_r32_xmm => Exec::Handler(to_gpr::<MaskQ, u32>);
    Movmskpd_r64_xmm => Exec::Handler(to_gpr::<MaskQ, u64>);
    Pmovmskb_r32_xmm => Exec::Handler(to_gpr::<MaskB, u32>);
    Pmovmskb_r64_xmm => Exec::Handler(to_gpr::<MaskB, u64>);
    Pinsrw_xmm_r32m16_imm8 => Exec::Handler(from_gpr::<InsertW, u32, u16>);
    Pinsrw_xmm_r64m16_imm8 => Exec::Handler(from_gpr::<InsertW, u64, u16>);
    Pextrw_r32_xmm_imm8 => Exec::Handler(to_gpr::<ExtractW, u32>);
    Pextrw_r64_xmm_imm8 => Exec::Handler(to_gpr::<ExtractW, u64>);
    Maskmovdqu_rDI_xmm_xmm => Exec::Function(maskmovdqu);
    Ldmxcsr_m32 => Exec::Function(ldmxcsr);
    Stmxcsr_m32 => Exec::Function(stmxcsr);
};

/// `MOVSS` and `MOVSD`: merge from a register, zero-extend from memory.
fn load_scalar<P: Pure, W: Word>(s: &super::Operands) -> crate::dispatch::Handler {
    match s.addressing {
        super::AddressingMode::Reg => narrow::<P, W>(s),
        _ => narrow::<Take, W>(s),
    }
}
