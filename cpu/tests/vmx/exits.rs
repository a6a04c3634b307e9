//! VM exits and entries: a host that enters once and halts where it is exited to, and small guests.
//! A row is a guest program, what it changes in a valid VMCS, and fields as they are after the exit.
//! Every interrupt handler of the guest is a VMCALL at an address that tells its vector.

use crate::support::asm::assemble;
use crate::support::guest::*;
use crate::support::{BP, DB, PF, Rig, UD, gpr, reason};
use cpu::state::vmx::field::Field::{self, *};
use cpu::vmx::controls::bits::{entry, exit, pin, proc, proc2};

pub(crate) type Fields<'a> = &'a [(Field, u64)];

#[track_caller]
pub(crate) fn check(guest: &str, changes: Fields, memory: &[(u64, &[u8])], after: Fields) -> Rig {
    let mut r = Rig::host_of(guest);
    changes.iter().for_each(|(f, v)| r.set(*f, *v));
    memory.iter().for_each(|(at, b)| r.put(*at, b));
    r.run_to_exit();
    for (f, v) in after {
        assert_eq!(
            r.get(*f),
            *v,
            "{f:?} is {:#x}, not {v:#x}; reason {}",
            r.get(*f),
            r.get(ExitReason)
        );
    }
    assert_eq!(r.rip(), EXITED + 1);
    r
}

pub(crate) fn handler(vector: u64) -> u64 {
    HANDLERS + 16 * vector
}

#[test]
fn instructions_exit() {
    let exits = |guest: &str, changes: Fields, reason: u64, length: u64, at: u64| {
        let after = [(ExitReason, reason), (ExitInstructionLength, length), (GuestRip, CODE + at)];
        check(guest, changes, &[], &after);
    };
    exits("cpuid", &[], reason::CPUID, 2, 0);
    exits("nop; hlt", &[], reason::HLT, 1, 1);
    exits("invd", &[], reason::INVD, 2, 0);
    exits("rdpmc", &[(ProcControls, PROC | proc::RDPMC)], reason::RDPMC, 2, 0);
    exits("rdtsc", &[(ProcControls, PROC | proc::RDTSC)], reason::RDTSC, 2, 0);
    exits("vmcall", &[], reason::VMCALL, 3, 0);
    exits("pause", &[(ProcControls, PROC | proc::PAUSE)], reason::PAUSE, 2, 0);
    exits("wbinvd", &[(ProcControls2, PROC2 | proc2::WBINVD)], reason::WBINVD, 2, 0);
    let rdtscp = [(ProcControls, PROC | proc::RDTSC), (ProcControls2, PROC2 | proc2::RDTSCP)];
    exits("rdtscp", &rdtscp, reason::RDTSCP, 3, 0);
    exits("rdmsr", &[], reason::RDMSR, 2, 0);
    exits("wrmsr", &[], reason::WRMSR, 2, 0);
    exits("vmlaunch", &[], reason::VMLAUNCH, 3, 0);
    exits("vmxoff", &[], reason::VMXOFF, 3, 0);
}

#[test]
fn instructions_that_do_not_exit() {
    // Each goes on to the VMCALL after.
    for (guest, changes) in [
        ("rdtsc", &[][..]),
        ("pause", &[]),
        ("wbinvd", &[]),
        ("mov rax, cr3", &[]),
        ("clts", &[(Cr0Mask, 8)]),
        ("in al, 0x64", &[]),
        ("mov dr7, rax", &[]),
    ] {
        let end = CODE + assemble(64, CODE, guest).len() as u64;
        let after = [(ExitReason, reason::VMCALL), (GuestRip, end)];
        check(&format!("{guest}; vmcall"), changes, &[], &after);
    }
}

#[test]
fn instructions_that_the_guest_does_not_have() {
    for guest in ["rdtscp", "rdpid rax"] {
        check(guest, &[], &[], &[(ExitReason, reason::VMCALL), (GuestRip, handler(UD))]);
    }
}

