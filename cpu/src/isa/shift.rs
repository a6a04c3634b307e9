//! Shifts and rotates.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::rm::{RegD, Rm, by_rm, try_flow};
use super::{Exec, Form, Operands, forms};
use crate::Cpu;
use crate::dispatch::deferred::{self, Deferred, deferring, now};
use crate::dispatch::{Flow, Handler, Semantics, uses};
use crate::mem::{FastMem, Mem, get};
use crate::op::Op;
use crate::state::flags::{self, Lazy, class};
use crate::state::gpr;
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::{Instruction, Register};
use mmu::TlbEntry;
use std::marker::PhantomData;

pub(crate) const ROL: u8 = 0;
pub(crate) const ROR: u8 = 1;
pub(crate) const SHL: u8 = 4;
pub(crate) const SHR: u8 = 5;
pub(crate) const SAR: u8 = 7;

/// A shift or rotate of `r/m`, by CL if `CL`, else by an immediate.
pub(crate) struct Shift<A, W, const OP: u8, const CL: bool, const FL: bool>(PhantomData<(A, W)>);

/// The highest bit.
#[inline(always)]
fn top<W: Word>(v: W) -> W {
    W::of(v.u() >> (W::BITS - 1))
}

/// `a` shifted by `count`, which is not 0 and below 64 (32 for narrow operands); the flags go to `note`,
/// a rotate's to the processor.
#[inline(always)]
unsafe fn shift<W: Word, const OP: u8>(
    cpu: *mut Cpu,
    a: W,
    count: u32,
    note: impl FnOnce(Lazy),
) -> W {
    let (res, flags) = match OP {
        SHL => {
            let last = W::of(a.u() << (count - 1));
            let res = W::of(last.u() << 1);
            (res, Lazy::of(class::SHL, res, top(last)))
        }
        SHR => {
            let last = if W::BITS < 64 { a.u() << 1 >> count } else { a.u() >> (count - 1) };
            let res = W::of(if W::BITS < 64 { a.u() >> count } else { last >> 1 });
            (res, Lazy::of(class::SHR, res, W::of(last)))
        }
        SAR => {
            let last = if W::BITS < 64 { a.s() << 1 >> count } else { a.s() >> (count - 1) };
            let res = W::of(if W::BITS < 64 { a.s() >> count } else { last >> 1 } as u64);
            (res, Lazy::of(class::SHR, res, W::of(last as u64)))
        }
        _ => return rotate::<W, OP>(cpu, a, count),
    };
    note(flags);
    res
}

#[inline(always)]
unsafe fn rotate<W: Word, const OP: u8>(cpu: *mut Cpu, a: W, count: u32) -> W {
    let res = without_flags::<W, OP>(a, count);
    rotate_flags::<W, OP>(&mut *cpu, res);
    res
}

/// `a` shifted by a masked count, 0 included: the host's own instruction where it has the width.
#[inline(always)]
fn without_flags<W: Word, const OP: u8>(a: W, count: u32) -> W {
    let (x, half) = (a.u(), a.u() as u32);
    W::of(match (OP, W::BITS) {
        (SHL, 64) => x.wrapping_shl(count),
        (SHL, 32) => half.wrapping_shl(count) as u64,
        (SHL, _) => x << (count & 31),
        (SHR, 64) => x.wrapping_shr(count),
        (SHR, 32) => half.wrapping_shr(count) as u64,
        (SHR, _) => x >> (count & 31),
        (SAR, 64) => a.s().wrapping_shr(count) as u64,
        (SAR, 32) => (half as i32).wrapping_shr(count) as u64,
        (SAR, _) => (a.s() >> (count & 31)) as u64,
        (ROL, 64) => x.rotate_left(count),
        (ROL, 32) => half.rotate_left(count) as u64,
        (ROL, 16) => (x as u16).rotate_left(count) as u64,
        (ROL, _) => (x as u8).rotate_left(count) as u64,
        (_, 64) => x.rotate_right(count),
        (_, 32) => half.rotate_right(count) as u64,
        (_, 16) => (x as u16).rotate_right(count) as u64,
        (_, _) => (x as u8).rotate_right(count) as u64,
    })
}

