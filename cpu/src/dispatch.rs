//! How one operation hands over to the next: the only file that knows.
//!
//! A handler body is a [`Semantics`]; a wrapper here turns it into a [`Handler`]. Release builds thread:
//! every handler ends in a tail call to the next one's (LLVM makes a jump of it from `opt-level` 1
//! on). Builds that are not optimised that far, and any build with the feature `loop-dispatch`, return
//! to a loop: the build script decides, and sets `threaded`. Bodies cannot tell which.
//!
//! A body that meets a TLB miss returns [`Flow::Slow`] and is run again by its cold twin, with
//! [`SlowMem`], where a second `Slow` means that `cpu.trap` says why. Handlers of the hot kind hold no
//! stack frame, so a trap is a plain return into the outer loop.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "handler bodies are unsafe as a whole, for one reason: Semantics::run"
)]
#![expect(unsafe_code, reason = "handlers work on raw pointers to the CPU and its blocks")]

pub mod class;
pub mod deferred;
#[cfg(all(feature = "superinst", threaded, not(test)))]
pub(crate) mod sequence;

#[cfg(not(threaded))]
mod looped;
#[cfg(threaded)]
mod threaded;

#[cfg(not(threaded))]
use looped as engine;
#[cfg(threaded)]
use threaded as engine;

pub use crate::op::uses;
pub use engine::run;

use crate::Cpu;
use crate::mem::{FastMem, Mem, SlowMem};
use crate::op::{HandlerFn, Op, op_flags};
use crate::plain::Side;
use crate::state::gpr;
use deferred::Deferred;
use mmu::TlbEntry;
use std::any::TypeId;

/// The way on after a handler body.
pub enum Flow {
    /// The operation this many further on in the block.
    Next(usize),
    /// A branch to that operation; the block's instructions are charged.
    Taken(*const Op),
    /// Not finished: run the cold twin; from the cold twin: a trap.
    Slow,
    /// Finished; back to the outer loop, with `cpu.rip` set.
    Exit,
}

/// The body of a handler. A framed one does nothing but [`Flow::Next`] or [`Flow::Slow`] in its hot form.
///
/// # Safety
/// The constants promise what the body does, and handlers of several operations tell the compiler so: each says what
/// follows where that is not so. `cpu/tests/promises.rs` holds the types of the tables of superinstructions to them.
pub unsafe trait Semantics: 'static {
    /// Whether the body needs a stack frame (locals whose address it takes): then it runs in a function
    /// of its own, because a frame stands in the way of the tail call.
    const FRAMED: bool = false;
    /// READS: the registers that the body reads, see [`uses`]; what is not said is not made use of. Undefined behaviour
    /// follows if an operand named here is no register; wrong flags follow if a [`Semantics::REPLAYABLE`] body reads
    /// others.
    const READS: u32 = 0;
    /// SETS: the body writes no other registers. Undefined behaviour follows if it does: a pinned register is then
    /// believed to be what it was.
    const SETS: u32 = uses::ANY;
    /// BITS: of the register in `dst` the body writes this many of the low bits; with 32 or more it writes the whole.
    /// Undefined behaviour follows if it writes others, as with [`Semantics::SETS`].
    const BITS: u32 = 64;
    /// KILLS: these parts of [`deferred::ALL`] have a new value if the body finishes, and it has never looked at the
    /// old. Wrong flags, or x87 state, follow if it has: the operation before may have left the old undone.
    const KILLS: u32 = 0;
    /// PRESERVES: the body neither changes these parts of [`deferred::ALL`] nor looks at them. What follows if it does
    /// is as with [`Semantics::KILLS`].
    const PRESERVES: u32 = 0;
    /// REPLAYABLE: to run the body again, on what it has read before, does nothing but to set the flags as they were.
    /// A guest's state is changed twice if it does more.
    const REPLAYABLE: bool = false;

    /// Executes the operation.
    ///
    /// # Safety
    /// `op` is a live operation of a block whose successors follow it, `cpu` the processor in a run
    /// (its environment is set), `tlb` its current view.
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow;

    /// As [`Semantics::run`], where an operation follows that renews `later`: of that it may defer as much as it likes.
    ///
    /// # Safety
    /// As [`Semantics::run`]; `later` is part of `KILLS`.
    #[inline(always)]
    unsafe fn run_deferring(op: *const Op, cpu: *mut Cpu, _later: u32) -> (Flow, Deferred) {
        (Self::run::<FastMem>(op, cpu, (*cpu).caches.tlb), Deferred::NONE)
    }
}

