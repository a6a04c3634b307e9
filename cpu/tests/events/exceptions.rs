//! Events: exceptions, interrupts, NMI, INIT and debug exceptions met by small programs on a bare
//! processor. The row says what the handler that is reached finds on its stack.

use crate::support::asm::assemble;
use crate::support::*;
use cpu::Stop;

use cpu::bus::{Destination, Message};
use cpu::state::{Activity, Apic, seg};

#[test]
fn exceptions_in_every_mode() {
    check(Real, 0, "ud2", UD, &[(0, CODE), (1, 0), (2, 2)]);
    check(Protected, 0, "ud2", UD, &[(0, CODE), (1, 8), (2, 2 | RF)]);
    check(Long, 0, "ud2", UD, &[(0, CODE), (1, 8), (2, 2 | RF), (3, STACK), (4, 0x10)]);
    // The same from level 3: the stack is the TSS's, aligned in 64-bit mode.
    let outer = [(0, CODE), (1, 0x1b), (2, 2 | RF), (3, STACK), (4, 0x23)];
    check(Protected, 3, "ud2", UD, &outer);
    check(Long, 3, "ud2", UD, &outer);
    // HLT at level 3 is #GP(0).
    check(Protected, 3, "hlt", GP, &[(0, 0), (1, CODE), (2, 0x1b)]);
    check(Long, 3, "hlt", GP, &[(0, 0), (1, CODE), (2, 0x1b)]);
    // A page that is not there.
    check(Long, 3, "mov eax, [qword 0x40000000]", PF, &[(0, 4), (1, CODE)]);
    check(Long, 0, "mov [qword 0x40000000], al", PF, &[(0, 2), (1, CODE)]);
}

#[test]
fn software_interrupts() {
    check(Real, 0, "int 0x50", 0x50, &[(0, CODE + 2), (1, 0), (2, 2)]);
    check(Protected, 0, "int 0x50", 0x50, &[(0, CODE + 2), (1, 8), (2, 2)]);
    check(Long, 0, "int 0x50", 0x50, &[(0, CODE + 2), (1, 8), (2, 2)]);
    // At level 3 the gate's DPL of 0 forbids it: #GP with the vector and the IDT bit, without EXT.
    check(Protected, 3, "int 0x50", GP, &[(0, 0x50 * 8 + 2), (1, CODE)]);
    check(Long, 3, "int 0x50", GP, &[(0, 0x50 * 8 + 2), (1, CODE)]);
    // INT3 has a gate of DPL 3
    check(Protected, 3, "int3", BP, &[(0, CODE + 1), (1, 0x1b)]);
    check(Long, 3, "int3", BP, &[(0, CODE + 1), (1, 0x1b)]);
    // INT1 does not look at the DPL
    check(Long, 3, "int1", DB, &[(0, CODE + 1), (1, 0x1b)]);
}

/// A gate changed before `code` runs.
#[track_caller]
fn check_gate(mode: Mode, gate: (u64, u64, u64), code: &str, vector: u64, stack: &[(u64, u64)]) {
    let mut r = Rig::new(mode, 0);
    r.gate(mode, gate.0, gate.1, gate.2);
    r.code(CODE, code);
    finish(&mut r, mode, vector, stack);
}

#[test]
fn gates() {
    const UD2: &str = "ud2";
    // Not present: #NP with EXT. A wrong type: #GP.
    check_gate(Protected, (6, 0x0e, 0), UD2, NP, &[(0, 6 * 8 + 3), (1, CODE)]);
    check_gate(Long, (6, 0x0e, 0), UD2, NP, &[(0, 6 * 8 + 3), (1, CODE)]);
    check_gate(Protected, (6, 0x82, 0), UD2, GP, &[(0, 6 * 8 + 3), (1, CODE)]);
    check_gate(Long, (6, 0x86, 0), UD2, GP, &[(0, 6 * 8 + 3), (1, CODE)]);
    // Both #NP and its handler are not there: double fault.
    let mut r = Rig::new(Long, 0);
    r.gate(Long, 6, 0x0e, 0);
    r.gate(Long, 11, 0x0e, 0);
    r.code(CODE, UD2);
    finish(&mut r, Long, DF, &[(0, 0), (1, CODE)]);
    // An IST stack.
    let mut r = Rig::new(Long, 0);
    r.gate(Long, 6, 0x8e, 1);
    r.code(CODE, UD2);
    finish(&mut r, Long, UD, &[(0, CODE), (3, STACK)]);
    assert_eq!(r.reg(gpr::RSP), IST1 - 40);
}

