//! SMIs in VMX root and non-root operation: SDM vol. 3, "Default Treatment of SMI Delivery" and "Default
//! Treatment of RSM".

use crate::support::guest::*;
use crate::support::{Rig, reason};
use cpu::Stop;
use cpu::state::State;
use cpu::state::vmx::field::Field::{self, *};
use cpu::vmx::controls::bits::{entry, pin, proc, proc2};

const HANDLER: u64 = 0x3_8000;
const COUNT: u64 = 0x7000;
/// The handler that counts and resumes.
const COUNTING: &str = "inc dword [0x7000]; rsm";

type Fields<'a> = &'a [(Field, u64)];

/// Runs `n` instructions, or to the host's HLT.
fn advance(r: &mut Rig, n: u64) -> Stop {
    let until = r.cpu.now() + n;
    loop {
        let stop = r.slice(until);
        if stop != Stop::Io {
            return stop;
        }
    }
}

fn state(r: &Rig) -> State {
    let mut s = r.cpu.save();
    s.sys.smm = Default::default();
    s
}

fn rig(guest: &str, changes: Fields, handler: &str) -> Rig {
    let mut r = Rig::host_of(guest);
    changes.iter().for_each(|(f, v)| r.set(*f, *v));
    r.code_as(16, HANDLER, handler);
    r
}

/// Whatever boundary an SMI comes at, host, guest and VMCS end as without the SMI.
#[track_caller]
fn check(what: &str, guest: &str, changes: Fields, reason: u64) {
    let mut plain = rig(guest, changes, "");
    assert_eq!(advance(&mut plain, 1000), Stop::Idle, "{what}");
    assert_eq!(plain.get(ExitReason), reason, "{what}");
    for at in 0..plain.cpu.now() {
        let mut r = rig(guest, changes, COUNTING);
        advance(&mut r, at);
        r.cpu.state.sys.smm.pending = true;
        assert_eq!(advance(&mut r, 1000), Stop::Idle, "{what} at {at}");
        assert_eq!(r.word(COUNT, 8) as u32, 1, "{what} at {at}");
        assert_eq!(r.cpu.now(), plain.cpu.now() + 2, "{what} at {at}");
        assert_eq!(state(&r), state(&plain), "{what} at {at}");
    }
}

#[test]
fn any_boundary_of_host_and_guest() {
    let guest = "nop; mov ax, 0x10; mov ss, eax; nop; cpuid";
    check("64-bit", guest, &[], reason::CPUID);
    check("no EPT", guest, &[(ProcControls2, 0)], reason::CPUID);
    check(
        "in VMX root operation only",
        "",
        &[(GuestRflags, 0)],
        reason::ENTRY_FAILED | reason::GUEST_STATE,
    );
    let real = [
        (GuestCr0, 0x30),
        (GuestCr4, 0x2000),
        (GuestEfer, 0),
        (EntryControls, ENTRY & !entry::IA32E),
        (GuestCsRights, 0x9b),
        (GuestCsSelector, CODE >> 4),
        (GuestCsBase, CODE),
        (GuestCsLimit, 0xffff),
        (GuestRip, 0),
    ];
    check("unrestricted", "nop; nop; cpuid", &real, 10);
    // The host is in VMX operation with PDPTEs of the guest's in the VMCS.
    let pae = [
        (GuestCr0, 0x8000_0031),
        (GuestCr4, 0x2020),
        (GuestEfer, 0),
        (EntryControls, ENTRY & !entry::IA32E),
        (GuestCsRights, 0xc09b),
        (GuestPdpte0, 0x3001),
    ];
    check("PAE under EPT", "nop; nop; cpuid", &pae, 10);
    let virtual_nmis = (PinControls, PIN | pin::VIRTUAL_NMIS);
    check("virtual NMIs", guest, &[virtual_nmis, (GuestInterruptibility, 8)], reason::CPUID);
    check(
        "injected",
        guest,
        &[(EntryInterruptionInfo, 0x8000_0020), (GuestRflags, 0x202)],
        reason::VMCALL,
    );
    check("monitor trap", "nop; nop", &[(ProcControls, PROC | proc::MONITOR_TRAP)], 37);
    let steps = [(GuestRflags, 0x102), (ExceptionBitmap, 2)];
    check("single step", "nop; nop", &steps, 0);
    check(
        "blocked by STI",
        guest,
        &[(GuestInterruptibility, 1), (GuestRflags, 0x202)],
        reason::CPUID,
    );
}

/// A guest that is entered halted is halted again, or goes on.
#[test]
fn halted_guests() {
    for (flag, then) in [(1, Stop::Idle), (0, Stop::Idle)] {
        let handler = format!("mov byte [dword 0x3fec9], {flag}; rsm");
        let halted = [(GuestActivity, 1), (ProcControls, PROC & !proc::HLT)];
        let mut r = rig("cpuid", &halted, &handler);
        assert_eq!(advance(&mut r, 100), Stop::Idle);
        assert!(r.cpu.state.vmx.guest);
        r.cpu.state.sys.smm.pending = true;
        assert_eq!(advance(&mut r, 100), then);
        assert_eq!(r.cpu.state.vmx.guest, flag == 1);
    }
}

/// In the handler: no VMX, and none to be had.
#[test]
fn inside() {
    let mut r = rig("nop; cpuid", &[], "mov eax, 0x2000; mov cr4, eax");
    advance(&mut r, 2);
    assert!(r.cpu.state.vmx.guest);
    r.cpu.state.sys.smm.pending = true;
    advance(&mut r, 1);
    assert_eq!((r.cpu.state.vmx.on, r.cpu.state.vmx.guest, r.cpu.state.sys.cr4), (false, false, 0));
    assert_eq!(r.word(HANDLER + 0x7f48, 8) & 0x2000, 0);
    advance(&mut r, 1);
    let last = r.cpu.stats.recent.iter().last().unwrap().0;
    assert_eq!((last.vector, r.cpu.state.sys.cr4), (13, 0));
}

/// Stores the doubleword `v` at `offset` of the save area.
fn poke(offset: u64, v: u32) -> String {
    format!("mov dword [dword {}], {v}", HANDLER + offset)
}

#[test]
fn images() {
    // CR4.VMXE is the processor's own.
    let mut r = rig("nop; cpuid", &[], &format!("{}; rsm", poke(0x7f48, 0x2020)));
    advance(&mut r, 2);
    r.cpu.state.sys.smm.pending = true;
    assert_eq!(advance(&mut r, 100), Stop::TripleFault);
    assert_eq!(r.cpu.stats.rsm_refused, Some("CR4.VMXE is 0"));
    assert!(!r.cpu.state.vmx.guest);
    // Paging stays on, privilege level and RPLs as they were, in VMX operation.
    let change = [poke(0x7f58, 0x11), poke(0x7e20, 0xc0f3_0013)].join("; ");
    for (proc2, cr0) in [(0, 0x8000_0031), (PROC2, 0x31)] {
        let mut r = rig("nop; cpuid", &[(ProcControls2, proc2)], &format!("{change}; rsm"));
        advance(&mut r, 2);
        r.cpu.state.sys.smm.pending = true;
        advance(&mut r, 3);
        assert!(r.cpu.state.vmx.guest && r.cpu.state.vmx.on);
        let s = &r.cpu.state.sys;
        let unrestricted = proc2 & proc2::UNRESTRICTED != 0;
        assert_eq!((s.cr0, s.cr4), (cr0, 0x2020));
        assert_eq!((s.seg[2].ar & 0x60, s.cpl), (0, 0));
        assert_eq!(s.seg[2].selector, if unrestricted { 0x13 } else { 0x10 });
    }
}
