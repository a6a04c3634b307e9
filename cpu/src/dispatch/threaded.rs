//! Dispatch of release builds: every handler ends in a tail call to the next one's.
//!
//! LLVM makes a jump of a tail call only in functions without a stack frame, so whatever takes the address of a
//! local runs in a function of its own.
#![expect(unsafe_code, reason = "handlers work on raw pointers to the CPU and its blocks")]

use super::{Flow, PINNED, Semantics, class, slow, stop_at, uses};
use crate::Cpu;
use crate::mem::FastMem;
use crate::op::{HandlerFn, Op};
use std::hint::assert_unchecked;

/// Goes on at `$op` with pinned registers `$pins`.
macro_rules! tail {
    ($op:expr, $cpu:expr, $pins:expr) => {{
        let (op, pins) = ($op, $pins);
        return ((*op).handler)(op, &mut *$cpu, pins[0], pins[1], pins[2]);
    }};
}
#[cfg(all(feature = "superinst", not(test)))]
pub(super) use tail;

/// Tells the compiler that a register is at `offset`, and what it holds, as far as its class says so.
#[inline(always)]
unsafe fn operand(class: u64, offset: u8, cpu: *mut Cpu, pins: [u64; 3]) {
    let class = class as u8;
    if class < class::UNPINNED {
        // SAFETY: whoever chose this handler has compared them.
        assert_unchecked(offset == class);
        if let Some(k) = class::pinned(class) {
            // SAFETY: pinned registers are written through.
            assert_unchecked((*cpu).state.regs[PINNED[k]] == pins[k]);
        }
    }
}

/// Tells the compiler where the registers that `S` reads are, so that it reads no memory for them.
#[inline(always)]
pub(super) unsafe fn assume_operands<S: Semantics, const C: u64>(
    op: *const Op,
    cpu: *mut Cpu,
    pins: [u64; 3],
) {
    operand(C, (*op).dst, cpu, pins);
    operand(C >> 8, (*op).src, cpu, pins);
    operand(C >> 16, (*op).base, cpu, pins);
    operand(C >> 24, (*op).index, cpu, pins);
    if C >> 32 != 0 {
        // SAFETY: as in `operand`.
        assert_unchecked((*op).scale == (C >> 32) as u8);
    }
    assume_fixed::<S>(0, cpu, pins);
    assume_fixed::<S>(1, cpu, pins);
    assume_fixed::<S>(2, cpu, pins);
}

#[inline(always)]
unsafe fn assume_fixed<S: Semantics>(k: usize, cpu: *mut Cpu, pins: [u64; 3]) {
    if S::READS >> PINNED[k] & 1 != 0 {
        // SAFETY: as in `operand`.
        assert_unchecked((*cpu).state.regs[PINNED[k]] == pins[k]);
    }
}

/// Pinned register `k` after `S`.
#[inline(always)]
unsafe fn pin_after<S: Semantics, const C: u64>(k: usize, cpu: *mut Cpu, pins: [u64; 3]) -> u64 {
    let d = C as u8;
    let within = d == class::ANY || d as usize / 8 == PINNED[k] && !d.is_multiple_of(8);
    let now = (*cpu).state.regs[PINNED[k]];
    let sets_d = S::SETS & uses::DST != 0;
    if S::SETS & uses::ANY != 0 || sets_d && within || S::SETS >> PINNED[k] & 1 != 0 {
        now
    } else if !sets_d || d != 8 * PINNED[k] as u8 {
        pins[k]
    } else if S::BITS >= 32 {
        now
    } else {
        // Not read whole, which the host would have to wait for.
        let p = &raw const (*cpu).state.regs[PINNED[k]];
        let (part, mask) = match S::BITS {
            8 => ((p as *const u8).read() as u64, 0xff),
            _ => ((p as *const u16).read() as u64, 0xffff),
        };
        pins[k] & !mask | part
    }
}

#[inline(always)]
pub(super) unsafe fn pins_after<S: Semantics, const C: u64>(
    cpu: *mut Cpu,
    pins: [u64; 3],
) -> [u64; 3] {
    [
        pin_after::<S, C>(0, cpu, pins),
        pin_after::<S, C>(1, cpu, pins),
        pin_after::<S, C>(2, cpu, pins),
    ]
}

