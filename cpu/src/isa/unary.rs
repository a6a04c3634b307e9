//! One-operand arithmetic, multiplication, division, exchanges.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::rm::{RegD, RegS, Rm, by_rm, try_flow};
use super::{Exec, Form, Operands, alu, forms};
use crate::Cpu;
use crate::dispatch::{Flow, Handler, Semantics, deferred, uses};
use crate::mem::{Mem, get, put};
use crate::op::Op;
use crate::state::flags::{self, class};
use crate::state::gpr;
use crate::trap::Trap;
use crate::word::Word;
use mmu::TlbEntry;
use std::marker::PhantomData;

pub(crate) const INC: u8 = 0;
pub(crate) const DEC: u8 = 1;
pub(crate) const NEG: u8 = 2;
pub(crate) const NOT: u8 = 3;

/// `INC`, `DEC`, `NEG`, `NOT`.
pub(crate) struct Unary<A, W, const OP: u8, const FL: bool>(PhantomData<(A, W)>);

#[inline(always)]
unsafe fn unary<W: Word, const OP: u8>(cpu: *mut Cpu, a: W, flags: bool) -> W {
    let x = a.u();
    let res = W::of(match OP {
        INC => x.wrapping_add(1),
        DEC => x.wrapping_sub(1),
        NEG => x.wrapping_neg(),
        _ => !x,
    });
    if flags && OP != NOT {
        if OP == NEG {
            (*cpu).state.flags.set_cc(class::SUB, res, W::default());
        } else {
            (*cpu).state.flags.set_cc_but_cf(if OP == INC { class::INC } else { class::DEC }, res);
        }
    }
    res
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, const OP: u8, const FL: bool> Semantics for Unary<A, W, OP, FL> {
    const KILLS: u32 = if FL && OP == NEG { deferred::FLAGS } else { 0 };
    const PRESERVES: u32 =
        if FL && OP != NOT { deferred::ALL & !deferred::FLAGS } else { deferred::ALL };
    const READS: u32 = A::READS;
    const SETS: u32 = A::SETS;
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        try_flow!(A::update::<M, W>(o, cpu, tlb, |a| unary::<W, OP>(cpu, a, FL || M::SLOW)));
        Flow::Next(1)
    }
}

fn un<W: Word, const OP: u8>(s: &Operands) -> Handler {
    if s.flags {
        by_rm!(s.addressing, RegD, |A| Unary<A, W, OP, true>)
    } else {
        by_rm!(s.addressing, RegD, |A| Unary<A, W, OP, false>)
    }
}

/// Flags of a multiplication: CF = OF = the high half matters. SF, ZF, AF and PF are undefined: Intel's silicon has
/// SF and PF of the low half and clears the others.
#[inline(always)]
fn multiply_flags<W: Word>(cpu: &mut Cpu, low: W, overflow: bool) {
    cpu.state.flags.set_product(low, if overflow { flags::CF | flags::OF } else { 0 });
}

/// `a * b` signed: the low half, and whether it is not the whole.
#[inline(always)]
fn signed_product<W: Word>(a: W, b: W) -> (W, u64, bool) {
    let p = a.s() as i128 * b.s() as i128;
    let low = W::of(p as u64);
    (low, (p >> W::BITS) as u64, low.s() as i128 != p)
}

/// `IMUL reg, r/m`.
pub(crate) struct ImulRegRm<A, W, const FL: bool>(PhantomData<(A, W)>);
/// `IMUL reg, r/m, imm`.
pub(crate) struct ImulRegRmImm<A, W, const FL: bool>(PhantomData<(A, W)>);

