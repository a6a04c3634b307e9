//! Exits met while an event is delivered, and what becomes of exceptions on the way: RF as it is saved,
//! error codes, IDT-vectoring information, who is asked first where an exception would become a double fault.

use crate::exits::{Fields, check, handler};
use crate::support::guest::*;
use crate::support::{DB, DF, GP, NMI, PF, RF, Rig, SS, UD, gpr, reason};
use cpu::state::vmx::field::Field::*;
use cpu::vmx::controls::bits::{entry, proc, proc2};

/// A page that EPT does not map, for the guest's IDT.
const GONE: u64 = 0x20_0000;

fn ept_entry(value: &[u8]) -> (u64, &[u8]) {
    (EPT + 0x2008, value)
}

/// RF as it is saved where `guest`, with `changes`, meets an exit on the way to a handler.
#[track_caller]
fn check_rf(guest: &str, changes: Fields, info: u64, rf: bool) {
    let after = |reason: u64| [(ExitReason, reason), (VectoringInfo, info), (GuestRip, CODE)];
    let idt = [changes, &[(GuestIdtrBase, GONE)]].concat();
    for (entry, reason) in [(0, reason::EPT_VIOLATION), (0xb2, reason::EPT_MISCONFIGURATION)] {
        let r = check(guest, &idt, &[ept_entry(&[entry])], &after(reason));
        assert_eq!(r.get(GuestRflags) & RF != 0, rf, "{reason}");
    }
    let controls = (ProcControls2, PROC2 | proc2::VIRTUALIZE_APIC);
    let idt = [changes, &[(GuestIdtrBase, APIC_ACCESS), controls]].concat();
    let r = check(guest, &idt, &[], &after(reason::APIC_ACCESS));
    assert_eq!(r.get(GuestRflags) & RF != 0, rf);
    assert_eq!(
        r.get(ExitQualification),
        0x3000 + (info & 0xff) * 16,
        "while an event is delivered"
    );
}

#[test]
fn rf_is_what_the_frame_would_hold() {
    check_rf("int 0x80", &[], 0x8000_0480, false);
    check_rf("int3", &[], 0x8000_0603, false);
    check_rf("int1", &[], 0x8000_0501, false);
    check_rf("ud2", &[], 0x8000_0306, true);
    let injected = |info: u64, rf: bool| {
        let inject =
            [(EntryInterruptionInfo, info), (EntryInstructionLength, 2), (GuestRflags, 0x202)];
        check_rf("nop", &inject, info, rf);
        // A frame of anything but a fault holds RF as it is.
        let set = [&inject[..], &[(GuestRflags, 0x202 | RF)]].concat();
        check_rf("nop", &set, info, true);
    };
    injected(0x8000_0030, false);
    injected(0x8000_0200 | NMI, false);
    injected(0x8000_0300 | DB, false);
    injected(0x8000_0b00 | DF, false);
    injected(0x8000_0480, false);
    injected(0x8000_0b00 | GP, true);
    injected(0x8000_0b00 | PF, true);
}

/// An exception that exits saves its own RF, whatever is delivered.
#[test]
fn rf_of_exceptions_met_on_the_way() {
    let changes = [(GuestIdtrLimit, 0), (ExceptionBitmap, 1 << GP)];
    for (guest, info) in [("int 0x80", 0x8000_0480), ("ud2", 0x8000_0306)] {
        let after = [(ExitReason, reason::EXCEPTION_OR_NMI), (VectoringInfo, info)];
        let r = check(guest, &changes, &[], &after);
        assert_eq!(r.get(GuestRflags) & RF, RF, "#GP is a fault");
    }
}

/// What differs in a 32-bit guest without paging.
const PROTECTED: [(cpu::state::vmx::field::Field, u64); 4] = [
    (GuestCr0, 0x31),
    (EntryControls, ENTRY & !entry::IA32E),
    (GuestEfer, 0),
    (GuestCsRights, 0xc09b),
];

