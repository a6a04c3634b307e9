//! How one operation hands over to the next: the only file that knows.
//!
//! A handler body is a [`Sem`]; a wrapper here turns it into a [`Handler`]. Release builds thread:
//! every handler ends in a tail call to the next one's (LLVM makes a jump of it from `opt-level` 1
//! on). Debug builds, and any build with the feature `loop-dispatch`, return to a loop. Bodies
//! cannot tell which.
//!
//! A body that meets a TLB miss returns [`Flow::Slow`] and is run again by its cold twin, with
//! [`SlowMem`], where a second `Slow` means that `cpu.trap` says why. Handlers of the hot kind hold no
//! stack frame, so a trap is a plain return into the outer loop.
#![expect(unsafe_code, reason = "handlers work on raw pointers to the CPU and its blocks")]

use crate::mem::{FastMem, Mem, SlowMem};
use crate::op::{Op, kind};
use crate::plain::Side;
use crate::state::Cpu;
use mmu::TlbEntry;

/// What a handler body says comes next.
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

/// Bits of [`Sem::USES`].
pub mod uses {
    /// Reads the register in `d`.
    pub const D: u8 = 1;
    /// Reads the register in `s`.
    pub const S: u8 = 2;
    /// Reads the register in `b`.
    pub const B: u8 = 4;
    /// Writes the register in `d`.
    pub const SETS_D: u8 = 8;
}

/// The body of a handler. A framed one does nothing but [`Flow::Next`] or [`Flow::Slow`] in its hot form.
pub trait Sem {
    /// Whether the body needs a stack frame (locals whose address it takes): then it runs in a function
    /// of its own, because a frame stands in the way of the tail call.
    const FRAMED: bool = false;
    /// Which registers of its operation the body reads and writes, see [`uses`]; what is not said is not
    /// made use of.
    const USES: u8 = 0;

    /// Does the operation.
    ///
    /// # Safety
    /// `op` is a live operation of a block whose successors follow it, `cpu` the processor in a run
    /// (its environment is set), `tlb` its current view.
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow;
}

/// Instructions retired by the operations before `op` in its block.
#[inline(always)]
unsafe fn before(op: *const Op) -> i64 {
    (*op).n as i64 - if (*op).k & kind::FUSED != 0 { 2 } else { 1 }
}

/// Leaves to the outer loop, to go on at `next`.
#[inline(always)]
unsafe fn stop_at(next: *const Op, cpu: *mut Cpu) {
    (*cpu).set_rip_at((*next).po);
}

#[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
mod threaded {
    use super::*;

    /// Runs an operation and all that follow, until one leaves; returns the instructions left.
    pub type Handler =
        unsafe extern "sysv64" fn(*const Op, *mut Cpu, *mut TlbEntry, Spare, i64) -> i64;

    /// Nothing: keeps RCX free in all handlers, which shifts need for their counts.
    type Spare = std::mem::MaybeUninit<u64>;
    const SPARE: Spare = Spare::uninit();

