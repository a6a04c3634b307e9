//! Guest code for a superinstruction's text. The header of `cpu/superinst/exact.txt` has the grammar.

use super::random::Random;
use super::side::{CODE, LANDING, OTHER_LANDING};
use iced_x86::{Code, Encoder, Instruction, OpCodeOperandKind, OpKind, Register};
use std::collections::HashMap;

/// Instruction forms by mnemonic.
pub(crate) struct Assembler(HashMap<String, Vec<Code>>);

/// NEG of R12's low word, which writes all status flags and stands in no superinstruction.
const KILLS_FLAGS: [u8; 4] = [0x66, 0x41, 0xf7, 0xdc];
/// NOP of a word in memory: as far as decoding knows, the flags before it must be exact.
const LONG_NOP: [u8; 3] = [0x0f, 0x1f, 0x00];
const HLT: u8 = 0xf4;

const QWORDS: [Register; 16] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RBX,
    Register::RSP,
    Register::RBP,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

/// What an operand of the text becomes.
#[derive(Clone, Copy)]
enum Operand {
    Register(Register),
    Memory { size: u32, gs: bool, base: Register, index: Register, scale: u32, disp: i32 },
    Immediate(i32),
    Branch(u64),
}

impl Assembler {
    pub(crate) fn new() -> Assembler {
        let mut forms = HashMap::<String, Vec<Code>>::new();
        for code in Code::values() {
            let name = format!("{:?}", code.mnemonic()).to_lowercase();
            forms.entry(name).or_default().push(code);
        }
        Assembler(forms)
    }

    /// Code that does `text` and halts; if `kills_flags`, other status flags are written before that.
    pub(crate) fn program(
        &self,
        text: &str,
        kills_flags: bool,
        random: &mut Random,
    ) -> Option<Vec<u8>> {
        let (mut code, mut last) = (Vec::new(), Register::None);
        for part in text.split(" ; ") {
            let first = part.split_once('+').filter(|(stem, _)| !stem.contains(' '));
            let Some((stem, rest)) = first else {
                self.assemble(part, &mut code, &mut last, random)?;
                continue;
            };
            // Compare and branch in one.
            let (branch, operands) = rest.split_once(' ')?;
            self.assemble(&format!("{stem} {operands}"), &mut code, &mut last, random)?;
            self.assemble(&format!("{branch} same_page"), &mut code, &mut Register::None, random)?;
        }
        if kills_flags {
            code.extend(KILLS_FLAGS);
        }
        code.push(HLT);
        Some(code)
    }

    /// Appends an instruction; `last` is the destination of the one before, then that of this one.
    fn assemble(
        &self,
        text: &str,
        code: &mut Vec<u8>,
        last: &mut Register,
        random: &mut Random,
    ) -> Option<()> {
        if text == "nop" && random.below(2) == 0 {
            code.extend(LONG_NOP);
            return Some(());
        }
        let text = text.strip_prefix("{nf} ").unwrap_or(text);
        let load = text.starts_with("{load} ");
        let text = text.strip_prefix("{load} ").unwrap_or(text);
        let (mnemonic, operands) = text.split_once(' ').unwrap_or((text, ""));
        let operands = operands.split(", ").filter(|o| !o.is_empty());
        let shift = matches!(mnemonic, "shl" | "shr" | "sar" | "rol" | "ror");
        let operands: Vec<Operand> =
            operands.map(|o| operand(o, *last, shift, random)).collect::<Option<_>>()?;
        if let Some(Operand::Register(register)) = operands.first() {
            *last = *register;
        }
        let ip = CODE + code.len() as u64;
        let forms = self.0.get(mnemonic)?.iter().filter(|form| {
            !load || form.op_code().op_kind(1) != form.op_code().op_kind(0) && from_rm(**form)
        });
        let bytes = forms.into_iter().find_map(|form| encode(*form, &operands, ip))?;
        code.extend(bytes);
        Some(())
    }
}

/// Whether the second operand is register or memory.
fn from_rm(code: Code) -> bool {
    use OpCodeOperandKind::*;
    matches!(code.op_code().op_kind(1), r8_or_mem | r16_or_mem | r32_or_mem | r64_or_mem)
}

/// The instruction's bytes, if the form takes these operands.
fn encode(code: Code, operands: &[Operand], ip: u64) -> Option<Vec<u8>> {
    let form = code.op_code();
    if form.op_count() as usize != operands.len() || !form.mode64() {
        return None;
    }
    let mut i = Instruction::default();
    i.set_code(code);
    for (k, operand) in (0..).zip(operands) {
        match *operand {
            Operand::Register(register) => {
                i.set_op_kind(k, OpKind::Register);
                i.set_op_register(k, register);
            }
            Operand::Memory { size, gs, base, index, scale, disp } => {
                if size != 0 && i.memory_size().size() != size as usize {
                    return None;
                }
                i.set_op_kind(k, OpKind::Memory);
                i.set_memory_base(base);
                i.set_memory_index(index);
                i.set_memory_index_scale(scale);
                i.set_memory_displ_size(8);
                let rip = if base == Register::RIP { ip } else { 0 };
                i.set_memory_displacement64(rip.wrapping_add(disp as i64 as u64));
                if gs {
                    i.set_segment_prefix(Register::GS);
                }
            }
            Operand::Immediate(value) => {
                i.set_op_kind(k, immediate(form.op_kind(k), value)?);
                i.set_immediate_i64(k, value as i64);
            }
            Operand::Branch(target) => {
                let near = matches!(form.op_kind(k), OpCodeOperandKind::br64_4);
                if !near {
                    return None;
                }
                i.set_op_kind(k, OpKind::NearBranch64);
                i.set_near_branch64(target);
            }
        }
    }
    let mut encoder = Encoder::new(64);
    encoder.encode(&i, ip).ok()?;
    Some(encoder.take_buffer())
}

