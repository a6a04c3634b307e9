//! Plain instructions: safe functions on the CPU and the decoded instruction. Everything that is not
//! worth a typed handler is one: system instructions, most of x87 and SSE, all of segmentation.

use crate::Cpu;
use crate::trap::Trap;
use iced_x86::Instruction;

/// What a plain instruction is. It reads its operands through [`Cpu`]'s operand accessors, and
/// commits nothing before everything that can fail has succeeded.
pub type PlainFn = fn(&mut Cpu, &Instruction) -> Result<(), Trap>;

/// Side data of a plain operation. The instruction was decoded with its page offset as IP.
pub struct Side {
    /// Function that carries the instruction out.
    pub f: PlainFn,
    /// The decoded instruction.
    pub insn: Instruction,
}