/// Instructions retired by the operations before `op` in its block.
#[inline(always)]
unsafe fn before(op: *const Op) -> i64 {
    (*op).retired as i64 - if (*op).flags & op_flags::FUSED != 0 { 2 } else { 1 }
}

/// Leaves to the outer loop, to go on at `next`.
#[inline(always)]
unsafe fn stop_at(next: *const Op, cpu: *mut Cpu) {
    (*cpu).set_rip_at((*next).page_offset);
}

/// The guest registers that travel in host registers from handler to handler. They are written through:
/// [`State::regs`](crate::state::State::regs) is exact at every moment, so that whoever wants may read it there.
///
/// RCX comes second because the second of them is in the host's RCX, where shifts want their counts.
pub const PINNED: [usize; 3] = [gpr::RDX, gpr::RCX, gpr::RAX];

/// As [`run`] for one operation, with [`SlowMem`]: the next, or null to leave. What the host notes of
/// floating point meanwhile is not the guest's.
#[inline(always)]
unsafe fn slow<S: Semantics>(op: *const Op, cpu: *mut Cpu) -> *const Op {
    let left = (*cpu).env.budget;
    (*cpu).env.op = op;
    (*cpu).env.budget_at_op = left - before(op);
    (*cpu).collect_host_exceptions();
    let flow = S::run::<SlowMem>(op, cpu, (*cpu).caches.tlb);
    (*cpu).clear_host_exceptions();
    if (*cpu).env.stall != 0 {
        (*cpu).take_time(matches!(flow, Flow::Slow));
    }
    let left = (*cpu).env.budget;
    let (next, charged) = match flow {
        Flow::Next(k) => (op.add(k), (*cpu).env.leave),
        Flow::Taken(link) => (link, true),
        Flow::Slow => {
            stop_at(op, cpu);
            (*cpu).env.budget = (*cpu).env.budget_at_op;
            return std::ptr::null();
        }
        Flow::Exit => {
            (*cpu).env.budget = left - (*op).retired as i64;
            return std::ptr::null();
        }
    };
    if charged {
        let left = left - (*op).retired as i64;
        (*cpu).env.budget = left;
        if left < 0 || (*cpu).env.leave {
            stop_at(next, cpu);
            return std::ptr::null();
        }
    }
    next
}

/// The handler that does an operation of a type on any operands, as chosen by decoding.
#[derive(Clone, Copy)]
pub struct Handler(&'static HandlerInfo);

/// A handler and the operation that it does.
pub struct HandlerInfo {
    /// The compiled function.
    pub run: HandlerFn,
    /// The type whose [`Semantics`] it has: its identity, because two types may share their code.
    pub id: fn() -> TypeId,
}

impl Handler {
    /// The compiled function.
    pub fn run(self) -> HandlerFn {
        self.0.run
    }

    /// The identity of the type.
    pub fn id(self) -> TypeId {
        (self.0.id)()
    }
}

/// The handler that does `S` on any operands.
pub const fn handler<S: Semantics>() -> Handler {
    Handler(const { &HandlerInfo { run: engine::general::<S>(), id: TypeId::of::<S> } })
}

/// The register of `op` that `link` (one of [`uses`]) means.
#[inline(always)]
pub fn linked(op: &Op, link: u32) -> u8 {
    match link {
        uses::DST => op.dst,
        uses::SRC => op.src,
        uses::BASE => op.base,
        _ => op.index,
    }
}

/// A plain operation (see [`crate::plain`]): calls the function in its side data. Always in the cold
/// twin, so that the function finds `cpu.op` and `cpu.ic` set. `END` operations leave the block: RIP is
/// already the next instruction's when the function runs, which may change RIP.
pub struct Plain<const END: bool>;

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<const END: bool> Semantics for Plain<END> {
    #[inline(always)]
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        if !M::SLOW {
            return Flow::Slow;
        }
        // SAFETY: the decoder stored a pointer to side data that lives as long as the block.
        let side = &*((*op).imm as *const Side);
        if END {
            (*cpu).set_rip_at((*op).page_offset + (*op).len as u16);
        }
        match (side.f)(&mut *cpu, &side.insn) {
            Ok(()) if END => Flow::Exit,
            Ok(()) => Flow::Next(1),
            Err(trap) => {
                (*cpu).env.trap = Some(trap);
                Flow::Slow
            }
        }
    }
}
