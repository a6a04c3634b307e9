//! Sign extensions, flag instructions, stack frames, decimal adjustment, wide compare-exchange, NOPs.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::rm::try_flow;
use super::{Form, Make, Shape, forms};
use crate::dispatch::{Flow, Handler, Sem, handler, owed};
use crate::flags::{self, class};
use crate::mem::{Mem, get, put};
use crate::op::Op;
use crate::state::{Cpu, gpr, seg};
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::Instruction;
use mmu::TlbEntry;
use std::marker::PhantomData;

/// `NOP`.
pub struct Nop;
/// `CBW`, `CWDE`, `CDQE`: the low half of the accumulator, sign-extended to `W`.
pub struct ExtendAcc<W, S>(PhantomData<(W, S)>);
/// `CWD`, `CDQ`, `CQO`: the sign of the accumulator into rDX.
pub struct SignAcc<W>(PhantomData<W>);
/// `LEAVE` on a flat stack.
pub struct Leave;

impl Sem for Nop {
    const IGNORES: u32 = owed::ALL;
    const SETS: u32 = 0;

    #[inline(always)]
    unsafe fn run<M: Mem>(_: *const Op, _: *mut Cpu, _: *mut TlbEntry) -> Flow {
        Flow::Next(1)
    }
}

impl<W: Word, S: Word> Sem for ExtendAcc<W, S> {
    const IGNORES: u32 = owed::ALL;
    #[inline(always)]
    unsafe fn run<M: Mem>(_: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        put(cpu, 0, W::of(get::<S>(cpu, 0).s() as u64));
        Flow::Next(1)
    }
}

impl<W: Word> Sem for SignAcc<W> {
    const IGNORES: u32 = owed::ALL;
    #[inline(always)]
    unsafe fn run<M: Mem>(_: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        put(cpu, 8 * gpr::RDX as u8, W::of((get::<W>(cpu, 0).s() >> 63) as u64));
        Flow::Next(1)
    }
}

impl Sem for Leave {
    const IGNORES: u32 = owed::ALL;
    #[inline(always)]
    unsafe fn run<M: Mem>(_: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let bp = (*cpu).regs[gpr::RBP];
        let v = try_flow!(M::load::<u64>(cpu, tlb, bp));
        (*cpu).regs[gpr::RSP] = bp.wrapping_add(8);
        (*cpu).regs[gpr::RBP] = v;
        Flow::Next(1)
    }
}

fn nop(_: &Shape) -> Handler {
    handler::<Nop>()
}

fn extend<W: Word, S: Word>(_: &Shape) -> Handler {
    handler::<ExtendAcc<W, S>>()
}

fn sign<W: Word>(_: &Shape) -> Handler {
    handler::<SignAcc<W>>()
}

fn leave_64(_: &Shape) -> Handler {
    handler::<Leave>()
}

/// `LEAVE` on any stack.
fn leave<W: Word>(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let old = cpu.regs[gpr::RSP];
    let bp = cpu.regs[gpr::RBP];
    cpu.set_stack_pointer(bp);
    match cpu.pop(W::BYTES) {
        Ok(v) => {
            W::put(&mut cpu.regs[gpr::RBP], W::of(v));
            Ok(())
        }
        Err(t) => {
            cpu.regs[gpr::RSP] = old;
            Err(t)
        }
    }
}

/// `ENTER`.
fn enter<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let old = (cpu.regs[gpr::RSP], cpu.regs[gpr::RBP]);
    let done = enter_frame::<W>(cpu, i.immediate(0), i.immediate(1) as u32 & 31);
    if done.is_err() {
        (cpu.regs[gpr::RSP], cpu.regs[gpr::RBP]) = old;
    }
    done
}

fn enter_frame<W: Word>(cpu: &mut Cpu, size: u64, level: u32) -> Result<(), Trap> {
    let bp = cpu.regs[gpr::RBP];
    cpu.push(W::BYTES, W::of(bp).u())?;
    let frame = cpu.regs[gpr::RSP];
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
    W::put(&mut cpu.regs[gpr::RBP], W::of(frame));
    Ok(())
}

fn clc(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let s = cpu.status();
    cpu.set_status(s & !flags::CF);
    Ok(())
}

fn stc(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let s = cpu.status();
    cpu.set_status(s | flags::CF);
    Ok(())
}

