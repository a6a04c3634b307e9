//! What only system software meets: debug registers, alignment, descending and conforming segments, tasks
//! of 16 bits and by gates, machine-check banks.

use crate::support::*;
use cpu::Stop;
use cpu::state::Activity;

const TF: u64 = 0x100;

/// Runs `code` with breakpoint 0 as DR7 says at `at`; the #DB's return address and DR6.
fn debug(mode: Mode, dr7: u64, at: u64, code: &str) -> Rig {
    let mut r = Rig::new(mode, 0);
    r.cpu.state.sys.cr4 |= 8;
    r.cpu.state.sys.dr[0] = at;
    r.cpu.state.sys.dr7 = 0x400 | dr7;
    r.code(CODE, &format!("{code}; int3"));
    r
}

/// #DB is met at `CODE + at`, with these bits of DR6.
#[track_caller]
fn check_debug(mut r: Rig, mode: Mode, at: u64, dr6: u64) {
    finish(&mut r, mode, DB, &[(0, CODE + at)]);
    assert_eq!(r.cpu.state.sys.dr6 & 0xe00f, dr6);
}

#[test]
fn debug_conditions() {
    // DR7.GD: a fault, and GD is clear in the handler.
    let mut r = debug(Long, 0x2000, 0, "mov rax, dr0");
    finish(&mut r, Long, DB, &[(0, CODE)]);
    assert_eq!((r.cpu.state.sys.dr6 & 0xe00f, r.cpu.state.sys.dr7 & 0x2000), (0x2000, 0));
    // A port: a trap, with CR4.DE alone.
    for code in ["in al, 0x77", "out 0x77, al"] {
        check_debug(debug(Protected, 0x2_0001, 0x77, code), Protected, 2, 1);
        let mut r = debug(Protected, 0x2_0001, 0x77, code);
        r.cpu.state.sys.cr4 &= !8;
        finish(&mut r, Protected, BP, &[(0, CODE + 3)]);
    }
    // A fault at the second NOP, by the local or the global bit.
    check_debug(debug(Long, 1, CODE + 1, "nop; nop"), Long, 1, 1);
    check_debug(debug(Real, 2, CODE + 1, "nop; nop"), Real, 1, 1);
    // A breakpoint that is met but not enabled shows in DR6 with one that is.
    let mut r = debug(Long, 1, CODE + 1, "nop; nop");
    r.cpu.state.sys.dr[3] = CODE + 1;
    check_debug(r, Long, 1, 9);
    // A breakpoint after MOV SS is not met.
    let mut r = debug(Long, 1, CODE + 2, "mov ss, eax; nop");
    r.set_reg(gpr::RAX, 0x10);
    finish(&mut r, Long, BP, &[(0, CODE + 4)]);
    // Lengths of 1, 2, 4 and 8 bytes; the address is aligned down to them.
    for (len, first, last) in [
        (0, 0x1_1003, 0x1_1003),
        (1, 0x1_1002, 0x1_1003),
        (3, 0x1_1000, 0x1_1003),
        (2, 0x1_1000, 0x1_1007),
    ] {
        for (at, hit) in [(first - 1, false), (first, true), (last, true), (last + 1, false)] {
            let mut r = debug(Long, 1 | 3 << 16 | len << 18, 0x1_1003, "mov al, [rbx]");
            r.set_reg(gpr::RBX, at);
            let (vector, rip) = if hit { (1, 2) } else { (3, 3) };
            finish(&mut r, Long, vector, &[(0, CODE + rip)]);
        }
    }
}

#[test]
fn debug_registers_by_number() {
    // DR4 is DR6, or #UD with CR4.DE; what does not fit DR7 is #GP(0).
    let mut r = debug(Long, 0, 0, "mov rax, dr4");
    finish(&mut r, Long, UD, &[(0, CODE)]);
    let mut r = debug(Long, 0, 0, "mov rax, dr4");
    r.cpu.state.sys.cr4 &= !8;
    finish(&mut r, Long, BP, &[]);
    assert_eq!(r.reg(gpr::RAX), 0xffff_0ff0);
    let mut r = debug(Long, 0, 0, "mov dr7, rax");
    r.set_reg(gpr::RAX, 1 << 32);
    finish(&mut r, Long, GP, &[(0, 0), (1, CODE)]);
}

