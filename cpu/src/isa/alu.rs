//! Binary arithmetic and logic: ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::rm::{RegD, RegS, Rm, by_rm, try_flow};
use super::{Exec, Form, Operands, forms};
use crate::Cpu;
use crate::dispatch::deferred::{self, Deferred, deferring, now};
use crate::dispatch::{Flow, Handler, Semantics, uses};
use crate::mem::{FastMem, Mem, get, put};
use crate::op::Op;
use crate::state::flags::{Lazy, class};
use crate::word::Word;
use mmu::TlbEntry;
use std::marker::PhantomData;

/// The operations, by the number that the opcode has for them.
pub(crate) mod op {
    pub(crate) const ADD: u8 = 0;
    pub(crate) const OR: u8 = 1;
    pub(crate) const ADC: u8 = 2;
    pub(crate) const SBB: u8 = 3;
    pub(crate) const AND: u8 = 4;
    pub(crate) const SUB: u8 = 5;
    pub(crate) const XOR: u8 = 6;
    pub(crate) const CMP: u8 = 7;
    pub(crate) const TEST: u8 = 8;
}

/// `a OP b`, and records the flags.
///
/// # Safety
/// As [`Semantics::run`].
#[inline(always)]
pub(super) unsafe fn alu<W: Word, const OP: u8>(cpu: *mut Cpu, a: W, b: W) -> W {
    let (res, flags) = compute::<W, OP>(carry::<OP>(cpu), a, b);
    (*cpu).state.flags.set_lazy(flags);
    res
}

/// The carry that ADC and SBB take in.
#[inline(always)]
unsafe fn carry<const OP: u8>(cpu: *mut Cpu) -> u64 {
    if looks(OP) { (*cpu).state.flags.cf() as u64 } else { 0 }
}

/// `a OP b` with the [`carry`], and the flags.
#[inline(always)]
pub(super) fn compute<W: Word, const OP: u8>(c: u64, a: W, b: W) -> (W, Lazy) {
    let (x, y) = (a.u(), b.u());
    let res = W::of(match OP {
        op::ADD | op::ADC => x.wrapping_add(y).wrapping_add(c),
        op::SUB | op::CMP | op::SBB => x.wrapping_sub(y).wrapping_sub(c),
        op::OR => x | y,
        op::XOR => x ^ y,
        _ => x & y,
    });
    let one_of = |without, with| if c == 0 { without } else { with };
    let flags = match OP {
        op::ADD | op::ADC => Lazy::of(one_of(class::ADD, class::ADC1), res, b),
        op::SUB | op::CMP | op::SBB => Lazy::of(one_of(class::SUB, class::SBB1), res, a),
        _ => Lazy::of(class::LOGIC, res, W::default()),
    };
    (res, flags)
}

const fn writes(o: u8) -> bool {
    o != op::CMP && o != op::TEST
}

/// `sets`, or nothing for CMP and TEST.
const fn written(sets: u32, o: u8) -> u32 {
    if writes(o) { sets } else { 0 }
}

const fn looks(o: u8) -> bool {
    o == op::ADC || o == op::SBB
}

/// See [`Semantics::KILLS`].
const fn renews(o: u8, flags: bool) -> u32 {
    if flags && !looks(o) { deferred::FLAGS } else { 0 }
}

/// See [`Semantics::PRESERVES`].
const fn ignores(o: u8, flags: bool) -> u32 {
    if flags || looks(o) { deferred::ALL & !deferred::FLAGS } else { deferred::ALL }
}

/// `OP r/m, reg`.
pub(crate) struct RmReg<A, W, const OP: u8, const FL: bool>(PhantomData<(A, W)>);
/// `OP reg, r/m`.
pub(crate) struct RegRm<A, W, const OP: u8, const FL: bool>(PhantomData<(A, W)>);
/// `OP r/m, imm`.
pub(crate) struct RmImm<A, W, const OP: u8, const FL: bool>(PhantomData<(A, W)>);

/// `r/m = r/m OP b`, without the write for CMP and TEST; the flags go to `note`.
#[inline(always)]
unsafe fn apply<M: Mem, A: Rm, W: Word, const OP: u8>(
    o: *const Op,
    cpu: *mut Cpu,
    tlb: *mut TlbEntry,
    b: W,
    note: impl FnOnce(Lazy),
) -> Flow {
    let c = carry::<OP>(cpu);
    let f = |a| {
        let (res, flags) = compute::<W, OP>(c, a, b);
        note(flags);
        res
    };
    if writes(OP) {
        try_flow!(A::update::<M, W>(o, cpu, tlb, f));
    } else {
        f(try_flow!(A::load::<M, W>(o, cpu, tlb)));
    }
    Flow::Next(1)
}

