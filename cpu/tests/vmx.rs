//! VM exits and entries: a host that enters once and halts where it is exited to, and small guests.
//! A row is a guest program, what it changes in a valid VMCS, and fields as they are after the exit.
//! Every interrupt handler of the guest is a VMCALL at an address that tells its vector.

mod rig;

use cpu::state::vmx::field::Field::{self, *};
use cpu::vmx::controls::bits::{entry, exit, pin, proc, proc2};
use rig::guest::*;

type Fields<'a> = &'a [(Field, u64)];

#[track_caller]
fn check(guest: &[u8], changes: Fields, memory: &[(u64, &[u8])], after: Fields) -> Rig {
    let mut r = Rig::new(guest);
    changes.iter().for_each(|(f, v)| r.set(*f, *v));
    memory.iter().for_each(|(at, b)| r.put(*at, b));
    r.run();
    for (f, v) in after {
        assert_eq!(
            r.get(*f),
            *v,
            "{f:?} is {:#x}, not {v:#x}; reason {}",
            r.get(*f),
            r.get(ExitReason)
        );
    }
    assert_eq!(r.cpu.state.rip, EXITED + 1);
    r
}

fn handler(vector: u64) -> u64 {
    HANDLERS + 16 * vector
}

#[test]
fn instructions_exit() {
    let exits = |guest: &[u8], changes: Fields, reason: u64, length: u64, at: u64| {
        let after = [(ExitReason, reason), (ExitInstructionLength, length), (GuestRip, CODE + at)];
        check(guest, changes, &[], &after);
    };
    exits(&[0x0f, 0xa2], &[], 10, 2, 0);
    exits(&[0x90, 0xf4], &[], 12, 1, 1);
    exits(&[0x0f, 0x08], &[], 13, 2, 0);
    exits(&[0x0f, 0x33], &[(ProcControls, PROC | proc::RDPMC)], 15, 2, 0);
    exits(&[0x0f, 0x31], &[(ProcControls, PROC | proc::RDTSC)], 16, 2, 0);
    exits(&[0x0f, 0x01, 0xc1], &[], 18, 3, 0);
    exits(&[0xf3, 0x90], &[(ProcControls, PROC | proc::PAUSE)], 40, 2, 0);
    exits(&[0x0f, 0x09], &[(ProcControls2, PROC2 | proc2::WBINVD)], 54, 2, 0);
    let rdtscp = [(ProcControls, PROC | proc::RDTSC), (ProcControls2, PROC2 | proc2::RDTSCP)];
    exits(&[0x0f, 0x01, 0xf9], &rdtscp, 51, 3, 0);
    exits(&[0x0f, 0x32], &[], 31, 2, 0);
    exits(&[0x0f, 0x30], &[], 32, 2, 0);
    exits(&[0x0f, 0x01, 0xc2], &[], 20, 3, 0);
    exits(&[0x0f, 0x01, 0xc4], &[], 26, 3, 0);
}

#[test]
fn instructions_that_do_not_exit() {
    // Each goes on to the VMCALL behind it.
    for (guest, changes) in [
        (&[0x0f, 0x31][..], &[][..]),
        (&[0xf3, 0x90], &[]),
        (&[0x0f, 0x09], &[]),
        (&[0x0f, 0x20, 0xd8], &[]),
        (&[0x0f, 0x06], &[(Cr0Mask, 8)]),
        (&[0xe4, 0x64], &[]),
        (&[0x0f, 0x23, 0xf8], &[]),
    ] {
        let program = [guest, &[0x0f, 0x01, 0xc1]].concat();
        check(&program, changes, &[], &[(ExitReason, 18), (GuestRip, CODE + guest.len() as u64)]);
    }
}

#[test]
fn instructions_that_the_guest_does_not_have() {
    for guest in [&[0x0f, 0x01, 0xf9][..], &[0xf3, 0x0f, 0xc7, 0xf8]] {
        check(guest, &[], &[], &[(ExitReason, 18), (GuestRip, handler(6))]);
    }
}

