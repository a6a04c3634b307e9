//! x87: the usual cases of loads, stores, arithmetic and comparisons. No register is missing, nothing is
//! pending, operands are normal or zero; the control word rounds to nearest with 64 bits and masks
//! Precision where that matters.
//!
//! The pointers to instruction and operand are recorded as soon as the operand is read: the plain function,
//! if it is its turn after all, cannot fault any more and records the same.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::usual::{Usual, WithMemory};
use super::x87::{ADD, DIV, DIVR, MUL, SUB};
use crate::dispatch::uses;
use crate::flags;
use crate::fpu::extended::{self as ext, Rounded};
use crate::fpu::host::V;
use crate::fpu::unusual::{PRECISION, ROUNDING, X87};
use crate::fpu::x87::{C0, C1, C2, C3, ES};
use crate::fpu::{EMPTY, Register, flag};
use crate::mem::{Address, FastMem, Mem, rare};
use crate::op::Op;
use crate::state::Cpu;
use crate::word::Word;
use mmu::TlbEntry;
use std::marker::PhantomData;
use std::mem::offset_of;

/// Where TOP stands in the status word.
const TOP: u32 = 11;
/// What arithmetic needs.
const ARITHMETIC: u8 = X87 | ROUNDING | PRECISION;

/// The status word, if the instruction may run, and is usual in what it needs (see
/// [`crate::fpu::unusual`]).
#[inline(always)]
unsafe fn ready(cpu: *mut Cpu, needs: u8) -> Option<u32> {
    if !(*cpu).usual(needs) {
        rare();
        return None;
    }
    let sw = (*cpu).fpu.sw as u32;
    if sw & ES as u32 != 0 {
        rare();
        return None;
    }
    Some(sw)
}

/// The offset of the register below ST(0), which a push makes ST(0).
const BELOW: u8 = 0x70;

/// The register that lies `offset` from ST(0), in bytes.
#[inline(always)]
unsafe fn st(cpu: *mut Cpu, sw: u32, offset: u8) -> *mut Register {
    // TOP times 16.
    let place = (sw >> 7).wrapping_add(offset as u32) as usize & 0x70;
    // The constant comes last, where an instruction of the host's has room for it.
    cpu.cast::<u8>().add(place).add(offset_of!(Cpu, fpu.r)).cast()
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

/// A status word with TOP moved by `by`, C1 clear.
#[inline(always)]
fn moved(sw: u32, by: u32) -> u32 {
    sw & !(7 << TOP | C1 as u32) | sw.wrapping_add(by << TOP) & 7 << TOP
}

/// The status word, read once more: kept, it would take a register of the host's that arithmetic needs.
#[inline(always)]
unsafe fn again(cpu: *mut Cpu) -> u32 {
    (&raw const (*cpu).fpu.sw).read_volatile() as u32
}

/// Pops if `POP`: the new status word, C1 clear.
#[inline(always)]
unsafe fn popped<const POP: bool>(cpu: *mut Cpu, sw: u32) -> u32 {
    if POP {
        (*st(cpu, sw, 0)).se |= EMPTY;
        return moved(sw, 1);
    }
    sw & !(C1 as u32)
}

/// Notes which instruction was the last.
#[inline(always)]
unsafe fn record(op: *const Op, cpu: *mut Cpu) {
    // In flat modes the segment's base is 0.
    (*cpu).fpu.fip = (*cpu).vbase.wrapping_add((*op).po as u64);
}

/// As [`record`], of an instruction with a memory operand.
#[inline(always)]
unsafe fn record_memory<A: Address>(op: *const Op, cpu: *mut Cpu) {
    (*cpu).fpu.fdp = A::offset(&*op, cpu);
    record(op, cpu);
}

/// Finishes: the status word, and the instruction that has set it.
#[inline(always)]
unsafe fn finish(op: *const Op, cpu: *mut Cpu, sw: u32) -> Option<()> {
    (*cpu).fpu.sw = sw as u16;
    record(op, cpu);
    Some(())
}

/// Where a push goes, if there is room.
#[inline(always)]
unsafe fn room(cpu: *mut Cpu, sw: u32) -> Option<*mut Register> {
    let r = st(cpu, sw, BELOW);
    if (*r).se & EMPTY == 0 {
        rare();
        return None;
    }
    Some(r)
}

/// A number in memory.
pub trait Source {
    /// Loads it, if it is normal or zero.
    ///
    /// # Safety
    /// As [`Usual::run`].
    unsafe fn load<A: Address>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
    ) -> Option<Register>;
}

