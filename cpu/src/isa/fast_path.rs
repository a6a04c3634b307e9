//! Instructions of which a typed handler does the fast path, and a plain function all others.
//!
//! The handler does its case wholly or not at all; the cold twin is the plain function, which does any.
//! Its operation has operands, and refers to side data as a plain operation does.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::{AddressingMode, Operands};
use crate::Cpu;
use crate::dispatch::deferred::Deferred;
use crate::dispatch::{Flow, Handler, Plain, Semantics, handler, uses};
use crate::mem::{Base, General, Mem};
use crate::op::Op;
use mmu::TlbEntry;
use std::marker::PhantomData;

/// The fast path of an instruction form.
///
/// # Safety
/// The constants promise what the body does, as those of [`Semantics`].
pub(crate) unsafe trait FastPath: 'static {
    /// The operands that it names, see [`crate::dispatch::uses::vector_operands`].
    const NAMES: u32 = 0;
    /// General-purpose registers that it may write, see [`crate::dispatch::uses`].
    const SETS: u32 = 0;
    /// See [`Semantics::FRAMED`].
    const FRAMED: bool = false;
    /// See [`Semantics::KILLS`].
    const KILLS: u32 = 0;

    /// Does it; `None` if it is another case, nothing having changed.
    ///
    /// # Safety
    /// As [`Semantics::run`].
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()>;

    /// See [`Semantics::run_deferring`].
    ///
    /// # Safety
    /// As [`Semantics::run_deferring`].
    #[inline(always)]
    unsafe fn run_deferring(op: *const Op, cpu: *mut Cpu, _later: u32) -> Option<Deferred> {
        Self::run(op, cpu, (*cpu).caches.tlb)?;
        Some(Deferred::NONE)
    }
}

/// The operation with the fast path `U`.
pub(crate) struct Fast<U>(PhantomData<U>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<U: FastPath> Semantics for Fast<U> {
    const READS: u32 = uses::vector_operands(U::NAMES);
    const SETS: u32 = U::SETS;
    const FRAMED: bool = U::FRAMED;
    const KILLS: u32 = U::KILLS;

    #[inline(always)]
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        if M::SLOW {
            return Plain::<false>::run::<M>(op, cpu, tlb);
        }
        match U::run(op, cpu, tlb) {
            Some(()) => Flow::Next(1),
            None => Flow::Slow,
        }
    }

    #[inline(always)]
    unsafe fn run_deferring(op: *const Op, cpu: *mut Cpu, later: u32) -> (Flow, Deferred) {
        match U::run_deferring(op, cpu, later) {
            Some(deferred) => (Flow::Next(1), deferred),
            None => (Flow::Slow, Deferred::NONE),
        }
    }
}

/// A fast path with a memory operand at an address `A`.
pub(crate) trait WithMemory {
    /// The handler's type for this kind of address.
    type At<A: crate::mem::Address>: FastPath;
}

/// The handler of a fast path without memory operand.
pub(super) fn registers<U: FastPath>(_: &Operands) -> Handler {
    handler::<Fast<U>>()
}

/// The handler of a fast path with a memory operand.
pub(super) fn memory<U: WithMemory>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Base => handler::<Fast<U::At<Base>>>(),
        _ => handler::<Fast<U::At<General>>>(),
    }
}
