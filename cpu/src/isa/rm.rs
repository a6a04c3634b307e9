//! The `r/m` operand of typed handlers: a register or memory, chosen at decode time.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use crate::Cpu;
use crate::dispatch::uses;
use crate::mem::{Address, Mem, get, put};
use crate::op::Op;
use crate::word::Word;
use mmu::TlbEntry;
use std::marker::PhantomData;

/// An operand that can be loaded, stored and updated.
///
/// # Safety
/// All methods: as [`crate::dispatch::Semantics::run`].
pub(crate) trait Rm: 'static {
    /// Whether it is a register.
    const REGISTER: bool;
    /// Registers that loading it reads, see [`uses`].
    const READS: u32;
    /// Those of them that storing it reads.
    const ADDRESS: u32;
    /// Registers that storing it writes.
    const SETS: u32;
    /// Reads the operand.
    unsafe fn load<M: Mem, W: Word>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<W>;
    /// Writes the operand.
    unsafe fn store<M: Mem, W: Word>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
        v: W,
    ) -> Option<()>;
    /// Replaces it; `f` runs when nothing can fail any more.
    unsafe fn update<M: Mem, W: Word>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
        f: impl FnOnce(W) -> W,
    ) -> Option<()>;
}

/// The register in [`Op::dst`].
pub(crate) struct RegD;
/// The register in [`Op::src`].
pub(crate) struct RegS;
/// The memory operand.
pub(crate) struct Memory<A>(PhantomData<A>);

macro_rules! register {
    ($name:ident, $field:ident, $reads:expr, $sets:expr) => {
        impl Rm for $name {
            const REGISTER: bool = true;
            const READS: u32 = $reads;
            const ADDRESS: u32 = 0;
            const SETS: u32 = $sets;
            #[inline(always)]
            unsafe fn load<M: Mem, W: Word>(
                op: *const Op,
                cpu: *mut Cpu,
                _: *mut TlbEntry,
            ) -> Option<W> {
                Some(get(cpu, (*op).$field))
            }
            #[inline(always)]
            unsafe fn store<M: Mem, W: Word>(
                op: *const Op,
                cpu: *mut Cpu,
                _: *mut TlbEntry,
                v: W,
            ) -> Option<()> {
                put(cpu, (*op).$field, v);
                Some(())
            }
            #[inline(always)]
            unsafe fn update<M: Mem, W: Word>(
                op: *const Op,
                cpu: *mut Cpu,
                _: *mut TlbEntry,
                f: impl FnOnce(W) -> W,
            ) -> Option<()> {
                let v = f(get(cpu, (*op).$field));
                put(cpu, (*op).$field, v);
                Some(())
            }
        }
    };
}
register!(RegD, dst, uses::DST, uses::DST);
register!(RegS, src, uses::SRC, uses::ANY);

impl<A: Address> Rm for Memory<A> {
    const REGISTER: bool = false;
    const READS: u32 = A::READS;
    const ADDRESS: u32 = A::READS;
    const SETS: u32 = 0;

    #[inline(always)]
    unsafe fn load<M: Mem, W: Word>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<W> {
        let la = A::linear::<M>(&*op, cpu, W::BYTES, false)?;
        M::load(cpu, tlb, la)
    }
    #[inline(always)]
    unsafe fn store<M: Mem, W: Word>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
        v: W,
    ) -> Option<()> {
        let la = A::linear::<M>(&*op, cpu, W::BYTES, true)?;
        M::store(cpu, tlb, la, v)
    }
    #[inline(always)]
    unsafe fn update<M: Mem, W: Word>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
        f: impl FnOnce(W) -> W,
    ) -> Option<()> {
        let la = A::linear::<M>(&*op, cpu, W::BYTES, true)?;
        M::update(cpu, tlb, la, f)
    }
}

/// The handler of `$sem`, in which `$A` stands for the operand: `$reg`, or memory as the shape says.
macro_rules! by_rm {
    ($am:expr, $reg:ty, |$A:ident| $sem:ty) => {
        match $am {
            $crate::isa::AddressingMode::Reg => {
                type $A = $reg;
                $crate::dispatch::handler::<$sem>()
            }
            $crate::isa::AddressingMode::Base => {
                type $A = $crate::isa::rm::Memory<$crate::mem::Base>;
                $crate::dispatch::handler::<$sem>()
            }
            $crate::isa::AddressingMode::Index => {
                type $A = $crate::isa::rm::Memory<$crate::mem::Index>;
                $crate::dispatch::handler::<$sem>()
            }
            $crate::isa::AddressingMode::General => {
                type $A = $crate::isa::rm::Memory<$crate::mem::General>;
                $crate::dispatch::handler::<$sem>()
            }
        }
    };
}
pub(crate) use by_rm;

/// The value of an `Option`, or [`crate::dispatch::Flow::Slow`].
macro_rules! try_flow {
    ($e:expr) => {
        match $e {
            Some(v) => v,
            None => return $crate::dispatch::Flow::Slow,
        }
    };
}
pub(crate) use try_flow;
