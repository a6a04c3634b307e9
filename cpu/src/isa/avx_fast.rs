//! AVX: the fast paths of what is SSE's on more operands and both halves, and of moves.
//!
//! Registers are all XMM or all YMM; what mixes them, or takes general-purpose registers, is left to the
//! plain functions of [`super::avx`].
#![expect(unsafe_code, reason = "handler bodies work on raw pointers")]

use super::fast_path::{Fast, FastPath, registers};
use super::vector::{Floating, Pure, xmm};
use super::{AddressingMode, Exec, Operands, avx};
use crate::Cpu;
use crate::dispatch::{Handler, Plain, handler, uses};
use crate::fpu::host::{V, bits, of};
use crate::mem::{Address, FastMem, General, Mem, put};
use crate::op::Op;
use crate::plain::{PlainFn, Side};
use crate::state::CodeMode;
use crate::state::control::{CR0_TS, CR4_OSXSAVE};
use crate::state::fpu::fallback;
use crate::word::Word;
use iced_x86::OpKind;
use mmu::TlbEntry;
use std::marker::PhantomData;

/// Whether AVX instructions may run, in flat modes, which are protected ones.
#[inline(always)]
unsafe fn ready(cpu: *mut Cpu) -> Option<()> {
    let s = &raw const (*cpu).state.sys;
    let on = (*s).cr4 & CR4_OSXSAVE != 0 && (*s).xcr0 & 6 == 6 && (*s).cr0 & CR0_TS == 0;
    on.then_some(())
}

/// The upper half of register `n`.
#[inline(always)]
unsafe fn upper(cpu: *mut Cpu, n: u8) -> *mut V {
    (&raw mut (*cpu).state.fpu.upper).cast::<V>().byte_add(n as usize)
}

/// A register; the upper half only if `WIDE`.
#[inline(always)]
unsafe fn read<const WIDE: bool>(cpu: *mut Cpu, n: u8) -> [V; 2] {
    [xmm(cpu, n).cast::<V>().read(), if WIDE { upper(cpu, n).read() } else { of(0) }]
}

#[inline(always)]
unsafe fn write(cpu: *mut Cpu, n: u8, [low, high]: [V; 2]) -> Option<()> {
    xmm(cpu, n).cast::<V>().write(low);
    upper(cpu, n).write(high);
    Some(())
}

/// The instruction's immediate, which the operation has no room for.
#[inline(always)]
unsafe fn immediate(op: *const Op) -> u8 {
    // SAFETY: such an operation refers to side data.
    (*((*op).imm as *const Side)).insn.immediate8()
}

/// Where the last source comes from.
pub(super) trait Source: 'static {
    /// Reads it; a narrow one is zero-extended.
    ///
    /// # Safety
    /// As [`FastPath::run`].
    unsafe fn load<const WIDE: bool>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
    ) -> Option<[V; 2]>;
}

/// The register in [`Op::index`].
pub(super) struct Register;
/// `SIZE` bytes of memory; 0: as many as a register has; aligned to that if `ALIGNED`.
pub(super) struct Memory<const SIZE: usize, const ALIGNED: bool>;

impl Source for Register {
    #[inline(always)]
    unsafe fn load<const WIDE: bool>(
        op: *const Op,
        cpu: *mut Cpu,
        _: *mut TlbEntry,
    ) -> Option<[V; 2]> {
        Some(read::<WIDE>(cpu, (*op).index))
    }
}

/// The address of `size` bytes in one page.
#[inline(always)]
unsafe fn address(
    op: *const Op,
    cpu: *mut Cpu,
    (size, align): (usize, usize),
    write: bool,
) -> Option<u64> {
    let la = General::linear::<FastMem>(&*op, cpu, size, write)?;
    let fine = la & 4095 <= 4096 - size as u64 && la & (align as u64 - 1) == 0;
    fine.then_some(la)
}

