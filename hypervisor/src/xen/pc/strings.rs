//! MOVS and STOS, by which firmware copies to and from device memory. SDM vol. 2, "MOVS", "STOS", "REP".

use super::operand::{CodeSize, Prefixes};

/// A MOVS or STOS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strings {
    /// The bytes of an element: 1, 2, 4 or 8.
    pub size: u8,
    /// The length of the instruction, in bytes.
    pub length: u8,
    /// It goes on until the count is 0.
    pub repeated: bool,
    /// The bits of the registers that are addresses and the count.
    pub mask: u64,
    /// The number of the segment that MOVS reads from, ES 0 to GS 5; none for STOS.
    pub source: Option<u8>,
}

impl Strings {
    /// The bytes from address `offset` on before the address register begins at 0 again.
    pub fn before_wrap(&self, offset: u64) -> u64 {
        (self.mask - (offset & self.mask)).saturating_add(1)
    }

    /// The value of an address or count register after `change`; a 32-bit one clears the upper half.
    pub fn advanced(&self, register: u64, change: u64) -> u64 {
        let kept = if self.mask == 0xFFFF { register & !self.mask } else { 0 };
        kept | register.wrapping_add(change) & self.mask
    }
}

/// The instruction that `bytes` begins with; none if it is another.
pub fn decode(bytes: &[u8], code: CodeSize) -> Option<Strings> {
    let (prefixes, opcode, length) = Prefixes::read(bytes, code)?;
    let moves = match opcode {
        0xA4 | 0xA5 => true,
        0xAA | 0xAB => false,
        _ => return None,
    };
    let mask = match (code, prefixes.address) {
        (CodeSize::Bits64, false) => u64::MAX,
        (CodeSize::Bits64 | CodeSize::Bits16, true) | (CodeSize::Bits32, false) => 0xFFFF_FFFF,
        (CodeSize::Bits16, false) | (CodeSize::Bits32, true) => 0xFFFF,
    };
    let size = if opcode & 1 == 0 { 1 } else { prefixes.full(code) as u8 };
    let source = moves.then_some(prefixes.segment());
    let known = !prefixes.lock;
    let length = length as u8;
    known.then_some(Strings { size, length, repeated: prefixes.repeated(), mask, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use CodeSize::{Bits16, Bits32, Bits64};
    use iced_x86::{Code, Decoder, DecoderOptions, OpKind, Register};
    use proptest::prelude::*;

    /// The same by a decoder's tables.
    fn decoded(bytes: &[u8], code: CodeSize) -> Option<Strings> {
        let bits = match code {
            Bits16 => 16,
            Bits32 => 32,
            Bits64 => 64,
        };
        let i = Decoder::new(bits, bytes, DecoderOptions::NONE).decode();
        let (size, moves) = match i.code() {
            Code::Movsb_m8_m8 => (1, true),
            Code::Movsw_m16_m16 => (2, true),
            Code::Movsd_m32_m32 => (4, true),
            Code::Movsq_m64_m64 => (8, true),
            Code::Stosb_m8_AL => (1, false),
            Code::Stosw_m16_AX => (2, false),
            Code::Stosd_m32_EAX => (4, false),
            Code::Stosq_m64_RAX => (8, false),
            _ => return None,
        };
        let mask = match i.op0_kind() {
            OpKind::MemoryESDI => 0xFFFF,
            OpKind::MemoryESEDI => 0xFFFF_FFFF,
            _ => u64::MAX,
        };
        let segments =
            [Register::ES, Register::CS, Register::SS, Register::DS, Register::FS, Register::GS];
        let source = segments.iter().position(|segment| *segment == i.memory_segment());
        let source = source.map(|number| if code == Bits64 { number.max(3) } else { number });
        Some(Strings {
            size,
            length: i.len() as u8,
            repeated: i.has_rep_prefix() || i.has_repne_prefix(),
            mask,
            source: source.map(|number| number as u8).filter(|_| moves),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]

        /// All that a decoder calls MOVS or STOS is one, and nothing else is.
        #[test]
        fn as_a_decoder_has_them(
            code in prop_oneof![Just(Bits16), Just(Bits32), Just(Bits64)],
            prefixes in prop::collection::vec(prop::sample::select(
                vec![0x66_u8, 0x67, 0xF2, 0xF3, 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65]), 0..4),
            rex in prop::option::of(0x40_u8..0x50),
            opcode in prop_oneof![0xA4_u8..0xA6, 0xAA_u8..0xAC, any::<u8>()],
        ) {
            let rex = rex.filter(|_| code == Bits64);
            let bytes: Vec<u8> = prefixes.into_iter().chain(rex).chain([opcode]).collect();
            prop_assert_eq!(decode(&bytes, code), decoded(&bytes, code), "{:x?} {:?}", bytes, code);
        }
    }

    #[test]
    fn registers() {
        let of = |mask| Strings { size: 4, length: 2, repeated: true, mask, source: None };
        let old = 0x1111_2222_FFFF_FFFE;
        assert_eq!(of(0xFFFF).advanced(old, 4), 0x1111_2222_FFFF_0002);
        assert_eq!(of(0xFFFF_FFFF).advanced(old, 4), 2);
        assert_eq!(of(u64::MAX).advanced(old, 4), 0x1111_2223_0000_0002);
        assert_eq!(of(0xFFFF).before_wrap(0xFFF0), 0x10);
        assert_eq!(of(0xFFFF_FFFF).before_wrap(0xFFF0), 0xFFFF_0010);
        assert_eq!(of(u64::MAX).before_wrap(0), u64::MAX);
    }
}
