//! Virtual-8086 mode with CR4.VME, and CR4.PVI at level 3 of protected mode: who handles `INT n`, and
//! what VIF is to the program.

mod rig;

use rig::*;

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
fn v86(cr4: u64, flags: u64, code: &[u8]) -> Rig {
    let mut r = Rig::new(Protected, 0);
    let frame = [IP, 0x900, flags | VM | 2, SP, SS_BASE >> 4, 0, 0, 0, 0];
    for (n, v) in frame.iter().enumerate() {
        r.put(STACK + 4 * n as u64, &(*v as u32).to_le_bytes());
    }
    r.cpu.state.sys.cr4 |= cr4;
    // The redirection map is at 68h, the I/O map behind it.
    r.cpu.state.sys.tr.limit = 0x108;
    r.put(TSS + 0x66, &[0x88, 0]);
    r.gate(Protected, 0x50, 0xee, 0);
    r.put(0x50 * 4, &[OWN as u8, 0, 0, 9]);
    r.put(CODE + OWN, &[0xcc]);
    r.put(CODE, &[0xcf]);
    r.put(CODE + IP, &[code, &[0xcc]].concat());
    r
}

/// `code` ends in the INT3 behind it, with these flags.
#[track_caller]
fn check_flags(cr4: u64, before: u64, code: &[u8], after: u64) {
    let mut r = v86(cr4, before, code);
    let end = IP + code.len() as u64 + 1;
    finish(&mut r, Protected, 3, &[(0, end), (1, 0x900), (2, after | VM | 2)]);
}

/// `code` is #GP(0).
#[track_caller]
fn check_gp(cr4: u64, flags: u64, code: &[u8], at: u64) {
    finish(&mut v86(cr4, flags, code), Protected, 13, &[(0, 0), (1, IP + at), (2, 0x900)]);
}

const INT50: &[u8] = &[0xcd, 0x50];

/// INT 50h goes to the program's own handler, which finds `image` and has the flags `after`.
#[track_caller]
fn check_redirected(before: u64, image: u64, after: u64) {
    let mut r = v86(VME, before, INT50);
    let stack = [(0, OWN + 1), (1, 0x900), (2, after | VM | 2), (3, SP - 6)];
    finish(&mut r, Protected, 3, &stack);
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
    finish(&mut r, Protected, 13, &[(0, 0), (1, IP)]);
    // So it is without VME, and where the map lies outside the TSS.
    let mut r = v86(0, IOPL3, INT50);
    finish(&mut r, Protected, 0x50, &[(0, IP + 2), (1, 0x900)]);
    check_gp(0, 0, INT50, 0);
    let mut r = v86(VME, IOPL3, INT50);
    r.put(TSS + 0x66, &[0xff, 0xff]);
    finish(&mut r, Protected, 13, &[(0, 0), (1, IP)]);
}

#[test]
fn cli_and_sti() {
    check_flags(VME, IF | VIF, &[0xfa], IF);
    check_flags(VME, 0, &[0xfb], VIF);
    check_flags(VME, IF | IOPL3 | VIF, &[0xfa], IOPL3 | VIF);
    check_flags(0, IOPL3, &[0xfb, 0x90], IOPL3 | IF);
    check_gp(VME, VIP, &[0xfb], 0);
    check_gp(0, 0, &[0xfa], 0);
    check_gp(PVI, 0, &[0xfb], 0);
}

/// VIF and VIP at once are #GP(0) before the next instruction, where they mean something.
#[test]
fn pending_virtual_interrupts() {
    let both = VIF | VIP;
    check_gp(VME, both, &[0x90], 0);
    check_flags(VME, both | IOPL3, &[0x90], both | IOPL3);
    check_flags(0, both, &[0x90], both);
    check_flags(PVI, both, &[0x90], both);
    for mode in [Protected, Long] {
        check_pvi(mode, PVI, both, 0x90, None);
        check_pvi(mode, VME, both, 0x90, Some(both));
        check_pvi(mode, PVI, both | IOPL3, 0x90, Some(both | IOPL3));
    }
}