#[inline(always)]
pub(super) unsafe fn reloaded(cpu: *mut Cpu) -> [u64; 3] {
    PINNED.map(|r| (*cpu).state.regs[r])
}

/// Charges the block of `op`; whether to go on.
#[inline(always)]
pub(super) unsafe fn charge(op: *const Op, cpu: *mut Cpu) -> bool {
    let left = (*cpu).env.budget - (*op).retired as i64;
    (*cpu).env.budget = left;
    left >= 0
}

/// The handler that does `S` on any operands.
pub(super) const fn general<S: Semantics>() -> HandlerFn {
    hot::<S, { class::UNKNOWN }>
}

pub(super) unsafe extern "sysv64" fn hot<S: Semantics, const C: u64>(
    op: *const Op,
    cpu: &mut Cpu,
    a: u64,
    b: u64,
    c: u64,
) {
    let cpu: *mut Cpu = cpu;
    if S::FRAMED {
        let next = framed::<S>(op, cpu);
        if next.is_null() {
            return;
        }
        tail!(next, cpu, reloaded(cpu));
    }
    let pins = [a, b, c];
    assume_operands::<S, C>(op, cpu, pins);
    match S::run::<FastMem>(op, cpu, (*cpu).caches.tlb) {
        Flow::Next(k) => tail!(op.add(k), cpu, pins_after::<S, C>(cpu, pins)),
        Flow::Taken(link) => {
            if charge(op, cpu) {
                tail!(link, cpu, pins_after::<S, C>(cpu, pins));
            }
            late(link, &mut *cpu)
        }
        Flow::Slow => cold::<S>(op, &mut *cpu),
        Flow::Exit => (*cpu).env.budget -= (*op).retired as i64,
    }
}

#[cold]
#[inline(never)]
pub(super) unsafe extern "sysv64" fn late(link: *const Op, cpu: &mut Cpu) {
    stop_at(link, cpu);
}

/// The cold twin of a handler. The body runs in a function of its own, so that locals whose address it
/// takes cannot stand in the way of the tail call. It is not given the pinned registers: a handler would have to keep
/// those that it was called with.
#[cold]
#[inline(never)]
pub(super) unsafe extern "sysv64" fn cold<S: Semantics>(op: *const Op, cpu: &mut Cpu) {
    let next = step::<S>(op, cpu);
    if next.is_null() {
        return;
    }
    tail!(next, cpu, reloaded(cpu));
}

/// As [`cold`], after an operation to be run again first for its flags.
#[cfg(all(feature = "superinst", not(test)))]
#[cold]
#[inline(never)]
pub(super) unsafe extern "sysv64" fn cold_after_replay<S: Semantics>(
    op: *const Op,
    cpu: &mut Cpu,
    before: *const Op,
    run: unsafe extern "sysv64" fn(*const Op, *mut Cpu),
) {
    run(before, cpu);
    let next = step::<S>(op, cpu);
    if next.is_null() {
        return;
    }
    tail!(next, cpu, reloaded(cpu));
}

/// Does one operation of a framed body; as [`step`].
#[inline(never)]
unsafe fn framed<S: Semantics>(op: *const Op, cpu: *mut Cpu) -> *const Op {
    match S::run::<FastMem>(op, cpu, (*cpu).caches.tlb) {
        Flow::Next(k) => op.add(k),
        _ => step::<S>(op, cpu),
    }
}

/// Does one operation with [`SlowMem`]: the next, or null to leave.
#[inline(never)]
unsafe fn step<S: Semantics>(op: *const Op, cpu: *mut Cpu) -> *const Op {
    slow::<S>(op, cpu)
}

/// Runs from `op` until something leaves.
///
/// # Safety
/// As [`Semantics::run`].
pub unsafe fn run(op: *const Op, cpu: *mut Cpu) {
    let pins = reloaded(cpu);
    ((*op).handler)(op, &mut *cpu, pins[0], pins[1], pins[2])
}