#[inline(always)]
unsafe fn word<A: Address, W: Word>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<W> {
    let la = A::linear::<FastMem>(&*op, cpu, W::BYTES, false)?;
    FastMem::load::<W>(cpu, tlb, la)
}

/// A binary32 or binary64.
pub struct Float<W>(PhantomData<W>);
/// A signed integer.
pub struct Int<W>(PhantomData<W>);

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
pub struct Arith<const OP: u8, const BACK: bool, const POP: bool>;

impl<const OP: u8, const BACK: bool, const POP: bool> Arith<OP, BACK, POP> {
    /// Destination and source.
    #[inline(always)]
    unsafe fn operands(op: *const Op, cpu: *mut Cpu, sw: u32) -> [*mut Register; 2] {
        let (d, s) = if BACK { ((*op).d, 0) } else { (0, (*op).s) };
        [st(cpu, sw, d), st(cpu, sw, s)]
    }
}

impl<const OP: u8, const BACK: bool, const POP: bool> Usual for Arith<OP, BACK, POP> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, ARITHMETIC)?;
        let [d, s] = Self::operands(op, cpu, sw);
        let (a, b) = (*d, *s);
        let (v, status) = if ext::both_normal(a, b) {
            compute::<OP>(a, b)?
        } else {
            rare();
            // Read once more, so that they need not be kept.
            let [d, s] = Self::operands(op, cpu, again(cpu));
            compute_zero::<OP>(d.read_volatile(), s.read_volatile())?
        };
        *d = v;
        let sw = popped::<POP>(cpu, again(cpu)) | status;
        finish(op, cpu, sw)
    }
}

/// `ST(0) = ST(0) op memory`.
pub struct ArithM<S, const OP: u8, A = ()>(PhantomData<(S, A)>);

impl<S: Source, const OP: u8> WithMemory for ArithM<S, OP> {
    type At<A: Address> = ArithM<S, OP, A>;
}

impl<S: Source, const OP: u8, A: Address> Usual for ArithM<S, OP, A> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, ARITHMETIC)?;
        let b = S::load::<A>(op, cpu, tlb)?;
        record_memory::<A>(op, cpu);
        let d = st(cpu, sw, 0);
        let a = *d;
        let (v, status) = if ext::both_normal(a, b) {
            compute::<OP>(a, b)?
        } else {
            rare();
            compute_zero::<OP>(d.read_volatile(), b)?
        };
        *d = v;
        (*cpu).fpu.sw = (again(cpu) & !(C1 as u32) | status) as u16;
        Some(())
    }
}

/// `FSQRT`, or `FRNDINT`.
pub struct Unary<const ROOT: bool>;

impl<const ROOT: bool> Usual for Unary<ROOT> {
    const FRAMED: bool = ROOT;

    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, ARITHMETIC)?;
        let d = st(cpu, sw, 0);
        let (v, status) = if ROOT { ext::sqrt(*d)? } else { ext::to_integral(*d)? };
        *d = v;
        finish(op, cpu, sw & !(C1 as u32) | status)
    }
}

/// `FLD` and `FILD` from memory.
pub struct Load<S, A = ()>(PhantomData<(S, A)>);

impl<S: Source> WithMemory for Load<S> {
    type At<A: Address> = Load<S, A>;
}

impl<S: Source, A: Address> Usual for Load<S, A> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, X87)?;
        let v = S::load::<A>(op, cpu, tlb)?;
        record_memory::<A>(op, cpu);
        *room(cpu, sw)? = v;
        (*cpu).fpu.sw = moved(sw, 7) as u16;
        Some(())
    }
}

/// The address of a number of ten bytes in one page.
#[inline(always)]
unsafe fn ten_bytes<A: Address>(op: *const Op, cpu: *mut Cpu, write: bool) -> Option<u64> {
    let la = A::linear::<FastMem>(&*op, cpu, 10, write)?;
    (la & 4095 <= 4096 - 10).then_some(la)
}

/// `FLD m80`: any value.
pub struct Extended;

impl Source for Extended {
    #[inline(always)]
    unsafe fn load<A: Address>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
    ) -> Option<Register> {
        let la = ten_bytes::<A>(op, cpu, false)?;
        let m = FastMem::load::<u64>(cpu, tlb, la)?;
        Some(Register { m, se: FastMem::load::<u16>(cpu, tlb, la.wrapping_add(8))? as u64 })
    }
}

