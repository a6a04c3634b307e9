//! Compare-and-branch pairs in one operation: CMP, TEST, and arithmetic on a register, each followed by
//! a conditional branch that stays in the page. The condition is computed from the operands; the flags
//! are recorded as the pair would have left them.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::AddressingMode;
use super::alu::{compute, op};
use super::rm::{self, RegD, Rm, try_flow};
use super::segmented::condition_number;
use crate::Cpu;
use crate::dispatch::deferred::{self, Deferred, deferring, now};
use crate::dispatch::{Flow, Handler, Semantics, handler, uses};
use crate::mem::{Base, FastMem, Index, Mem, get, put};
use crate::op::Op;
use crate::state::flags::Lazy;
use crate::word::Word;
use iced_x86::{Instruction, Mnemonic, OpKind};
use mmu::TlbEntry;
use std::marker::PhantomData;

/// Where the second operand is.
pub(crate) trait Source: 'static {
    /// Registers that reading it reads, see [`uses`].
    const READS: u32 = 0;
    /// Reads the operand.
    ///
    /// # Safety
    /// As [`Semantics::run`].
    unsafe fn get<W: Word>(op: *const Op, cpu: *mut Cpu) -> W;
}

/// The register in [`Op::src`].
pub(crate) struct FromReg;
/// The immediate in [`Op::disp`].
pub(crate) struct FromDisp;
/// The immediate of one byte, sign-extended, in [`Op::src`].
pub(crate) struct FromByte;

impl Source for FromReg {
    const READS: u32 = uses::SRC;

    #[inline(always)]
    unsafe fn get<W: Word>(op: *const Op, cpu: *mut Cpu) -> W {
        get(cpu, (*op).src)
    }
}

impl Source for FromDisp {
    #[inline(always)]
    unsafe fn get<W: Word>(op: *const Op, _: *mut Cpu) -> W {
        W::of((*op).disp as i64 as u64)
    }
}

impl Source for FromByte {
    #[inline(always)]
    unsafe fn get<W: Word>(op: *const Op, _: *mut Cpu) -> W {
        W::of((*op).src as i8 as u64)
    }
}

/// Condition `CC` after comparing `a` with `b`.
#[inline(always)]
fn after_sub<W: Word, const CC: u8>(a: W, b: W) -> bool {
    let v = match CC >> 1 {
        1 => a.u() < b.u(),
        2 => a == b,
        3 => a.u() <= b.u(),
        4 => W::of(a.u().wrapping_sub(b.u())).s() < 0,
        6 => a.s() < b.s(),
        _ => a.s() <= b.s(),
    };
    v ^ (CC & 1 != 0)
}

/// Condition `CC` after a logical operation with this result: CF = OF = 0.
#[inline(always)]
fn after_logic<W: Word, const CC: u8>(res: W) -> bool {
    let v = match CC >> 1 {
        1 => false,
        2 | 3 => res.u() == 0,
        4 | 6 => res.s() < 0,
        _ => res.s() <= 0,
    };
    v ^ (CC & 1 != 0)
}

#[inline(always)]
fn branch(op: *const Op, taken: bool) -> Flow {
    if taken {
        // SAFETY: the running operation.
        Flow::Taken(unsafe { (*op).imm } as *const Op)
    } else {
        Flow::Next(1)
    }
}

/// The two ways to run a body that hands its flags to `$note`.
macro_rules! noting {
    (|$o:ident, $cpu:ident, $tlb:ident, $M:ident, $note:ident| $body:block) => {
        #[inline(always)]
        unsafe fn run<$M: Mem>($o: *const Op, $cpu: *mut Cpu, $tlb: *mut TlbEntry) -> Flow {
            let $note = now::<$M, true>($cpu);
            $body
        }

        #[inline(always)]
        unsafe fn run_deferring($o: *const Op, $cpu: *mut Cpu, later: u32) -> (Flow, Deferred) {
            #[allow(dead_code, reason = "not every body has memory operands")]
            type $M = FastMem;
            deferring::<true>($cpu, later, |$tlb, into| {
                let $note = deferred::later(into);
                $body
            })
        }
    };
}

/// Compares (CMP) or tests (TEST) `a` and `b`, and branches on `CC`; the flags go to `note`.
#[inline(always)]
fn decide<W: Word, const OP: u8, const CC: u8>(
    o: *const Op,
    a: W,
    b: W,
    note: impl FnOnce(Lazy),
) -> Flow {
    let (res, flags) = compute::<W, OP>(0, a, b);
    note(flags);
    let taken = if OP == op::CMP { after_sub::<W, CC>(a, b) } else { after_logic::<W, CC>(res) };
    branch(o, taken)
}

