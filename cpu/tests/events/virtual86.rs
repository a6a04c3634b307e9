//! Virtual-8086 mode with CR4.VME, and CR4.PVI at level 3 of protected mode: who handles `INT n`, and
//! what VIF is to the program.

use crate::support::asm::assemble;
use crate::support::*;

const VME: u64 = 1;
const PVI: u64 = 2;
const IF: u64 = 0x200;
const IOPL3: u64 = 0x3000;
const VM: u64 = 1 << 17;
const VIF: u64 = 1 << 19;
const VIP: u64 = 1 << 20;
/// Where the program runs: 900h:10h, with the stack at D00h:FF0h.
const IP: u64 = 0x10;
const SP: u64 = 0xff0;
const SS_BASE: u64 = 0xd000;
/// The program's own handler of INT 50h.
const OWN: u64 = 0x80;

/// An IRETD into a virtual-8086 program that runs `code` and then INT3, whose gate is in the IDT.
fn v86(cr4: u64, flags: u64, code: &str) -> Rig {
    let mut r = Rig::new(Protected, 0);
    let frame = [IP, 0x900, flags | VM | 2, SP, SS_BASE >> 4, 0, 0, 0, 0];
    for (n, v) in frame.iter().enumerate() {
        r.put(STACK + 4 * n as u64, &(*v as u32).to_le_bytes());
    }
    r.cpu.state.sys.cr4 |= cr4;
    // The redirection map is at 68h, the I/O map follows.
    r.cpu.state.sys.tr.limit = 0x108;
    r.put(TSS + 0x66, &[0x88, 0]);
    r.gate(Protected, 0x50, 0xee, 0);
    r.put(0x50 * 4, &[OWN as u8, 0, 0, 9]);
    r.code_as(16, CODE + OWN, "int3");
    r.code(CODE, "iretd");
    r.code_as(16, CODE + IP, &format!("{code}; int3"));
    r
}

/// `code` ends in the INT3 after, with these flags.
#[track_caller]
fn check_flags(cr4: u64, before: u64, code: &str, after: u64) {
    let mut r = v86(cr4, before, code);
    let end = IP + assemble(16, IP, code).len() as u64 + 1;
    finish(&mut r, Protected, BP, &[(0, end), (1, 0x900), (2, after | VM | 2)]);
}

/// `code` is #GP(0).
#[track_caller]
fn check_gp(cr4: u64, flags: u64, code: &str, at: u64) {
    finish(&mut v86(cr4, flags, code), Protected, GP, &[(0, 0), (1, IP + at), (2, 0x900)]);
}

const INT50: &str = "int 0x50";

/// INT 50h goes to the program's own handler, which finds `image` and has the flags `after`.
#[track_caller]
fn check_redirected(before: u64, image: u64, after: u64) {
    let mut r = v86(VME, before, INT50);
    let stack = [(0, OWN + 1), (1, 0x900), (2, after | VM | 2), (3, SP - 6)];
    finish(&mut r, Protected, BP, &stack);
    let words = [0, 2, 4].map(|n| r.word(SS_BASE + SP - 6 + n, 2));
    assert_eq!(words, [IP + 2, 0x900, image | 2]);
}

#[test]
fn software_interrupts() {
    check_redirected(IF | IOPL3, IF | IOPL3, IOPL3);
    check_redirected(IF | VIF, IF | IOPL3, IF);
    check_redirected(IF, IOPL3, IF);
    check_redirected(0, IOPL3, 0);
    // The bit in the map leads to the IDT, which takes IOPL 3.
    let mut r = v86(VME, IOPL3, INT50);
    r.put(TSS + 0x68 + 0x50 / 8, &[1]);
    finish(&mut r, Protected, 0x50, &[(0, IP + 2), (1, 0x900)]);
    let mut r = v86(VME, 0, INT50);
    r.put(TSS + 0x68 + 0x50 / 8, &[1]);
    finish(&mut r, Protected, GP, &[(0, 0), (1, IP)]);
    // So it is without VME, and where the map lies outside the TSS.
    let mut r = v86(0, IOPL3, INT50);
    finish(&mut r, Protected, 0x50, &[(0, IP + 2), (1, 0x900)]);
    check_gp(0, 0, INT50, 0);
    let mut r = v86(VME, IOPL3, INT50);
    r.put(TSS + 0x66, &[0xff, 0xff]);
    finish(&mut r, Protected, GP, &[(0, 0), (1, IP)]);
}

