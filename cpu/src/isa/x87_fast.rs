//! x87: the fast paths of loads, stores, arithmetic and comparisons. No register is missing, nothing is
//! pending, operands are normal or zero; the control word rounds to nearest with 64 bits and masks
//! Precision where that matters.
//!
//! The pointer to the operand is recorded as soon as that is read: the plain function, if it is its turn
//! after all, cannot fault any more and records the same. The pointer to the instruction, and C1, come last,
//! so that a superinstruction need not record them for each of its members (see [`Deferred`]).
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::fast_path::{FastPath, WithMemory};
use super::x87::{ADD, DIV, DIVR, MUL, SUB};
use crate::Cpu;
use crate::dispatch::deferred::{C1, Deferred, INSTRUCTION};
use crate::dispatch::uses;
use crate::fpu::extended as ext;
use crate::fpu::extended::Rounded;
use crate::fpu::host::V;
use crate::hint::rare;
use crate::mem::{Address, FastMem, Mem};
use crate::op::Op;
use crate::state::fpu::fallback::{PRECISION, ROUNDING, X87};
use crate::state::fpu::{EMPTY, ES, F80, Register, SIGN, flag};
use crate::word::Word;
use mmu::TlbEntry;
use std::marker::PhantomData;
use std::mem::offset_of;

/// State bits that arithmetic needs clear.
const ARITHMETIC: u8 = X87 | ROUNDING | PRECISION;
/// Arithmetic says that it changes the pinned registers: to load them again is cheaper than to save others.
const SCRATCH: u32 = uses::RAX | uses::RCX | 1 << crate::state::gpr::RDX;

/// Whether the instruction may run, by the fast path, as far as it depends on `needs` (see [`crate::state::fpu::fallback`]).
#[inline(always)]
pub(super) unsafe fn ready(cpu: *mut Cpu, needs: u8) -> Option<()> {
    debug_assert_eq!((*cpu).fast_path_allowed(needs), (*cpu).state.fpu.sw.fallback() & needs == 0);
    if (*cpu).state.fpu.sw.bits & (ES as u32 | (needs as u32) << 16) != 0 {
        rare();
        return None;
    }
    Some(())
}

/// How far in bytes from the first register ST(0) is.
#[inline(always)]
pub(super) unsafe fn top(cpu: *mut Cpu) -> u32 {
    (*cpu).state.fpu.sw.top
}

/// [`top`] moved by `offset`, of 16 bytes each.
#[inline(always)]
fn moved(top: u32, offset: u32) -> u32 {
    top.wrapping_add(offset) & 0x70
}

/// [`top`] after a push, and after a pop.
const PUSHED: u32 = 0x70;
const POPPED: u32 = 0x10;

/// The register at `place`, of [`top`] or [`moved`].
#[inline(always)]
pub(super) unsafe fn at(cpu: *mut Cpu, place: u32) -> *mut Register {
    // The constant comes last, where an instruction of the host's has room for it.
    cpu.cast::<u8>().add(place as usize).add(offset_of!(Cpu, state.fpu.r)).cast()
}

/// The register that lies `offset` from ST(0), in bytes.
#[inline(always)]
pub(super) unsafe fn st(cpu: *mut Cpu, offset: u8) -> *mut Register {
    at(cpu, moved(top(cpu), offset as u32))
}

/// What it holds, if it is not empty, for the host to copy whole.
#[inline(always)]
unsafe fn full(r: *const Register) -> Option<V> {
    if (*r).se & EMPTY != 0 {
        rare();
        return None;
    }
    Some(r.cast::<V>().read())
}

/// Pops if `POP`.
#[inline(always)]
pub(super) unsafe fn pop<const POP: bool>(cpu: *mut Cpu) {
    if POP {
        let top = top(cpu);
        (*at(cpu, top)).se |= EMPTY;
        (*cpu).state.fpu.sw.top = moved(top, POPPED);
    }
}

/// Notes that a rounding was inexact; what it cut off.
#[inline(always)]
unsafe fn note<T>(cpu: *mut Cpu, found: &Rounded<T>) -> u64 {
    (*cpu).state.fpu.sw.inexact |= found.inexact;
    found.cut
}

/// Records where the last operand in memory was.
#[inline(always)]
pub(super) unsafe fn record_operand<A: Address>(op: *const Op, cpu: *mut Cpu) {
    // In flat modes the segment's base is 0.
    (*cpu).state.fpu.fdp = A::offset(&*op, cpu);
}