#[test]
fn task_switches() {
    let tss = (0x67 | TSS << 16 | 0x89 << 40).to_le_bytes();
    let gate = (24u64 << 16 | 0x85 << 40).to_le_bytes();
    let switch = |guest: &str, source: u64, info: u64, length: u64, rf: bool| {
        let code = crate::support::asm::assemble(32, CODE, guest);
        let memory: [(u64, &[u8]); 4] =
            [(CODE, &code), (GDT + 24, &tss), (IDT + 6 * 8, &gate), (IDT + 0x30 * 8, &gate)];
        let after = [
            (ExitReason, reason::TASK_SWITCH),
            (ExitQualification, 24 | source << 30),
            (VectoringInfo, info),
            (ExitInstructionLength, length),
            (GuestRip, CODE),
        ];
        let r = check("", &PROTECTED, &memory, &after);
        assert_eq!(r.get(GuestRflags) & RF != 0, rf, "{guest}");
    };
    switch("ud2", 3, 0x8000_0306, 0, true);
    switch("int 0x30", 3, 0x8000_0430, 2, false);
    switch("db 0x9a, 0, 0, 0, 0, 24, 0", 0, 0, 7, false);
    switch("db 0xea, 0, 0, 0, 0, 24, 0", 2, 0, 7, false);
}

/// Injects `info` where the IDT is empty, under an exception bitmap.
#[track_caller]
fn check_empty(info: u64, bitmap: u64, after: Fields) {
    let changes = [
        (EntryInterruptionInfo, info),
        (ExceptionBitmap, bitmap),
        (GuestIdtrLimit, 0),
        (GuestRflags, 0x202),
    ];
    check("nop", &changes, &[], after);
}

#[test]
fn intercepts_come_before_double_faults() {
    let exit = |info: u64, error: u64, vectoring: u64| {
        [
            (ExitReason, reason::EXCEPTION_OR_NMI),
            (ExitInterruptionInfo, info),
            (ExitInterruptionError, error),
            (VectoringInfo, vectoring),
        ]
    };
    let coded = |v: u64| 0x8000_0b00 | v;
    // The #GP that #SS leads to, before it makes a double fault of both.
    let all = 1 << SS | 1 << GP | 1 << DF;
    check_empty(coded(SS), all, &exit(coded(GP), SS * 8 + 3, coded(SS)));
    check_empty(coded(SS), 1 << GP, &exit(coded(GP), SS * 8 + 3, coded(SS)));
    // The double fault exits with nothing on the way.
    check_empty(coded(SS), 1 << DF, &exit(coded(DF), 0, 0));
    // The #GP that a double fault leads to, before it makes a triple fault.
    check_empty(coded(DF), 1 << GP, &exit(coded(GP), DF * 8 + 3, coded(DF)));
    check_empty(0x8000_0030, 1 << GP, &exit(coded(GP), 0x30 * 8 + 3, 0x8000_0030));
    let triple = [(ExitReason, reason::TRIPLE_FAULT), (VectoringInfo, 0), (GuestRip, CODE)];
    check_empty(coded(SS), 1 << SS, &triple);
    check_empty(coded(DF), 1 << DF, &triple);
}

/// A #DB that is injected changes no debug register; one that the guest meets does.
#[test]
fn debug_registers() {
    let met = |changes: Fields| {
        let changes = [changes, &[(GuestDr7, 0x2400), (GuestDebugctl, 3)]].concat();
        let mut r = Rig::host_of("nop; nop");
        changes.iter().for_each(|(f, v)| r.set(*f, *v));
        r.cpu.state.sys.dr6 = 0xffff_0ff5;
        r.run_to_exit();
        assert_eq!((r.get(ExitReason), r.get(GuestRip)), (reason::VMCALL, handler(DB)));
        (r.cpu.state.sys.dr6, r.get(GuestDr7), r.get(GuestDebugctl))
    };
    let injected = met(&[(EntryInterruptionInfo, 0x8000_0300 | DB)]);
    assert_eq!(injected, (0xffff_0ff5, 0x2400, 3));
    let pending = met(&[(GuestPendingDebug, 0x4000)]);
    assert_eq!(pending, (0xffff_4ff0, 0x400, 0));
}

