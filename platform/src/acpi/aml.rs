//! A small AML encoder: the terms and resource descriptors that the DSDT consists of.
//!
//! ACPI, "ACPI Machine Language (AML) Specification" and "Resource Data Types for ACPI".

/// An encoded term.
pub(super) type Aml = Vec<u8>;

/// `PkgLength` before a package of `length` bytes.
fn package_length(length: usize) -> Aml {
    if length + 1 < 0x40 {
        return vec![(length + 1) as u8];
    }
    // The lead byte has the number of further bytes and four bits; the length includes them all.
    let further = if length + 2 < 1 << 12 {
        1
    } else if length + 3 < 1 << 20 {
        2
    } else {
        3
    };
    let total = length + 1 + further;
    let mut bytes = vec![(further as u8) << 6 | (total & 15) as u8];
    bytes.extend((0..further).map(|index| (total >> (4 + 8 * index)) as u8));
    bytes
}

/// An opcode, the length of the rest, and the rest.
fn package_with(opcode: &[u8], parts: &[&[u8]]) -> Aml {
    let length = parts.iter().map(|part| part.len()).sum();
    [opcode, &package_length(length), &parts.concat()].concat()
}

/// `NameString`: one segment of up to four characters, perhaps after a `\`.
fn name_string(name: &str) -> Aml {
    let (mut bytes, segment) = match name.strip_prefix('\\') {
        Some(rest) => (vec![b'\\'], rest),
        None => (vec![], name),
    };
    bytes.extend(segment.bytes().chain([b'_'; 4]).take(4));
    bytes
}

/// An integer in its shortest form.
pub(super) fn integer(value: u32) -> Aml {
    match value {
        0 => vec![0x00],
        1 => vec![0x01],
        2..=0xff => vec![0x0a, value as u8],
        0x100..=0xffff => [&[0x0b][..], &(value as u16).to_le_bytes()].concat(),
        _ => [&[0x0c][..], &value.to_le_bytes()].concat(),
    }
}

/// A string, with its ending zero.
pub(super) fn string(text: &str) -> Aml {
    [&[0x0d], text.as_bytes(), &[0]].concat()
}

/// `EISAID("PNP0A08")`: three letters and four hexadecimal digits in a compressed integer.
pub(super) fn eisa_id(id: &[u8; 7]) -> Aml {
    let letters = id[..3].iter().fold(0u32, |value, &letter| value << 5 | u32::from(letter - b'@'));
    let digit = |&digit: &u8| (digit as char).to_digit(16).unwrap_or(0);
    let digits = id[3..].iter().fold(0, |value, byte| value << 4 | digit(byte));
    integer((letters << 16 | digits).swap_bytes())
}

/// `Package () { … }`.
pub(super) fn package(elements: &[Aml]) -> Aml {
    package_with(&[0x12], &[&[elements.len() as u8], &elements.concat()])
}

/// `Name (name, value)`.
pub(super) fn name(name: &str, value: &[u8]) -> Aml {
    [&[0x08][..], &name_string(name), value].concat()
}

/// `Scope (name) { … }`.
pub(super) fn scope(name: &str, terms: &[Aml]) -> Aml {
    package_with(&[0x10], &[&name_string(name), &terms.concat()])
}

/// `Device (name) { … }`.
pub(super) fn device(name: &str, terms: &[Aml]) -> Aml {
    package_with(&[0x5b, 0x82], &[&name_string(name), &terms.concat()])
}

/// `ResourceTemplate () { … }`: a buffer that ends with an end tag (checksum 0: not computed).
pub(super) fn resources(descriptors: &[Aml]) -> Aml {
    let bytes = [descriptors.concat(), vec![0x79, 0]].concat();
    package_with(&[0x11], &[&integer(bytes.len() as u32), &bytes])
}

/// `IO (Decode16, base, base, 1, length)`.
pub(super) fn io(base: u16, length: u8) -> Aml {
    let [low, high] = base.to_le_bytes();
    vec![0x47, 1, low, high, low, high, 1, length]
}

/// `IRQNoFlags () {irq}`: edge triggered, active high.
pub(super) fn irq(irq: u8) -> Aml {
    let [low, high] = (1u16 << (irq & 15)).to_le_bytes();
    vec![0x22, low, high]
}

/// `Memory32Fixed (ReadWrite, base, length)`.
pub(super) fn memory32(base: u32, length: u32) -> Aml {
    [&[0x86, 9, 0, 1][..], &base.to_le_bytes(), &length.to_le_bytes()].concat()
}

/// Minimum and maximum of an address range are fixed.
const FIXED: u8 = 0x0c;

/// A word address space: `kind` 1 is I/O (all of it, not ISA ranges only), 2 is bus numbers.
fn word_space(kind: u8, flags: u8, first: u16, last: u16) -> Aml {
    let length = (last - first).wrapping_add(1);
    let words = [0, first, last, 0, length].map(u16::to_le_bytes).concat();
    [&[0x88, 13, 0, kind, FIXED, flags][..], &words].concat()
}

/// `WordBusNumber`: the buses behind a bridge.
pub(super) fn buses(first: u16, last: u16) -> Aml {
    word_space(2, 0, first, last)
}

/// `WordIO`: ports that a bridge passes on.
pub(super) fn ports(first: u16, last: u16) -> Aml {
    word_space(1, 3, first, last)
}

/// `DWordMemory`: non-cacheable, writable memory space that a bridge passes on.
pub(super) fn memory_window(first: u32, last: u32) -> Aml {
    let words = [0, first, last, 0, (last - first).wrapping_add(1)].map(u32::to_le_bytes).concat();
    [&[0x87, 23, 0, 0, FIXED, 1][..], &words].concat()
}
