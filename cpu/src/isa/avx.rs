//! How AVX instructions run: plain functions over both halves of a YMM register, on the marker types
//! of SSE. A VEX-encoded 128-bit instruction clears the upper half of its destination.

use super::sse_moves::number;
use super::vector::{Floating, Pure};
use crate::Cpu;
use crate::fpu::lanes::{Lane, merge};
use crate::fpu::simd::{self, Float};
use crate::fpu::soft::Env;
use crate::state::control::CR4_OSXSAVE;
use crate::state::flags;
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::{Instruction, OpKind, Register};

pub(super) type Done = Result<(), Trap>;
/// The low and the high half of a YMM register.
pub(super) type V = [u128; 2];

impl Cpu {
    /// #UD or #NM, if AVX instructions may not run. SDM vol. 2, "Exceptions Type" of each.
    pub(super) fn check_avx(&self) -> Done {
        let enabled = self.state.sys.cr4 & CR4_OSXSAVE != 0 && self.state.sys.xcr0 & 6 == 6;
        if !enabled || !self.protected() || self.v86() {
            return Err(Trap::UD);
        }
        if self.state.sys.cr0 & crate::state::control::CR0_TS != 0 { Err(Trap::NM) } else { Ok(()) }
    }

    /// A vector register; the upper half of an XMM register reads as zero.
    pub(super) fn vector(&self, r: Register) -> V {
        let n = number(r) & 15;
        [self.state.fpu.xmm[n], if r.is_ymm() { self.state.fpu.upper[n] } else { 0 }]
    }

    /// Writes a vector register; the upper half of an XMM register is cleared.
    pub(super) fn set_vector(&mut self, r: Register, v: V) {
        let n = number(r) & 15;
        self.state.fpu.xmm[n] = v[0];
        self.state.fpu.upper[n] = if r.is_ymm() { v[1] } else { 0 };
    }
}

/// Loads `size` bytes, zero-extended.
pub(super) fn load(cpu: &mut Cpu, i: &Instruction, size: usize) -> Result<V, Trap> {
    let (s, la) = cpu.memory_operand(i, size, false)?;
    let mut b = [0; 32];
    cpu.load_bytes(s, la, &mut b[..size])?;
    Ok(of_bytes(&b))
}

pub(super) fn of_bytes(b: &[u8; 32]) -> V {
    let half = |k: usize| b[k..k + 16].iter().rev().fold(0, |v, b| v << 8 | *b as u128);
    [half(0), half(16)]
}

pub(super) fn to_bytes(v: V) -> [u8; 32] {
    let mut b = [0; 32];
    b[..16].copy_from_slice(&v[0].to_le_bytes());
    b[16..].copy_from_slice(&v[1].to_le_bytes());
    b
}

/// Bytes of a vector as wide as operand `n`.
pub(super) fn width(i: &Instruction, n: u32) -> usize {
    if i.op_register(n).is_ymm() { 32 } else { 16 }
}

/// Operand `n`: a register, or `size` bytes of memory (0: as many as the destination has).
pub(super) fn operand(cpu: &mut Cpu, i: &Instruction, n: u32, size: usize) -> Result<V, Trap> {
    if i.op_kind(n) == OpKind::Memory {
        return load(cpu, i, if size == 0 { width(i, 0) } else { size });
    }
    let r = i.op_register(n);
    Ok(if r.is_gpr() { [cpu.reg(r) as u128, 0] } else { cpu.vector(r) })
}

pub(super) fn immediate(i: &Instruction) -> u8 {
    let last = i.op_count() - 1;
    if i.op_kind(last) == OpKind::Immediate8 { i.immediate8() } else { 0 }
}

/// The sources of an instruction with one or two: (first, second). A lone source is the second.
fn sources(cpu: &mut Cpu, i: &Instruction, size: usize) -> Result<(V, V), Trap> {
    let with_imm = i.op_kind(i.op_count() - 1) == OpKind::Immediate8;
    if i.op_count() - with_imm as u32 == 3 {
        let b = operand(cpu, i, 2, size)?;
        return Ok((cpu.vector(i.op1_register()), b));
    }
    Ok(([0; 2], operand(cpu, i, 1, size)?))
}

