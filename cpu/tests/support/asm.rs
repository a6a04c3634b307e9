//! Guest code written as text: an assembler on top of iced's encoder.
//!
//! Statements are parted by `;`. `l:` is a label, `$` the start of the statement, `db 0x0f, 0x0b` bytes as
//! they are. Of the encodings that fit, the shortest is taken; as in NASM, `strict dword 1` asks for an
//! immediate of that size, `jmp near l` for a long branch, and `[qword 0x1000]` for an address of that size.

use super::operand::{Operand, Size, operand};
use iced_x86::{Code, Encoder, Instruction, OpCodeOperandKind, OpKind, Register};
use std::collections::BTreeMap;
use std::sync::OnceLock;

type Labels = BTreeMap<String, u64>;

/// The machine code of `text` for `bits` (16, 32 or 64), to stand at `at`.
#[track_caller]
pub(crate) fn assemble(bits: u32, at: u64, text: &str) -> Vec<u8> {
    let mut labels = Labels::new();
    // Branches become shorter once their targets are known, and targets nearer.
    loop {
        let before = labels.clone();
        let code = pass(bits, at, text, &mut labels);
        if labels == before {
            return code;
        }
    }
}

/// Assembles with the labels of the last pass, and enters those of this one.
fn pass(bits: u32, at: u64, text: &str, labels: &mut Labels) -> Vec<u8> {
    let mut code = Vec::new();
    for statement in text.split([';', '\n']) {
        let here = at + code.len() as u64;
        let mut rest = statement.trim();
        if let Some((label, after)) = rest.split_once(':').filter(|(label, _)| is_label(label)) {
            labels.insert(label.to_owned(), here);
            rest = after.trim();
        }
        if let Some(bytes) = rest.strip_prefix("db ") {
            code.extend(bytes.split(',').map(|b| super::operand::number(b.trim()).unwrap() as u8));
        } else if !rest.is_empty() {
            code.extend(statement_code(bits, here, rest, labels));
        }
    }
    code
}

fn is_label(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && !text.contains([' ', ',', '['])
}

/// The shortest encoding of one instruction.
fn statement_code(bits: u32, at: u64, text: &str, labels: &Labels) -> Vec<u8> {
    let (prefix, rest) = prefix(text);
    let (name, operands) = rest.split_once(' ').unwrap_or((rest, ""));
    let operands: Vec<Operand> = commas(operands).map(|o| operand(o, at, labels)).collect();
    let fits = codes(name).iter().filter(|code| size_fits(**code, &operands));
    let encodings = fits.filter_map(|code| encode(bits, at, *code, prefix, &operands));
    // Where nothing says the operand's size, as for `push 1`, it is the mode's.
    let shortest = encodings.min_by_key(|code| (code[0] == 0x66, code.len()));
    shortest.unwrap_or_else(|| panic!("`{text}` is no instruction of {bits}-bit code"))
}

fn prefix(text: &str) -> (&str, &str) {
    let prefixes = ["rep", "repe", "repne", "lock"];
    text.split_once(' ').filter(|(word, _)| prefixes.contains(word)).unwrap_or(("", text))
}

/// The operands, which commas part.
fn commas(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|operand| !operand.is_empty())
}

/// The forms of the mnemonic `name`.
fn codes(name: &str) -> &'static [Code] {
    static ALL: OnceLock<BTreeMap<String, Vec<Code>>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let mut all = BTreeMap::<_, Vec<Code>>::new();
        for code in Code::values() {
            all.entry(format!("{:?}", code.mnemonic()).to_lowercase()).or_default().push(code);
        }
        all
    });
    all.get(name).map_or(&[], Vec::as_slice)
}

/// Whether the memory operand of `code` has the sizes that are asked for, if any are.
fn size_fits(code: Code, operands: &[Operand]) -> bool {
    let info = code.op_code();
    let offset = || info.op_kinds().contains(&OpCodeOperandKind::mem_offs);
    operands.iter().all(|operand| match operand {
        Operand::Memory { size, address, .. } => {
            size.is_none_or(|size| info.memory_size().size() == size.bytes())
                && address.is_none_or(|address| address.bytes() < 8 || offset())
        }
        _ => true,
    })
}

fn encode(bits: u32, at: u64, code: Code, prefix: &str, operands: &[Operand]) -> Option<Vec<u8>> {
    let mut i = Instruction::default();
    i.set_code(code);
    match prefix {
        "rep" | "repe" => i.set_has_rep_prefix(true),
        "repne" => i.set_has_repne_prefix(true),
        "lock" => i.set_has_lock_prefix(true),
        _ => {}
    }
    let info = code.op_code();
    let kinds = info.op_kinds().iter().copied();
    let explicit = operands.len() == info.op_count() as usize;
    if !explicit && !operands.is_empty() {
        return None;
    }
    for (n, kind) in kinds.enumerate() {
        let n = n as u32;
        if explicit {
            set(&mut i, bits, n, kind, &operands[n as usize])?
        } else {
            imply(&mut i, bits, n, kind)?
        }
    }
    emit(bits, at, i)
}

/// Encodes `i`, whose operand relative to RIP counts from the next instruction.
fn emit(bits: u32, at: u64, mut i: Instruction) -> Option<Vec<u8>> {
    if i.memory_base() == Register::RIP {
        let distance = i.memory_displacement64();
        i.set_memory_displacement64(at);
        let length = encoded(bits, at, &i)?.len() as u64;
        i.set_memory_displacement64(distance.wrapping_add(at + length));
    }
    encoded(bits, at, &i)
}