/// The kind of operand, if the value fits.
fn immediate(kind: OpCodeOperandKind, value: i32) -> Option<OpKind> {
    use OpCodeOperandKind::{imm8, imm8sex16, imm8sex32, imm8sex64, imm16};
    let short = matches!(kind, imm8 | imm8sex16 | imm8sex32 | imm8sex64);
    if short && i8::try_from(value).is_err() || kind == imm16 && i16::try_from(value).is_err() {
        return None;
    }
    Some(match kind {
        OpCodeOperandKind::imm8 => OpKind::Immediate8,
        OpCodeOperandKind::imm16 => OpKind::Immediate16,
        OpCodeOperandKind::imm32 => OpKind::Immediate32,
        OpCodeOperandKind::imm64 => OpKind::Immediate64,
        OpCodeOperandKind::imm8sex16 => OpKind::Immediate8to16,
        OpCodeOperandKind::imm8sex32 => OpKind::Immediate8to32,
        OpCodeOperandKind::imm8sex64 => OpKind::Immediate8to64,
        OpCodeOperandKind::imm32sex64 => OpKind::Immediate32to64,
        _ => return None,
    })
}

/// The operand that `text` stands for; `last` is the destination of the instruction before.
fn operand(text: &str, last: Register, shift: bool, random: &mut Random) -> Option<Operand> {
    match text {
        // A shift by 32 may leave the flags, as far as decoding knows.
        "imm" if shift && random.below(2) == 0 => return Some(Operand::Immediate(32)),
        "imm" if shift => return Some(Operand::Immediate(1 + random.below(7) as i32)),
        // Compare and branch of memory are one only if it is short.
        "imm" if random.below(4) == 0 => return Some(Operand::Immediate(random.next() as i32)),
        "imm" => return Some(Operand::Immediate((random.next() as i8).into())),
        "same_page" => return Some(Operand::Branch(CODE + LANDING)),
        "other_page" => return Some(Operand::Branch(CODE + OTHER_LANDING)),
        _ => {}
    }
    let Some((before, inner)) = text.strip_suffix(']').and_then(|t| t.split_once('[')) else {
        return register(text, last, random).map(Operand::Register);
    };
    let size = match before.split(' ').next()? {
        "byte" => 1,
        "word" => 2,
        "dword" => 4,
        "qword" => 8,
        "xmmword" => 16,
        _ => 0,
    };
    let (base, index) = inner.split_once('+').unwrap_or((inner, "none"));
    let (index, scale) = index.split_once('*').unwrap_or((index, ""));
    let index = register(index, last, random)?;
    let drawn = 1 << random.below(4);
    let scale = if index == Register::None { 1 } else { scale.parse().unwrap_or(drawn) };
    let base = register(base, last, random)?;
    let disp = random.below(64) as i32 - 16 & if random.below(2) == 0 { -16 } else { -1 };
    // What has no base is in the data all the same, or there is a scaled index.
    let disp = if base == Register::None && index == Register::None {
        super::side::DATA as i32 + 64 + disp
    } else if base == Register::RIP {
        (super::side::DATA - CODE) as i32 + disp
    } else {
        disp
    };
    Some(Operand::Memory { size, gs: before.contains("seg:"), base, index, scale, disp })
}

/// The register of a name; one of those that a class has.
fn register(name: &str, last: Register, random: &mut Random) -> Option<Register> {
    let (linked, name) = name.strip_prefix('=').map_or((false, name), |rest| (true, rest));
    let mut any = |from: usize| QWORDS[from + random.below(16 - from as u64) as usize];
    let full = match name {
        "none" => return Some(Register::None),
        "rip" => return Some(Register::RIP),
        "xmm" => return Some(Register::XMM0 + random.below(16) as u32),
        "st" => return Some(Register::ST0 + random.below(8) as u32),
        "reg" => any(0),
        "other" => any(3),
        _ if name.starts_with("reg") => any(0),
        _ if name.starts_with("other") => any(3),
        _ => {
            return Register::values().find(|r| format!("{r:?}").to_lowercase() == iced_name(name));
        }
    };
    let full = if linked { last.full_register() } else { full };
    let k = QWORDS.iter().position(|q| *q == full)? as u32;
    Some(match name.trim_start_matches(|c: char| c.is_alphabetic()) {
        "8" if k < 4 => Register::AL + k,
        "8" => Register::SPL + (k - 4),
        "16" => Register::AX + k,
        "32" => Register::EAX + k,
        _ => full,
    })
}

/// What iced calls a register: R8L, and so on.
fn iced_name(name: &str) -> String {
    let numbered = name.starts_with('r') && name.ends_with('b') && name.len() > 2;
    match numbered && name.as_bytes()[1].is_ascii_digit() {
        true => name.replace('b', "l"),
        false => name.to_owned(),
    }
}