fn write(cpu: &mut Cpu, i: &Instruction, v: V) -> Done {
    cpu.set_vector(i.op0_register(), v);
    Ok(())
}

/// Computes under MXCSR and notes the exceptions.
pub(super) fn under_mxcsr<T>(cpu: &mut Cpu, f: impl FnOnce(&mut Env) -> T) -> Result<T, Trap> {
    let mut e = Env::sse(cpu.state.fpu.mxcsr);
    let r = f(&mut e);
    cpu.commit_simd(&e)?;
    Ok(r)
}

/// Both halves alike; the high one with the immediate shifted right by `SHIFT`. `SIZE` bytes of memory.
pub(super) fn pure<P: Pure, const SHIFT: u32, const SIZE: usize>(
    cpu: &mut Cpu,
    i: &Instruction,
) -> Done {
    cpu.check_avx()?;
    let (a, b) = sources(cpu, i, SIZE)?;
    let imm = immediate(i);
    let r = [P::run(a[0], b[0], imm), P::run(a[1], b[1], imm >> SHIFT)];
    write(cpu, i, r)
}

/// As [`pure`], under MXCSR.
pub(super) fn float<P: Floating, const SHIFT: u32, const SIZE: usize>(
    cpu: &mut Cpu,
    i: &Instruction,
) -> Done {
    cpu.check_avx()?;
    let (a, b) = sources(cpu, i, SIZE)?;
    let (imm, wide) = (immediate(i), i.op0_register().is_ymm());
    let r = under_mxcsr(cpu, |e| {
        let low = P::run(e, a[0], b[0], imm);
        [low, if wide { P::run(e, a[1], b[1], imm >> SHIFT) } else { 0 }]
    })?;
    write(cpu, i, r)
}

/// Under MXCSR, both halves together.
pub(super) fn wide(cpu: &mut Cpu, i: &Instruction, f: fn(&mut Env, V, V, u8) -> V) -> Done {
    cpu.check_avx()?;
    let (a, b) = sources(cpu, i, 0)?;
    let r = under_mxcsr(cpu, |e| f(e, a, b, immediate(i)))?;
    write(cpu, i, r)
}

/// Shifts by an immediate.
pub(super) fn by_imm<P: Pure>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let a = cpu.vector(i.op1_register());
    let count = i.immediate8() as u128;
    write(cpu, i, a.map(|v| P::run(v, count, 0)))
}

/// Shifts by the count in an XMM register or m128.
pub(super) fn by_count<P: Pure>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let [count, _] = operand(cpu, i, 2, 16)?;
    let a = cpu.vector(i.op1_register());
    write(cpu, i, a.map(|v| P::run(v, count, 0)))
}

/// Widens lanes: `BYTES` of the source make 16 of the destination.
pub(super) fn widen<P: Pure, const BYTES: usize>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let halves = width(i, 0) / 16;
    let [b, _] = operand(cpu, i, 1, BYTES * halves)?;
    write(cpu, i, [P::run(0, b, 0), P::run(0, b >> (8 * BYTES), 0)])
}

/// Widens lanes under MXCSR: 8 bytes of the source make 16.
pub(super) fn widen_float<P: Floating>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let wide = width(i, 0) == 32;
    let [b, _] = operand(cpu, i, 1, width(i, 0) / 2)?;
    let r = under_mxcsr(cpu, |e| {
        [P::run(e, 0, b as u64 as u128, 0), if wide { P::run(e, 0, b >> 64, 0) } else { 0 }]
    })?;
    write(cpu, i, r)
}

/// Narrows lanes under MXCSR: `SIZE` bytes make half as many.
pub(super) fn shrink_float<P: Floating, const SIZE: usize>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let b = operand(cpu, i, 1, SIZE)?;
    let r = under_mxcsr(cpu, |e| {
        let low = P::run(e, 0, b[0], 0);
        if SIZE == 32 { low | P::run(e, 0, b[1], 0) << 64 } else { low }
    })?;
    write(cpu, i, [r, 0])
}