#[inline(always)]
unsafe fn word<W: Word>(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<[V; 2]> {
    let la = General::linear::<FastMem>(&*op, cpu, W::BYTES, false)?;
    Some([of(FastMem::load::<W>(cpu, tlb, la)?.u() as u128), of(0)])
}

impl<const SIZE: usize, const ALIGNED: bool> Source for Memory<SIZE, ALIGNED> {
    #[inline(always)]
    unsafe fn load<const WIDE: bool>(
        op: *const Op,
        cpu: *mut Cpu,
        tlb: *mut TlbEntry,
    ) -> Option<[V; 2]> {
        match SIZE {
            1 => return word::<u8>(op, cpu, tlb),
            2 => return word::<u16>(op, cpu, tlb),
            4 => return word::<u32>(op, cpu, tlb),
            8 => return word::<u64>(op, cpu, tlb),
            _ => {}
        }
        let size = if WIDE && SIZE == 0 { 32 } else { 16 };
        let la = address(op, cpu, (size, if ALIGNED { size } else { 1 }), false)?;
        let low = of(FastMem::load_vector(cpu, tlb, la)?);
        let high =
            if size == 32 { FastMem::load_vector(cpu, tlb, la.wrapping_add(16))? } else { 0 };
        Some([low, of(high)])
    }
}

/// `d = P(s, source, immediate)`, both halves alike, the high one with the immediate shifted right.
pub(super) struct Ints<P, S, const WIDE: bool, const SHIFT: u32>(PhantomData<(P, S)>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<P: Pure, S: Source, const WIDE: bool, const SHIFT: u32> FastPath
    for Ints<P, S, WIDE, SHIFT>
{
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()> {
        ready(cpu)?;
        let b = S::load::<WIDE>(op, cpu, tlb)?.map(bits);
        let (a, imm) = (read::<WIDE>(cpu, (*op).src).map(bits), immediate(op));
        let low = P::run(a[0], b[0], imm);
        let high = if WIDE { P::run(a[1], b[1], imm >> SHIFT) } else { 0 };
        write(cpu, (*op).dst, [of(low), of(high)])
    }
}

/// The same under MXCSR.
pub(super) struct Floats<P, S, const WIDE: bool, const SHIFT: u32>(PhantomData<(P, S)>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<P: Floating, S: Source, const WIDE: bool, const SHIFT: u32> FastPath
    for Floats<P, S, WIDE, SHIFT>
{
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()> {
        ready(cpu)?;
        let b = S::load::<WIDE>(op, cpu, tlb)?;
        let (a, imm) = (read::<WIDE>(cpu, (*op).src), immediate(op));
        if !(*cpu).fast_path_allowed(fallback::MXCSR) {
            return None;
        }
        let low = P::on_host(a[0], b[0], imm)?;
        let high = if WIDE { P::on_host(a[1], b[1], imm >> SHIFT)? } else { of(0) };
        write(cpu, (*op).dst, [low, high])
    }
}

/// Shifts by the immediate: `d = P(x, immediate)`.
pub(super) struct Shift<P, const WIDE: bool>(PhantomData<P>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<P: Pure, const WIDE: bool> FastPath for Shift<P, WIDE> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        ready(cpu)?;
        let (a, count) = (read::<WIDE>(cpu, (*op).index).map(bits), immediate(op) as u128);
        let high = if WIDE { P::run(a[1], count, 0) } else { 0 };
        write(cpu, (*op).dst, [of(P::run(a[0], count, 0)), of(high)])
    }
}

/// `general-purpose register d = a bit of P for each lane`; `LANES` of them in each half.
pub(super) struct Mask<P, const WIDE: bool, const LANES: u32>(PhantomData<P>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<P: Pure, const WIDE: bool, const LANES: u32> FastPath for Mask<P, WIDE, LANES> {
    const SETS: u32 = uses::ANY;

    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        ready(cpu)?;
        let v = read::<WIDE>(cpu, (*op).index).map(bits);
        let high = if WIDE { P::run(0, v[1], 0) as u64 } else { 0 };
        put(cpu, (*op).dst, P::run(0, v[0], 0) as u64 | high << LANES);
        Some(())
    }
}

/// `d = source`.
pub(super) struct Load<S, const WIDE: bool>(PhantomData<S>);

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<S: Source, const WIDE: bool> FastPath for Load<S, WIDE> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()> {
        ready(cpu)?;
        let v = S::load::<WIDE>(op, cpu, tlb)?;
        write(cpu, (*op).dst, v)
    }
}

/// `memory = s`.
pub(super) struct Store<const WIDE: bool, const ALIGNED: bool>;

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl<const WIDE: bool, const ALIGNED: bool> FastPath for Store<WIDE, ALIGNED> {
    #[inline(always)]
    unsafe fn run(op: *const Op, cpu: *mut Cpu, tlb: *mut TlbEntry) -> Option<()> {
        ready(cpu)?;
        let size = if WIDE { 32 } else { 16 };
        let la = address(op, cpu, (size, if ALIGNED { size } else { 1 }), true)?;
        let [low, high] = read::<WIDE>(cpu, (*op).src).map(bits);
        FastMem::store_vector(cpu, tlb, la, low)?;
        if WIDE {
            // In the same page, where nothing but the first can fail.
            FastMem::store_vector(cpu, tlb, la.wrapping_add(16), high)?;
        }
        Some(())
    }
}

/// `VZEROUPPER`.
pub(super) struct ZeroUpper;

// SAFETY: the body keeps what the constants say, see cpu/tests/promises.rs.
unsafe impl FastPath for ZeroUpper {
    #[inline(always)]
    unsafe fn run(_: *const Op, cpu: *mut Cpu, _: *mut TlbEntry) -> Option<()> {
        ready(cpu)?;
        if (*cpu).caches.mode != CodeMode::Bits64 {
            return None;
        }
        (*cpu).state.fpu.upper = [0; 16];
        Some(())
    }
}

/// Whether the vector registers that are named are YMM, or XMM; `None` if some are of another kind.
/// `from` is the first to look at.
fn wide(s: &Operands, from: u32) -> Option<bool> {
    let registers = (from..s.insn.op_count()).filter(|k| s.insn.op_kind(*k) == OpKind::Register);
    let kinds: Vec<_> = registers.map(|k| s.insn.op_register(k)).collect();
    let (x, y) = (kinds.iter().all(|r| r.is_xmm()), kinds.iter().all(|r| r.is_ymm()));
    (x || y).then_some(y)
}

/// The plain function's handler, for registers of different kinds.
fn mixed() -> Handler {
    handler::<Plain<false>>()
}

fn pick_ints<P: Pure, const SHIFT: u32, const SIZE: usize>(s: &Operands) -> Handler {
    match (wide(s, 0), s.addressing) {
        (None, _) => mixed(),
        (Some(false), AddressingMode::Reg) => handler::<Fast<Ints<P, Register, false, SHIFT>>>(),
        (Some(true), AddressingMode::Reg) => handler::<Fast<Ints<P, Register, true, SHIFT>>>(),
        (Some(false), _) => handler::<Fast<Ints<P, Memory<SIZE, false>, false, SHIFT>>>(),
        (Some(true), _) => handler::<Fast<Ints<P, Memory<SIZE, false>, true, SHIFT>>>(),
    }
}

fn pick_floats<P: Floating, const SHIFT: u32, const SIZE: usize>(s: &Operands) -> Handler {
    match (wide(s, 0), s.addressing) {
        (None, _) => mixed(),
        (Some(false), AddressingMode::Reg) => handler::<Fast<Floats<P, Register, false, SHIFT>>>(),
        (Some(true), AddressingMode::Reg) => handler::<Fast<Floats<P, Register, true, SHIFT>>>(),
        (Some(false), _) => handler::<Fast<Floats<P, Memory<SIZE, false>, false, SHIFT>>>(),
        (Some(true), _) => handler::<Fast<Floats<P, Memory<SIZE, false>, true, SHIFT>>>(),
    }
}

fn pick_shift<P: Pure>(s: &Operands) -> Handler {
    match wide(s, 0) {
        None => mixed(),
        Some(false) => handler::<Fast<Shift<P, false>>>(),
        Some(true) => handler::<Fast<Shift<P, true>>>(),
    }
}

fn pick_mask<P: Pure, const LANES: u32>(s: &Operands) -> Handler {
    match wide(s, 1) {
        None => mixed(),
        Some(false) => handler::<Fast<Mask<P, false, LANES>>>(),
        Some(true) => handler::<Fast<Mask<P, true, LANES>>>(),
    }
}

fn pick_load<const ALIGNED: bool>(s: &Operands) -> Handler {
    match (wide(s, 0), s.addressing) {
        (None, _) => mixed(),
        (Some(false), AddressingMode::Reg) => handler::<Fast<Load<Register, false>>>(),
        (Some(true), AddressingMode::Reg) => handler::<Fast<Load<Register, true>>>(),
        (Some(false), _) => handler::<Fast<Load<Memory<0, ALIGNED>, false>>>(),
        (Some(true), _) => handler::<Fast<Load<Memory<0, ALIGNED>, true>>>(),
    }
}

fn pick_store<const ALIGNED: bool>(s: &Operands) -> Handler {
    match (wide(s, 0), s.addressing) {
        (None, _) => mixed(),
        (Some(false), AddressingMode::Reg) => handler::<Fast<Load<Register, false>>>(),
        (Some(true), AddressingMode::Reg) => handler::<Fast<Load<Register, true>>>(),
        (Some(false), _) => handler::<Fast<Store<false, ALIGNED>>>(),
        (Some(true), _) => handler::<Fast<Store<true, ALIGNED>>>(),
    }
}

/// The form of [`avx::pure`].
pub(super) const fn pure<P: Pure, const SHIFT: u32, const SIZE: usize>() -> Exec {
    Exec::FastPath(pick_ints::<P, SHIFT, SIZE>, avx::pure::<P, SHIFT, SIZE>)
}

/// The form of [`avx::float`].
pub(super) const fn float<P: Floating, const SHIFT: u32, const SIZE: usize>() -> Exec {
    Exec::FastPath(pick_floats::<P, SHIFT, SIZE>, avx::float::<P, SHIFT, SIZE>)
}

/// The form of [`avx::by_imm`].
pub(super) const fn by_imm<P: Pure>() -> Exec {
    Exec::FastPath(pick_shift::<P>, avx::by_imm::<P>)
}

/// The form of [`avx::mask`].
pub(super) const fn mask<P: Pure, const LANES: u32>() -> Exec {
    Exec::FastPath(pick_mask::<P, LANES>, avx::mask::<P, LANES>)
}

/// A form that loads a register, and the plain function for the form.
pub(super) const fn load<const ALIGNED: bool>(plain: PlainFn) -> Exec {
    Exec::FastPath(pick_load::<ALIGNED>, plain)
}

/// A form that stores a register.
pub(super) const fn store<const ALIGNED: bool>(plain: PlainFn) -> Exec {
    Exec::FastPath(pick_store::<ALIGNED>, plain)
}

/// `VZEROUPPER`.
pub(super) const fn zero_upper(plain: PlainFn) -> Exec {
    Exec::FastPath(registers::<ZeroUpper>, plain)
}
