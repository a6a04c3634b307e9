//! Side effects that an operation of a superinstruction defers because a later one makes them again: the
//! flags, and what the x87 keeps of its last instruction. Whoever leaves between the two flushes them first.
#![expect(unsafe_code, reason = "works on the raw pointers of handlers")]

use super::{Flow, Semantics, class};
use crate::Cpu;
use crate::mem::{FastMem, Mem};
use crate::op::Op;
use crate::state::flags::Lazy;
use mmu::TlbEntry;

/// The six status flags.
pub const FLAGS: u32 = 1;
/// The pointer to the x87's last instruction. SDM vol. 1, "x87 FPU Instruction and Data (Operand) Pointers".
pub const INSTRUCTION: u32 = 2;
/// The x87's C1.
pub const C1: u32 = 4;
/// All parts that can be deferred.
pub const ALL: u32 = FLAGS | INSTRUCTION | C1;

/// Side effects that are still to be made.
#[derive(Clone, Copy)]
pub struct Deferred {
    /// The parts, of [`ALL`].
    parts: u32,
    /// The status flags.
    flags: Lazy,
    /// What sets them as well, which saves to keep them.
    replay: Option<Replay>,
    /// The x87's last instruction.
    op: *const Op,
    /// What its rounding cut off, see [`crate::state::fpu::StatusWord`].
    cut: u64,
}

/// An operation that sets flags and does nothing else.
#[derive(Clone, Copy)]
pub struct Replay {
    /// The operation to run again.
    pub op: *const Op,
    /// The function that runs the operation.
    pub run: unsafe extern "sysv64" fn(*const Op, *mut Cpu),
    /// The registers that it reads, by number.
    reads: u32,
}

unsafe extern "sysv64" fn replay<S: Semantics>(op: *const Op, cpu: *mut Cpu) {
    S::run::<FastMem>(op, cpu, (*cpu).caches.tlb);
}

impl Deferred {
    /// No side effects.
    pub const NONE: Deferred =
        Deferred { parts: 0, flags: Lazy::NONE, replay: None, op: std::ptr::null(), cut: 0 };

    /// The status flags `flags`.
    #[inline(always)]
    pub fn flags(flags: Lazy) -> Deferred {
        Deferred { parts: FLAGS, flags, ..Deferred::NONE }
    }

    /// Deferred effects `parts` of the x87's `op`, whose rounding cut off `cut`.
    #[inline(always)]
    pub fn x87(op: *const Op, parts: u32, cut: u64) -> Deferred {
        Deferred { parts, op, cut, ..Deferred::NONE }
    }

    /// The part that `later` lets wait, and the rest.
    #[inline(always)]
    pub fn split(self, later: u32) -> (Deferred, Deferred) {
        let part = |parts| Deferred { parts, ..self };
        (part(self.parts & later), part(self.parts & !later))
    }

    /// Deferred effects after `op`, which adds `more`; of its operands `C` is known, see [`class`].
    #[inline(always)]
    pub fn after<S: Semantics, const C: u64>(self, op: *const Op, more: Deferred) -> Deferred {
        let parts = self.parts & !S::KILLS | more.parts;
        let x87 = if more.parts & (INSTRUCTION | C1) != 0 { more } else { self };
        let (flags, replay) = if more.parts & FLAGS != 0 {
            let reads = const { class::registers(S::READS, C) };
            let this = Replay { op, run: replay::<S>, reads };
            (more.flags, if S::REPLAYABLE { Some(this) } else { None })
        } else {
            let writes = const { class::registers(S::SETS, C) };
            (self.flags, self.replay.filter(|a| a.reads & writes == 0))
        };
        Deferred { parts, flags, replay, ..x87 }
    }

    /// Makes the side effects, but for the flags where there is an operation to be run again for them.
    ///
    /// # Safety
    /// As [`Deferred::flush`].
    #[inline(always)]
    pub unsafe fn flush_rest(self, cpu: *mut Cpu) -> Option<Replay> {
        let replay = self.replay.filter(|_| self.parts & FLAGS != 0);
        let due = if replay.is_some() { !FLAGS } else { ALL };
        Deferred { parts: self.parts & due, ..self }.flush(cpu);
        replay
    }

    /// Makes the side effects.
    ///
    /// # Safety
    /// The operation is live and was the processor's last.
    #[inline(always)]
    pub unsafe fn flush(self, cpu: *mut Cpu) {
        if self.parts & FLAGS != 0 {
            (*cpu).state.flags.set_lazy(self.flags);
        }
        if self.parts & C1 != 0 {
            (*cpu).state.fpu.sw.cut = self.cut;
        }
        if self.parts & INSTRUCTION != 0 {
            // In flat modes the segment's base is 0.
            (*cpu).state.fpu.fip =
                (*cpu).state.bases.page.wrapping_add((*self.op).page_offset as u64);
        }
    }
}

/// Records flags at once, if they are wanted (`FL`) or it is the cold twin that asks.
///
/// # Safety
/// As [`Semantics::run`], until the flags have been taken.
#[inline(always)]
pub unsafe fn now<M: Mem, const FL: bool>(cpu: *mut Cpu) -> impl FnOnce(Lazy) {
    move |flags| {
        if FL || M::SLOW {
            (*cpu).state.flags.set_lazy(flags);
        }
    }
}

/// Defers the status flags.
#[inline(always)]
pub fn later(deferred: &mut Deferred) -> impl FnOnce(Lazy) {
    |flags| *deferred = Deferred::flags(flags)
}

/// [`Semantics::run_deferring`] of an operation that has nothing but flags to owe, which it wants recorded if `FL`:
/// `f` does it, but for them.
///
/// # Safety
/// As [`Semantics::run_deferring`].
#[inline(always)]
pub unsafe fn deferring<const FL: bool>(
    cpu: *mut Cpu,
    later: u32,
    f: impl FnOnce(*mut TlbEntry, &mut Deferred) -> Flow,
) -> (Flow, Deferred) {
    let mut deferred = Deferred::NONE;
    let flow = f((*cpu).caches.tlb, &mut deferred);
    let (later, due) = deferred.split(if FL { later } else { 0 });
    if FL && !matches!(flow, Flow::Slow) {
        due.flush(cpu);
    }
    (flow, later)
}