#[test]
fn single_steps_and_their_limits() {
    let step = |code: &str| {
        let mut r = Rig::new(Long, 0);
        r.cpu.set_rflags(TF | 2);
        r.code(CODE, &format!("{code}; nop"));
        r
    };
    check_debug(step("nop"), Long, 1, 0x4000);
    // INT 50h clears TF: its handler is not stepped into.
    finish(&mut step("int 0x50"), Long, 0x50, &[(0, CODE + 2), (2, TF | 2)]);
    // int1 leaves DR6 alone
    let mut r = step("int1");
    r.cpu.set_rflags(2);
    check_debug(r, Long, 1, 0);
    // The trap of MOV SS comes after what follows it
    let mut r = step("mov ss, eax; nop");
    r.set_reg(gpr::RAX, 0x10);
    check_debug(r, Long, 3, 0x4000);
    // Before INT1 the trap of MOV SS is lost, and DR6 shows none
    let mut r = step("mov ss, eax; int1");
    r.set_reg(gpr::RAX, 0x10);
    check_debug(r, Long, 3, 0);
    // Nor does it show with a #DB by DR7.GD.
    let mut r = step("mov ss, eax; mov rax, dr0");
    (r.cpu.state.regs[0], r.cpu.state.sys.dr7) = (0x10, 0x2400);
    check_debug(r, Long, 2, 0x2000);
    // A repeated instruction traps after each iteration.
    let mut r = step("rep lodsb");
    (r.cpu.state.regs[1], r.cpu.state.regs[6]) = (3, STACK);
    finish(&mut r, Long, DB, &[(0, CODE)]);
    assert_eq!(r.reg(gpr::RCX), 2);
    // RF in the image of an IRETQ skips a breakpoint.
    let mut r = debug(Long, 1, CODE + 2, "iretq; nop");
    for (n, v) in [CODE + 2, 8, RF | 2, STACK, 0x10].iter().enumerate() {
        r.put(STACK + 8 * n as u64, &v.to_le_bytes());
    }
    finish(&mut r, Long, BP, &[(0, CODE + 4)]);
}

/// Level 3 with CR0.AM and EFLAGS.AC: INT 50h to a handler at level 3 pushes to a stack that is not
/// aligned.
#[test]
fn alignment_during_delivery() {
    let rig = |ac_cs: u64| {
        let mut r = Rig::new(Protected, 3);
        r.cpu.state.sys.cr0 |= 1 << 18;
        r.cpu.set_rflags(1 << 18 | 2);
        r.set_reg(gpr::RSP, STACK + 1);
        r.code(CODE, "int 0x50");
        for (v, cs) in [(0x50, 0x18), (17, ac_cs)] {
            r.gate(Protected, v, 0xee, 0);
            r.put(IDT + 8 * v + 2, &[cs as u8]);
        }
        r
    };
    finish(&mut rig(8), Protected, AC, &[(0, 0), (1, CODE), (2, 0x1b), (4, STACK + 1)]);
    // A handler of #AC at the same level raises it again, without end: time passes.
    assert_eq!(rig(0x18).run(), Stop::Budget);
}

/// A data segment of limit FFFh at GDT 30h with `rights`; `mov al, [ebx]` through this segment.
#[track_caller]
fn check_descending(rights: u64, at: u64, size16: bool, ok: bool) {
    let mut r = Rig::new(Protected, 0);
    r.put(GDT + 0x30, &(0x0fff | rights << 40).to_le_bytes());
    r.set_reg(gpr::RBX, at);
    r.set_reg(gpr::RAX, 0x30);
    let load = if size16 { "mov ax, [ebx]" } else { "mov al, [ebx]" };
    r.code(CODE, &format!("mov ds, eax; {load}; int3"));
    if ok {
        finish(&mut r, Protected, BP, &[]);
    } else {
        finish(&mut r, Protected, GP, &[(0, 0), (1, CODE + 2)]);
    }
}

#[test]
fn limits() {
    const UP: u64 = 0x92;
    const DOWN: u64 = 0x96;
    const BIG: u64 = 0x4000;
    check_descending(UP, 0xfff, false, true);
    check_descending(UP, 0x1000, false, false);
    check_descending(UP, 0xfff, true, false);
    check_descending(DOWN, 0xfff, false, false);
    check_descending(DOWN, 0x1000, false, true);
    check_descending(DOWN, 0xffff, false, true);
    check_descending(DOWN, 0xffff, true, false);
    check_descending(DOWN, 0x1_0000, false, false);
    check_descending(DOWN | BIG, 0x1_0000, false, true);
    check_descending(DOWN | BIG, 0xffff_ffff, true, false);
}