/// CF and OF after a rotate; the other flags stay.
fn rotate_flags<W: Word, const OP: u8>(cpu: &mut Cpu, res: W) {
    let top = res.u() >> (W::BITS - 1) & 1;
    let (cf, of) = match OP {
        ROL => (res.u() & 1, (res.u() & 1) ^ top),
        _ => (top, top ^ (res.u() >> (W::BITS - 2) & 1)),
    };
    cpu.state.flags.set_cf_of(cf | if of != 0 { flags::OF } else { 0 });
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, const OP: u8, const CL: bool, const FL: bool> Semantics
    for Shift<A, W, OP, CL, FL>
{
    const KILLS: u32 = if FL && !CL && matches!(OP, SHL | SHR | SAR) { deferred::FLAGS } else { 0 };
    const PRESERVES: u32 = if FL { deferred::ALL & !deferred::FLAGS } else { deferred::ALL };
    const READS: u32 = A::READS | if CL { uses::RCX } else { 0 };
    const SETS: u32 = A::SETS;
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let count = if CL { get::<u8>(cpu, 8 * gpr::RCX as u8) as u32 } else { (*o).imm as u32 };
        if !FL && !M::SLOW {
            let f = |a| without_flags::<W, OP>(a, count);
            try_flow!(A::update::<M, W>(o, cpu, tlb, f));
            return Flow::Next(1);
        }
        Self::with_flags::<M>(o, cpu, tlb, count, now::<M, true>(cpu))
    }

    #[inline(always)]
    unsafe fn run_deferring(o: *const Op, cpu: *mut Cpu, later: u32) -> (Flow, Deferred) {
        if Self::KILLS == 0 {
            return (Self::run::<FastMem>(o, cpu, (*cpu).caches.tlb), Deferred::NONE);
        }
        deferring::<FL>(cpu, later, |tlb, into| {
            let note = deferred::later(into);
            Self::with_flags::<FastMem>(o, cpu, tlb, (*o).imm as u32, note)
        })
    }
}

impl<A: Rm, W: Word, const OP: u8, const CL: bool, const FL: bool> Shift<A, W, OP, CL, FL> {
    #[inline(always)]
    unsafe fn with_flags<M: Mem>(
        o: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
        count: u32,
        note: impl FnOnce(Lazy),
    ) -> Flow {
        let count = count & mask::<W>();
        // An immediate that is 0 has no flags: see `sh`.
        let nothing = (CL || !FL) && count == 0;
        let f = |a| if nothing { a } else { shift::<W, OP>(cpu, a, count, note) };
        try_flow!(A::update::<M, W>(o, cpu, tlb, f));
        Flow::Next(1)
    }
}

/// The bits of a count that count.
const fn mask<W: Word>() -> u32 {
    if W::BITS == 64 { 63 } else { 31 }
}

fn sh<W: Word, const OP: u8>(s: &Operands) -> Handler {
    let cl = s.insn.op1_register() == Register::CL;
    let nothing = !cl && s.insn.immediate(1) as u32 & mask::<W>() == 0;
    match (cl, s.flags && !nothing) {
        (false, false) => by_rm!(s.addressing, RegD, |A| Shift<A, W, OP, false, false>),
        (false, true) => by_rm!(s.addressing, RegD, |A| Shift<A, W, OP, false, true>),
        (true, false) => by_rm!(s.addressing, RegD, |A| Shift<A, W, OP, true, false>),
        (true, true) => by_rm!(s.addressing, RegD, |A| Shift<A, W, OP, true, true>),
    }
}

/// The masked count of a shift: its last operand.
fn count<W: Word>(cpu: &Cpu, i: &Instruction) -> u32 {
    let last = i.op_count() - 1;
    let c = match i.op_kind(last) {
        iced_x86::OpKind::Register => cpu.reg(Register::CL),
        _ => i.immediate(last),
    };
    c as u32 & mask::<W>()
}