#[test]
fn cli_and_sti() {
    check_flags(VME, IF | VIF, "cli", IF);
    check_flags(VME, 0, "sti", VIF);
    check_flags(VME, IF | IOPL3 | VIF, "cli", IOPL3 | VIF);
    check_flags(0, IOPL3, "sti; nop", IOPL3 | IF);
    check_gp(VME, VIP, "sti", 0);
    check_gp(0, 0, "cli", 0);
    check_gp(PVI, 0, "sti", 0);
}

/// VIF and VIP at once are #GP(0) before the next instruction, where they mean something.
#[test]
fn pending_virtual_interrupts() {
    let both = VIF | VIP;
    check_gp(VME, both, "nop", 0);
    check_flags(VME, both | IOPL3, "nop", both | IOPL3);
    check_flags(0, both, "nop", both);
    check_flags(PVI, both, "nop", both);
    for mode in [Protected, Long] {
        check_pvi(mode, PVI, both, "nop", None);
        check_pvi(mode, VME, both, "nop", Some(both));
        check_pvi(mode, PVI, both | IOPL3, "nop", Some(both | IOPL3));
    }
}

#[test]
fn pushf_and_popf() {
    let mut r = v86(VME, VIF, "pushf");
    finish(&mut r, Protected, BP, &[(3, SP - 2)]);
    assert_eq!(r.word(SS_BASE + SP - 2, 2), IF | IOPL3 | 2);
    let mut r = v86(VME, IF, "pushf");
    finish(&mut r, Protected, BP, &[(3, SP - 2)]);
    assert_eq!(r.word(SS_BASE + SP - 2, 2), IOPL3 | 2);
    // POPF of IF changes VIF, and neither IF nor IOPL.
    let popf = |image: u16| format!("push strict word {image}; popf");
    check_flags(VME, 0, &popf(0x200), VIF);
    check_flags(VME, IF | VIF, &popf(0x3001), IF | 1);
    check_flags(VME, VIP, &popf(0), VIP);
    check_gp(VME, VIP, &popf(0x200), 3);
    check_gp(VME, 0, &popf(0x100), 3);
    check_gp(0, 0, &popf(0), 3);
    check_gp(VME, 0, "pushfd", 0);
    check_gp(VME, 0, "popfd", 0);
}

#[test]
fn iret() {
    // To the instruction after the HLT.
    let code = |flags: u16| {
        let code =
            format!("push strict word {flags}; push cs; push strict word {}; iret; hlt", IP + 9);
        assert_eq!(assemble(16, IP, &code).len(), 9);
        code
    };
    check_flags(VME, 0, &code(0x3200), VIF);
    check_flags(VME, VIF, &code(0x1), 1);
    check_gp(VME, VIP, &code(0x200), 7);
    check_gp(VME, 0, &code(0x100), 7);
    check_gp(0, 0, &code(0), 7);
    check_gp(VME, 0, "iretd", 0);
}

/// CLI or STI at level 3 of protected mode, IOPL 0.
#[track_caller]
fn check_pvi(mode: Mode, cr4: u64, before: u64, code: &str, after: Option<u64>) {
    let mut r = Rig::new(mode, 3);
    r.cpu.state.sys.cr4 |= cr4;
    r.cpu.set_rflags(before | 2);
    r.code(CODE, &format!("{code}; int3"));
    match after {
        Some(flags) => finish(&mut r, mode, BP, &[(0, CODE + 2), (2, flags | 2)]),
        None => finish(&mut r, mode, GP, &[(0, 0), (1, CODE)]),
    }
}

#[test]
fn protected_mode() {
    for mode in [Protected, Long] {
        check_pvi(mode, PVI, VIF | IF, "cli", Some(IF));
        check_pvi(mode, PVI, 0, "sti", Some(VIF));
        check_pvi(mode, PVI, VIP, "sti", None);
        check_pvi(mode, VME, VIF, "cli", None);
        check_pvi(mode, 0, 0, "sti", None);
    }
}

/// IRETD at level 0 loads VIF and VIP; CPUID shows VME, and CR4 has the bits.
#[test]
fn at_level_0() {
    let mut r = Rig::new(Protected, 0);
    for (n, v) in [CODE + 1, 8, VIF | VIP | 2].iter().enumerate() {
        r.put(STACK + 4 * n as u64, &(*v as u32).to_le_bytes());
    }
    r.code(CODE, "iretd; int3");
    finish(&mut r, Protected, BP, &[(0, CODE + 2), (2, VIF | VIP | 2)]);
    assert_eq!(r.cpu.cpuid(1, 0)[3] & 2, 2);
    assert_eq!(r.cpu.state.model.cr4_bits() & 3, 3);
}