    pub(super) unsafe extern "sysv64" fn hot<S: Sem>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
        _: Spare,
        ic: i64,
    ) -> i64 {
        if S::FRAMED {
            let next = framed::<S>(op, cpu, ic, tlb);
            let ic = (*cpu).ic;
            if next.is_null() {
                return ic;
            }
            return ((*next).f)(next, cpu, tlb, SPARE, ic);
        }
        match S::run::<FastMem>(op, cpu, tlb) {
            Flow::Next(k) => {
                let next = op.add(k);
                ((*next).f)(next, cpu, tlb, SPARE, ic)
            }
            Flow::Taken(link) => {
                let ic = ic - (*op).n as i64;
                if ic < 0 {
                    return late(link, cpu, ic);
                }
                ((*link).f)(link, cpu, tlb, SPARE, ic)
            }
            Flow::Slow => cold::<S>(op, cpu, tlb, SPARE, ic),
            Flow::Exit => ic - (*op).n as i64,
        }
    }

    /// Two operations in a row with one hand-over less. `LINK` (one of [`uses`]) is the register of the
    /// second that the first has just written.
    pub(super) unsafe extern "sysv64" fn pair<A: Sem, B: Sem, const LINK: u8>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
        _: Spare,
        ic: i64,
    ) -> i64 {
        if LINK != 0 {
            // SAFETY: whoever chose this handler has compared them. The compiler then keeps the value in
            // a host register, which is faster than to store it and load it again.
            std::hint::assert_unchecked((*op).d == linked(&*op.add(1), LINK));
        }
        match A::run::<FastMem>(op, cpu, tlb) {
            Flow::Next(_) => {}
            Flow::Taken(link) => {
                let ic = ic - (*op).n as i64;
                if ic < 0 {
                    return late(link, cpu, ic);
                }
                return ((*link).f)(link, cpu, tlb, SPARE, ic);
            }
            _ => return cold::<A>(op, cpu, tlb, SPARE, ic),
        }
        let op = op.add(1);
        match B::run::<FastMem>(op, cpu, tlb) {
            Flow::Next(k) => {
                let next = op.add(k);
                ((*next).f)(next, cpu, tlb, SPARE, ic)
            }
            Flow::Taken(link) => {
                let ic = ic - (*op).n as i64;
                if ic < 0 {
                    return late(link, cpu, ic);
                }
                ((*link).f)(link, cpu, tlb, SPARE, ic)
            }
            _ => cold::<B>(op, cpu, tlb, SPARE, ic),
        }
    }

    #[cold]
    #[inline(never)]
    unsafe extern "sysv64" fn late(link: *const Op, cpu: *mut Cpu, ic: i64) -> i64 {
        stop_at(link, cpu);
        ic
    }

    /// The cold twin of a handler. The body runs in a function of its own, so that locals whose address it
    /// takes cannot stand in the way of the tail call.
    #[cold]
    #[inline(never)]
    unsafe extern "sysv64" fn cold<S: Sem>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
        _: Spare,
        ic: i64,
    ) -> i64 {
        let next = step::<S>(op, cpu, ic, tlb);
        let ic = (*cpu).ic;
        if next.is_null() {
            return ic;
        }
        ((*next).f)(next, cpu, tlb, SPARE, ic)
    }

    /// Does one operation of a framed body; as [`step`].
    #[inline(never)]
    unsafe fn framed<S: Sem>(
        op: *const Op,
        cpu: *mut Cpu,
        ic: i64,
        tlb: *mut TlbEntry,
    ) -> *const Op {
        match S::run::<FastMem>(op, cpu, tlb) {
            Flow::Next(k) => {
                (*cpu).ic = ic;
                op.add(k)
            }
            _ => step::<S>(op, cpu, ic, tlb),
        }
    }

    /// Does one operation with [`SlowMem`]: the next, or null to leave; the instructions left in `cpu.ic`.
    #[inline(never)]
    unsafe fn step<S: Sem>(op: *const Op, cpu: *mut Cpu, ic: i64, tlb: *mut TlbEntry) -> *const Op {
        (*cpu).op = op;
        (*cpu).ic = ic - before(op);
        let (next, charged) = match S::run::<SlowMem>(op, cpu, tlb) {
            Flow::Next(k) => (op.add(k), (*cpu).leave),
            Flow::Taken(link) => (link, true),
            Flow::Slow => {
                stop_at(op, cpu);
                return std::ptr::null();
            }
            Flow::Exit => {
                (*cpu).ic = ic - (*op).n as i64;
                return std::ptr::null();
            }
        };
        let ic = if charged { ic - (*op).n as i64 } else { ic };
        (*cpu).ic = ic;
        if charged && (ic < 0 || (*cpu).leave) {
            stop_at(next, cpu);
            return std::ptr::null();
        }
        next
    }

    /// Runs from `op` until something leaves; returns the instructions left.
    ///
    /// # Safety
    /// As [`Sem::run`].
    pub unsafe fn run(op: *const Op, cpu: *mut Cpu, ic: i64) -> i64 {
        ((*op).f)(op, cpu, (*cpu).tlb, SPARE, ic)
    }
}

#[cfg(any(debug_assertions, feature = "loop-dispatch"))]
mod looped {
    use super::*;

    /// Runs one operation; returns the next, or null to leave.
    pub type Handler = unsafe fn(*const Op, *mut Cpu, &mut i64, *mut TlbEntry) -> *const Op;