/// `RCL` and `RCR`: a rotate through CF.
fn rotate_carry<W: Word, const LEFT: bool>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let masked = count::<W>(cpu, i);
    let n = masked % (W::BITS + 1);
    let cf = cpu.state.flags.cf() as u128;
    let mut after = (0, false);
    cpu.modify::<W>(i, 0, |a| {
        let wide = cf << W::BITS | a.u() as u128;
        let left = if LEFT { n } else { (W::BITS + 1 - n) % (W::BITS + 1) };
        let turned = wide << left | wide >> (W::BITS + 1 - left);
        let res = W::of(turned as u64);
        after = (res.u(), turned >> W::BITS & 1 != 0);
        res
    })?;
    let (res, carry) = after;
    if masked != 0 {
        let top = res >> (W::BITS - 1) & 1 != 0;
        let of = if LEFT { top ^ carry } else { top ^ (res >> (W::BITS - 2) & 1 != 0) };
        cpu.state.flags.set_cf_of(carry as u64 | if of { flags::OF } else { 0 });
    }
    Ok(())
}

/// `SHLD` and `SHRD`.
fn double<W: Word, const LEFT: bool>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let n = count::<W>(cpu, i);
    if n == 0 {
        // The destination is still accessed (and a 32-bit register zero-extended).
        return cpu.modify::<W>(i, 0, |a| a);
    }
    let fill = cpu.reg(i.op1_register());
    if n > W::BITS {
        return double_over::<W, LEFT>(cpu, i, n - W::BITS);
    }
    let mut cc = (W::default(), W::default());
    cpu.modify::<W>(i, 0, |a| {
        let step = |n: u32| double_shift::<W, LEFT>(a.u(), fill, n);
        cc = (step(n), step(n - 1));
        cc.0
    })?;
    match LEFT {
        true => cpu.state.flags.set_cc(class::SHL, cc.0, top(cc.1)),
        false => cpu.state.flags.set_cc(class::SHR, cc.0, cc.1),
    }
    Ok(())
}

/// The 16-bit double shift by over 16 bits, `by` more. What the SDM leaves undefined is on silicon the
/// rotated source, without a carry.
fn double_over<W: Word, const LEFT: bool>(
    cpu: &mut Cpu,
    i: &Instruction,
    by: u32,
) -> Result<(), Trap> {
    let fill = cpu.reg(i.op1_register());
    let left = if LEFT { by } else { W::BITS - by };
    let res = W::of(fill << left | fill >> (W::BITS - left));
    cpu.modify::<W>(i, 0, |_| res)?;
    cpu.state.flags.set_cc(class::LOGIC, res, W::default());
    let top = |k: u32| res.u() >> (W::BITS - k) & 1;
    let of = !LEFT && top(1) != top(2);
    let s = cpu.state.flags.status();
    cpu.state.flags.set_status(s | if of { flags::OF } else { 0 });
    Ok(())
}

