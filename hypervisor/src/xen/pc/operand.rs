//! The memory operand of an instruction: how many bytes, and whether a write of it depends on a read.
//!
//! A device must see an access of the width that the instruction has, and no read that the instruction
//! does not make. What the instruction computes is the processor's business. SDM vol. 2, "Opcode Map".

use super::moves::Register;

/// A memory operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operand {
    /// The operand's size in bytes.
    pub size: usize,
    /// Where it is written it is read before.
    pub modified: bool,
}

/// The mode that decides how instructions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeSize {
    /// 16-bit code.
    Bits16,
    /// 32-bit code.
    Bits32,
    /// 64-bit code.
    Bits64,
}

/// The longest instruction, in bytes.
pub const LONGEST: usize = 15;

/// What stands before the opcode.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Prefixes {
    word: bool,
    rep: u8,
    /// LOCK.
    pub(super) lock: bool,
    /// Addresses are of the size that is not the usual one.
    pub(super) address: bool,
    /// The REX prefix; 0 without one.
    rex: u8,
    /// The last segment prefix; 0 without one.
    segment: u8,
}

impl Prefixes {
    /// The prefixes of the instruction that `bytes` begins with, its opcode, and where it goes on.
    pub(super) fn read(bytes: &[u8], code: CodeSize) -> Option<(Self, u8, usize)> {
        let mut prefixes = Self::default();
        let mut at = 0;
        loop {
            let byte = *bytes.get(at)?;
            at += 1;
            // REX counts right before the opcode.
            let rex = core::mem::take(&mut prefixes.rex);
            match byte {
                0x66 => prefixes.word = true,
                0x67 => prefixes.address = true,
                0xF0 => prefixes.lock = true,
                0xF2 | 0xF3 => prefixes.rep = byte,
                0x64 | 0x65 => prefixes.segment = byte,
                // In 64-bit mode these mean nothing.
                0x2E | 0x36 | 0x3E | 0x26 if code == CodeSize::Bits64 => {}
                0x2E | 0x36 | 0x3E | 0x26 => prefixes.segment = byte,
                0x40..=0x4F if code == CodeSize::Bits64 => {
                    prefixes.rex = byte;
                }
                opcode => {
                    prefixes.rex = rex;
                    return Some((prefixes, opcode, at));
                }
            }
        }
    }

    /// The size of operands that are no bytes.
    pub(super) fn full(&self, code: CodeSize) -> usize {
        match (self.wide(), self.word != (code == CodeSize::Bits16)) {
            (true, _) => 8,
            (false, true) => 2,
            (false, false) => 4,
        }
    }

    /// REX.W.
    fn wide(&self) -> bool {
        self.rex & 8 != 0
    }

    /// REP, REPE or REPNE.
    pub(super) fn repeated(&self) -> bool {
        self.rep != 0
    }

    /// The number of the segment of an operand that is usually in DS: ES 0 to GS 5.
    pub(super) fn segment(&self) -> u8 {
        match self.segment {
            0x64 => 4,
            0x65 => 5,
            0 => 3,
            prefix => prefix >> 3 & 3,
        }
    }

    /// The register of a reg field, for an operand of `width` bytes.
    pub(super) fn register(&self, reg: u8, width: u8) -> Register {
        let high = width == 1 && self.rex == 0 && reg >= 4;
        let number = if high { reg - 4 } else { reg | (self.rex & 4) << 1 };
        Register { number, width, high }
    }
}

/// An opcode with what decides its operand.
struct Form {
    opcode: u8,
    /// The reg field of `ModRM`, which extends some opcodes.
    reg: u8,
    prefixes: Prefixes,
    /// The operand size.
    full: usize,
    code: CodeSize,
}

fn read(size: usize) -> Option<Operand> {
    Some(Operand { size, modified: false })
}

fn modified(size: usize, modified: bool) -> Option<Operand> {
    Some(Operand { size, modified })
}

/// The memory operand of the instruction that `bytes` begins with; none if it is not known here. That
/// the instruction has one is given: it has reached memory.
pub fn operand(bytes: &[u8], code: CodeSize) -> Option<Operand> {
    let (prefixes, opcode, at) = Prefixes::read(bytes, code)?;
    let mut bytes = bytes[at..].iter().copied();
    let full = prefixes.full(code);
    let mut form = Form { opcode, reg: 0, prefixes, full, code };
    if opcode != 0x0F {
        form.reg = bytes.next().unwrap_or(0) >> 3 & 7;
        return one_byte(&form);
    }
    form.opcode = bytes.next()?;
    match form.opcode {
        0x38 => {
            form.opcode = bytes.next()?;
            map_0f38(&form)
        }
        0x3A => None,
        _ => {
            form.reg = bytes.next().unwrap_or(0) >> 3 & 7;
            two_bytes(&form)
        }
    }
}

