//! The operands of the tests' assembler.

use iced_x86::{Instruction, OpKind, Register};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The size of a memory operand, an immediate or a branch.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Size(usize);

impl Size {
    pub(crate) fn bytes(self) -> usize {
        self.0
    }
}

/// One operand as written.
#[derive(Debug)]
pub(crate) enum Operand {
    Register(Register),
    /// `selector:offset`, and the bytes that the offset must have.
    Far(u16, u32, Option<Size>),
    /// An immediate or the target of a branch, and the bytes it must have.
    Number(u64, Option<Size>),
    Memory {
        size: Option<Size>,
        segment: Register,
        base: Register,
        index: Register,
        scale: u32,
        displacement: u64,
        /// Bytes of the displacement without base and index.
        address: Option<Size>,
    },
}

impl Operand {
    /// Makes this memory operand the operand `n` of `i`.
    pub(crate) fn address(&self, i: &mut Instruction, bits: u32, n: u32) {
        let Operand::Memory { segment, base, index, scale, displacement, address, .. } = self
        else {
            panic!("{self:?} is no memory operand");
        };
        i.set_op_kind(n, OpKind::Memory);
        i.set_segment_prefix(*segment);
        i.set_memory_base(*base);
        i.set_memory_index(*index);
        i.set_memory_index_scale(*scale);
        i.set_memory_displacement64(*displacement);
        let registers = *base != Register::None || *index != Register::None;
        let size = match address {
            Some(size) => size.0 as u32,
            None if registers => u32::from(*displacement != 0),
            None if bits == 16 && *displacement > 0xffff => 4,
            None => bits / 8,
        };
        i.set_memory_displ_size(size);
    }
}

/// Reads an operand of the instruction at `at`.
#[track_caller]
pub(crate) fn operand(text: &str, at: u64, labels: &BTreeMap<String, u64>) -> Operand {
    if text.contains('[') {
        return memory(text);
    }
    if let Some(register) = register(text) {
        return Operand::Register(register);
    }
    if let Some((selector, offset)) = text.split_once(':') {
        let (size, selector) = sized(selector);
        let number = |text| number(text).unwrap_or_else(|| panic!("{text} is no number"));
        return Operand::Far(number(selector) as u16, number(offset) as u32, size);
    }
    let text = text.strip_prefix("strict ").unwrap_or(text);
    let (size, text) = sized(text);
    let value = number(text)
        .or_else(|| text.strip_prefix('$').map(|rest| at.wrapping_add(offset(rest))))
        .unwrap_or_else(|| labels.get(text).copied().unwrap_or(at));
    Operand::Number(value, size)
}

/// `size segment:[base + index*scale + displacement]`.
#[track_caller]
fn memory(text: &str) -> Operand {
    let (before, inside) = text.split_once('[').expect("a bracket");
    let (size, before) = sized(before.trim());
    let segment = register(before.trim_end_matches(':').trim()).unwrap_or(Register::None);
    let (address, inside) = sized(inside.trim_end_matches(']').trim());
    let mut parts = Address::default();
    let terms = inside.replace('-', "+-");
    for term in terms.split('+').map(str::trim).filter(|term| !term.is_empty()) {
        parts.add(term);
    }
    let Address { base, index, scale, displacement } = parts;
    let scale = scale.max(1);
    Operand::Memory { size, segment, base, index, scale, displacement, address }
}

/// The parts of an address that were read so far.
#[derive(Default)]
struct Address {
    base: Register,
    index: Register,
    scale: u32,
    displacement: u64,
}

impl Address {
    #[track_caller]
    fn add(&mut self, term: &str) {
        if let Some((index, scale)) = term.split_once('*') {
            self.index = register(index.trim()).expect("an index register");
            self.scale = scale.trim().parse().expect("a scale");
        } else if let Some(register) = register(term) {
            let place = if self.base == Register::None { &mut self.base } else { &mut self.index };
            *place = register;
        } else {
            let value = number(term).unwrap_or_else(|| panic!("{term} is no number"));
            self.displacement = self.displacement.wrapping_add(value);
        }
    }
}

/// The size before an operand, if one is said, and the rest.
fn sized(text: &str) -> (Option<Size>, &str) {
    let sizes = [
        ("byte", 1),
        ("short", 1),
        ("word", 2),
        ("dword", 4),
        ("near", 4),
        ("qword", 8),
        ("far", 6),
        ("tbyte", 10),
    ];
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let size = sizes.iter().find(|(name, _)| *name == word).map(|(_, bytes)| Size(*bytes));
    if size.is_some() { (size, rest.trim()) } else { (None, text) }
}

/// `+n`, `-n` or nothing.
fn offset(text: &str) -> u64 {
    number(text.trim_start_matches('+')).unwrap_or(0)
}

/// A decimal or, after `0x`, a hexadecimal number; a minus may stand before either.
pub(crate) fn number(text: &str) -> Option<u64> {
    if let Some(positive) = text.strip_prefix('-') {
        return number(positive.trim()).map(u64::wrapping_neg);
    }
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(&digits.replace('_', ""), 16).ok(),
        None => text.parse().ok(),
    }
}

/// The register `name`. The low bytes of R8 to R15 are `r8b` to `r15b`.
fn register(name: &str) -> Option<Register> {
    static ALL: OnceLock<BTreeMap<String, Register>> = OnceLock::new();
    let named = |r: Register| {
        let name = format!("{r:?}").to_lowercase();
        let number = name.trim_start_matches('r').trim_end_matches('l');
        let low = name.ends_with('l') && number.parse::<u8>().is_ok();
        (if low { format!("r{number}b") } else { name }, r)
    };
    ALL.get_or_init(|| Register::values().skip(1).map(named).collect()).get(name).copied()
}
