//! The rows of what is not compared, see [`super::differences`].

use super::case::{Case, Mode};
use super::differences::{Loose, Row};
use super::host::components as host_components;
use super::ours::XCR0;
use iced_x86::{
    Code, CpuidFeature, EncodingKind, FlowControl, Instruction, Mnemonic, OpKind, Register,
};

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

/// An operand that goes past the end of 16- or 32-bit addresses, or may: of strings and gathers.
fn wraps(case: &Case, i: &Instruction) -> bool {
    let implied = i.is_string_instruction() || i.mnemonic() == Mnemonic::Maskmovq || gathers(i);
    implied && case.mode != Mode::Bits64 || operand_wraps(case, i)
}

/// A memory operand that goes past the end of 16- or 32-bit addresses.
fn operand_wraps(case: &Case, i: &Instruction) -> bool {
    let registers = [i.memory_base(), i.memory_index()];
    let sizes = registers.map(|r| r.size()).into_iter().chain([i.memory_displ_size() as usize]);
    let limit = match sizes.max() {
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
    offset.is_some_and(|offset| last(offset) > limit)
}

/// [`operand_wraps`] of a masked move.
fn wraps_masked(case: &Case, i: &Instruction) -> bool {
    is_masked(i) && operand_wraps(case, i)
}

fn is_masked(i: &Instruction) -> bool {
    use Mnemonic::{Vmaskmovpd, Vmaskmovps, Vpmaskmovd, Vpmaskmovq};
    matches!(i.mnemonic(), Vmaskmovps | Vmaskmovpd | Vpmaskmovd | Vpmaskmovq)
}

/// Shifts and rotates, unless by 1.
fn by_many(case: &Case, i: &Instruction) -> bool {
    use Mnemonic::{Rcl, Rcr, Rol, Ror, Sal, Sar, Shl, Shld, Shr, Shrd};
    let shifts =
        matches!(i.mnemonic(), Rol | Ror | Rcl | Rcr | Shl | Sal | Shr | Sar | Shld | Shrd);
    shifts && count(case, i) != 1
}

/// Double shifts of 16 bits by more than 16.
fn over(case: &Case, i: &Instruction) -> bool {
    let double = matches!(i.mnemonic(), Mnemonic::Shld | Mnemonic::Shrd);
    double && i.op1_register().size() == 2 && count(case, i) > 16
}

/// The count of a shift that counts.
fn count(case: &Case, i: &Instruction) -> u64 {
    let last = i.op_count() - 1;
    let n = match i.op_kind(last) {
        OpKind::Register => case.state.regs[1],
        _ => i.immediate(last),
    };
    let wide = i.op0_register().size() == 8 || i.memory_size().size() == 8;
    n & if wide { 63 } else { 31 }
}

/// Repeated comparisons of strings.
fn compares_strings(case: &Case, i: &Instruction) -> bool {
    use Mnemonic::{Cmpsb, Cmpsd, Cmpsq, Cmpsw, Scasb, Scasd, Scasq, Scasw};
    let strings =
        matches!(i.mnemonic(), Cmpsb | Cmpsw | Cmpsd | Cmpsq | Scasb | Scasw | Scasd | Scasq);
    strings && (prefixed(case, 0xf2) || prefixed(case, 0xf3))
}

/// Repeated string instructions with 32-bit addresses in 64-bit mode.
fn short_strings(case: &Case, i: &Instruction) -> bool {
    let repeated = i.has_rep_prefix() || i.has_repne_prefix();
    case.mode == Mode::Bits64 && repeated && i.is_string_instruction() && prefixed(case, 0x67)
}

/// Remainders of divisors that are infinite, or NaNs.
fn by_infinity(case: &Case, i: &Instruction) -> bool {
    matches!(i.mnemonic(), Mnemonic::Fprem | Mnemonic::Fprem1)
        && case.state.st[1].se & 0x7fff == 0x7fff
}

/// Operands whose alignment Intel's processors leave alone.
fn unchecked(_: &Case, i: &Instruction) -> bool {
    use Mnemonic::{Lddqu, Movdir64b, Movdqu, Movupd, Movups};
    use Mnemonic::{Pcmpestri, Pcmpestri64, Pcmpestrm, Pcmpestrm64, Pcmpistri, Pcmpistrm};
    i.code().op_code().encoding() == EncodingKind::VEX
        || matches!(i.mnemonic(), Movups | Movupd | Movdqu | Lddqu | Movdir64b)
        || matches!(i.mnemonic(), Pcmpestri | Pcmpestri64 | Pcmpestrm | Pcmpestrm64)
        || matches!(i.mnemonic(), Pcmpistri | Pcmpistrm)
}

/// A push or pop of a segment register as 32 bits.
fn half_a_word(_: &Case, i: &Instruction) -> bool {
    matches!(i.mnemonic(), Mnemonic::Push | Mnemonic::Pop)
        && i.op0_register().is_segment_register()
        && i.stack_pointer_increment().abs() == 4
}

/// A function of what is least, where underflow is not masked.
fn least(case: &Case, i: &Instruction) -> bool {
    use Mnemonic::{F2xm1, Fpatan, Fptan, Fsin, Fsincos, Fyl2x, Fyl2xp1};
    let function =
        matches!(i.mnemonic(), Fsin | Fsincos | Fptan | Fpatan | F2xm1 | Fyl2x | Fyl2xp1);
    let st = &case.state.st;
    function && case.state.cw & 0x10 == 0 && st[..2].iter().any(|r| r.se & 0x7fff <= 1)
}

/// F3 90 with REX.B.
fn extended_pause(case: &Case, i: &Instruction) -> bool {
    i.code() == Code::Pause && case.code[..i.len() - 1].last().is_some_and(|b| b & 0xf1 == 0x41)
}

/// What differs on every silicon, or on every host under Linux and KVM.
#[rustfmt::skip]
pub const EVERYONES: &[Row] = &[
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
    Row { when: |case, i| i.is_invalid() && prefixed(case, 0xf0), loose: Loose::Undefined,
          why: "which fault comes first where LOCK may not stand: SDM vol. 3, \"Priority Among Concurrent Events\"" },
    Row { when: names!(Rcpps | Rcpss | Rsqrtps | Rsqrtss | Vrcpps | Vrcpss | Vrsqrtps | Vrsqrtss), loose: Loose::Digits,
          why: "12 digits are promised, not which: SDM vol. 2, \"RCPPS\"" },
    Row { when: out_of_range, loose: Loose::All,
          why: "the result is undefined: SDM vol. 2, \"F2XM1\" and \"FYL2XP1\"" },
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
    Row { when: wraps_masked, loose: Loose::All,
          why: "implementation-specific: SDM vol. 3, \"Limit Checking\"; Zen 3 and Zen 4 go on at 0, Zen 5 after the end" },
    Row { when: |case, i| gathers(i) && case.step, loose: Loose::All,
          why: "a trap may come between two elements: SDM vol. 2, \"VPGATHERDD\"" },
    Row { when: |case, i| i.is_invalid() && case.code.windows(3).any(|w| w == [0x0f, 0x01, 0xc1]), loose: Loose::Undefined,
          why: "KVM intercepts VMCALL, whatever stands before it" },
    Row { when: empty_io, loose: Loose::All,
          why: "whether a count of 0 asks for permission: SDM vol. 2, \"INS\" and \"OUTS\", says nothing" },
    Row { when: names!(Fsin | Fcos | Fsincos | Fptan | Fpatan | F2xm1 | Fyl2x | Fyl2xp1), loose: Loose::Ulp,
          why: "the last digit is each implementation's: SDM vol. 1, \"Transcendental Instruction Accuracy\"" },
    Row { when: |_, i| matches!(i.mnemonic(), Mnemonic::Popa | Mnemonic::Popad | Mnemonic::Maskmovq) || i.is_call_far()
              || i.is_call_far_indirect(), loose: Loose::Partial,
          why: "what is done before the fault stays: SDM vol. 3, \"Faults\", promises the old state" },
];

/// What differs on AMD's.
#[rustfmt::skip]
pub const AMDS: &[Row] = &[
    Row { when: |case, i| i.mnemonic() == Mnemonic::Sysret && case.mode != Mode::Bits64, loose: Loose::Undefined,
          why: "AMD has it in compatibility mode: APM vol. 3, \"SYSRET\"; Intel does not: SDM vol. 2, \"SYSRET\"" },
    Row { when: short_branch, loose: Loose::All,
          why: "Intel ignores 66h there: SDM vol. 2, \"Jcc\" and others; AMD does not: APM vol. 3, \"Jcc\"" },
    Row { when: long_pointer, loose: Loose::All,
          why: "AMD has no 64-bit offsets in far pointers: APM vol. 3, \"JMP (Far)\" and \"LDS\"" },
    Row { when: |_, i| i.code() == Code::Reservednop_rm32_r32_0F0D || i.code() == Code::Reservednop_rm16_r16_0F0D
              || i.code() == Code::Reservednop_rm64_r64_0F0D, loose: Loose::All,
          why: "0F 0D on registers is a no-operation for Intel, #UD for AMD: APM vol. 3, \"PREFETCHlevel\"" },
    Row { when: |case, i| i.is_invalid() && prefixed(case, 0xf0) && case.code.windows(2).any(|w| w == [0x0f, 0]), loose: Loose::All,
          why: "AMD lets LOCK stand before group 6: SDM vol. 2, \"LOCK\", does not" },
    Row { when: names!(Sha1msg1 | Sha1msg2 | Sha1nexte | Sha1rnds4 | Sha256msg1 | Sha256msg2 | Sha256rnds2),
          loose: Loose::Misaligned,
          why: "AMD lets their operands be misaligned: APM vol. 4, \"SHA1MSG1\" and others" },
    Row { when: repeated_loop, loose: Loose::All,
          why: "REP is reserved there: SDM vol. 2, \"REP\"; AMD takes its lowest bit for the opcode's" },
    Row { when: half_a_word, loose: Loose::All,
          why: "whether the upper half of the word is accessed: SDM vol. 2, \"PUSH\"" },
    Row { when: names!(Fxsave | Fxsave64 | Xsave | Xsave64 | Xsavec | Xsavec64 | Xsaveopt | Xsaveopt64), loose: Loose::MxcsrMask,
          why: "MXCSR.MM is AMD's own: APM vol. 1, \"Misaligned Exception Mask\"" },
    Row { when: names!(Ldmxcsr | Vldmxcsr | Fxrstor | Fxrstor64 | Xrstor | Xrstor64), loose: Loose::MxcsrBit,
          why: "MXCSR.MM is AMD's own: APM vol. 1, \"Misaligned Exception Mask\"" },
    Row { when: names!(Dpps | Vdpps), loose: Loose::Nans(32),
          why: "which of several NaNs an element gets: SDM vol. 2, \"DPPS\", says nothing; ours is Intel's (Sapphire Rapids)" },
    Row { when: names!(Dppd | Vdppd), loose: Loose::Nans(64),
          why: "which of several NaNs an element gets: SDM vol. 2, \"DPPD\", says nothing; ours is Intel's (Sapphire Rapids)" },
    Row { when: |_, i| matches!(i.code(), Code::Shld_rm16_r16_CL | Code::Shld_rm16_r16_imm8 | Code::Shrd_rm16_r16_CL
              | Code::Shrd_rm16_r16_imm8), loose: Loose::Flags(0x800),
          why: "OF is undefined unless the count is 1: SDM vol. 2, \"SHLD\"" },
    Row { when: |case, i| i.is_invalid() && extended(case), loose: Loose::Undefined,
          why: "AMD's XOP has the length of its map: APM vol. 3, \"XOP Prefix\"" },
    Row { when: |_, i| i.code() == Code::Movsxd_r16_rm16 && i.op1_kind() == OpKind::Memory, loose: Loose::All,
          why: "Intel reads 16 bits, AMD 32: SDM vol. 2, \"MOVSXD\"; APM vol. 3, \"MOVSXD\"" },
    Row { when: |case, i| i.is_invalid() && permutes(case), loose: Loose::Foreign,
          why: "AMD's VPERMQ and VPERMPD do not look at VEX.W: APM vol. 4, \"VPERMQ\"" },
    Row { when: by_infinity, loose: Loose::Underflow,
          why: "a dividend that stays as it is underflows, on AMD's also where the divisor is infinite" },
    Row { when: names!(Mul | Imul), loose: Loose::Flags(0xd4),
          why: "SF, ZF, AF, PF are undefined: SDM vol. 2, \"MUL\"; AMD's leave them alone" },
    Row { when: names!(Div | Idiv), loose: Loose::Flags(0x8d5),
          why: "the flags are undefined: SDM vol. 2, \"DIV\"; AMD's leave CF and OF alone, set AF, clear the others" },
    Row { when: names!(Tzcnt | Lzcnt), loose: Loose::Flags(0x800),
          why: "OF is undefined: SDM vol. 2, \"TZCNT\"; AMD's leave it alone" },
    Row { when: names!(Andn | Blsr | Blsi | Blsmsk | Bzhi | Bextr), loose: Loose::Flags(0x94),
          why: "PF, AF, and SF of BEXTR are undefined: SDM vol. 2, \"ANDN\" and others; AMD's make them of the result" },
    Row { when: names!(Shl | Sal | Shr | Sar | Shld | Shrd), loose: Loose::Flags(0x10),
          why: "AF is undefined: SDM vol. 2, \"SAL/SAR/SHL/SHR\"; AMD's set it" },
    Row { when: names!(Daa | Das | Aaa | Aas), loose: Loose::Flags(0x8c4),
          why: "OF, and more of AAA's, are undefined: SDM vol. 2, \"DAA\" and \"AAA\"; AMD's have them of the sum" },
    Row { when: compares_strings, loose: Loose::Midway,
          why: "SDM vol. 2, \"REP\", has the flags restored at a fault; AMD's show those of the last iteration" },
    Row { when: short_strings, loose: Loose::Upper,
          why: "the upper halves where nothing is done; AMD's leave them alone" },
    Row { when: unchecked, loose: Loose::Aligned,
          why: "AMD's check their alignment, Intel's do not: SDM vol. 2, \"MOVUPS\" and \"VEX exception classes\"" },
    Row { when: extended_pause, loose: Loose::All,
          why: "XCHG R8, rAX on AMD's, PAUSE on Intel's: SDM vol. 2, \"PAUSE\"" },
    Row { when: names!(Fst | Fstp | Fist | Fistp | Fisttp | Fbstp), loose: Loose::Unstored,
          why: "whether the operand is looked at where an unmasked exception keeps it from being stored to" },
    Row { when: names!(Movd | Movq | Movntq), loose: Loose::Top,
          why: "whether TOP is 0 where the store faults: SDM vol. 1, \"Effect of MMX Instructions\"" },
];

/// What differs on Intel's (Sapphire Rapids).
#[rustfmt::skip]
pub const INTELS: &[Row] = &[
    Row { when: by_many, loose: Loose::Flags(0x800),
          why: "OF is undefined unless the count is 1: SDM vol. 2, \"RCL/RCR/ROL/ROR\" and others; immediates and CL differ" },
    Row { when: over, loose: Loose::All,
          why: "the result is undefined: SDM vol. 2, \"SHLD\"" },
    Row { when: wraps, loose: Loose::Wraps,
          why: "implementation-specific: SDM vol. 3, \"Limit Checking\"; Intel's go on at 0 where the limit is FFFFFFFFh" },
    Row { when: |_, i| is_masked(i), loose: Loose::Access,
          why: "the address is that of the last byte: SDM vol. 2, \"VPMASKMOV\", says nothing" },
    Row { when: names!(Vcvtps2ph), loose: Loose::Mxcsr,
          why: "the conversion comes before the store that faults: Intel's specification updates, \"VCVTPS2PH To Memory\"" },
    Row { when: |_, i| i.is_call_near() || i.is_call_near_indirect(), loose: Loose::Partial,
          why: "the return address is written before the target is found to be outside the segment" },
    Row { when: names!(Bound | Vcvtps2ph), loose: Loose::Early,
          why: "whether all of the operand is looked at first: SDM vol. 3, \"Priority Among Concurrent Events\"" },
    Row { when: least, loose: Loose::All,
          why: "the last digit decides about underflow: SDM vol. 1, \"Transcendental Instruction Accuracy\"" },
    Row { when: |_, i| i.code() == Code::Fstp_m80fp, loose: Loose::Partial,
          why: "the part before the end of the segment is stored: SDM vol. 3, \"Faults\", promises the old state" },
];