#[inline(always)]
unsafe fn imul<W: Word>(cpu: *mut Cpu, d: u8, a: W, b: W, flags: bool) -> Flow {
    let (low, _, over) = signed_product(a, b);
    put(cpu, d, low);
    if flags {
        multiply_flags(&mut *cpu, low, over);
    }
    Flow::Next(1)
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, const FL: bool> Semantics for ImulRegRm<A, W, FL> {
    const PRESERVES: u32 = if FL { deferred::ALL & !deferred::FLAGS } else { deferred::ALL };
    const READS: u32 = A::READS | uses::DST;
    const SETS: u32 = uses::DST;
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let b = try_flow!(A::load::<M, W>(o, cpu, tlb));
        imul(cpu, (*o).dst, get(cpu, (*o).dst), b, FL || M::SLOW)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, const FL: bool> Semantics for ImulRegRmImm<A, W, FL> {
    const PRESERVES: u32 = if FL { deferred::ALL & !deferred::FLAGS } else { deferred::ALL };
    const READS: u32 = A::READS;
    const SETS: u32 = uses::DST;
    const BITS: u32 = W::BITS;

    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let a = try_flow!(A::load::<M, W>(o, cpu, tlb));
        imul(cpu, (*o).dst, a, W::of((*o).imm), FL || M::SLOW)
    }
}

fn imul2<W: Word>(s: &Operands) -> Handler {
    if s.flags {
        by_rm!(s.addressing, RegS, |A| ImulRegRm<A, W, true>)
    } else {
        by_rm!(s.addressing, RegS, |A| ImulRegRm<A, W, false>)
    }
}

fn imul3<W: Word>(s: &Operands) -> Handler {
    if s.flags {
        by_rm!(s.addressing, RegS, |A| ImulRegRmImm<A, W, true>)
    } else {
        by_rm!(s.addressing, RegS, |A| ImulRegRmImm<A, W, false>)
    }
}

/// `MUL` and one-operand `IMUL`.
pub(crate) struct MulWide<A, W, const SIGNED: bool>(PhantomData<(A, W)>);
/// `DIV` and `IDIV`.
pub(crate) struct DivWide<A, W, const SIGNED: bool>(PhantomData<(A, W)>);

/// The high half of the wide operand: AH for bytes, else rDX.
fn high_offset<W: Word>() -> u8 {
    if W::BITS == 8 { 1 } else { 8 * gpr::RDX as u8 }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, const SIGNED: bool> Semantics for MulWide<A, W, SIGNED> {
    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let b = try_flow!(A::load::<M, W>(o, cpu, tlb));
        let a = get::<W>(cpu, 0);
        let (low, high, over) = if SIGNED {
            signed_product(a, b)
        } else {
            let p = a.u() as u128 * b.u() as u128;
            let high = (p >> W::BITS) as u64;
            (W::of(p as u64), high, high != 0)
        };
        put(cpu, 0, low);
        put(cpu, high_offset::<W>(), W::of(high));
        multiply_flags(&mut *cpu, low, over);
        Flow::Next(1)
    }
}

/// Quotient and remainder; `None` where they do not fit.
fn divide<W: Word, const SIGNED: bool>(high: W, low: W, by: W) -> Option<(u64, u64)> {
    if by.u() == 0 {
        return None;
    }
    if SIGNED {
        let n = (high.s() as i128) << W::BITS | low.u() as i128;
        let (q, r) = (n.checked_div(by.s() as i128)?, n.checked_rem(by.s() as i128)?);
        return (W::of(q as u64).s() as i128 == q).then_some((q as u64, r as u64));
    }
    if high.u() >= by.u() {
        return None;
    }
    if W::BITS < 64 || high.u() == 0 {
        let n = if W::BITS < 64 { high.u() << (W::BITS & 63) | low.u() } else { low.u() };
        return Some((n / by.u(), n % by.u()));
    }
    let n = (high.u() as u128) << 64 | low.u() as u128;
    Some(((n / by.u() as u128) as u64, (n % by.u() as u128) as u64))
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, const SIGNED: bool> Semantics for DivWide<A, W, SIGNED> {
    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let by = try_flow!(A::load::<M, W>(o, cpu, tlb));
        let (low, high) = (get::<W>(cpu, 0), get::<W>(cpu, high_offset::<W>()));
        let Some((q, r)) = divide::<W, SIGNED>(high, low, by) else {
            (*cpu).env.trap = Some(Trap::DE);
            return Flow::Slow;
        };
        put(cpu, 0, W::of(q));
        put(cpu, high_offset::<W>(), W::of(r));
        // All status flags are undefined; Intel's silicon leaves them as they are.
        Flow::Next(1)
    }
}

fn mul<W: Word, const SIGNED: bool>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegD, |A| MulWide<A, W, SIGNED>)
}