#[test]
fn qualifications() {
    let qualified = |guest: &str, changes: Fields, reason: u64, q: u64| {
        check(guest, changes, &[], &[(ExitReason, reason), (ExitQualification, q)]);
    };
    let invlpg = (ProcControls, PROC | proc::INVLPG);
    qualified("mov eax, 0x1234; invlpg [rax]", &[invlpg], reason::INVLPG, 0x1234);
    // Clears NE, which the host owns.
    let mov = "mov eax, 0x80000011; mov cr0, rax";
    qualified(mov, &[(Cr0Mask, 0x20), (Cr0Shadow, 0x20)], reason::CR_ACCESS, 0);
    let mov = "mov ecx, 0x20; mov cr4, rcx";
    qualified(mov, &[(Cr4Mask, 0x80), (Cr4Shadow, 0x80)], reason::CR_ACCESS, 4 | 1 << 8);
    qualified(
        "mov rbx, cr3",
        &[(ProcControls, PROC | proc::CR3_STORE)],
        reason::CR_ACCESS,
        3 | 1 << 4 | 3 << 8,
    );
    qualified("mov cr3, rax", &[(ProcControls, PROC | proc::CR3_LOAD)], reason::CR_ACCESS, 3);
    qualified(
        "mov rax, cr8",
        &[(ProcControls, PROC | proc::CR8_STORE)],
        reason::CR_ACCESS,
        8 | 1 << 4,
    );
    qualified("clts", &[(Cr0Mask, 8), (Cr0Shadow, 8)], reason::CR_ACCESS, 2 << 4);
    let lmsw = "mov eax, 0x3f; lmsw eax";
    qualified(lmsw, &[(Cr0Mask, 8)], reason::CR_ACCESS, 3 << 4 | 0x3f << 16);
    let dr = (ProcControls, PROC | proc::MOV_DR);
    qualified("mov dr7, rax", &[dr], reason::MOV_DR, 7);
    qualified("mov rcx, dr0", &[dr], reason::MOV_DR, 1 << 4 | 1 << 8);
    let io = (ProcControls, PROC | proc::UNCONDITIONAL_IO);
    qualified("mov edx, 0x64; in al, dx", &[io], reason::IO, 1 << 3 | 0x64 << 16);
    qualified("out 0x80, eax", &[io], reason::IO, 3 | 1 << 6 | 0x80 << 16);
    qualified("out 0x80, ax", &[io], reason::IO, 1 | 1 << 6 | 0x80 << 16);
}

#[test]
fn string_io() {
    let guest = "mov edx, 0x70; mov ecx, 2; mov esi, 0x7000; rep outsb";
    let io = (ProcControls, PROC | proc::UNCONDITIONAL_IO);
    let after = [
        (ExitReason, reason::IO),
        (ExitQualification, 1 << 4 | 1 << 5 | 0x70 << 16),
        (GuestLinearAddress, 0x7000),
        (ExitInstructionInfo, 2 << 7 | 3 << 15),
        (GuestRip, CODE + 15),
    ];
    check(guest, &[io], &[], &after);
}

#[test]
fn bitmaps() {
    let io = (ProcControls, PROC | proc::IO_BITMAPS);
    let msr = (ProcControls, PROC | proc::MSR_BITMAPS);
    let input = "in eax, 0x63; vmcall";
    check(input, &[io], &[], &[(ExitReason, reason::VMCALL)]);
    // Port 66h is the last byte of the access.
    check(input, &[io], &[(IO_BITMAPS + 12, &[0x40])], &[(ExitReason, reason::IO)]);
    check(input, &[io], &[(IO_BITMAPS + 12, &[0x80])], &[(ExitReason, reason::VMCALL)]);
    // It passes the end of the port space.
    check("mov edx, 0xfffe; in eax, dx", &[io], &[], &[(ExitReason, reason::IO)]);
    let rdmsr = "mov ecx, 0xc0000080; rdmsr; vmcall";
    check(rdmsr, &[msr], &[], &[(ExitReason, reason::VMCALL)]);
    check(rdmsr, &[msr], &[(MSR_BITMAP + 1024 + 16, &[1])], &[(ExitReason, reason::RDMSR)]);
    check(rdmsr, &[msr], &[(MSR_BITMAP + 3072 + 16, &[1])], &[(ExitReason, reason::VMCALL)]);
    let unknown = "mov ecx, 0x2000; wrmsr";
    check(unknown, &[msr], &[], &[(ExitReason, reason::WRMSR)]);
}

