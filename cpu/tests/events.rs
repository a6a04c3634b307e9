//! Events: exceptions, interrupts, NMI, INIT and debug exceptions met by small programs on a bare
//! processor. The row says what the handler that is reached finds on its stack.

mod rig;

use cpu::Stop;
use cpu::bus::{Destination, Message};
use cpu::state::{Activity, Apic, seg};
use rig::*;

#[test]
fn exceptions_in_every_mode() {
    // ud2
    check(Real, 0, &[0x0f, 0x0b], 6, &[(0, CODE), (1, 0), (2, 2)]);
    check(Protected, 0, &[0x0f, 0x0b], 6, &[(0, CODE), (1, 8), (2, 2 | RF)]);
    check(Long, 0, &[0x0f, 0x0b], 6, &[(0, CODE), (1, 8), (2, 2 | RF), (3, STACK), (4, 0x10)]);
    // The same from level 3: the stack is the TSS's, aligned in 64-bit mode.
    let outer = [(0, CODE), (1, 0x1b), (2, 2 | RF), (3, STACK), (4, 0x23)];
    check(Protected, 3, &[0x0f, 0x0b], 6, &outer);
    check(Long, 3, &[0x0f, 0x0b], 6, &outer);
    // hlt at level 3: #GP(0)
    check(Protected, 3, &[0xf4], 13, &[(0, 0), (1, CODE), (2, 0x1b)]);
    check(Long, 3, &[0xf4], 13, &[(0, 0), (1, CODE), (2, 0x1b)]);
    // mov eax, [8000_0000h]: #PF, user read of a page that is not there
    check(Long, 3, &[0xa1, 0, 0, 0, 0x40, 0, 0, 0, 0], 14, &[(0, 4), (1, CODE)]);
    check(Long, 0, &[0xa2, 0, 0, 0, 0x40, 0, 0, 0, 0], 14, &[(0, 2), (1, CODE)]);
}

#[test]
fn software_interrupts() {
    // int 50h
    check(Real, 0, &[0xcd, 0x50], 0x50, &[(0, CODE + 2), (1, 0), (2, 2)]);
    check(Protected, 0, &[0xcd, 0x50], 0x50, &[(0, CODE + 2), (1, 8), (2, 2)]);
    check(Long, 0, &[0xcd, 0x50], 0x50, &[(0, CODE + 2), (1, 8), (2, 2)]);
    // At level 3 the gate's DPL of 0 forbids it: #GP with the vector and the IDT bit, without EXT.
    check(Protected, 3, &[0xcd, 0x50], 13, &[(0, 0x50 * 8 + 2), (1, CODE)]);
    check(Long, 3, &[0xcd, 0x50], 13, &[(0, 0x50 * 8 + 2), (1, CODE)]);
    // int3 has a gate of DPL 3
    check(Protected, 3, &[0xcc], 3, &[(0, CODE + 1), (1, 0x1b)]);
    check(Long, 3, &[0xcc], 3, &[(0, CODE + 1), (1, 0x1b)]);
    // int1 does not look at the DPL
    check(Long, 3, &[0xf1], 1, &[(0, CODE + 1), (1, 0x1b)]);
}

/// A gate changed before `code` runs.
#[track_caller]
fn check_gate(mode: Mode, gate: (u64, u64, u64), code: &[u8], vector: u64, stack: &[(u64, u64)]) {
    let mut r = Rig::new(mode, 0);
    r.gate(mode, gate.0, gate.1, gate.2);
    r.put(CODE, code);
    finish(&mut r, mode, vector, stack);
}

#[test]
fn gates() {
    const UD: &[u8] = &[0x0f, 0x0b];
    // Not present: #NP with EXT. A wrong type: #GP.
    check_gate(Protected, (6, 0x0e, 0), UD, 11, &[(0, 6 * 8 + 3), (1, CODE)]);
    check_gate(Long, (6, 0x0e, 0), UD, 11, &[(0, 6 * 8 + 3), (1, CODE)]);
    check_gate(Protected, (6, 0x82, 0), UD, 13, &[(0, 6 * 8 + 3), (1, CODE)]);
    check_gate(Long, (6, 0x86, 0), UD, 13, &[(0, 6 * 8 + 3), (1, CODE)]);
    // Both #NP and its handler are not there: double fault.
    let mut r = Rig::new(Long, 0);
    r.gate(Long, 6, 0x0e, 0);
    r.gate(Long, 11, 0x0e, 0);
    r.put(CODE, UD);
    finish(&mut r, Long, 8, &[(0, 0), (1, CODE)]);
    // An IST stack.
    let mut r = Rig::new(Long, 0);
    r.gate(Long, 6, 0x8e, 1);
    r.put(CODE, UD);
    finish(&mut r, Long, 6, &[(0, CODE), (3, STACK)]);
    assert_eq!(r.cpu.state.regs[4], IST1 - 40);
}

#[test]
fn triple_fault() {
    let mut r = Rig::new(Long, 0);
    r.cpu.state.sys.idtr.limit = 0;
    r.put(CODE, &[0x0f, 0x0b]);
    assert_eq!(r.run(), Stop::TripleFault);
    let chain: Vec<u8> = r.cpu.stats.recent.iter().map(|(e, _)| e.vector).collect();
    assert_eq!(chain, [6, 13, 8]);
}

