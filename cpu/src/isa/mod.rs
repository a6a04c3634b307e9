//! The instruction set: one line per instruction form, keyed by the decoder's code.
//!
//! Each family file has a table of [`Form`]s; [`form`] looks one up. Coverage, tracing and the list of
//! what is missing come from the same tables. To add an instruction: write its body (a
//! [`crate::dispatch::Semantics`] if it is hot, else a plain function) and add its lines.
#![allow(
    unsafe_op_in_unsafe_fn,
    reason = "handler bodies are unsafe as a whole, for one reason: Semantics::run"
)]

pub(crate) mod alu;
pub(crate) mod avx;
pub(crate) mod avx_fast;
pub(crate) mod avx_moves;
pub(crate) mod avx_table;
pub(crate) mod bits;
pub(crate) mod branch;
pub(crate) mod crypto;
pub(crate) mod exec;
pub(crate) mod far;
pub(crate) mod fast_path;
pub(crate) mod fma;
pub(crate) mod fpstate;
pub(crate) mod fuse;
pub(crate) mod identify;
pub(crate) mod io;
pub(crate) mod misc;
pub(crate) mod mmx;
pub(crate) mod moves;
pub(crate) mod rm;
pub(crate) mod segmented;
pub(crate) mod segments;
pub(crate) mod shift;
pub(crate) mod sse4;
pub(crate) mod sse42;
pub(crate) mod sse_float;
pub(crate) mod sse_int;
pub(crate) mod sse_moves;
pub(crate) mod strings;
pub(crate) mod syscall;
pub(crate) mod system;
pub(crate) mod unary;
pub(crate) mod vector;
pub(crate) mod vme;
pub(crate) mod vmx;
pub(crate) mod x87;
pub(crate) mod x87_compare;
pub(crate) mod x87_control;
mod x87_control_fast;
pub(crate) mod x87_fast;
pub(crate) mod x87_functions;

use crate::Cpu;
use crate::state::CodeMode;
use crate::trap::Trap;
pub(crate) use exec::forms;
pub use exec::{AddressingMode, Exec, Form, HandlerFor, Operands};
use iced_x86::{Code, Instruction};
use std::sync::OnceLock;

/// The tables of all families.
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
    vmx::FORMS,
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
    if i.len() > crate::limits::MAX_LEN {
        return Err(Trap::GP0);
    }
    Err(if i.is_invalid() { Trap::UD } else { Trap::Unimplemented })
}

/// Whether the instruction is a shift or rotate, whose count may be zero.
pub fn is_shift(i: &Instruction) -> bool {
    use iced_x86::Mnemonic::*;
    matches!(i.mnemonic(), Shl | Shr | Sar | Sal | Rol | Ror | Rcl | Rcr | Shld | Shrd)
}