/// A far CALL from level 3 to code of `rights` at GDT 30h, which runs INT3: CS there, if it is reached.
#[track_caller]
fn check_conforming(cpl: u8, rights: u64, cs: Option<u64>) {
    let mut r = Rig::new(Protected, cpl);
    r.put(GDT + 0x30, &(0x00cf_0000_0000_ffff | rights << 40).to_le_bytes());
    let to = (CODE + 0x100) as u32;
    r.code(CODE, &format!("call 0x30:{to}"));
    r.code(CODE + 0x100, "int3");
    match cs {
        Some(cs) => finish(&mut r, Protected, BP, &[(0, u64::from(to) + 1), (1, cs)]),
        None => finish(&mut r, Protected, GP, &[(0, 0x30), (1, CODE)]),
    }
}

#[test]
fn conforming_segments() {
    check_conforming(3, 0x9e, Some(0x33));
    check_conforming(0, 0x9e, Some(0x30));
    check_conforming(3, 0xfe, Some(0x33));
    check_conforming(0, 0xfe, None);
    check_conforming(3, 0x9a, None);
    check_conforming(3, 0xfa, Some(0x33));
}

const OTHER: u64 = 0x1_2000;

/// A second task at GDT 30h of `kind` (89h, or 81h for 16 bits) that starts at `HANDLERS + 710h`.
fn with_task(kind: u64) -> Rig {
    let mut r = Rig::new(Protected, 0);
    let wide = kind & 8 != 0;
    let limit = if wide { 0x67 } else { 0x2b };
    let low = limit | (OTHER & 0xffff) << 16 | (OTHER >> 16) << 32 | kind << 40;
    r.put(GDT + 0x30, &low.to_le_bytes());
    r.put(GDT + 0x2d, &[0x8b]);
    let mut put = |at: u64, v: u64, size: usize| r.put(OTHER + at, &v.to_le_bytes()[..size]);
    let size = if wide { 4 } else { 2 };
    let (ip, ax, sp, es) = if wide { (32, 40, 56, 72) } else { (14, 18, 26, 34) };
    put(ip, HANDLERS + 0x710, size);
    put(ip + size as u64, 2, size);
    put(ax, 0xaaaa, size);
    put(sp, STACK0, size);
    let segments = if wide { 6 } else { 4 };
    for n in 0..segments {
        put(es + n * size as u64, if n == 1 { 8 } else { 0x10 }, 2);
    }
    r
}

#[test]
fn tasks() {
    // Into a 16-bit task: the upper halves of registers stay
    let mut r = with_task(0x81);
    r.set_reg(gpr::RAX, 0x1234_5678);
    r.code(CODE, "jmp 0x30:0");
    finish(&mut r, Protected, 0x71, &[]);
    assert_eq!((r.reg(gpr::RAX), r.cpu.state.sys.tr.selector), (0x1234_aaaa, 0x30));
    assert_eq!(r.cpu.state.sys.seg[4].selector, 0, "FS is null");
    // #UD through a task gate: RF in the old task's flags, and IRET goes back to the instruction
    let mut r = with_task(0x89);
    r.put(IDT + UD * 8, &(0x30u64 << 16 | 0x85 << 40).to_le_bytes());
    r.code(CODE, "ud2");
    finish(&mut r, Protected, 0x71, &[]);
    assert_eq!((r.word(TSS + 32, 4), r.word(TSS + 36, 4)), (CODE, RF | 2));
    assert_eq!((r.word(OTHER, 2), r.cpu.rflags() & 0x4000), (0x28, 0x4000));
    r.code(HANDLERS + 0x711, "iretd");
    r.code(CODE, "int3");
    r.cpu.state.sys.activity = Activity::Active;
    finish(&mut r, Protected, BP, &[(0, CODE + 1), (1, 8)]);
    assert_eq!((r.word(GDT + 0x35, 1), r.word(GDT + 0x2d, 1)), (0x89, 0x8b));
    // INT n through a task gate saves no RF
    let mut r = with_task(0x89);
    r.put(IDT + 0x50 * 8, &(0x30u64 << 16 | 0x85 << 40).to_le_bytes());
    r.code(CODE, "int 0x50");
    finish(&mut r, Protected, 0x71, &[]);
    assert_eq!((r.word(TSS + 32, 4), r.word(TSS + 36, 4)), (CODE + 2, 2));
    // The T bit of the new task: #DB with DR6.BT before its first instruction.
    let mut r = with_task(0x89);
    r.put(OTHER + 100, &[1]);
    r.code(CODE, "jmp 0x30:0");
    finish(&mut r, Protected, DB, &[(0, HANDLERS + 0x710)]);
    assert_eq!(r.cpu.state.sys.dr6 & 0xe00f, 0x8000);
    // NT without a back link that is a busy task: #TS of the selector
    let mut r = with_task(0x89);
    r.put(TSS, &[0x30, 0]);
    r.cpu.set_rflags(0x4002);
    r.code(CODE, "iretd");
    finish(&mut r, Protected, TS, &[(0, 0x30), (1, CODE)]);
    // A TSS that is too short: #TS of its selector.
    let mut r = with_task(0x89);
    r.put(GDT + 0x30, &[0x66]);
    r.code(CODE, "jmp 0x30:0");
    finish(&mut r, Protected, TS, &[(0, 0x30), (1, CODE)]);
}

