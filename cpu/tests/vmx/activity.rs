//! Activity states of guests: what ends them, and with which state the exit is saved.
//! SDM vol. 3, "Guest Non-Register State" and "Other Causes of VM Exits".

use crate::exits::{Fields, handler};
use crate::support::guest::*;
use crate::support::{DB, NMI, Rig, reason};
use cpu::Stop;
use cpu::bus::{Destination, Message};
use cpu::state::vmx::field::Field::*;
use cpu::vmx::controls::bits::{pin, proc, proc2};

const HLT: u64 = 1;
const SHUTDOWN: u64 = 2;
const WAIT_SIPI: u64 = 3;

/// A message of kind `delivery` (2 SMI, 4 NMI, 5 INIT, 6 start-up) for the processor.
fn message(delivery: u8) -> Message {
    let destination = Destination::All;
    Message { destination, delivery, vector: 0x12, level: false, source: 1 }
}

/// Enters a guest of this activity state; what arrives there is `event`.
fn entered(activity: u64, changes: Fields, event: impl FnOnce(&mut Rig)) -> Rig {
    let mut r = Rig::host_of("vmcall");
    changes.iter().for_each(|(f, v)| r.set(*f, *v));
    r.set(GuestActivity, activity);
    // The entry, and no more.
    r.slice(1);
    assert!(r.cpu.state.vmx.guest);
    event(&mut r);
    r
}

#[track_caller]
fn check(activity: u64, changes: Fields, event: impl FnOnce(&mut Rig), after: Fields) {
    let mut r = entered(activity, changes, event);
    r.run_to_exit();
    for (f, v) in after {
        assert_eq!(r.get(*f), *v, "{f:?}; reason {}", r.get(ExitReason));
    }
}

/// `event` does nothing in this activity state; an NMI or a start-up IPI that follows ends the state.
#[track_caller]
fn check_waits(activity: u64, changes: Fields, event: impl FnOnce(&mut Rig)) {
    let mut r = entered(activity, changes, event);
    assert!(!r.cpu.wakeable(), "nothing is due");
    assert_eq!(r.run(), Stop::Idle);
    assert!(r.cpu.state.vmx.guest, "reason {}", r.get(ExitReason));
    // An NMI that still waits would be the host's, after the exit.
    r.cpu.state.sys.nmi_pending = false;
    r.cpu.receive(&message(if activity == WAIT_SIPI { 6 } else { 4 }));
    r.run_to_exit();
    let ended = if activity == WAIT_SIPI { reason::SIPI } else { reason::EXCEPTION_OR_NMI };
    assert_eq!((r.get(ExitReason), r.get(GuestActivity)), (ended, activity));
}

fn nmi(r: &mut Rig) {
    r.cpu.receive(&message(4));
}

fn interrupt(r: &mut Rig) {
    r.cpu.set_intr(true);
}

fn nothing(_: &mut Rig) {}

const DELIVERED: (cpu::state::vmx::field::Field, u64) =
    (PinControls, PIN & !(pin::NMI | pin::EXTERNAL_INTERRUPT));
const ENABLED: (cpu::state::vmx::field::Field, u64) = (GuestRflags, 0x202);

#[test]
fn nmis() {
    for activity in [HLT, SHUTDOWN] {
        let exit = [
            (ExitReason, reason::EXCEPTION_OR_NMI),
            (ExitInterruptionInfo, 0x8000_0200 | NMI),
            (GuestActivity, activity),
            (GuestRip, CODE),
        ];
        check(activity, &[], nmi, &exit);
        let delivered =
            [(ExitReason, reason::VMCALL), (GuestRip, handler(NMI)), (GuestActivity, 0)];
        check(activity, &[DELIVERED], nmi, &delivered);
        // One that has come before the entry.
        let mut r = Rig::host_of("vmcall");
        r.set(GuestActivity, activity);
        r.cpu.state.sys.nmi_blocked = true;
        nmi(&mut r);
        r.run_to_exit();
        assert_eq!((r.get(ExitReason), r.get(GuestActivity)), (exit[0].1, activity));
    }
    check_waits(SHUTDOWN, &[(GuestInterruptibility, 8)], |r| {
        nmi(r);
        assert!(!r.cpu.wakeable(), "NMIs are blocked");
        r.cpu.state.sys.nmi_pending = false;
        r.cpu.state.sys.nmi_blocked = false;
    });
    check_waits(WAIT_SIPI, &[], nmi);
}

