//! x87: loads, stores, arithmetic, comparisons.

use super::fast_path::{memory, registers};
use super::sse_moves::number;
use super::x87_compare::{Fcom, FcomM, Fcomi};
use super::x87_fast::*;
use super::{Exec, Form, forms};
use crate::Cpu;
use crate::fpu::simd::{Op, convert_num, int_of, root};
use crate::fpu::soft::{Env, F32, F64, Format, Kind, Num, Rounding, compare};
use crate::fpu::x87::{INDEFINITE, arith, nan_result};
use crate::state::fpu::flag::{D, I, O, P, U};
use crate::state::fpu::{C0, C1, C2, C3, F80};
use crate::state::{Fpu, flags};
use crate::trap::Trap;
use iced_x86::Instruction;
use std::cmp::Ordering;

type Done = Result<(), Trap>;

/// Operations, as const parameters.
pub(crate) const ADD: u8 = 0;
pub(crate) const MUL: u8 = 1;
pub(super) const SUB: u8 = 2;
pub(super) const SUBR: u8 = 3;
pub(super) const DIV: u8 = 4;
pub(super) const DIVR: u8 = 5;

/// Memory operands, as const parameters.
const M32: u8 = 0;
const M64: u8 = 1;
const I16: u8 = 2;
const I32: u8 = 3;
const I64: u8 = 4;

/// Starts a waiting instruction without a memory operand.
pub(super) fn begin(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_check()?;
    cpu.x87_record(i);
    Ok(())
}

/// Loads a number of kind `SRC`, and records it as the data operand.
fn load<const SRC: u8>(cpu: &mut Cpu, i: &Instruction) -> Result<Num, Trap> {
    cpu.x87_check()?;
    let n = match SRC {
        M32 => Num::of_bits(&F32, cpu.load_operand::<u32>(i)? as u64),
        M64 => Num::of_bits(&F64, cpu.load_operand::<u64>(i)?),
        I16 => Num::of_int(cpu.load_operand::<u16>(i)? as i16 as i64),
        I32 => Num::of_int(cpu.load_operand::<u32>(i)? as i32 as i64),
        _ => Num::of_int(cpu.load_operand::<u64>(i)? as i64),
    };
    cpu.x87_record(i);
    Ok(n)
}

fn operation<const OP: u8>(e: &mut Env, f: &Format, a: Num, b: Num) -> Num {
    match OP {
        ADD => arith(e, f, Op::Add, a, b),
        MUL => arith(e, f, Op::Mul, a, b),
        SUB => arith(e, f, Op::Sub, a, b),
        SUBR => arith(e, f, Op::Sub, b, a),
        DIV => arith(e, f, Op::Div, a, b),
        _ => arith(e, f, Op::Div, b, a),
    }
}

/// Writes a result, its exponent brought back into range where an unmasked overflow or underflow left
/// it outside. SDM vol. 1, "Numeric Overflow Exception".
pub(super) fn wrapped(e: &Env, n: Num) -> F80 {
    let bias = match e.flags & e.unmasked {
        f if n.kind != Kind::Finite || f & (O | U) == 0 => 0,
        f if f & O != 0 => -24576,
        _ => 24576,
    };
    Num { exp: n.exp + bias, ..n }.to_f80()
}

/// Finishes an operation whose result goes to ST(d).
pub(super) fn finish(f: &mut Fpu, e: &Env, d: usize, n: Num) -> bool {
    let written = f.report(e);
    if written {
        f.set_st(d, wrapped(e, n));
    }
    written
}

fn arith_mem<const OP: u8, const SRC: u8>(cpu: &mut Cpu, i: &Instruction) -> Done {
    let b = load::<SRC>(cpu, i)?;
    let f = &mut cpu.state.fpu;
    if f.empty(0) {
        if f.stack_fault(false) {
            f.set_st(0, INDEFINITE);
        }
        return Ok(());
    }
    let mut e = f.env();
    let n = operation::<OP>(&mut e, &f.format(), f.num(0), b);
    finish(f, &e, 0, n);
    Ok(())
}

