//! SMIs in VMX root and non-root operation: SDM vol. 3, "Default Treatment of SMI Delivery" and "Default
//! Treatment of RSM".

mod rig;

use cpu::Stop;
use cpu::state::State;
use cpu::state::vmx::field::Field::{self, *};
use cpu::vmx::controls::bits::{entry, pin, proc, proc2};
use rig::guest::*;

const HANDLER: u64 = 0x3_8000;
const COUNT: u64 = 0x7000;
/// inc dword [7000h]
const INC: &[u8] = &[0x66, 0xff, 0x06, 0x00, 0x70];
const RSM: &[u8] = &[0x0f, 0xaa];

type Fields<'a> = &'a [(Field, u64)];

/// Runs `n` instructions, or to the host's HLT.
fn advance(r: &mut Rig, n: u64) -> Stop {
    let until = r.cpu.now() + n;
    loop {
        let now = r.cpu.now();
        let stop = r.cpu.run(&mut r.mmu, &mut r.code, &mut Board, now, until);
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

fn rig(guest: &[u8], changes: Fields, handler: &[&[u8]]) -> Rig {
    let mut r = Rig::new(guest);
    changes.iter().for_each(|(f, v)| r.set(*f, *v));
    r.put(HANDLER, &handler.concat());
    r
}

/// Whatever boundary an SMI comes at, host, guest and VMCS end as without it.
#[track_caller]
fn check(what: &str, guest: &[u8], changes: Fields, reason: u64) {
    let mut plain = rig(guest, changes, &[]);
    assert_eq!(advance(&mut plain, 1000), Stop::Idle, "{what}");
    assert_eq!(plain.get(ExitReason), reason, "{what}");
    for at in 0..plain.cpu.now() {
        let mut r = rig(guest, changes, &[INC, RSM]);
        advance(&mut r, at);
        r.cpu.state.sys.smm.pending = true;
        assert_eq!(advance(&mut r, 1000), Stop::Idle, "{what} at {at}");
        assert_eq!(r.word(COUNT) as u32, 1, "{what} at {at}");
        assert_eq!(r.cpu.now(), plain.cpu.now() + 2, "{what} at {at}");
        assert_eq!(state(&r), state(&plain), "{what} at {at}");
    }
}

#[test]
fn any_boundary_of_host_and_guest() {
    // nop; mov ss, ax; nop; cpuid
    let guest = [0x90, 0x66, 0xb8, 0x10, 0, 0x8e, 0xd0, 0x90, 0x0f, 0xa2];
    check("64-bit", &guest, &[], 10);
    check("no EPT", &guest, &[(ProcControls2, 0)], 10);
    check("in VMX root operation only", &[], &[(GuestRflags, 0)], 0x8000_0021);
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
    check("unrestricted", &[0x90, 0x90, 0x0f, 0xa2], &real, 10);
    // The host is in VMX operation with PDPTEs of the guest's in the VMCS.
    let pae = [
        (GuestCr0, 0x8000_0031),
        (GuestCr4, 0x2020),
        (GuestEfer, 0),
        (EntryControls, ENTRY & !entry::IA32E),
        (GuestCsRights, 0xc09b),
        (GuestPdpte0, 0x3001),
    ];
    check("PAE under EPT", &[0x90, 0x90, 0x0f, 0xa2], &pae, 10);
    let virtual_nmis = (PinControls, PIN | pin::VIRTUAL_NMIS);
    check("virtual NMIs", &guest, &[virtual_nmis, (GuestInterruptibility, 8)], 10);
    check("injected", &guest, &[(EntryInterruptionInfo, 0x8000_0020), (GuestRflags, 0x202)], 18);
    check("monitor trap", &[0x90, 0x90], &[(ProcControls, PROC | proc::MONITOR_TRAP)], 37);
    let steps = [(GuestRflags, 0x102), (ExceptionBitmap, 2)];
    check("single step", &[0x90, 0x90], &steps, 0);
    check("blocked by STI", &guest, &[(GuestInterruptibility, 1), (GuestRflags, 0x202)], 10);
}

/// A guest that is entered halted is halted again, or goes on.
#[test]
fn halted_guests() {
    for (flag, then) in [(1u8, Stop::Idle), (0, Stop::Idle)] {
        let handler = [&[0x67, 0xc6, 0x05, 0xc9, 0xfe, 3, 0][..], &[flag], RSM].concat();
        let halted = [(GuestActivity, 1), (ProcControls, PROC & !proc::HLT)];
        let mut r = rig(&[0x0f, 0xa2], &halted, &[&handler]);
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
    // mov eax, 2000h; mov cr4, eax
    let mut r = rig(&[0x90, 0x0f, 0xa2], &[], &[&[0x66, 0xb8, 0, 0x20, 0, 0, 0x0f, 0x22, 0xe0]]);
    advance(&mut r, 2);
    assert!(r.cpu.state.vmx.guest);
    r.cpu.state.sys.smm.pending = true;
    advance(&mut r, 1);
    assert_eq!((r.cpu.state.vmx.on, r.cpu.state.vmx.guest, r.cpu.state.sys.cr4), (false, false, 0));
    assert_eq!(r.word(HANDLER + 0x7f48) & 0x2000, 0);
    advance(&mut r, 1);
    let last = r.cpu.stats.recent.iter().last().unwrap().0;
    assert_eq!((last.vector, r.cpu.state.sys.cr4), (13, 0));
}

/// mov dword [AREA + offset], v
fn poke(offset: u32, v: u32) -> Vec<u8> {
    let at = HANDLER as u32 + offset;
    [&[0x67, 0x66, 0xc7, 0x05][..], &at.to_le_bytes(), &v.to_le_bytes()].concat()
}

#[test]
fn images() {
    // CR4.VMXE is the processor's own.
    let mut r = rig(&[0x90, 0x0f, 0xa2], &[], &[&poke(0x7f48, 0x2020), RSM]);
    advance(&mut r, 2);
    r.cpu.state.sys.smm.pending = true;
    assert_eq!(advance(&mut r, 100), Stop::TripleFault);
    assert_eq!(r.cpu.stats.rsm_refused, Some("CR4.VMXE is 0"));
    assert!(!r.cpu.state.vmx.guest);
    // Paging stays on, privilege level and RPLs as they were, in VMX operation.
    let change = [poke(0x7f58, 0x11), poke(0x7e20, 0xc0f3_0013)].concat();
    for (proc2, cr0) in [(0, 0x8000_0031), (PROC2, 0x31)] {
        let mut r = rig(&[0x90, 0x0f, 0xa2], &[(ProcControls2, proc2)], &[&change, RSM]);
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
