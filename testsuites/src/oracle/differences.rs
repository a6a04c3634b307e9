//! What is not compared, and why: a row for each. Everything else must be equal to the bit.
//!
//! Our models are Intel's. Where silicon of either maker does something else, and where the manuals say "undefined", a
//! row of [`super::rows`] says what is left out of the comparison and cites its source.

use super::case::{Case, Event, Mode, Outcome, St, State};
use super::rows::{AMDS, EVERYONES, INTELS};
use super::silicon::Silicon;
use iced_x86::{Instruction, Mnemonic};

/// What a row leaves out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loose {
    /// The whole case.
    All,
    /// These status flags may differ.
    Flags(u64),
    /// ST registers may differ by one unit in the last place, and C1 with them.
    Ulp,
    /// Singles of vector registers may differ by one part in 2048.
    Digits,
    /// The case, where ours is an alignment's #GP(0).
    Misaligned,
    /// Which fault it is, where ours is #UD.
    Undefined,
    /// The case, where ours is #UD.
    Foreign,
    /// The case, where the host's is #UD.
    Absent,
    /// The case, unless the host's is #GP.
    Emulated,
    /// What the instruction writes to these general-purpose registers, at its operand size.
    Values(&'static [usize]),
    /// The limit that LSL gives, where ours is 0.
    Limit,
    /// Which of the faults of several accesses it is, and its address.
    Access,
    /// Registers and memory, where the case ends in a fault.
    Partial,
    /// Status flags, where the case ends in a fault or a single step.
    Midway,
    /// The case, where the host's is #AC.
    Aligned,
    /// The case, where ours is the #GP(0) or #SS(0) of a segment's end.
    Wraps,
    /// The case, where the host's is an access's fault and ours is an x87 exception to come.
    Unstored,
    /// The x87's TOP, and with it which register is ST(0), where the case ends in a fault.
    Top,
    /// The case, where the host's is #BR or #XM and ours an access's fault.
    Early,
    /// MXCSR, where the case ends in a fault.
    Mxcsr,
    /// The upper halves of RCX, RSI and RDI.
    Upper,
    /// Stored memory may differ.
    Memory,
    /// Bit 17 of the mask that FXSAVE stores.
    MxcsrMask,
    /// The case, where it sets bit 17 of MXCSR.
    MxcsrBit,
    /// Elements of so many bits of vector registers that are NaNs may be others.
    Nans(u32),
    /// The case, unless the control word masks underflow.
    Underflow,
    /// OE, UE and PE of MXCSR, where the case ends in #XM.
    Rounded,
}

/// A row of the table.
pub struct Row {
    /// The cases that the row is about.
    pub when: fn(&Case, &Instruction) -> bool,
    /// The part of the outcome that may differ.
    pub loose: Loose,
    /// Reason for the difference.
    pub why: &'static str,
}

/// The rows that apply to a case.
pub fn rows(case: &Case, silicon: Silicon) -> impl Iterator<Item = &'static Row> {
    let i = case.instruction();
    let case = case.clone();
    let own = match silicon {
        Silicon::Amd => AMDS,
        Silicon::Intel => INTELS,
    };
    EVERYONES.iter().chain(own).filter(move |row| (row.when)(&case, &i))
}

/// Whether the case is compared at all.
pub fn compared(case: &Case, silicon: Silicon) -> bool {
    rows(case, silicon).all(|row| row.loose != Loose::All)
}

/// Whether this outcome of the host's processor is its own, and not its kernel's.
pub fn shown(case: &Case, silicon: Silicon, host: &Outcome) -> bool {
    host.event.vector == 13 || rows(case, silicon).all(|row| row.loose != Loose::Emulated)
}

/// Makes equal what is not compared: the host's values become ours.
pub fn settle(case: &Case, silicon: Silicon, host: &mut Outcome, ours: &Outcome) {
    if host.event.vector == Event::SYSCALL {
        *host = ours.clone();
    }
    for row in rows(case, silicon) {
        if is_left_out(row.loose, case, host, ours) {
            *host = ours.clone();
        } else {
            take_over(row.loose, case, host, ours);
        }
    }
}