fn div<W: Word, const SIGNED: bool>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegD, |A| DivWide<A, W, SIGNED>)
}

/// `XCHG r/m, reg`.
pub(crate) struct Xchg<A, W>(PhantomData<(A, W)>);
/// `XADD r/m, reg`.
pub(crate) struct Xadd<A, W>(PhantomData<(A, W)>);
/// `CMPXCHG r/m, reg`.
pub(crate) struct Cmpxchg<A, W>(PhantomData<(A, W)>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word> Semantics for Xchg<A, W> {
    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let new = get::<W>(cpu, (*o).src);
        let mut old = new;
        try_flow!(A::update::<M, W>(o, cpu, tlb, |a| {
            old = a;
            new
        }));
        put(cpu, (*o).src, old);
        Flow::Next(1)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word> Semantics for Xadd<A, W> {
    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let by = get::<W>(cpu, (*o).src);
        let (mut old, mut new) = (by, by);
        try_flow!(A::update::<M, W>(o, cpu, tlb, |a| {
            old = a;
            new = alu::alu::<W, { alu::op::ADD }>(cpu, a, by);
            new
        }));
        put(cpu, (*o).src, old);
        // With one register as both operands the sum stays.
        if (*o).dst == (*o).src {
            put(cpu, (*o).dst, new);
        }
        Flow::Next(1)
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word> Semantics for Cmpxchg<A, W> {
    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        let (acc, new) = (get::<W>(cpu, 0), get::<W>(cpu, (*o).src));
        let mut old = acc;
        if A::REGISTER {
            // A register that does not compare equal is not written: its upper half stays.
            old = try_flow!(A::load::<M, W>(o, cpu, tlb));
            if old == acc {
                try_flow!(A::store::<M, W>(o, cpu, tlb, new));
            }
        } else {
            try_flow!(A::update::<M, W>(o, cpu, tlb, |a| {
                old = a;
                if a == acc { new } else { a }
            }));
        }
        alu::alu::<W, { alu::op::CMP }>(cpu, acc, old);
        if old != acc {
            put(cpu, 0, old);
        }
        Flow::Next(1)
    }
}

fn xchg<W: Word>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegD, |A| Xchg<A, W>)
}

fn xadd<W: Word>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegD, |A| Xadd<A, W>)
}