#[test]
fn shadows_and_offsets() {
    let masks = [(Cr4Mask, 0x2000), (Cr4Shadow, 0)];
    let r = check("mov rax, cr4; vmcall", &masks, &[], &[(ExitReason, reason::VMCALL)]);
    assert_eq!(r.reg(gpr::RAX), 0x20);
    // The entry and nothing else was before it.
    let offset = [(ProcControls, PROC | proc::TSC_OFFSET), (TscOffset, 0x1_0000_0000)];
    let r = check("rdtsc; vmcall", &offset, &[], &[(ExitReason, reason::VMCALL)]);
    assert_eq!((r.reg(gpr::RAX), r.reg(gpr::RDX)), (2, 1), "two ticks an instruction");
    // A CR3 target does not exit.
    let targets =
        [(ProcControls, PROC | proc::CR3_LOAD), (Cr3TargetCount, 2), (Cr3Target1, 0x1000)];
    let guest = "mov rax, cr3; mov cr3, rax; vmcall";
    check(guest, &targets, &[], &[(ExitReason, reason::VMCALL)]);
}

#[test]
fn exceptions() {
    let after = |info: u64, at: u64, length: u64| {
        [
            (ExitReason, reason::EXCEPTION_OR_NMI),
            (ExitInterruptionInfo, info),
            (GuestRip, CODE + at),
            (ExitInstructionLength, length),
            (VectoringInfo, 0),
        ]
    };
    let bit = |v: u64| [(ExceptionBitmap, 1 << v)];
    let r = check("nop; ud2", &bit(UD), &[], &after(0x8000_0306, 1, 0));
    assert_eq!(r.get(GuestRflags) & 1 << 16, 1 << 16, "RF");
    check("int3", &bit(BP), &[], &after(0x8000_0603, 0, 1));
    check("int1", &bit(DB), &[], &after(0x8000_0501, 0, 1));
    check("int 6", &bit(UD), &[], &[(ExitReason, reason::VMCALL), (GuestRip, handler(UD))]);
    let fault = "mov eax, 0x40000000; mov al, [rax]";
    let r = check(fault, &bit(PF), &[], &after(0x8000_0b0e, 5, 0));
    assert_eq!((r.get(ExitQualification), r.get(ExitInterruptionError)), (0x4000_0000, 0));
    assert_eq!(r.cpu.state.sys.cr2, 0, "an exit leaves CR2 alone");
    let masked = [(ExceptionBitmap, 1 << 14), (PageFaultMask, 1), (PageFaultMatch, 1)];
    check(fault, &masked, &[], &[(ExitReason, reason::VMCALL), (GuestRip, handler(PF))]);
    let inverted = [(PageFaultMask, 1), (PageFaultMatch, 1)];
    check(fault, &inverted, &[], &after(0x8000_0b0e, 5, 0));
    // The trap comes after the NOP.
    let step = "pushfq; or dword [rsp], 0x100; popfq; nop; nop";
    let r = check(step, &bit(DB), &[], &after(0x8000_0301, 10, 0));
    assert_eq!(r.get(ExitQualification), 1 << 14);
}

#[test]
fn triple_faults() {
    check(
        "ud2",
        &[(GuestIdtrLimit, 0)],
        &[],
        &[(ExitReason, reason::TRIPLE_FAULT), (GuestRip, CODE)],
    );
}

#[test]
fn ept() {
    let entry = |n: u64| EPT + 0x2000 + 8 * n;
    let load = "mov eax, 0x200123; mov cl, [rax]";
    let store = "mov eax, 0x200123; mov [rax], cl";
    let violation = |guest: &str, entry_value: &[u8], q: u64| {
        let after = [
            (ExitReason, reason::EPT_VIOLATION),
            (ExitQualification, q),
            (GuestPhysicalAddress, 0x20_0123),
            (GuestLinearAddress, 0x20_0123),
            (GuestRip, CODE + 5),
            (ExitInstructionLength, 2),
        ];
        check(guest, &[], &[(entry(1), entry_value)], &after);
    };
    violation(load, &[0], 0x181);
    violation(store, &[0], 0x182);
    violation(store, &[0xb1], 0x18a);
    violation(load, &[0xb4], 0x1a1);
    let misconfigured = [
        (ExitReason, reason::EPT_MISCONFIGURATION),
        (GuestPhysicalAddress, 0x20_0123),
        (ExitInstructionLength, 2),
    ];
    check(load, &[], &[(entry(1), &[0xb2])], &misconfigured);
    check(load, &[], &[(entry(1), &[0xbf])], &misconfigured);
    // What could not be fetched has no length.
    for (entry_value, reason) in [(0, reason::EPT_VIOLATION), (0xb2, reason::EPT_MISCONFIGURATION)]
    {
        let after = [
            (ExitReason, reason),
            (GuestPhysicalAddress, 0x20_0123),
            (GuestRip, 0x20_0123),
            (ExitInstructionLength, 0),
        ];
        let jump = "mov eax, 0x200123; jmp rax";
        check(jump, &[], &[(entry(1), &[entry_value])], &after);
    }
}

