//! How one operation hands over to the next: the only file that knows.
//!
//! A handler body is a [`Semantics`]; a wrapper here turns it into a [`Handler`]. Release builds thread:
//! every handler ends in a tail call to the next one's (LLVM makes a jump of it from `opt-level` 1
//! on). Debug builds, and any build with the feature `loop-dispatch`, return to a loop. Bodies
//! cannot tell which.
//!
//! A body that meets a TLB miss returns [`Flow::Slow`] and is run again by its cold twin, with
//! [`SlowMem`], where a second `Slow` means that `cpu.trap` says why. Handlers of the hot kind hold no
//! stack frame, so a trap is a plain return into the outer loop.
#![expect(unsafe_code, reason = "handlers work on raw pointers to the CPU and its blocks")]

pub mod class;
pub mod deferred;

use crate::Cpu;
use crate::mem::{FastMem, Mem, SlowMem};
pub use crate::op::{HandlerFn as Handler, uses};
use crate::op::{Op, op_flags};
use crate::plain::Side;
use crate::state::gpr;
use deferred::Deferred;
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

/// The body of a handler. A framed one does nothing but [`Flow::Next`] or [`Flow::Slow`] in its hot form.
pub trait Semantics {
    /// Whether the body needs a stack frame (locals whose address it takes): then it runs in a function
    /// of its own, because a frame stands in the way of the tail call.
    const FRAMED: bool = false;
    /// Which registers the body reads, see [`uses`]; what is not said is not made use of.
    const READS: u32 = 0;
    /// Which registers the body may write.
    const SETS: u32 = uses::ANY;
    /// How many bits of `d` the body writes; with 32 or more it writes the whole.
    const BITS: u32 = 64;
    /// Which parts of [`deferred::ALL`] the body gives a new value if it finishes, never having looked at the old.
    const KILLS: u32 = 0;
    /// Which parts of [`deferred::ALL`] it neither changes nor looks at.
    const PRESERVES: u32 = 0;
    /// Whether to run it again, on what it has read before, does nothing but to set the flags as they were.
    const REPLAYABLE: bool = false;

    /// Does the operation.
    ///
    /// # Safety
    /// `op` is a live operation of a block whose successors follow it, `cpu` the processor in a run
    /// (its environment is set), `tlb` its current view.
    unsafe fn run<M: Mem>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow;

    /// As [`Semantics::run`], where an operation follows that renews `later`: of that it may leave what it likes
    /// deferring.
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

#[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
mod threaded {
    use super::deferred::Rest;
    use super::*;
    use std::hint::assert_unchecked;

    /// Goes on at `$op` with pinned registers `$pins`.
    macro_rules! tail {
        ($op:expr, $cpu:expr, $pins:expr) => {{
            let (op, pins) = ($op, $pins);
            return ((*op).handler)(op, &mut *$cpu, pins[0], pins[1], pins[2]);
        }};
    }

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
    unsafe fn assume_operands<S: Semantics, const C: u64>(
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
    unsafe fn pin_after<S: Semantics, const C: u64>(
        k: usize,
        cpu: *mut Cpu,
        pins: [u64; 3],
    ) -> u64 {
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
    unsafe fn pins_after<S: Semantics, const C: u64>(cpu: *mut Cpu, pins: [u64; 3]) -> [u64; 3] {
        [
            pin_after::<S, C>(0, cpu, pins),
            pin_after::<S, C>(1, cpu, pins),
            pin_after::<S, C>(2, cpu, pins),
        ]
    }

    #[inline(always)]
    unsafe fn reloaded(cpu: *mut Cpu) -> [u64; 3] {
        PINNED.map(|r| (*cpu).state.regs[r])
    }

    /// Charges the block of `op`; whether to go on.
    #[inline(always)]
    unsafe fn charge(op: *const Op, cpu: *mut Cpu) -> bool {
        let left = (*cpu).env.budget - (*op).retired as i64;
        (*cpu).env.budget = left;
        left >= 0
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
                late(link, &mut *cpu, a, b, c)
            }
            Flow::Slow => cold::<S>(op, &mut *cpu, a, b, c),
            Flow::Exit => (*cpu).env.budget -= (*op).retired as i64,
        }
    }

    /// Pays `$deferred` and goes on with `$op` in its cold twin.
    macro_rules! bail_out {
        ($deferred:ident, $S:ident, $op:ident, $cpu:ident, ($a:ident, $b:ident, $c:ident)) => {
            return match $deferred.flush_rest($cpu) {
                None => cold::<$S>($op, &mut *$cpu, $a, $b, $c),
                Some(replay) => {
                    // Not here: its operands would wait in registers, and those would have to be saved.
                    cold_after_replay::<$S>($op, &mut *$cpu, replay.op, replay.run, $c)
                }
            }
        };
    }

