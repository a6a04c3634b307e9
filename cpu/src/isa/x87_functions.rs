//! x87: constants, remainders, scaling, decimal integers and the transcendental functions.

use super::fast_path::registers;
use super::x87::{begin, finish, unary};
use super::x87_fast::Constant;
use super::{Exec, Form, forms};
use crate::Cpu;
use crate::fpu::simd::int_of;
use crate::fpu::soft::{Env, Kind, Num, Rounding, Wide, X80, compare};
use crate::fpu::transcendental as tr;
use crate::fpu::x87::{INDEFINITE, nan_result};
use crate::state::Fpu;
use crate::state::fpu::flag::{D, I, O, P, U, Z};
use crate::state::fpu::{C0, C1, C2, C3, F80};
use crate::trap::Trap;
use iced_x86::Instruction;
use std::cmp::Ordering;

type Done = Result<(), Trap>;

const ONE: F80 = F80 { m: 1 << 63, se: 0x3fff };

fn push_constant(cpu: &mut Cpu, i: &Instruction, w: Wide) -> Done {
    begin(cpu, i)?;
    let v = cpu.state.fpu.env().round(&X80, w).to_f80();
    push_value(cpu, v)
}

fn push_value(cpu: &mut Cpu, v: F80) -> Done {
    cpu.state.fpu.set_sw(C1, false);
    cpu.state.fpu.push_checked(v);
    Ok(())
}

fn fld1(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    push_value(cpu, ONE)
}

fn fldz(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    push_value(cpu, F80::default())
}

fn fldpi(cpu: &mut Cpu, i: &Instruction) -> Done {
    push_constant(cpu, i, tr::PI)
}

fn fldl2t(cpu: &mut Cpu, i: &Instruction) -> Done {
    push_constant(cpu, i, tr::L2T)
}

fn fldl2e(cpu: &mut Cpu, i: &Instruction) -> Done {
    push_constant(cpu, i, tr::L2E)
}

fn fldlg2(cpu: &mut Cpu, i: &Instruction) -> Done {
    push_constant(cpu, i, tr::LG2)
}

fn fldln2(cpu: &mut Cpu, i: &Instruction) -> Done {
    push_constant(cpu, i, tr::LN2)
}

fn invalid(e: &mut Env) -> Num {
    e.raise(I);
    Num::DEFAULT_NAN
}

fn note_denormal(e: &mut Env, n: &[&Num]) {
    e.raise(if n.iter().any(|n| n.denormal) { D } else { 0 });
}

/// An operation on ST(0) and ST(1). Its result goes to ST(0), or, when it pops, to ST(1). Whether it was
/// written.
fn binary(
    cpu: &mut Cpu,
    i: &Instruction,
    pop: bool,
    g: impl FnOnce(&mut Env, Num, Num) -> Num,
) -> Result<bool, Trap> {
    begin(cpu, i)?;
    let f = &mut cpu.state.fpu;
    let d = pop as usize;
    let written = if f.empty(0) || f.empty(1) {
        let masked = f.stack_fault(false);
        if masked {
            f.set_st(d, INDEFINITE);
        }
        masked
    } else {
        let (mut e, a, b) = (f.env(), f.num(0), f.num(1));
        let n = match nan_result(&mut e, &a, &b) {
            Some(nan) => nan,
            None => g(&mut e, a, b),
        };
        finish(f, &e, d, n)
    };
    if pop && written {
        f.pop();
    }
    Ok(written)
}

/// The magnitude of `n` in units of its own last place shifted left by `by`, divided by `m`'s:
/// (quotient's low bits, remainder).
fn divide_steps(n: u64, m: u64, by: u32) -> (u64, u64) {
    let (mut rest, mut q) = (n as u128, 0u64);
    let m = m as u128;
    if rest >= m {
        rest -= m;
        q = 1;
    }
    for _ in 0..by {
        rest <<= 1;
        q <<= 1;
        if rest >= m {
            rest -= m;
            q |= 1;
        }
    }
    (q, rest as u64)
}

