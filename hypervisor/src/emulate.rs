//! Decoding of the moves with which drivers reach device registers: enough to emulate an access
//! that the EPT refused. SDM vol. 2, "Instruction Format".

/// The direction of an access to the memory operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Memory to register.
    Load {
        /// The destination register.
        to: Operand,
        /// The number of bytes written to the register.
        width: u8,
        /// Sign-extend (MOVSX) rather than zero-extend.
        signed: bool,
    },
    /// Register to memory.
    Store(Operand),
    /// Immediate to memory, sign-extended.
    StoreImmediate(u64),
}

/// A general register, or its second byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// 0 RAX … 15 R15.
    pub register: u8,
    /// AH, CH, DH or BH.
    pub high: bool,
}

/// A move to or from memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Bytes of the instruction.
    pub length: u8,
    /// Bytes of memory accessed: 1, 2, 4 or 8.
    pub size: u8,
    /// The direction and the other operand.
    pub kind: Kind,
}

/// The default sizes of the code segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 16-bit code.
    Bits16,
    /// 32-bit code.
    Bits32,
    /// 64-bit code.
    Bits64,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    mode: Mode,
    operand16: bool,
    address_override: bool,
    rex: u8,
}

/// Decodes the instruction at the start of `bytes`; none if it is not such a move.
pub fn decode(bytes: &[u8], mode: Mode) -> Option<Move> {
    let mut reader = Reader {
        bytes: &bytes[..bytes.len().min(15)],
        at: 0,
        mode,
        operand16: mode == Mode::Bits16,
        address_override: false,
        rex: 0,
    };
    let opcode = reader.prefixes()?;
    let (size, kind) = reader.operation(opcode)?;
    Some(Move { length: reader.at as u8, size, kind })
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at += count;
        (self.at <= self.bytes.len()).then_some(())
    }

    /// Takes the prefixes and the first byte of the opcode. LOCK and REP make it another
    /// instruction than a plain move.
    fn prefixes(&mut self) -> Option<u8> {
        loop {
            let byte = self.byte()?;
            match byte {
                0x26 | 0x2E | 0x36 | 0x3E | 0x64 | 0x65 => {}
                0x66 => self.operand16 = self.mode != Mode::Bits16,
                0x67 => self.address_override = true,
                0x40..=0x4F if self.mode == Mode::Bits64 => {
                    self.rex = byte;
                    return self.byte();
                }
                0xF0 | 0xF2 | 0xF3 => return None,
                _ => return Some(byte),
            }
        }
    }

    fn operand_size(&self) -> u8 {
        if self.rex & 8 != 0 {
            8
        } else if self.operand16 {
            2
        } else {
            4
        }
    }

    fn operation(&mut self, opcode: u8) -> Option<(u8, Kind)> {
        let wide = self.operand_size();
        let size = if opcode & 1 == 0 { 1 } else { wide };
        match opcode {
            0x88 | 0x89 => {
                let reg = self.modrm()?;
                Some((size, Kind::Store(self.register(reg, size))))
            }
            0x8A | 0x8B => {
                let reg = self.modrm()?;
                let to = self.register(reg, size);
                Some((size, Kind::Load { to, width: size, signed: false }))
            }
            0xA0..=0xA3 => {
                self.skip(self.address_size())?;
                let rax = Operand { register: 0, high: false };
                let load = Kind::Load { to: rax, width: size, signed: false };
                Some((size, if opcode < 0xA2 { load } else { Kind::Store(rax) }))
            }
            0xC6 | 0xC7 => {
                let reg = self.modrm()?;
                let value = self.immediate(size)?;
                (reg & 7 == 0).then_some((size, Kind::StoreImmediate(value)))
            }
            0x0F => self.two_bytes(wide),
            _ => None,
        }
    }

    /// MOVZX, MOVSX, MOVNTI.
    fn two_bytes(&mut self, wide: u8) -> Option<(u8, Kind)> {
        let opcode = self.byte()?;
        match opcode {
            0xB6 | 0xB7 | 0xBE | 0xBF => {
                let reg = self.modrm()?;
                let to = Operand { register: reg, high: false };
                let size = if opcode & 1 == 0 { 1 } else { 2 };
                Some((size, Kind::Load { to, width: wide, signed: opcode >= 0xBE }))
            }
            0xC3 if wide != 2 => {
                let reg = self.modrm()?;
                Some((wide, Kind::Store(Operand { register: reg, high: false })))
            }
            _ => None,
        }
    }

    /// Without REX, byte registers 4 to 7 are AH, CH, DH, BH.
    fn register(&self, reg: u8, size: u8) -> Operand {
        if size == 1 && self.rex == 0 && reg >= 4 {
            Operand { register: reg - 4, high: true }
        } else {
            Operand { register: reg, high: false }
        }
    }

    fn address_size(&self) -> usize {
        match (self.mode, self.address_override) {
            (Mode::Bits64, false) => 8,
            (Mode::Bits16, false) | (Mode::Bits32, true) => 2,
            _ => 4,
        }
    }

    /// Skips ModR/M, SIB and displacement of a memory operand; the register field with REX.R.
    fn modrm(&mut self) -> Option<u8> {
        let modrm = self.byte()?;
        let (mode, rm) = (modrm >> 6, modrm & 7);
        if mode == 3 {
            return None;
        }
        let displacement = if self.address_size() == 2 {
            match (mode, rm) {
                (0, 6) | (2, _) => 2,
                (1, _) => 1,
                _ => 0,
            }
        } else {
            let base = if rm == 4 { self.byte()? & 7 } else { rm };
            match (mode, base) {
                (0, 5) | (2, _) => 4,
                (1, _) => 1,
                _ => 0,
            }
        };
        self.skip(displacement)?;
        Some(modrm >> 3 & 7 | (self.rex & 4) << 1)
    }

    /// An immediate of at most four bytes, sign-extended.
    fn immediate(&mut self, size: u8) -> Option<u64> {
        let count = usize::from(size.min(4));
        let start = self.at;
        self.skip(count)?;
        let mut raw = [0; 8];
        raw[..count].copy_from_slice(&self.bytes[start..start + count]);
        let shift = 64 - 8 * count as u32;
        Some(((u64::from_le_bytes(raw) << shift) as i64 >> shift) as u64)
    }
}