#[test]
fn triple_fault() {
    let mut r = Rig::new(Long, 0);
    r.cpu.state.sys.idtr.limit = 0;
    r.code(CODE, "ud2");
    assert_eq!(r.run(), Stop::TripleFault);
    let chain: Vec<u8> = r.cpu.stats.recent.iter().map(|(e, _)| e.vector).collect();
    assert_eq!(chain, [6, 13, 8]);
}

/// An external interrupt arrives before `code`, with IF clear; `at`: where it is taken.
#[track_caller]
fn check_interrupt(code: &str, at: u64) {
    let code = assemble(64, CODE, code);
    for mode in [Real, Protected, Long] {
        let mut r = Rig::new(mode, 0);
        r.put(CODE, &code);
        r.cpu.state.sys.intr = true;
        finish(&mut r, mode, 0x40, &[(0, at)]);
        assert_eq!(r.cpu.rflags() & 0x200, 0, "IF is clear in the handler");
    }
}

#[test]
fn interrupts_wait_for_the_shadow() {
    // Taken after the first NOP.
    check_interrupt("sti; nop; nop; hlt", CODE + 2);
    // Taken after the HLT.
    check_interrupt("sti; hlt", CODE + 2);
    // One instruction of STI's, then one of SS's
    check_interrupt("mov eax, ss; sti; mov ss, eax; nop; nop; hlt", CODE + 6);
    // Two STIs give one shadow
    check_interrupt("sti; sti; nop; hlt", CODE + 2);
}

#[test]
fn nmi_waits_for_iret() {
    let mut r = Rig::new(Long, 0);
    r.code(CODE, "nop; hlt");
    r.cpu.state.sys.nmi_pending = true;
    finish(&mut r, Long, NMI, &[(0, CODE)]);
    assert!(r.cpu.state.sys.nmi_blocked);
    r.cpu.state.sys.nmi_pending = true;
    assert!(!r.cpu.wakeable(), "blocked");
    r.code(HANDLERS + 0x21, "iretq");
    r.cpu.state.sys.activity = Activity::Active;
    finish(&mut r, Long, NMI, &[(0, CODE)]);
}

#[test]
fn nmis_are_latched_one_behind_another() {
    let mut r = Rig::new(Long, 0);
    r.code(CODE, "nop; hlt");
    let nmi =
        Message { destination: Destination::All, delivery: 4, vector: 0, level: false, source: 0 };
    for _ in 0..3 {
        r.cpu.receive(&nmi);
    }
    finish(&mut r, Long, NMI, &[(0, CODE)]);
    assert!(r.cpu.state.sys.nmi_pending, "the second waits, the third is lost");
    r.cpu.receive(&nmi);
    r.code(HANDLERS + 0x21, "iretq");
    r.cpu.state.sys.activity = Activity::Active;
    finish(&mut r, Long, NMI, &[(0, CODE)]);
    assert!(!r.cpu.state.sys.nmi_pending, "no third, and none that came while NMIs were blocked");
}

/// An NMI that comes right behind the first instruction of `code`; `at`: where it is taken.
#[track_caller]
fn check_nmi_behind(code: &str, at: u64) {
    for mode in [Real, Protected, Long] {
        let mut r = Rig::new(mode, 0);
        r.code(CODE, code);
        r.set_reg(gpr::RAX, r.cpu.state.sys.seg[seg::SS].selector.into());
        assert_eq!(r.slice(1), Stop::Budget);
        r.cpu.state.sys.nmi_pending = true;
        finish(&mut r, mode, NMI, &[(0, CODE + at)]);
    }
}

