//! How vector instructions run: typed handlers over 128-bit values.
//!
//! Marker types say what is computed ([`Pure`] or [`Floating`]), for MMX and AVX too.
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::rm::try_flow;
use super::{AddressingMode, Operands};
use crate::Cpu;
use crate::dispatch::{Flow, Handler, Semantics, deferred, handler, uses};
use crate::fpu::host::{self, V};
use crate::fpu::soft::Env;
use crate::hint::rare;
use crate::mem::{Address, Base, General, Index, Mem, get, put};
use crate::op::{Op, op_flags};
use crate::state::fpu::fallback;
use crate::state::seg;
use crate::trap::Trap;
use crate::word::Word;
use mmu::TlbEntry;
use std::marker::PhantomData;

/// A computation without exceptions: first operand (the destination before), second, immediate.
pub(crate) trait Pure: 'static {
    /// The instruction's function, by its definition.
    fn definition(a: u128, b: u128, imm: u8) -> u128;
    /// Computes the function by the host.
    #[inline(always)]
    fn run(a: u128, b: u128, imm: u8) -> u128 {
        Self::definition(a, b, imm)
    }
}

/// A computation under MXCSR.
pub(crate) trait Floating: 'static {
    /// Computes all lanes.
    fn run(e: &mut Env, a: u128, b: u128, imm: u8) -> u128;
    /// The same by the host, where MXCSR is [`host::can_compute`]; `None` if it cannot.
    #[inline(always)]
    fn on_host(_a: V, _b: V, _imm: u8) -> Option<V> {
        None
    }
}

/// Marker types with their [`Pure`] computations, and what does the same on an x86 host.
macro_rules! pure {
    ($($name:ident ($a:ident, $b:ident, $imm:ident) => $e:expr $(, $host:ident)?;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub(crate) struct $name;
        impl $crate::isa::vector::Pure for $name {
            #[inline(always)]
            #[allow(unused_variables)]
            fn definition($a: u128, $b: u128, $imm: u8) -> u128 {
                $e
            }
            $(
                #[cfg(target_arch = "x86_64")]
                #[inline(always)]
                fn run(a: u128, b: u128, _: u8) -> u128 {
                    $crate::fpu::integers::$host(a, b)
                }
            )?
        }
    )*};
}
pub(crate) use pure;

/// Marker types with their [`Floating`] computations, in general and in the fast path.
macro_rules! floating {
    ($($name:ident ($env:ident, $a:ident, $b:ident, $imm:ident) => $e:expr
       $(, |$x:ident, $y:ident| $on_host:expr)?;)*) => {$(
        #[doc = concat!("`", stringify!($name), "`.")]
        pub(crate) struct $name;
        impl $crate::isa::vector::Floating for $name {
            #[inline(always)]
            #[allow(unused_variables)]
            fn run($env: &mut $crate::fpu::soft::Env, $a: u128, $b: u128, $imm: u8) -> u128 {
                $e
            }
            #[inline(always)]
            #[allow(unused_variables, unreachable_code)]
            fn on_host(
                x: $crate::fpu::host::V,
                y: $crate::fpu::host::V,
                $imm: u8,
            ) -> Option<$crate::fpu::host::V> {
                $(let ($x, $y) = (x, y); return $on_host;)?
                None
            }
        }
    )*};
}
pub(crate) use floating;

#[inline(always)]
pub(crate) unsafe fn xmm(cpu: *mut Cpu, n: u8) -> *mut u128 {
    // The decoder gives numbers 0 to 15, times 16.
    (&raw mut (*cpu).state.fpu.xmm).cast::<u128>().byte_add(n as usize)
}

/// A register's value, read as the host reads vectors.
#[inline(always)]
unsafe fn read(cpu: *mut Cpu, n: u8) -> u128 {
    host::bits(xmm(cpu, n).cast::<V>().read())
}