fn arith_reg<const OP: u8, const POP: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    let (d, s) = (number(i.op0_register()), number(i.op1_register()));
    let f = &mut cpu.state.fpu;
    let written = if f.empty(d) || f.empty(s) {
        let masked = f.stack_fault(false);
        if masked {
            f.set_st(d, INDEFINITE);
        }
        masked
    } else {
        let mut e = f.env();
        let n = operation::<OP>(&mut e, &f.format(), f.num(d), f.num(s));
        finish(f, &e, d, n)
    };
    if POP && written {
        f.pop();
    }
    Ok(())
}

/// `FLD m32`, `FLD m64`, `FILD`.
fn fld_mem<const SRC: u8>(cpu: &mut Cpu, i: &Instruction) -> Done {
    let n = load::<SRC>(cpu, i)?;
    let f = &mut cpu.state.fpu;
    if !f.empty(7) {
        f.push_checked(INDEFINITE);
        return Ok(());
    }
    let mut e = f.env();
    let n = match n.kind {
        Kind::Signaling => {
            e.raise(I);
            n.quieted()
        }
        _ => n,
    };
    e.raise(if n.denormal { D } else { 0 });
    // Of the exceptions only an invalid operand keeps it from being loaded.
    if f.report(&e) || e.flags & I == 0 {
        f.push(n.to_f80());
    }
    Ok(())
}

fn load_f80(cpu: &mut Cpu, i: &Instruction) -> Result<F80, Trap> {
    let (s, la) = cpu.memory_operand(i, 10, false)?;
    let mut b = [0; 10];
    cpu.load_bytes(s, la, &mut b)?;
    let m = u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
    Ok(F80 { m, se: u16::from_le_bytes([b[8], b[9]]) })
}

fn store_f80(cpu: &mut Cpu, i: &Instruction, v: F80) -> Done {
    let mut b = [0; 10];
    b[..8].copy_from_slice(&v.m.to_le_bytes());
    b[8..].copy_from_slice(&v.se.to_le_bytes());
    store_bytes(cpu, i, &b)
}

fn fld_m80(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_check()?;
    let v = load_f80(cpu, i)?;
    cpu.x87_record(i);
    cpu.state.fpu.set_sw(C1, false);
    cpu.state.fpu.push_checked(v);
    Ok(())
}

fn fld_sti(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    let n = number(i.op0_register());
    let f = &mut cpu.state.fpu;
    f.set_sw(C1, false);
    if !f.empty(n) {
        f.push_checked(f.st(n));
    } else if f.stack_fault(false) {
        f.push(INDEFINITE);
    }
    Ok(())
}

/// `FST ST(i)`, `FSTP ST(i)`.
fn fst_sti<const POP: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    let n = number(i.op0_register());
    let f = &mut cpu.state.fpu;
    f.set_sw(C1, false);
    let v = if !f.empty(0) {
        f.st(0)
    } else if f.stack_fault(false) {
        INDEFINITE
    } else {
        return Ok(());
    };
    f.set_st(n, v);
    if POP {
        f.pop();
    }
    Ok(())
}

/// `FSTP ST(i)` at D9 D8+i: an empty register is not an error, and not stored.
fn fstpnce(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    let (n, f) = (number(i.op0_register()), &mut cpu.state.fpu);
    f.set_sw(C1, false);
    if !f.empty(0) {
        f.set_st(n, f.st(0));
    }
    f.pop();
    Ok(())
}

/// What a store to memory finds in ST(0): the value, `None` if an unmasked condition keeps it from
/// being stored. The status word is set; the caller puts it back if the store fails.
fn storing(f: &mut Fpu, nothing: u64, convert: impl FnOnce(&mut Env, Num) -> u64) -> Option<u64> {
    if f.empty(0) {
        return f.stack_fault(false).then_some(nothing);
    }
    let mut e = f.env();
    let v = convert(&mut e, f.num(0));
    // A store that an unmasked overflow or underflow keeps from happening is not inexact either.
    if e.flags & e.unmasked & (O | U) != 0 {
        e = Env { flags: e.flags & !P, up: false, ..e };
        f.report(&e);
        return None;
    }
    f.report(&e).then_some(v)
}