fn cmc(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let s = cpu.status();
    cpu.set_status(s ^ flags::CF);
    Ok(())
}

fn cld(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    cpu.rflags_system &= !flags::DF;
    Ok(())
}

fn std(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    cpu.rflags_system |= flags::DF;
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
    let s = cpu.status();
    cpu.set_status((s & !low) | (ah & low));
    Ok(())
}

fn salc(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let v = if cpu.cf() { 0xff } else { 0 };
    cpu.set_reg(iced_x86::Register::AL, v);
    Ok(())
}

/// `XLAT`.
fn xlat(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let s = crate::operand::segment_number(i.memory_segment());
    let cut = u64::MAX >> (64 - 8 * crate::operand::address_size(i, cpu.is_64()));
    let off = cpu.regs[gpr::RBX].wrapping_add(cpu.regs[gpr::RAX] & 0xff) & cut;
    let la = cpu.linear(s, off, 1, false)?;
    let v = cpu.load_at::<u8>(s, la)?;
    cpu.set_reg(iced_x86::Register::AL, v as u64);
    Ok(())
}

/// `CMPXCHG8B`.
fn cmpxchg8b(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let pair = |h: u64, l: u64| h << 32 | (l & 0xffff_ffff);
    let r = cpu.regs;
    let want = pair(r[gpr::RDX], r[gpr::RAX]);
    let new = pair(r[gpr::RCX], r[gpr::RBX]);
    let mut old = 0;
    cpu.modify::<u64>(i, 0, |a| {
        old = a;
        if a == want { new } else { a }
    })?;
    if old != want {
        cpu.regs[gpr::RAX] = old as u32 as u64;
        cpu.regs[gpr::RDX] = old >> 32;
    }
    zero_flag(cpu, old == want);
    Ok(())
}

/// `CMPXCHG16B`: #GP(0) unless aligned.
fn cmpxchg16b(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let (s, la) = cpu.aligned_operand(i, 16, 16, true)?;
    let r = cpu.regs;
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
        cpu.regs[gpr::RAX] = old as u64;
        cpu.regs[gpr::RDX] = (old >> 64) as u64;
    }
    zero_flag(cpu, old == want);
    Ok(())
}

fn zero_flag(cpu: &mut Cpu, z: bool) {
    let keep = cpu.status() & !flags::ZF;
    cpu.set_status(keep | if z { flags::ZF } else { 0 });
}

/// `DAA` and `DAS`. SDM vol. 2.
fn decimal<const SUB: bool>(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let old = cpu.regs[gpr::RAX] as u8;
    let (old_cf, af) = (cpu.cf(), cpu.af());
    let low = old & 0xf > 9 || af;
    let high = old > 0x99 || old_cf;
    let by = if low { 6 } else { 0 } + if high { 0x60 } else { 0 };
    let res = if SUB { old.wrapping_sub(by) } else { old.wrapping_add(by) };
    let borrow = SUB && low && old < 6;
    u8::put(&mut cpu.regs[gpr::RAX], res);
    // OF is undefined: silicon has that of the addition or subtraction.
    let (class, src) = if SUB { (class::SUB, old) } else { (class::ADD, by) };
    cpu.set_cc(class, res, src);
    let s = cpu.status() & !(flags::CF | flags::AF);
    let cf = high || borrow;
    cpu.set_status(s | cf as u64 | if low { flags::AF } else { 0 });
    Ok(())
}

/// `AAA` and `AAS`.
fn ascii<const SUB: bool>(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let ax = cpu.regs[gpr::RAX] as u16;
    let adjust = ax & 0xf > 9 || cpu.af();
    let by = if adjust { 0x106 } else { 0 };
    let res = if SUB { ax.wrapping_sub(by) } else { ax.wrapping_add(by) };
    u16::put(&mut cpu.regs[gpr::RAX], res & 0xff0f);
    // OF, SF, ZF, PF are undefined: silicon has those of the sum before it is masked.
    let (class, src) = if SUB { (class::SUB, ax) } else { (class::ADD, by) };
    cpu.set_cc(class, res, src);
    let s = cpu.status() & !(flags::CF | flags::AF);
    cpu.set_status(s | if adjust { flags::CF | flags::AF } else { 0 });
    Ok(())
}