/// Whether the instruction may run; the cold twin records why not.
#[inline(always)]
unsafe fn enabled<M: Mem>(cpu: *mut Cpu) -> bool {
    fast_path_allowed::<M>(cpu, 0)
}

/// As [`enabled`], for one under MXCSR: whether it has its fast path.
#[inline(always)]
unsafe fn enabled_fp<M: Mem>(cpu: *mut Cpu) -> bool {
    fast_path_allowed::<M>(cpu, if M::SLOW { 0 } else { fallback::MXCSR })
}

#[inline(always)]
unsafe fn fast_path_allowed<M: Mem>(cpu: *mut Cpu, more: u8) -> bool {
    if (*cpu).fast_path_allowed(fallback::SSE | more) {
        return true;
    }
    rare();
    if M::SLOW {
        (*cpu).env.trap = (*cpu).check_sse().err();
    }
    false
}

/// A source operand, zero-extended.
///
/// # Safety
/// As [`Semantics::run`].
pub(crate) trait Source: 'static {
    /// The operands that it names, see [`uses::vector_operands`].
    const NAMES: u32;
    /// Loads the operand, zero-extended.
    unsafe fn load<M: Mem>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<u128>;
}

/// The XMM register in [`Op::src`].
pub(crate) struct Xmm;
/// The general-purpose register in [`Op::src`].
pub(crate) struct Gpr<W>(PhantomData<W>);
/// The immediate operand of the instruction.
pub(crate) struct Imm;
/// A word in memory.
pub(crate) struct Narrow<A, W>(PhantomData<(A, W)>);
/// 16 bytes in memory.
pub(crate) struct Full<A, const ALIGNED: bool>(PhantomData<A>);

impl Source for Xmm {
    const NAMES: u32 = uses::SRC;

    #[inline(always)]
    unsafe fn load<M: Mem>(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<u128> {
        Some(read(cpu, (*op).src))
    }
}

impl<W: Word> Source for Gpr<W> {
    const NAMES: u32 = uses::SRC;

    #[inline(always)]
    unsafe fn load<M: Mem>(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<u128> {
        Some(get::<W>(cpu, (*op).src).u() as u128)
    }
}

impl Source for Imm {
    const NAMES: u32 = 0;

    #[inline(always)]
    unsafe fn load<M: Mem>(op: *const Op, _: *mut Cpu, _: *mut TlbEntry) -> Option<u128> {
        Some((*op).imm as u8 as u128)
    }
}

impl<A: Address, W: Word> Source for Narrow<A, W> {
    const NAMES: u32 = A::READS;

    #[inline(always)]
    unsafe fn load<M: Mem>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<u128> {
        let la = A::linear::<M>(&*op, cpu, W::BYTES, false)?;
        Some(M::load::<W>(cpu, tlb, la)?.u() as u128)
    }
}

impl Cpu {
    /// The linear address of a memory operand, whatever the segment says: misalignment comes first.
    unsafe fn unchecked<A: Address>(&mut self, op: &Op) -> u64 {
        let off = A::offset(op, self);
        let s = (op.flags >> op_flags::SEG_SHIFT) as usize;
        if op.flags & op_flags::LEGACY != 0 || s >= seg::FS {
            return self.state.bases.seg[s].wrapping_add(off);
        }
        off
    }
}

/// #GP(0) for an operand that must be aligned and is not.
#[inline(always)]
unsafe fn check_aligned<M: Mem>(cpu: *mut Cpu, la: u64) -> Option<()> {
    if la & 15 == 0 {
        return Some(());
    }
    rare();
    if M::SLOW {
        (*cpu).env.trap = Some(Trap::GP0);
    }
    None
}

impl<A: Address, const ALIGNED: bool> Source for Full<A, ALIGNED> {
    const NAMES: u32 = A::READS;