fn one_byte(form: &Form) -> Option<Operand> {
    let &Form { opcode, reg, full, code, .. } = form;
    let long = code == CodeSize::Bits64;
    // Most opcodes come in pairs: bytes, then the operand size.
    let sized = if opcode & 1 == 0 { 1 } else { full };
    let stack = if long && full == 4 { 8 } else { full };
    match opcode {
        0..=0x3F if opcode & 7 < 4 => modified(sized, opcode & 2 == 0 && opcode < 0x38),
        0x63 if long => read(full.min(4)),
        0x63 => modified(2, true),
        0x69 | 0x6B => read(full),
        0x80 | 0x82 => modified(1, reg != 7),
        0x81 | 0x83 => modified(full, reg != 7),
        0x86 | 0x87 => modified(sized, true),
        0x8C | 0x8E => read(2),
        0x8F => read(stack),
        0x84..=0x8B | 0xA0..=0xA7 | 0xAA..=0xAF | 0xC6 | 0xC7 => read(sized),
        0xC0 | 0xC1 | 0xD0..=0xD3 => modified(sized, true),
        0xC4 | 0xC5 if !long => read(full + 2),
        0xD7 => read(1),
        0xD8..=0xDF => x87(opcode, reg),
        0xF6 | 0xF7 => modified(sized, matches!(reg, 2 | 3)),
        0xFE => modified(1, true),
        0xFF => match reg {
            0 | 1 => modified(full, true),
            2 | 4 if long => read(8),
            3 | 5 => read(full + 2),
            _ => read(stack),
        },
        _ => None,
    }
}

/// The operands of x87 instructions, but for environments and whole states.
fn x87(opcode: u8, reg: u8) -> Option<Operand> {
    read(match (opcode, reg) {
        (0xD9, 4 | 6) | (0xDD, 4 | 6) => return None,
        (0xD9, 5 | 7) | (0xDD, 7) => 2,
        (0xDB, 5 | 7) | (0xDF, 4 | 6) => 10,
        (0xDF, 5 | 7) | (0xDC | 0xDD, _) => 8,
        (0xDE | 0xDF, _) => 2,
        _ => 4,
    })
}

/// The size of an SSE operand that is packed without F2 or F3: `single` with F3, `double` with F2.
fn by_prefix(form: &Form, packed: usize, single: usize, double: usize) -> usize {
    match form.prefixes.rep {
        0xF3 => single,
        0xF2 => double,
        _ => packed,
    }
}

fn two_bytes(form: &Form) -> Option<Operand> {
    let &Form { opcode, reg, full, prefixes, .. } = form;
    let sized = if opcode & 1 == 0 { 1 } else { full };
    match opcode {
        0x00 => read(2),
        0x40..=0x4F | 0xA3 | 0xAF | 0xB8 | 0xBC | 0xBD => read(full),
        0xC3 => read(if prefixes.wide() { 8 } else { 4 }),
        0x90..=0x9F => read(1),
        0xA4 | 0xA5 | 0xAB | 0xAC | 0xAD | 0xB3 | 0xBB => modified(full, true),
        0xBA => modified(full, reg != 4),
        0xAE if matches!(reg, 2 | 3) => read(4),
        0xB0 | 0xB1 | 0xC0 | 0xC1 => modified(sized, true),
        0xB2 | 0xB4 | 0xB5 => read(full + 2),
        0xB6 | 0xBE => read(1),
        0xB7 | 0xBF => read(2),
        0xC7 if reg == 1 => modified(if prefixes.wide() { 16 } else { 8 }, true),
        _ => vector(form),
    }
}

/// MMX and SSE operands.
fn vector(form: &Form) -> Option<Operand> {
    let &Form { opcode, prefixes: Prefixes { word, rep, .. }, .. } = form;
    let mmx = if word { 16 } else { 8 };
    let integer = if form.prefixes.wide() { 8 } else { 4 };
    read(match opcode {
        0x10 | 0x11 | 0x51..=0x53 | 0x58 | 0x59 | 0x5C..=0x5F | 0xC2 => by_prefix(form, 16, 4, 8),
        0x12 | 0x16 => by_prefix(form, 8, 16, 8),
        0x13 | 0x17 | 0xD6 => 8,
        0x2B => by_prefix(form, 16, 4, 8),
        0x14 | 0x15 | 0x28 | 0x29 | 0x54..=0x57 | 0x6C | 0x6D | 0xC6 => 16,
        0x2A if rep != 0 => integer,
        0x2A => 8,
        0x2C | 0x2D => by_prefix(form, mmx, 4, 8),
        0x2E | 0x2F => mmx / 2,
        0x5A => by_prefix(form, mmx, 4, 8),
        0x5B => 16,
        0x6E => integer,
        0x7E => by_prefix(form, integer, 8, 8),
        0x6F | 0x7F => by_prefix(form, mmx, 16, 16),
        0x70 if rep != 0 => 16,
        0xC4 => 2,
        0xE6 => by_prefix(form, 16, 8, 16),
        0xF0 => 16,
        0x60..=0x62 if !word => 4,
        0x60..=0x6B | 0x70 | 0x74..=0x76 | 0xD1..=0xD5 | 0xD8..=0xE5 | 0xE7..=0xEF => mmx,
        0xF1..=0xF6 | 0xF8..=0xFE => mmx,
        _ => return None,
    })
}

