//! What the tables of instructions are made of: a line names a form and says how it is executed.

use crate::dispatch::Handler;
use crate::plain::PlainFn;
use iced_x86::{Code, Instruction};

/// The addressing mode of a typed instruction's memory operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AddressingMode {
    /// No memory operand.
    Reg,
    /// See [`crate::mem::Base`].
    Base,
    /// See [`crate::mem::Index`].
    Index,
    /// See [`crate::mem::General`].
    General,
}

/// The properties of an instruction that its handler depends on.
pub struct Operands<'a> {
    /// The decoded instruction.
    pub insn: &'a Instruction,
    /// The addressing mode of its memory operand.
    pub addressing: AddressingMode,
    /// Whether a later instruction of the block reads the status flags that this one writes. Its cold twin
    /// records them anyway: it may be the last of the run, because it has changed code or woken a device.
    pub flags: bool,
}

/// Chooses the handler of a typed instruction.
pub type HandlerFor = fn(&Operands) -> Handler;

/// How an instruction form is executed.
#[derive(Clone, Copy)]
pub enum Exec {
    /// Not implemented: #UD, counted.
    Missing,
    /// A plain function.
    Function(PlainFn),
    /// A plain function after which the block ends: it may change RIP, mode or mappings.
    EndsBlock(PlainFn),
    /// A typed handler.
    Handler(HandlerFor),
    /// A typed handler on registers, a plain function on memory.
    RegisterHandler(HandlerFor, PlainFn),
    /// A typed handler for the fast path in flat modes, a plain function otherwise, see `fast_path`.
    FastPath(HandlerFor, PlainFn),
    /// A conditional near branch.
    Jcc,
    /// A direct near jump.
    Jmp,
    /// A direct near call.
    Call,
    /// An indirect near jump or call, or a near return.
    Indirect(fn(AddressingMode) -> Handler),
}

/// A line of the table.
pub struct Form {
    /// The decoder's code.
    pub code: Code,
    /// How it is executed in flat modes.
    pub exec: Exec,
    /// How it is executed where segments are not flat, if differently.
    pub segmented: Option<Exec>,
}

/// Lines of a family's table: `Code => Exec` or `Code => Exec, segmented Exec`.
macro_rules! forms {
    ($($code:ident => $exec:expr $(, segmented $seg:expr)?;)*) => {
        &[$($crate::isa::exec::Form {
            code: iced_x86::Code::$code,
            exec: $exec,
            segmented: $crate::isa::exec::forms!(@seg $($seg)?),
        }),*]
    };
    (@seg) => { None };
    (@seg $seg:expr) => { Some($seg) };
}
pub(crate) use forms;
