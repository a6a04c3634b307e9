//! Instructions of a given form, and what tells two outcomes apart.

use super::State;
use iced_x86::{Code, Encoder, Instruction, MemoryOperand, OpCodeOperandKind, Register};

/// An instruction of form `code`, if all its operands are of the kinds here.
#[expect(clippy::too_many_lines, reason = "a table of operand kinds")]
pub fn make(code: Code, memory: bool, imm: u8) -> Option<Instruction> {
    use OpCodeOperandKind::*;
    let info = code.op_code();
    let mut i = Instruction::default();
    i.set_code(code);
    let mut wide = [Register::XMM1, Register::XMM2, Register::XMM3, Register::XMM4].into_iter();
    let mut wider = [Register::YMM1, Register::YMM2, Register::YMM3, Register::YMM4].into_iter();
    let mut gprs32 = [Register::EAX, Register::ECX].into_iter();
    let mut gprs64 = [Register::RAX, Register::RCX].into_iter();
    let mut mms = [Register::MM1, Register::MM2].into_iter();
    let sti = [Register::ST0, Register::ST1, Register::ST3, Register::ST7][imm as usize & 3];
    let mut uses_memory = false;
    for n in 0..info.op_count() {
        let register = match info.op_kind(n) {
            xmm_reg | xmm_rm | xmm_vvvv | xmm_is4 => {
                wider.next();
                wide.next()?
            }
            ymm_reg | ymm_rm | ymm_vvvv | ymm_is4 => {
                wide.next();
                wider.next()?
            }
            xmm_or_mem if !memory => {
                wider.next();
                wide.next()?
            }
            ymm_or_mem if !memory => {
                wide.next();
                wider.next()?
            }
            mem_vsib32x | mem_vsib32y | mem_vsib64x | mem_vsib64y if memory => {
                let y = matches!(info.op_kind(n), mem_vsib32y | mem_vsib64y);
                let index = (wide.next()?, wider.next()?);
                i.set_op_kind(n, iced_x86::OpKind::Memory);
                i.set_memory_base(Register::RSI);
                i.set_memory_index(if y { index.1 } else { index.0 });
                i.set_memory_index_scale(4);
                uses_memory = true;
                continue;
            }
            r32_reg | r32_rm => gprs32.next()?,
            r32_or_mem if !memory => gprs32.next()?,
            r64_reg | r64_rm => gprs64.next()?,
            r64_or_mem if !memory => gprs64.next()?,
            mm_reg | mm_rm => mms.next()?,
            mm_or_mem if !memory => mms.next()?,
            xmm_or_mem | ymm_or_mem | r32_or_mem | r64_or_mem | mm_or_mem | mem if memory => {
                i.set_op_kind(n, iced_x86::OpKind::Memory);
                let m = MemoryOperand::with_base(Register::RSI);
                i.set_memory_base(m.base);
                i.set_memory_index_scale(1);
                uses_memory = true;
                continue;
            }
            st0 => Register::ST0,
            sti_opcode => sti,
            imm8 => {
                i.set_immediate8(imm);
                i.set_op_kind(n, iced_x86::OpKind::Immediate8);
                continue;
            }
            _ => return Option::None,
        };
        i.set_op_kind(n, iced_x86::OpKind::Register);
        i.set_op_register(n, register);
    }
    (uses_memory == memory).then_some(i)
}

/// The bytes of an instruction.
pub fn encode(i: &Instruction) -> Vec<u8> {
    let mut encoder = Encoder::new(64);
    encoder.encode(i, 0).unwrap_or_else(|e| panic!("{:?}: {e}", i.code()));
    encoder.take_buffer()
}

/// The two outcomes where they differ.
pub fn difference(s: &State, want: &State, got: &State) -> String {
    let mut t =
        format!("mxcsr in {:x}, host {:x}, ours {:x}\n", s.mxcsr(), want.mxcsr(), got.mxcsr());
    for n in 0..6 {
        let v = [s.xmm(n), want.xmm(n), got.xmm(n)];
        let v2 = [s.upper[n], want.upper[n], got.upper[n]];
        if v2[1] != v2[2] {
            t += &format!("ymm{n} in {:032x} host {:032x} ours {:032x}\n", v2[0], v2[1], v2[2]);
        }
        if n == 1 || n == 2 || v[1] != v[2] {
            t += &format!("xmm{n} in {:032x} host {:032x} ours {:032x}\n", v[0], v[1], v[2]);
        }
    }
    t += &format!("memory in {:032x}\n", u128::from_le_bytes(s.memory[..16].try_into().unwrap()));
    t += &format!("memory equal {}\n", want.memory == got.memory);
    for (name, v) in [
        ("rax", [s.rax, want.rax, got.rax]),
        ("rcx", [s.rcx, want.rcx, got.rcx]),
        ("flags", [s.flags, want.flags, got.flags]),
    ] {
        t += &format!("{name} in {:x} host {:x} ours {:x}\n", v[0], v[1], v[2]);
    }
    for n in (0..8).filter(|n| want.st(*n) != got.st(*n)) {
        t += &format!("st{n} in {:x?} host {:x?} ours {:x?}\n", s.st(n), want.st(n), got.st(n));
    }
    t += &format!(
        "cw/sw/tw in {:x?} host {:x?} ours {:x?}",
        &s.fx[..5],
        &want.fx[..5],
        &got.fx[..5]
    );
    t
}
