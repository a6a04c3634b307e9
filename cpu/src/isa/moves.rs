//! MOV, MOVZX, MOVSX, LEA, PUSH, POP, XCHG and their like.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::rm::{RegD, RegS, Rm, by_rm, try_flow};
use super::{AddressingMode, Exec, Form, Operands, forms};
use crate::Cpu;
use crate::dispatch::{Flow, Handler, Semantics, deferred, handler, uses};
use crate::mem::{Address, Base, General, Index, Mem, get, put};
use crate::op::Op;
use crate::state::gpr;
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::Instruction;
use mmu::TlbEntry;
use std::marker::PhantomData;

/// `MOV r/m, reg`.
pub(crate) struct MovRmReg<A, W>(PhantomData<(A, W)>);
/// `MOV reg, r/m`.
pub(crate) struct MovRegRm<A, W>(PhantomData<(A, W)>);
/// `MOV r/m, imm`.
pub(crate) struct MovRmImm<A, W>(PhantomData<(A, W)>);
/// `MOVZX`, `MOVSX`, `MOVSXD`: a source of width `S` to a register of width `W`.
pub(crate) struct Extend<A, W, S, const SIGNED: bool>(PhantomData<(A, W, S)>);
/// `LEA`.
pub(crate) struct Lea<A, W>(PhantomData<(A, W)>);
/// `PUSH` of a register or memory operand on a flat stack.
pub(crate) struct Push<A, W>(PhantomData<(A, W)>);
/// `PUSH imm` on a flat stack.
pub(crate) struct PushImm<W>(PhantomData<W>);
/// `POP reg` from a flat stack.
pub(crate) struct PopReg<W>(PhantomData<W>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word> Semantics for MovRmReg<A, W> {
    const PRESERVES: u32 = deferred::ALL;
    const READS: u32 = A::ADDRESS | uses::SRC;
    const SETS: u32 = A::SETS;
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        try_flow!(A::store::<M, W>(o, cpu, tlb, get(cpu, (*o).src)));
        Flow::Next(1)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word> Semantics for MovRegRm<A, W> {
    const PRESERVES: u32 = deferred::ALL;
    const READS: u32 = A::READS;
    const SETS: u32 = uses::DST;
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let v = try_flow!(A::load::<M, W>(o, cpu, tlb));
        put(cpu, (*o).dst, v);
        Flow::Next(1)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word> Semantics for MovRmImm<A, W> {
    const PRESERVES: u32 = deferred::ALL;
    const READS: u32 = A::ADDRESS;
    const SETS: u32 = A::SETS;
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        try_flow!(A::store::<M, W>(o, cpu, tlb, W::of((*o).imm)));
        Flow::Next(1)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, S: Word, const SIGNED: bool> Semantics for Extend<A, W, S, SIGNED> {
    const PRESERVES: u32 = deferred::ALL;
    const READS: u32 = A::READS;
    const SETS: u32 = uses::DST;
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let v = try_flow!(A::load::<M, S>(o, cpu, tlb));
        put(cpu, (*o).dst, W::of(if SIGNED { v.s() as u64 } else { v.u() }));
        Flow::Next(1)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Address, W: Word> Semantics for Lea<A, W> {
    const PRESERVES: u32 = deferred::ALL;
    const READS: u32 = A::READS;
    const SETS: u32 = uses::DST;
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        put(cpu, (*o).dst, W::of(A::offset(&*o, cpu)));
        Flow::Next(1)
    }
}

#[inline(always)]
unsafe fn push<M: Mem, W: Word>(cpu: *mut Cpu, tlb: *mut TlbEntry, v: W) -> Flow {
    // Only 64-bit mode pushes 64 bits, and it pushes no 32.
    let sp = W::of((*cpu).state.regs[gpr::RSP].wrapping_sub(W::BYTES as u64)).u();
    try_flow!(M::store(cpu, tlb, sp, v));
    (*cpu).state.regs[gpr::RSP] = sp;
    Flow::Next(1)
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word> Semantics for Push<A, W> {
    const PRESERVES: u32 = deferred::ALL;
    const READS: u32 = A::READS | uses::RSP;
    const SETS: u32 = uses::RSP;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let v = try_flow!(A::load::<M, W>(o, cpu, tlb));
        push::<M, W>(cpu, tlb, v)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<W: Word> Semantics for PushImm<W> {
    const PRESERVES: u32 = deferred::ALL;
    const READS: u32 = uses::RSP;
    const SETS: u32 = uses::RSP;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        push::<M, W>(cpu, tlb, W::of((*o).imm))
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<W: Word> Semantics for PopReg<W> {
    const PRESERVES: u32 = deferred::ALL;
    const READS: u32 = uses::RSP;
    const SETS: u32 = uses::DST | uses::RSP;
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let sp = (*cpu).state.regs[gpr::RSP];
        let v = try_flow!(M::load::<W>(cpu, tlb, sp));
        (*cpu).state.regs[gpr::RSP] = W::of(sp.wrapping_add(W::BYTES as u64)).u();
        put(cpu, (*o).dst, v);
        Flow::Next(1)
    }
}

fn mov_rm_reg<W: Word>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegD, |A| MovRmReg<A, W>)
}

fn mov_reg_rm<W: Word>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegS, |A| MovRegRm<A, W>)
}

fn mov_rm_imm<W: Word>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegD, |A| MovRmImm<A, W>)
}