/// `FPREM` and, rounding the quotient to nearest, `FPREM1`. SDM vol. 2.
fn remainder<const NEAR: bool>(cpu: &mut Cpu, i: &Instruction) -> Done {
    let mut codes = None;
    cpu.x87_check()?;
    cpu.state.fpu.set_sw(C2, false);
    let written = binary(cpu, i, false, |e, a, b| {
        if a.is_infinite() || b.is_zero() {
            return invalid(e);
        }
        codes = Some(0);
        note_denormal(e, &[&a, &b]);
        let distance = a.exp - b.exp;
        if a.is_zero() {
            return a;
        }
        if b.is_infinite() {
            // Intel's silicon raises no underflow here, as it does wherever else a dividend stays as it is.
            return a;
        }
        if distance < -1 {
            return e.round(&X80, a.wide());
        }
        if distance >= 64 {
            codes = Some(C2);
            return partial(e, &a, &b, distance);
        }
        let (n, q) = whole::<NEAR>(&a, &b, distance);
        let bit = |k: u32, c| if q >> k & 1 != 0 { c } else { 0 };
        codes = Some(bit(2, C0) | bit(1, C3) | bit(0, C1));
        // Exact: only the exponent may be too small to be normal.
        n.map_or(Num::zero(a.sign), |w| e.round(&X80, w))
    })?;
    if let (true, Some(codes)) = (written, codes) {
        cpu.state.fpu.sw.replace(C0 | C3, codes);
    }
    Ok(())
}

/// A reduction that leaves a large quotient for later.
fn partial(e: &mut Env, a: &Num, b: &Num, distance: i32) -> Num {
    let by = (distance & 31) as u32 | 32;
    let (_, rest) = divide_steps(a.sig, b.sig, by);
    let w = Wide::new(a.sign, b.exp + distance - by as i32 + 64, rest as u128);
    w.map_or(Num::zero(a.sign), |w| e.round(&X80, w))
}

/// The remainder, `None` for zero, and the quotient's low bits.
fn whole<const NEAR: bool>(a: &Num, b: &Num, distance: i32) -> (Option<Wide>, u64) {
    if distance < 0 {
        // Half of the divisor at least, or less than that.
        let (twice, m) = (a.sig as u128, b.sig as u128);
        if !NEAR || twice <= m {
            return (Some(a.wide()), 0);
        }
        return (Wide::new(!a.sign, b.exp + 64 - 1, 2 * m - twice), 1);
    }
    let (q, rest) = divide_steps(a.sig, b.sig, distance as u32);
    let (twice, m) = (2 * rest as u128, b.sig as u128);
    if NEAR && (twice > m || twice == m && q & 1 != 0) {
        return (Wide::new(!a.sign, b.exp + 64, m - rest as u128), q.wrapping_add(1));
    }
    (Wide::new(a.sign, b.exp + 64, rest as u128), q)
}

fn fscale(cpu: &mut Cpu, i: &Instruction) -> Done {
    binary(cpu, i, false, |e, a, b| {
        match (a.kind, b.kind, b.sign) {
            (Kind::Infinity, Kind::Infinity, true) => return invalid(e),
            (Kind::Zero, Kind::Infinity, false) => return invalid(e),
            _ => {}
        }
        note_denormal(e, &[&a, &b]);
        if a.kind != Kind::Finite {
            return a;
        }
        if b.is_infinite() {
            return if b.sign { Num::zero(a.sign) } else { Num::infinity(a.sign) };
        }
        let limit = if b.sign { -0x10000 } else { 0x10000 };
        let by = match Env::to_integer(Rounding::Zero, &b) {
            Some((v, ..)) => v.clamp(-0x10000, 0x10000) as i32,
            None => limit,
        };
        let exp = a.exp + by;
        // Too far for the response to an unmasked exception.
        if e.unmasked & U != 0 && exp + 24576 < X80.emin {
            e.raise(U | P);
            return Num::zero(a.sign);
        }
        if e.unmasked & O != 0 && exp - 24576 > X80.emax {
            e.raise(O | P);
            e.up = true;
            return Num::infinity(a.sign);
        }
        e.round(&X80, Wide { exp, ..a.wide() })
    })?;
    Ok(())
}