/// `general-purpose register = P(source)` under MXCSR.
pub(super) fn to_gpr_float<P: Floating, const SIZE: usize>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let [b, _] = operand(cpu, i, 1, SIZE)?;
    let r = under_mxcsr(cpu, |e| P::run(e, 0, b, 0))?;
    cpu.set_reg(i.op0_register(), r as u64);
    Ok(())
}

/// `general-purpose register or word in memory = P(XMM, imm)`.
pub(super) fn extract<P: Pure, W: Word>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let v = P::run(0, cpu.vector(i.op1_register())[0], immediate(i)) as u64;
    if i.op0_kind() == OpKind::Memory {
        return cpu.store_operand(i, W::of(v));
    }
    cpu.set_reg(i.op0_register(), v);
    Ok(())
}

/// `general-purpose register = a bit of P for each lane`; `LANES` of them in each half.
pub(super) fn mask<P: Pure, const LANES: u32>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let [low, high] = cpu.vector(i.op1_register()).map(|v| P::run(0, v, 0) as u64);
    cpu.set_reg(i.op0_register(), low | high << LANES);
    Ok(())
}

/// Compares lowest lanes; P gives the status flags.
pub(super) fn to_flags<P: Floating, const SIZE: usize>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let [b, _] = operand(cpu, i, 1, SIZE)?;
    let a = cpu.vector(i.op0_register())[0];
    let r = under_mxcsr(cpu, |e| P::run(e, a, b, 0))?;
    cpu.state.flags.set_status(r as u64);
    Ok(())
}

/// `VPTEST`, `VTESTPS`, `VTESTPD`: the bits of `MASK` in each half.
pub(super) fn test<const MASK: u128>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let b = operand(cpu, i, 1, 0)?;
    let a = cpu.vector(i.op0_register());
    let none = |f: fn(u128, u128) -> u128| (0..2).all(|k| f(a[k], b[k]) & MASK == 0);
    let bit = |on, f| if on { f } else { 0 };
    cpu.state
        .flags
        .set_status(bit(none(|a, b| a & b), flags::ZF) | bit(none(|a, b| !a & b), flags::CF));
    Ok(())
}

/// Fused multiply-add. `ORDER` names the operands that are multiplied and added, as the mnemonic does;
/// `KIND`: bit 0 subtracts the third, bit 1 negates the product, 4 and 5 alternate, starting with a
/// subtraction or an addition.
pub(super) fn fma<F: Float + Lane, const ORDER: u32, const KIND: u8, const SCALAR: bool>(
    cpu: &mut Cpu,
    i: &Instruction,
) -> Done {
    cpu.check_avx()?;
    let size = size_of::<F>();
    let third = operand(cpu, i, 2, if SCALAR { size } else { 0 })?;
    let (first, second) = (cpu.vector(i.op0_register()), cpu.vector(i.op1_register()));
    let [a, b, c] = match ORDER {
        132 => [first, third, second],
        213 => [second, first, third],
        _ => [second, third, first],
    };
    let bytes = if SCALAR { size } else { width(i, 0) };
    let r = under_mxcsr(cpu, |e| {
        let mut r = to_bytes(first);
        let [a, b, c] = [a, b, c].map(to_bytes);
        for (k, at) in (0..bytes).step_by(size).enumerate() {
            let lane = |v: &[u8; 32]| {
                F::of(v[at..at + size].iter().rev().fold(0, |v, b| v << 8 | *b as u64))
            };
            let minus = match KIND {
                4 => k & 1 == 0,
                5 => k & 1 != 0,
                _ => KIND & 1 != 0,
            };
            let v = simd::fma(e, [lane(&a), lane(&b), lane(&c)], KIND & 6 == 2, minus);
            r[at..at + size].copy_from_slice(&v.bits().to_le_bytes()[..size]);
        }
        of_bytes(&r)
    })?;
    write(cpu, i, if SCALAR { [r[0], 0] } else { r })
}

/// A scalar result over the first source, for moves: the low `BITS` of the second.
pub(super) fn move_scalar<const BITS: u32>(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.check_avx()?;
    let (a, b) = (cpu.vector(i.op1_register())[0], cpu.vector(i.op2_register())[0]);
    write(cpu, i, [merge(a, b, BITS), 0])
}