#[test]
fn qualifications() {
    let qualified = |guest: &[u8], changes: Fields, reason: u64, q: u64| {
        check(guest, changes, &[], &[(ExitReason, reason), (ExitQualification, q)]);
    };
    let invlpg = (ProcControls, PROC | proc::INVLPG);
    qualified(&[0xb8, 0x34, 0x12, 0, 0, 0x0f, 0x01, 0x38], &[invlpg], 14, 0x1234);
    // mov eax, 0x80000011; mov cr0, rax: clears NE, which the host owns.
    let mov = [0xb8, 0x11, 0, 0, 0x80, 0x0f, 0x22, 0xc0];
    qualified(&mov, &[(Cr0Mask, 0x20), (Cr0Shadow, 0x20)], 28, 0);
    let mov = [0xb9, 0x20, 0, 0, 0, 0x0f, 0x22, 0xe1];
    qualified(&mov, &[(Cr4Mask, 0x80), (Cr4Shadow, 0x80)], 28, 4 | 1 << 8);
    qualified(
        &[0x0f, 0x20, 0xdb],
        &[(ProcControls, PROC | proc::CR3_STORE)],
        28,
        3 | 1 << 4 | 3 << 8,
    );
    qualified(&[0x0f, 0x22, 0xd8], &[(ProcControls, PROC | proc::CR3_LOAD)], 28, 3);
    qualified(&[0x44, 0x0f, 0x20, 0xc0], &[(ProcControls, PROC | proc::CR8_STORE)], 28, 8 | 1 << 4);
    qualified(&[0x0f, 0x06], &[(Cr0Mask, 8), (Cr0Shadow, 8)], 28, 2 << 4);
    let lmsw = [0xb8, 0x3f, 0, 0, 0, 0x0f, 0x01, 0xf0];
    qualified(&lmsw, &[(Cr0Mask, 8)], 28, 3 << 4 | 0x3f << 16);
    let dr = (ProcControls, PROC | proc::MOV_DR);
    qualified(&[0x0f, 0x23, 0xf8], &[dr], 29, 7);
    qualified(&[0x0f, 0x21, 0xc1], &[dr], 29, 1 << 4 | 1 << 8);
    let io = (ProcControls, PROC | proc::UNCONDITIONAL_IO);
    qualified(&[0xba, 0x64, 0, 0, 0, 0xec], &[io], 30, 1 << 3 | 0x64 << 16);
    qualified(&[0xe7, 0x80], &[io], 30, 3 | 1 << 6 | 0x80 << 16);
    qualified(&[0x66, 0xe7, 0x80], &[io], 30, 1 | 1 << 6 | 0x80 << 16);
}

#[test]
fn string_io() {
    // mov edx, 0x70; mov ecx, 2; mov esi, 0x7000; rep outsb
    let guest = [0xba, 0x70, 0, 0, 0, 0xb9, 2, 0, 0, 0, 0xbe, 0, 0x70, 0, 0, 0xf3, 0x6e];
    let io = (ProcControls, PROC | proc::UNCONDITIONAL_IO);
    let after = [
        (ExitReason, 30),
        (ExitQualification, 1 << 4 | 1 << 5 | 0x70 << 16),
        (GuestLinearAddress, 0x7000),
        (ExitInstructionInfo, 2 << 7 | 3 << 15),
        (GuestRip, CODE + 15),
    ];
    check(&guest, &[io], &[], &after);
}