fn fxtract(cpu: &mut Cpu, i: &Instruction) -> Done {
    begin(cpu, i)?;
    let f = &mut cpu.state.fpu;
    f.set_sw(C1, false);
    if f.empty(0) || !f.empty(7) {
        if f.stack_fault(!f.empty(0)) {
            f.set_st(0, INDEFINITE);
            f.push(INDEFINITE);
        }
        return Ok(());
    }
    let (mut e, n) = (f.env(), f.num(0));
    let (exponent, significand) = match nan_result(&mut e, &n, &Num::zero(false)) {
        Some(nan) => (nan, nan),
        None => extract(&mut e, n),
    };
    if f.report(&e) {
        f.set_st(0, exponent.to_f80());
        f.push(significand.to_f80());
    }
    Ok(())
}

fn extract(e: &mut Env, n: Num) -> (Num, Num) {
    match n.kind {
        Kind::Zero => {
            e.raise(Z);
            (Num::infinity(true), n)
        }
        Kind::Infinity => (Num::infinity(false), n),
        _ => {
            note_denormal(e, &[&n]);
            (Num::of_int(n.exp as i64), Num { exp: 0, ..n })
        }
    }
}

/// `FBLD`: 18 decimal digits and a sign.
fn fbld(cpu: &mut Cpu, i: &Instruction) -> Done {
    cpu.x87_check()?;
    let (s, la) = cpu.memory_operand(i, 10, false)?;
    let mut b = [0; 10];
    cpu.load_bytes(s, la, &mut b)?;
    cpu.x87_record(i);
    let digits = b[..9].iter().rev();
    let v = digits.fold(0u64, |v, d| v * 100 + (d >> 4) as u64 * 10 + (d & 15) as u64);
    let n = Num { sign: b[9] >> 7 != 0, ..Num::of_int(v as i64) };
    push_value(cpu, n.to_f80())
}

fn decimal(n: u64, sign: bool) -> [u8; 10] {
    let mut b = [0; 10];
    let mut v = n;
    for d in &mut b[..9] {
        *d = ((v % 10) | (v / 10 % 10) << 4) as u8;
        v /= 100;
    }
    b[9] = (sign as u8) << 7;
    b
}

fn fbstp(cpu: &mut Cpu, i: &Instruction) -> Done {
    const INDEFINITE_DECIMAL: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];
    const LIMIT: u64 = 1_000_000_000_000_000_000;
    cpu.x87_check()?;
    let mut f = cpu.state.fpu.clone();
    let (written, b) = if f.empty(0) {
        (f.stack_fault(false), INDEFINITE_DECIMAL)
    } else {
        let (mut e, n) = (f.env(), f.num(0));
        let rm = e.rm;
        let before = e;
        let v = int_of(&mut e, &n, 64, rm).map(|v| (v as i64).unsigned_abs());
        let b = match v {
            Some(v) if v < LIMIT => decimal(v, n.sign),
            _ => {
                e = Env { flags: I, ..before };
                INDEFINITE_DECIMAL
            }
        };
        (f.report(&e), b)
    };
    if written {
        super::x87::store_bytes(cpu, i, &b)?;
        f.pop();
    }
    cpu.state.fpu = f;
    cpu.x87_record(i);
    Ok(())
}

/// The result of a function, which is never exact.
fn inexact(e: &mut Env, w: Wide) -> Num {
    e.round(&X80, Wide { sig: w.sig | 1, ..w })
}

/// Whether FSIN and its like cannot reduce the argument: C2 says so, and nothing else happens.
fn out_of_range(f: &mut Fpu) -> bool {
    let n = f.num(0);
    let far = !f.empty(0) && n.kind == Kind::Finite && n.exp >= 63;
    f.set_sw(C2, far);
    if far {
        f.set_sw(C1, false);
    }
    far
}

fn trigonometric(cpu: &mut Cpu, i: &Instruction, cosine: bool) -> Done {
    cpu.x87_check()?;
    if out_of_range(&mut cpu.state.fpu) {
        cpu.x87_record(i);
        return Ok(());
    }
    unary(cpu, i, |_, e, n| sin_or_cos(e, n, cosine))
}