fn cmpxchg<W: Word>(s: &Operands) -> Handler {
    by_rm!(s.addressing, RegD, |A| Cmpxchg<A, W>)
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Inc_rm8 => Exec::Handler(un::<u8, INC>);
    Inc_rm16 => Exec::Handler(un::<u16, INC>);
    Inc_rm32 => Exec::Handler(un::<u32, INC>);
    Inc_rm64 => Exec::Handler(un::<u64, INC>);
    Dec_rm8 => Exec::Handler(un::<u8, DEC>);
    Dec_rm16 => Exec::Handler(un::<u16, DEC>);
    Dec_rm32 => Exec::Handler(un::<u32, DEC>);
    Dec_rm64 => Exec::Handler(un::<u64, DEC>);
    Neg_rm8 => Exec::Handler(un::<u8, NEG>);
    Neg_rm16 => Exec::Handler(un::<u16, NEG>);
    Neg_rm32 => Exec::Handler(un::<u32, NEG>);
    Neg_rm64 => Exec::Handler(un::<u64, NEG>);
    Not_rm8 => Exec::Handler(un::<u8, NOT>);
    Not_rm16 => Exec::Handler(un::<u16, NOT>);
    Not_rm32 => Exec::Handler(un::<u32, NOT>);
    Not_rm64 => Exec::Handler(un::<u64, NOT>);
    Inc_r16 => Exec::Handler(un::<u16, INC>);
    Inc_r32 => Exec::Handler(un::<u32, INC>);
    Dec_r16 => Exec::Handler(un::<u16, DEC>);
    Dec_r32 => Exec::Handler(un::<u32, DEC>);
    Mul_rm8 => Exec::Handler(mul::<u8, false>);
    Mul_rm16 => Exec::Handler(mul::<u16, false>);
    Mul_rm32 => Exec::Handler(mul::<u32, false>);
    Mul_rm64 => Exec::Handler(mul::<u64, false>);
    Imul_rm8 => Exec::Handler(mul::<u8, true>);
    Imul_rm16 => Exec::Handler(mul::<u16, true>);
    Imul_rm32 => Exec::Handler(mul::<u32, true>);
    Imul_rm64 => Exec::Handler(mul::<u64, true>);
    Div_rm8 => Exec::Handler(div::<u8, false>);
    Div_rm16 => Exec::Handler(div::<u16, false>);
    Div_rm32 => Exec::Handler(div::<u32, false>);
    Div_rm64 => Exec::Handler(div::<u64, false>);
    Idiv_rm8 => Exec::Handler(div::<u8, true>);
    Idiv_rm16 => Exec::Handler(div::<u16, true>);
    Idiv_rm32 => Exec::Handler(div::<u32, true>);
    Idiv_rm64 => Exec::Handler(div::<u64, true>);
    Imul_r16_rm16 => Exec::Handler(imul2::<u16>);
    Imul_r32_rm32 => Exec::Handler(imul2::<u32>);
    Imul_r64_rm64 => Exec::Handler(imul2::<u64>);
    Imul_r16_rm16_imm16 => Exec::Handler(imul3::<u16>);
    Imul_r32_rm32_imm32 => Exec::Handler(imul3::<u32>);
    Imul_r64_rm64_imm32 => Exec::Handler(imul3::<u64>);
    Imul_r16_rm16_imm8 => Exec::Handler(imul3::<u16>);
    Imul_r32_rm32_imm8 => Exec::Handler(imul3::<u32>);
    Imul_r64_rm64_imm8 => Exec::Handler(imul3::<u64>);
    Xchg_r16_AX => Exec::Handler(xchg::<u16>);
    Xchg_r32_EAX => Exec::Handler(xchg::<u32>);
    Xchg_r64_RAX => Exec::Handler(xchg::<u64>);
    Xchg_rm8_r8 => Exec::Handler(xchg::<u8>);
    Xchg_rm16_r16 => Exec::Handler(xchg::<u16>);
    Xchg_rm32_r32 => Exec::Handler(xchg::<u32>);
    Xchg_rm64_r64 => Exec::Handler(xchg::<u64>);
    Xadd_rm8_r8 => Exec::Handler(xadd::<u8>);
    Xadd_rm16_r16 => Exec::Handler(xadd::<u16>);
    Xadd_rm32_r32 => Exec::Handler(xadd::<u32>);
    Xadd_rm64_r64 => Exec::Handler(xadd::<u64>);
    Cmpxchg_rm8_r8 => Exec::Handler(cmpxchg::<u8>);
    Cmpxchg_rm16_r16 => Exec::Handler(cmpxchg::<u16>);
    Cmpxchg_rm32_r32 => Exec::Handler(cmpxchg::<u32>);
    Cmpxchg_rm64_r64 => Exec::Handler(cmpxchg::<u64>);
};
