//! MMX: the marker types of SSE2 on the significands of the x87 registers.
//!
//! A 64-bit operation is the 128-bit one on zero-extended operands where lanes do not meet; packing and
//! unpacking are placed so that the low half comes out right.

use super::sse_moves::{destination, number, store_halves};
use super::vector::{Pure, pure};
use super::{Exec, Form, forms, sse_int as int, sse_moves as mov};
use crate::Cpu;
use crate::fpu::lanes::{build, lane_of};
use crate::fpu::soft::Env;
use crate::isa::sse_float as float;
use crate::isa::vector::Floating;
use crate::state::control::{CR0_EM, CR0_TS};
use crate::state::fpu::F80;
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::{Instruction, OpKind};

type Done = Result<(), Trap>;

pure! {
    UnpackHigh8(a, b, imm) => int::UnpackLBW::run(a, b, imm) >> 64;
    UnpackHigh16(a, b, imm) => int::UnpackLWD::run(a, b, imm) >> 64;
    UnpackHigh32(a, b, imm) => int::UnpackLDQ::run(a, b, imm) >> 64;
    ShufW(a, b, imm) => build::<u16>(|k| lane_of(b, (imm >> (2 * (k & 3)) & 3) as usize));
    InsertW4(a, b, imm) => mov::InsertW::run(a, b, imm & 3);
    ExtractW4(a, b, imm) => mov::ExtractW::run(a, b, imm & 3);
}

/// Packs both operands, which are one 128-bit one.
pub(super) struct Packs<P>(std::marker::PhantomData<P>);

impl<P: Pure> Pure for Packs<P> {
    fn definition(a: u128, b: u128, imm: u8) -> u128 {
        P::run(a | b << 64, 0, imm)
    }
}

impl Cpu {
    /// #UD, #NM or #MF, if MMX instructions may not run.
    pub(crate) fn check_mmx(&mut self) -> Done {
        if self.state.sys.cr0 & CR0_EM != 0 {
            return Err(Trap::UD);
        }
        if self.state.sys.cr0 & CR0_TS != 0 {
            return Err(Trap::NM);
        }
        self.x87_pending()
    }

    /// What every MMX instruction but EMMS does to the x87: TOP is 0, no register is empty.
    pub(crate) fn enter_mmx(&mut self) {
        self.state.fpu.set_top(0);
        self.state.fpu.set_tags(0xff);
    }

    /// Writes an MMX register.
    pub(crate) fn set_mm(&mut self, n: usize, v: u64) {
        self.state.fpu.set_value(n, F80 { m: v, se: 0xffff });
    }

    /// Reads an MMX register.
    pub(crate) fn mm(&self, n: usize) -> u64 {
        self.state.fpu.r[n & 7].m
    }
}

/// Operand `n`: MMX, XMM or general-purpose register, `SIZE` bytes of memory, or an immediate.
fn operand<const SIZE: usize>(cpu: &mut Cpu, i: &Instruction, n: u32) -> Result<u128, Trap> {
    match i.op_kind(n) {
        OpKind::Register => {
            let r = i.op_register(n);
            Ok(if r.is_gpr() {
                cpu.reg(r) as u128
            } else if r.is_xmm() {
                cpu.state.fpu.xmm[number(r) & 15]
            } else {
                cpu.mm(number(r)) as u128
            })
        }
        OpKind::Memory => {
            let align = if SIZE == 16 { 16 } else { 1 };
            let (s, la) = cpu.aligned_operand(i, SIZE, align, false)?;
            let mut b = [0; 16];
            cpu.load_bytes(s, la, &mut b[..SIZE])?;
            Ok(u128::from_le_bytes(b))
        }
        _ => Ok(i.immediate(n) as u8 as u128),
    }
}

fn immediate(i: &Instruction) -> u8 {
    let last = i.op_count() - 1;
    if i.op_kind(last) == OpKind::Immediate8 { i.immediate8() } else { 0 }
}

