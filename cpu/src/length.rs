//! How long an instruction is that the decoder does not take: of more than 15 bytes it is #GP(0), whatever
//! it is. SDM vol. 2, "Intel 64 and IA-32 Architectures Instruction Format"; vol. 3, "Interrupt 13".

use crate::limits::MAX_LEN;
use crate::state::CodeMode;
use iced_x86::{Decoder, DecoderOptions};

fn is_rex(mode: CodeMode, byte: u8) -> bool {
    mode == CodeMode::Bits64 && byte & 0xf0 == 0x40
}

fn is_prefix(mode: CodeMode, byte: u8) -> bool {
    const LEGACY: [u8; 11] = [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
    LEGACY.contains(&byte) || is_rex(mode, byte)
}

/// Whether `bytes` begin an instruction that goes on after its 15th byte; `bits` are those of `mode`.
pub(crate) fn too_long(mode: CodeMode, bits: u32, bytes: &[u8]) -> bool {
    let bytes = &bytes[..bytes.len().min(MAX_LEN)];
    let n = bytes.iter().take_while(|b| is_prefix(mode, **b)).count();
    if bytes.len() < MAX_LEN || n == MAX_LEN {
        return n == MAX_LEN;
    }
    let (prefixes, rest) = bytes.split_at(n);
    n + length(bits, &essence(mode, prefixes), rest) > MAX_LEN
}

/// The prefixes that have a say in the length, once each.
fn essence(mode: CodeMode, prefixes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4);
    out.extend(prefixes.iter().rev().find(|b| matches!(b, 0xf2 | 0xf3)));
    out.extend([0x66, 0x67].iter().filter(|b| prefixes.contains(b)));
    out.extend(prefixes.last().filter(|b| is_rex(mode, **b)));
    out
}

/// The length of the instruction after `prefixes`, of which `rest` are the bytes that there is room
/// for: so few that what follows them does not matter.
fn length(bits: u32, prefixes: &[u8], rest: &[u8]) -> usize {
    let mut bytes = [prefixes, rest].concat();
    bytes.resize(MAX_LEN, 0);
    let i = Decoder::new(bits, &bytes, DecoderOptions::NONE).decode();
    if !i.is_invalid() {
        return i.len() - prefixes.len();
    }
    let mut bytes = rest.to_vec();
    bytes.resize(MAX_LEN, 0);
    // Behind a REX prefix C4 and C5 begin nothing.
    let rex = bits == 64 && prefixes.last().is_some_and(|b| b & 0xf0 == 0x40);
    let vex = (bits == 64 || bytes[1] >= 0xc0) && !rex;
    // Undefined opcodes have the shape of their map. SDM vol. 2, "Opcode Map".
    let (opcode, immediate) = match (bytes[0], bytes[1]) {
        (0x0f, 0x38) => (3, 0),
        (0x0f, 0x3a) => (3, 1),
        (0xc4, map) if vex => (4, (map & 31 == 3) as usize),
        (0xc5, _) if vex => (3, 0),
        (0x0f, _) => return 2,
        _ => return 1,
    };
    let wide = match (bits, prefixes.contains(&0x67)) {
        (16, short) => short,
        (32, short) => !short,
        _ => true,
    };
    opcode + modrm(wide, bytes[opcode], bytes[opcode + 1]) + immediate
}

/// Bytes of ModRM, SIB and displacement. SDM vol. 2, "ModR/M and SIB Bytes".
fn modrm(wide: bool, modrm: u8, sib: u8) -> usize {
    let (mode, rm) = (modrm >> 6, modrm & 7);
    let word = if wide { 4 } else { 2 };
    let with_sib = (wide && rm == 4 && mode != 3) as usize;
    let absolute = match wide {
        true => rm == 5 || rm == 4 && sib & 7 == 5,
        false => rm == 6,
    };
    let displacement = match mode {
        0 if absolute => word,
        1 => 1,
        2 => word,
        _ => 0,
    };
    1 + with_sib + displacement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bits: u32, bytes: &str, expected: bool) {
        let (mode, n) = match bits {
            64 => (CodeMode::Bits64, 15),
            32 => (CodeMode::Bits32, 15),
            _ => (CodeMode::Bits16, 15),
        };
        let byte = |k: usize| u8::from_str_radix(&bytes[2 * k..2 * k + 2], 16);
        let mut b: Vec<u8> = (0..bytes.len() / 2).filter_map(|k| byte(k).ok()).collect();
        b.resize(n, 0);
        assert_eq!(too_long(mode, bits, &b), expected, "{bits} {bytes}");
    }

    #[test]
    fn lengths() {
        // 11 and 12 prefixes before C7 /0 with a doubleword, 14 and 15 before NOP.
        check(64, "2e2e2e2e2e2e2e2e2ec700", false);
        check(64, "2e2e2e2e2e2e2e2e2e2ec700", true);
        check(64, "6666666666666666666666c700", false);
        check(64, "666666666666666666666666c700", true);
        check(32, "666666666666666666666666666690", false);
        check(32, "666666666666666666666666666666", true);
        // LOCK, F2 and REX.W, then C7 /0 with SIB, displacement and immediate: no prefix is there twice.
        check(64, "f0f2646748c784", true);
        check(64, "f06748c784", false);
        // A REX prefix counts where it means nothing too.
        check(64, "4848484848484848484848482ec700", true);
        check(32, "48", false);
        // Undefined opcodes of the maps with one shape.
        check(64, "666764f264460f3aca847b", true);
        check(64, "6764f264460f3aca847b", false);
        check(64, "2e2e2e2e2e2e0f38ff84", false);
        check(64, "2e2e2e2e2e2e2e0f38ff84", true);
        check(16, "2e2e2e2e2e2e2e2e0f38ff84", false);
        check(16, "672e2e2e2e2e2e2e0f38ff84", true);
        check(64, "26f23e64f2c4c305c7bfc7e4001000", false);
        check(64, "26f23e64f248c4c305c7bfc7e40010", false);
        check(64, "26f23e64f23ec4c305c7bfc7e40010", true);
        check(64, "0f04", false);
    }
}
