//! x87: the fast paths of moves of the control and status words, as in [`super::x87_fast`].
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::fast_path::{FastPath, WithMemory};
use super::x87_fast::{ready, word};
use crate::Cpu;
use crate::dispatch::uses;
use crate::mem::{Address, FastMem, Mem};
use crate::op::Op;
use crate::state::fpu::fallback::X87;
use crate::word::Word;
use mmu::TlbEntry;
use std::marker::PhantomData;

/// `FNSTSW AX`.
pub(crate) struct StatusToAx;

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl FastPath for StatusToAx {
    const SETS: u32 = uses::RAX;

    #[inline(always)]
    unsafe fn run(_: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        if !(*cpu).fast_path_allowed(X87) {
            return None;
        }
        u16::put(&mut (*cpu).state.regs[0], (*cpu).state.fpu.sw.get());
        Some(())
    }
}

/// `FNSTCW`.
pub(crate) struct StoreControl<A = ()>(PhantomData<A>);

impl WithMemory for StoreControl {
    type At<A: Address> = StoreControl<A>;
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Address> FastPath for StoreControl<A> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()> {
        if !(*cpu).fast_path_allowed(X87) {
            return None;
        }
        let la = A::linear::<FastMem>(&*op, cpu, 2, true)?;
        FastMem::store(cpu, tlb, la, (*cpu).state.fpu.cw)
    }
}

/// `FLDCW`.
pub(crate) struct LoadControl<A = ()>(PhantomData<A>);

impl WithMemory for LoadControl {
    type At<A: Address> = LoadControl<A>;
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Address> FastPath for LoadControl<A> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()> {
        ready(cpu, X87)?;
        let v = word::<A, u16>(op, cpu, tlb)?;
        (*cpu).state.fpu.set_cw(v);
        (*cpu).update_fallback();
        Some(())
    }
}