#[test]
fn nmi_waits_for_the_shadow() {
    check_nmi_behind("sti; nop; nop", 2);
    check_nmi_behind("sti; hlt; nop", 2);
    check_nmi_behind("db 0x8e, 0xd0; nop; nop", 3);
    check_nmi_behind("nop; nop; nop", 1);
    // With IF set, STI holds nothing back.
    let mut r = Rig::new(Long, 0);
    r.cpu.set_rflags(0x202);
    r.code(CODE, "sti; nop; nop");
    r.slice(1);
    r.cpu.state.sys.nmi_pending = true;
    finish(&mut r, Long, NMI, &[(0, CODE + 1)]);
}

/// What comes between two iterations of a REP finds RF set, what comes after the last one does not.
#[test]
fn rf_between_iterations() {
    for (count, at, rf) in [(3, 0, RF), (1, 2, 0)] {
        let mut r = Rig::new(Long, 0);
        r.code(CODE, "rep stosb; nop");
        (r.cpu.state.regs[7], r.cpu.state.regs[1]) = (0x1_1000, count);
        r.cpu.set_rflags(0x102);
        finish(&mut r, Long, DB, &[(0, CODE + at), (2, 0x102 | rf)]);
        assert_eq!(r.reg(gpr::RCX), count - 1);
    }
}

#[test]
fn single_steps() {
    // The trap comes after the first NOP.
    let long = "pushfq; or word [rsp], 0x100; popfq; nop; nop; hlt";
    let mut r = Rig::new(Long, 0);
    r.code(CODE, long);
    finish(&mut r, Long, DB, &[(0, CODE + 9), (2, 0x102)]);
    assert_eq!(r.cpu.state.sys.dr6 & 0x4000, 0x4000);
    assert_eq!(r.cpu.rflags() & 0x100, 0);
}

/// With BTF only branches trap, and the trap ends that.
#[test]
fn single_steps_at_branches() {
    let steps = |code: &str, at: u64| {
        let mut r = Rig::new(Long, 0);
        r.code(CODE, code);
        r.cpu.set_rflags(0x102);
        r.cpu.state.sys.msr.debugctl = 3;
        (r.cpu.state.regs[7], r.cpu.state.regs[1]) = (0x1_1000, 3);
        finish(&mut r, Long, DB, &[(0, CODE + at)]);
        assert_eq!(r.cpu.state.sys.msr.debugctl, 0);
    };
    steps("nop; nop; jmp l; ud2; l: nop", 6);
    steps("nop; l: dec ecx; jne l", 1);
    steps("cmp ecx, 0; je l; call l; ud2; l: ret", 12);
    steps("rep stosb; jmp $", 2);
}

#[test]
fn breakpoints() {
    let mut r = Rig::new(Long, 0);
    r.code(CODE, "nop; nop; hlt");
    r.cpu.state.sys.dr[0] = CODE + 1;
    r.cpu.state.sys.dr7 = 0x402;
    finish(&mut r, Long, DB, &[(0, CODE + 1)]);
    assert_eq!(r.cpu.state.sys.dr6 & 0xf, 1);
}

#[test]
fn ports() {
    // At level 3 with IOPL 0 the bit map decides: port 10h is free, 11h is not.
    let mut r = Rig::new(Protected, 3);
    r.put(TSS + 0x66, &[0x68, 0]);
    r.put(TSS + 0x68, &[0, 0, 0xfe, 0xff]);
    r.cpu.state.sys.tr.limit = 0x6b;
    r.code(CODE, "in al, 0x10; out 0x10, al; in al, 0x11");
    finish(&mut r, Protected, GP, &[(0, 0), (1, CODE + 4)]);
    assert_eq!(r.board.written, [(0x10, 0x10)]);
}

#[test]
fn repeated_port_output() {
    let mut r = Rig::new(Real, 0);
    r.code(CODE, "mov cx, 3; mov si, 0x9000; mov dx, 0x77; rep outsb; hlt");
    assert_eq!(r.run(), Stop::Idle);
    assert_eq!(r.board.written, [(0x77, 0xb9), (0x77, 3), (0x77, 0)]);
    assert_eq!(r.reg(gpr::RCX), 0);
    assert_eq!(r.reg(gpr::RSI), CODE + 3);
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
        r.code(CODE, "hlt");
        r.cpu.state.rip = 0x500;
        r.cpu.receive(&message(5));
        r.cpu.receive(&message(6));
        assert!(r.cpu.wakeable());
        assert_eq!(r.run(), Stop::Idle);
        assert_eq!((r.cpu.state.sys.activity, r.rip()), (Activity::Hlt, 1));
        assert_eq!(r.cpu.state.sys.seg[seg::CS].base, CODE);
        // A start-up IPI to a running processor is lost.
        r.cpu.receive(&message(6));
        assert!(!r.cpu.wakeable());
    }
}

