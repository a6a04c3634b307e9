//! Values that matter to the instruction at hand: numbers at the edges of formats and of rounding, equal
//! operands, quotients that fit, images that can be loaded. What chance alone would seldom draw.

use super::case::St;
use super::{Case, Random};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// Puts such values into registers and, at linear address `at`, into memory.
pub fn edges(case: &mut Case, i: &Instruction, at: Option<u64>, r: &mut Random) {
    use Mnemonic::*;
    match i.mnemonic() {
        Cmpxchg | Cmpxchg8b | Cmpxchg16b => equal(case, i, at, r),
        Div | Idiv => dividend(case, i, r),
        Shl | Shr | Sar | Rol | Ror | Rcl | Rcr | Shld | Shrd if r.one_in(2) => {
            case.state.regs[1] = case.state.regs[1] & !0xff | r.below(72);
        }
        Fxrstor | Fxrstor64 | Xrstor | Xrstor64 | Xsave | Xsave64 | Xsavec | Xsavec64
        | Xsaveopt | Xsaveopt64 => image(case, at, r),
        Ldmxcsr | Vldmxcsr if r.one_in(2) => {
            poke(case, at, &(r.draw() as u16 as u32).to_le_bytes())
        }
        Pcmpestri | Pcmpestrm | Pcmpistri | Pcmpistrm | Vpcmpestri | Vpcmpestrm | Vpcmpistri
        | Vpcmpistrm => strings(case, i, at, r),
        _ => {}
    }
    let vector = |n| i.op_kind(n) == OpKind::Register && i.op_register(n).is_vector_register();
    if (0..i.op_count()).any(vector) && r.one_in(3) {
        vectors(case, i, at, r);
    }
    let x87 = format!("{:?}", i.mnemonic()).starts_with('F');
    if x87 && r.one_in(2) {
        for n in 0..8 {
            case.state.st[n] = extended(r);
        }
        let mut b = [0; 32];
        fill(&mut b, r);
        if r.one_in(2) {
            let St { m, se } = extended(r);
            b[..8].copy_from_slice(&m.to_le_bytes());
            b[8..10].copy_from_slice(&se.to_le_bytes());
        }
        poke(case, at, &b[..10]);
    }
}

fn poke(case: &mut Case, at: Option<u64>, bytes: &[u8]) {
    if let Some(at) = at {
        case.poke(at, bytes);
    }
}

/// Makes the destination equal to the accumulator.
fn equal(case: &mut Case, i: &Instruction, at: Option<u64>, r: &mut Random) {
    if r.one_in(2) {
        return;
    }
    let (a, d) = (case.state.regs[0], case.state.regs[2]);
    let size = i.memory_size().size().max(1);
    match i.mnemonic() {
        Mnemonic::Cmpxchg8b => {
            poke(case, at, &(a as u32 as u64 | d << 32).to_le_bytes());
        }
        Mnemonic::Cmpxchg16b => poke(case, at, &(a as u128 | (d as u128) << 64).to_le_bytes()),
        _ if i.op0_kind() == OpKind::Register => {
            case.state.regs[i.op0_register().full_register().number()] = a;
        }
        _ => poke(case, at, &a.to_le_bytes()[..size.min(8)]),
    }
}

/// A dividend whose quotient may fit.
fn dividend(case: &mut Case, i: &Instruction, r: &mut Random) {
    let regs = &mut case.state.regs;
    let byte = i.op0_register().size() == 1 || i.memory_size().size() == 1;
    let high = match r.below(4) {
        0 => return,
        1 => 0,
        2 => u64::MAX,
        _ => r.below(256),
    };
    if byte {
        regs[0] = regs[0] & !0xff00 | (high & 0xff) << 8;
    } else {
        regs[2] = high;
    }
}

/// An image that FXRSTOR and XRSTOR take, with a header. SDM vol. 1, "XSAVE Area".
fn image(case: &mut Case, at: Option<u64>, r: &mut Random) {
    if r.one_in(4) {
        return;
    }
    let Some(at) = at else { return };
    let edges = [0, 7, 3, 1 << 63 | 7, 1 << 63 | 3, 1 << 63, 8, 1 << 62];
    let compact = if r.one_in(2) { edges[r.below(8) as usize] } else { 0 };
    let mut header = [0; 64];
    header[0] =
        r.below(8) as u8 & if compact == 0 { 7 } else { compact as u8 | (r.one_in(8) as u8) };
    header[8..16].copy_from_slice(&u64::to_le_bytes(compact));
    if r.one_in(16) {
        header[16 + r.below(48) as usize] = 1;
    }
    let at = at & !63;
    case.poke(at + 24, &(r.draw() as u16 as u32).to_le_bytes());
    case.poke(at + 512, &header);
    if r.one_in(2) {
        case.state.regs[0] = r.below(16);
        case.state.regs[2] = 0;
    }
}

/// Strings of few letters, with lengths about 8 and 16.
fn strings(case: &mut Case, i: &Instruction, at: Option<u64>, r: &mut Random) {
    if r.one_in(4) {
        return;
    }
    let letters = 2 + r.below(4);
    let mut text = || {
        let mut b = [0; 16];
        b.iter_mut().for_each(|b| *b = r.below(letters) as u8 | (r.one_in(16) as u8) << 7);
        b
    };
    for n in 0..2 {
        match i.op_kind(n) {
            OpKind::Register if vector(i.op_register(n)) => {
                case.state.xmm[i.op_register(n).number()] = u128::from_le_bytes(text());
            }
            OpKind::Register => {}
            _ => poke(case, at, &text()),
        }
    }
    for n in [0, 2] {
        if r.one_in(2) {
            case.state.regs[n] = r.below(40).wrapping_sub(20);
        }
    }
}