/// The IDT is in a page that the guest does not map: #PF on #PF.
#[test]
fn page_faults_on_page_faults() {
    let idt = (GuestIdtrBase, 0x4000_0000);
    let fault = [(ExitReason, reason::EXCEPTION_OR_NMI), (ExitInterruptionInfo, 0x8000_0b00 | DF)];
    check("ud2", &[idt, (ExceptionBitmap, 1 << DF)], &[], &fault);
    // Only #PFs whose error code has bit 1 exit: writes.
    let writes = [(ExceptionBitmap, 1 << PF | 1 << DF), (PageFaultMask, 2), (PageFaultMatch, 2)];
    check("ud2", &[&writes[..], &[idt]].concat(), &[], &fault);
    let first = [
        (ExitInterruptionInfo, 0x8000_0b00 | PF),
        (ExitQualification, 0x4000_0000 + UD * 16),
        (VectoringInfo, 0x8000_0300 | UD),
    ];
    check("ud2", &[idt, (ExceptionBitmap, 1 << PF)], &[], &first);
}

/// A guest in real-address mode, where exceptions have no error code.
#[test]
fn real_mode_has_no_error_codes() {
    let real = [
        (GuestCr0, 0x30),
        (EntryControls, ENTRY & !entry::IA32E),
        (GuestEfer, 0),
        (GuestCsRights, 0x9b),
        (GuestCsLimit, 0xffff),
        (GuestDsRights, 0x93),
        (GuestDsLimit, 0xffff),
        (GuestSsRights, 0x93),
        (GuestSsLimit, 0xffff),
    ];
    let code = crate::support::asm::assemble(16, CODE, "mov ax, [0xffff]");
    let exits = |changes: Fields, memory: &[(u64, &[u8])], after: Fields| {
        let memory = [&[(CODE, &code[..])], memory].concat();
        check("", &[&real[..], changes].concat(), &memory, after);
    };
    let exception = |v: u64| {
        [
            (ExitReason, reason::EXCEPTION_OR_NMI),
            (ExitInterruptionInfo, 0x8000_0300 | v),
            (ExitInterruptionError, 0),
            (VectoringInfo, 0),
        ]
    };
    exits(&[(ExceptionBitmap, 1 << GP)], &[], &exception(GP));
    exits(&[(ExceptionBitmap, 1 << DF), (GuestIdtrLimit, 0)], &[], &exception(DF));
    let vectoring = [
        (ExitReason, reason::EPT_VIOLATION),
        (VectoringInfo, 0x8000_0300 | GP),
        (VectoringError, 0),
    ];
    exits(&[(GuestIdtrBase, GONE)], &[ept_entry(&[0])], &vectoring);
}

/// The monitor trap flag stops a repeated instruction after each iteration.
#[test]
fn monitor_trap_after_iterations() {
    for guest in ["movsb", "stosq", "lodsw", "scasb", "cmpsd", "insb", "outsd"] {
        for (count, left, at) in [(3, 2, 0), (1, 0, 2), (0, 0, 2)] {
            // CMPS and SCAS go on while they find what differs.
            let repeat = if matches!(guest, "scasb" | "cmpsd") { "repne" } else { "rep" };
            let mut r = Rig::host_of(&format!("{repeat} {guest}; vmcall"));
            let at = at * r.length(&format!("{repeat} {guest}")) / 2;
            r.set(ProcControls, PROC | proc::MONITOR_TRAP);
            r.put(0x4000, &[1; 64]);
            r.set_reg(gpr::RCX, count);
            r.set_reg(gpr::RSI, 0x4000);
            r.set_reg(gpr::RDI, 0x4100);
            r.set_reg(gpr::RAX, 0xff);
            r.run_to_exit();
            assert_eq!(r.get(ExitReason), reason::MONITOR_TRAP, "{guest}");
            assert_eq!((r.reg(gpr::RCX), r.get(GuestRip)), (left, CODE + at), "{guest} {count}");
        }
    }
}

/// The fault of an iteration is delivered before the exit.
#[test]
fn monitor_trap_after_a_fault() {
    let mut r = Rig::host_of("rep stosb");
    r.set(ProcControls, PROC | proc::MONITOR_TRAP);
    r.set_reg(gpr::RCX, 3);
    r.set_reg(gpr::RDI, 0x4000_0000);
    r.run_to_exit();
    assert_eq!((r.get(ExitReason), r.get(GuestRip)), (reason::MONITOR_TRAP, handler(PF)));
    assert_eq!(r.reg(gpr::RCX), 3);
}
