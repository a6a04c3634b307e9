//! SSE4.2: string comparison. SDM vol. 2, "Imm8 Control Byte Operation for PCMPESTRI ...".

use super::sse_int::CmpEqB;
use super::sse_moves::MaskB;
use super::sse4::source;
use super::vector::Pure;
use super::{Exec, Form, forms};
use crate::Cpu;
use crate::fpu::lanes::{build, each, lane_of};
use crate::state::flags::{CF, OF, SF, ZF};
use crate::state::gpr;
use crate::trap::Trap;
use crate::word::Word;
use iced_x86::{EncodingKind, Instruction};

/// A comparison: what the immediate says, and the two strings.
struct Strings {
    imm: u8,
    /// The pattern (first operand) and the text (second).
    data: [u128; 2],
    /// How many elements of each are valid.
    len: [usize; 2],
}

impl Strings {
    /// Elements in a register.
    fn elements(imm: u8) -> usize {
        if imm & 1 != 0 { 8 } else { 16 }
    }

    fn n(&self) -> usize {
        Strings::elements(self.imm)
    }

    fn element(&self, which: usize, k: usize) -> i32 {
        let v = self.data[which];
        match self.imm & 3 {
            0 => lane_of::<u8>(v, k) as i32,
            1 => lane_of::<u16>(v, k) as i32,
            2 => lane_of::<i8>(v, k) as i32,
            _ => lane_of::<i16>(v, k) as i32,
        }
    }

    /// The aggregated result for element `j` of the text.
    fn matches(&self, j: usize) -> bool {
        let [pattern, text] = self.len;
        let (p, t) = (|k| self.element(0, k), |k| self.element(1, k));
        match self.imm >> 2 & 3 {
            0 => j < text && (0..pattern).any(|k| p(k) == t(j)),
            1 => {
                let inside = |k: usize| p(2 * k) <= t(j) && t(j) <= p(2 * k + 1);
                j < text && (0..pattern / 2).any(inside)
            }
            2 if j < pattern && j < text => p(j) == t(j),
            2 => j >= pattern && j >= text,
            _ => (0..pattern.min(self.n() - j)).all(|k| j + k < text && p(k) == t(j + k)),
        }
    }

    /// The aggregated result of bytes compared for equality, all at once; `None` for any other.
    fn equal_bytes(&self) -> Option<u32> {
        let [pattern, text] = self.len.map(|n| (1u32 << n) - 1);
        let [p, t] = self.data;
        match self.imm & 0xd {
            0 => {
                let any = |r, k| r | equal(each::<u8>(t, |_| lane_of(p, k)), t);
                Some((0..self.len[0]).fold(0, any) & text)
            }
            8 => Some(equal(p, t) & pattern & text | !(pattern | text) & 0xffff),
            _ => None,
        }
    }

    /// The result after its polarity.
    fn result(&self) -> u32 {
        let all = (1u32 << self.n()) - 1;
        let one_by_one = || (0..self.n()).fold(0, |r, j| r | (self.matches(j) as u32) << j);
        let r = self.equal_bytes().unwrap_or_else(one_by_one);
        match self.imm >> 4 & 3 {
            1 => r ^ all,
            3 => r ^ ((1 << self.len[1]) - 1),
            _ => r,
        }
    }

    /// The status flags for a result.
    fn flags(&self, r: u32) -> u64 {
        let bit = |on: bool, f| if on { f } else { 0 };
        let short = |k: usize| self.len[k] < self.n();
        bit(r != 0, CF) | bit(short(1), ZF) | bit(short(0), SF) | bit(r & 1 != 0, OF)
    }
}

/// The length in a register, saturated.
fn explicit(cpu: &Cpu, r: usize, imm: u8, wide: bool) -> usize {
    let v = cpu.state.regs[r];
    let v = if wide { v as i64 } else { v as i32 as i64 };
    v.unsigned_abs().min(Strings::elements(imm) as u64) as usize
}

/// Which bytes are equal, a bit for each.
fn equal(a: u128, b: u128) -> u32 {
    MaskB::run(0, CmpEqB::run(a, b, 0), 0) as u32
}

/// The length of a string that ends at its first zero.
fn implicit(v: u128, imm: u8) -> usize {
    match Strings::elements(imm) {
        8 => (0..8).find(|k| lane_of::<u16>(v, *k) == 0).unwrap_or(8),
        _ => equal(v, 0).trailing_zeros().min(16) as usize,
    }
}