fn sin_or_cos(e: &mut Env, n: Num, cosine: bool) -> Num {
    match n.kind {
        Kind::Infinity => invalid(e),
        Kind::Zero if cosine => Num::of_int(1),
        Kind::Zero => n,
        _ => {
            note_denormal(e, &[&n]);
            let (s, c) = tr::sin_cos(&n);
            inexact(e, if cosine { c } else { s })
        }
    }
}

fn fsin(cpu: &mut Cpu, i: &Instruction) -> Done {
    trigonometric(cpu, i, false)
}

fn fcos(cpu: &mut Cpu, i: &Instruction) -> Done {
    trigonometric(cpu, i, true)
}

/// `FSINCOS` and `FPTAN`: a result replaces ST(0), another is pushed.
fn two_results(cpu: &mut Cpu, i: &Instruction, g: fn(&mut Env, Num) -> (Num, Num)) -> Done {
    begin(cpu, i)?;
    let f = &mut cpu.state.fpu;
    f.set_sw(C2, false);
    if f.empty(0) || !f.empty(7) {
        if f.stack_fault(!f.empty(0)) {
            f.set_st(0, INDEFINITE);
            f.push(INDEFINITE);
        }
        return Ok(());
    }
    if out_of_range(f) {
        return Ok(());
    }
    let (mut e, n) = (f.env(), f.num(0));
    let (first, second) = match nan_result(&mut e, &n, &Num::zero(false)) {
        Some(nan) => (nan, nan),
        None if n.is_infinite() => (invalid(&mut e), Num::DEFAULT_NAN),
        None => g(&mut e, n),
    };
    if finish(f, &e, 0, first) {
        f.push(second.to_f80());
    }
    Ok(())
}

fn fsincos(cpu: &mut Cpu, i: &Instruction) -> Done {
    two_results(cpu, i, |e, n| (sin_or_cos(e, n, false), sin_or_cos(e, n, true)))
}

fn fptan(cpu: &mut Cpu, i: &Instruction) -> Done {
    two_results(cpu, i, |e, n| {
        if n.is_zero() {
            return (n, Num::of_int(1));
        }
        note_denormal(e, &[&n]);
        let (s, c) = tr::sin_cos(&n);
        (inexact(e, tr::div(s, c)), Num::of_int(1))
    })
}

/// The arc tangent of ST(1) / ST(0).
fn fpatan(cpu: &mut Cpu, i: &Instruction) -> Done {
    binary(cpu, i, true, |e, x, y| {
        note_denormal(e, &[&x, &y]);
        let quarter = |n: u32| Wide { sign: y.sign, ..tr::mul(tr::PI, quarters(n)) };
        let n = match (y.kind, x.kind, x.sign) {
            (Kind::Zero, _, false) | (Kind::Finite, Kind::Infinity, false) => {
                return Num::zero(y.sign);
            }
            (Kind::Zero, _, true) | (Kind::Finite, Kind::Infinity, true) => 4,
            (Kind::Infinity, Kind::Infinity, false) => 1,
            (Kind::Infinity, Kind::Infinity, true) => 3,
            (Kind::Infinity, ..) | (_, Kind::Zero, _) => 2,
            _ => return inexact(e, tr::atan2(&y, &x)),
        };
        inexact(e, quarter(n))
    })?;
    Ok(())
}

/// `n / 4`.
fn quarters(n: u32) -> Wide {
    let w = Num::of_int(n as i64).wide();
    Wide { exp: w.exp - 2, ..w }
}

/// The operand as the result, recorded as inexact.
fn inexact_operand(e: &mut Env, n: Num) -> Num {
    e.raise(P);
    n
}