/// An external interrupt arrives before `code`, with IF clear; `at`: where it is taken.
#[track_caller]
fn check_interrupt(code: &[u8], at: u64) {
    for mode in [Real, Protected, Long] {
        let mut r = Rig::new(mode, 0);
        r.put(CODE, code);
        r.cpu.state.sys.intr = true;
        finish(&mut r, mode, 0x40, &[(0, at)]);
        assert_eq!(r.cpu.rflags() & 0x200, 0, "IF is clear in the handler");
    }
}

#[test]
fn interrupts_wait_for_the_shadow() {
    // sti; nop; nop: taken behind the first nop
    check_interrupt(&[0xfb, 0x90, 0x90, 0xf4], CODE + 2);
    // sti; hlt: taken behind the hlt
    check_interrupt(&[0xfb, 0xf4], CODE + 2);
    // sti; mov ax, ss; mov ss, ax; nop; nop: one instruction of STI's, then one of SS's
    check_interrupt(&[0x8c, 0xd0, 0xfb, 0x8e, 0xd0, 0x90, 0x90, 0xf4], CODE + 6);
    // sti; sti; nop: two STIs give one shadow
    check_interrupt(&[0xfb, 0xfb, 0x90, 0xf4], CODE + 2);
}

#[test]
fn nmi_waits_for_iret() {
    let mut r = Rig::new(Long, 0);
    r.put(CODE, &[0x90, 0xf4]);
    r.cpu.state.sys.nmi_pending = true;
    finish(&mut r, Long, 2, &[(0, CODE)]);
    assert!(r.cpu.state.sys.nmi_blocked);
    r.cpu.state.sys.nmi_pending = true;
    assert!(!r.cpu.wakeable(), "blocked");
    // iretq
    r.put(HANDLERS + 0x21, &[0x48, 0xcf]);
    r.cpu.state.sys.activity = Activity::Active;
    finish(&mut r, Long, 2, &[(0, CODE)]);
}

#[test]
fn single_steps() {
    // pushf; or word [rsp], 100h; popf; nop; nop: the trap comes behind the first nop
    let long = [0x9c, 0x66, 0x81, 0x0c, 0x24, 0, 1, 0x9d, 0x90, 0x90, 0xf4];
    let mut r = Rig::new(Long, 0);
    r.put(CODE, &long);
    finish(&mut r, Long, 1, &[(0, CODE + 9), (2, 0x102)]);
    assert_eq!(r.cpu.state.sys.dr6 & 0x4000, 0x4000);
    assert_eq!(r.cpu.rflags() & 0x100, 0);
}

#[test]
fn breakpoints() {
    let mut r = Rig::new(Long, 0);
    r.put(CODE, &[0x90, 0x90, 0xf4]);
    r.cpu.state.sys.dr[0] = CODE + 1;
    r.cpu.state.sys.dr7 = 0x402;
    finish(&mut r, Long, 1, &[(0, CODE + 1)]);
    assert_eq!(r.cpu.state.sys.dr6 & 0xf, 1);
}

#[test]
fn ports() {
    // At level 3 with IOPL 0 the bit map decides: port 10h is free, 11h is not.
    let mut r = Rig::new(Protected, 3);
    r.put(TSS + 0x66, &[0x68, 0]);
    r.put(TSS + 0x68, &[0, 0, 0xfe, 0xff]);
    r.cpu.state.sys.tr.limit = 0x6b;
    // in al, 10h; out 10h, al; in al, 11h
    r.put(CODE, &[0xe4, 0x10, 0xe6, 0x10, 0xe4, 0x11]);
    finish(&mut r, Protected, 13, &[(0, 0), (1, CODE + 4)]);
    assert_eq!(r.board.written, [(0x10, 0x10)]);
}

#[test]
fn repeated_port_output() {
    let mut r = Rig::new(Real, 0);
    // mov cx, 3; mov si, CODE; mov dx, 77h; rep outsb; hlt
    r.put(CODE, &[0xb9, 3, 0, 0xbe, 0, 0x90, 0xba, 0x77, 0, 0xf3, 0x6e, 0xf4]);
    assert_eq!(r.run(), Stop::Idle);
    assert_eq!(r.board.written, [(0x77, 0xb9), (0x77, 3), (0x77, 0)]);
    assert_eq!(r.cpu.state.regs[1], 0);
    assert_eq!(r.cpu.state.regs[6], CODE + 3);
}