    #[inline(always)]
    unsafe fn load<M: Mem>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<u128> {
        if ALIGNED && M::SLOW {
            check_aligned::<M>(cpu, (*cpu).unchecked::<A>(&*op))?;
        }
        let la = A::linear::<M>(&*op, cpu, 16, false)?;
        if ALIGNED {
            check_aligned::<M>(cpu, la)?;
        }
        M::load_vector(cpu, tlb, la)
    }
}

/// `XMM = P(XMM, source, imm)`.
pub(crate) struct Binary<S, P>(PhantomData<(S, P)>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<S: Source, P: Pure> Semantics for Binary<S, P> {
    const PRESERVES: u32 = deferred::ALL;
    const READS: u32 = uses::vector_operands(uses::DST | S::NAMES);
    const SETS: u32 = 0;
    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        try_flow!(enabled::<M>(cpu).then_some(()));
        let b = try_flow!(S::load::<M>(o, cpu, tlb));
        let r = P::run(read(cpu, (*o).dst), b, (*o).imm as u8);
        xmm(cpu, (*o).dst).cast::<V>().write(host::of(r));
        Flow::Next(1)
    }
}

/// `XMM = P(XMM, source, imm)` under MXCSR.
pub(crate) struct BinaryFp<S, P>(PhantomData<(S, P)>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<S: Source, P: Floating> Semantics for BinaryFp<S, P> {
    const PRESERVES: u32 = deferred::ALL;
    const READS: u32 = uses::vector_operands(uses::DST | S::NAMES);
    const SETS: u32 = 0;
    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        try_flow!(enabled_fp::<M>(cpu).then_some(()));
        let b = try_flow!(S::load::<M>(o, cpu, tlb));
        let a = read(cpu, (*o).dst);
        let r = try_flow!(floating_result::<M, P>(cpu, a, b, (*o).imm as u8));
        xmm(cpu, (*o).dst).cast::<V>().write(host::of(r));
        Flow::Next(1)
    }
}

/// Computes the fast path; the cold twin anything, and notes the exceptions, `None` for an unmasked one.
#[inline(always)]
unsafe fn floating_result<M: Mem, P: Floating>(
    cpu: *mut Cpu,
    a: u128,
    b: u128,
    imm: u8,
) -> Option<u128> {
    if !M::SLOW {
        return P::on_host(host::of(a), host::of(b), imm).map(host::bits);
    }
    let mut e = Env::sse((*cpu).state.fpu.mxcsr);
    let r = P::run(&mut e, a, b, imm);
    match (*cpu).commit_simd(&e) {
        Ok(()) => Some(r),
        Err(t) => {
            (*cpu).env.trap = Some(t);
            None
        }
    }
}

/// `GPR = P(source, imm)`.
pub(crate) struct ToGpr<S, P, W>(PhantomData<(S, P, W)>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<S: Source, P: Pure, W: Word> Semantics for ToGpr<S, P, W> {
    const PRESERVES: u32 = deferred::ALL;
    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        try_flow!(enabled::<M>(cpu).then_some(()));
        let b = try_flow!(S::load::<M>(o, cpu, tlb));
        put(cpu, (*o).dst, W::of(P::run(0, b, (*o).imm as u8) as u64));
        Flow::Next(1)
    }
}

/// `GPR = P(source)` under MXCSR.
pub(crate) struct ToGprFp<S, P, W>(PhantomData<(S, P, W)>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<S: Source, P: Floating, W: Word> Semantics for ToGprFp<S, P, W> {
    const PRESERVES: u32 = deferred::ALL;
    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        try_flow!(enabled_fp::<M>(cpu).then_some(()));
        let b = try_flow!(S::load::<M>(o, cpu, tlb));
        let r = try_flow!(floating_result::<M, P>(cpu, 0, b, 0));
        put(cpu, (*o).dst, W::of(r as u64));
        Flow::Next(1)
    }
}

/// Compares XMM with the source; P gives the status flags.
pub(crate) struct ToFlags<S, P>(PhantomData<(S, P)>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<S: Source, P: Floating> Semantics for ToFlags<S, P> {
    const READS: u32 = uses::vector_operands(uses::DST | S::NAMES);
    const SETS: u32 = 0;
    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        try_flow!(enabled_fp::<M>(cpu).then_some(()));
        let b = try_flow!(S::load::<M>(o, cpu, tlb));
        let r = try_flow!(floating_result::<M, P>(cpu, read(cpu, (*o).dst), b, 0));
        (*cpu).state.flags.set_status(r as u64);
        Flow::Next(1)
    }
}

/// `memory = XMM`, 16 bytes.
pub(crate) struct StoreFull<A, const ALIGNED: bool>(PhantomData<A>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Address, const ALIGNED: bool> Semantics for StoreFull<A, ALIGNED> {
    const PRESERVES: u32 = deferred::ALL;
    const READS: u32 = uses::vector_operands(uses::SRC | A::READS);
    const SETS: u32 = 0;
    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        try_flow!(enabled::<M>(cpu).then_some(()));
        if ALIGNED && M::SLOW {
            try_flow!(check_aligned::<M>(cpu, (*cpu).unchecked::<A>(&*o)));
        }
        let la = try_flow!(A::linear::<M>(&*o, cpu, 16, true));
        if ALIGNED {
            try_flow!(check_aligned::<M>(cpu, la));
        }
        try_flow!(M::store_vector(cpu, tlb, la, *xmm(cpu, (*o).src)));
        Flow::Next(1)
    }
}

/// `memory = P(XMM, imm)`, a word.
pub(crate) struct StoreNarrow<A, P, W>(PhantomData<(A, P, W)>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<A: Address, P: Pure, W: Word> Semantics for StoreNarrow<A, P, W> {
    const PRESERVES: u32 = deferred::ALL;
    const READS: u32 = uses::vector_operands(uses::SRC | A::READS);
    const SETS: u32 = 0;
    #[inline(always)]
    unsafe fn run<M: Mem>(o: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Flow {
        try_flow!(enabled::<M>(cpu).then_some(()));
        let v = P::run(0, *xmm(cpu, (*o).src), (*o).imm as u8);
        let la = try_flow!(A::linear::<M>(&*o, cpu, W::BYTES, true));
        try_flow!(M::store(cpu, tlb, la, W::of(v as u64)));
        Flow::Next(1)
    }
}

/// `P(XMM, XMM or aligned m128, imm)`; the address forms have their own handlers.
pub(super) fn hot<P: Pure>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<Binary<Xmm, P>>(),
        AddressingMode::Base => handler::<Binary<Full<Base, true>, P>>(),
        AddressingMode::Index => handler::<Binary<Full<Index, true>, P>>(),
        AddressingMode::General => handler::<Binary<Full<General, true>, P>>(),
    }
}

/// As [`hot`], the address may be misaligned.
pub(super) fn hot_unaligned<P: Pure>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<Binary<Xmm, P>>(),
        AddressingMode::Base => handler::<Binary<Full<Base, false>, P>>(),
        AddressingMode::Index => handler::<Binary<Full<Index, false>, P>>(),
        AddressingMode::General => handler::<Binary<Full<General, false>, P>>(),
    }
}