/// `MM = P(MM, operand, imm)`, the operand in `SIZE` bytes of memory or a register.
pub(super) fn binary<P: Pure, const SIZE: usize>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_mmx()?;
    let b = operand::<SIZE>(cpu, i, 1)?;
    cpu.enter_mmx();
    let d = number(i.op0_register());
    let a = cpu.mm(d) as u128;
    cpu.set_mm(d, P::run(a, b, immediate(i)) as u64);
    Ok(())
}

/// `general-purpose register or memory = P(MM, imm)`.
fn export<P: Pure, W: Word>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_mmx()?;
    let v = P::run(0, cpu.mm(number(i.op1_register())) as u128, immediate(i));
    // TOP is 0 on Intel's silicon also where a store faults.
    cpu.state.fpu.set_top(0);
    cpu.write(i, 0, W::of(v as u64))?;
    cpu.enter_mmx();
    Ok(())
}

/// `MOVQ mm/m64, mm`, `MOVNTQ`.
fn store(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_mmx()?;
    let v = cpu.mm(number(i.op1_register()));
    cpu.state.fpu.set_top(0);
    if i.op0_kind() == OpKind::Memory {
        cpu.store_operand(i, v)?;
    }
    cpu.enter_mmx();
    if i.op0_kind() == OpKind::Register {
        cpu.set_mm(number(i.op0_register()), v);
    }
    Ok(())
}

fn movq2dq(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_sse()?;
    cpu.x87_pending()?;
    let v = cpu.mm(number(i.op1_register()));
    cpu.enter_mmx();
    cpu.state.fpu.xmm[number(i.op0_register()) & 15] = v as u128;
    Ok(())
}

fn movdq2q(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_sse()?;
    cpu.x87_pending()?;
    let v = cpu.state.fpu.xmm[number(i.op1_register()) & 15] as u64;
    cpu.enter_mmx();
    cpu.set_mm(number(i.op0_register()), v);
    Ok(())
}

fn maskmovq(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_mmx()?;
    let at = destination(cpu, i, 8)?;
    let data = cpu.mm(number(i.op1_register())).to_le_bytes();
    let mask = cpu.mm(number(i.op2_register())).to_le_bytes();
    // Silicon is in MMX mode also where the store faults.
    cpu.enter_mmx();
    store_halves(cpu, at, &data, &mask)
}

fn emms(cpu: &mut Cpu, _: &Instruction) -> Done {
    cpu.check_mmx()?;
    cpu.state.fpu.set_top(0);
    cpu.state.fpu.set_tags(0);
    Ok(())
}

/// `XMM = P(XMM, MM or m64)`; memory leaves the x87 state alone.
fn to_xmm<P: Floating>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_sse()?;
    if i.op1_kind() == OpKind::Register {
        cpu.x87_pending()?;
    }
    let b = operand::<8>(cpu, i, 1)?;
    let d = number(i.op0_register()) & 15;
    let mut e = Env::sse(cpu.state.fpu.mxcsr);
    let r = P::run(&mut e, cpu.state.fpu.xmm[d], b, 0);
    if i.op1_kind() == OpKind::Register {
        cpu.enter_mmx();
    }
    cpu.commit_simd(&e)?;
    cpu.state.fpu.xmm[d] = r;
    Ok(())
}