#[test]
fn windows_and_timers() {
    let window = (ProcControls, PROC | proc::INTERRUPT_WINDOW);
    check(
        "nop",
        &[window, (GuestRflags, 0x202)],
        &[],
        &[(ExitReason, reason::INTERRUPT_WINDOW), (GuestRip, CODE)],
    );
    // One instruction after STI is still protected.
    check(
        "sti; nop; nop",
        &[window],
        &[],
        &[(ExitReason, reason::INTERRUPT_WINDOW), (GuestRip, CODE + 2)],
    );
    let halted = [window, (GuestRflags, 0x202), (GuestActivity, 1)];
    check("nop", &halted, &[], &[(ExitReason, reason::INTERRUPT_WINDOW), (GuestRip, CODE)]);
    let nmis = (PinControls, PIN | pin::VIRTUAL_NMIS);
    let window = (ProcControls, PROC | proc::NMI_WINDOW);
    check("nop", &[nmis, window], &[], &[(ExitReason, reason::NMI_WINDOW), (GuestRip, CODE)]);
    let trap = (ProcControls, PROC | proc::MONITOR_TRAP);
    check("nop; nop", &[trap], &[], &[(ExitReason, reason::MONITOR_TRAP), (GuestRip, CODE + 1)]);
    // The exit comes before the handler's first instruction.
    check("ud2", &[trap], &[], &[(ExitReason, reason::MONITOR_TRAP), (GuestRip, handler(UD))]);
    let timer = (PinControls, PIN | pin::PREEMPTION_TIMER);
    check("nop", &[timer], &[], &[(ExitReason, reason::PREEMPTION_TIMER), (GuestRip, CODE)]);
    let saved = [timer, (PreemptionTimer, 2), (ExitControls, EXIT | exit::SAVE_TIMER)];
    let r = check(
        "jmp $",
        &saved,
        &[],
        &[(ExitReason, reason::PREEMPTION_TIMER), (PreemptionTimer, 0)],
    );
    // The entry was instruction 0; after 8, the TSC's bit 3 has changed twice. HLT comes on top.
    assert_eq!(r.cpu.now(), 9);
    check("cpuid", &saved, &[], &[(ExitReason, reason::CPUID), (PreemptionTimer, 2)]);
}

#[test]
fn interrupts_and_nmis() {
    let mut r = Rig::host_of("jmp $");
    r.set(ExitControls, EXIT | exit::ACKNOWLEDGE);
    r.cpu.state.sys.nmi_blocked = true;
    r.cpu.state.sys.nmi_pending = true;
    r.run_to_exit();
    assert_eq!(
        (r.get(ExitReason), r.get(ExitInterruptionInfo)),
        (reason::EXCEPTION_OR_NMI, 0x8000_0202)
    );
    assert!(r.cpu.state.sys.nmi_blocked, "an NMI that exits blocks NMIs");
    let mut r = Rig::host_of("jmp $");
    r.set(ExitControls, EXIT | exit::ACKNOWLEDGE);
    r.cpu.state.sys.intr = true;
    r.run_to_exit();
    assert_eq!(
        (r.get(ExitReason), r.get(ExitInterruptionInfo)),
        (reason::EXTERNAL_INTERRUPT, 0x8000_0040),
        "IF is 0"
    );
    let mut r = Rig::host_of("jmp $");
    r.cpu.state.sys.intr = true;
    r.run_to_exit();
    assert_eq!((r.get(ExitReason), r.get(ExitInterruptionInfo)), (reason::EXTERNAL_INTERRUPT, 0));
    assert!(r.cpu.state.sys.intr, "not acknowledged");
}