/// `AAM`: #DE with a zero base.
fn aam(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let base = i.immediate(0) as u8;
    let al = cpu.regs[gpr::RAX] as u8;
    let (Some(q), Some(r)) = (al.checked_div(base), al.checked_rem(base)) else {
        return Err(Trap::DE);
    };
    u16::put(&mut cpu.regs[gpr::RAX], (q as u16) << 8 | r as u16);
    cpu.set_cc(class::LOGIC, r, 0u8);
    Ok(())
}

/// `AAD`.
fn aad(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let ax = cpu.regs[gpr::RAX] as u16;
    let tens = ((ax >> 8) as u8).wrapping_mul(i.immediate(0) as u8);
    let res = (ax as u8).wrapping_add(tens);
    u16::put(&mut cpu.regs[gpr::RAX], res as u16);
    // CF, OF, AF are undefined: silicon has those of the addition.
    cpu.set_cc(class::ADD, res, tens);
    Ok(())
}

/// `PUSHA`.
fn pusha<W: Word>(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let old = cpu.regs[gpr::RSP];
    for r in [0, 1, 2, 3, gpr::RSP, 5, 6, 7] {
        let v = if r == gpr::RSP { old } else { cpu.regs[r] };
        if let Err(t) = cpu.push(W::BYTES, W::of(v).u()) {
            cpu.regs[gpr::RSP] = old;
            return Err(t);
        }
    }
    Ok(())
}

/// `POPA`.
fn popa<W: Word>(cpu: &mut Cpu, _: &Instruction) -> Result<(), Trap> {
    let mut new = cpu.regs;
    for (k, r) in [7, 6, 5, gpr::RSP, 3, 2, 1, 0].into_iter().enumerate() {
        let v = cpu.peek((k * W::BYTES) as u64, W::BYTES)?;
        if r != gpr::RSP {
            W::put(&mut new[r], W::of(v));
        }
    }
    cpu.regs = new;
    let sp = cpu.stack_pointer(8 * W::BYTES as i64);
    cpu.set_stack_pointer(sp);
    Ok(())
}