#[test]
fn init_and_start_up() {
    // Both may wait by the time that the processor looks.
    let message = |delivery| Message {
        destination: Destination::Physical(1),
        delivery,
        vector: 9,
        level: false,
        source: 0,
    };
    for running in [false, true] {
        let mut r = Rig::new(Real, 0);
        r.cpu.state.apic = Apic::new(1);
        if !running {
            r.cpu.wait_for_sipi();
        }
        r.put(CODE, &[0xf4]);
        r.cpu.state.rip = 0x500;
        r.cpu.receive(&message(5));
        r.cpu.receive(&message(6));
        assert!(r.cpu.wakeable());
        assert_eq!(r.run(), Stop::Idle);
        assert_eq!((r.cpu.state.sys.activity, r.cpu.state.rip), (Activity::Hlt, 1));
        assert_eq!(r.cpu.state.sys.seg[seg::CS].base, CODE);
        // A start-up IPI to a running processor is lost.
        r.cpu.receive(&message(6));
        assert!(!r.cpu.wakeable());
    }
}

/// Breakpoint 0 with R/W field `kind` on 8 bytes at 1_1000h; the trap is met behind `code`.
#[track_caller]
fn check_watch(kind: u64, code: &[u8], hit: bool) {
    let mut r = Rig::new(Long, 0);
    r.put(CODE, code);
    r.put(CODE + code.len() as u64, &[0xcc]);
    r.cpu.state.regs[3] = 0x1_1004;
    r.cpu.state.sys.dr[0] = 0x1_1000;
    r.cpu.state.sys.dr7 = 0x402 | kind << 16 | 2 << 18;
    let (vector, rip) = if hit { (1, 0) } else { (3, 1) };
    finish(&mut r, Long, vector, &[(0, CODE + code.len() as u64 + rip)]);
    assert_eq!(r.cpu.state.sys.dr6 & 0xf, hit as u64);
}

#[test]
fn watchpoints() {
    // mov [rbx], eax; mov eax, [rbx]; mov eax, [rbx - 8]; mov al, [rbx - 5]; inc dword [rbx]
    check_watch(1, &[0x89, 0x03], true);
    check_watch(3, &[0x89, 0x03], true);
    check_watch(1, &[0x8b, 0x03], false);
    check_watch(3, &[0x8b, 0x03], true);
    check_watch(3, &[0x8b, 0x43, 0xf8], false);
    check_watch(3, &[0x8a, 0x43, 0xfb], false);
    check_watch(1, &[0xff, 0x03], true);
    // A repeated store stops behind the element that hit: 3 of 8 bytes are left.
    let mut r = Rig::new(Long, 0);
    r.put(CODE, &[0xf3, 0xaa]);
    (r.cpu.state.regs[7], r.cpu.state.regs[1]) = (0x1_0ffc, 8);
    r.cpu.state.sys.dr[1] = 0x1_1000;
    r.cpu.state.sys.dr7 = 0x408 | 1 << 20;
    finish(&mut r, Long, 1, &[(0, CODE)]);
    assert_eq!((r.cpu.state.regs[1], r.cpu.state.sys.dr6 & 0xf), (3, 2));
}

/// An instruction over the end of a page, run once; then its second page is unmapped.
#[test]
fn the_second_page_of_a_decoded_instruction_goes() {
    let (pages, at) = (0x20_0000u64, 0x2_fffe);
    let mut r = Rig::new(Long, 0);
    (0..512).for_each(|n| r.put(pages + n * 8, &(n << 12 | 7).to_le_bytes()));
    r.put(0x3000, &(pages | 7).to_le_bytes());
    r.put(0x3008, &(pages | 0x87).to_le_bytes());
    // call f; mov dword [pages + 0x30 * 8], 0; invlpg [0x30000]; call f. f: add ebx, 1; ret
    r.put(CODE, &[0xe8, 0xf9, 0x6f, 0x02, 0]);
    r.put(CODE + 5, &[0xc7, 0x04, 0x25, 0x80, 0x01, 0x20, 0, 0, 0, 0, 0]);
    r.put(CODE + 16, &[0x0f, 0x01, 0x3c, 0x25, 0, 0, 0x03, 0]);
    r.put(CODE + 24, &[0xe8, 0xe1, 0x6f, 0x02, 0]);
    r.put(at, &[0x81, 0xc3, 1, 0, 0, 0, 0xc3]);
    finish(&mut r, Long, 14, &[(0, 0x10), (1, at)]);
    assert_eq!((r.cpu.state.sys.cr2, r.cpu.state.regs[3]), (0x3_0000, 1));
}

/// An interrupt that comes with an NMI, whose handler leaves IF set, is taken behind the handler's first
/// instruction, in one run or many.
#[test]
fn two_at_one_boundary() {
    for step in [10_000, 1] {
        let mut r = Rig::new(Protected, 0);
        r.cpu.state.apic = Apic::new(0);
        r.cpu.state.apic.base &= !cpu::state::apic::BASE_EN;
        r.gate(Protected, 2, 0x8f, 0);
        r.put(HANDLERS + 0x20, &[0x90, 0x90, 0xf4]);
        r.cpu.set_rflags(0x202);
        (r.cpu.state.sys.nmi_pending, r.cpu.state.sys.intr) = (true, true);
        for _ in 0..20 {
            let Rig { cpu, mmu, code, board, now } = &mut r;
            cpu.run(mmu, code, board, *now, *now + step);
            *now = cpu.now();
        }
        finish(&mut r, Protected, 0x40, &[(0, HANDLERS + 0x21)]);
    }
}