/// The value a load leaves in its register: `old` is the register, `value` what memory gave.
/// 32-bit results clear the upper half, smaller ones leave the rest alone.
pub fn loaded(old: u64, value: u64, size: u8, width: u8, signed: bool, high: bool) -> u64 {
    let value = extend(value, size, signed);
    match (width, high) {
        (1, true) => old & !0xFF00 | (value & 0xFF) << 8,
        (1, false) => old & !0xFF | value & 0xFF,
        (2, _) => old & !0xFFFF | value & 0xFFFF,
        (4, _) => value & 0xFFFF_FFFF,
        _ => value,
    }
}

fn extend(value: u64, size: u8, signed: bool) -> u64 {
    let shift = 64 - 8 * u32::from(size.clamp(1, 8));
    if signed { ((value << shift) as i64 >> shift) as u64 } else { value << shift >> shift }
}

/// The bytes a store of `operand` writes: `register` is the whole register.
pub fn stored(register: u64, high: bool) -> u64 {
    if high { register >> 8 } else { register }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(register: u8) -> Operand {
        Operand { register, high: false }
    }

    fn load(to: u8, width: u8) -> Kind {
        Kind::Load { to: register(to), width, signed: false }
    }

    #[track_caller]
    fn check(bytes: &[u8], mode: Mode, size: u8, kind: Kind) {
        let mut padded = bytes.to_vec();
        padded.extend([0xCC; 15]);
        let expected = Move { length: bytes.len() as u8, size, kind };
        assert_eq!(decode(&padded, mode), Some(expected));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut], mode), None);
        }
    }

    #[test]
    fn moves() {
        use Mode::{Bits16, Bits32, Bits64};
        check(&[0x89, 0x07], Bits64, 4, Kind::Store(register(0)));
        check(&[0x44, 0x89, 0x44, 0x24, 0x08], Bits64, 4, Kind::Store(register(8)));
        check(&[0x8B, 0x80, 0x20, 0, 0, 0], Bits64, 4, load(0, 4));
        check(&[0x48, 0x8B, 0x05, 1, 2, 3, 4], Bits64, 8, load(0, 8));
        check(&[0x8B, 0x04, 0x25, 0x20, 0xD0, 0x5F, 0xFF], Bits64, 4, load(0, 4));
        check(&[0x66, 0x89, 0x0A], Bits64, 2, Kind::Store(register(1)));
        check(&[0x88, 0x27], Bits64, 1, Kind::Store(Operand { register: 0, high: true }));
        check(&[0x40, 0x88, 0x27], Bits64, 1, Kind::Store(register(4)));
        check(
            &[0xC7, 0x00, 0xFE, 0xFF, 0xFF, 0xFF],
            Bits64,
            4,
            Kind::StoreImmediate(-2_i64 as u64),
        );
        check(&[0xC6, 0x40, 0x10, 0x7F], Bits64, 1, Kind::StoreImmediate(0x7F));
        check(&[0x0F, 0xB6, 0x50, 0x10], Bits64, 1, load(2, 4));
        check(&[0xA1, 0x20, 0, 0xE0, 0xFE], Bits32, 4, load(0, 4));
        check(&[0xA3, 0x20, 0, 0xE0, 0xFE, 0, 0, 0, 0], Bits64, 4, Kind::Store(register(0)));
        check(&[0x89, 0x0E, 0x20, 0x30], Bits16, 2, Kind::Store(register(1)));
        check(&[0x66, 0x67, 0x8B, 0x03], Bits16, 4, load(0, 4));
        check(&[0x4C, 0x0F, 0xC3, 0x00], Bits64, 8, Kind::Store(register(8)));
    }

    #[track_caller]
    fn check_refused(bytes: &[u8]) {
        assert_eq!(decode(bytes, Mode::Bits64), None);
    }

    #[test]
    fn other_instructions_are_refused() {
        check_refused(&[0x90]);
        check_refused(&[0x89, 0xC0]);
        check_refused(&[0xF0, 0x01, 0x00]);
        check_refused(&[0xF3, 0xA4]);
        check_refused(&[0xC7, 0x48, 0, 0, 0, 0, 0]);
        check_refused(&[0x66; 20]);
        check_refused(&[]);
    }

    #[track_caller]
    fn check_loaded(size: u8, width: u8, signed: bool, high: bool, expected: u64) {
        let old = 0x1111_2222_3333_4444;
        assert_eq!(loaded(old, 0xFFFF_FFFF_FFFF_FF80, size, width, signed, high), expected);
    }

    #[test]
    fn loads_extend_and_merge() {
        check_loaded(1, 1, false, false, 0x1111_2222_3333_4480);
        check_loaded(1, 1, false, true, 0x1111_2222_3333_8044);
        check_loaded(2, 2, false, false, 0x1111_2222_3333_FF80);
        check_loaded(4, 4, false, false, 0xFFFF_FF80);
        check_loaded(1, 4, false, false, 0x80);
        check_loaded(1, 4, true, false, 0xFFFF_FF80);
        check_loaded(1, 8, true, false, 0xFFFF_FFFF_FFFF_FF80);
        check_loaded(8, 8, false, false, 0xFFFF_FFFF_FFFF_FF80);
    }
}