/// A fast path of an instruction that is recorded as the last.
///
/// # Safety
/// As [`FastPath`].
pub(crate) unsafe trait Recorded: 'static {
    /// See [`FastPath::NAMES`].
    const NAMES: u32 = 0;
    /// See [`FastPath::SETS`].
    const SETS: u32 = 0;
    /// See [`FastPath::FRAMED`].
    const FRAMED: bool = false;
    /// Whether C1 stays.
    const KEEPS_C1: bool = false;

    /// As [`FastPath::run`]; what was cut off by rounding, see [`crate::state::fpu::StatusWord`].
    ///
    /// # Safety
    /// As [`FastPath::run`].
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<u64>;
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<R: Recorded> FastPath for R {
    const NAMES: u32 = R::NAMES;
    const SETS: u32 = R::SETS;
    const FRAMED: bool = R::FRAMED;
    const KILLS: u32 = if R::KEEPS_C1 { INSTRUCTION } else { INSTRUCTION | C1 };

    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        Self::run_deferring(op, cpu, 0)?;
        Some(())
    }

    #[inline(always)]
    unsafe fn run_deferring(op: *const Op, cpu: *mut Cpu, later: u32) -> Option<Deferred> {
        let cut = R::run(op, cpu, (*cpu).caches.tlb)?;
        let (later, now) = Deferred::x87(op, Self::KILLS, cut).split(later);
        now.flush(cpu);
        Some(later)
    }
}

/// Pushes what `value` finds, if there is room.
#[inline(always)]
unsafe fn push<T>(cpu: *mut Cpu, value: impl FnOnce() -> Option<T>) -> Option<()> {
    let top = moved(top(cpu), PUSHED);
    let r = at(cpu, top);
    if (*r).se & EMPTY == 0 {
        rare();
        return None;
    }
    r.cast::<T>().write(value()?);
    (*cpu).state.fpu.sw.top = top;
    Some(())
}

/// A number in memory.
pub(crate) trait Source: 'static {
    /// Loads it, if it is normal or zero.
    ///
    /// # Safety
    /// As [`FastPath::run`].
    unsafe fn load<A: Address>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
    ) -> Option<Register>;
}

#[inline(always)]
pub(super) unsafe fn word<A: Address, W: Word>(
    op: *const Op,
    cpu: *mut Cpu,
    tlb: *mut TlbEntry,
) -> Option<W> {
    let la = A::linear::<FastMem>(&*op, cpu, W::BYTES, false)?;
    FastMem::load::<W>(cpu, tlb, la)
}

/// A binary32 or binary64.
pub(crate) struct Float<W>(PhantomData<W>);
/// A signed integer.
pub(crate) struct Int<W>(PhantomData<W>);

impl<W: Word> Source for Float<W> {
    #[inline(always)]
    unsafe fn load<A: Address>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
    ) -> Option<Register> {
        let v = word::<A, W>(op, cpu, tlb)?.u();
        if W::BITS == 32 { ext::of_single(v as u32) } else { ext::of_double(v) }
    }
}

impl<W: Word> Source for Int<W> {
    #[inline(always)]
    unsafe fn load<A: Address>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
    ) -> Option<Register> {
        Some(ext::of_int(word::<A, W>(op, cpu, tlb)?.s()))
    }
}

/// `a op b`, which are normal.
#[inline(always)]
fn compute<const OP: u8>(a: Register, b: Register) -> Option<Rounded> {
    match OP {
        ADD => ext::add(a, b),
        MUL => ext::mul(a, b),
        SUB => ext::add(a, ext::negated(b)),
        DIV => ext::div(a, b),
        DIVR => ext::div(b, a),
        _ => ext::add(ext::negated(a), b),
    }
}

/// `a op b`, with a zero among them.
#[inline(always)]
fn compute_zero<const OP: u8>(a: Register, b: Register) -> Option<Rounded> {
    match OP {
        ADD => ext::add_zero(a, b),
        MUL => ext::mul_zero(a, b),
        SUB => ext::add_zero(a, ext::negated(b)),
        DIV | DIVR => compute::<OP>(a, b),
        _ => ext::add_zero(ext::negated(a), b),
    }
}

/// `ST(0) = ST(0) op ST(i)`; if `BACK`, `ST(i) = ST(i) op ST(0)`.
pub(crate) struct Arith<const OP: u8, const BACK: bool, const POP: bool>;