/// `reg = reg OP r/m`, as [`apply`].
#[inline(always)]
unsafe fn apply_back<M: Mem, A: Rm, W: Word, const OP: u8>(
    o: *const Op,
    cpu: *mut Cpu,
    tlb: *mut TlbEntry,
    note: impl FnOnce(Lazy),
) -> Flow {
    let b = try_flow!(A::load::<M, W>(o, cpu, tlb));
    let (res, flags) = compute::<W, OP>(carry::<OP>(cpu), get(cpu, (*o).dst), b);
    note(flags);
    if writes(OP) {
        put(cpu, (*o).dst, res);
    }
    Flow::Next(1)
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, const OP: u8, const FL: bool> Semantics for RmReg<A, W, OP, FL> {
    const REPLAYABLE: bool = A::REGISTER && !writes(OP);
    const KILLS: u32 = renews(OP, FL);
    const PRESERVES: u32 = ignores(OP, FL);
    const READS: u32 = A::READS | uses::SRC;
    const SETS: u32 = written(A::SETS, OP);
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        apply::<M, A, W, OP>(o, cpu, tlb, get(cpu, (*o).src), now::<M, FL>(cpu))
    }

    #[inline(always)]
    unsafe fn run_deferring(o: *const Op, cpu: *mut Cpu, later: u32) -> (Flow, Deferred) {
        let b = get(cpu, (*o).src);
        deferring::<FL>(cpu, later, |tlb, into| {
            apply::<FastMem, A, W, OP>(o, cpu, tlb, b, deferred::later(into))
        })
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, const OP: u8, const FL: bool> Semantics for RegRm<A, W, OP, FL> {
    const REPLAYABLE: bool = A::REGISTER && !writes(OP);
    const KILLS: u32 = renews(OP, FL);
    const PRESERVES: u32 = ignores(OP, FL);
    const READS: u32 = A::READS | uses::DST;
    const SETS: u32 = written(uses::DST, OP);
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        apply_back::<M, A, W, OP>(o, cpu, tlb, now::<M, FL>(cpu))
    }

    #[inline(always)]
    unsafe fn run_deferring(o: *const Op, cpu: *mut Cpu, later: u32) -> (Flow, Deferred) {
        deferring::<FL>(cpu, later, |tlb, into| {
            apply_back::<FastMem, A, W, OP>(o, cpu, tlb, deferred::later(into))
        })
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, const OP: u8, const FL: bool> Semantics for RmImm<A, W, OP, FL> {
    const REPLAYABLE: bool = A::REGISTER && !writes(OP);
    const KILLS: u32 = renews(OP, FL);
    const PRESERVES: u32 = ignores(OP, FL);
    const READS: u32 = A::READS;
    const SETS: u32 = written(A::SETS, OP);
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        apply::<M, A, W, OP>(o, cpu, tlb, W::of((*o).imm), now::<M, FL>(cpu))
    }

    #[inline(always)]
    unsafe fn run_deferring(o: *const Op, cpu: *mut Cpu, later: u32) -> (Flow, Deferred) {
        let b = W::of((*o).imm);
        deferring::<FL>(cpu, later, |tlb, into| {
            apply::<FastMem, A, W, OP>(o, cpu, tlb, b, deferred::later(into))
        })
    }
}

fn rm_reg<W: Word, const OP: u8>(s: &Operands) -> Handler {
    if s.flags {
        by_rm!(s.addressing, RegD, |A| RmReg<A, W, OP, true>)
    } else {
        by_rm!(s.addressing, RegD, |A| RmReg<A, W, OP, false>)
    }
}

fn reg_rm<W: Word, const OP: u8>(s: &Operands) -> Handler {
    if s.flags {
        by_rm!(s.addressing, RegS, |A| RegRm<A, W, OP, true>)
    } else {
        by_rm!(s.addressing, RegS, |A| RegRm<A, W, OP, false>)
    }
}

fn rm_imm<W: Word, const OP: u8>(s: &Operands) -> Handler {
    if s.flags {
        by_rm!(s.addressing, RegD, |A| RmImm<A, W, OP, true>)
    } else {
        by_rm!(s.addressing, RegD, |A| RmImm<A, W, OP, false>)
    }
}

/// The twenty forms of each of the eight operations that share their encodings.
macro_rules! eight {
    ($(($op:ident
        $rm8_r8:ident $rm16_r16:ident $rm32_r32:ident $rm64_r64:ident
        $r8_rm8:ident $r16_rm16:ident $r32_rm32:ident $r64_rm64:ident
        $al:ident $ax:ident $eax:ident $rax:ident
        $rm8_imm8:ident $rm8_imm8_82:ident $rm16_imm16:ident $rm32_imm32:ident $rm64_imm32:ident
        $rm16_imm8:ident $rm32_imm8:ident $rm64_imm8:ident))*) => {
        forms! {$(
            $rm8_r8 => Exec::Handler(rm_reg::<u8, { op::$op }>);
            $rm16_r16 => Exec::Handler(rm_reg::<u16, { op::$op }>);
            $rm32_r32 => Exec::Handler(rm_reg::<u32, { op::$op }>);
            $rm64_r64 => Exec::Handler(rm_reg::<u64, { op::$op }>);
            $r8_rm8 => Exec::Handler(reg_rm::<u8, { op::$op }>);
            $r16_rm16 => Exec::Handler(reg_rm::<u16, { op::$op }>);
            $r32_rm32 => Exec::Handler(reg_rm::<u32, { op::$op }>);
            $r64_rm64 => Exec::Handler(reg_rm::<u64, { op::$op }>);
            $al => Exec::Handler(rm_imm::<u8, { op::$op }>);
            $ax => Exec::Handler(rm_imm::<u16, { op::$op }>);
            $eax => Exec::Handler(rm_imm::<u32, { op::$op }>);
            $rax => Exec::Handler(rm_imm::<u64, { op::$op }>);
            $rm8_imm8 => Exec::Handler(rm_imm::<u8, { op::$op }>);
            $rm8_imm8_82 => Exec::Handler(rm_imm::<u8, { op::$op }>);
            $rm16_imm16 => Exec::Handler(rm_imm::<u16, { op::$op }>);
            $rm32_imm32 => Exec::Handler(rm_imm::<u32, { op::$op }>);
            $rm64_imm32 => Exec::Handler(rm_imm::<u64, { op::$op }>);
            $rm16_imm8 => Exec::Handler(rm_imm::<u16, { op::$op }>);
            $rm32_imm8 => Exec::Handler(rm_imm::<u32, { op::$op }>);
            $rm64_imm8 => Exec::Handler(rm_imm::<u64, { op::$op }>);
        )*}
    };
}

/// The table of this family, but for TEST.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = eight! {
    (ADD
        Add_rm8_r8 Add_rm16_r16 Add_rm32_r32 Add_rm64_r64
        Add_r8_rm8 Add_r16_rm16 Add_r32_rm32 Add_r64_rm64
        Add_AL_imm8 Add_AX_imm16 Add_EAX_imm32 Add_RAX_imm32
        Add_rm8_imm8 Add_rm8_imm8_82 Add_rm16_imm16 Add_rm32_imm32 Add_rm64_imm32
        Add_rm16_imm8 Add_rm32_imm8 Add_rm64_imm8)
    (OR
        Or_rm8_r8 Or_rm16_r16 Or_rm32_r32 Or_rm64_r64
        Or_r8_rm8 Or_r16_rm16 Or_r32_rm32 Or_r64_rm64
        Or_AL_imm8 Or_AX_imm16 Or_EAX_imm32 Or_RAX_imm32
        Or_rm8_imm8 Or_rm8_imm8_82 Or_rm16_imm16 Or_rm32_imm32 Or_rm64_imm32
        Or_rm16_imm8 Or_rm32_imm8 Or_rm64_imm8)
    (ADC
        Adc_rm8_r8 Adc_rm16_r16 Adc_rm32_r32 Adc_rm64_r64
        Adc_r8_rm8 Adc_r16_rm16 Adc_r32_rm32 Adc_r64_rm64
        Adc_AL_imm8 Adc_AX_imm16 Adc_EAX_imm32 Adc_RAX_imm32
        Adc_rm8_imm8 Adc_rm8_imm8_82 Adc_rm16_imm16 Adc_rm32_imm32 Adc_rm64_imm32
        Adc_rm16_imm8 Adc_rm32_imm8 Adc_rm64_imm8)
    (SBB
        Sbb_rm8_r8 Sbb_rm16_r16 Sbb_rm32_r32 Sbb_rm64_r64
        Sbb_r8_rm8 Sbb_r16_rm16 Sbb_r32_rm32 Sbb_r64_rm64
        Sbb_AL_imm8 Sbb_AX_imm16 Sbb_EAX_imm32 Sbb_RAX_imm32
        Sbb_rm8_imm8 Sbb_rm8_imm8_82 Sbb_rm16_imm16 Sbb_rm32_imm32 Sbb_rm64_imm32
        Sbb_rm16_imm8 Sbb_rm32_imm8 Sbb_rm64_imm8)
    (AND
        And_rm8_r8 And_rm16_r16 And_rm32_r32 And_rm64_r64
        And_r8_rm8 And_r16_rm16 And_r32_rm32 And_r64_rm64
        And_AL_imm8 And_AX_imm16 And_EAX_imm32 And_RAX_imm32
        And_rm8_imm8 And_rm8_imm8_82 And_rm16_imm16 And_rm32_imm32 And_rm64_imm32
        And_rm16_imm8 And_rm32_imm8 And_rm64_imm8)
    (SUB
        Sub_rm8_r8 Sub_rm16_r16 Sub_rm32_r32 Sub_rm64_r64
        Sub_r8_rm8 Sub_r16_rm16 Sub_r32_rm32 Sub_r64_rm64
        Sub_AL_imm8 Sub_AX_imm16 Sub_EAX_imm32 Sub_RAX_imm32
        Sub_rm8_imm8 Sub_rm8_imm8_82 Sub_rm16_imm16 Sub_rm32_imm32 Sub_rm64_imm32
        Sub_rm16_imm8 Sub_rm32_imm8 Sub_rm64_imm8)
    (XOR
        Xor_rm8_r8 Xor_rm16_r16 Xor_rm32_r32 Xor_rm64_r64
        Xor_r8_rm8 Xor_r16_rm16 Xor_r32_rm32 Xor_r64_rm64
        Xor_AL_imm8 Xor_AX_imm16 Xor_EAX_imm32 Xor_RAX_imm32
        Xor_rm8_imm8 Xor_rm8_imm8_82 Xor_rm16_imm16 Xor_rm32_imm32 Xor_rm64_imm32
        Xor_rm16_imm8 Xor_rm32_imm8 Xor_rm64_imm8)
    (CMP
        Cmp_rm8_r8 Cmp_rm16_r16 Cmp_rm32_r32 Cmp_rm64_r64
        Cmp_r8_rm8 Cmp_r16_rm16 Cmp_r32_rm32 Cmp_r64_rm64
        Cmp_AL_imm8 Cmp_AX_imm16 Cmp_EAX_imm32 Cmp_RAX_imm32
        Cmp_rm8_imm8 Cmp_rm8_imm8_82 Cmp_rm16_imm16 Cmp_rm32_imm32 Cmp_rm64_imm32
        Cmp_rm16_imm8 Cmp_rm32_imm8 Cmp_rm64_imm8)
};

/// TEST.
#[rustfmt::skip]
pub(super) const TEST_FORMS: &[Form] = forms! {
    Test_rm8_r8 => Exec::Handler(rm_reg::<u8, { op::TEST }>);
    Test_rm16_r16 => Exec::Handler(rm_reg::<u16, { op::TEST }>);
    Test_rm32_r32 => Exec::Handler(rm_reg::<u32, { op::TEST }>);
    Test_rm64_r64 => Exec::Handler(rm_reg::<u64, { op::TEST }>);
    Test_AL_imm8 => Exec::Handler(rm_imm::<u8, { op::TEST }>);
    Test_AX_imm16 => Exec::Handler(rm_imm::<u16, { op::TEST }>);
    Test_EAX_imm32 => Exec::Handler(rm_imm::<u32, { op::TEST }>);
    Test_RAX_imm32 => Exec::Handler(rm_imm::<u64, { op::TEST }>);
    Test_rm8_imm8 => Exec::Handler(rm_imm::<u8, { op::TEST }>);
    Test_rm8_imm8_F6r1 => Exec::Handler(rm_imm::<u8, { op::TEST }>);
    Test_rm16_imm16 => Exec::Handler(rm_imm::<u16, { op::TEST }>);
    Test_rm16_imm16_F7r1 => Exec::Handler(rm_imm::<u16, { op::TEST }>);
    Test_rm32_imm32 => Exec::Handler(rm_imm::<u32, { op::TEST }>);
    Test_rm32_imm32_F7r1 => Exec::Handler(rm_imm::<u32, { op::TEST }>);
    Test_rm64_imm32 => Exec::Handler(rm_imm::<u64, { op::TEST }>);
    Test_rm64_imm32_F7r1 => Exec::Handler(rm_imm::<u64, { op::TEST }>);
};