/// `P(XMM, XMM or aligned m128, imm)`.
pub(super) fn full<P: Pure>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<Binary<Xmm, P>>(),
        _ => handler::<Binary<Full<General, true>, P>>(),
    }
}

/// `P(XMM, XMM or a word in memory, imm)`.
pub(super) fn narrow<P: Pure, W: Word>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<Binary<Xmm, P>>(),
        AddressingMode::Base => handler::<Binary<Narrow<Base, W>, P>>(),
        AddressingMode::Index => handler::<Binary<Narrow<Index, W>, P>>(),
        AddressingMode::General => handler::<Binary<Narrow<General, W>, P>>(),
    }
}

/// `P(XMM, general-purpose register of width G or a word in memory, imm)`.
pub(super) fn from_gpr<P: Pure, G: Word, W: Word>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<Binary<Gpr<G>, P>>(),
        AddressingMode::Base => handler::<Binary<Narrow<Base, W>, P>>(),
        _ => handler::<Binary<Narrow<General, W>, P>>(),
    }
}

/// `P(XMM, imm)`.
pub(super) fn by_imm<P: Pure>(_: &Operands) -> Handler {
    handler::<Binary<Imm, P>>()
}

/// `GPR = P(XMM, imm)`.
pub(super) fn to_gpr<P: Pure, W: Word>(_: &Operands) -> Handler {
    handler::<ToGpr<Xmm, P, W>>()
}