/// `EXPLICIT`: lengths in RAX and RDX (`WIDE`) or EAX and EDX; `INDEX`: the result goes to ECX, else a
/// mask to XMM0.
fn compare<const EXPLICIT: bool, const WIDE: bool, const INDEX: bool>(
    cpu: &mut Cpu,
    i: &Instruction,
) -> Result<(), Trap> {
    let vex = i.code().encoding() == EncodingKind::VEX;
    if vex {
        cpu.check_avx()?
    } else {
        cpu.check_sse()?
    }
    let imm = i.immediate8();
    let data = [
        cpu.state.fpu.xmm[super::sse_moves::number(i.op0_register()) & 15],
        source(cpu, i, false)?,
    ];
    let len = if EXPLICIT {
        [gpr::RAX, gpr::RDX].map(|r| explicit(cpu, r, imm, WIDE))
    } else {
        data.map(|v| implicit(v, imm))
    };
    let s = Strings { imm, data, len };
    let r = s.result();
    if INDEX {
        let n = s.n() as u64;
        cpu.state.regs[gpr::RCX] = match (r, imm & 0x40 != 0) {
            (0, _) => n,
            (_, false) => r.trailing_zeros() as u64,
            (_, true) => r.ilog2() as u64,
        };
    } else {
        cpu.state.fpu.xmm[0] = mask(r, imm);
        if vex {
            cpu.state.fpu.upper[0] = 0;
        }
    }
    cpu.state.flags.set_status(s.flags(r));
    Ok(())
}

/// A result as a mask of bits or of elements.
fn mask(r: u32, imm: u8) -> u128 {
    let set = |k: usize| r >> k & 1 != 0;
    match (imm & 0x40 != 0, imm & 1 != 0) {
        (false, _) => r as u128,
        (true, false) => build::<u8>(|k| if set(k) { u8::MAX } else { 0 }),
        (true, true) => build::<u16>(|k| if set(k) { u16::MAX } else { 0 }),
    }
}

/// `CRC32`: the Castagnoli polynomial, reflected.
fn crc32<W: Word>(cpu: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    let v = cpu.read::<W>(i, 1)?.u();
    let start = cpu.reg(i.op0_register()) as u32;
    let crc = (0..W::BYTES).fold(start, |crc, k| {
        let x = crc ^ (v >> (8 * k)) as u8 as u32;
        (0..8).fold(x, |x, _| x >> 1 ^ if x & 1 != 0 { 0x82f6_3b78 } else { 0 })
    });
    cpu.set_reg(i.op0_register(), crc as u64);
    Ok(())
}

/// The table of this family.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = forms! {
    Pcmpestrm_xmm_xmmm128_imm8 => Exec::Function(compare::<true, false, false>);
    Pcmpestrm64_xmm_xmmm128_imm8 => Exec::Function(compare::<true, true, false>);
    Pcmpestri_xmm_xmmm128_imm8 => Exec::Function(compare::<true, false, true>);
    Pcmpestri64_xmm_xmmm128_imm8 => Exec::Function(compare::<true, true, true>);
    Pcmpistrm_xmm_xmmm128_imm8 => Exec::Function(compare::<false, false, false>);
    Pcmpistri_xmm_xmmm128_imm8 => Exec::Function(compare::<false, false, true>);
    VEX_Vpcmpestrm_xmm_xmmm128_imm8 => Exec::Function(compare::<true, false, false>);
    VEX_Vpcmpestrm64_xmm_xmmm128_imm8 => Exec::Function(compare::<true, true, false>);
    VEX_Vpcmpestri_xmm_xmmm128_imm8 => Exec::Function(compare::<true, false, true>);
    VEX_Vpcmpestri64_xmm_xmmm128_imm8 => Exec::Function(compare::<true, true, true>);
    VEX_Vpcmpistrm_xmm_xmmm128_imm8 => Exec::Function(compare::<false, false, false>);
    VEX_Vpcmpistri_xmm_xmmm128_imm8 => Exec::Function(compare::<false, false, true>);
    Crc32_r32_rm8 => Exec::Function(crc32::<u8>);
    Crc32_r64_rm8 => Exec::Function(crc32::<u8>);
    Crc32_r32_rm16 => Exec::Function(crc32::<u16>);
    Crc32_r32_rm32 => Exec::Function(crc32::<u32>);
    Crc32_r64_rm64 => Exec::Function(crc32::<u64>);
};
