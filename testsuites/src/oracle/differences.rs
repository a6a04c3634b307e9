//! What is not compared, and why: a row for each. Everything else must be equal to the bit.
//!
//! The host is AMD's, our models are Intel's: on a host of Intel's the rows do not suffice. Where the two manuals
//! agree on "undefined", or differ, the row says what is left out of the comparison and cites its source.

use super::case::{Case, Event, Mode, Outcome, St, State};
use super::host::components as host_components;
use super::ours::XCR0;
use iced_x86::{Code, CpuidFeature, FlowControl, Instruction, Mnemonic, OpKind, Register};

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

macro_rules! names {
    ($($n:ident)|+) => { |_, i| matches!(i.mnemonic(), $(Mnemonic::$n)|+) };
}

/// Whether `byte` is among the prefixes.
fn prefixed(case: &Case, byte: u8) -> bool {
    const PREFIXES: [u8; 11] = [0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
    let prefix = |b: &u8| PREFIXES.contains(b) || case.mode == Mode::Bits64 && b & 0xf0 == 0x40;
    case.code.iter().take_while(|b| prefix(b)).any(|b| *b == byte)
}

/// A near branch of 64-bit mode with an operand-size prefix.
fn short_branch(case: &Case, i: &Instruction) -> bool {
    let near = matches!(
        i.flow_control(),
        FlowControl::ConditionalBranch
            | FlowControl::UnconditionalBranch
            | FlowControl::IndirectBranch
            | FlowControl::Call
            | FlowControl::IndirectCall
            | FlowControl::Return
    );
    case.mode == Mode::Bits64 && near && prefixed(case, 0x66)
}

/// INT n through the gates that Linux has for user mode.
fn open_gate(_: &Case, i: &Instruction) -> bool {
    i.code() == Code::Int_imm8 && matches!(i.immediate8(), 3 | 4 | 0x80)
}

/// XGETBV of a register that there is.
fn gets_xcr(case: &Case, i: &Instruction) -> bool {
    i.mnemonic() == Mnemonic::Xgetbv && case.state.regs[1] as u32 <= 1
}

/// Far pointers with 64-bit offsets.
fn long_pointer(_: &Case, i: &Instruction) -> bool {
    use Code::{Call_m1664, Jmp_m1664, Lfs_r64_m1664, Lgs_r64_m1664, Lss_r64_m1664};
    matches!(i.code(), Call_m1664 | Jmp_m1664 | Lfs_r64_m1664 | Lgs_r64_m1664 | Lss_r64_m1664)
}

/// Instructions that one of the two does not have, or that no user mode has.
fn foreign(_: &Case, i: &Instruction) -> bool {
    use CpuidFeature::{
        CLZERO, MCOMMIT, MONITORX, RDPRU, SERIALIZE, SEV_ES, SKINIT, SKINIT_or_SVM, SSE4A, SVM,
    };
    let foreign =
        [SSE4A, CLZERO, MONITORX, RDPRU, MCOMMIT, SERIALIZE, SEV_ES, SVM, SKINIT, SKINIT_or_SVM];
    i.cpuid_features().iter().any(|f| foreign.contains(f))
}

/// LOOPE and LOOPNE with a prefix that means nothing there.
fn repeated_loop(case: &Case, i: &Instruction) -> bool {
    i.is_loopcc() && (prefixed(case, 0xf2) || prefixed(case, 0xf3))
}

fn gathers(i: &Instruction) -> bool {
    format!("{:?}", i.mnemonic()).contains("gather")
}

/// INS and OUTS with REP and a count of 0.
fn empty_io(case: &Case, i: &Instruction) -> bool {
    use Mnemonic::{Insb, Insd, Insw, Outsb, Outsd, Outsw};
    let io = matches!(i.mnemonic(), Insb | Insd | Insw | Outsb | Outsd | Outsw);
    let count = case.state.regs[1];
    io && (prefixed(case, 0xf2) || prefixed(case, 0xf3)) && (count == 0 || count as u16 == 0)
}

/// 8F with a map that XOP has.
fn extended(case: &Case) -> bool {
    case.code.windows(2).any(|w| w[0] == 0x8f && w[1] & 31 >= 8)
}

/// VEX, map 3, opcode 0 or 1.
fn permutes(case: &Case) -> bool {
    let at = case.code.iter().position(|b| *b == 0xc4).unwrap_or(0);
    let map = case.code.get(at + 1).map_or(0, |b| b & 31);
    map == 3 && case.code.get(at + 3).is_some_and(|b| *b < 2)
}

/// F2XM1 and FYL2XP1 outside what they are defined for.
fn out_of_range(case: &Case, i: &Instruction) -> bool {
    let exponent = case.state.st[0].se & 0x7fff;
    match i.mnemonic() {
        Mnemonic::F2xm1 => exponent >= 0x3fff,
        Mnemonic::Fyl2xp1 => exponent >= 0x3ffd,
        _ => false,
    }
}

/// The XSAVE family on a host whose XCR0 has more than ours.
fn wider(_: &Case, i: &Instruction) -> bool {
    use Mnemonic::{Xrstor, Xrstor64, Xsave, Xsave64, Xsavec, Xsavec64, Xsaveopt, Xsaveopt64};
    let saves = matches!(i.mnemonic(), Xsave | Xsave64 | Xsavec | Xsavec64 | Xsaveopt | Xsaveopt64);
    (saves || matches!(i.mnemonic(), Xrstor | Xrstor64)) && host_components() & !XCR0 != 0
}

/// [`wider`], asking for what ours does not have.
fn asks_wider(case: &Case, i: &Instruction) -> bool {
    let asked = case.state.regs[2] << 32 | case.state.regs[0] as u32 as u64;
    wider(case, i) && asked & host_components() & !XCR0 != 0
}

/// EVEX, or VEX with an opcode of the mask registers, on a host with AVX-512.
fn masks(case: &Case, _: &Instruction) -> bool {
    const OPMASK: u64 = 1 << 5;
    let at = case.code.iter().position(|b| matches!(b, 0x62 | 0xc4 | 0xc5)).unwrap_or(0);
    let opcode = match case.code[at..] {
        [0x62, ..] => 0x41,
        [0xc5, _, opcode, ..] => opcode,
        [0xc4, map, _, opcode, ..] if map & 31 == 1 => opcode,
        _ => 0,
    };
    host_components() & OPMASK != 0 && matches!(opcode, 0x41..=0x4b | 0x90..=0x93 | 0x98 | 0x99)
}

/// A masked move whose operand goes past the end of 16- or 32-bit addresses.
fn wraps_masked(case: &Case, i: &Instruction) -> bool {
    use Mnemonic::{Vmaskmovpd, Vmaskmovps, Vpmaskmovd, Vpmaskmovq};
    let registers = [i.memory_base(), i.memory_index()];
    let limit =
        match registers.map(|r| r.size()).into_iter().chain([i.memory_displ_size() as usize]).max()
        {
            Some(2) => 0xffff,
            Some(4) => 0xffff_ffff,
            _ => return false,
        };
    let value = |r: Register, _, _| {
        Some(if r.is_segment_register() { 0 } else { case.state.regs[r.number()] })
    };
    let memory = (0..i.op_count()).find(|k| i.op_kind(*k) == OpKind::Memory);
    let offset = memory.and_then(|k| i.virtual_address(k, 0, value));
    let last = |offset: u64| (offset & limit) + i.memory_size().size() as u64 - 1;
    matches!(i.mnemonic(), Vmaskmovps | Vmaskmovpd | Vpmaskmovd | Vpmaskmovq)
        && offset.is_some_and(|offset| last(offset) > limit)
}

/// The differences that are no errors.
#[rustfmt::skip]
pub const TABLE: &[Row] = &[
    Row { when: names!(Rdtsc), loose: Loose::Values(&[0, 2]), why: "the host's time" },
    Row { when: names!(Rdtscp), loose: Loose::Values(&[0, 1, 2]), why: "the host's time and number" },
    Row { when: names!(Cpuid), loose: Loose::Values(&[0, 1, 2, 3]), why: "the host's name and features" },
    Row { when: gets_xcr, loose: Loose::Values(&[0, 2]), why: "the host's features" },
    Row { when: asks_wider, loose: Loose::All, why: "the host's XCR0 has components that ours does not have" },
    Row { when: wider, loose: Loose::Misaligned,
          why: "a header may name components that only the host's XCR0 has: SDM vol. 1, \"Operation of XRSTOR\"" },
    Row { when: names!(Bsf | Bsr), loose: Loose::Flags(0x895),
          why: "all but ZF is undefined: SDM vol. 2, \"BSF\"; AMD's before Zen 4 left them, later ones make them of the result" },
    Row { when: names!(Rdrand | Rdseed | Rdpid), loose: Loose::Values(&[]), why: "the host's noise and number" },
    Row { when: names!(Rdrand | Rdseed), loose: Loose::Flags(1), why: "the host's source may run dry: SDM vol. 2, \"RDSEED\"" },
    Row { when: names!(Lsl), loose: Loose::Limit,
          why: "a limit in Linux's table is the number of the host's processor: arch/x86/include/asm/segment.h" },
    Row { when: open_gate, loose: Loose::All, why: "a system call of the host, or a trap that looks like the case's end" },
    Row { when: names!(Syscall | Sysenter), loose: Loose::All,
          why: "a system call of the host; and AMD has SYSCALL outside 64-bit mode, Intel SYSENTER in IA-32e mode: APM vol. 3 and SDM vol. 2 under these names" },
    Row { when: names!(Vmcall), loose: Loose::All,
          why: "KVM, which runs the host's Linux, intercepts it and gives another fault" },
    Row { when: |case, i| i.mnemonic() == Mnemonic::Sysret && case.mode != Mode::Bits64, loose: Loose::Undefined,
          why: "AMD has it in compatibility mode: APM vol. 3, \"SYSRET\"; Intel does not: SDM vol. 2, \"SYSRET\"" },
    Row { when: names!(Sgdt | Sidt | Smsw | Sldt | Str), loose: Loose::Emulated,
          why: "UMIP's #GP is caught by Linux, which emulates them where it can: arch/x86/kernel/umip.c" },
    Row { when: names!(Int1), loose: Loose::All,
          why: "KVM, which runs the host's Linux, intercepts #DB and gives it with another RIP" },
    Row { when: foreign, loose: Loose::All,
          why: "AMD's own, or Intel's that the host is too old for" },
    Row { when: names!(Movdiri | Movdir64b), loose: Loose::Absent,
          why: "Zen 5 and Intel since Tiger Lake have them; CPUID under KVM may hide that" },
    Row { when: masks, loose: Loose::Foreign, why: "the host has AVX-512, our models do not" },
    Row { when: |_, i| !i.is_invalid() && !cpu::isa::implemented(i.code()), loose: Loose::Foreign,
          why: "the host is younger than our models" },
    Row { when: short_branch, loose: Loose::All,
          why: "Intel ignores 66h there: SDM vol. 2, \"Jcc\" and others; AMD does not: APM vol. 3, \"Jcc\"" },
    Row { when: long_pointer, loose: Loose::All,
          why: "AMD has no 64-bit offsets in far pointers: APM vol. 3, \"JMP (Far)\" and \"LDS\"" },
    Row { when: |_, i| i.code() == Code::Reservednop_rm32_r32_0F0D || i.code() == Code::Reservednop_rm16_r16_0F0D
              || i.code() == Code::Reservednop_rm64_r64_0F0D, loose: Loose::All,
          why: "0F 0D on registers is a no-operation for Intel, #UD for AMD: APM vol. 3, \"PREFETCHlevel\"" },
    Row { when: |case, i| i.is_invalid() && prefixed(case, 0xf0) && case.code.windows(2).any(|w| w == [0x0f, 0]), loose: Loose::All,
          why: "AMD lets LOCK stand before group 6: SDM vol. 2, \"LOCK\", does not" },
    Row { when: |case, i| i.is_invalid() && prefixed(case, 0xf0), loose: Loose::Undefined,
          why: "which fault comes first where LOCK may not stand: SDM vol. 3, \"Priority Among Concurrent Events\"" },
    Row { when: names!(Sha1msg1 | Sha1msg2 | Sha1nexte | Sha1rnds4 | Sha256msg1 | Sha256msg2 | Sha256rnds2),
          loose: Loose::Misaligned,
          why: "AMD lets their operands be misaligned: APM vol. 4, \"SHA1MSG1\" and others" },
    Row { when: names!(Rcpps | Rcpss | Rsqrtps | Rsqrtss | Vrcpps | Vrcpss | Vrsqrtps | Vrsqrtss), loose: Loose::Digits,
          why: "12 digits are promised, not which: SDM vol. 2, \"RCPPS\"" },
    Row { when: repeated_loop, loose: Loose::All,
          why: "REP is reserved there: SDM vol. 2, \"REP\"; AMD takes its lowest bit for the opcode's" },
    Row { when: out_of_range, loose: Loose::All,
          why: "the result is undefined: SDM vol. 2, \"F2XM1\" and \"FYL2XP1\"" },
    Row { when: |_, i| i.mnemonic() == Mnemonic::Push && i.op0_register().is_segment_register(), loose: Loose::Memory,
          why: "whether the upper half of the word is written: SDM vol. 2, \"PUSH\"" },
    Row { when: names!(Fxsave | Fxsave64 | Xsave | Xsave64 | Xsavec | Xsavec64 | Xsaveopt | Xsaveopt64), loose: Loose::MxcsrMask,
          why: "MXCSR.MM is AMD's own: APM vol. 1, \"Misaligned Exception Mask\"" },
    Row { when: names!(Ldmxcsr | Vldmxcsr | Fxrstor | Fxrstor64 | Xrstor | Xrstor64), loose: Loose::MxcsrBit,
          why: "MXCSR.MM is AMD's own: APM vol. 1, \"Misaligned Exception Mask\"" },
    Row { when: names!(Fxsave | Fxsave64 | Fxrstor | Fxrstor64 | Xsave | Xsave64 | Xsavec | Xsavec64 | Xsaveopt
              | Xsaveopt64 | Xrstor | Xrstor64 | Fnsave | Frstor | Fnstenv | Fldenv | Ret | Retf | Iret | Iretd | Iretq
              | Call | Jmp | Enter | Leave | Pusha | Pushad | Popa | Popad | Lds | Les | Lfs | Lgs | Lss | Bound
              | Maskmovdqu | Vmaskmovdqu | Fbld | Fbstp | Movsb | Movsw | Movsd | Movsq | Cmpsb | Cmpsw | Cmpsd | Cmpsq | Push | Pop), loose: Loose::Access,
          why: "in which order the parts are accessed: SDM vol. 3, \"Priority Among Concurrent Events\"" },
    Row { when: |_, i| matches!(i.code(), Code::Fld_m80fp | Code::Fstp_m80fp), loose: Loose::Access,
          why: "in which order the parts are accessed: SDM vol. 3, \"Priority Among Concurrent Events\"" },
    Row { when: |_, i| gathers(i), loose: Loose::Partial,
          why: "how far it came: SDM vol. 2, \"VPGATHERDD\"" },
    Row { when: names!(Dpps | Dppd | Vdpps | Vdppd), loose: Loose::Rounded,
          why: "which of the other products are rounded before one ends it: SDM vol. 2, \"DPPS\"; Zen 3 and Zen 4 differ" },
    Row { when: names!(Dpps | Vdpps), loose: Loose::Nans(32),
          why: "which of several NaNs an element gets: SDM vol. 2, \"DPPS\", says nothing; ours is Intel's (Sapphire Rapids)" },
    Row { when: names!(Dppd | Vdppd), loose: Loose::Nans(64),
          why: "which of several NaNs an element gets: SDM vol. 2, \"DPPD\", says nothing; ours is Intel's (Sapphire Rapids)" },
    Row { when: names!(Fprem | Fprem1), loose: Loose::Underflow,
          why: "a dividend that stays as it is underflows always on AMD's processors, not always on Intel's (Sapphire Rapids)" },
    Row { when: wraps_masked, loose: Loose::All,
          why: "implementation-specific: SDM vol. 3, \"Limit Checking\"; Zen 3 and Zen 4 go on at 0, Zen 5 after the end" },
    Row { when: |case, i| gathers(i) && case.step, loose: Loose::All,
          why: "a trap may come between two elements: SDM vol. 2, \"VPGATHERDD\"" },
    Row { when: |_, i| matches!(i.mnemonic(), Mnemonic::Popa | Mnemonic::Popad | Mnemonic::Maskmovq) || i.is_call_far()
              || i.is_call_far_indirect(), loose: Loose::Partial,
          why: "AMD leaves what it has done before the fault; Intel's handlers find the old state: SDM vol. 3, \"Faults\"" },
    Row { when: |_, i| matches!(i.code(), Code::Shld_rm16_r16_CL | Code::Shld_rm16_r16_imm8 | Code::Shrd_rm16_r16_CL
              | Code::Shrd_rm16_r16_imm8), loose: Loose::Flags(0x800),
          why: "OF is undefined unless the count is 1: SDM vol. 2, \"SHLD\"" },
    Row { when: |case, i| i.is_invalid() && extended(case), loose: Loose::Undefined,
          why: "AMD's XOP has the length of its map: APM vol. 3, \"XOP Prefix\"" },
    Row { when: |case, i| i.is_invalid() && case.code.windows(3).any(|w| w == [0x0f, 0x01, 0xc1]), loose: Loose::Undefined,
          why: "KVM intercepts VMCALL, whatever stands before it" },
    Row { when: empty_io, loose: Loose::All,
          why: "whether a count of 0 asks for permission: SDM vol. 2, \"INS\" and \"OUTS\", says nothing" },
    Row { when: |_, i| i.code() == Code::Movsxd_r16_rm16 && i.op1_kind() == OpKind::Memory, loose: Loose::All,
          why: "Intel reads 16 bits, AMD 32: SDM vol. 2, \"MOVSXD\"; APM vol. 3, \"MOVSXD\"" },
    Row { when: |case, i| i.is_invalid() && permutes(case), loose: Loose::Foreign,
          why: "AMD's VPERMQ and VPERMPD do not look at VEX.W: APM vol. 4, \"VPERMQ\"" },
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

/// Whether this outcome of the host's processor is its own, and not its kernel's.
pub fn shown(case: &Case, host: &Outcome) -> bool {
    host.event.vector == 13 || rows(case).all(|row| row.loose != Loose::Emulated)
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
                // C1; and UE, where one of the two is the least normal number.
                let mut mask = 0x200;
                for (h, o) in host.state.st.iter_mut().zip(&ours.state.st) {
                    if near(h, o) {
                        mask |= if (h.m ^ o.m) >> 63 != 0 && o.se & 0x7fff <= 1 { 0x10 } else { 0 };
                        *h = *o;
                    }
                }
                host.state.sw = host.state.sw & !mask | ours.state.sw & mask;
            }
            Loose::Digits => vectors(host, ours, alike),
            Loose::Nans(bits) => vectors(host, ours, |h, o| with_nans(h, o, bits)),
            Loose::Underflow if case.state.cw & 0x10 == 0 => *host = ours.clone(),
            Loose::Misaligned if ours.event.vector == 13 => *host = ours.clone(),
            Loose::Undefined if ours.event.vector == 6 && !matches!(host.event.vector, 1 | 3) => {
                *host = ours.clone();
            }
            Loose::Access if is_access(host.event) && is_access(ours.event) => {
                access(case, host, ours);
            }
            Loose::Partial if !matches!(ours.event.vector, 1 | 3) => {
                let rip = host.state.rip;
                host.state = State { rip, ..ours.state.clone() };
                host.lines.clone_from(&ours.lines);
            }
            Loose::Foreign if ours.event.vector == 6 => *host = ours.clone(),
            Loose::Absent if host.event.vector == 6 => *host = ours.clone(),
            Loose::Emulated if host.event.vector != 13 => *host = ours.clone(),
            Loose::Values(registers) => values(case, registers, host, ours),
            Loose::Limit => limit(case, host, ours),
            Loose::Memory => host.lines.clone_from(&ours.lines),
            Loose::MxcsrMask => mxcsr_mask(host, ours),
            Loose::MxcsrBit if host.state.mxcsr >> 17 & 1 != 0 => *host = ours.clone(),
            Loose::Rounded if (host.event.vector, ours.event.vector) == (19, 19) => {
                host.state.mxcsr = host.state.mxcsr & !0x38 | ours.state.mxcsr & 0x38;
            }
            Loose::Misaligned
            | Loose::Undefined
            | Loose::Foreign
            | Loose::Absent
            | Loose::Emulated
            | Loose::Access
            | Loose::Partial
            | Loose::MxcsrBit
            | Loose::Underflow
            | Loose::Rounded => {}
        }
    }
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
