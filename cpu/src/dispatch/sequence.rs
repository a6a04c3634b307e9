//! Superinstructions: operations that follow one another, done by one handler.
//!
//! A sequence is a type-level list, `(At<A, CA>, (At<B, CB>, ()))`. Each operation keeps a record and a handler of
//! its own in the block: what leaves between two of them goes on there.
//!
//! The steps stand in one function, which LLVM sees whole: a function for each rest of a list, inlined into the next,
//! it would optimise by itself first, which takes longer and spills registers.
#![expect(unsafe_code, reason = "handlers work on raw pointers to the CPU and its blocks")]

use super::deferred::Deferred;
use super::threaded::{
    assume_operands, charge, cold, cold_after_replay, hot, late, pins_after, tail,
};
use super::{Flow, Plain, Semantics, class, linked};
use crate::Cpu;
use crate::mem::FastMem;
use crate::op::{HandlerFn, Op};
use std::hint::assert_unchecked;
use std::marker::PhantomData;

/// An operation of a sequence: its type, and what is known of its operands (see [`class`]). `LINK` (one of
/// [`super::uses`], or 0) is the register of it that is the destination of the one before.
pub(crate) struct At<S, const C: u64, const LINK: u32 = 0>(PhantomData<S>);

/// The type of an operation of a sequence.
///
/// # Safety
/// All methods: as [`Semantics::run`], and the operands are what is known of them.
pub(crate) trait Step: 'static {
    /// The type of the operation.
    type Does: Semantics;
    /// See [`At`].
    const LINK: u32;
    /// The handler that does it alone.
    const ALONE: HandlerFn;

    /// Tells the compiler what is known.
    unsafe fn assume(op: *const Op, cpu: *mut Cpu, pins: [u64; 3]);
    /// The pinned registers after the operation.
    unsafe fn pins_after(cpu: *mut Cpu, pins: [u64; 3]) -> [u64; 3];
    /// What is deferred after it has left `more`.
    unsafe fn deferred_after(deferred: Deferred, op: *const Op, more: Deferred) -> Deferred;
}

impl<S: Semantics, const C: u64, const LINK: u32> Step for At<S, C, LINK> {
    type Does = S;
    const LINK: u32 = LINK;
    const ALONE: HandlerFn = hot::<S, C>;

    #[inline(always)]
    unsafe fn assume(op: *const Op, cpu: *mut Cpu, pins: [u64; 3]) {
        assume_operands::<S, C>(op, cpu, pins);
    }

    #[inline(always)]
    unsafe fn pins_after(cpu: *mut Cpu, pins: [u64; 3]) -> [u64; 3] {
        pins_after::<S, C>(cpu, pins)
    }

    #[inline(always)]
    unsafe fn deferred_after(deferred: Deferred, op: *const Op, more: Deferred) -> Deferred {
        deferred.after::<S, C>(op, more)
    }
}

/// A list of operations.
pub(crate) trait Sequence: 'static {
    /// The first; anything, of an empty list.
    type First: Step;
    /// The operations after the first.
    type Rest: Sequence;
    /// The number of operations.
    const LENGTH: usize;
    /// Whether the list has one operation.
    const LAST: bool = Self::LENGTH == 1;
    /// What of [`super::deferred::ALL`] they give a new value before they look at it or end.
    const KILLS: u32;
    /// The handler that does them; of an empty list anything.
    const HANDLER: HandlerFn;
}

impl Sequence for () {
    type First = At<Plain<true>, { class::UNKNOWN }>;
    type Rest = ();
    const LENGTH: usize = 0;
    const KILLS: u32 = 0;
    const HANDLER: HandlerFn = <Self::First as Step>::ALONE;
}

impl<S: Step, R: Sequence> Sequence for (S, R) {
    type First = S;
    type Rest = R;
    const LENGTH: usize = 1 + R::LENGTH;
    const KILLS: u32 = S::Does::KILLS | S::Does::PRESERVES & R::KILLS;
    const HANDLER: HandlerFn = if R::LENGTH == 0 { S::ALONE } else { joined::<Self> };
}

