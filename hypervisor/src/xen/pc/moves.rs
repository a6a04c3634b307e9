//! The moves between registers, or immediate values, and memory: the instructions by which drivers access device memory.
//! SDM vol. 2, "MOV", "MOVSX/MOVSXD", "MOVZX".

use super::operand::{CodeSize, Prefixes};

/// A move from or to memory, whose address the exit tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// The bytes of memory: 1, 2, 4 or 8.
    pub size: u8,
    /// The length of the instruction, in bytes.
    pub length: u8,
    /// What is moved, and where to.
    pub action: Action,
}

/// What a move does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Memory to a register; with `signed` by sign extension.
    Load {
        /// The register that is loaded.
        to: Register,
        /// The highest bit that is read is repeated above.
        signed: bool,
    },
    /// A register to memory.
    Store(Register),
    /// A value to memory.
    StoreImmediate(u64),
}

/// A part of a general register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register {
    /// The register, 0 RAX … 15 R15.
    pub number: u8,
    /// The bytes of the part: 1, 2, 4 or 8.
    pub width: u8,
    /// The part begins at bit 8: AH, CH, DH or BH.
    pub high: bool,
}

fn mask(bytes: u8) -> u64 {
    u64::MAX >> (64 - 8 * u32::from(bytes))
}

impl Register {
    /// The part in the register's value `all`.
    pub fn part(self, all: u64) -> u64 {
        all >> (8 * u32::from(self.high)) & mask(self.width)
    }

    /// The register's value `all` with another part; one of 32 bits clears the upper half.
    pub fn merged(self, all: u64, part: u64) -> u64 {
        let shift = 8 * u32::from(self.high);
        let kept = if self.width == 4 { 0 } else { all & !(mask(self.width) << shift) };
        kept | (part & mask(self.width)) << shift
    }
}

impl Move {
    /// The value that a load of `read` brings to a register.
    pub fn extended(&self, read: u64) -> u64 {
        let unused = 64 - 8 * u32::from(self.size);
        match self.action {
            Action::Load { signed: true, .. } => ((read << unused) as i64 >> unused) as u64,
            _ => read & mask(self.size),
        }
    }
}

