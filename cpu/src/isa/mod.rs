//! The instruction set: one line per instruction form, keyed by the decoder's code.
//!
//! Each family file has a table of [`Form`]s; [`form`] looks one up. Coverage, tracing and the list of
//! what is missing come from the same tables. To add an instruction: write its body (a
//! [`crate::dispatch::Sem`] if it is hot, else a plain function) and add its lines.

pub mod alu;
pub mod avx;
pub mod avx_moves;
pub mod avx_table;
pub mod avx_usual;
pub mod bits;
pub mod branch;
pub mod crypto;
pub mod far;
pub mod fast;
pub mod fma;
pub mod fpstate;
pub mod fuse;
pub mod identify;
pub mod io;
pub mod misc;
pub mod mmx;
pub mod moves;
pub mod profile;
#[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
mod profile_handlers;
#[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
mod profile_rows;
#[cfg(not(any(debug_assertions, feature = "loop-dispatch")))]
mod profile_table;
pub mod rm;
pub mod segmented;
pub mod segments;
pub mod shift;
pub mod sse4;
pub mod sse42;
pub mod sse_float;
pub mod sse_int;
pub mod sse_moves;
pub mod strings;
pub mod system;
pub mod unary;
pub mod usual;
pub mod vector;
mod vme;
pub mod x87;
pub mod x87_compare;
pub mod x87_control;
pub mod x87_functions;
pub mod x87_usual;

use crate::dispatch::Handler;
use crate::plain::PlainFn;
use crate::state::{CodeMode, Cpu};
use crate::trap::Trap;
use iced_x86::{Code, Instruction};
use std::sync::OnceLock;

/// How the memory operand of a typed instruction is addressed, or that there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Am {
    /// No memory operand.
    Reg,
    /// See [`crate::mem::Base`].
    Base,
    /// See [`crate::mem::Index`].
    Index,
    /// See [`crate::mem::General`].
    General,
}

/// What a selector chooses a handler by.
pub struct Shape<'a> {
    /// The instruction.
    pub insn: &'a Instruction,
    /// Its memory operand.
    pub am: Am,
    /// Whether somebody in the block reads the status flags that it writes. Its cold twin records them
    /// anyway: it may be the last of the run, because it has changed code or woken a device.
    pub flags: bool,
}

/// Chooses the handler of a typed instruction.
pub type Pick = fn(&Shape) -> Handler;

/// How an instruction form is executed.
#[derive(Clone, Copy)]
pub enum Make {
    /// Not implemented: #UD, counted.
    Missing,
    /// A plain function.
    Plain(PlainFn),
    /// A plain function behind which the block ends: it may change RIP, mode or mappings.
    End(PlainFn),
    /// A typed handler.
    Typed(Pick),
    /// A typed handler on registers, a plain function on memory.
    Either(Pick, PlainFn),
    /// A typed handler for the usual case in flat modes, a plain function for all others, see [`usual`].
    Usual(Pick, PlainFn),
    /// A conditional near branch.
    Jcc,
    /// A direct near jump.
    Jmp,
    /// A direct near call.
    Call,
    /// An indirect near jump or call, or a near return.
    Indirect(fn(Am) -> Handler),
}

/// A line of the table.
pub struct Form {
    /// The decoder's code.
    pub code: Code,
    /// How it is executed in flat modes.
    pub make: Make,
    /// How it is executed where segments are not flat, if differently.
    pub segmented: Option<Make>,
}

/// Lines of a family's table: `Code => Make` or `Code => Make, segmented Make`.
macro_rules! forms {
    ($($code:ident => $make:expr $(, segmented $seg:expr)?;)*) => {
        &[$($crate::isa::Form {
            code: iced_x86::Code::$code,
            make: $make,
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
    fast::FORMS,
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
    flat: Make,
    segmented: Make,
}

fn table() -> &'static [Entry] {
    static TABLE: OnceLock<Vec<Entry>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let missing = || Entry { flat: Make::Missing, segmented: Make::Missing };
        let mut t: Vec<Entry> = Code::values().map(|_| missing()).collect();
        for f in FAMILIES.iter().copied().flatten() {
            let segmented = f.segmented.unwrap_or(match f.make {
                Make::Usual(_, plain) => Make::Plain(plain),
                make => make,
            });
            t[f.code as usize] = Entry { flat: f.make, segmented };
        }
        t
    })
}

/// How `i` is executed in blocks of `mode`.
pub fn form(i: &Instruction, mode: CodeMode) -> Make {
    let e = &table()[i.code() as usize];
    match mode {
        CodeMode::Bits64 | CodeMode::Flat32 => e.flat,
        CodeMode::Bits16 | CodeMode::Bits32 => e.segmented,
    }
}

/// Whether a form is implemented.
pub fn implemented(code: Code) -> bool {
    !matches!(table()[code as usize].flat, Make::Missing)
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