type Rest<L> = <L as Sequence>::Rest;
type First<L> = <L as Sequence>::First;
type Does<L> = <First<L> as Step>::Does;

/// Flushes `$deferred` and goes on with `$op` in its cold twin.
macro_rules! bail_out {
    ($deferred:ident, $S:ty, $op:ident, $cpu:ident) => {
        return match $deferred.flush_rest($cpu) {
            None => cold::<$S>($op, &mut *$cpu),
            Some(replay) => {
                // Not here: its operands would wait in registers, and those would have to be saved.
                cold_after_replay::<$S>($op, &mut *$cpu, replay.op, replay.run)
            }
        }
    };
}

/// Does the first of `$L`, and leaves `$op`, `$pins` and `$deferred` for the next; leaves the handler after the last.
macro_rules! step {
    ($L:ty, $op:ident, $cpu:ident, $pins:ident, $deferred:ident) => {
        const { assert!(!Does::<$L>::FRAMED) };
        First::<$L>::assume($op, $cpu, $pins);
        if <$L as Sequence>::LAST {
            match Does::<$L>::run::<FastMem>($op, $cpu, (*$cpu).caches.tlb) {
                Flow::Next(k) => tail!($op.add(k), $cpu, First::<$L>::pins_after($cpu, $pins)),
                Flow::Taken(link) => {
                    if charge($op, $cpu) {
                        tail!(link, $cpu, First::<$L>::pins_after($cpu, $pins));
                    }
                    return late(link, &mut *$cpu);
                }
                _ => bail_out!($deferred, Does<$L>, $op, $cpu),
            }
        }
        let link = First::<Rest<$L>>::LINK;
        if link != 0 {
            // SAFETY: whoever chose this handler has compared them. The compiler then keeps the value in
            // a host register, which is faster than to store it and load it again.
            assert_unchecked((*$op).dst == linked(&*$op.add(1), link));
        }
        let later = Does::<$L>::KILLS & Rest::<$L>::KILLS;
        let (flow, more) = Does::<$L>::run_deferring($op, $cpu, later);
        match flow {
            Flow::Next(_) => {}
            Flow::Taken(link) => {
                First::<$L>::deferred_after($deferred, $op, more).flush($cpu);
                if charge($op, $cpu) {
                    tail!(link, $cpu, First::<$L>::pins_after($cpu, $pins));
                }
                return late(link, &mut *$cpu);
            }
            _ => bail_out!($deferred, Does<$L>, $op, $cpu),
        }
        let $deferred = First::<$L>::deferred_after($deferred, $op, more);
        let $pins = First::<$L>::pins_after($cpu, $pins);
        let $op = $op.add(1);
    };
}

/// The handler of a list of two to eight.
unsafe extern "sysv64" fn joined<L: Sequence>(
    op: *const Op,
    cpu: &mut Cpu,
    a: u64,
    b: u64,
    c: u64,
) {
    const { assert!(L::LENGTH > 1 && L::LENGTH <= 8) };
    let cpu: *mut Cpu = cpu;
    let (pins, deferred) = ([a, b, c], Deferred::NONE);
    step!(L, op, cpu, pins, deferred);
    step!(Rest<L>, op, cpu, pins, deferred);
    step!(Rest<Rest<L>>, op, cpu, pins, deferred);
    step!(Rest<Rest<Rest<L>>>, op, cpu, pins, deferred);
    step!(Rest<Rest<Rest<Rest<L>>>>, op, cpu, pins, deferred);
    step!(Rest<Rest<Rest<Rest<Rest<L>>>>>, op, cpu, pins, deferred);
    step!(Rest<Rest<Rest<Rest<Rest<Rest<L>>>>>>, op, cpu, pins, deferred);
    step!(Rest<Rest<Rest<Rest<Rest<Rest<Rest<L>>>>>>>, op, cpu, pins, deferred);
    // Nothing comes here: no list is longer.
    _ = (op, pins, deferred);
}