/// The double shift by `n` bits.
fn double_shift<W: Word, const LEFT: bool>(a: u64, fill: u64, n: u32) -> W {
    let w = W::BITS;
    if w == 64 {
        return W::of(match (LEFT, n) {
            (_, 0) => a,
            (true, _) => a << n | fill >> (64 - n),
            (false, _) => a >> n | fill << (64 - n),
        });
    }
    let (a, fill) = (a as u128, fill as u128);
    let wide = a << (2 * w) | fill << w | a;
    let v = if LEFT { wide << n >> (2 * w) } else { wide >> n };
    W::of(v as u64)
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Rol_rm8_imm8 => Exec::Handler(sh::<u8, ROL>);
    Rol_rm8_1 => Exec::Handler(sh::<u8, ROL>);
    Rol_rm8_CL => Exec::Handler(sh::<u8, ROL>);
    Rol_rm16_imm8 => Exec::Handler(sh::<u16, ROL>);
    Rol_rm16_1 => Exec::Handler(sh::<u16, ROL>);
    Rol_rm16_CL => Exec::Handler(sh::<u16, ROL>);
    Rol_rm32_imm8 => Exec::Handler(sh::<u32, ROL>);
    Rol_rm32_1 => Exec::Handler(sh::<u32, ROL>);
    Rol_rm32_CL => Exec::Handler(sh::<u32, ROL>);
    Rol_rm64_imm8 => Exec::Handler(sh::<u64, ROL>);
    Rol_rm64_1 => Exec::Handler(sh::<u64, ROL>);
    Rol_rm64_CL => Exec::Handler(sh::<u64, ROL>);
    Ror_rm8_imm8 => Exec::Handler(sh::<u8, ROR>);
    Ror_rm8_1 => Exec::Handler(sh::<u8, ROR>);
    Ror_rm8_CL => Exec::Handler(sh::<u8, ROR>);
    Ror_rm16_imm8 => Exec::Handler(sh::<u16, ROR>);
    Ror_rm16_1 => Exec::Handler(sh::<u16, ROR>);
    Ror_rm16_CL => Exec::Handler(sh::<u16, ROR>);
    Ror_rm32_imm8 => Exec::Handler(sh::<u32, ROR>);
    Ror_rm32_1 => Exec::Handler(sh::<u32, ROR>);
    Ror_rm32_CL => Exec::Handler(sh::<u32, ROR>);
    Ror_rm64_imm8 => Exec::Handler(sh::<u64, ROR>);
    Ror_rm64_1 => Exec::Handler(sh::<u64, ROR>);
    Ror_rm64_CL => Exec::Handler(sh::<u64, ROR>);
    Shl_rm8_imm8 => Exec::Handler(sh::<u8, SHL>);
    Shl_rm8_1 => Exec::Handler(sh::<u8, SHL>);
    Shl_rm8_CL => Exec::Handler(sh::<u8, SHL>);
    Shl_rm16_imm8 => Exec::Handler(sh::<u16, SHL>);
    Shl_rm16_1 => Exec::Handler(sh::<u16, SHL>);
    Shl_rm16_CL => Exec::Handler(sh::<u16, SHL>);
    Shl_rm32_imm8 => Exec::Handler(sh::<u32, SHL>);
    Shl_rm32_1 => Exec::Handler(sh::<u32, SHL>);
    Shl_rm32_CL => Exec::Handler(sh::<u32, SHL>);
    Shl_rm64_imm8 => Exec::Handler(sh::<u64, SHL>);
    Shl_rm64_1 => Exec::Handler(sh::<u64, SHL>);
    Shl_rm64_CL => Exec::Handler(sh::<u64, SHL>);
    Shr_rm8_imm8 => Exec::Handler(sh::<u8, SHR>);
    Shr_rm8_1 => Exec::Handler(sh::<u8, SHR>);
    Shr_rm8_CL => Exec::Handler(sh::<u8, SHR>);
    Shr_rm16_imm8 => Exec::Handler(sh::<u16, SHR>);
    Shr_rm16_1 => Exec::Handler(sh::<u16, SHR>);
    Shr_rm16_CL => Exec::Handler(sh::<u16, SHR>);
    Shr_rm32_imm8 => Exec::Handler(sh::<u32, SHR>);
    Shr_rm32_1 => Exec::Handler(sh::<u32, SHR>);
    Shr_rm32_CL => Exec::Handler(sh::<u32, SHR>);
    Shr_rm64_imm8 => Exec::Handler(sh::<u64, SHR>);
    Shr_rm64_1 => Exec::Handler(sh::<u64, SHR>);
    Shr_rm64_CL => Exec::Handler(sh::<u64, SHR>);
    Sar_rm8_imm8 => Exec::Handler(sh::<u8, SAR>);
    Sar_rm8_1 => Exec::Handler(sh::<u8, SAR>);
    Sar_rm8_CL => Exec::Handler(sh::<u8, SAR>);
    Sar_rm16_imm8 => Exec::Handler(sh::<u16, SAR>);
    Sar_rm16_1 => Exec::Handler(sh::<u16, SAR>);
    Sar_rm16_CL => Exec::Handler(sh::<u16, SAR>);
    Sar_rm32_imm8 => Exec::Handler(sh::<u32, SAR>);
    Sar_rm32_1 => Exec::Handler(sh::<u32, SAR>);
    Sar_rm32_CL => Exec::Handler(sh::<u32, SAR>);
    Sar_rm64_imm8 => Exec::Handler(sh::<u64, SAR>);
    Sar_rm64_1 => Exec::Handler(sh::<u64, SAR>);
    Sar_rm64_CL => Exec::Handler(sh::<u64, SAR>);
    Sal_rm8_imm8 => Exec::Handler(sh::<u8, SHL>);
    Sal_rm8_1 => Exec::Handler(sh::<u8, SHL>);
    Sal_rm8_CL => Exec::Handler(sh::<u8, SHL>);
    Sal_rm16_imm8 => Exec::Handler(sh::<u16, SHL>);
    Sal_rm16_1 => Exec::Handler(sh::<u16, SHL>);
    Sal_rm16_CL => Exec::Handler(sh::<u16, SHL>);
    Sal_rm32_imm8 => Exec::Handler(sh::<u32, SHL>);
    Sal_rm32_1 => Exec::Handler(sh::<u32, SHL>);
    Sal_rm32_CL => Exec::Handler(sh::<u32, SHL>);
    Sal_rm64_imm8 => Exec::Handler(sh::<u64, SHL>);
    Sal_rm64_1 => Exec::Handler(sh::<u64, SHL>);
    Sal_rm64_CL => Exec::Handler(sh::<u64, SHL>);
    Rcl_rm8_imm8 => Exec::Function(rotate_carry::<u8, true>);
    Rcl_rm8_1 => Exec::Function(rotate_carry::<u8, true>);
    Rcl_rm8_CL => Exec::Function(rotate_carry::<u8, true>);
    Rcl_rm16_imm8 => Exec::Function(rotate_carry::<u16, true>);
    Rcl_rm16_1 => Exec::Function(rotate_carry::<u16, true>);
    Rcl_rm16_CL => Exec::Function(rotate_carry::<u16, true>);
    Rcl_rm32_imm8 => Exec::Function(rotate_carry::<u32, true>);
    Rcl_rm32_1 => Exec::Function(rotate_carry::<u32, true>);
    Rcl_rm32_CL => Exec::Function(rotate_carry::<u32, true>);
    Rcl_rm64_imm8 => Exec::Function(rotate_carry::<u64, true>);
    Rcl_rm64_1 => Exec::Function(rotate_carry::<u64, true>);
    Rcl_rm64_CL => Exec::Function(rotate_carry::<u64, true>);
    Rcr_rm8_imm8 => Exec::Function(rotate_carry::<u8, false>);
    Rcr_rm8_1 => Exec::Function(rotate_carry::<u8, false>);
    Rcr_rm8_CL => Exec::Function(rotate_carry::<u8, false>);
    Rcr_rm16_imm8 => Exec::Function(rotate_carry::<u16, false>);
    Rcr_rm16_1 => Exec::Function(rotate_carry::<u16, false>);
    Rcr_rm16_CL => Exec::Function(rotate_carry::<u16, false>);
    Rcr_rm32_imm8 => Exec::Function(rotate_carry::<u32, false>);
    Rcr_rm32_1 => Exec::Function(rotate_carry::<u32, false>);
    Rcr_rm32_CL => Exec::Function(rotate_carry::<u32, false>);
    Rcr_rm64_imm8 => Exec::Function(rotate_carry::<u64, false>);
    Rcr_rm64_1 => Exec::Function(rotate_carry::<u64, false>);
    Rcr_rm64_CL => Exec::Function(rotate_carry::<u64, false>);
    Shld_rm16_r16_imm8 => Exec::Function(double::<u16, true>);
    Shld_rm16_r16_CL => Exec::Function(double::<u16, true>);
    Shld_rm32_r32_imm8 => Exec::Function(double::<u32, true>);
    Shld_rm32_r32_CL => Exec::Function(double::<u32, true>);
    Shld_rm64_r64_imm8 => Exec::Function(double::<u64, true>);
    Shld_rm64_r64_CL => Exec::Function(double::<u64, true>);
    Shrd_rm16_r16_imm8 => Exec::Function(double::<u16, false>);
    Shrd_rm16_r16_CL => Exec::Function(double::<u16, false>);
    Shrd_rm32_r32_imm8 => Exec::Function(double::<u32, false>);
    Shrd_rm32_r32_CL => Exec::Function(double::<u32, false>);
    Shrd_rm64_r64_imm8 => Exec::Function(double::<u64, false>);
    Shrd_rm64_r64_CL => Exec::Function(double::<u64, false>);
};