fn encoded(bits: u32, at: u64, i: &Instruction) -> Option<Vec<u8>> {
    let mut encoder = Encoder::try_new(bits).ok()?;
    encoder.encode(i, at).ok()?;
    Some(encoder.take_buffer())
}

/// Sets operand `n`, of `kind` in this form.
fn set(
    i: &mut Instruction,
    bits: u32,
    n: u32,
    kind: OpCodeOperandKind,
    operand: &Operand,
) -> Option<()> {
    match operand {
        Operand::Register(register) => {
            i.set_op_kind(n, OpKind::Register);
            i.set_op_register(n, *register);
        }
        Operand::Memory { .. } => operand.address(i, bits, n),
        Operand::Far(selector, offset, size) => {
            let bytes = size.map_or(if bits == 16 { 2 } else { 4 }, Size::bytes);
            i.set_far_branch_selector(*selector);
            match (kind, bytes) {
                (OpCodeOperandKind::farbr2_2, 2) => {
                    i.set_op_kind(n, OpKind::FarBranch16);
                    i.set_far_branch16(*offset as u16);
                }
                (OpCodeOperandKind::farbr4_2, 4) => {
                    i.set_op_kind(n, OpKind::FarBranch32);
                    i.set_far_branch32(*offset);
                }
                _ => return None,
            }
        }
        Operand::Number(..) if foreign_branch(kind, bits) => return None,
        Operand::Number(value, size) => number(i, n, kind, *value, *size)?,
    }
    Some(())
}

/// Whether this is the target of a branch whose width is not the mode's.
fn foreign_branch(kind: OpCodeOperandKind, bits: u32) -> bool {
    use OpCodeOperandKind::*;
    match kind {
        br16_1 | br16_2 => bits != 16,
        br32_1 | br32_4 => bits != 32,
        br64_1 | br64_4 => bits != 64,
        _ => false,
    }
}

/// An immediate or the target of a branch.
fn number(
    i: &mut Instruction,
    n: u32,
    kind: OpCodeOperandKind,
    value: u64,
    size: Option<Size>,
) -> Option<()> {
    let (op_kind, bytes) = number_kind(kind)?;
    if size.is_some_and(|size| size.bytes() != bytes) {
        return None;
    }
    i.set_op_kind(n, op_kind);
    match op_kind {
        OpKind::NearBranch16 => i.set_near_branch16(value as u16),
        OpKind::NearBranch32 => i.set_near_branch32(value as u32),
        OpKind::NearBranch64 => i.set_near_branch64(value),
        _ => return immediate(i, n, op_kind, value),
    }
    Some(())
}

/// The kind of an operand that is a number, and its bytes in the encoding.
fn number_kind(kind: OpCodeOperandKind) -> Option<(OpKind, usize)> {
    use OpCodeOperandKind::*;
    Some(match kind {
        imm8 | imm8_const_1 => (OpKind::Immediate8, 1),
        imm8sex16 => (OpKind::Immediate8to16, 1),
        imm8sex32 => (OpKind::Immediate8to32, 1),
        imm8sex64 => (OpKind::Immediate8to64, 1),
        imm16 => (OpKind::Immediate16, 2),
        imm32 => (OpKind::Immediate32, 4),
        imm32sex64 => (OpKind::Immediate32to64, 4),
        imm64 => (OpKind::Immediate64, 8),
        br16_1 => (OpKind::NearBranch16, 1),
        br16_2 => (OpKind::NearBranch16, 2),
        br32_1 => (OpKind::NearBranch32, 1),
        br32_4 => (OpKind::NearBranch32, 4),
        br64_1 => (OpKind::NearBranch64, 1),
        br64_4 => (OpKind::NearBranch64, 4),
        _ => return Option::None,
    })
}

/// An immediate that the form's kind can hold.
fn immediate(i: &mut Instruction, n: u32, kind: OpKind, value: u64) -> Option<()> {
    let signed = value as i64;
    let fits = match kind {
        OpKind::Immediate8 => (-0x80..=0xff).contains(&signed),
        OpKind::Immediate16 => (-0x8000..=0xffff).contains(&signed),
        OpKind::Immediate32 => (-0x8000_0000..=0xffff_ffff).contains(&signed),
        OpKind::Immediate32to64 => i32::try_from(signed).is_ok(),
        OpKind::Immediate64 => true,
        _ => i8::try_from(signed).is_ok(),
    };
    fits.then(|| i.set_immediate_i64(n, signed))
}

/// An operand that the mnemonic implies.
fn imply(i: &mut Instruction, bits: u32, n: u32, kind: OpCodeOperandKind) -> Option<()> {
    use OpCodeOperandKind as K;
    let by_mode = |kinds: [OpKind; 3]| kinds[bits.trailing_zeros() as usize - 4];
    let source = [OpKind::MemorySegSI, OpKind::MemorySegESI, OpKind::MemorySegRSI];
    let destination = [OpKind::MemoryESDI, OpKind::MemoryESEDI, OpKind::MemoryESRDI];
    let register = match kind {
        K::seg_rSI => {
            i.set_op_kind(n, by_mode(source));
            return Some(());
        }
        K::es_rDI => {
            i.set_op_kind(n, by_mode(destination));
            return Some(());
        }
        K::al => Register::AL,
        K::ax => Register::AX,
        K::eax => Register::EAX,
        K::rax => Register::RAX,
        K::dx => Register::DX,
        _ => return None,
    };
    i.set_op_kind(n, OpKind::Register);
    i.set_op_register(n, register);
    Some(())
}