/// `FSTP m80`.
pub struct StoreExtended<A = ()>(PhantomData<A>);

impl WithMemory for StoreExtended {
    type At<A: Address> = StoreExtended<A>;
}

impl<A: Address> Usual for StoreExtended<A> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, X87)?;
        full(st(cpu, sw, 0))?;
        let v = *st(cpu, sw, 0);
        let la = ten_bytes::<A>(op, cpu, true)?;
        FastMem::store(cpu, tlb, la, v.m)?;
        // In the same page, where nothing but the first can fail.
        FastMem::store(cpu, tlb, la.wrapping_add(8), v.se as u16)?;
        record_memory::<A>(op, cpu);
        (*cpu).fpu.sw = popped::<true>(cpu, sw) as u16;
        Some(())
    }
}

/// What is stored in memory.
pub trait Target {
    /// Its width.
    type Word: Word;
    /// See [`crate::fpu::unusual`].
    const NEEDS: u8;
    /// The bits that `v` becomes, and the status.
    fn convert(v: Register, cw: u16) -> Option<(u64, u32)>;
}

impl Target for Float<u32> {
    type Word = u32;
    const NEEDS: u8 = X87 | ROUNDING;
    #[inline(always)]
    fn convert(v: Register, _: u16) -> Option<(u64, u32)> {
        ext::to_format::<24, 127>(v)
    }
}

impl Target for Float<u64> {
    type Word = u64;
    const NEEDS: u8 = X87 | ROUNDING;
    #[inline(always)]
    fn convert(v: Register, _: u16) -> Option<(u64, u32)> {
        ext::to_format::<53, 1023>(v)
    }
}

/// An integer rounded as the control word says, or cut.
pub struct Whole<W, const CUT: bool>(PhantomData<W>);

macro_rules! whole {
    ($($w:ty)*) => {$(
        impl<const CUT: bool> Target for Whole<$w, CUT> {
            type Word = $w;
            const NEEDS: u8 = X87;
            #[inline(always)]
            fn convert(v: Register, cw: u16) -> Option<(u64, u32)> {
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
pub struct Store<T, const POP: bool, A = ()>(PhantomData<(T, A)>);

impl<T: Target, const POP: bool> WithMemory for Store<T, POP> {
    type At<A: Address> = Store<T, POP, A>;
}

impl<T: Target, const POP: bool, A: Address> Usual for Store<T, POP, A> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, T::NEEDS)?;
        let (bits, status) = T::convert(*st(cpu, sw, 0), (*cpu).fpu.cw)?;
        let la = A::linear::<FastMem>(&*op, cpu, T::Word::BYTES, true)?;
        FastMem::store(cpu, tlb, la, T::Word::of(bits))?;
        record_memory::<A>(op, cpu);
        (*cpu).fpu.sw = (popped::<POP>(cpu, again(cpu)) | status) as u16;
        Some(())
    }
}

/// `FLD ST(i)`.
pub struct Duplicate;

impl Usual for Duplicate {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, X87)?;
        let v = full(st(cpu, sw, (*op).d))?;
        room(cpu, sw)?.cast::<V>().write(v);
        finish(op, cpu, moved(sw, 7))
    }
}

/// `FLDZ`, `FLD1`: the value with significand `M` and exponent field `SE`.
pub struct Constant<const M: u64, const SE: u16>;

impl<const M: u64, const SE: u16> Usual for Constant<M, SE> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, X87)?;
        *room(cpu, sw)? = Register { m: M, se: SE as u64 };
        finish(op, cpu, moved(sw, 7))
    }
}

/// `FST ST(i)`, `FSTP ST(i)`.
pub struct Copy<const POP: bool>;

impl<const POP: bool> Usual for Copy<POP> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, X87)?;
        let v = full(st(cpu, sw, 0))?;
        st(cpu, sw, (*op).d).cast::<V>().write(v);
        let sw = popped::<POP>(cpu, sw);
        finish(op, cpu, sw)
    }
}

/// `FXCH`.
pub struct Exchange;

impl Usual for Exchange {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, X87)?;
        let (i, j) = (st(cpu, sw, 0), st(cpu, sw, (*op).s));
        let (a, b) = (full(i)?, full(j)?);
        i.cast::<V>().write(b);
        j.cast::<V>().write(a);
        finish(op, cpu, sw & !(C1 as u32))
    }
}