    pub(super) unsafe fn hot<S: Sem>(
        op: *const Op,
        cpu: *mut Cpu,
        ic: &mut i64,
        tlb: *mut TlbEntry,
    ) -> *const Op {
        match S::run::<FastMem>(op, cpu, tlb) {
            Flow::Slow => cold::<S>(op, cpu, ic, tlb),
            flow => finish(flow, op, cpu, ic, false),
        }
    }

    #[cold]
    #[inline(never)]
    unsafe fn cold<S: Sem>(
        op: *const Op,
        cpu: *mut Cpu,
        ic: &mut i64,
        tlb: *mut TlbEntry,
    ) -> *const Op {
        (*cpu).op = op;
        (*cpu).ic = *ic - before(op);
        match S::run::<SlowMem>(op, cpu, tlb) {
            Flow::Slow => {
                stop_at(op, cpu);
                *ic -= before(op);
                std::ptr::null()
            }
            flow => finish(flow, op, cpu, ic, (*cpu).leave),
        }
    }

    unsafe fn finish(
        flow: Flow,
        op: *const Op,
        cpu: *mut Cpu,
        ic: &mut i64,
        leave: bool,
    ) -> *const Op {
        let (next, charged) = match flow {
            Flow::Next(k) => (op.add(k), leave),
            Flow::Taken(link) => (link, true),
            _ => {
                *ic -= (*op).n as i64;
                return std::ptr::null();
            }
        };
        if charged {
            *ic -= (*op).n as i64;
        }
        if charged && (*ic < 0 || leave) {
            stop_at(next, cpu);
            return std::ptr::null();
        }
        next
    }

    /// Runs from `op` until something leaves; returns the instructions left.
    ///
    /// # Safety
    /// As [`Sem::run`].
    pub unsafe fn run(mut op: *const Op, cpu: *mut Cpu, mut ic: i64) -> i64 {
        let tlb = (*cpu).tlb;
        while !op.is_null() {
            op = ((*op).f)(op, cpu, &mut ic, tlb);
        }
        ic
    }
}

#[cfg(any(debug_assertions, feature = "loop-dispatch"))]
pub use looped::{Handler, run};
#[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
pub use threaded::{Handler, run};

/// The handler that does `S`.
pub const fn handler<S: Sem>() -> Handler {
    #[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
    return threaded::hot::<S>;
    #[cfg(any(debug_assertions, feature = "loop-dispatch"))]
    looped::hot::<S>
}

/// The register of `op` that `link` (one of [`uses`]) means.
#[inline(always)]
pub fn linked(op: &Op, link: u8) -> u8 {
    match link {
        uses::D => op.d,
        uses::S => op.s,
        _ => op.b,
    }
}

/// The handler that does `A` and then `B`, whose operation follows `A`'s. Both keep their records: what
/// stops between them goes on with `B`'s own handler. Neither is framed, leaves the block otherwise than by
/// a branch, or is followed by a link if it is `A`. Where dispatch is a loop it is `A`'s own handler.
/// `LINK` says which register of `B`'s operation is `A`'s `d`, as far as is made use of.
pub const fn pair<A: Sem, B: Sem, const LINK: u8>() -> Handler {
    #[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
    return if A::USES & uses::SETS_D != 0 && B::USES & LINK != 0 {
        threaded::pair::<A, B, LINK>
    } else {
        threaded::pair::<A, B, 0>
    };
    #[cfg(any(debug_assertions, feature = "loop-dispatch"))]
    looped::hot::<A>
}

/// A plain operation (see [`crate::plain`]): calls the function in its side data. Always in the cold
/// twin, so that the function finds `cpu.op` and `cpu.ic` set. `END` operations leave the block: RIP is
/// already the next instruction's when the function runs, and the function may change it.
pub struct Plain<const END: bool>;

impl<const END: bool> Sem for Plain<END> {
    #[inline(always)]
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Flow {
        if !M::SLOW {
            return Flow::Slow;
        }
        // SAFETY: the decoder stored a pointer to side data that lives as long as the block.
        let side = &*((*op).imm as *const Side);
        if END {
            (*cpu).set_rip_at((*op).po + (*op).len as u16);
        }
        match (side.f)(&mut *cpu, &side.insn) {
            Ok(()) if END => Flow::Exit,
            Ok(()) => Flow::Next(1),
            Err(trap) => {
                (*cpu).trap = Some(trap);
                Flow::Slow
            }
        }
    }
}