fn zx<W: Word, S: Word>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegS, |A| Extend<A, W, S, false>)
}

fn sx<W: Word, S: Word>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegS, |A| Extend<A, W, S, true>)
}

fn lea<W: Word>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Base => handler::<Lea<Base, W>>(),
        AddressingMode::Index => handler::<Lea<Index, W>>(),
        _ => handler::<Lea<General, W>>(),
    }
}

fn push_rm<W: Word>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegD, |A| Push<A, W>)
}

fn push_imm<W: Word>(_: &Operands) -> Handler {
    handler::<PushImm<W>>()
}

fn pop_reg<W: Word>(_: &Operands) -> Handler {
    handler::<PopReg<W>>()
}

/// `PUSH` on any stack.
fn push_any<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let v = cpu.read::<W>(i, 0)?;
    cpu.push(W::BYTES, v.u())
}

/// `POP r/m` from any stack. The address is computed with the stack pointer already moved.
fn pop_any<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let v = cpu.peek(0, W::BYTES)?;
    let old = cpu.state.regs[gpr::RSP];
    let sp = cpu.stack_pointer(W::BYTES as i64);
    cpu.set_stack_pointer(sp);
    let done = cpu.write(i, 0, W::of(v));
    if done.is_err() {
        cpu.state.regs[gpr::RSP] = old;
    }
    done
}