/// The rest of an instruction's bytes.
struct Rest<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Rest<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied();
        self.at += 1;
        byte
    }

    /// A little-endian value of `size` bytes, sign-extended.
    fn value(&mut self, size: usize) -> Option<u64> {
        let bytes = self.bytes.get(self.at..self.at + size)?;
        self.at += size;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let sign = if negative { u64::MAX } else { 0 };
        Some(bytes.iter().rev().fold(sign, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// The reg field of `ModRM`; the rest of the address is passed over. None if the operand is no memory.
    fn mod_rm(&mut self, wide_address: bool) -> Option<u8> {
        let byte = self.byte()?;
        let (mode, reg, mut base) = (byte >> 6, byte >> 3 & 7, byte & 7);
        let displacement = if wide_address {
            if base == 4 {
                base = self.byte()? & 7;
            }
            match (mode, base) {
                (0, 5) | (2, _) => 4,
                (1, _) => 1,
                _ => 0,
            }
        } else {
            match (mode, base) {
                (0, 6) | (2, _) => 2,
                (1, _) => 1,
                _ => 0,
            }
        };
        self.value(displacement).filter(|_| mode != 3).map(|_| reg)
    }
}

/// The move that `bytes` begins with; none if it is another instruction.
pub fn decode(bytes: &[u8], code: CodeSize) -> Option<Move> {
    let (prefixes, opcode, at) = Prefixes::read(bytes, code)?;
    if prefixes.lock {
        return None;
    }
    let mut rest = Rest { bytes, at };
    let full = prefixes.full(code) as u8;
    let long = code == CodeSize::Bits64;
    let wide_address = long || prefixes.address != (code == CodeSize::Bits32);
    let sized = |opcode: u8| if opcode & 1 == 0 { 1 } else { full };
    let load = |to, signed| Action::Load { to, signed };
    let (size, action) = match opcode {
        0x88..=0x8B => {
            let size = sized(opcode);
            let register = prefixes.register(rest.mod_rm(wide_address)?, size);
            let store = opcode < 0x8A;
            (size, if store { Action::Store(register) } else { load(register, false) })
        }
        0x63 if long => {
            let to = prefixes.register(rest.mod_rm(true)?, full);
            (full.min(4), load(to, true))
        }
        0xA0..=0xA3 => {
            let size = sized(opcode);
            let accumulator = Register { number: 0, width: size, high: false };
            rest.at += match (long, prefixes.address) {
                (true, false) => 8,
                _ if wide_address => 4,
                _ => 2,
            };
            let store = opcode >= 0xA2;
            (size, if store { Action::Store(accumulator) } else { load(accumulator, false) })
        }
        0xC6 | 0xC7 => {
            let size = sized(opcode);
            rest.mod_rm(wide_address).filter(|&reg| reg == 0)?;
            let value = rest.value(usize::from(size.min(4)))?;
            (size, Action::StoreImmediate(value & mask(size)))
        }
        0x0F => {
            let opcode = rest.byte().filter(|op| matches!(op, 0xB6 | 0xB7 | 0xBE | 0xBF))?;
            let to = prefixes.register(rest.mod_rm(wide_address)?, full);
            (if opcode & 1 == 0 { 1 } else { 2 }, load(to, opcode >= 0xBE))
        }
        _ => return None,
    };
    (rest.at <= bytes.len()).then_some(Move { size, length: rest.at as u8, action })
}

#[cfg(test)]
mod tests {
    use super::*;
    use CodeSize::{Bits16, Bits32, Bits64};
    use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};
    use proptest::prelude::*;

    /// The same by a decoder's tables.
    fn decoded(bytes: &[u8], code: CodeSize) -> Option<Move> {
        let bits = match code {
            Bits16 => 16,
            Bits32 => 32,
            Bits64 => 64,
        };
        let i = Decoder::new(bits, bytes, DecoderOptions::NONE).decode();
        let moves = [Mnemonic::Mov, Mnemonic::Movsx, Mnemonic::Movzx, Mnemonic::Movsxd];
        let memory = i.op_kinds().position(|kind| kind == OpKind::Memory);
        if !moves.contains(&i.mnemonic()) || i.has_lock_prefix() {
            return None;
        }
        let action = match (memory?, i.op_kind(1)) {
            (0, OpKind::Register) => Action::Store(register(&i, 1)?),
            (0, _) => Action::StoreImmediate(i.immediate(1)),
            _ => {
                let signed = matches!(i.mnemonic(), Mnemonic::Movsx | Mnemonic::Movsxd);
                Action::Load { to: register(&i, 0)?, signed }
            }
        };
        let size = i.memory_size().size() as u8;
        let action = match action {
            Action::StoreImmediate(value) => Action::StoreImmediate(value & mask(size)),
            action => action,
        };
        Some(Move { size, length: i.len() as u8, action })
    }

    fn register(i: &Instruction, operand: u32) -> Option<Register> {
        let register = i.op_register(operand);
        let high = register.is_gpr8() && (4..8).contains(&(register as u32 - 1));
        let number = register.full_register().number() as u8;
        register.is_gpr().then_some(Register { number, width: register.size() as u8, high })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        /// All that a decoder calls such a move is one, and nothing else is.
        #[test]
        fn as_a_decoder_has_them(
            code in prop_oneof![Just(Bits16), Just(Bits32), Just(Bits64)],
            prefixes in prop::collection::vec(
                prop::sample::select(vec![0x66_u8, 0x67, 0xF0, 0xF2, 0xF3, 0x2E, 0x64]), 0..3),
            rex in prop::option::of(0x40_u8..0x50),
            opcode in prop_oneof![
                (0x88_u8..0x8C).prop_map(|op| vec![op]),
                (0xA0_u8..0xA4).prop_map(|op| vec![op]),
                (0xC6_u8..0xC8).prop_map(|op| vec![op]),
                Just(vec![0x63]),
                prop::sample::select(vec![0xB6_u8, 0xB7, 0xBE, 0xBF]).prop_map(|op| vec![0x0F, op]),
                any::<u8>().prop_map(|op| vec![op]),
                any::<u8>().prop_map(|op| vec![0x0F, op]),
            ],
            tail in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            let rex = rex.filter(|_| code == Bits64);
            let bytes: Vec<u8> =
                prefixes.into_iter().chain(rex).chain(opcode).chain(tail).take(15).collect();
            prop_assert_eq!(decode(&bytes, code), decoded(&bytes, code), "{:x?} {:?}", bytes, code);
        }

        /// As the processor that this runs on merges and extends.
        #[test]
        fn parts(all: u64, part: u64) {
            let register = |width, high| Register { number: 0, width, high };
            let [_, second, ..] = all.to_le_bytes();
            prop_assert_eq!(register(1, true).part(all), u64::from(second));
            prop_assert_eq!(register(2, false).part(all), u64::from(all as u16));
            prop_assert_eq!(register(8, false).merged(all, part), part);
            prop_assert_eq!(register(4, false).merged(all, part), u64::from(part as u32));
            let mut bytes = all.to_le_bytes();
            bytes[1] = part as u8;
            prop_assert_eq!(register(1, true).merged(all, part), u64::from_le_bytes(bytes));
            bytes = all.to_le_bytes();
            bytes[0] = part as u8;
            prop_assert_eq!(register(1, false).merged(all, part), u64::from_le_bytes(bytes));
            bytes[1] = (part >> 8) as u8;
            prop_assert_eq!(register(2, false).merged(all, part), u64::from_le_bytes(bytes));
            let load = |size, signed| {
                let to = register(8, false);
                Move { size, length: 3, action: Action::Load { to, signed } }.extended(part)
            };
            prop_assert_eq!(load(1, true), part as i8 as u64);
            prop_assert_eq!(load(2, true), part as i16 as u64);
            prop_assert_eq!(load(4, true), part as i32 as u64);
            prop_assert_eq!(load(4, false), u64::from(part as u32));
            prop_assert_eq!(load(8, true), part);
        }
    }

    #[test]
    fn beside_moves() {
        assert_eq!(decode(&[], Bits64), None);
        assert_eq!(decode(&[0x8B, 0xC0], Bits64), None);
        assert_eq!(decode(&[0xC6, 0x08, 0], Bits64), None);
    }
}
