//! AES-NI, PCLMULQDQ, SHA.

use super::sse_moves::number;
use super::sse4::source;
use super::vector::{full, pure};
use super::{Exec, Form, forms};
use crate::Cpu;
use crate::fpu::lanes::{Lane, build};
use crate::trap::Trap;
use iced_x86::Instruction;

/// Twice a field element of AES.
const fn double(x: u8) -> u8 {
    x << 1 ^ if x >> 7 != 0 { 0x1b } else { 0 }
}

const fn multiply(mut x: u8, mut y: u8) -> u8 {
    let mut r = 0;
    while y != 0 {
        if y & 1 != 0 {
            r ^= x;
        }
        x = double(x);
        y >>= 1;
    }
    r
}

/// FIPS 197, "SubBytes": the inverse in the field, then an affine map. Generated along the powers of 3
/// and of its inverse 0xf6.
const fn substitution() -> [u8; 256] {
    let mut t = [0; 256];
    t[0] = 0x63;
    let (mut p, mut q) = (1u8, 1u8);
    loop {
        p = multiply(p, 3);
        q = multiply(q, 0xf6);
        let turned = q.rotate_left(1) ^ q.rotate_left(2) ^ q.rotate_left(3) ^ q.rotate_left(4);
        t[p as usize] = q ^ turned ^ 0x63;
        if p == 1 {
            return t;
        }
    }
}

const fn inverted(t: [u8; 256]) -> [u8; 256] {
    let mut u = [0; 256];
    let mut k = 0;
    while k < 256 {
        u[t[k] as usize] = k as u8;
        k += 1;
    }
    u
}

const fn products(by: u8) -> [u8; 256] {
    let mut t = [0; 256];
    let mut k = 0;
    while k < 256 {
        t[k] = multiply(k as u8, by);
        k += 1;
    }
    t
}

static SUBSTITUTION: [u8; 256] = substitution();
static INVERSE: [u8; 256] = inverted(substitution());
/// Products with 2, 3, and the factors of the inverse.
static TIMES: [[u8; 256]; 6] =
    [products(2), products(3), products(14), products(11), products(13), products(9)];

/// ShiftRows and SubBytes.
fn rows(a: u128) -> u128 {
    let s = u8::split(a);
    build::<u8>(|k| SUBSTITUTION[s[(k + 4 * (k & 3)) & 15] as usize])
}

fn rows_back(a: u128) -> u128 {
    let s = u8::split(a);
    build::<u8>(|k| INVERSE[s[(k + 12 * (k & 3)) & 15] as usize])
}

/// MixColumns with the factors of row 0.
fn columns(a: u128, factor: impl Fn(usize, u8) -> u8) -> u128 {
    let s = u8::split(a);
    build::<u8>(|k| (0..4).fold(0, |r, n| r ^ factor(n, s[(k & 12) + ((k + n) & 3)])))
}

fn mix(a: u128) -> u128 {
    columns(a, |n, x| match n {
        0 => TIMES[0][x as usize],
        1 => TIMES[1][x as usize],
        _ => x,
    })
}

fn mix_back(a: u128) -> u128 {
    columns(a, |n, x| TIMES[2 + n][x as usize])
}

fn substitute_word(w: u32) -> u32 {
    u32::from_le_bytes(w.to_le_bytes().map(|b| SUBSTITUTION[b as usize]))
}

fn key_assist(b: u128, imm: u8) -> u128 {
    let x = u32::split(b);
    let (s1, s3) = (substitute_word(x[1]), substitute_word(x[3]));
    let turned = |w: u32| w.rotate_right(8) ^ imm as u32;
    u32::join([s1, turned(s1), s3, turned(s3)])
}

/// The product without carries.
fn carryless(a: u64, b: u64) -> u128 {
    (0..64).filter(|k| b >> k & 1 != 0).fold(0, |r, k| r ^ (a as u128) << k)
}

/// Lanes from the most significant, as the SHA instructions count.
fn words(v: u128) -> [u32; 4] {
    let [d, c, b, a] = u32::split(v);
    [a, b, c, d]
}

fn of_words([a, b, c, d]: [u32; 4]) -> u128 {
    u32::join([d, c, b, a])
}

fn sha1_rounds(a: u128, b: u128, imm: u8) -> u128 {
    let [mut a0, mut b0, mut c, mut d] = words(a);
    let mut e = 0u32;
    for w in words(b) {
        let (f, k) = match imm & 3 {
            0 => (b0 & c ^ !b0 & d, 0x5a82_7999),
            1 => (b0 ^ c ^ d, 0x6ed9_eba1),
            2 => (b0 & c ^ b0 & d ^ c & d, 0x8f1b_bcdc),
            _ => (b0 ^ c ^ d, 0xca62_c1d6u32),
        };
        let next =
            f.wrapping_add(a0.rotate_left(5)).wrapping_add(w).wrapping_add(e).wrapping_add(k);
        (a0, b0, c, d, e) = (next, a0, b0.rotate_left(30), c, d);
    }
    of_words([a0, b0, c, d])
}

