//! VM-exit instruction information, and the qualification of instructions with a memory operand.
//! SDM vol. 3, "Information for VM Exits Due to Instruction Execution".

use crate::Cpu;
use crate::operand::{address_size, segment_number};
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// Bits of the field that several formats share.
const REGISTER_OPERAND: u32 = 1 << 10;
const NO_INDEX: u32 = 1 << 22;
const NO_BASE: u32 = 1 << 27;

fn number(r: Register) -> u32 {
    r.full_register().number() as u32
}

/// Scaling, address size, segment, index and base of the memory operand.
fn memory(i: &Instruction, long: bool) -> u32 {
    let size = address_size(i, long).trailing_zeros() - 1;
    let segment = segment_number(i.memory_segment()) as u32;
    let scale = i.memory_index_scale().trailing_zeros();
    let index = match i.memory_index() {
        Register::None => NO_INDEX,
        r => scale | number(r) << 18,
    };
    let base = match i.memory_base() {
        Register::None | Register::RIP | Register::EIP => NO_BASE,
        r => number(r) << 23,
    };
    size << 7 | segment << 15 | index | base
}

/// What the instruction's identity puts into bits 29:28, for descriptor-table accesses.
fn identity(m: Mnemonic) -> u32 {
    match m {
        Mnemonic::Sidt | Mnemonic::Str => 1,
        Mnemonic::Lgdt | Mnemonic::Lldt => 2,
        Mnemonic::Lidt | Mnemonic::Ltr => 3,
        _ => 0,
    }
}

/// Bits 14:11 of LGDT and its like: the operand size; of RDRAND: likewise.
fn operand_size(i: &Instruction, long: bool) -> u32 {
    let wide = long || matches!(i.op0_kind(), OpKind::Memory) && i.memory_size().size() > 5;
    (wide as u32) << 11
}

/// The instruction-information field of `i`.
pub(super) fn instruction(i: &Instruction, long: bool) -> u32 {
    use Mnemonic::*;
    let memory_or_register = |n: u32| match i.op_kind(n) {
        OpKind::Register => REGISTER_OPERAND | number(i.op_register(n)) << 3,
        _ => memory(i, long),
    };
    match i.mnemonic() {
        Vmread => memory_or_register(0) | number(i.op_register(1)) << 28,
        Vmwrite => memory_or_register(1) | number(i.op_register(0)) << 28,
        Invept | Invvpid | Invpcid => memory(i, long) | number(i.op_register(0)) << 28,
        Sgdt | Sidt | Lgdt | Lidt => {
            memory(i, long) | operand_size(i, long) | identity(i.mnemonic()) << 28
        }
        Sldt | Str | Lldt | Ltr => memory_or_register(0) | identity(i.mnemonic()) << 28,
        Rdrand | Rdseed => {
            number(i.op_register(0)) << 3 | ((i.op_register(0).size() as u32).ilog2() - 1) << 11
        }
        _ => memory(i, long),
    }
}

/// Instruction information of INS and OUTS: address size, and the segment of OUTS.
pub(super) fn string_io(i: &Instruction, long: bool) -> u32 {
    let size = match (i.op0_kind(), i.op1_kind()) {
        (OpKind::MemoryESDI, _) | (_, OpKind::MemorySegSI) => 2,
        (OpKind::MemoryESEDI, _) | (_, OpKind::MemorySegESI) => 4,
        _ if long => 8,
        _ => 4u32,
    };
    let segment = segment_number(i.memory_segment()) as u32;
    (size.trailing_zeros() - 1) << 7 | segment << 15
}

impl Cpu {
    /// The displacement of the memory operand, with the next instruction's address if it is relative to
    /// RIP; 0 without one.
    pub(super) fn displacement(&self, i: &Instruction) -> u64 {
        if (0..i.op_count()).all(|n| i.op_kind(n) != OpKind::Memory) {
            return 0;
        }
        // The decoder's IP was the offset in the page.
        let page = if i.is_ip_rel_memory_operand() { self.state.bases.page } else { 0 };
        i.memory_displacement64().wrapping_add(page)
    }
}
