//! Privilege changes and mode switches: small programs on a bare processor. The row says what the handler
//! that is reached finds on its stack.

use crate::support::*;
use cpu::Stop;
use cpu::state::{Activity, Segment, seg};

/// Runs from `cpl` 0 with these quadwords on the stack; stops in `hlt` or a handler at `rip`.
#[track_caller]
fn check_iretq(frame: [u64; 5], rip: u64, cpl: u8) {
    let mut r = Rig::new(Long, 0);
    r.code(CODE, "iretq");
    // The target.
    r.code(CODE + 0x100, "int3");
    for (n, v) in frame.iter().enumerate() {
        r.put(STACK + 8 * n as u64, &v.to_le_bytes());
    }
    assert_eq!(r.run(), Stop::Idle);
    let slots = if r.vector() == Some(3) { 0 } else { 8 };
    let at = r.reg(gpr::RSP);
    assert_eq!(r.word(at + slots, 8), rip);
    assert_eq!(r.word(at + slots + 8, 8) & 3, cpl as u64);
}

#[test]
fn iretq() {
    let to = CODE + 0x100;
    check_iretq([to, 8, 2, STACK, 0x10], to + 1, 0);
    check_iretq([to, 8, 2, STACK, 0], to + 1, 0);
    check_iretq([to, 0x1b, 2, STACK, 0x23], to + 1, 3);
    // A null SS at level 3, an SS of another level, a data segment as CS: #GP at the IRET.
    check_iretq([to, 0x1b, 2, STACK, 0], CODE, 0);
    check_iretq([to, 0x1b, 2, STACK, 0x10], CODE, 0);
    check_iretq([to, 0x10, 2, STACK, 0x10], CODE, 0);
    check_iretq([1 << 63, 8, 2, STACK, 0x10], CODE, 0);
    // NT is #GP in IA-32e mode.
    let mut r = Rig::new(Long, 0);
    r.cpu.set_rflags(1 << 14 | 2);
    r.code(CODE, "iretq");
    finish(&mut r, Long, GP, &[(0, 0), (1, CODE)]);
}

#[test]
fn system_calls() {
    let mut r = Rig::new(Long, 3);
    r.cpu.state.sys.msr.star = 0x13 << 48 | 8 << 32;
    r.cpu.state.sys.msr.lstar = CODE + 0x100;
    r.cpu.state.sys.msr.sfmask = 0x200;
    r.cpu.set_rflags(0x202);
    r.code(CODE, "syscall; int3");
    r.code(CODE + 0x100, "sysretq");
    finish(&mut r, Long, BP, &[(0, CODE + 3), (1, 0x23), (2, 0x202), (4, 0x1b)]);
    assert_eq!(r.reg(gpr::RCX), CODE + 2);
    assert_eq!(r.reg(11), 0x202);
}

#[test]
fn from_real_to_long_mode() {
    let mut r = Rig::new(Real, 0);
    let gdt = [0, CODE32, DATA32, CODE64];
    for (n, d) in gdt.iter().enumerate() {
        r.put(GDT + 8 * n as u64, &d.to_le_bytes());
    }
    r.put(0x700, &[0x1f, 0, 0, 0x50, 0, 0]);
    let enter = "db 0x66; lgdt [0x700]; mov eax, cr0; or al, 1; mov cr0, eax; jmp dword 8:0x9020";
    r.code(CODE, enter);
    let long = "mov ax, 0x10; mov ds, eax; mov ss, eax; mov eax, 0x20; mov cr4, eax; \
                mov eax, 0x1000; mov cr3, eax; mov ecx, 0xc0000080; rdmsr; or ah, 1; wrmsr; \
                mov eax, cr0; bts eax, 31; mov cr0, eax; jmp 0x18:0x9080";
    r.code_as(32, CODE + 0x20, long);
    r.code_as(64, CODE + 0x80, "mov rax, 0x1122334455667788; hlt");
    assert_eq!(r.run(), Stop::Idle, "{:x?}", r.cpu.stats.recent);
    assert_eq!(r.reg(gpr::RAX), 0x1122_3344_5566_7788);
    assert_eq!(r.rip(), CODE + 0x8b);
    assert_eq!(r.cpu.state.sys.efer & 0x500, 0x500);
}