/// `MM = P(XMM or memory)`.
fn from_xmm<P: Floating, const SIZE: usize>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_sse()?;
    cpu.x87_pending()?;
    let b = operand::<SIZE>(cpu, i, 1)?;
    let mut e = Env::sse(cpu.state.fpu.mxcsr);
    let r = P::run(&mut e, 0, b, 0);
    // Silicon is in MMX mode also where the conversion faults.
    cpu.enter_mmx();
    cpu.commit_simd(&e)?;
    cpu.set_mm(number(i.op0_register()), r as u64);
    Ok(())
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Emms => Exec::Function(emms);
    Movd_mm_rm32 => Exec::Function(binary::<mov::Take, 4>);
    Movq_mm_rm64 => Exec::Function(binary::<mov::Take, 8>);
    Movq_mm_mmm64 => Exec::Function(binary::<mov::Take, 8>);
    Movd_rm32_mm => Exec::Function(export::<mov::Take, u32>);
    Movq_rm64_mm => Exec::Function(export::<mov::Take, u64>);
    Movq_mmm64_mm => Exec::Function(store);
    Movntq_m64_mm => Exec::Function(store);
    Movq2dq_xmm_mm => Exec::Function(movq2dq);
    Movdq2q_mm_xmm => Exec::Function(movdq2q);
    Maskmovq_rDI_mm_mm => Exec::Function(maskmovq);
    Pmovmskb_r32_mm => Exec::Function(export::<mov::MaskB, u32>);
    Pmovmskb_r64_mm => Exec::Function(export::<mov::MaskB, u64>);
    Pextrw_r32_mm_imm8 => Exec::Function(export::<ExtractW4, u32>);
    Pextrw_r64_mm_imm8 => Exec::Function(export::<ExtractW4, u64>);
    Pinsrw_mm_r32m16_imm8 => Exec::Function(binary::<InsertW4, 2>);
    Pinsrw_mm_r64m16_imm8 => Exec::Function(binary::<InsertW4, 2>);
    Pshufw_mm_mmm64_imm8 => Exec::Function(binary::<ShufW, 8>);
    Punpcklbw_mm_mmm32 => Exec::Function(binary::<int::UnpackLBW, 4>);
    Punpcklwd_mm_mmm32 => Exec::Function(binary::<int::UnpackLWD, 4>);
    Punpckldq_mm_mmm32 => Exec::Function(binary::<int::UnpackLDQ, 4>);
    Punpckhbw_mm_mmm64 => Exec::Function(binary::<UnpackHigh8, 8>);
    Punpckhwd_mm_mmm64 => Exec::Function(binary::<UnpackHigh16, 8>);
    Punpckhdq_mm_mmm64 => Exec::Function(binary::<UnpackHigh32, 8>);
    Packsswb_mm_mmm64 => Exec::Function(binary::<Packs<int::PackSSWB>, 8>);
    Packuswb_mm_mmm64 => Exec::Function(binary::<Packs<int::PackUSWB>, 8>);
    Packssdw_mm_mmm64 => Exec::Function(binary::<Packs<int::PackSSDW>, 8>);
    Pand_mm_mmm64 => Exec::Function(binary::<int::And, 8>);
    Pandn_mm_mmm64 => Exec::Function(binary::<int::AndNot, 8>);
    Por_mm_mmm64 => Exec::Function(binary::<int::Or, 8>);
    Pxor_mm_mmm64 => Exec::Function(binary::<int::Xor, 8>);
    Paddb_mm_mmm64 => Exec::Function(binary::<int::AddB, 8>);
    Paddw_mm_mmm64 => Exec::Function(binary::<int::AddW, 8>);
    Paddd_mm_mmm64 => Exec::Function(binary::<int::AddD, 8>);
    Paddq_mm_mmm64 => Exec::Function(binary::<int::AddQ, 8>);
    Paddsb_mm_mmm64 => Exec::Function(binary::<int::AddSB, 8>);
    Paddsw_mm_mmm64 => Exec::Function(binary::<int::AddSW, 8>);
    Paddusb_mm_mmm64 => Exec::Function(binary::<int::AddUSB, 8>);
    Paddusw_mm_mmm64 => Exec::Function(binary::<int::AddUSW, 8>);
    Psubb_mm_mmm64 => Exec::Function(binary::<int::SubB, 8>);
    Psubw_mm_mmm64 => Exec::Function(binary::<int::SubW, 8>);
    Psubd_mm_mmm64 => Exec::Function(binary::<int::SubD, 8>);
    Psubq_mm_mmm64 => Exec::Function(binary::<int::SubQ, 8>);
    Psubsb_mm_mmm64 => Exec::Function(binary::<int::SubSB, 8>);
    Psubsw_mm_mmm64 => Exec::Function(binary::<int::SubSW, 8>);
    Psubusb_mm_mmm64 => Exec::Function(binary::<int::SubUSB, 8>);
    Psubusw_mm_mmm64 => Exec::Function(binary::<int::SubUSW, 8>);
    Pmullw_mm_mmm64 => Exec::Function(binary::<int::MulLW, 8>);
    Pmulhw_mm_mmm64 => Exec::Function(binary::<int::MulHW, 8>);
    Pmulhuw_mm_mmm64 => Exec::Function(binary::<int::MulHUW, 8>);
    Pmuludq_mm_mmm64 => Exec::Function(binary::<int::MulUDQ, 8>);
    Pmaddwd_mm_mmm64 => Exec::Function(binary::<int::MulAddWD, 8>);
    Psadbw_mm_mmm64 => Exec::Function(binary::<int::SadBW, 8>);
    Pavgb_mm_mmm64 => Exec::Function(binary::<int::AvgB, 8>);
    Pavgw_mm_mmm64 => Exec::Function(binary::<int::AvgW, 8>);
    Pminub_mm_mmm64 => Exec::Function(binary::<int::MinUB, 8>);
    Pmaxub_mm_mmm64 => Exec::Function(binary::<int::MaxUB, 8>);
    Pminsw_mm_mmm64 => Exec::Function(binary::<int::MinSW, 8>);
    Pmaxsw_mm_mmm64 => Exec::Function(binary::<int::MaxSW, 8>);
    Pcmpeqb_mm_mmm64 => Exec::Function(binary::<int::CmpEqB, 8>);
    Pcmpeqw_mm_mmm64 => Exec::Function(binary::<int::CmpEqW, 8>);
    Pcmpeqd_mm_mmm64 => Exec::Function(binary::<int::CmpEqD, 8>);
    Pcmpgtb_mm_mmm64 => Exec::Function(binary::<int::CmpGtB, 8>);
    Pcmpgtw_mm_mmm64 => Exec::Function(binary::<int::CmpGtW, 8>);
    Pcmpgtd_mm_mmm64 => Exec::Function(binary::<int::CmpGtD, 8>);
    Psllw_mm_mmm64 => Exec::Function(binary::<int::SllW, 8>);
    Pslld_mm_mmm64 => Exec::Function(binary::<int::SllD, 8>);
    Psllq_mm_mmm64 => Exec::Function(binary::<int::SllQ, 8>);
    Psrlw_mm_mmm64 => Exec::Function(binary::<int::SrlW, 8>);
    Psrld_mm_mmm64 => Exec::Function(binary::<int::SrlD, 8>);
    Psrlq_mm_mmm64 => Exec::Function(binary::<int::SrlQ, 8>);
    Psraw_mm_mmm64 => Exec::Function(binary::<int::SraW, 8>);
    Psrad_mm_mmm64 => Exec::Function(binary::<int::SraD, 8>);
    Psllw_mm_imm8 => Exec::Function(binary::<int::SllW, 8>);
    Pslld_mm_imm8 => Exec::Function(binary::<int::SllD, 8>);
    Psllq_mm_imm8 => Exec::Function(binary::<int::SllQ, 8>);
    Psrlw_mm_imm8 => Exec::Function(binary::<int::SrlW, 8>);
    Psrld_mm_imm8 => Exec::Function(binary::<int::SrlD, 8>);
    Psrlq_mm_imm8 => Exec::Function(binary::<int::SrlQ, 8>);
    Psraw_mm_imm8 => Exec::Function(binary::<int::SraW, 8>);
    Psrad_mm_imm8 => Exec::Function(binary::<int::SraD, 8>);
    Cvtpi2ps_xmm_mmm64 => Exec::Function(to_xmm::<float::PI2PS>);
    Cvtpi2pd_xmm_mmm64 => Exec::Function(to_xmm::<float::DQ2PD>);
    Cvtps2pi_mm_xmmm64 => Exec::Function(from_xmm::<float::PS2PI, 8>);
    Cvttps2pi_mm_xmmm64 => Exec::Function(from_xmm::<float::TPS2PI, 8>);
    Cvtpd2pi_mm_xmmm128 => Exec::Function(from_xmm::<float::PD2DQ, 16>);
    Cvttpd2pi_mm_xmmm128 => Exec::Function(from_xmm::<float::TPD2DQ, 16>);
};