/// Stores to the memory operand, which is not looked at where an exception keeps it from being stored to.
pub(super) fn store_bytes(cpu: &mut Cpu, i: &Instruction, bytes: &[u8]) -> Done {
    let (s, la) = cpu.memory_operand(i, bytes.len(), true)?;
    cpu.store_bytes(s, la, bytes)
}

/// Stores the value that `convert` makes of ST(0), in `size` bytes.
fn store(
    cpu: &mut Cpu,
    i: &Instruction,
    (size, pop): (usize, bool),
    nothing: u64,
    convert: impl FnOnce(&mut Env, Num) -> u64,
) -> Done {
    cpu.x87_check()?;
    let before = cpu.state.fpu.sw;
    if let Some(v) = storing(&mut cpu.state.fpu, nothing, convert) {
        let done = store_bytes(cpu, i, &v.to_le_bytes()[..size]);
        if done.is_err() {
            cpu.state.fpu.sw = before;
            return done;
        }
        if pop {
            cpu.state.fpu.pop();
        }
    }
    cpu.x87_record(i);
    Ok(())
}

/// A register's value for a memory format.
fn to_format(e: &mut Env, f: &Format, n: Num) -> Num {
    if n.kind == Kind::Unsupported {
        e.raise(I);
        return Num::DEFAULT_NAN;
    }
    // Denormals raise no exception of their own here.
    convert_num(e, f, Num { denormal: false, ..n })
}

fn fst_mem<const SRC: u8, const POP: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    let (f, size) = if SRC == M32 { (&F32, 4) } else { (&F64, 8) };
    let nothing = Num::DEFAULT_NAN.to_bits(f);
    store(cpu, i, (size, POP), nothing, |e, n| to_format(e, f, n).to_bits(f))
}

fn fstp_m80(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_check()?;
    let before = cpu.state.fpu.sw;
    let f = &mut cpu.state.fpu;
    f.set_sw(C1, false);
    let v = if !f.empty(0) { Some(f.st(0)) } else { f.stack_fault(false).then_some(INDEFINITE) };
    if let Some(v) = v {
        let done = store_f80(cpu, i, v);
        if done.is_err() {
            cpu.state.fpu.sw = before;
            return done;
        }
        cpu.state.fpu.pop();
    }
    cpu.x87_record(i);
    Ok(())
}

/// `FIST`, `FISTP`, `FISTTP`.
fn fist<const SRC: u8, const POP: bool, const CUT: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    let bits = match SRC {
        I16 => 16,
        I32 => 32,
        _ => 64,
    };
    let nothing = 1 << (bits - 1);
    store(cpu, i, (bits as usize / 8, POP), nothing, |e, n| {
        let rm = if CUT { Rounding::Zero } else { e.rm };
        int_of(e, &n, bits, rm).unwrap_or(nothing)
    })
}

/// The order of two operands, in condition codes; a quiet NaN is invalid where `SIGNALING`.
fn order(e: &mut Env, a: &Num, b: &Num, signaling: bool) -> u16 {
    if a.is_nan() || b.is_nan() || a.kind == Kind::Unsupported || b.kind == Kind::Unsupported {
        let quiet = |n: &Num| !matches!(n.kind, Kind::Signaling | Kind::Unsupported);
        if signaling || !quiet(a) || !quiet(b) {
            e.raise(I);
        }
        return C0 | C2 | C3;
    }
    e.raise(if a.denormal || b.denormal { D } else { 0 });
    match compare(a, b) {
        Ordering::Less => C0,
        Ordering::Equal => C3,
        Ordering::Greater => 0,
    }
}

/// Compares ST(0) with `b` (`None`: empty): the condition codes, and whether pops are done.
fn comparison(f: &mut Fpu, b: Option<Num>, signaling: bool) -> (u16, bool) {
    let (false, Some(b)) = (f.empty(0), b) else {
        return (C0 | C2 | C3, f.stack_fault(false));
    };
    let mut e = f.env();
    let codes = order(&mut e, &f.num(0), &b, signaling);
    (codes, f.report(&e))
}

