//! x87: the fast paths of comparisons, as in [`super::x87_fast`].
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::fast_path::WithMemory;
use super::x87_fast::{Recorded, Source, at, pop, ready, record_operand, st, top};
use crate::Cpu;
use crate::fpu::extended as ext;
use crate::mem::Address;
use crate::op::Op;
use crate::state::flags;
use crate::state::fpu::fallback::X87;
use crate::state::fpu::{C0, C2, C3, Register};
use mmu::TlbEntry;
use std::marker::PhantomData;

/// Compares; the condition codes.
#[inline(always)]
fn codes(a: Register, b: Register) -> Option<u32> {
    let (less, equal) = ext::compare(a, b)?;
    Some((less as u32 * C0 as u32) | (equal as u32 * C3 as u32))
}

/// Sets the condition codes and pops.
#[inline(always)]
unsafe fn compared<const POPS: u32>(cpu: *mut Cpu, codes: u32) {
    (*cpu).state.fpu.sw.bits = (*cpu).state.fpu.sw.bits & !((C0 | C2 | C3) as u32) | codes;
    for _ in 0..POPS {
        pop::<true>(cpu);
    }
}

/// `FCOM` and `FUCOM` with ST(i), and with pops; `OTHER` is the register, 8 for the operand's.
pub(crate) struct Fcom<const OTHER: u8, const POPS: u32>;

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<const OTHER: u8, const POPS: u32> Recorded for Fcom<OTHER, POPS> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<u64> {
        ready(cpu, X87)?;
        let other = if OTHER == 8 { (*op).src } else { 16 * OTHER };
        let (a, b) = (*at(cpu, top(cpu)), *st(cpu, other));
        compared::<POPS>(cpu, codes(a, b)?);
        Some(0)
    }
}

/// `FCOM`, `FCOMP`, `FICOM`, `FICOMP` with memory.
pub(crate) struct FcomM<S, const POPS: u32, A = ()>(PhantomData<(S, A)>);

impl<S: Source, const POPS: u32> WithMemory for FcomM<S, POPS> {
    type At<A: Address> = FcomM<S, POPS, A>;
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<S: Source, const POPS: u32, A: Address> Recorded for FcomM<S, POPS, A> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<u64> {
        ready(cpu, X87)?;
        let b = S::load::<A>(op, cpu, tlb)?;
        record_operand::<A>(op, cpu);
        compared::<POPS>(cpu, codes(*at(cpu, top(cpu)), b)?);
        Some(0)
    }
}

/// `FCOMI`, `FUCOMI` and with pop. C1 stays.
pub(crate) struct Fcomi<const POP: bool>;

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<const POP: bool> Recorded for Fcomi<POP> {
    const KEEPS_C1: bool = true;

    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<u64> {
        ready(cpu, X87)?;
        let (a, b) = (*at(cpu, top(cpu)), *st(cpu, (*op).src));
        let (less, equal) = ext::compare(a, b)?;
        pop::<POP>(cpu);
        (*cpu).state.flags.set_status((less as u64 * flags::CF) | (equal as u64 * flags::ZF));
        Some(0)
    }
}