#[test]
fn pushf_and_popf() {
    let mut r = v86(VME, VIF, &[0x9c]);
    finish(&mut r, Protected, 3, &[(3, SP - 2)]);
    assert_eq!(r.word(SS_BASE + SP - 2, 2), IF | IOPL3 | 2);
    let mut r = v86(VME, IF, &[0x9c]);
    finish(&mut r, Protected, 3, &[(3, SP - 2)]);
    assert_eq!(r.word(SS_BASE + SP - 2, 2), IOPL3 | 2);
    // push word IF; popf: VIF, and neither IF nor IOPL
    let popf = |image: u16| [&[0x68][..], &image.to_le_bytes(), &[0x9d]].concat();
    check_flags(VME, 0, &popf(0x200), VIF);
    check_flags(VME, IF | VIF, &popf(0x3001), IF | 1);
    check_flags(VME, VIP, &popf(0), VIP);
    check_gp(VME, VIP, &popf(0x200), 3);
    check_gp(VME, 0, &popf(0x100), 3);
    check_gp(0, 0, &popf(0), 3);
    // pushfd and popfd
    check_gp(VME, 0, &[0x66, 0x9c], 0);
    check_gp(VME, 0, &[0x66, 0x9d], 0);
}

#[test]
fn iret() {
    // push word flags; push cs; push word IP + 9; iret; (hlt); int3
    let code = |flags: u16| {
        let push = [&[0x68][..], &flags.to_le_bytes(), &[0x0e, 0x68, 0x19, 0, 0xcf, 0xf4]].concat();
        assert_eq!(push.len(), 9);
        push
    };
    check_flags(VME, 0, &code(0x3200), VIF);
    check_flags(VME, VIF, &code(0x1), 1);
    check_gp(VME, VIP, &code(0x200), 7);
    check_gp(VME, 0, &code(0x100), 7);
    check_gp(0, 0, &code(0), 7);
    check_gp(VME, 0, &[0x66, 0xcf], 0);
}

/// CLI or STI at level 3 of protected mode, IOPL 0.
#[track_caller]
fn check_pvi(mode: Mode, cr4: u64, before: u64, code: u8, after: Option<u64>) {
    let mut r = Rig::new(mode, 3);
    r.cpu.state.sys.cr4 |= cr4;
    r.cpu.set_rflags(before | 2);
    r.put(CODE, &[code, 0xcc]);
    match after {
        Some(flags) => finish(&mut r, mode, 3, &[(0, CODE + 2), (2, flags | 2)]),
        None => finish(&mut r, mode, 13, &[(0, 0), (1, CODE)]),
    }
}

#[test]
fn protected_mode() {
    for mode in [Protected, Long] {
        check_pvi(mode, PVI, VIF | IF, 0xfa, Some(IF));
        check_pvi(mode, PVI, 0, 0xfb, Some(VIF));
        check_pvi(mode, PVI, VIP, 0xfb, None);
        check_pvi(mode, VME, VIF, 0xfa, None);
        check_pvi(mode, 0, 0, 0xfb, None);
    }
}

/// IRETD at level 0 loads VIF and VIP; CPUID shows VME, and CR4 has the bits.
#[test]
fn at_level_0() {
    let mut r = Rig::new(Protected, 0);
    for (n, v) in [CODE + 1, 8, VIF | VIP | 2].iter().enumerate() {
        r.put(STACK + 4 * n as u64, &(*v as u32).to_le_bytes());
    }
    r.put(CODE, &[0xcf, 0xcc]);
    finish(&mut r, Protected, 3, &[(0, CODE + 2), (2, VIF | VIP | 2)]);
    assert_eq!(r.cpu.cpuid(1, 0)[3] & 2, 2);
    assert_eq!(r.cpu.state.model.cr4_bits() & 3, 3);
}