#[test]
fn segments_of_protected_mode() {
    // A selector outside the GDT.
    check(Protected, 0, "mov ax, 0x48; mov ds, eax", GP, &[(0, 0x48), (1, CODE + 4)]);
    // Level 3 may not load a segment of level 0, nor a null SS.
    check(Protected, 3, "mov ax, 0x10; mov ds, eax", GP, &[(0, 0x10), (1, CODE + 4)]);
    check(Protected, 3, "xor ax, ax; mov ss, eax", GP, &[(0, 0), (1, CODE + 3)]);
    // A null DS faults when it is used.
    check(Protected, 0, "xor eax, eax; mov ds, eax; mov eax, [eax]", GP, &[(0, 0), (1, CODE + 4)]);
    // A far jump to data: #GP(selector).
    check(Protected, 0, "jmp 0x10:0", GP, &[(0, 0x10), (1, CODE)]);
}

/// A call gate of DPL 3 at GDT 30h (and 38h) to a handler that halts.
fn with_call_gate(mode: Mode, parameters: u64) -> Rig {
    let mut r = Rig::new(mode, 3);
    let to = HANDLERS + 0x700;
    let low = (to & 0xffff) | 8 << 16 | parameters << 32 | 0xec << 40;
    r.put(GDT + 0x30, &low.to_le_bytes());
    r.put(GDT + 0x38, &[0; 8]);
    r
}

#[test]
fn call_gates() {
    let mut r = with_call_gate(Protected, 2);
    r.code(CODE, "call 0x33:0");
    r.put(STACK, &0x2222_2222_1111_1111u64.to_le_bytes());
    let stack = [(0, CODE + 7), (1, 0x1b), (2, 0x1111_1111), (3, 0x2222_2222), (4, STACK)];
    finish(&mut r, Protected, 0x70, &stack);
    assert_eq!(r.cpu.state.sys.cpl, 0);
    // Back to level 3, past the parameters on both stacks; then HLT is #GP(0).
    r.code(HANDLERS + 0x701, "retf 8");
    r.code(CODE + 7, "hlt");
    r.cpu.state.sys.activity = Activity::Active;
    finish(&mut r, Protected, GP, &[(0, 0), (1, CODE + 7), (2, 0x1b), (4, STACK + 8)]);
    // The pointer lies two bytes after the instruction.
    let mut r = with_call_gate(Long, 0);
    r.code(CODE, "call far [rip+2]; nop; nop; db 0, 0, 0, 0, 0x33, 0");
    finish(&mut r, Long, 0x70, &[(0, CODE + 6), (1, 0x1b), (2, STACK), (3, 0x23)]);
    // A gate whose DPL is lower than the CPL.
    let mut r = with_call_gate(Protected, 0);
    r.put(GDT + 0x35, &[0x8c]);
    r.code(CODE, "call 0x33:0");
    finish(&mut r, Protected, GP, &[(0, 0x30), (1, CODE)]);
}

#[test]
fn virtual_8086_mode() {
    let mut r = Rig::new(Protected, 0);
    // To 0900h:0010h with IOPL 3, and INT 50h there, whose gate needs DPL 3.
    let frame = [0x10u32, 0x900, 0x2_3002, 0xff0, 0xd00, 0x111, 0x222, 0x333, 0x444];
    for (n, v) in frame.iter().enumerate() {
        r.put(STACK + 4 * n as u64, &v.to_le_bytes());
    }
    r.gate(Protected, 0x50, 0xee, 0);
    r.code(CODE, "iretd");
    r.code(CODE + 0x10, "int 0x50");
    let stack = [(0, 0x12), (1, 0x900), (2, 0x2_3002), (3, 0xff0), (4, 0xd00), (5, 0x111)];
    finish(&mut r, Protected, 0x50, &stack);
    assert_eq!(r.word(r.reg(gpr::RSP) + 32, 4), 0x444, "GS");
    assert_eq!(r.cpu.state.sys.seg[seg::DS].selector, 0);
    assert_eq!((r.cpu.state.sys.cpl, r.cpu.rflags() >> 17 & 1), (0, 0));
    // Below IOPL 3 the same is #GP(0).
    r = Rig::new(Protected, 0);
    for (n, v) in frame.iter().enumerate() {
        r.put(STACK + 4 * n as u64, &v.to_le_bytes());
    }
    r.put(STACK + 8, &0x2_0002u32.to_le_bytes());
    r.code(CODE, "iretd");
    r.code(CODE + 0x10, "int 0x50");
    finish(&mut r, Protected, GP, &[(0, 0), (1, 0x10), (2, 0x900)]);
}