#[test]
fn injections() {
    let injected = |info: u64, more: Fields, vector: u64, rip: u64, error: Option<u64>| {
        let changes = [&[(EntryInterruptionInfo, info)], more].concat();
        let after = [
            (ExitReason, reason::VMCALL),
            (GuestRip, handler(vector)),
            (EntryInterruptionInfo, info & !(1 << 31)),
        ];
        let r = check("jmp $", &changes, &[], &after);
        let frame = STACK - 40;
        assert_eq!(r.word(frame, 8), CODE + rip, "RIP on the stack");
        if let Some(e) = error {
            assert_eq!(r.word(frame - 8, 8), e);
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
        "nop",
        &[(EntryInterruptionInfo, 0x8000_0700)],
        &[],
        &[(ExitReason, reason::MONITOR_TRAP), (GuestRip, CODE)],
    );
}

#[test]
fn vectoring() {
    // The stack is in a page that EPT does not map.
    let gone = [(EPT + 0x2008, &[0u8][..])];
    let stack = (GuestRsp, 0x20_1000);
    let after = |info: u64, error: u64, length: u64| {
        [
            (ExitReason, reason::EPT_VIOLATION),
            (VectoringInfo, info),
            (VectoringError, error),
            (ExitInstructionLength, length),
            (GuestRip, CODE),
            (GuestPhysicalAddress, 0x20_0ff8),
        ]
    };
    let inject = |info: u64| (EntryInterruptionInfo, info);
    check(
        "nop",
        &[stack, inject(0x8000_0b0e), (EntryErrorCode, 4)],
        &gone,
        &after(0x8000_0b0e, 4, 0),
    );
    check(
        "nop",
        &[stack, inject(0x8000_0480), (EntryInstructionLength, 2)],
        &gone,
        &after(0x8000_0480, 0, 2),
    );
    check("int 0x80", &[stack], &gone, &after(0x8000_0480, 0, 2));
    check("ud2", &[stack], &gone, &after(0x8000_0306, 0, 0));
}

#[test]
fn virtual_apic() {
    let shadow = PROC | proc::TPR_SHADOW;
    let guest = "mov eax, 2; mov cr8, rax; vmcall";
    let tpr: (u64, &[u8]) = (VIRTUAL_APIC + 0x80, &[0x50]);
    let r = check(guest, &[(ProcControls, shadow)], &[tpr], &[(ExitReason, reason::VMCALL)]);
    assert_eq!(r.word(VIRTUAL_APIC + 0x80, 8) as u32, 0x20);
    let below = [(ProcControls, shadow), (TprThreshold, 3)];
    check(
        guest,
        &below,
        &[tpr],
        &[(ExitReason, reason::TPR_BELOW_THRESHOLD), (GuestRip, CODE + 9)],
    );
    let access = [(ProcControls, shadow), (ProcControls2, PROC2 | proc2::VIRTUALIZE_APIC)];
    let load = "mov eax, 0x19080; mov ecx, [rax]; vmcall";
    let r = check(load, &access, &[tpr], &[(ExitReason, reason::VMCALL)]);
    assert_eq!(r.reg(gpr::RCX), 0x50);
    let load = "mov eax, 0x19030; mov ecx, [rax]";
    check(
        load,
        &access,
        &[tpr],
        &[
            (ExitReason, reason::APIC_ACCESS),
            (ExitQualification, 0x30),
            (GuestRip, CODE + 5),
            (ExitInstructionLength, 2),
        ],
    );
    let store = "mov eax, 0x190b0; mov dword [rax], 0";
    check(
        store,
        &access,
        &[tpr],
        &[
            (ExitReason, reason::APIC_ACCESS),
            (ExitQualification, 0x10b0),
            (ExitInstructionLength, 6),
        ],
    );
}

#[test]
fn failed_entries() {
    let invalid = [
        (ExitReason, reason::ENTRY_FAILED | reason::GUEST_STATE),
        (ExitQualification, 0),
        (GuestRip, CODE),
    ];
    check("nop", &[(GuestRflags, 0)], &[], &invalid);
    let load = [(EntryMsrLoadCount, 2), (EntryMsrLoadAddress, LIST)];
    // The second entry is FS base, which lists may not load.
    let list: (u64, &[u8]) =
        (LIST, &[0x74, 1, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0xc0]);
    check(
        "nop",
        &load,
        &[list],
        &[(ExitReason, reason::ENTRY_FAILED | reason::MSR_LOADING), (ExitQualification, 2)],
    );
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
    let r = check("cpuid", &lists, &memory, &[(ExitReason, reason::CPUID)]);
    assert_eq!(r.word(LIST + 24, 8), 0x1234);
    assert_eq!(r.cpu.state.sys.msr.kernel_gs_base, 7);
}

#[test]
fn real_mode_guests() {
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
    let after = [(ExitReason, reason::HLT), (GuestRip, CODE + 3)];
    let code = assemble(16, CODE, "mov ax, 0x1234; hlt");
    let r = check("", &changes, &[(CODE, &code)], &after);
    assert_eq!(r.reg(gpr::RAX), 0x1234);
}