#[test]
fn interrupts() {
    let after = |reason: u64, activity: u64| [(ExitReason, reason), (GuestActivity, activity)];
    check(HLT, &[], interrupt, &after(reason::EXTERNAL_INTERRUPT, HLT));
    check(HLT, &[DELIVERED, ENABLED], interrupt, &after(reason::VMCALL, 0));
    for activity in [SHUTDOWN, WAIT_SIPI] {
        check_waits(activity, &[], interrupt);
    }
    check_waits(SHUTDOWN, &[(PinControls, PIN & !pin::EXTERNAL_INTERRUPT), ENABLED], interrupt);
}

#[test]
fn windows() {
    let after = |reason: u64, activity: u64| [(ExitReason, reason), (GuestActivity, activity)];
    let window = [(ProcControls, PROC | proc::INTERRUPT_WINDOW), ENABLED];
    check(HLT, &window, nothing, &after(reason::INTERRUPT_WINDOW, HLT));
    check_waits(SHUTDOWN, &window, nothing);
    check_waits(WAIT_SIPI, &window, nothing);
    let window = [(PinControls, PIN | pin::VIRTUAL_NMIS), (ProcControls, PROC | proc::NMI_WINDOW)];
    check(HLT, &window, nothing, &after(reason::NMI_WINDOW, HLT));
    check(SHUTDOWN, &window, nothing, &after(reason::NMI_WINDOW, SHUTDOWN));
    check_waits(WAIT_SIPI, &window, nothing);
}

#[test]
fn timers_and_thresholds() {
    let after = |reason: u64, activity: u64| [(ExitReason, reason), (GuestActivity, activity)];
    let timer = [(PinControls, PIN | pin::PREEMPTION_TIMER), (PreemptionTimer, 0)];
    for activity in [HLT, SHUTDOWN] {
        check(activity, &timer, nothing, &after(reason::PREEMPTION_TIMER, activity));
    }
    check_waits(WAIT_SIPI, &timer, nothing);
    let threshold = [
        (ProcControls, PROC | proc::TPR_SHADOW),
        (ProcControls2, PROC2 | proc2::VIRTUALIZE_APIC),
        (TprThreshold, 3),
    ];
    check(HLT, &threshold, nothing, &after(reason::TPR_BELOW_THRESHOLD, HLT));
    check_waits(SHUTDOWN, &threshold, nothing);
    check_waits(WAIT_SIPI, &threshold, nothing);
}

#[test]
fn inits() {
    let init = |r: &mut Rig| r.cpu.receive(&message(5));
    for activity in [0, HLT, SHUTDOWN] {
        check(activity, &[], init, &[(ExitReason, reason::INIT), (GuestActivity, activity)]);
    }
    check_waits(WAIT_SIPI, &[], init);
}

/// Debug exceptions that a VM entry finds pending.
#[test]
fn pending_debug_exceptions() {
    let pending = [(GuestPendingDebug, 0x1001), (ExceptionBitmap, 1 << DB), (GuestDr7, 0x401)];
    let after = [(ExitReason, reason::EXCEPTION_OR_NMI), (ExitInterruptionInfo, 0x8000_0300 | DB)];
    check(0, &pending, nothing, &after);
    check(HLT, &pending, nothing, &after);
    check_waits(SHUTDOWN, &pending, nothing);
    check_waits(WAIT_SIPI, &pending, nothing);
    // An entry that injects an event drops them, but for software interrupts behind MOV SS.
    let injecting = |info: u64, blocked: u64, changes: Fields| {
        let inject = [
            (EntryInterruptionInfo, info),
            (EntryInstructionLength, 2),
            (GuestInterruptibility, blocked),
        ];
        let mut r = Rig::host_of("vmcall");
        [changes, &inject, &pending, &[ENABLED]].concat().iter().for_each(|(f, v)| r.set(*f, *v));
        r.run_to_exit();
        r.get(ExitReason)
    };
    for info in [0x8000_0030, 0x8000_0202, 0x8000_0b0d, 0x8000_0480, 0x8000_0501] {
        assert_eq!(injecting(info, 0, &[]), reason::VMCALL, "{info:#x}");
    }
    assert_eq!(injecting(0x8000_0480, 2, &[]), reason::EXCEPTION_OR_NMI);
}