/// Numbers of one format in each vector operand; now and then the same ones in two.
fn vectors(case: &mut Case, i: &Instruction, at: Option<u64>, r: &mut Random) {
    let mut b = [0; 32];
    fill(&mut b, r);
    for n in 0..i.op_count() {
        if !r.one_in(4) {
            fill(&mut b, r);
        }
        match i.op_kind(n) {
            OpKind::Memory => poke(case, at, &b),
            OpKind::Register if i.op_register(n).is_mm() => {
                case.state.st[i.op_register(n).number()].m = half(&b) as u64;
            }
            OpKind::Register if vector(i.op_register(n)) => {
                let n = i.op_register(n).number();
                case.state.xmm[n] = half(&b);
                case.state.upper[n] = half(&b[16..]);
            }
            _ => {}
        }
    }
}

/// A vector register that exists without AVX-512: wild bytes may name `XMM28`.
fn vector(r: Register) -> bool {
    (r.is_xmm() || r.is_ymm()) && r.number() < 16
}

fn half(b: &[u8]) -> u128 {
    b.iter().take(16).rev().fold(0, |v, b| v << 8 | *b as u128)
}

/// Fills with numbers of one format.
fn fill(b: &mut [u8; 32], r: &mut Random) {
    match r.below(8) {
        0..=2 => b.chunks_exact_mut(4).for_each(|c| c.copy_from_slice(&single(r).to_le_bytes())),
        3..=5 => b.chunks_exact_mut(8).for_each(|c| c.copy_from_slice(&double(r).to_le_bytes())),
        6 => b.chunks_exact_mut(2).for_each(|c| c.copy_from_slice(&word(r).to_le_bytes())),
        _ => b.chunks_exact_mut(8).for_each(|c| c.copy_from_slice(&r.word().to_le_bytes())),
    }
}

/// A word at the edges of saturation; or a binary16.
fn word(r: &mut Random) -> u16 {
    const EDGES: [u16; 16] = [
        0, 1, 0x7f, 0x80, 0xff, 0x100, 0x3ff, 0x400, 0x7bff, 0x7c00, 0x7c01, 0x7e00, 0x7fff,
        0x8000, 0xff7f, 0xff80,
    ];
    if r.one_in(4) {
        r.draw() as u16
    } else {
        EDGES[r.below(16) as usize] ^ (r.one_in(4) as u16) << 15
    }
}

/// The fraction of a number with `bits` of it: at an edge of rounding at a shorter one, or few bits.
fn fraction(bits: u32, r: &mut Random) -> u64 {
    let mask = u64::MAX >> (64 - bits);
    let cut = 1u64 << r.below(bits as u64);
    let v = match r.below(8) {
        0 | 1 => 0,
        2 => cut,
        3 => cut.wrapping_neg(),
        4 => r.draw() & cut.wrapping_neg() | cut >> 1,
        5 => (r.draw() & cut.wrapping_neg() | cut >> 1).wrapping_sub(1),
        6 => (r.draw() & cut.wrapping_neg() | cut >> 1).wrapping_add(1),
        _ => r.draw(),
    };
    v & mask
}

fn single(r: &mut Random) -> u32 {
    // Zero, denormal, least and greatest normal; halves of the range, so that products overflow or
    // underflow; 1; edges of the integers and of binary16; infinity, NaN.
    const EXPONENTS: [u32; 16] = [
        0,
        0,
        1,
        254,
        63,
        64,
        190,
        191,
        126,
        127,
        127 + 15,
        127 + 30,
        127 + 31,
        127 - 14,
        127 + 63,
        255,
    ];
    let e = match r.below(4) {
        0 => r.below(256) as u32,
        1 => 120 + r.below(40) as u32,
        _ => EXPONENTS[r.below(16) as usize],
    };
    (r.draw() as u32) << 31 | e << 23 | fraction(23, r) as u32
}

fn double(r: &mut Random) -> u64 {
    // As `single`; and the edges of binary32.
    const EXPONENTS: [u64; 16] = [
        0,
        0,
        1,
        2046,
        511,
        512,
        1534,
        1022,
        1023,
        1023 + 31,
        1023 + 63,
        1023 + 127,
        1023 + 128,
        1023 - 126,
        1023 - 149,
        2047,
    ];
    let e = match r.below(4) {
        0 => r.below(2048),
        1 => 1016 + r.below(72),
        _ => EXPONENTS[r.below(16) as usize],
    };
    r.draw() << 63 | e << 52 | fraction(52, r)
}

fn extended(r: &mut Random) -> St {
    const BIAS: u16 = 0x3fff;
    const EXPONENTS: [u16; 24] = [
        0,
        0,
        1,
        2,
        BIAS - 1074,
        BIAS - 1022,
        BIAS - 149,
        BIAS - 126,
        BIAS - 64,
        BIAS - 1,
        BIAS,
        BIAS + 1,
        BIAS + 2,
        BIAS + 15,
        BIAS + 31,
        BIAS + 59,
        BIAS + 62,
        BIAS + 63,
        BIAS + 127,
        BIAS + 128,
        BIAS + 1023,
        BIAS + 1024,
        0x7ffe,
        0x7fff,
    ];
    let e = match r.below(4) {
        0 => r.below(0x8000) as u16,
        1 => BIAS - 70 + r.below(140) as u16,
        _ => EXPONENTS[r.below(24) as usize],
    };
    // Without the integer bit: denormals, and what no processor makes since the 80387.
    let integer = if e == 0 { r.one_in(4) } else { !r.one_in(12) };
    St { m: (integer as u64) << 63 | fraction(63, r), se: (r.one_in(2) as u16) << 15 | e }
}