#[test]
fn bitmaps() {
    let io = (ProcControls, PROC | proc::IO_BITMAPS);
    let msr = (ProcControls, PROC | proc::MSR_BITMAPS);
    let input = [0xe5, 0x63, 0x0f, 0x01, 0xc1];
    check(&input, &[io], &[], &[(ExitReason, 18)]);
    // Port 66h is the last byte of the access.
    check(&input, &[io], &[(IO_BITMAPS + 12, &[0x40])], &[(ExitReason, 30)]);
    check(&input, &[io], &[(IO_BITMAPS + 12, &[0x80])], &[(ExitReason, 18)]);
    // mov edx, 0xfffe; in eax, dx: passes the end of the port space.
    check(&[0xba, 0xfe, 0xff, 0, 0, 0xed], &[io], &[], &[(ExitReason, 30)]);
    // mov ecx, 0xc0000080; rdmsr; vmcall
    let rdmsr = [0xb9, 0x80, 0, 0, 0xc0, 0x0f, 0x32, 0x0f, 0x01, 0xc1];
    check(&rdmsr, &[msr], &[], &[(ExitReason, 18)]);
    check(&rdmsr, &[msr], &[(MSR_BITMAP + 1024 + 16, &[1])], &[(ExitReason, 31)]);
    check(&rdmsr, &[msr], &[(MSR_BITMAP + 3072 + 16, &[1])], &[(ExitReason, 18)]);
    let unknown = [0xb9, 0, 0x20, 0, 0, 0x0f, 0x30];
    check(&unknown, &[msr], &[], &[(ExitReason, 32)]);
}

#[test]
fn shadows_and_offsets() {
    // mov rax, cr4; vmcall
    let masks = [(Cr4Mask, 0x2000), (Cr4Shadow, 0)];
    let r = check(&[0x0f, 0x20, 0xe0, 0x0f, 0x01, 0xc1], &masks, &[], &[(ExitReason, 18)]);
    assert_eq!(r.cpu.state.regs[0], 0x20);
    // rdtsc; vmcall: the entry and nothing else was before it.
    let offset = [(ProcControls, PROC | proc::TSC_OFFSET), (TscOffset, 0x1_0000_0000)];
    let r = check(&[0x0f, 0x31, 0x0f, 0x01, 0xc1], &offset, &[], &[(ExitReason, 18)]);
    assert_eq!((r.cpu.state.regs[0], r.cpu.state.regs[2]), (1, 1));
    // mov rax, cr3; mov cr3, rax: a CR3 target does not exit.
    let targets =
        [(ProcControls, PROC | proc::CR3_LOAD), (Cr3TargetCount, 2), (Cr3Target1, 0x1000)];
    let guest = [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0x0f, 0x01, 0xc1];
    check(&guest, &targets, &[], &[(ExitReason, 18)]);
}

#[test]
fn exceptions() {
    let after = |info: u64, at: u64, length: u64| {
        [
            (ExitReason, 0),
            (ExitInterruptionInfo, info),
            (GuestRip, CODE + at),
            (ExitInstructionLength, length),
            (VectoringInfo, 0),
        ]
    };
    let bit = |v: u64| [(ExceptionBitmap, 1 << v)];
    let r = check(&[0x90, 0x0f, 0x0b], &bit(6), &[], &after(0x8000_0306, 1, 0));
    assert_eq!(r.get(GuestRflags) & 1 << 16, 1 << 16, "RF");
    check(&[0xcc], &bit(3), &[], &after(0x8000_0603, 0, 1));
    check(&[0xf1], &bit(1), &[], &after(0x8000_0501, 0, 1));
    check(&[0xcd, 0x06], &bit(6), &[], &[(ExitReason, 18), (GuestRip, handler(6))]);
    // mov eax, 0x40000000; mov al, [rax]
    let fault = [0xb8, 0, 0, 0, 0x40, 0x8a, 0];
    let r = check(&fault, &bit(14), &[], &after(0x8000_0b0e, 5, 0));
    assert_eq!((r.get(ExitQualification), r.get(ExitInterruptionError)), (0x4000_0000, 0));
    assert_eq!(r.cpu.state.sys.cr2, 0, "an exit leaves CR2 alone");
    let masked = [(ExceptionBitmap, 1 << 14), (PageFaultMask, 1), (PageFaultMatch, 1)];
    check(&fault, &masked, &[], &[(ExitReason, 18), (GuestRip, handler(14))]);
    let inverted = [(PageFaultMask, 1), (PageFaultMatch, 1)];
    check(&fault, &inverted, &[], &after(0x8000_0b0e, 5, 0));
    // pushf; or dword [rsp], 0x100; popf; nop: the trap comes behind the NOP.
    let step = [0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90, 0x90];
    let r = check(&step, &bit(1), &[], &after(0x8000_0301, 10, 0));
    assert_eq!(r.get(ExitQualification), 1 << 14);
}