/// Whether `loose` leaves the whole case out, with these outcomes.
fn is_left_out(loose: Loose, case: &Case, host: &Outcome, ours: &Outcome) -> bool {
    let (theirs, own) = (host.event, ours.event);
    match loose {
        Loose::All => true,
        Loose::Underflow => case.state.cw & 0x10 == 0,
        Loose::Misaligned => own.vector == 13,
        Loose::Undefined => own.vector == 6 && !ends(theirs),
        Loose::Foreign => own.vector == 6,
        Loose::Absent => theirs.vector == 6,
        Loose::Emulated => theirs.vector != 13,
        Loose::Aligned => theirs.vector == 17,
        Loose::Wraps => matches!(own.vector, 12 | 13),
        Loose::Unstored => is_access(theirs) && ours.state.sw >> 7 & 1 != 0,
        Loose::Early => matches!(theirs.vector, 5 | 19) && is_access(own),
        Loose::MxcsrBit => host.state.mxcsr >> 17 & 1 != 0,
        _ => false,
    }
}

/// Takes over what else `loose` is about.
fn take_over(loose: Loose, case: &Case, host: &mut Outcome, ours: &Outcome) {
    let own = &ours.state;
    let state = &mut host.state;
    match loose {
        Loose::Flags(mask) => state.flags = state.flags & !mask | own.flags & mask,
        Loose::Midway if host.event.vector != 3 => {
            state.flags = state.flags & !0x8d5 | own.flags & 0x8d5;
        }
        Loose::Ulp => last_digit(state, own),
        Loose::Digits => vectors(host, ours, alike),
        Loose::Nans(bits) => vectors(host, ours, |h, o| with_nans(h, o, bits)),
        Loose::Access if is_access(host.event) && is_access(ours.event) => access(case, host, ours),
        Loose::Partial if !ends(ours.event) => {
            *state = State { rip: state.rip, ..own.clone() };
            host.lines.clone_from(&ours.lines);
        }
        Loose::Top if !ends(host.event) => {
            state.sw = state.sw & !0x3800 | own.sw & 0x3800;
            state.st = own.st;
        }
        Loose::Mxcsr if !ends(host.event) => state.mxcsr = own.mxcsr,
        Loose::Upper => {
            for n in [1, 6, 7] {
                state.regs[n] = state.regs[n] as u32 as u64 | own.regs[n] >> 32 << 32;
            }
        }
        Loose::Values(registers) => values(case, registers, host, ours),
        Loose::Limit => limit(case, host, ours),
        Loose::Memory => host.lines.clone_from(&ours.lines),
        Loose::MxcsrMask => mxcsr_mask(host, ours),
        Loose::Rounded if (host.event.vector, ours.event.vector) == (19, 19) => {
            state.mxcsr = state.mxcsr & !0x38 | own.mxcsr & 0x38;
        }
        _ => {}
    }
}

/// Whether a case ended with its instruction: by #DB or #BP.
fn ends(e: Event) -> bool {
    matches!(e.vector, 1 | 3)
}

/// Takes over registers that are near, and C1; and UE, where one of the two is the least normal number.
fn last_digit(state: &mut State, own: &State) {
    let mut mask = 0x200;
    for (h, o) in state.st.iter_mut().zip(&own.st) {
        if near(h, o) {
            mask |= if (h.m ^ o.m) >> 63 != 0 && o.se & 0x7fff <= 1 { 0x10 } else { 0 };
            *h = *o;
        }
    }
    state.sw = state.sw & !mask | own.sw & mask;
}

/// Takes over ours in the first operand, and in the low halves of `registers`.
fn values(case: &Case, registers: &[usize], host: &mut Outcome, ours: &Outcome) {
    let mut take = |n: usize, size: usize| {
        let mask = u64::MAX >> (64 - 8 * size);
        let (h, o) = (&mut host.state.regs[n], ours.state.regs[n]);
        *h = *h & !mask | o & mask;
    };
    registers.iter().for_each(|n| take(*n, 4));
    let i = case.instruction();
    if i.op_count() != 0 {
        take(i.op0_register().number(), i.op0_register().size());
    }
}

fn limit(case: &Case, host: &mut Outcome, ours: &Outcome) {
    let n = case.instruction().op0_register().number();
    if ours.state.flags & 0x40 != 0 && ours.state.regs[n] as u16 == 0 {
        host.state.regs[n] = ours.state.regs[n];
    }
}