/// The operands of MOVBE and CRC32.
fn map_0f38(form: &Form) -> Option<Operand> {
    match (form.opcode, form.prefixes.rep) {
        (0xF0, 0xF2) => read(1),
        (0xF0 | 0xF1, _) => read(form.full),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CodeSize::{Bits16, Bits32, Bits64};
    use iced_x86::{Decoder, DecoderOptions, InstructionInfoFactory, OpAccess};

    #[track_caller]
    fn check(bytes: &[u8], code: CodeSize, size: usize, modified: bool) {
        assert_eq!(operand(bytes, code), Some(Operand { size, modified }), "{bytes:x?}");
    }

    #[test]
    fn sizes() {
        check(&[0x8B, 0x07], Bits32, 4, false);
        check(&[0x8B, 0x07], Bits16, 2, false);
        check(&[0x66, 0x8B, 0x07], Bits16, 4, false);
        check(&[0x48, 0x89, 0x07], Bits64, 8, false);
        check(&[0x80, 0x0F, 1], Bits64, 1, true);
        check(&[0x80, 0x3F, 1], Bits64, 1, false);
        check(&[0xF3, 0x67, 0xA4], Bits32, 1, false);
        check(&[0xF0, 0x0F, 0xBA, 0x2F, 3], Bits32, 4, true);
        check(&[0x0F, 0xB6, 0x07], Bits32, 1, false);
        check(&[0x66, 0x0F, 0x7F, 0x07], Bits64, 16, false);
        assert_eq!(operand(&[], Bits32), None);
        assert_eq!(operand(&[0x66; 15], Bits32), None);
    }

    /// The operand in the decoder's view, if the instruction is one and has one.
    fn decoded(bytes: &[u8], code: CodeSize) -> Option<Operand> {
        let bits = match code {
            Bits16 => 16,
            Bits32 => 32,
            Bits64 => 64,
        };
        let instruction = Decoder::new(bits, bytes, DecoderOptions::NONE).decode();
        let mut factory = InstructionInfoFactory::new();
        let info = factory.info(&instruction);
        let used = *info.used_memory().first()?;
        let size = used.memory_size().size();
        let modified = info.used_memory().iter().any(|memory| {
            let access = memory.access();
            matches!(access, OpAccess::ReadWrite | OpAccess::ReadCondWrite)
        });
        (size != 0).then_some(Operand { size, modified })
    }

    /// Every opcode of the two maps that is known here, in all modes, beside a decoder's tables.
    #[test]
    fn as_a_decoder_has_it() {
        let prefixes: [&[u8]; 4] = [&[], &[0x66], &[0xF2], &[0xF3]];
        let mut compared = 0;
        for code in [Bits16, Bits32, Bits64] {
            let rexes: &[&[u8]] = if code == Bits64 { &[&[], &[0x48]] } else { &[&[]] };
            for (prefix, rex) in prefixes.iter().flat_map(|p| rexes.iter().map(move |r| (p, r))) {
                for (opcode, reg) in (0..512_u32).flat_map(|op| (0..8_u8).map(move |r| (op, r))) {
                    let map: &[u8] = if opcode > 255 { &[0x0F] } else { &[] };
                    let tail = [opcode as u8, reg << 3, 0, 0, 0, 0, 0, 0, 0, 0];
                    let bytes = [prefix, rex, map, &tail[..]].concat();
                    compared += compare(&bytes, code);
                }
            }
        }
        assert!(compared > 10_000, "{compared}");
    }

    #[track_caller]
    fn compare(bytes: &[u8], code: CodeSize) -> usize {
        match (operand(bytes, code), decoded(bytes, code)) {
            (Some(found), Some(expected)) => {
                assert_eq!(found, expected, "{bytes:x?} {code:?}");
                1
            }
            _ => 0,
        }
    }
}