/// `GPR of width G or a word in memory = P(XMM, imm)`.
pub(super) fn to_gpr_or_memory<P: Pure, G: Word, W: Word>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<ToGpr<Xmm, P, G>>(),
        AddressingMode::Base => handler::<StoreNarrow<Base, P, W>>(),
        _ => handler::<StoreNarrow<General, P, W>>(),
    }
}

/// `XMM or word in memory = XMM`; P says how registers do it, Q what is stored.
pub(super) fn store<P: Pure, Q: Pure, W: Word>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<Binary<Xmm, P>>(),
        AddressingMode::Base => handler::<StoreNarrow<Base, Q, W>>(),
        AddressingMode::Index => handler::<StoreNarrow<Index, Q, W>>(),
        AddressingMode::General => handler::<StoreNarrow<General, Q, W>>(),
    }
}

/// `XMM or m128 = XMM`.
pub(super) fn store_full<P: Pure, const ALIGNED: bool>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<Binary<Xmm, P>>(),
        AddressingMode::Base => handler::<StoreFull<Base, ALIGNED>>(),
        AddressingMode::Index => handler::<StoreFull<Index, ALIGNED>>(),
        AddressingMode::General => handler::<StoreFull<General, ALIGNED>>(),
    }
}

/// `P(XMM, XMM or aligned m128, imm)` under MXCSR.
pub(super) fn fp_full<P: Floating>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<BinaryFp<Xmm, P>>(),
        _ => handler::<BinaryFp<Full<General, true>, P>>(),
    }
}

/// `P(XMM, XMM or a word in memory, imm)` under MXCSR.
pub(super) fn fp_narrow<P: Floating, W: Word>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<BinaryFp<Xmm, P>>(),
        AddressingMode::Base => handler::<BinaryFp<Narrow<Base, W>, P>>(),
        AddressingMode::Index => handler::<BinaryFp<Narrow<Index, W>, P>>(),
        AddressingMode::General => handler::<BinaryFp<Narrow<General, W>, P>>(),
    }
}

/// `P(XMM, general-purpose register or memory)` under MXCSR.
pub(super) fn fp_from_gpr<P: Floating, W: Word>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<BinaryFp<Gpr<W>, P>>(),
        _ => handler::<BinaryFp<Narrow<General, W>, P>>(),
    }
}

/// `GPR of width G = P(XMM or a word in memory)` under MXCSR.
pub(super) fn fp_to_gpr<P: Floating, G: Word, W: Word>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<ToGprFp<Xmm, P, G>>(),
        _ => handler::<ToGprFp<Narrow<General, W>, P, G>>(),
    }
}

/// `status flags = P(XMM, XMM or aligned m128)`.
pub(super) fn fp_full_to_flags<P: Floating>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<ToFlags<Xmm, P>>(),
        _ => handler::<ToFlags<Full<General, true>, P>>(),
    }
}

/// `status flags = P(XMM, XMM or a word in memory)` under MXCSR.
pub(super) fn fp_to_flags<P: Floating, W: Word>(s: &Operands) -> Handler {
    match s.addressing {
        AddressingMode::Reg => handler::<ToFlags<Xmm, P>>(),
        _ => handler::<ToFlags<Narrow<General, W>, P>>(),
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