/// Takes over which access has failed, but not that it was a write where all of them are.
fn access(case: &Case, host: &mut Outcome, ours: &Outcome) {
    use Mnemonic::*;
    let write = host.event.error & 2;
    let pages = (host.event.vector, ours.event.vector) == (14, 14);
    host.event = ours.event;
    let writes = matches!(
        case.instruction().mnemonic(),
        Fxsave
            | Fxsave64
            | Xsave
            | Xsave64
            | Xsavec
            | Xsavec64
            | Xsaveopt
            | Xsaveopt64
            | Fnsave
            | Fnstenv
            | Fbstp
            | Fstp
            | Pusha
            | Pushad
            | Maskmovdqu
            | Vmaskmovdqu
    );
    if pages && writes {
        host.event.error = host.event.error & !2 | write;
    }
}

/// Whether an access to memory is what failed.
fn is_access(e: Event) -> bool {
    matches!(e.vector, 10..=14 | 17)
}

fn mxcsr_mask(host: &mut Outcome, ours: &Outcome) {
    for (h, o) in host.lines.iter_mut().zip(&ours.lines).filter(|(h, o)| h.at == o.at) {
        let mut bytes = h.bytes.iter_mut().zip(&o.bytes).filter(|(h, o)| h != o);
        if let Some((h @ 2, 0)) = bytes.next() {
            *h = 0;
        }
    }
}

/// Whether two registers differ by at most one unit in the last place.
fn near(a: &St, b: &St) -> bool {
    let line = |s: &St| (s.se as u128 & 0x7fff) << 63 | (s.m & !(1 << 63)) as u128;
    (a.se ^ b.se) & 0x8000 == 0 && line(a).abs_diff(line(b)) <= 1
}

/// Has `taken` make each half of the host's vector registers of that half and ours.
fn vectors(host: &mut Outcome, ours: &Outcome, taken: impl Fn(u128, u128) -> u128) {
    let host = host.state.xmm.iter_mut().chain(&mut host.state.upper);
    for (h, o) in host.zip(ours.state.xmm.iter().chain(&ours.state.upper)) {
        *h = taken(*h, *o);
    }
}

/// `h`, with the elements of `bits` bits of `o` where both are NaNs.
fn with_nans(h: u128, o: u128, bits: u32) -> u128 {
    let is_nan = |v: u128, k: u32| match bits {
        32 => f32::from_bits((v >> (bits * k)) as u32).is_nan(),
        _ => f64::from_bits((v >> (bits * k)) as u64).is_nan(),
    };
    (0..128 / bits).filter(|k| is_nan(h, *k) && is_nan(o, *k)).fold(h, |h, k| {
        let mask = (u128::MAX >> (128 - bits)) << (bits * k);
        h & !mask | o & mask
    })
}

/// `h`, with the singles of `o` where they are near.
fn alike(h: u128, o: u128) -> u128 {
    let lane = |v: u128, k: u32| f32::from_bits((v >> (32 * k)) as u32);
    // What may be tiny is zero or the least normal number. SDM vol. 2, "RCPPS".
    let tiny = |a: f32, b: f32| a == 0.0 && b.abs() <= f32::MIN_POSITIVE * 1.001;
    let near =
        |a: f32, b: f32| a == b || ((a - b) / b).abs() < 1.0 / 2048.0 || tiny(a, b) || tiny(b, a);
    (0..4).fold(h, |h, k| {
        let mask = 0xffff_ffff << (32 * k);
        if near(lane(h, k), lane(o, k)) { h & !mask | o & mask } else { h }
    })
}

/// Takes out of an outcome what the architecture leaves undefined, whoever made it: the upper halves
/// of registers after 32- and 16-bit code, of RSP also after a transfer to it (SDM vol. 1,
/// "General-Purpose Registers in 64-Bit Mode"). The RPL of null selectors is lost on the host's way
/// through its kernel.
pub fn normalize(case: &Case, o: &mut Outcome) {
    if case.mode != Mode::Bits64 {
        for r in &mut o.state.regs {
            *r &= 0xffff_ffff;
        }
    } else if o.state.segs[1] != 0x33 {
        o.state.regs[4] &= 0xffff_ffff;
    }
    for (n, s) in o.state.segs.iter_mut().enumerate() {
        *s = if *s < 4 && n != 1 { 0 } else { *s };
    }
}