impl<const OP: u8, const BACK: bool, const POP: bool> Arith<OP, BACK, POP> {
    /// Destination and source.
    #[inline(always)]
    unsafe fn operands(op: *const Op, cpu: *mut Cpu) -> [*mut Register; 2] {
        if BACK {
            [st(cpu, (*op).dst), at(cpu, top(cpu))]
        } else {
            [at(cpu, top(cpu)), st(cpu, (*op).src)]
        }
    }
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<const OP: u8, const BACK: bool, const POP: bool> Recorded for Arith<OP, BACK, POP> {
    const NAMES: u32 = if BACK { uses::DST } else { uses::SRC };

    const SETS: u32 = SCRATCH;

    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<u64> {
        ready(cpu, ARITHMETIC)?;
        let [d, s] = Self::operands(op, cpu);
        let (a, b) = (*d, *s);
        let r = if ext::both_normal(a, b) {
            compute::<OP>(a, b)?
        } else {
            rare();
            compute_zero::<OP>(d.read_volatile(), s.read_volatile())?
        };
        *d = r.v;
        let cut = note(cpu, &r);
        pop::<POP>(cpu);
        Some(cut)
    }
}

/// `ST(0) = ST(0) op memory`.
pub(crate) struct ArithM<S, const OP: u8, A = ()>(PhantomData<(S, A)>);

impl<S: Source, const OP: u8> WithMemory for ArithM<S, OP> {
    type At<A: Address> = ArithM<S, OP, A>;
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<S: Source, const OP: u8, A: Address> Recorded for ArithM<S, OP, A> {
    const NAMES: u32 = A::READS;

    const SETS: u32 = SCRATCH;

    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<u64> {
        ready(cpu, ARITHMETIC)?;
        let b = S::load::<A>(op, cpu, tlb)?;
        record_operand::<A>(op, cpu);
        let d = at(cpu, top(cpu));
        let a = *d;
        let r = if ext::both_normal(a, b) {
            compute::<OP>(a, b)?
        } else {
            rare();
            compute_zero::<OP>(d.read_volatile(), b)?
        };
        *d = r.v;
        Some(note(cpu, &r))
    }
}

/// What `f` finds by the host's floating point, which is not to note anything in the guest's MXCSR.
#[inline(always)]
unsafe fn estimated<T>(cpu: *mut Cpu, f: impl FnOnce() -> T) -> T {
    (*cpu).collect_host_exceptions();
    let r = f();
    (*cpu).clear_host_exceptions();
    r
}

/// `FSQRT`, or `FRNDINT`.
pub(crate) struct Unary<const ROOT: bool>;

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<const ROOT: bool> Recorded for Unary<ROOT> {
    const FRAMED: bool = ROOT;

    #[inline(always)]
    unsafe fn run(_: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<u64> {
        ready(cpu, ARITHMETIC)?;
        let d = at(cpu, top(cpu));
        let r = if ROOT { estimated(cpu, || ext::sqrt(*d))? } else { ext::to_integral(*d)? };
        *d = r.v;
        Some(note(cpu, &r))
    }
}

/// `FLD` and `FILD` from memory.
pub(crate) struct Load<S, A = ()>(PhantomData<(S, A)>);

impl<S: Source> WithMemory for Load<S> {
    type At<A: Address> = Load<S, A>;
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<S: Source, A: Address> Recorded for Load<S, A> {
    const NAMES: u32 = A::READS;

    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<u64> {
        ready(cpu, X87)?;
        let v = S::load::<A>(op, cpu, tlb)?;
        record_operand::<A>(op, cpu);
        push(cpu, || Some(v))?;
        Some(0)
    }
}

/// The address of a number of ten bytes in one page.
#[inline(always)]
unsafe fn ten_bytes<A: Address>(op: *const Op, cpu: *mut Cpu, write: bool) -> Option<u64> {
    let la = A::linear::<FastMem>(&*op, cpu, 10, write)?;
    (la & 4095 <= 4096 - 10).then_some(la)
}

/// `FLD m80`: any value.
pub(crate) struct Extended;

impl Source for Extended {
    #[inline(always)]
    unsafe fn load<A: Address>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
    ) -> Option<Register> {
        let la = ten_bytes::<A>(op, cpu, false)?;
        let m = FastMem::load::<u64>(cpu, tlb, la)?;
        let se = FastMem::load::<u16>(cpu, tlb, la.wrapping_add(8))?;
        Some(Register::full(F80 { m, se }))
    }
}

/// `FSTP m80`.
pub(crate) struct StoreExtended<A = ()>(PhantomData<A>);

impl WithMemory for StoreExtended {
    type At<A: Address> = StoreExtended<A>;
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Address> Recorded for StoreExtended<A> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<u64> {
        ready(cpu, X87)?;
        let r = at(cpu, top(cpu));
        full(r)?;
        let v = (*r).value();
        let la = ten_bytes::<A>(op, cpu, true)?;
        FastMem::store(cpu, tlb, la, v.m)?;
        // In the same page, where nothing but the first can fail.
        FastMem::store(cpu, tlb, la.wrapping_add(8), v.se)?;
        record_operand::<A>(op, cpu);
        pop::<true>(cpu);
        Some(0)
    }
}

/// What is stored in memory.
pub(crate) trait Target: 'static {
    /// Width of the value in memory.
    type Word: Word;
    /// See [`crate::state::fpu::fallback`].
    const NEEDS: u8;
    /// The bits that `v` becomes.
    fn convert(v: Register, cw: u16) -> Option<Rounded<u64>>;
}

impl Target for Float<u32> {
    type Word = u32;
    const NEEDS: u8 = X87 | ROUNDING;
    #[inline(always)]
    fn convert(v: Register, _: u16) -> Option<Rounded<u64>> {
        ext::to_format::<24, 127>(v)
    }
}

impl Target for Float<u64> {
    type Word = u64;
    const NEEDS: u8 = X87 | ROUNDING;
    #[inline(always)]
    fn convert(v: Register, _: u16) -> Option<Rounded<u64>> {
        ext::to_format::<53, 1023>(v)
    }
}

/// An integer rounded as the control word says, or cut.
pub(crate) struct Whole<W, const CUT: bool>(PhantomData<W>);

macro_rules! whole {
    ($($w:ty)*) => {$(
        impl<const CUT: bool> Target for Whole<$w, CUT> {
            type Word = $w;
            const NEEDS: u8 = X87;
            #[inline(always)]
            fn convert(v: Register, cw: u16) -> Option<Rounded<u64>> {
                let cut = CUT || cw >> 10 & 3 == 3;
                if !(cut || near(cw)) || cw & flag::P as u16 == 0 {
                    return None;
                }
                ext::to_int::<{ <$w>::BITS }>(v, cut)
            }
        }
    )*};
}
whole! { u16 u32 u64 }

/// Whether the control word rounds to nearest and masks Precision.
#[inline(always)]
fn near(cw: u16) -> bool {
    cw & (3 << 10 | flag::P as u16) == flag::P as u16
}

/// `FST`, `FSTP`, `FIST`, `FISTP`, `FISTTP`.
pub(crate) struct Store<T, const POP: bool, A = ()>(PhantomData<(T, A)>);

impl<T: Target, const POP: bool> WithMemory for Store<T, POP> {
    type At<A: Address> = Store<T, POP, A>;
}

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<T: Target, const POP: bool, A: Address> Recorded for Store<T, POP, A> {
    const NAMES: u32 = A::READS;

    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<u64> {
        ready(cpu, T::NEEDS)?;
        let r = T::convert(*at(cpu, top(cpu)), (*cpu).state.fpu.cw)?;
        let la = A::linear::<FastMem>(&*op, cpu, T::Word::BYTES, true)?;
        FastMem::store(cpu, tlb, la, T::Word::of(r.v))?;
        record_operand::<A>(op, cpu);
        let cut = note(cpu, &r);
        pop::<POP>(cpu);
        Some(cut)
    }
}

/// `FLD ST(i)`.
pub(crate) struct Duplicate;

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl Recorded for Duplicate {
    const NAMES: u32 = uses::DST;

    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<u64> {
        ready(cpu, X87)?;
        push(cpu, || full(st(cpu, (*op).dst)))?;
        Some(0)
    }
}

/// `FLDZ`, `FLD1`: the value with significand `M` and exponent field `SE`.
pub(crate) struct Constant<const M: u64, const SE: u16>;

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<const M: u64, const SE: u16> Recorded for Constant<M, SE> {
    #[inline(always)]
    unsafe fn run(_: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<u64> {
        ready(cpu, X87)?;
        push(cpu, || Some(const { Register::full(F80 { m: M, se: SE }) }))?;
        Some(0)
    }
}

/// `FST ST(i)`, `FSTP ST(i)`.
pub(crate) struct Copy<const POP: bool>;

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<const POP: bool> Recorded for Copy<POP> {
    const NAMES: u32 = uses::DST;

    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<u64> {
        ready(cpu, X87)?;
        let v = full(at(cpu, top(cpu)))?;
        st(cpu, (*op).dst).cast::<V>().write(v);
        pop::<POP>(cpu);
        Some(0)
    }
}

/// `FXCH`.
pub(crate) struct Exchange;

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl Recorded for Exchange {
    const NAMES: u32 = uses::SRC;

    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<u64> {
        ready(cpu, X87)?;
        let (i, j) = (at(cpu, top(cpu)), st(cpu, (*op).src));
        let (a, b) = (full(i)?, full(j)?);
        i.cast::<V>().write(b);
        j.cast::<V>().write(a);
        Some(0)
    }
}

/// `FCHS`, `FABS`: any value.
pub(crate) struct Sign<const NEGATE: bool>;

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<const NEGATE: bool> Recorded for Sign<NEGATE> {
    #[inline(always)]
    unsafe fn run(_: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<u64> {
        ready(cpu, X87)?;
        let r = at(cpu, top(cpu));
        full(r)?;
        let se = (*r).se;
        (*r).se = if NEGATE { se ^ SIGN } else { se & !SIGN };
        Some(0)
    }
}