/// The table of this family.
#[rustfmt::skip]
pub const FORMS: &[Form] = forms! {
    Nopw => Make::Typed(nop);
    Nopd => Make::Typed(nop);
    Nopq => Make::Typed(nop);
    Nop_rm16 => Make::Typed(nop);
    Nop_rm32 => Make::Typed(nop);
    Nop_rm64 => Make::Typed(nop);
    Reservednop_rm16_r16_0F0D => Make::Typed(nop);
    Reservednop_rm32_r32_0F0D => Make::Typed(nop);
    Reservednop_rm64_r64_0F0D => Make::Typed(nop);
    Reservednop_rm16_r16_0F18 => Make::Typed(nop);
    Reservednop_rm32_r32_0F18 => Make::Typed(nop);
    Reservednop_rm64_r64_0F18 => Make::Typed(nop);
    Reservednop_rm16_r16_0F19 => Make::Typed(nop);
    Reservednop_rm32_r32_0F19 => Make::Typed(nop);
    Reservednop_rm64_r64_0F19 => Make::Typed(nop);
    Reservednop_rm16_r16_0F1A => Make::Typed(nop);
    Reservednop_rm32_r32_0F1A => Make::Typed(nop);
    Reservednop_rm64_r64_0F1A => Make::Typed(nop);
    Reservednop_rm16_r16_0F1B => Make::Typed(nop);
    Reservednop_rm32_r32_0F1B => Make::Typed(nop);
    Reservednop_rm64_r64_0F1B => Make::Typed(nop);
    Reservednop_rm16_r16_0F1C => Make::Typed(nop);
    Reservednop_rm32_r32_0F1C => Make::Typed(nop);
    Reservednop_rm64_r64_0F1C => Make::Typed(nop);
    Reservednop_rm16_r16_0F1D => Make::Typed(nop);
    Reservednop_rm32_r32_0F1D => Make::Typed(nop);
    Reservednop_rm64_r64_0F1D => Make::Typed(nop);
    Reservednop_rm16_r16_0F1E => Make::Typed(nop);
    Reservednop_rm32_r32_0F1E => Make::Typed(nop);
    Reservednop_rm64_r64_0F1E => Make::Typed(nop);
    Reservednop_rm16_r16_0F1F => Make::Typed(nop);
    Reservednop_rm32_r32_0F1F => Make::Typed(nop);
    Reservednop_rm64_r64_0F1F => Make::Typed(nop);
    Endbr64 => Make::Typed(nop);
    Endbr32 => Make::Typed(nop);
    // No shadow stacks: a no-operation in the space reserved for hints.
    Rdsspd_r32 => Make::Typed(nop);
    Rdsspq_r64 => Make::Typed(nop);
    Prefetchnta_m8 => Make::Typed(nop);
    Prefetcht0_m8 => Make::Typed(nop);
    Prefetcht1_m8 => Make::Typed(nop);
    Prefetcht2_m8 => Make::Typed(nop);
    Prefetchw_m8 => Make::Typed(nop);
    Prefetch_m8 => Make::Typed(nop);
    Prefetchwt1_m8 => Make::Typed(nop);
    Prefetchit0_m8 => Make::Typed(nop);
    Prefetchit1_m8 => Make::Typed(nop);
    Prefetchreserved3_m8 => Make::Typed(nop);
    Prefetchreserved4_m8 => Make::Typed(nop);
    Prefetchreserved5_m8 => Make::Typed(nop);
    Prefetchreserved6_m8 => Make::Typed(nop);
    Prefetchreserved7_m8 => Make::Typed(nop);
    Lfence => Make::Typed(nop);
    Mfence => Make::Typed(nop);
    Sfence => Make::Typed(nop);
    Lfence_E9 => Make::Typed(nop);
    Lfence_EA => Make::Typed(nop);
    Lfence_EB => Make::Typed(nop);
    Lfence_EC => Make::Typed(nop);
    Lfence_ED => Make::Typed(nop);
    Lfence_EE => Make::Typed(nop);
    Lfence_EF => Make::Typed(nop);
    Mfence_F1 => Make::Typed(nop);
    Mfence_F2 => Make::Typed(nop);
    Mfence_F3 => Make::Typed(nop);
    Mfence_F4 => Make::Typed(nop);
    Mfence_F5 => Make::Typed(nop);
    Mfence_F6 => Make::Typed(nop);
    Mfence_F7 => Make::Typed(nop);
    Sfence_F9 => Make::Typed(nop);
    Sfence_FA => Make::Typed(nop);
    Sfence_FB => Make::Typed(nop);
    Sfence_FC => Make::Typed(nop);
    Sfence_FD => Make::Typed(nop);
    Sfence_FE => Make::Typed(nop);
    Sfence_FF => Make::Typed(nop);
    Cbw => Make::Typed(extend::<u16, u8>);
    Cwde => Make::Typed(extend::<u32, u16>);
    Cdqe => Make::Typed(extend::<u64, u32>);
    Cwd => Make::Typed(sign::<u16>);
    Cdq => Make::Typed(sign::<u32>);
    Cqo => Make::Typed(sign::<u64>);
    Leaveq => Make::Typed(leave_64);
    Leaved => Make::Plain(leave::<u32>);
    Leavew => Make::Plain(leave::<u16>);
    Enterq_imm16_imm8 => Make::Plain(enter::<u64>);
    Enterd_imm16_imm8 => Make::Plain(enter::<u32>);
    Enterw_imm16_imm8 => Make::Plain(enter::<u16>);
    Clc => Make::Plain(clc);
    Stc => Make::Plain(stc);
    Cmc => Make::Plain(cmc);
    Cld => Make::Plain(cld);
    Std => Make::Plain(std);
    Lahf => Make::Plain(lahf);
    Sahf => Make::Plain(sahf);
    Salc => Make::Plain(salc);
    Xlat_m8 => Make::Plain(xlat);
    Cmpxchg8b_m64 => Make::Plain(cmpxchg8b);
    Cmpxchg16b_m128 => Make::Plain(cmpxchg16b);
    Daa => Make::Plain(decimal::<false>);
    Das => Make::Plain(decimal::<true>);
    Aaa => Make::Plain(ascii::<false>);
    Aas => Make::Plain(ascii::<true>);
    Aam_imm8 => Make::Plain(aam);
    Aad_imm8 => Make::Plain(aad);
    Pushaw => Make::Plain(pusha::<u16>);
    Pushad => Make::Plain(pusha::<u32>);
    Popaw => Make::Plain(popa::<u16>);
    Popad => Make::Plain(popa::<u32>);
};