    /// Two operations in a row with one hand-over less. `LINK` (one of [`uses`]) is the register of the
    /// second that the first has just written.
    pub(super) unsafe extern "sysv64" fn pair<
        A: Semantics,
        B: Semantics,
        const CA: u64,
        const CB: u64,
        const LINK: u32,
    >(
        op: *const Op,
        cpu: &mut Cpu,
        a: u64,
        b: u64,
        c: u64,
    ) {
        let cpu: *mut Cpu = cpu;
        let pins = [a, b, c];
        assume_operands::<A, CA>(op, cpu, pins);
        if LINK != 0 {
            // SAFETY: whoever chose this handler has compared them. The compiler then keeps the value in
            // a host register, which is faster than to store it and load it again.
            assert_unchecked((*op).dst == linked(&*op.add(1), LINK));
        }
        let (flow, deferring) = A::run_deferring(op, cpu, A::KILLS & <(B, ())>::KILLS);
        let deferred = Deferred::NONE.after::<A, CA>(op, deferring);
        match flow {
            Flow::Next(_) => {}
            Flow::Taken(link) => {
                deferred.flush(cpu);
                if charge(op, cpu) {
                    tail!(link, cpu, pins_after::<A, CA>(cpu, pins));
                }
                return late(link, &mut *cpu, a, b, c);
            }
            _ => return cold::<A>(op, &mut *cpu, a, b, c),
        }
        let pins = pins_after::<A, CA>(cpu, pins);
        let op = op.add(1);
        assume_operands::<B, CB>(op, cpu, pins);
        match B::run::<FastMem>(op, cpu, (*cpu).caches.tlb) {
            Flow::Next(k) => tail!(op.add(k), cpu, pins_after::<B, CB>(cpu, pins)),
            Flow::Taken(link) => {
                if charge(op, cpu) {
                    tail!(link, cpu, pins_after::<B, CB>(cpu, pins));
                }
                late(link, &mut *cpu, a, b, c)
            }
            _ => bail_out!(deferred, B, op, cpu, (a, b, c)),
        }
    }

    /// Several operations in a row with one hand-over; each comes with those after it.
    macro_rules! in_a_row {
        ($name:ident: $($S:ident $C:ident $R:ty),+; $L:ident $LC:ident) => {
            pub(super) unsafe extern "sysv64" fn $name<
                $($S: Semantics,)+ $L: Semantics, $(const $C: u64,)+ const $LC: u64,
            >(
                op: *const Op,
                cpu: &mut Cpu,
                a: u64,
                b: u64,
                c: u64,
            ) {
                let cpu: *mut Cpu = cpu;
                let pins = [a, b, c];
                let deferred = Deferred::NONE;
                $(
                    const { assert!(!$S::FRAMED) };
                    assume_operands::<$S, $C>(op, cpu, pins);
                    let (flow, deferring) = $S::run_deferring(op, cpu, $S::KILLS & <$R>::KILLS);
                    match flow {
                        Flow::Next(_) => {}
                        Flow::Taken(link) => {
                            deferred.after::<$S, $C>(op, deferring).flush(cpu);
                            if charge(op, cpu) {
                                tail!(link, cpu, pins_after::<$S, $C>(cpu, pins));
                            }
                            return late(link, &mut *cpu, a, b, c);
                        }
                        _ => bail_out!(deferred, $S, op, cpu, (a, b, c)),
                    }
                    let deferred = deferred.after::<$S, $C>(op, deferring);
                    let pins = pins_after::<$S, $C>(cpu, pins);
                    let op = op.add(1);
                )+
                const { assert!(!$L::FRAMED) };
                assume_operands::<$L, $LC>(op, cpu, pins);
                match $L::run::<FastMem>(op, cpu, (*cpu).caches.tlb) {
                    Flow::Next(k) => tail!(op.add(k), cpu, pins_after::<$L, $LC>(cpu, pins)),
                    Flow::Taken(link) => {
                        if charge(op, cpu) {
                            tail!(link, cpu, pins_after::<$L, $LC>(cpu, pins));
                        }
                        late(link, &mut *cpu, a, b, c)
                    }
                    _ => bail_out!(deferred, $L, op, cpu, (a, b, c)),
                }
            }
        };
    }
    in_a_row!(two: A CA (B, ()); B CB);
    in_a_row!(three: A CA (B, (D, ())), B CB (D, ()); D CD);
    in_a_row!(four: A CA (B, (D, (E, ()))), B CB (D, (E, ())), D CD (E, ()); E CE);
    in_a_row!(five: A CA (B, (D, (E, (F, ())))), B CB (D, (E, (F, ()))), D CD (E, (F, ())), E CE (F, ()); F CF);
    in_a_row!(six: A CA (B, (D, (E, (F, (G, ()))))), B CB (D, (E, (F, (G, ())))), D CD (E, (F, (G, ()))), E CE (F, (G, ())), F CF (G, ()); G CG);
    in_a_row!(seven: A CA (B, (D, (E, (F, (G, (H, ())))))), B CB (D, (E, (F, (G, (H, ()))))), D CD (E, (F, (G, (H, ())))), E CE (F, (G, (H, ()))), F CF (G, (H, ())), G CG (H, ()); H CH);
    in_a_row!(eight: A CA (B, (D, (E, (F, (G, (H, (I, ()))))))), B CB (D, (E, (F, (G, (H, (I, ())))))), D CD (E, (F, (G, (H, (I, ()))))), E CE (F, (G, (H, (I, ())))), F CF (G, (H, (I, ()))), G CG (H, (I, ())), H CH (I, ()); I CI);