#[test]
fn sixteen_bit_gates() {
    let mut r = Rig::new(Protected, 3);
    r.gate(Protected, 6, 0x86, 0);
    r.code(CODE, "ud2");
    assert_eq!(r.run(), Stop::Idle);
    assert_eq!(r.vector(), Some(6));
    let sp = r.reg(gpr::RSP);
    let words = [CODE, 0x1b, 2, STACK, 0x23];
    for (n, want) in words.iter().enumerate() {
        assert_eq!(r.word(sp + 2 * n as u64, 2), *want, "word {n}");
    }
}

/// A second task at 1_2000h whose TSS descriptor is at GDT 30h; it halts at handler 71h.
fn with_task() -> Rig {
    const OTHER: u64 = 0x1_2000;
    let mut r = Rig::new(Protected, 0);
    let low = 0x67 | (OTHER & 0xffff) << 16 | (OTHER >> 16) << 32 | 0x89 << 40;
    r.put(GDT + 0x30, &low.to_le_bytes());
    // The current TSS is busy.
    r.put(GDT + 0x2d, &[0x8b]);
    let mut put = |off: u64, v: u64| r.put(OTHER + off, &(v as u32).to_le_bytes());
    put(32, HANDLERS + 0x710);
    put(36, 2);
    put(40, 0xaaaa);
    put(56, STACK0);
    for s in [72, 80, 84, 88, 92] {
        put(s, 0x10);
    }
    put(76, 8);
    r
}

#[test]
fn task_switches() {
    // The old task is available again, its state saved; TS is set
    let mut r = with_task();
    r.code(CODE, "jmp 0x30:0");
    finish(&mut r, Protected, 0x71, &[]);
    assert_eq!((r.reg(gpr::RAX), r.reg(gpr::RSP)), (0xaaaa, STACK0));
    assert_eq!(r.cpu.state.sys.tr.selector, 0x30);
    assert_eq!(r.cpu.state.sys.cr0 & 8, 8);
    assert_eq!(r.word(GDT + 0x2d, 1), 0x89);
    assert_eq!(r.word(GDT + 0x35, 1), 0x8b);
    assert_eq!(r.word(TSS + 32, 4), CODE + 7);
    // IRET there leads back after the call.
    let mut r = with_task();
    r.code(CODE, "call 0x30:0; int3");
    r.code(HANDLERS + 0x710, "iretd");
    finish(&mut r, Protected, BP, &[(0, CODE + 8)]);
    assert_eq!(r.cpu.state.sys.tr.selector, 0x28);
    assert_eq!(r.reg(gpr::RSP), STACK - 12);
    assert_eq!(r.word(GDT + 0x35, 1), 0x89);
    // A task gate for #GP, with the error code on the new stack.
    let mut r = with_task();
    r.put(IDT + 13 * 8, &(0x30u64 << 16 | 0x85 << 40).to_le_bytes());
    r.code(CODE, "mov ax, 0x48; mov ds, eax");
    finish(&mut r, Protected, 0x71, &[(0, 0x48)]);
    assert_eq!(r.word(0x1_2000, 2), 0x28, "back link");
    assert_eq!(r.cpu.rflags() & 0x4000, 0x4000);
    // A fault that the switch meets in the new task: a DS that does not exist.
    let mut r = with_task();
    r.put(0x1_2000 + 84, &[0x48]);
    r.code(CODE, "jmp 0x30:0");
    finish(&mut r, Protected, TS, &[(0, 0x48), (1, HANDLERS + 0x710)]);
    // A busy task: #GP(selector).
    let mut r = with_task();
    r.code(CODE, "jmp 0x28:0");
    finish(&mut r, Protected, GP, &[(0, 0x28), (1, CODE)]);
}

/// IRETQ to level 3 makes segments of level 0 null; FS and GS keep their bases, which 64-bit code uses.
#[test]
fn inner_segments_are_dropped() {
    let mut r = Rig::new(Long, 0);
    let base = 0x1234_5000;
    for s in [seg::FS, seg::GS, seg::DS] {
        let g = Segment { base, ..r.cpu.state.sys.seg[s] };
        r.cpu.set_segment(s, g);
    }
    for (n, v) in [CODE + 2, 0x1b, 2, STACK, 0x23].iter().enumerate() {
        r.put(STACK + 8 * n as u64, &v.to_le_bytes());
    }
    r.code(CODE, "iretq; int3");
    finish(&mut r, Long, BP, &[(0, CODE + 3), (1, 0x1b)]);
    for (s, left) in [(seg::FS, base), (seg::GS, base), (seg::DS, 0)] {
        let g = r.cpu.state.sys.seg[s];
        assert_eq!((g.selector, g.unusable(), g.base), (0, true, left));
    }
}