/// `MOV` between the accumulator and a 64-bit absolute address.
fn mov_offset<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let v = cpu.read::<W>(i, 1)?;
    cpu.write(i, 0, v)
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Mov_rm8_r8 => Exec::Handler(mov_rm_reg::<u8>);
    Mov_rm16_r16 => Exec::Handler(mov_rm_reg::<u16>);
    Mov_rm32_r32 => Exec::Handler(mov_rm_reg::<u32>);
    Mov_rm64_r64 => Exec::Handler(mov_rm_reg::<u64>);
    Movnti_m32_r32 => Exec::Handler(mov_rm_reg::<u32>);
    Movnti_m64_r64 => Exec::Handler(mov_rm_reg::<u64>);
    Mov_r8_rm8 => Exec::Handler(mov_reg_rm::<u8>);
    Mov_r16_rm16 => Exec::Handler(mov_reg_rm::<u16>);
    Mov_r32_rm32 => Exec::Handler(mov_reg_rm::<u32>);
    Mov_r64_rm64 => Exec::Handler(mov_reg_rm::<u64>);
    Mov_r8_imm8 => Exec::Handler(mov_rm_imm::<u8>);
    Mov_r16_imm16 => Exec::Handler(mov_rm_imm::<u16>);
    Mov_r32_imm32 => Exec::Handler(mov_rm_imm::<u32>);
    Mov_r64_imm64 => Exec::Handler(mov_rm_imm::<u64>);
    Mov_rm8_imm8 => Exec::Handler(mov_rm_imm::<u8>);
    Mov_rm16_imm16 => Exec::Handler(mov_rm_imm::<u16>);
    Mov_rm32_imm32 => Exec::Handler(mov_rm_imm::<u32>);
    Mov_rm64_imm32 => Exec::Handler(mov_rm_imm::<u64>);
    Mov_AL_moffs8 => Exec::Function(mov_offset::<u8>);
    Mov_AX_moffs16 => Exec::Function(mov_offset::<u16>);
    Mov_EAX_moffs32 => Exec::Function(mov_offset::<u32>);
    Mov_RAX_moffs64 => Exec::Function(mov_offset::<u64>);
    Mov_moffs8_AL => Exec::Function(mov_offset::<u8>);
    Mov_moffs16_AX => Exec::Function(mov_offset::<u16>);
    Mov_moffs32_EAX => Exec::Function(mov_offset::<u32>);
    Mov_moffs64_RAX => Exec::Function(mov_offset::<u64>);
    Movzx_r16_rm8 => Exec::Handler(zx::<u16, u8>);
    Movzx_r32_rm8 => Exec::Handler(zx::<u32, u8>);
    Movzx_r64_rm8 => Exec::Handler(zx::<u64, u8>);
    Movzx_r16_rm16 => Exec::Handler(zx::<u16, u16>);
    Movzx_r32_rm16 => Exec::Handler(zx::<u32, u16>);
    Movzx_r64_rm16 => Exec::Handler(zx::<u64, u16>);
    Movsx_r16_rm8 => Exec::Handler(sx::<u16, u8>);
    Movsx_r32_rm8 => Exec::Handler(sx::<u32, u8>);
    Movsx_r64_rm8 => Exec::Handler(sx::<u64, u8>);
    Movsx_r16_rm16 => Exec::Handler(sx::<u16, u16>);
    Movsx_r32_rm16 => Exec::Handler(sx::<u32, u16>);
    Movsx_r64_rm16 => Exec::Handler(sx::<u64, u16>);
    Movsxd_r16_rm16 => Exec::Handler(sx::<u16, u16>);
    Movsxd_r32_rm32 => Exec::Handler(sx::<u32, u32>);
    Movsxd_r64_rm32 => Exec::Handler(sx::<u64, u32>);
    Lea_r16_m => Exec::Handler(lea::<u16>);
    Lea_r32_m => Exec::Handler(lea::<u32>);
    Lea_r64_m => Exec::Handler(lea::<u64>);
    Push_r64 => Exec::Handler(push_rm::<u64>);
    Push_rm64 => Exec::Handler(push_rm::<u64>);
    Pushq_imm32 => Exec::Handler(push_imm::<u64>);
    Pushq_imm8 => Exec::Handler(push_imm::<u64>);
    Push_r32 => Exec::Handler(push_rm::<u32>), segmented Exec::Function(push_any::<u32>);
    Push_rm32 => Exec::Handler(push_rm::<u32>), segmented Exec::Function(push_any::<u32>);
    Pushd_imm32 => Exec::Handler(push_imm::<u32>), segmented Exec::Function(push_any::<u32>);
    Pushd_imm8 => Exec::Handler(push_imm::<u32>), segmented Exec::Function(push_any::<u32>);
    Push_r16 => Exec::Function(push_any::<u16>);
    Push_rm16 => Exec::Function(push_any::<u16>);
    Push_imm16 => Exec::Function(push_any::<u16>);
    Pushw_imm8 => Exec::Function(push_any::<u16>);
    Pop_r64 => Exec::Handler(pop_reg::<u64>);
    Pop_r32 => Exec::Handler(pop_reg::<u32>), segmented Exec::Function(pop_any::<u32>);
    Pop_r16 => Exec::Function(pop_any::<u16>);
    Pop_rm64 => Exec::Function(pop_any::<u64>);
    Pop_rm32 => Exec::Function(pop_any::<u32>);
    Pop_rm16 => Exec::Function(pop_any::<u16>);
};
