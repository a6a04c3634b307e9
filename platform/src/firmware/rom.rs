//! The segment at F000h: the services' code with the data that they answer from, the reset vector, and the
//! interrupt vectors that lead there.
//!
//! DEPARTURE: it is RAM, as the shadow of a BIOS is before a chipset protects it.

use std::collections::BTreeMap;

use crate::memory_map::MemoryMap;

use super::services::{CODE, Row};

/// Where the services lie: the last 8 KiB below 1 MiB.
pub const ROM_BASE: u64 = 0xf_e000;
const SEGMENT: u16 = 0xf000;
/// Offset of [`ROM_BASE`] in the segment.
const START: u16 = 0xe000;
const SIZE: usize = 0x2000;

/// What INT 15h answers with: the number of ranges, then AX and BX of AX=E801h, then AX of AH=88h.
const SIZES: u16 = START;
/// The ranges of AX=E820h.
const RANGES: u16 = 0xe010;
/// The system configuration table of AH=C0h.
const CONFIGURATION: u16 = 0xe1f0;
/// Offset of the services' code.
const CODE_BASE: u16 = 0xe200;
const RESET_VECTOR: u16 = 0xfff0;

const RANGE_SIZE: usize = 20;
/// A PC AT: model FCh, submodel 1; features: second 8259, clock, extended BIOS data area.
const CONFIGURATION_TABLE: [u8; 10] = [8, 0, MODEL, 1, 0, 1 << 6 | 1 << 5 | 1 << 2, 0, 0, 0, 0];
const MODEL: u8 = 0xfc;
const DATE: &[u8; 8] = b"11/30/26";

/// Vectors that are no interrupts, but pointers to tables (none), or the user's.
const NO_VECTORS: [usize; 13] =
    [0x1d, 0x1e, 0x1f, 0x41, 0x43, 0x46, 0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66];
/// The services; what is not here returns at once.
const SERVICES: [(usize, &str); 24] = [
    (0x08, "timer"),
    (0x09, "keyboard"),
    (0x0a, "master_line"),
    (0x0b, "master_line"),
    (0x0c, "master_line"),
    (0x0d, "master_line"),
    (0x0e, "master_line"),
    (0x0f, "master_line"),
    (0x10, "video"),
    (0x11, "equipment"),
    (0x12, "memory_size"),
    (0x13, "drive"),
    (0x15, "system"),
    (0x16, "keys"),
    (0x18, "restart"),
    (0x19, "restart"),
    (0x1a, "time"),
    (0x70, "clock"),
    (0x71, "slave_line"),
    (0x72, "slave_line"),
    (0x73, "slave_line"),
    (0x74, "slave_line"),
    (0x75, "slave_line"),
    (0x76, "slave_line"),
];

/// The content of the ROM, and the interrupt vectors.
pub(super) fn image(map: &MemoryMap) -> (Vec<u8>, Vec<u8>) {
    let (code, labels) = assemble(CODE_BASE);
    let mut rom = vec![0; SIZE];
    let mut put = |at: u16, bytes: &[u8]| {
        let at = usize::from(at - START);
        rom[at..at + bytes.len()].copy_from_slice(bytes);
    };
    put(SIZES, &sizes(map));
    put(RANGES, &ranges(map));
    put(CONFIGURATION, &CONFIGURATION_TABLE);
    put(CODE_BASE, &code);
    put(RESET_VECTOR, &far_jump(labels["restart"]));
    put(RESET_VECTOR + 5, DATE);
    put(RESET_VECTOR + 14, &[MODEL]);
    (rom, vectors(&labels))
}

fn sizes(map: &MemoryMap) -> Vec<u8> {
    let kib = u64::from(map.upper_kib());
    let beyond = map.acpi_base().saturating_sub(16 << 20) >> 16;
    let words = [map.ranges().len() as u64, kib.min(15 << 10), beyond, kib.min(63 << 10)];
    words.into_iter().flat_map(|word| (word as u16).to_le_bytes()).collect()
}

fn ranges(map: &MemoryMap) -> Vec<u8> {
    let ranges = map.ranges();
    let mut bytes = Vec::with_capacity(ranges.len() * RANGE_SIZE);
    for range in ranges {
        bytes.extend(range.base.to_le_bytes());
        bytes.extend(range.size.to_le_bytes());
        bytes.extend((range.kind as u32).to_le_bytes());
    }
    bytes
}

/// `JMP` to an offset of the segment.
fn far_jump(offset: u16) -> Vec<u8> {
    [&[0xea][..], &offset.to_le_bytes(), &SEGMENT.to_le_bytes()].concat()
}

fn vectors(labels: &BTreeMap<&str, u16>) -> Vec<u8> {
    let far = |offset: u16| u32::from(SEGMENT) << 16 | u32::from(offset);
    let mut vectors = [far(labels["done"]); 256];
    for (vector, label) in SERVICES.into_iter().chain([(0x77, "slave_line")]) {
        vectors[vector] = far(labels[label]);
    }
    NO_VECTORS.into_iter().for_each(|vector| vectors[vector] = 0);
    vectors.into_iter().flat_map(u32::to_le_bytes).collect()
}

/// The services' code for offset `base`, and the offsets of its labels.
fn assemble(base: u16) -> (Vec<u8>, BTreeMap<&'static str, u16>) {
    let (mut at, mut labels) = (base, BTreeMap::new());
    for row in CODE {
        if let Row::At(label) = row {
            labels.insert(*label, at);
        }
        at += row.length();
    }
    let mut code = Vec::new();
    for row in CODE {
        let next = base + code.len() as u16 + row.length();
        match row {
            Row::At(_) => {}
            Row::Bytes(bytes) => code.extend(*bytes),
            Row::Short(opcode, label) => {
                code.extend(*opcode);
                code.push(labels[label].wrapping_sub(next) as u8);
            }
            Row::Near(opcode, label) => {
                code.extend(*opcode);
                code.extend(labels[label].wrapping_sub(next).to_le_bytes());
            }
        }
    }
    (code, labels)
}

impl Row {
    /// Bytes of the instruction.
    fn length(&self) -> u16 {
        match self {
            Row::At(_) => 0,
            Row::Bytes(bytes) => bytes.len() as u16,
            Row::Short(opcode, _) => opcode.len() as u16 + 1,
            Row::Near(opcode, _) => opcode.len() as u16 + 2,
        }
    }
}