fn fcom(f: &mut Fpu, b: Option<Num>, signaling: bool, pops: u32) {
    let (codes, done) = comparison(f, b, signaling);
    f.sw.replace(C0 | C2 | C3, codes);
    (0..if done { pops } else { 0 }).for_each(|_| f.pop());
}

fn fcom_mem<const SRC: u8, const POPS: u32>(cpu: &mut Cpu, i: &Instruction) -> Done {
    let b = load::<SRC>(cpu, i)?;
    fcom(&mut cpu.state.fpu, Some(b), true, POPS);
    Ok(())
}

/// The operand of a comparison: ST(1) where none is named.
fn other(cpu: &Cpu, i: &Instruction) -> Option<Num> {
    let n = if i.op_count() == 2 { number(i.op1_register()) } else { 1 };
    (!cpu.state.fpu.empty(n)).then(|| cpu.state.fpu.num(n))
}

fn fcom_reg<const SIGNALING: bool, const POPS: u32>(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    let b = other(cpu, i);
    fcom(&mut cpu.state.fpu, b, SIGNALING, POPS);
    Ok(())
}

/// `FCOMI`, `FUCOMI` and with pop.
fn fcomi<const SIGNALING: bool, const POP: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    let b = other(cpu, i);
    let (c1, fault) = (cpu.state.fpu.sw.get() & C1, b.is_none() || cpu.state.fpu.empty(0));
    let (codes, done) = comparison(&mut cpu.state.fpu, b, SIGNALING);
    // Silicon leaves C1 alone, but for a stack fault.
    cpu.state.fpu.sw.replace(0, if fault { 0 } else { c1 });
    let bit = |c, f| if codes & c != 0 { f } else { 0 };
    cpu.state.flags.set_status(bit(C0, flags::CF) | bit(C2, flags::PF) | bit(C3, flags::ZF));
    if POP && done {
        cpu.state.fpu.pop();
    }
    Ok(())
}

fn ftst(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    fcom(&mut cpu.state.fpu, Some(Num::zero(false)), true, 0);
    Ok(())
}

fn fxam(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    let f = &mut cpu.state.fpu;
    let n = f.num(0);
    let codes = match n.kind {
        _ if f.empty(0) => C3 | C0,
        Kind::Unsupported => 0,
        Kind::Quiet | Kind::Signaling => C0,
        Kind::Infinity => C2 | C0,
        Kind::Zero => C3,
        Kind::Finite if n.denormal => C3 | C2,
        Kind::Finite => C2,
    };
    f.sw.replace(C0 | C1 | C2 | C3, codes | if n.sign { C1 } else { 0 });
    Ok(())
}

/// `FCHS`, `FABS`: the sign bit, whatever the value.
fn sign<const NEGATE: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    let f = &mut cpu.state.fpu;
    f.set_sw(C1, false);
    if f.empty(0) {
        if f.stack_fault(false) {
            f.set_st(0, INDEFINITE);
        }
        return Ok(());
    }
    let v = f.st(0);
    f.set_st(0, F80 { se: if NEGATE { v.se ^ 0x8000 } else { v.se & 0x7fff }, ..v });
    Ok(())
}

/// An operation on ST(0) alone.
pub(super) fn unary(
    cpu: &mut Cpu,
    i: &Instruction,
    g: impl FnOnce(&Fpu, &mut Env, Num) -> Num,
) -> Done {
    begin(cpu, i)?;
    let f = &mut cpu.state.fpu;
    if f.empty(0) {
        if f.stack_fault(false) {
            f.set_st(0, INDEFINITE);
        }
        return Ok(());
    }
    let (mut e, n) = (f.env(), f.num(0));
    let r = match nan_result(&mut e, &n, &Num::zero(false)) {
        Some(nan) => nan,
        None => g(f, &mut e, n),
    };
    finish(f, &e, 0, r);
    Ok(())
}