/// `CMP`/`TEST r/m, source` and a branch.
pub(crate) struct Compare<A, S, W, const OP: u8, const CC: u8>(PhantomData<(A, S, W)>);
/// `CMP reg, r/m` and a branch.
pub(crate) struct CompareLoad<A, W, const CC: u8>(PhantomData<(A, W)>);
/// `ADD`, `SUB`, `AND`, `OR` on a register, and a branch on equality or sign.
pub(crate) struct Arithmetic<S, W, const OP: u8, const CC: u8>(PhantomData<(S, W)>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, S: Source, W: Word, const OP: u8, const CC: u8> Semantics
    for Compare<A, S, W, OP, CC>
{
    const REPLAYABLE: bool = A::REGISTER;
    const KILLS: u32 = deferred::FLAGS;
    const READS: u32 = A::READS | S::READS;
    const SETS: u32 = 0;

    noting! { |o, cpu, tlb, M, note| {
        let a = try_flow!(A::load::<M, W>(o, cpu, tlb));
        decide::<W, OP, CC>(o, a, S::get(o, cpu), note)
    } }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Rm, W: Word, const CC: u8> Semantics for CompareLoad<A, W, CC> {
    const KILLS: u32 = deferred::FLAGS;
    const READS: u32 = A::READS | uses::DST;
    const SETS: u32 = 0;

    noting! { |o, cpu, tlb, M, note| {
        let b = try_flow!(A::load::<M, W>(o, cpu, tlb));
        decide::<W, { op::CMP }, CC>(o, get(cpu, (*o).dst), b, note)
    } }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<S: Source, W: Word, const OP: u8, const CC: u8> Semantics for Arithmetic<S, W, OP, CC> {
    const KILLS: u32 = deferred::FLAGS;
    const READS: u32 = S::READS | uses::DST;
    const SETS: u32 = uses::DST;
    const BITS: u32 = W::BITS;

    noting! { |o, cpu, _tlb, M, note| {
        let (res, flags) = compute::<W, OP>(0, get(cpu, (*o).dst), S::get(o, cpu));
        note(flags);
        put(cpu, (*o).dst, res);
        branch(o, after_logic::<W, CC>(res))
    } }
}

/// The handler for a condition out of those listed.
macro_rules! by_cc {
    ($cc:expr, [$($n:literal)*], |$CC:ident| $sem:ty) => {
        match $cc {
            $($n => {
                const $CC: u8 = $n;
                Some(handler::<$sem>())
            })*
            _ => None,
        }
    };
}

macro_rules! compare {
    ($cc:expr, $A:ty, $S:ty, $W:ty, $OP:expr) => {
        by_cc!($cc, [2 3 4 5 6 7 8 9 12 13 14 15], |CC| Compare<$A, $S, $W, { $OP }, CC>)
    };
}

type Mb = rm::Memory<Base>;
type Mi = rm::Memory<Index>;

fn compare<W: Word, const OP: u8>(am: AddressingMode, imm: bool, cc: u8) -> Option<Handler> {
    match (am, imm) {
        (AddressingMode::Reg, false) => compare!(cc, RegD, FromReg, W, OP),
        (AddressingMode::Reg, true) => compare!(cc, RegD, FromDisp, W, OP),
        (AddressingMode::Base, false) => compare!(cc, Mb, FromReg, W, OP),
        (AddressingMode::Base, true) => compare!(cc, Mb, FromByte, W, OP),
        (AddressingMode::Index, true) => compare!(cc, Mi, FromByte, W, OP),
        _ => None,
    }
}

fn compare_load<W: Word>(am: AddressingMode, cc: u8) -> Option<Handler> {
    match am {
        AddressingMode::Base => {
            by_cc!(cc, [2 3 4 5 6 7 8 9 12 13 14 15], |CC| CompareLoad<Mb, W, CC>)
        }
        AddressingMode::Index => {
            by_cc!(cc, [2 3 4 5 6 7 8 9 12 13 14 15], |CC| CompareLoad<Mi, W, CC>)
        }
        _ => None,
    }
}

fn arithmetic<W: Word, const OP: u8>(imm: bool, cc: u8) -> Option<Handler> {
    if imm {
        by_cc!(cc, [4 5 8 9], |CC| Arithmetic<FromDisp, W, OP, CC>)
    } else {
        by_cc!(cc, [4 5 8 9], |CC| Arithmetic<FromReg, W, OP, CC>)
    }
}

fn pick<W: Word>(i: &Instruction, am: AddressingMode, cc: u8) -> Option<Handler> {
    let memory_first = i.op0_kind() == OpKind::Memory;
    let imm = i.op1_kind() != OpKind::Register && i.op1_kind() != OpKind::Memory;
    if am != AddressingMode::Reg && imm && i.immediate(1) as i64 != i.immediate(1) as i8 as i64 {
        return None;
    }
    match i.mnemonic() {
        Mnemonic::Cmp if am != AddressingMode::Reg && !memory_first => compare_load::<W>(am, cc),
        Mnemonic::Cmp => compare::<W, { op::CMP }>(am, imm, cc),
        Mnemonic::Test => compare::<W, { op::TEST }>(am, imm, cc),
        _ if am != AddressingMode::Reg => None,
        Mnemonic::Add => arithmetic::<W, { op::ADD }>(imm, cc),
        Mnemonic::Sub => arithmetic::<W, { op::SUB }>(imm, cc),
        Mnemonic::And => arithmetic::<W, { op::AND }>(imm, cc),
        _ => None,
    }
}

/// The handler that does `i` and the conditional branch `j` in one, if there is one. Its immediate is
/// expected in `disp` for a register operand, in `src` for a memory operand.
pub(crate) fn fused(i: &Instruction, am: AddressingMode, j: &Instruction) -> Option<Handler> {
    if !matches!(
        i.mnemonic(),
        Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Add | Mnemonic::Sub | Mnemonic::And
    ) {
        return None;
    }
    let cc = condition_number(j.condition_code());
    let size = if i.op0_kind() == OpKind::Memory {
        i.memory_size().size()
    } else {
        i.op0_register().size()
    };
    match size {
        1 if matches!(i.mnemonic(), Mnemonic::Cmp | Mnemonic::Test) => pick::<u8>(i, am, cc),
        4 => pick::<u32>(i, am, cc),
        8 => pick::<u64>(i, am, cc),
        _ => None,
    }
}
