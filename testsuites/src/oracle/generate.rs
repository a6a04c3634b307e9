//! Cases: every instruction form, from its opcode, with random prefixes, operands and states.

use super::aim::aim;
use super::vary::vary;
use super::{Case, Mode, Random, encode};
use iced_x86::{Code, EncodingKind, Mnemonic, OpCodeTableKind, OpKind};

/// The forms that end in a signal: what is privileged too, which faults.
pub fn forms(mode: Mode) -> Vec<Code> {
    Code::values().filter(|&c| wanted(mode, c)).collect()
}

/// Whether the form exists in a mode.
fn available(mode: Mode, code: Code) -> bool {
    let o = code.op_code();
    match mode {
        Mode::Bits64 => o.mode64(),
        Mode::Bits32 => o.mode32(),
        Mode::Bits16 => o.mode16(),
    }
}

fn wanted(mode: Mode, code: Code) -> bool {
    let o = code.op_code();
    let legacy = matches!(o.encoding(), EncodingKind::Legacy | EncodingKind::VEX);
    let tables = matches!(
        o.table(),
        OpCodeTableKind::Normal
            | OpCodeTableKind::T0F
            | OpCodeTableKind::T0F38
            | OpCodeTableKind::T0F3A
    );
    o.is_instruction()
        && (legacy && tables)
        && available(mode, code)
        && cpu::isa::implemented(code)
        && !excluded(code)
}

fn excluded(code: Code) -> bool {
    // Traps whose outcome is the kernel's.
    matches!(code.mnemonic(), Mnemonic::Syscall | Mnemonic::Sysenter)
}

/// Whether a far transfer from a 16-bit stack to 64-bit code may keep Linux busy for ever: AMD pushes to
/// the stack as that code has it, where RSP is somewhere else (arch/x86/mm/fault.c, `is_errata100`).
pub fn endless(case: &Case) -> bool {
    let i = case.instruction();
    let far = matches!(i.op0_kind(), OpKind::FarBranch16 | OpKind::FarBranch32);
    far && i.far_branch_selector() & 0xfff8 == 0x30 && case.state.segs[2] != 0x2b
}

/// A case of form `code` in `mode`, with the data of seed `page`.
pub fn case(mode: Mode, code: Code, page: u64, r: &mut Random) -> Option<Case> {
    let b = encode::bytes(mode, code, r)?;
    let mut case = Case::new(mode, b, r.draw() >> 16, page);
    aim(&mut case, r);
    vary(&mut case, r);
    Some(case)
}