fn f2xm1(cpu: &mut Cpu, i: &Instruction) -> Done {
    unary(cpu, i, |_, e, n| {
        note_denormal(e, &[&n]);
        match n.kind {
            Kind::Infinity if n.sign => Num::of_int(-1),
            Kind::Finite if n.exp == 0 && n.sig == 1 << 63 => Num { exp: -(n.sign as i32), ..n },
            // Outside -1 to 1 the result is undefined: the operand stays.
            Kind::Finite if n.exp < 0 => inexact(e, tr::exp2_minus_1(&n)),
            Kind::Finite => inexact_operand(e, n),
            _ => n,
        }
    })
}

/// The product of `y` and a logarithm that is zero, infinite, or given.
fn times_log(e: &mut Env, y: &Num, log: Num) -> Num {
    crate::fpu::simd::operate(e, &X80, crate::fpu::simd::Op::Mul, *y, log)
}

fn fyl2x(cpu: &mut Cpu, i: &Instruction) -> Done {
    binary(cpu, i, true, |e, x, y| {
        if x.is_zero() {
            return log_of_zero(e, &y);
        }
        if x.sign {
            return invalid(e);
        }
        note_denormal(e, &[&x]);
        let power = x.kind == Kind::Finite && x.sig == 1 << 63;
        if x.is_infinite() || power {
            let log = if power { Num::of_int(x.exp as i64) } else { x };
            let r = times_log(e, &y, log);
            // Hardware does not notice that the logarithm of a power of two is exact.
            let inexact = power && x.exp != 0 && y.kind == Kind::Finite;
            let tiny = r.kind == Kind::Finite && r.exp < X80.emin;
            e.raise(if inexact { P } else { 0 } | if inexact && tiny { U } else { 0 });
            return r;
        }
        if y.kind != Kind::Finite {
            // Only the sign of the logarithm matters.
            let above = compare(&x, &Num::of_int(1)) == Ordering::Greater;
            return Num { sign: y.sign == above, ..y };
        }
        note_denormal(e, &[&y]);
        inexact(e, tr::mul(y.wide(), tr::log2(&x)))
    })?;
    Ok(())
}

fn log_of_zero(e: &mut Env, y: &Num) -> Num {
    match y.kind {
        Kind::Zero => return invalid(e),
        Kind::Finite => e.raise(Z),
        _ => {}
    }
    Num::infinity(!y.sign)
}

fn fyl2xp1(cpu: &mut Cpu, i: &Instruction) -> Done {
    binary(cpu, i, true, |e, x, y| {
        if x.kind != Kind::Finite || y.kind != Kind::Finite {
            return times_log(e, &y, x);
        }
        note_denormal(e, &[&x, &y]);
        // Outside the instruction's range the result is undefined: that of the nearest argument inside.
        let limit = Num { exp: -2, sig: 0x95f6_1998_0c43_36f7, ..x };
        let x = if (x.exp, x.sig) > (limit.exp, limit.sig) { limit } else { x };
        inexact(e, tr::mul(y.wide(), tr::log2_plus_1(&x)))
    })?;
    Ok(())
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Fld1 => Exec::FastPath(registers::<Constant<{ ONE.m }, { ONE.se }>>, fld1);
    Fldz => Exec::FastPath(registers::<Constant<0, 0>>, fldz);
    Fldpi => Exec::Function(fldpi);
    Fldl2t => Exec::Function(fldl2t);
    Fldl2e => Exec::Function(fldl2e);
    Fldlg2 => Exec::Function(fldlg2);
    Fldln2 => Exec::Function(fldln2);
    Fprem => Exec::Function(remainder::<false>);
    Fprem1 => Exec::Function(remainder::<true>);
    Fscale => Exec::Function(fscale);
    Fxtract => Exec::Function(fxtract);
    Fbld_m80bcd => Exec::Function(fbld);
    Fbstp_m80bcd => Exec::Function(fbstp);
    Fsin => Exec::Function(fsin);
    Fcos => Exec::Function(fcos);
    Fsincos => Exec::Function(fsincos);
    Fptan => Exec::Function(fptan);
    Fpatan => Exec::Function(fpatan);
    F2xm1 => Exec::Function(f2xm1);
    Fyl2x => Exec::Function(fyl2x);
    Fyl2xp1 => Exec::Function(fyl2xp1);
};