#[test]
fn triple_faults() {
    check(&[0x0f, 0x0b], &[(GuestIdtrLimit, 0)], &[], &[(ExitReason, 2), (GuestRip, CODE)]);
}

#[test]
fn ept() {
    let entry = |n: u64| EPT + 0x2000 + 8 * n;
    // mov eax, 0x200123; mov cl, [rax] / mov [rax], cl
    let load = [0xb8, 0x23, 1, 0x20, 0, 0x8a, 0x08];
    let store = [0xb8, 0x23, 1, 0x20, 0, 0x88, 0x08];
    let violation = |guest: &[u8], entry_value: &[u8], q: u64| {
        let after = [
            (ExitReason, 48),
            (ExitQualification, q),
            (GuestPhysicalAddress, 0x20_0123),
            (GuestLinearAddress, 0x20_0123),
            (GuestRip, CODE + 5),
        ];
        check(guest, &[], &[(entry(1), entry_value)], &after);
    };
    violation(&load, &[0], 0x181);
    violation(&store, &[0], 0x182);
    violation(&store, &[0xb1], 0x18a);
    violation(&load, &[0xb4], 0x1a1);
    let misconfigured = [(ExitReason, 49), (GuestPhysicalAddress, 0x20_0123)];
    check(&load, &[], &[(entry(1), &[0xb2])], &misconfigured);
    check(&load, &[], &[(entry(1), &[0xbf])], &misconfigured);
}

#[test]
fn windows_and_timers() {
    let window = (ProcControls, PROC | proc::INTERRUPT_WINDOW);
    check(&[0x90], &[window, (GuestRflags, 0x202)], &[], &[(ExitReason, 7), (GuestRip, CODE)]);
    // sti; nop; nop: one instruction behind STI is still protected.
    check(&[0xfb, 0x90, 0x90], &[window], &[], &[(ExitReason, 7), (GuestRip, CODE + 2)]);
    let halted = [window, (GuestRflags, 0x202), (GuestActivity, 1)];
    check(&[0x90], &halted, &[], &[(ExitReason, 7), (GuestRip, CODE)]);
    let nmis = (PinControls, PIN | pin::VIRTUAL_NMIS);
    let window = (ProcControls, PROC | proc::NMI_WINDOW);
    check(&[0x90], &[nmis, window], &[], &[(ExitReason, 8), (GuestRip, CODE)]);
    let trap = (ProcControls, PROC | proc::MONITOR_TRAP);
    check(&[0x90, 0x90], &[trap], &[], &[(ExitReason, 37), (GuestRip, CODE + 1)]);
    // ud2 with the monitor trap flag: the exit comes before the handler's first instruction.
    check(&[0x0f, 0x0b], &[trap], &[], &[(ExitReason, 37), (GuestRip, handler(6))]);
    let timer = (PinControls, PIN | pin::PREEMPTION_TIMER);
    check(&[0x90], &[timer], &[], &[(ExitReason, 52), (GuestRip, CODE)]);
    let saved = [timer, (PreemptionTimer, 2), (ExitControls, EXIT | exit::SAVE_TIMER)];
    let r = check(&[0xeb, 0xfe], &saved, &[], &[(ExitReason, 52), (PreemptionTimer, 0)]);
    // The entry was instruction 0; 64 is where the TSC's bit 5 has changed twice. HLT comes on top.
    assert_eq!(r.cpu.now(), 65);
    check(&[0x0f, 0xa2], &saved, &[], &[(ExitReason, 10), (PreemptionTimer, 2)]);
}

