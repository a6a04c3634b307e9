//! Dispatch of debug builds, and of those with the feature `loop-dispatch`: handlers return to a loop.
#![expect(unsafe_code, reason = "handlers work on raw pointers to the CPU and its blocks")]

use super::{Flow, Semantics, slow, stop_at};
use crate::Cpu;
use crate::mem::FastMem;
use crate::op::{HandlerFn, Op};

/// The handler that does `S` on any operands.
pub(super) const fn general<S: Semantics>() -> HandlerFn {
    hot::<S>
}

unsafe fn hot<S: Semantics>(op: *const Op, cpu: *mut Cpu) -> *const Op {
    match S::run::<FastMem>(op, cpu, (*cpu).caches.tlb) {
        Flow::Next(k) => op.add(k),
        Flow::Taken(link) => {
            (*cpu).env.budget -= (*op).retired as i64;
            if (*cpu).env.budget < 0 {
                stop_at(link, cpu);
                return std::ptr::null();
            }
            link
        }
        Flow::Slow => slow::<S>(op, cpu),
        Flow::Exit => {
            (*cpu).env.budget -= (*op).retired as i64;
            std::ptr::null()
        }
    }
}

/// Runs from `op` until something leaves.
///
/// # Safety
/// As [`Semantics::run`].
pub unsafe fn run(mut op: *const Op, cpu: *mut Cpu) {
    while !op.is_null() {
        op = ((*op).handler)(op, cpu);
    }
}
