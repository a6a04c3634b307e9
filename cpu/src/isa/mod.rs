//! The instruction set: one line per instruction form, keyed by the decoder's code.
//!
//! Each family file has a table of [`Form`]s; [`form`] looks one up. Coverage, tracing and the list of
//! what is missing come from the same tables. To add an instruction: write its body (a
//! [`crate::dispatch::Semantics`] if it is hot, else a plain function) and add its lines.

mod alu;
mod avx;
mod avx_fast;
mod avx_moves;
mod avx_table;
mod bits;
pub(crate) mod branch;
mod crypto;
mod far;
mod fast_path;
mod fma;
mod fpstate;
pub(crate) mod fuse;
mod identify;
mod io;
mod misc;
mod mmx;
mod moves;
pub mod profile;
#[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
mod profile_handlers;
#[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
mod profile_rows;
#[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
mod profile_table;
mod rm;
mod segmented;
mod segments;
mod shift;
pub(crate) mod sse4;
mod sse42;
pub(crate) mod sse_float;
mod sse_int;
mod sse_moves;
mod strings;
mod syscall;
pub(crate) mod system;
mod unary;
pub(crate) mod vector;
mod vme;
mod x87;
mod x87_compare;
mod x87_control;
mod x87_fast;
mod x87_functions;

use crate::dispatch::Handler;
use crate::plain::PlainFn;
use crate::state::{CodeMode, Cpu};
use crate::trap::Trap;
use iced_x86::{Code, Instruction};
use std::sync::OnceLock;

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
    /// The instruction.
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
    /// A typed handler for the fast path in flat modes, a plain function otherwise, see [`fast_path`].
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
        &[$($crate::isa::Form {
            code: iced_x86::Code::$code,
            exec: $exec,
            segmented: $crate::isa::forms!(@seg $($seg)?),
        }),*]
    };
    (@seg) => { None };
    (@seg $seg:expr) => { Some($seg) };
}
pub(crate) use forms;

/// All families.
const FAMILIES: &[&[Form]] = &[
    alu::FORMS,
    alu::TEST_FORMS,
    avx_moves::FORMS,
    avx_table::FORMS,
    bits::FORMS,
    branch::FORMS,
    far::FORMS,
    syscall::FORMS,
    identify::FORMS,
    io::FORMS,
    misc::FORMS,
    moves::FORMS,
    segmented::FORMS,
    segments::FORMS,
    crate::vmx::FORMS,
    shift::FORMS,
    crypto::FORMS,
    fma::FORMS,
    fpstate::FORMS,
    mmx::FORMS,
    sse4::FORMS,
    sse42::FORMS,
    sse_float::FORMS,
    sse_int::FORMS,
    sse_moves::FORMS,
    x87::FORMS,
    x87_control::FORMS,
    x87_functions::FORMS,
    strings::FORMS,
    system::FORMS,
    unary::FORMS,
];

struct Entry {
    flat: Exec,
    segmented: Exec,
}

fn table() -> &'static [Entry] {
    static TABLE: OnceLock<Vec<Entry>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let missing = || Entry { flat: Exec::Missing, segmented: Exec::Missing };
        let mut t: Vec<Entry> = Code::values().map(|_| missing()).collect();
        for f in FAMILIES.iter().copied().flatten() {
            let segmented = f.segmented.unwrap_or(match f.exec {
                Exec::FastPath(_, plain) => Exec::Function(plain),
                exec => exec,
            });
            t[f.code as usize] = Entry { flat: f.exec, segmented };
        }
        t
    })
}

/// How `i` is executed in blocks of `mode`.
pub fn form(i: &Instruction, mode: CodeMode) -> Exec {
    let e = &table()[i.code() as usize];
    match mode {
        CodeMode::Bits64 | CodeMode::Flat32 => e.flat,
        CodeMode::Bits16 | CodeMode::Bits32 => e.segmented,
    }
}

/// Whether a form is implemented.
pub fn implemented(code: Code) -> bool {
    !matches!(table()[code as usize].flat, Exec::Missing)
}

/// Raises #UD for an instruction that is undefined, or that is defined and missing here; #GP(0) for one
/// that is too long.
pub fn missing(_: &mut Cpu, i: &Instruction) -> Result<(), Trap> {
    if i.len() > crate::decode::MAX_LEN {
        return Err(Trap::GP0);
    }
    Err(if i.is_invalid() { Trap::UD } else { Trap::Unimplemented })
}

/// Whether the instruction is a shift or rotate, whose count may be zero.
pub fn is_shift(i: &Instruction) -> bool {
    use iced_x86::Mnemonic::*;
    matches!(i.mnemonic(), Shl | Shr | Sar | Sal | Rol | Ror | Rcl | Rcr | Shld | Shrd)
}