fn sha1_message2(a: u128, b: u128) -> u128 {
    let ([a0, a1, a2, a3], [_, b1, b2, b3]) = (words(a), words(b));
    let w16 = (a0 ^ b1).rotate_left(1);
    let w17 = (a1 ^ b2).rotate_left(1);
    let w18 = (a2 ^ b3).rotate_left(1);
    let w19 = (a3 ^ w16).rotate_left(1);
    of_words([w16, w17, w18, w19])
}

fn sha256_message1(a: u128, b: u128) -> u128 {
    let s0 = |x: u32| x.rotate_right(7) ^ x.rotate_right(18) ^ x >> 3;
    let w = u32::split(a);
    let next = [w[1], w[2], w[3], b as u32];
    build::<u32>(|k| w[k].wrapping_add(s0(next[k])))
}

fn sha256_message2(a: u128, b: u128) -> u128 {
    let s1 = |x: u32| x.rotate_right(17) ^ x.rotate_right(19) ^ x >> 10;
    let (a, b) = (u32::split(a), u32::split(b));
    let w16 = a[0].wrapping_add(s1(b[2]));
    let w17 = a[1].wrapping_add(s1(b[3]));
    let w18 = a[2].wrapping_add(s1(w16));
    let w19 = a[3].wrapping_add(s1(w17));
    u32::join([w16, w17, w18, w19])
}

/// Two rounds of SHA-256: `cdgh`, `abef` and the sums of message words and constants.
fn sha256_rounds(cdgh: u128, abef: u128, wk: u128) -> u128 {
    let ([mut a, mut b, mut e, mut f], [mut c, mut d, mut g, mut h]) = (words(abef), words(cdgh));
    for k in [wk as u32, (wk >> 32) as u32] {
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let choice = e & f ^ !e & g;
        let t1 = choice.wrapping_add(s1).wrapping_add(k).wrapping_add(h);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let t2 = (a & b ^ a & c ^ b & c).wrapping_add(s0);
        (h, g, f, e) = (g, f, e, d.wrapping_add(t1));
        (d, c, b, a) = (c, b, a, t1.wrapping_add(t2));
    }
    of_words([a, b, e, f])
}

fn sha256rnds2(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    cpu.check_sse()?;
    let b = source(cpu, i, true)?;
    let d = number(i.op0_register()) & 15;
    cpu.state.fpu.xmm[d] = sha256_rounds(cpu.state.fpu.xmm[d], b, cpu.state.fpu.xmm[0]);
    Ok(())
}

pure! {
    AesEnc(a, b, _i) => mix(rows(a)) ^ b;
    AesEncLast(a, b, _i) => rows(a) ^ b;
    AesDec(a, b, _i) => mix_back(rows_back(a)) ^ b;
    AesDecLast(a, b, _i) => rows_back(a) ^ b;
    AesImc(a, b, _i) => mix_back(b);
    AesKey(a, b, imm) => key_assist(b, imm);
    ClMul(a, b, imm) => carryless((a >> (64 * (imm & 1))) as u64, (b >> (64 * (imm >> 4 & 1))) as u64);
    Sha1Rounds(a, b, imm) => sha1_rounds(a, b, imm);
    Sha1NextE(a, b, _i) => {
        let e = words(a)[0].rotate_left(30);
        let [w, x, y, z] = words(b);
        of_words([w.wrapping_add(e), x, y, z])
    };
    Sha1Msg1(a, b, _i) => a ^ (a << 64 | b >> 64);
    Sha1Msg2(a, b, _i) => sha1_message2(a, b);
    Sha256Msg1(a, b, _i) => sha256_message1(a, b);
    Sha256Msg2(a, b, _i) => sha256_message2(a, b);
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Aesenc_xmm_xmmm128 => Exec::Handler(full::<AesEnc>);
    Aesenclast_xmm_xmmm128 => Exec::Handler(full::<AesEncLast>);
    Aesdec_xmm_xmmm128 => Exec::Handler(full::<AesDec>);
    Aesdeclast_xmm_xmmm128 => Exec::Handler(full::<AesDecLast>);
    Aesimc_xmm_xmmm128 => Exec::Handler(full::<AesImc>);
    Aeskeygenassist_xmm_xmmm128_imm8 => Exec::Handler(full::<AesKey>);
    Pclmulqdq_xmm_xmmm128_imm8 => Exec::Handler(full::<ClMul>);
    Sha1rnds4_xmm_xmmm128_imm8 => Exec::Handler(full::<Sha1Rounds>);
    Sha1nexte_xmm_xmmm128 => Exec::Handler(full::<Sha1NextE>);
    Sha1msg1_xmm_xmmm128 => Exec::Handler(full::<Sha1Msg1>);
    Sha1msg2_xmm_xmmm128 => Exec::Handler(full::<Sha1Msg2>);
    Sha256rnds2_xmm_xmmm128 => Exec::Function(sha256rnds2);
    Sha256msg1_xmm_xmmm128 => Exec::Handler(full::<Sha256Msg1>);
    Sha256msg2_xmm_xmmm128 => Exec::Handler(full::<Sha256Msg2>);
};