#[test]
fn interrupts_and_nmis() {
    let mut r = Rig::new(&[0xeb, 0xfe]);
    r.set(ExitControls, EXIT | exit::ACKNOWLEDGE);
    r.cpu.state.sys.nmi_blocked = true;
    r.cpu.state.sys.nmi_pending = true;
    r.run();
    assert_eq!((r.get(ExitReason), r.get(ExitInterruptionInfo)), (0, 0x8000_0202));
    assert!(r.cpu.state.sys.nmi_blocked, "an NMI that exits blocks NMIs");
    let mut r = Rig::new(&[0xeb, 0xfe]);
    r.set(ExitControls, EXIT | exit::ACKNOWLEDGE);
    r.cpu.state.sys.intr = true;
    r.run();
    assert_eq!((r.get(ExitReason), r.get(ExitInterruptionInfo)), (1, 0x8000_0040), "IF is 0");
    let mut r = Rig::new(&[0xeb, 0xfe]);
    r.cpu.state.sys.intr = true;
    r.run();
    assert_eq!((r.get(ExitReason), r.get(ExitInterruptionInfo)), (1, 0));
    assert!(r.cpu.state.sys.intr, "not acknowledged");
}

#[test]
fn injections() {
    let injected = |info: u64, more: Fields, vector: u64, rip: u64, error: Option<u64>| {
        let changes = [&[(EntryInterruptionInfo, info)], more].concat();
        let after = [
            (ExitReason, 18),
            (GuestRip, handler(vector)),
            (EntryInterruptionInfo, info & !(1 << 31)),
        ];
        let r = check(&[0xeb, 0xfe], &changes, &[], &after);
        let frame = STACK - 40;
        assert_eq!(r.word(frame), CODE + rip, "RIP on the stack");
        if let Some(e) = error {
            assert_eq!(r.word(frame - 8), e);
        }
        assert_eq!(r.get(GuestRsp), if error.is_some() { frame - 8 } else { frame });
    };
    injected(0x8000_0040, &[(GuestRflags, 0x202)], 0x40, 0, None);
    injected(0x8000_0b0e, &[(EntryErrorCode, 6)], 14, 0, Some(6));
    injected(0x8000_0306, &[(ExceptionBitmap, 1 << 6)], 6, 0, None);
    injected(0x8000_0480, &[(EntryInstructionLength, 2)], 0x80, 2, None);
    injected(0x8000_0603, &[(EntryInstructionLength, 1)], 3, 1, None);
    injected(0x8000_0202, &[(GuestActivity, 1)], 2, 0, None);
    // A pending monitor trap.
    check(
        &[0x90],
        &[(EntryInterruptionInfo, 0x8000_0700)],
        &[],
        &[(ExitReason, 37), (GuestRip, CODE)],
    );
}

#[test]
fn vectoring() {
    // The stack is in a page that EPT does not map.
    let gone = [(EPT + 0x2008, &[0u8][..])];
    let stack = (GuestRsp, 0x20_1000);
    let after = |info: u64, error: u64, length: u64| {
        [
            (ExitReason, 48),
            (VectoringInfo, info),
            (VectoringError, error),
            (ExitInstructionLength, length),
            (GuestRip, CODE),
            (GuestPhysicalAddress, 0x20_0ff8),
        ]
    };
    let inject = |info: u64| (EntryInterruptionInfo, info);
    check(
        &[0x90],
        &[stack, inject(0x8000_0b0e), (EntryErrorCode, 4)],
        &gone,
        &after(0x8000_0b0e, 4, 0),
    );
    check(
        &[0x90],
        &[stack, inject(0x8000_0480), (EntryInstructionLength, 2)],
        &gone,
        &after(0x8000_0480, 0, 2),
    );
    check(&[0xcd, 0x80], &[stack], &gone, &after(0x8000_0480, 0, 2));
    check(&[0x0f, 0x0b], &[stack], &gone, &after(0x8000_0306, 0, 0));
}

