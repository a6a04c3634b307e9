//! What is not compared, and why: a row for each. Everything else must be equal to the bit.
//!
//! The host is AMD's, our models are Intel's. Where the two manuals agree on "undefined", or differ,
//! the row says what is left out of the comparison and cites its source.

use super::case::{Case, Event, Mode, Outcome, St};
use iced_x86::{Instruction, Mnemonic};

/// What a row leaves out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loose {
    /// The whole case.
    All,
    /// Flags.
    Flags(u64),
    /// ST registers may differ by one unit in the last place, and C1 with them.
    Ulp,
}

/// A row of the table.
pub struct Row {
    /// Which cases.
    pub when: fn(&Case, &Instruction) -> bool,
    /// What.
    pub loose: Loose,
    /// Why.
    pub why: &'static str,
}

macro_rules! names {
    ($($n:ident)|+) => { |_, i| matches!(i.mnemonic(), $(Mnemonic::$n)|+) };
}

/// The table.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    Row { when: names!(Rdtsc | Rdtscp | Rdrand | Rdseed | Cpuid | Rdpid | Rdpmc | Xgetbv), loose: Loose::All,
          why: "the host's own time, noise, name and number" },
    Row { when: names!(Syscall | Sysenter | Sysexit | Sysret | Int), loose: Loose::All,
          why: "a system call of the host" },
    Row { when: names!(Sgdt | Sidt | Smsw | Sldt | Str), loose: Loose::All,
          why: "UMIP's #GP is caught by Linux, which emulates them: arch/x86/kernel/umip.c" },
    Row { when: names!(Fsin | Fcos | Fsincos | Fptan | Fpatan | F2xm1 | Fyl2x | Fyl2xp1), loose: Loose::Ulp,
          why: "the last digit is each implementation's: SDM vol. 1, \"Transcendental Instruction Accuracy\"" },
];

/// The rows that apply to a case.
pub fn rows(case: &Case) -> impl Iterator<Item = &'static Row> {
    let i = case.instruction();
    let case = case.clone();
    TABLE.iter().filter(move |row| (row.when)(&case, &i))
}

/// Whether the case is compared at all.
pub fn compared(case: &Case) -> bool {
    rows(case).all(|row| row.loose != Loose::All)
}

/// Makes equal what is not compared: the host's values become ours.
pub fn settle(case: &Case, host: &mut Outcome, ours: &Outcome) {
    if host.event.vector == Event::SYSCALL {
        *host = ours.clone();
    }
    for row in rows(case) {
        match row.loose {
            Loose::All => *host = ours.clone(),
            Loose::Flags(mask) => {
                host.state.flags = host.state.flags & !mask | ours.state.flags & mask;
            }
            Loose::Ulp => {
                for (h, o) in host.state.st.iter_mut().zip(&ours.state.st) {
                    if near(h, o) {
                        *h = *o;
                    }
                }
                host.state.sw = host.state.sw & !0x200 | ours.state.sw & 0x200;
            }
        }
    }
}

/// Whether two registers differ by at most one unit in the last place.
fn near(a: &St, b: &St) -> bool {
    let line = |s: &St| (s.se as u128 & 0x7fff) << 63 | (s.m & !(1 << 63)) as u128;
    (a.se ^ b.se) & 0x8000 == 0 && line(a).abs_diff(line(b)) <= 1
}

/// Takes out of an outcome what the architecture leaves undefined, whoever made it: the upper halves
/// of registers behind 32- and 16-bit code (SDM vol. 1, "General-Purpose Registers in 64-Bit Mode").
pub fn normalize(case: &Case, o: &mut Outcome) {
    if case.mode != Mode::Bits64 {
        for r in &mut o.state.regs {
            *r &= 0xffff_ffff;
        }
    }
}