/// Breakpoint 0 with R/W field `kind` on 8 bytes at 1_1000h; the trap is met after `code`.
#[track_caller]
fn check_watch(kind: u64, code: &str, hit: bool) {
    let mut r = Rig::new(Long, 0);
    let end = CODE + r.length(code);
    r.code(CODE, code);
    r.code(end, "int3");
    r.set_reg(gpr::RBX, 0x1_1004);
    r.cpu.state.sys.dr[0] = 0x1_1000;
    r.cpu.state.sys.dr7 = 0x402 | kind << 16 | 2 << 18;
    let (vector, rip) = if hit { (1, 0) } else { (3, 1) };
    finish(&mut r, Long, vector, &[(0, end + rip)]);
    assert_eq!(r.cpu.state.sys.dr6 & 0xf, hit as u64);
}

#[test]
fn watchpoints() {
    check_watch(1, "mov [rbx], eax", true);
    check_watch(3, "mov [rbx], eax", true);
    check_watch(1, "mov eax, [rbx]", false);
    check_watch(3, "mov eax, [rbx]", true);
    check_watch(3, "mov eax, [rbx-8]", false);
    check_watch(3, "mov al, [rbx-5]", false);
    check_watch(1, "inc dword [rbx]", true);
    // A repeated store stops after the element that hit: 3 of 8 bytes are left.
    let mut r = Rig::new(Long, 0);
    r.code(CODE, "rep stosb");
    (r.cpu.state.regs[7], r.cpu.state.regs[1]) = (0x1_0ffc, 8);
    r.cpu.state.sys.dr[1] = 0x1_1000;
    r.cpu.state.sys.dr7 = 0x408 | 1 << 20;
    finish(&mut r, Long, DB, &[(0, CODE)]);
    assert_eq!((r.reg(gpr::RCX), r.cpu.state.sys.dr6 & 0xf), (3, 2));
}

/// An instruction over the end of a page, run once; then its second page is unmapped.
#[test]
fn the_second_page_of_a_decoded_instruction_goes() {
    let (pages, at) = (0x20_0000u64, 0x2_fffe);
    let mut r = Rig::new(Long, 0);
    (0..512).for_each(|n| r.put(pages + n * 8, &(n << 12 | 7).to_le_bytes()));
    r.put(0x3000, &(pages | 7).to_le_bytes());
    r.put(0x3008, &(pages | 0x87).to_le_bytes());
    let entry = pages + 0x30 * 8;
    r.code(CODE, &format!("call {at}; mov dword [{entry}], 0; invlpg [0x30000]; call {at}"));
    r.code(at, "add ebx, strict dword 1; ret");
    finish(&mut r, Long, PF, &[(0, 0x10), (1, at)]);
    assert_eq!((r.cpu.state.sys.cr2, r.reg(gpr::RBX)), (0x3_0000, 1));
}

/// An interrupt that comes with an NMI, whose handler leaves IF set, is taken after the handler's first
/// instruction, in one run or many.
#[test]
fn two_at_one_boundary() {
    for step in [10_000, 1] {
        let mut r = Rig::new(Protected, 0);
        r.cpu.state.apic = Apic::new(0);
        r.cpu.state.apic.base &= !cpu::state::apic::BASE_EN;
        r.gate(Protected, 2, 0x8f, 0);
        r.code(HANDLERS + 0x20, "nop; nop; hlt");
        r.cpu.set_rflags(0x202);
        (r.cpu.state.sys.nmi_pending, r.cpu.state.sys.intr) = (true, true);
        for _ in 0..20 {
            r.slice(r.now + step);
        }
        finish(&mut r, Protected, 0x40, &[(0, HANDLERS + 0x21)]);
    }
}