fn fsqrt(cpu: &mut Cpu, i: &Instruction) -> Done {
    unary(cpu, i, |f, e, n| root(e, &f.format(), n))
}

fn frndint(cpu: &mut Cpu, i: &Instruction) -> Done {
    unary(cpu, i, |_, e, n| {
        e.raise(if n.denormal { D } else { 0 });
        if n.is_infinite() {
            return n;
        }
        match Env::to_integer(e.rm, &n) {
            Some((v, inexact, up)) => {
                e.raise(if inexact { P } else { 0 });
                e.up = up;
                Num::of_integral(n.sign, v)
            }
            None => n,
        }
    })
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Fadd_m32fp => Exec::FastPath(memory::<ArithM<Float<u32>, ADD>>, arith_mem::<ADD, M32>);
    Fmul_m32fp => Exec::FastPath(memory::<ArithM<Float<u32>, MUL>>, arith_mem::<MUL, M32>);
    Fsub_m32fp => Exec::FastPath(memory::<ArithM<Float<u32>, SUB>>, arith_mem::<SUB, M32>);
    Fsubr_m32fp => Exec::FastPath(memory::<ArithM<Float<u32>, SUBR>>, arith_mem::<SUBR, M32>);
    Fdiv_m32fp => Exec::FastPath(memory::<ArithM<Float<u32>, DIV>>, arith_mem::<DIV, M32>);
    Fdivr_m32fp => Exec::FastPath(memory::<ArithM<Float<u32>, DIVR>>, arith_mem::<DIVR, M32>);
    Fadd_m64fp => Exec::FastPath(memory::<ArithM<Float<u64>, ADD>>, arith_mem::<ADD, M64>);
    Fmul_m64fp => Exec::FastPath(memory::<ArithM<Float<u64>, MUL>>, arith_mem::<MUL, M64>);
    Fsub_m64fp => Exec::FastPath(memory::<ArithM<Float<u64>, SUB>>, arith_mem::<SUB, M64>);
    Fsubr_m64fp => Exec::FastPath(memory::<ArithM<Float<u64>, SUBR>>, arith_mem::<SUBR, M64>);
    Fdiv_m64fp => Exec::FastPath(memory::<ArithM<Float<u64>, DIV>>, arith_mem::<DIV, M64>);
    Fdivr_m64fp => Exec::FastPath(memory::<ArithM<Float<u64>, DIVR>>, arith_mem::<DIVR, M64>);
    Fiadd_m16int => Exec::Function(arith_mem::<ADD, I16>);
    Fimul_m16int => Exec::Function(arith_mem::<MUL, I16>);
    Fisub_m16int => Exec::Function(arith_mem::<SUB, I16>);
    Fisubr_m16int => Exec::Function(arith_mem::<SUBR, I16>);
    Fidiv_m16int => Exec::Function(arith_mem::<DIV, I16>);
    Fidivr_m16int => Exec::Function(arith_mem::<DIVR, I16>);
    Fiadd_m32int => Exec::Function(arith_mem::<ADD, I32>);
    Fimul_m32int => Exec::Function(arith_mem::<MUL, I32>);
    Fisub_m32int => Exec::Function(arith_mem::<SUB, I32>);
    Fisubr_m32int => Exec::Function(arith_mem::<SUBR, I32>);
    Fidiv_m32int => Exec::Function(arith_mem::<DIV, I32>);
    Fidivr_m32int => Exec::Function(arith_mem::<DIVR, I32>);
    Fadd_st0_sti => Exec::FastPath(registers::<Arith<ADD, false, false>>, arith_reg::<ADD, false>);
    Fmul_st0_sti => Exec::FastPath(registers::<Arith<MUL, false, false>>, arith_reg::<MUL, false>);
    Fsub_st0_sti => Exec::FastPath(registers::<Arith<SUB, false, false>>, arith_reg::<SUB, false>);
    Fsubr_st0_sti => Exec::FastPath(registers::<Arith<SUBR, false, false>>, arith_reg::<SUBR, false>);
    Fdiv_st0_sti => Exec::FastPath(registers::<Arith<DIV, false, false>>, arith_reg::<DIV, false>);
    Fdivr_st0_sti => Exec::FastPath(registers::<Arith<DIVR, false, false>>, arith_reg::<DIVR, false>);
    Fadd_sti_st0 => Exec::FastPath(registers::<Arith<ADD, true, false>>, arith_reg::<ADD, false>);
    Fmul_sti_st0 => Exec::FastPath(registers::<Arith<MUL, true, false>>, arith_reg::<MUL, false>);
    Fsub_sti_st0 => Exec::FastPath(registers::<Arith<SUB, true, false>>, arith_reg::<SUB, false>);
    Fsubr_sti_st0 => Exec::FastPath(registers::<Arith<SUBR, true, false>>, arith_reg::<SUBR, false>);
    Fdiv_sti_st0 => Exec::FastPath(registers::<Arith<DIV, true, false>>, arith_reg::<DIV, false>);
    Fdivr_sti_st0 => Exec::FastPath(registers::<Arith<DIVR, true, false>>, arith_reg::<DIVR, false>);
    Faddp_sti_st0 => Exec::FastPath(registers::<Arith<ADD, true, true>>, arith_reg::<ADD, true>);
    Fmulp_sti_st0 => Exec::FastPath(registers::<Arith<MUL, true, true>>, arith_reg::<MUL, true>);
    Fsubp_sti_st0 => Exec::FastPath(registers::<Arith<SUB, true, true>>, arith_reg::<SUB, true>);
    Fsubrp_sti_st0 => Exec::FastPath(registers::<Arith<SUBR, true, true>>, arith_reg::<SUBR, true>);
    Fdivp_sti_st0 => Exec::FastPath(registers::<Arith<DIV, true, true>>, arith_reg::<DIV, true>);
    Fdivrp_sti_st0 => Exec::FastPath(registers::<Arith<DIVR, true, true>>, arith_reg::<DIVR, true>);
    Fld_m32fp => Exec::FastPath(memory::<Load<Float<u32>>>, fld_mem::<M32>);
    Fld_m64fp => Exec::FastPath(memory::<Load<Float<u64>>>, fld_mem::<M64>);
    Fld_m80fp => Exec::FastPath(memory::<Load<Extended>>, fld_m80);
    Fld_sti => Exec::FastPath(registers::<Duplicate>, fld_sti);
    Fild_m16int => Exec::FastPath(memory::<Load<Int<u16>>>, fld_mem::<I16>);
    Fild_m32int => Exec::FastPath(memory::<Load<Int<u32>>>, fld_mem::<I32>);
    Fild_m64int => Exec::FastPath(memory::<Load<Int<u64>>>, fld_mem::<I64>);
    Fst_m32fp => Exec::FastPath(memory::<Store<Float<u32>, false>>, fst_mem::<M32, false>);
    Fst_m64fp => Exec::FastPath(memory::<Store<Float<u64>, false>>, fst_mem::<M64, false>);
    Fstp_m32fp => Exec::FastPath(memory::<Store<Float<u32>, true>>, fst_mem::<M32, true>);
    Fstp_m64fp => Exec::FastPath(memory::<Store<Float<u64>, true>>, fst_mem::<M64, true>);
    Fstp_m80fp => Exec::FastPath(memory::<StoreExtended>, fstp_m80);
    Fst_sti => Exec::FastPath(registers::<Copy<false>>, fst_sti::<false>);
    Fstp_sti => Exec::FastPath(registers::<Copy<true>>, fst_sti::<true>);
    Fstpnce_sti => Exec::Function(fstpnce);
    Fstp_sti_DFD0 => Exec::FastPath(registers::<Copy<true>>, fst_sti::<true>);
    Fstp_sti_DFD8 => Exec::FastPath(registers::<Copy<true>>, fst_sti::<true>);
    Fist_m16int => Exec::FastPath(memory::<Store<Whole<u16, false>, false>>, fist::<I16, false, false>);
    Fist_m32int => Exec::FastPath(memory::<Store<Whole<u32, false>, false>>, fist::<I32, false, false>);
    Fistp_m16int => Exec::FastPath(memory::<Store<Whole<u16, false>, true>>, fist::<I16, true, false>);
    Fistp_m32int => Exec::FastPath(memory::<Store<Whole<u32, false>, true>>, fist::<I32, true, false>);
    Fistp_m64int => Exec::FastPath(memory::<Store<Whole<u64, false>, true>>, fist::<I64, true, false>);
    Fisttp_m16int => Exec::FastPath(memory::<Store<Whole<u16, true>, true>>, fist::<I16, true, true>);
    Fisttp_m32int => Exec::FastPath(memory::<Store<Whole<u32, true>, true>>, fist::<I32, true, true>);
    Fisttp_m64int => Exec::FastPath(memory::<Store<Whole<u64, true>, true>>, fist::<I64, true, true>);
    Fcom_m32fp => Exec::FastPath(memory::<FcomM<Float<u32>, 0>>, fcom_mem::<M32, 0>);
    Fcom_m64fp => Exec::FastPath(memory::<FcomM<Float<u64>, 0>>, fcom_mem::<M64, 0>);
    Fcomp_m32fp => Exec::FastPath(memory::<FcomM<Float<u32>, 1>>, fcom_mem::<M32, 1>);
    Fcomp_m64fp => Exec::FastPath(memory::<FcomM<Float<u64>, 1>>, fcom_mem::<M64, 1>);
    Ficom_m16int => Exec::Function(fcom_mem::<I16, 0>);
    Ficom_m32int => Exec::Function(fcom_mem::<I32, 0>);
    Ficomp_m16int => Exec::Function(fcom_mem::<I16, 1>);
    Ficomp_m32int => Exec::Function(fcom_mem::<I32, 1>);
    Fcom_st0_sti => Exec::FastPath(registers::<Fcom<8, 0>>, fcom_reg::<true, 0>);
    Fcom_st0_sti_DCD0 => Exec::FastPath(registers::<Fcom<8, 0>>, fcom_reg::<true, 0>);
    Fcomp_st0_sti => Exec::FastPath(registers::<Fcom<8, 1>>, fcom_reg::<true, 1>);
    Fcomp_st0_sti_DCD8 => Exec::FastPath(registers::<Fcom<8, 1>>, fcom_reg::<true, 1>);
    Fcomp_st0_sti_DED0 => Exec::FastPath(registers::<Fcom<8, 1>>, fcom_reg::<true, 1>);
    Fcompp => Exec::FastPath(registers::<Fcom<1, 2>>, fcom_reg::<true, 2>);
    Fucom_st0_sti => Exec::FastPath(registers::<Fcom<8, 0>>, fcom_reg::<false, 0>);
    Fucomp_st0_sti => Exec::FastPath(registers::<Fcom<8, 1>>, fcom_reg::<false, 1>);
    Fucompp => Exec::FastPath(registers::<Fcom<1, 2>>, fcom_reg::<false, 2>);
    Fcomi_st0_sti => Exec::FastPath(registers::<Fcomi<false>>, fcomi::<true, false>);
    Fcomip_st0_sti => Exec::FastPath(registers::<Fcomi<true>>, fcomi::<true, true>);
    Fucomi_st0_sti => Exec::FastPath(registers::<Fcomi<false>>, fcomi::<false, false>);
    Fucomip_st0_sti => Exec::FastPath(registers::<Fcomi<true>>, fcomi::<false, true>);
    Ftst => Exec::Function(ftst);
    Fxam => Exec::Function(fxam);
    Fchs => Exec::FastPath(registers::<Sign<true>>, sign::<true>);
    Fabs => Exec::FastPath(registers::<Sign<false>>, sign::<false>);
    Fsqrt => Exec::FastPath(registers::<Unary<true>>, fsqrt);
    Frndint => Exec::FastPath(registers::<Unary<false>>, frndint);
};