/// `FCHS`, `FABS`: any value.
pub struct Sign<const NEGATE: bool>;

impl<const NEGATE: bool> Usual for Sign<NEGATE> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, X87)?;
        let r = st(cpu, sw, 0);
        full(r)?;
        let se = (*r).se;
        (*r).se = if NEGATE { se ^ 0x8000 } else { se & 0x7fff };
        finish(op, cpu, sw & !(C1 as u32))
    }
}

/// Compares; the condition codes.
#[inline(always)]
fn codes(a: Register, b: Register) -> Option<u32> {
    let (less, equal) = ext::compare(a, b)?;
    Some((less as u32 * C0 as u32) | (equal as u32 * C3 as u32))
}

#[inline(always)]
unsafe fn compared<const POPS: u32>(cpu: *mut Cpu, sw: u32, codes: u32) -> u32 {
    let mut sw = sw & !((C0 | C1 | C2 | C3) as u32) | codes;
    for _ in 0..POPS {
        sw = popped::<true>(cpu, sw);
    }
    sw
}

/// `FCOM` and `FUCOM` with ST(i), and with pops; `OTHER` is the register, 8 for the operand's.
pub struct Fcom<const OTHER: u8, const POPS: u32>;

impl<const OTHER: u8, const POPS: u32> Usual for Fcom<OTHER, POPS> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, X87)?;
        let other = if OTHER == 8 { (*op).s } else { 16 * OTHER };
        let (a, b) = (*st(cpu, sw, 0), *st(cpu, sw, other));
        let sw = compared::<POPS>(cpu, sw, codes(a, b)?);
        finish(op, cpu, sw)
    }
}

/// `FCOM`, `FCOMP`, `FICOM`, `FICOMP` with memory.
pub struct FcomM<S, const POPS: u32, A = ()>(PhantomData<(S, A)>);

impl<S: Source, const POPS: u32> WithMemory for FcomM<S, POPS> {
    type At<A: Address> = FcomM<S, POPS, A>;
}

impl<S: Source, const POPS: u32, A: Address> Usual for FcomM<S, POPS, A> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, X87)?;
        let b = S::load::<A>(op, cpu, tlb)?;
        record_memory::<A>(op, cpu);
        let codes = codes(*st(cpu, sw, 0), b)?;
        (*cpu).fpu.sw = compared::<POPS>(cpu, again(cpu), codes) as u16;
        Some(())
    }
}

/// `FCOMI`, `FUCOMI` and with pop. C1 stays.
pub struct Fcomi<const POP: bool>;

impl<const POP: bool> Usual for Fcomi<POP> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        let sw = ready(cpu, X87)?;
        let (a, b) = (*st(cpu, sw, 0), *st(cpu, sw, (*op).s));
        let (less, equal) = ext::compare(a, b)?;
        (*cpu).set_status((less as u64 * flags::CF) | (equal as u64 * flags::ZF));
        let new = popped::<POP>(cpu, sw) | sw & C1 as u32;
        finish(op, cpu, new)
    }
}

/// `FNSTSW AX`.
pub struct StatusToAx;

impl Usual for StatusToAx {
    const SETS: u32 = uses::RAX;

    #[inline(always)]
    unsafe fn run(_: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        if !(*cpu).usual(X87) {
            return None;
        }
        u16::put(&mut (*cpu).regs[0], (*cpu).fpu.sw);
        Some(())
    }
}

/// `FNSTCW`.
pub struct StoreControl<A = ()>(PhantomData<A>);

impl WithMemory for StoreControl {
    type At<A: Address> = StoreControl<A>;
}

impl<A: Address> Usual for StoreControl<A> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()> {
        if !(*cpu).usual(X87) {
            return None;
        }
        let la = A::linear::<FastMem>(&*op, cpu, 2, true)?;
        FastMem::store(cpu, tlb, la, (*cpu).fpu.cw)
    }
}

/// `FLDCW`.
pub struct LoadControl<A = ()>(PhantomData<A>);

impl WithMemory for LoadControl {
    type At<A: Address> = LoadControl<A>;
}

impl<A: Address> Usual for LoadControl<A> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()> {
        ready(cpu, X87)?;
        let v = word::<A, u16>(op, cpu, tlb)?;
        (*cpu).fpu.set_cw(v);
        (*cpu).update_unusual();
        Some(())
    }
}
