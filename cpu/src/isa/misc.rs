//! Sign extensions, flag instructions, stack frames, decimal adjustment, wide compare-exchange, NOPs.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::rm::try_flow;
use super::{Exec, Form, Operands, forms};
use crate::Cpu;
use crate::dispatch::{Flow, Handler, Semantics, deferred, handler};
use crate::mem::{Mem, get, put};
use crate::op::Op;
use crate::state::flags::{self, class};
use crate::state::{gpr, seg};
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::Instruction;
use mmu::TlbEntry;
use std::marker::PhantomData;

/// `NOP`.
pub(crate) struct Nop;
/// `CBW`, `CWDE`, `CDQE`: the low half of the accumulator, sign-extended to `W`.
pub(crate) struct ExtendAcc<W, S>(PhantomData<(W, S)>);
/// `CWD`, `CDQ`, `CQO`: the sign of the accumulator into rDX.
pub(crate) struct SignAcc<W>(PhantomData<W>);
/// `LEAVE` on a flat stack.
pub(crate) struct Leave;

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl Semantics for Nop {
    const PRESERVES: u32 = deferred::ALL;
    const SETS: u32 = 0;

    #[inline(always)]
    unsafe fn run<M: Mem>(_: *const Op, _: *mut Cpu, _: *mut TlbEntry) -> Flow {
        Flow::Next(1)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<W: Word, S: Word> Semantics for ExtendAcc<W, S> {
    const PRESERVES: u32 = deferred::ALL;
    #[inline(always)]
    unsafe fn run<M: Mem>(_: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        put(cpu, 0, W::of(get::<S>(cpu, 0).s() as u64));
        Flow::Next(1)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<W: Word> Semantics for SignAcc<W> {
    const PRESERVES: u32 = deferred::ALL;
    #[inline(always)]
    unsafe fn run<M: Mem>(_: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        put(cpu, 8 * gpr::RDX as u8, W::of((get::<W>(cpu, 0).s() >> 63) as u64));
        Flow::Next(1)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl Semantics for Leave {
    const PRESERVES: u32 = deferred::ALL;
    #[inline(always)]
    unsafe fn run<M: Mem>(_: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let bp = (*cpu).state.regs[gpr::RBP];
        let v = try_flow!(M::load::<u64>(cpu, tlb, bp));
        (*cpu).state.regs[gpr::RSP] = bp.wrapping_add(8);
        (*cpu).state.regs[gpr::RBP] = v;
        Flow::Next(1)
    }
}

fn nop(_: &Operands) -> Handler {
    handler::<Nop>()
}

fn extend<W: Word, S: Word>(_: &Operands) -> Handler {
    handler::<ExtendAcc<W, S>>()
}

fn sign<W: Word>(_: &Operands) -> Handler {
    handler::<SignAcc<W>>()
}

fn leave_64(_: &Operands) -> Handler {
    handler::<Leave>()
}

/// `LEAVE` on any stack.
fn leave<W: Word>(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let old = cpu.state.regs[gpr::RSP];
    let bp = cpu.state.regs[gpr::RBP];
    cpu.set_stack_pointer(bp);
    match cpu.pop(W::BYTES) {
        Ok(v) => {
            W::put(&mut cpu.state.regs[gpr::RBP], W::of(v));
            Ok(())
        }
        Err(t) => {
            cpu.state.regs[gpr::RSP] = old;
            Err(t)
        }
    }
}

/// `ENTER`.
fn enter<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let old = (cpu.state.regs[gpr::RSP], cpu.state.regs[gpr::RBP]);
    let done = enter_frame::<W>(cpu, i.immediate(0), i.immediate(1) as u32 & 31);
    if done.is_err() {
        (cpu.state.regs[gpr::RSP], cpu.state.regs[gpr::RBP]) = old;
    }
    done
}

fn enter_frame<W: Word>(cpu: &mut Cpu, size: u64, level: u32) -> Result<(), Trap> {
    let bp = cpu.state.regs[gpr::RBP];
    cpu.push(W::BYTES, W::of(bp).u())?;
    let frame = cpu.state.regs[gpr::RSP];
    for k in 1..level {
        let cut = u64::MAX >> (64 - 8 * cpu.stack_size());
        let at = bp.wrapping_sub(k as u64 * W::BYTES as u64) & cut;
        let la = cpu.linear(seg::SS, at, W::BYTES, false)?;
        let v = cpu.load_at::<W>(seg::SS, la)?;
        cpu.push(W::BYTES, v.u())?;
    }
    if level > 0 {
        cpu.push(W::BYTES, W::of(frame).u())?;
    }
    let sp = cpu.stack_pointer(-(size as i64));
    // The new top of the stack has to be writable.
    let la = cpu.linear(seg::SS, sp, W::BYTES, true)?;
    cpu.probe(seg::SS, la, W::BYTES, mmu::AccessKind::Write)?;
    cpu.set_stack_pointer(sp);
    W::put(&mut cpu.state.regs[gpr::RBP], W::of(frame));
    Ok(())
}

fn clc(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let s = cpu.state.flags.status();
    cpu.state.flags.set_status(s & !flags::CF);
    Ok(())
}

fn stc(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let s = cpu.state.flags.status();
    cpu.state.flags.set_status(s | flags::CF);
    Ok(())
}

fn cmc(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let s = cpu.state.flags.status();
    cpu.state.flags.set_status(s ^ flags::CF);
    Ok(())
}

fn cld(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    cpu.state.flags.system &= !flags::DF;
    Ok(())
}

fn std(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    cpu.state.flags.system |= flags::DF;
    Ok(())
}

fn lahf(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let ah = cpu.rflags() & 0xff;
    cpu.set_reg(iced_x86::Register::AH, ah);
    Ok(())
}

fn sahf(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let low = flags::CF | flags::PF | flags::AF | flags::ZF | flags::SF;
    let ah = cpu.reg(iced_x86::Register::AH);
    let s = cpu.state.flags.status();
    cpu.state.flags.set_status((s & !low) | (ah & low));
    Ok(())
}

fn salc(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let v = if cpu.state.flags.cf() { 0xff } else { 0 };
    cpu.set_reg(iced_x86::Register::AL, v);
    Ok(())
}

/// `XLAT`.
fn xlat(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let s = crate::operand::segment_number(i.memory_segment());
    let cut = u64::MAX >> (64 - 8 * crate::operand::address_size(i, cpu.is_64()));
    let off = cpu.state.regs[gpr::RBX].wrapping_add(cpu.state.regs[gpr::RAX] & 0xff) & cut;
    let la = cpu.linear(s, off, 1, false)?;
    let v = cpu.load_at::<u8>(s, la)?;
    cpu.set_reg(iced_x86::Register::AL, v as u64);
    Ok(())
}

/// `CMPXCHG8B`.
fn cmpxchg8b(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let pair = |h: u64, l: u64| h << 32 | (l & 0xffff_ffff);
    let r = cpu.state.regs;
    let want = pair(r[gpr::RDX], r[gpr::RAX]);
    let new = pair(r[gpr::RCX], r[gpr::RBX]);
    let mut old = 0;
    cpu.modify::<u64>(i, 0, |a| {
        old = a;
        if a == want { new } else { a }
    })?;
    if old != want {
        cpu.state.regs[gpr::RAX] = old as u32 as u64;
        cpu.state.regs[gpr::RDX] = old >> 32;
    }
    zero_flag(cpu, old == want);
    Ok(())
}

/// `CMPXCHG16B`: #GP(0) unless aligned.
fn cmpxchg16b(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let (s, la) = cpu.aligned_operand(i, 16, 16, true)?;
    let r = cpu.state.regs;
    let want = (r[gpr::RDX] as u128) << 64 | r[gpr::RAX] as u128;
    let new = (r[gpr::RCX] as u128) << 64 | r[gpr::RBX] as u128;
    // A write access even when the comparison fails.
    cpu.translate(la, mmu::AccessKind::Write)?;
    let mut b = [0; 16];
    cpu.load_bytes(s, la, &mut b)?;
    let old = u128::from_le_bytes(b);
    let store = if old == want { new } else { old };
    cpu.store_bytes(s, la, &store.to_le_bytes())?;
    if old != want {
        cpu.state.regs[gpr::RAX] = old as u64;
        cpu.state.regs[gpr::RDX] = (old >> 64) as u64;
    }
    zero_flag(cpu, old == want);
    Ok(())
}

/// `MOVDIRI`: a plain store, as there is no write combining to go past.
fn movdiri<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    cpu.store_operand(i, W::of(cpu.reg(i.op1_register())))
}

/// `MOVDIR64B`: stores 64 bytes at ES:register; #GP(0) unless they are aligned there.
fn movdir64b(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let (segment, from) = cpu.memory_operand(i, 64, false)?;
    let mut bytes = [0; 64];
    cpu.load_bytes(segment, from, &mut bytes)?;
    let to = cpu.linear(seg::ES, cpu.reg(i.op0_register()), 64, true)?;
    if to & 63 != 0 {
        return Err(Trap::GP0);
    }
    cpu.store_bytes(seg::ES, to, &bytes)
}

fn zero_flag(cpu: &mut Cpu, z: bool) {
    let keep = cpu.state.flags.status() & !flags::ZF;
    cpu.state.flags.set_status(keep | if z { flags::ZF } else { 0 });
}

/// `DAA` and `DAS`. SDM vol. 2.
fn decimal<const SUB: bool>(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let old = cpu.state.regs[gpr::RAX] as u8;
    let (old_cf, af) = (cpu.state.flags.cf(), cpu.state.flags.af());
    let low = old & 0xf > 9 || af;
    let high = old > 0x99 || old_cf;
    let by = if low { 6 } else { 0 } + if high { 0x60 } else { 0 };
    let res = if SUB { old.wrapping_sub(by) } else { old.wrapping_add(by) };
    let borrow = SUB && low && old < 6;
    u8::put(&mut cpu.state.regs[gpr::RAX], res);
    // OF is undefined: Intel's silicon clears it.
    cpu.state.flags.set_cc(class::LOGIC, res, 0u8);
    let s = cpu.state.flags.status();
    let cf = high || borrow;
    cpu.state.flags.set_status(s | cf as u64 | if low { flags::AF } else { 0 });
    Ok(())
}

/// `AAA` and `AAS`.
fn ascii<const SUB: bool>(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let ax = cpu.state.regs[gpr::RAX] as u16;
    let adjust = ax & 0xf > 9 || cpu.state.flags.af();
    let by = if adjust { 0x106 } else { 0 };
    let res = if SUB { ax.wrapping_sub(by) } else { ax.wrapping_add(by) };
    u16::put(&mut cpu.state.regs[gpr::RAX], res & 0xff0f);
    // OF, SF, ZF, PF are undefined: Intel's silicon has those of AL.
    cpu.state.flags.set_cc(class::LOGIC, res as u8 & 0xf, 0u8);
    let s = cpu.state.flags.status();
    cpu.state.flags.set_status(s | if adjust { flags::CF | flags::AF } else { 0 });
    Ok(())
}

/// `AAM`: #DE with a zero base.
fn aam(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let base = i.immediate(0) as u8;
    let al = cpu.state.regs[gpr::RAX] as u8;
    let (Some(q), Some(r)) = (al.checked_div(base), al.checked_rem(base)) else {
        return Err(Trap::DE);
    };
    u16::put(&mut cpu.state.regs[gpr::RAX], (q as u16) << 8 | r as u16);
    cpu.state.flags.set_cc(class::LOGIC, r, 0u8);
    Ok(())
}

/// `AAD`.
fn aad(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let ax = cpu.state.regs[gpr::RAX] as u16;
    let tens = ((ax >> 8) as u8).wrapping_mul(i.immediate(0) as u8);
    let res = (ax as u8).wrapping_add(tens);
    u16::put(&mut cpu.state.regs[gpr::RAX], res as u16);
    // CF, OF, AF are undefined: silicon has those of the addition.
    cpu.state.flags.set_cc(class::ADD, res, tens);
    Ok(())
}

/// `PUSHA`.
fn pusha<W: Word>(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let old = cpu.state.regs[gpr::RSP];
    for r in [0, 1, 2, 3, gpr::RSP, 5, 6, 7] {
        let v = if r == gpr::RSP { old } else { cpu.state.regs[r] };
        if let Err(t) = cpu.push(W::BYTES, W::of(v).u()) {
            cpu.state.regs[gpr::RSP] = old;
            return Err(t);
        }
    }
    Ok(())
}

/// `POPA`.
fn popa<W: Word>(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let mut new = cpu.state.regs;
    for (k, r) in [7, 6, 5, gpr::RSP, 3, 2, 1, 0].into_iter().enumerate() {
        let v = cpu.peek((k * W::BYTES) as u64, W::BYTES)?;
        if r != gpr::RSP {
            W::put(&mut new[r], W::of(v));
        }
    }
    cpu.state.regs = new;
    let sp = cpu.stack_pointer(8 * W::BYTES as i64);
    cpu.set_stack_pointer(sp);
    Ok(())
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Nopw => Exec::Handler(nop);
    Nopd => Exec::Handler(nop);
    Nopq => Exec::Handler(nop);
    Nop_rm16 => Exec::Handler(nop);
    Nop_rm32 => Exec::Handler(nop);
    Nop_rm64 => Exec::Handler(nop);
    Reservednop_rm16_r16_0F0D => Exec::Handler(nop);
    Reservednop_rm32_r32_0F0D => Exec::Handler(nop);
    Reservednop_rm64_r64_0F0D => Exec::Handler(nop);
    Reservednop_rm16_r16_0F18 => Exec::Handler(nop);
    Reservednop_rm32_r32_0F18 => Exec::Handler(nop);
    Reservednop_rm64_r64_0F18 => Exec::Handler(nop);
    Reservednop_rm16_r16_0F19 => Exec::Handler(nop);
    Reservednop_rm32_r32_0F19 => Exec::Handler(nop);
    Reservednop_rm64_r64_0F19 => Exec::Handler(nop);
    Reservednop_rm16_r16_0F1A => Exec::Handler(nop);
    Reservednop_rm32_r32_0F1A => Exec::Handler(nop);
    Reservednop_rm64_r64_0F1A => Exec::Handler(nop);
    Reservednop_rm16_r16_0F1B => Exec::Handler(nop);
    Reservednop_rm32_r32_0F1B => Exec::Handler(nop);
    Reservednop_rm64_r64_0F1B => Exec::Handler(nop);
    Reservednop_rm16_r16_0F1C => Exec::Handler(nop);
    Reservednop_rm32_r32_0F1C => Exec::Handler(nop);
    Reservednop_rm64_r64_0F1C => Exec::Handler(nop);
    Reservednop_rm16_r16_0F1D => Exec::Handler(nop);
    Reservednop_rm32_r32_0F1D => Exec::Handler(nop);
    Reservednop_rm64_r64_0F1D => Exec::Handler(nop);
    Reservednop_rm16_r16_0F1E => Exec::Handler(nop);
    Reservednop_rm32_r32_0F1E => Exec::Handler(nop);
    Reservednop_rm64_r64_0F1E => Exec::Handler(nop);
    Reservednop_rm16_r16_0F1F => Exec::Handler(nop);
    Reservednop_rm32_r32_0F1F => Exec::Handler(nop);
    Reservednop_rm64_r64_0F1F => Exec::Handler(nop);
    Endbr64 => Exec::Handler(nop);
    Endbr32 => Exec::Handler(nop);
    // No shadow stacks: a no-operation in the space reserved for hints.
    Rdsspd_r32 => Exec::Handler(nop);
    Rdsspq_r64 => Exec::Handler(nop);
    Prefetchnta_m8 => Exec::Handler(nop);
    Prefetcht0_m8 => Exec::Handler(nop);
    Prefetcht1_m8 => Exec::Handler(nop);
    Prefetcht2_m8 => Exec::Handler(nop);
    Prefetchw_m8 => Exec::Handler(nop);
    Prefetch_m8 => Exec::Handler(nop);
    Prefetchwt1_m8 => Exec::Handler(nop);
    Prefetchit0_m8 => Exec::Handler(nop);
    Prefetchit1_m8 => Exec::Handler(nop);
    Prefetchreserved3_m8 => Exec::Handler(nop);
    Prefetchreserved4_m8 => Exec::Handler(nop);
    Prefetchreserved5_m8 => Exec::Handler(nop);
    Prefetchreserved6_m8 => Exec::Handler(nop);
    Prefetchreserved7_m8 => Exec::Handler(nop);
    Lfence => Exec::Handler(nop);
    Mfence => Exec::Handler(nop);
    Sfence => Exec::Handler(nop);
    Lfence_E9 => Exec::Handler(nop);
    Lfence_EA => Exec::Handler(nop);
    Lfence_EB => Exec::Handler(nop);
    Lfence_EC => Exec::Handler(nop);
    Lfence_ED => Exec::Handler(nop);
    Lfence_EE => Exec::Handler(nop);
    Lfence_EF => Exec::Handler(nop);
    Mfence_F1 => Exec::Handler(nop);
    Mfence_F2 => Exec::Handler(nop);
    Mfence_F3 => Exec::Handler(nop);
    Mfence_F4 => Exec::Handler(nop);
    Mfence_F5 => Exec::Handler(nop);
    Mfence_F6 => Exec::Handler(nop);
    Mfence_F7 => Exec::Handler(nop);
    Sfence_F9 => Exec::Handler(nop);
    Sfence_FA => Exec::Handler(nop);
    Sfence_FB => Exec::Handler(nop);
    Sfence_FC => Exec::Handler(nop);
    Sfence_FD => Exec::Handler(nop);
    Sfence_FE => Exec::Handler(nop);
    Sfence_FF => Exec::Handler(nop);
    Cbw => Exec::Handler(extend::<u16, u8>);
    Cwde => Exec::Handler(extend::<u32, u16>);
    Cdqe => Exec::Handler(extend::<u64, u32>);
    Cwd => Exec::Handler(sign::<u16>);
    Cdq => Exec::Handler(sign::<u32>);
    Cqo => Exec::Handler(sign::<u64>);
    Leaveq => Exec::Handler(leave_64);
    Leaved => Exec::Function(leave::<u32>);
    Leavew => Exec::Function(leave::<u16>);
    Enterq_imm16_imm8 => Exec::Function(enter::<u64>);
    Enterd_imm16_imm8 => Exec::Function(enter::<u32>);
    Enterw_imm16_imm8 => Exec::Function(enter::<u16>);
    Clc => Exec::Function(clc);
    Stc => Exec::Function(stc);
    Cmc => Exec::Function(cmc);
    Cld => Exec::Function(cld);
    Std => Exec::Function(std);
    Lahf => Exec::Function(lahf);
    Sahf => Exec::Function(sahf);
    Salc => Exec::Function(salc);
    Xlat_m8 => Exec::Function(xlat);
    Cmpxchg8b_m64 => Exec::Function(cmpxchg8b);
    Cmpxchg16b_m128 => Exec::Function(cmpxchg16b);
    Movdiri_m32_r32 => Exec::Function(movdiri::<u32>);
    Movdiri_m64_r64 => Exec::Function(movdiri::<u64>);
    Movdir64b_r16_m512 => Exec::Function(movdir64b);
    Movdir64b_r32_m512 => Exec::Function(movdir64b);
    Movdir64b_r64_m512 => Exec::Function(movdir64b);
    Daa => Exec::Function(decimal::<false>);
    Das => Exec::Function(decimal::<true>);
    Aaa => Exec::Function(ascii::<false>);
    Aas => Exec::Function(ascii::<true>);
    Aam_imm8 => Exec::Function(aam);
    Aad_imm8 => Exec::Function(aad);
    Pushaw => Exec::Function(pusha::<u16>);
    Pushad => Exec::Function(pusha::<u32>);
    Popaw => Exec::Function(popa::<u16>);
    Popad => Exec::Function(popa::<u32>);
};