#[test]
fn virtual_apic() {
    let shadow = PROC | proc::TPR_SHADOW;
    // mov cr8, rax with rax = 2; vmcall
    let guest = [0xb8, 2, 0, 0, 0, 0x44, 0x0f, 0x22, 0xc0, 0x0f, 0x01, 0xc1];
    let tpr: (u64, &[u8]) = (VIRTUAL_APIC + 0x80, &[0x50]);
    let r = check(&guest, &[(ProcControls, shadow)], &[tpr], &[(ExitReason, 18)]);
    assert_eq!(r.word(VIRTUAL_APIC + 0x80) as u32, 0x20);
    let below = [(ProcControls, shadow), (TprThreshold, 3)];
    check(&guest, &below, &[tpr], &[(ExitReason, 43), (GuestRip, CODE + 9)]);
    // mov eax, APIC_ACCESS + 0x80; mov ecx, [rax]; vmcall
    let access = [(ProcControls, shadow), (ProcControls2, PROC2 | proc2::VIRTUALIZE_APIC)];
    let load = [0xb8, 0x80, 0x90, 1, 0, 0x8b, 0x08, 0x0f, 0x01, 0xc1];
    let r = check(&load, &access, &[tpr], &[(ExitReason, 18)]);
    assert_eq!(r.cpu.state.regs[1], 0x50);
    let load = [0xb8, 0x30, 0x90, 1, 0, 0x8b, 0x08];
    check(
        &load,
        &access,
        &[tpr],
        &[(ExitReason, 44), (ExitQualification, 0x30), (GuestRip, CODE + 5)],
    );
    let store = [0xb8, 0xb0, 0x90, 1, 0, 0x89, 0x08];
    check(&store, &access, &[tpr], &[(ExitReason, 44), (ExitQualification, 0x10b0)]);
}

#[test]
fn failed_entries() {
    let failed = 1u64 << 31;
    let invalid = [(ExitReason, failed | 33), (ExitQualification, 0), (GuestRip, CODE)];
    check(&[0x90], &[(GuestRflags, 0)], &[], &invalid);
    let load = [(EntryMsrLoadCount, 2), (EntryMsrLoadAddress, LIST)];
    // The second entry is FS base, which lists may not load.
    let list: (u64, &[u8]) =
        (LIST, &[0x74, 1, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0xc0]);
    check(&[0x90], &load, &[list], &[(ExitReason, failed | 34), (ExitQualification, 2)]);
}

#[test]
fn msr_lists() {
    // Kernel GS base in and out, sysenter CS for the host.
    let index: &[u8] = &[2, 1, 0, 0xc0, 0, 0, 0, 0, 0x34, 0x12, 0, 0, 0, 0, 0, 0];
    let lists = [
        (EntryMsrLoadCount, 1),
        (EntryMsrLoadAddress, LIST),
        (ExitMsrStoreCount, 1),
        (ExitMsrStoreAddress, LIST + 16),
        (ExitMsrLoadCount, 1),
        (ExitMsrLoadAddress, LIST + 32),
    ];
    let memory =
        [(LIST, index), (LIST + 16, &index[..8]), (LIST + 32, &index[..8]), (LIST + 40, &[7, 0])];
    let r = check(&[0x0f, 0xa2], &lists, &memory, &[(ExitReason, 10)]);
    assert_eq!(r.word(LIST + 24), 0x1234);
    assert_eq!(r.cpu.state.sys.msr.kernel_gs_base, 7);
}

#[test]
fn real_mode_guests() {
    // mov ax, 0x1234; hlt in 16-bit code
    let changes = [
        (GuestCr0, 0x30),
        (EntryControls, ENTRY & !entry::IA32E),
        (GuestEfer, 0),
        (GuestCsRights, 0x9b),
        (GuestCsLimit, 0xffff),
        (GuestSsRights, 0x93),
        (GuestSsLimit, 0xffff),
        (GuestTrRights, 0x8b),
    ];
    let r =
        check(&[0xb8, 0x34, 0x12, 0xf4], &changes, &[], &[(ExitReason, 12), (GuestRip, CODE + 3)]);
    assert_eq!(r.cpu.state.regs[0], 0x1234);
}
