//! Instructions of which a typed handler does the usual case, and a plain function all others.
//!
//! The handler does its case wholly or not at all; the cold twin is the plain function, which does any.
//! Its operation has operands, and refers to side data as a plain operation does.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::{Am, Shape};
use crate::dispatch::owed::Owed;
use crate::dispatch::{Flow, Handler, Plain, Sem, handler, uses};
use crate::mem::{Base, General, Mem};
use crate::op::Op;
use crate::state::Cpu;
use mmu::TlbEntry;
use std::marker::PhantomData;

/// A usual case.
pub trait Usual {
    /// The operands that it names, see [`crate::dispatch::uses::in_rows`].
    const NAMES: u32 = 0;
    /// General-purpose registers that it may write, see [`crate::dispatch::uses`].
    const SETS: u32 = 0;
    /// See [`Sem::FRAMED`].
    const FRAMED: bool = false;
    /// See [`Sem::RENEWS`].
    const RENEWS: u32 = 0;

    /// Does it; `None` if it is another case, nothing having changed.
    ///
    /// # Safety
    /// As [`Sem::run`].
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()>;

    /// See [`Sem::run_owing`].
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn run_owing(op: *const Op, cpu: *mut Cpu, _later: u32) -> Option<Owed> {
        Self::run(op, cpu, (*cpu).tlb)?;
        Some(Owed::NOTHING)
    }
}

/// The operation with the usual case `U`.
pub struct Fast<U>(PhantomData<U>);

impl<U: Usual> Sem for Fast<U> {
    const READS: u32 = uses::in_rows(U::NAMES);
    const SETS: u32 = U::SETS;
    const FRAMED: bool = U::FRAMED;
    const RENEWS: u32 = U::RENEWS;

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
    unsafe fn run_owing(op: *const Op, cpu: *mut Cpu, later: u32) -> (Flow, Owed) {
        match U::run_owing(op, cpu, later) {
            Some(owed) => (Flow::Next(1), owed),
            None => (Flow::Slow, Owed::NOTHING),
        }
    }
}

/// A usual case with a memory operand at an address `A`.
pub trait WithMemory {
    /// It.
    type At<A: crate::mem::Address>: Usual;
}

/// The handler of a usual case without memory operand.
pub fn registers<U: Usual>(_: &Shape) -> Handler {
    handler::<Fast<U>>()
}

/// The handler of a usual case with a memory operand.
pub fn memory<U: WithMemory>(s: &Shape) -> Handler {
    match s.am {
        Am::Base => handler::<Fast<U::At<Base>>>(),
        _ => handler::<Fast<U::At<General>>>(),
    }
}