    #[cold]
    #[inline(never)]
    unsafe extern "sysv64" fn late(link: *const Op, cpu: &mut Cpu, _: u64, _: u64, _: u64) {
        stop_at(link, cpu);
    }

    /// The cold twin of a handler. The body runs in a function of its own, so that locals whose address it
    /// takes cannot stand in the way of the tail call.
    #[cold]
    #[inline(never)]
    unsafe extern "sysv64" fn cold<S: Semantics>(
        op: *const Op,
        cpu: &mut Cpu,
        _: u64,
        _: u64,
        _: u64,
    ) {
        let next = step::<S>(op, cpu);
        if next.is_null() {
            return;
        }
        tail!(next, cpu, reloaded(cpu));
    }

    /// As [`cold`], after an operation to be run again first for its flags.
    #[cold]
    #[inline(never)]
    unsafe extern "sysv64" fn cold_after_replay<S: Semantics>(
        op: *const Op,
        cpu: &mut Cpu,
        before: *const Op,
        run: unsafe extern "sysv64" fn(*const Op, *mut Cpu),
        _: u64,
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
}

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

#[cfg(any(debug_assertions, feature = "loop-dispatch"))]
mod looped {
    use super::*;

    pub(super) unsafe fn hot<S: Semantics>(op: *const Op, cpu: *mut Cpu) -> *const Op {
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
}

#[cfg(any(debug_assertions, feature = "loop-dispatch"))]
pub use looped::run;
#[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
pub use threaded::run;

/// The handler that does `S` on any operands.
pub const fn handler<S: Semantics>() -> Handler {
    handler_of::<S, { class::UNKNOWN }>()
}

/// The handler that does `S` on operands of the classes `C`, see [`class`].
pub const fn handler_of<S: Semantics, const C: u64>() -> Handler {
    #[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
    return threaded::hot::<S, C>;
    #[cfg(any(debug_assertions, feature = "loop-dispatch"))]
    looped::hot::<S>
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

/// The handler that does `A` and then `B`, whose operation follows `A`'s. Both keep their records: what
/// stops between them goes on with `B`'s own handler. Neither is framed, and `A` is followed by no link.
/// Where dispatch is a loop it is `A`'s own handler. `LINK` says which register of `B`'s operation is
/// `A`'s `d`, if that is made use of.
pub const fn pair<A: Semantics, B: Semantics, const CA: u64, const CB: u64, const LINK: u32>()
-> Handler {
    #[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
    return threaded::pair::<A, B, CA, CB, LINK>;
    #[cfg(any(debug_assertions, feature = "loop-dispatch"))]
    looped::hot::<A>
}

macro_rules! of_known {
    ($name:ident, $first:ident: $($S:ident $C:ident)+) => {
        /// As [`pair`], of as many operations as it says, of whose operands the classes say what is known.
        pub const fn $name<$($S: Semantics,)+ $(const $C: u64,)+>() -> Handler {
            #[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
            return threaded::$name::<$($S,)+ $($C,)+>;
            #[cfg(any(debug_assertions, feature = "loop-dispatch"))]
            looped::hot::<$first>
        }
    };
}
of_known!(two, A: A CA B CB);
of_known!(three, A: A CA B CB D CD);
of_known!(four, A: A CA B CB D CD E CE);
of_known!(five, A: A CA B CB D CD E CE F CF);
of_known!(six, A: A CA B CB D CD E CE F CF G CG);
of_known!(seven, A: A CA B CB D CD E CE F CF G CG H CH);
of_known!(eight, A: A CA B CB D CD E CE F CF G CG H CH I CI);

/// A plain operation (see [`crate::plain`]): calls the function in its side data. Always in the cold
/// twin, so that the function finds `cpu.op` and `cpu.ic` set. `END` operations leave the block: RIP is
/// already the next instruction's when the function runs, and the function may change it.
pub struct Plain<const END: bool>;

impl<const END: bool> Semantics for Plain<END> {
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