/// A call gate from level 3 to level 0, whose stack segment in the TSS is `ss`: the fault, whose handler
/// runs at level 3 for want of a stack.
#[track_caller]
fn check_inner_stack(ss: u64, vector: u64, error: u64) {
    let mut r = Rig::new(Protected, 3);
    let to = HANDLERS + 0x700;
    r.put(GDT + 0x30, &((to & 0xffff) | 8 << 16 | 0xec << 40).to_le_bytes());
    r.put(GDT + 0x38, &(DATA32 & !(0x80 << 40)).to_le_bytes());
    r.put(TSS + 8, &[ss as u8, 0]);
    for v in [10, 12] {
        r.gate(Protected, v, 0xee, 0);
        r.put(IDT + 8 * v + 2, &[0x18]);
        r.code(HANDLERS + 16 * v, "jmp $");
    }
    r.code(CODE, "call 0x33:0");
    assert_eq!(r.run(), Stop::Budget);
    assert_eq!(r.rip(), HANDLERS + 16 * vector, "{:x?}", r.cpu.stats.recent);
    assert_eq!((r.word(r.reg(gpr::RSP), 4), r.word(r.reg(gpr::RSP) + 4, 4)), (error, CODE));
}

#[test]
fn stacks_of_call_gates() {
    check_inner_stack(0, TS, 0);
    check_inner_stack(8, TS, 8);
    check_inner_stack(0x20, TS, 0x20);
    check_inner_stack(0x48, TS, 0x48);
    check_inner_stack(0x38, SS, 0x38);
}

/// `RDMSR`, or `WRMSR` of `write`: what it read, or `None` for #GP(0).
fn msr(number: u32, write: Option<u64>) -> Option<u64> {
    let mut r = Rig::new(Long, 0);
    let v = write.unwrap_or(0);
    r.set_reg(gpr::RCX, number.into());
    r.set_reg(gpr::RAX, v & 0xffff_ffff);
    r.set_reg(gpr::RDX, v >> 32);
    r.code(CODE, if write.is_some() { "wrmsr; hlt" } else { "rdmsr; hlt" });
    assert_eq!(r.run(), Stop::Idle);
    match r.vector() {
        None => Some(r.reg(gpr::RDX) << 32 | r.reg(gpr::RAX)),
        v => {
            assert_eq!(v, Some(GP));
            None
        }
    }
}

/// Machine-check banks are there and hold nothing. SDM vol. 3, "Machine-Check MSRs".
#[test]
fn machine_check_banks() {
    const CAP: u32 = 0x179;
    const STATUS: u32 = 0x17a;
    let banks = msr(CAP, None).unwrap() as u32 & 0xff;
    assert!(banks > 0);
    assert_eq!(msr(CAP, Some(0)), None);
    assert_eq!(msr(STATUS, None), Some(0));
    assert_eq!(msr(STATUS, Some(8)), None);
    for bank in 0..banks {
        let at = 0x400 + 4 * bank;
        assert_eq!(msr(at + 1, None), Some(0), "status of bank {bank}");
        assert!(msr(at + 1, Some(0)).is_some(), "status of bank {bank} is cleared");
        assert_eq!(msr(at + 1, Some(1)), None, "status of bank {bank} takes zero only");
        assert!(msr(at, Some(u64::MAX)).is_some(), "control of bank {bank}");
    }
    assert_eq!(msr(0x400 + 4 * banks, None), None);
}

#[test]
fn rsm_outside_smm() {
    for mode in [Real, Protected, Long] {
        let at = if mode == Real { vec![(0, CODE)] } else { vec![(0, CODE), (1, 8)] };
        check(mode, 0, "rsm", UD, &at);
    }
}
