//! VMX operation: a current VMCS that is nearly valid, and the structures that it points to.

use super::Input;
use super::memory::{CODE, EPT, GDT, IDT, Image, LDT, PML4, STACKS, TSS, VMX};
use cpu::Cpu;
use cpu::state::vmx::field::Field::{self, *};
use cpu::state::vmx::field::{FIELDS, SEGMENT_FIELDS};
use cpu::state::vmx::vmcs::{NO_VMCS, REVISION, Vmcs};
use cpu::vmx::controls::bits::{entry, exit, proc, proc2};
use cpu::vmx::controls::{ENTRY, EXIT, PIN, PROC, PROC2};

/// Regions for VMXON, and for two VMCSs.
const REGIONS: [u64; 3] = [VMX, VMX + 0x1000, VMX + 0x2000];
const IO_BITMAPS: u64 = VMX + 0x3000;
const MSR_BITMAP: u64 = VMX + 0x5000;
const VIRTUAL_APIC: u64 = VMX + 0x6000;
const APIC_ACCESS: u64 = VMX + 0x7000;
const LISTS: u64 = VMX + 0x8000;
/// CR0 of host and guest.
const CR0: u64 = 0x8000_0031;
/// CR4 of host and guest: PAE, VMXE, OSFXSR.
const CR4: u64 = 0x2620;

/// Puts `cpu`, which is in 64-bit mode at CPL 0, into VMX operation.
pub(super) fn enter(input: &mut Input, cpu: &mut Cpu, image: &mut Image) {
    memory(input, image);
    cpu.state.sys.cr0 |= 0x21;
    cpu.state.sys.cr4 |= 0x2000;
    cpu.state.sys.msr.feature_control = 5;
    cpu.state.vmx.on = true;
    cpu.state.vmx.vmxon_pointer = REGIONS[0];
    cpu.state.vmx.vmcs = vmcs(input);
    cpu.state.vmx.vmcs.launched = input.once_in(4);
    // VMLAUNCH or VMRESUME comes first, most of the time.
    if !input.once_in(4) {
        let code = if cpu.state.vmx.vmcs.launched { 0xc3 } else { 0xc2 };
        image.put(CODE, &[0x0f, 0x01, code]);
        cpu.state.rip = CODE;
    }
}

fn memory(input: &mut Input, image: &mut Image) {
    for at in REGIONS {
        image.put64(at, u64::from(REVISION));
    }
    image.put64(EPT, (EPT + 0x1000) | 7);
    image.put64(EPT + 0x1000, (EPT + 0x2000) | 7);
    image.put64(EPT + 0x2000, (EPT + 0x3000) | 7);
    image.put64(EPT + 0x2008, 0xb7);
    for n in 0..0x100 {
        let strange = input.once_in(64) || n > 0x30 && input.once_in(8);
        let e = if strange { input.random() & 0xff_ffff } else { n << 12 | 0x37 };
        image.put64(EPT + 0x3000 + 8 * n, e);
    }
    for n in 0..0x600 {
        let bits = input.pick(&[0, 0, 0, u64::MAX, 0x5555]);
        image.put64(IO_BITMAPS + 8 * n, bits);
    }
    for n in 0..64 {
        let msr = input.pick(&[0x277, 0x174, 0xc000_0081, 0xc000_0080, 0xc000_0102, 0x1d9, 0x10]);
        let value = input.value();
        image.put64(LISTS + 16 * n, msr);
        image.put64(LISTS + 16 * n + 8, value);
    }
}

/// Controls that may be any: as they must be, and some more.
fn controls(input: &mut Input) -> [(Field, u64); 5] {
    let some = |input: &mut Input, default1: u32, allowed: u32| {
        let bits = input.random() & input.random() & u64::from(allowed);
        u64::from(default1) | bits
    };
    let ept = if input.once_in(2) { proc2::EPT | proc2::UNRESTRICTED } else { 0 };
    let rest = input.random() & input.random() & u64::from(PROC2.allowed1());
    let long = entry::IA32E | entry::LOAD_EFER;
    let exits = exit::HOST_64 | exit::LOAD_EFER | exit::SAVE_EFER;
    let proc = some(input, PROC.true_default1, PROC.allowed1()) | proc::SECONDARY;
    [
        (PinControls, some(input, PIN.true_default1, PIN.allowed1())),
        (ProcControls, proc & !(proc::MONITOR_TRAP * u64::from(input.once_in(2)))),
        (ProcControls2, rest & !(proc2::EPT | proc2::UNRESTRICTED) | ept),
        (ExitControls, some(input, EXIT.true_default1, EXIT.allowed1()) | exits),
        (EntryControls, some(input, ENTRY.true_default1, ENTRY.allowed1()) | long),
    ]
}

fn vmcs(input: &mut Input) -> Vmcs {
    let mut v = Vmcs::default();
    v.address = REGIONS[1];
    for f in &SEGMENT_FIELDS {
        v.set(f.selector, 0x10);
        v.set(f.limit, 0xffff_ffff);
        v.set(f.rights, 0xc093);
    }
    for (f, x) in controls(input) {
        v.set(f, x);
    }
    let exception = input.random() & input.random();
    let rows = [
        (EptPointer, EPT | 3 << 3 | 6 | u64::from(input.once_in(2)) << 6),
        (IoBitmapA, IO_BITMAPS),
        (IoBitmapB, IO_BITMAPS + 0x1000),
        (MsrBitmap, MSR_BITMAP),
        (VirtualApicAddress, VIRTUAL_APIC),
        (ApicAccessAddress, APIC_ACCESS),
        (EntryMsrLoadAddress, LISTS),
        (ExitMsrLoadAddress, LISTS + 0x100),
        (ExitMsrStoreAddress, LISTS + 0x200),
        (EntryMsrLoadCount, input.below(8) & input.below(8)),
        (ExitMsrLoadCount, input.below(8) & input.below(8)),
        (ExitMsrStoreCount, input.below(8)),
        (ExceptionBitmap, exception),
        (VmcsLinkPointer, NO_VMCS),
        (Vpid, 1),
        (PreemptionTimer, input.below(8)),
    ];
    rows.iter().for_each(|(f, x)| v.set(*f, *x));
    states(input, &mut v);
    mutate(input, &mut v);
    v
}

/// The states of host and guest: 64-bit mode, at CPL 0 or 3.
fn states(input: &mut Input, v: &mut Vmcs) {
    let to = |input: &mut Input| CODE + input.below(0x400);
    let cpl3 = input.once_in(3);
    let (code, data) = if cpl3 { (0xa0fb, 0xc0f3) } else { (0xa09b, 0xc093) };
    let selectors = if cpl3 { [0x1b, 0x23] } else { [8, 0x10] };
    let rows = [
        (HostCr0, CR0),
        (HostCr3, PML4),
        (HostCr4, CR4),
        (HostEfer, 0xd01),
        (HostPat, 0x0007_0406_0007_0406),
        (GuestPat, 0x0007_0406_0007_0406),
        (HostCsSelector, 8),
        (HostSsSelector, 0x10),
        (HostTrSelector, 0x28),
        (HostTrBase, TSS),
        (HostGdtrBase, GDT),
        (HostIdtrBase, IDT),
        (HostRip, to(input)),
        (HostRsp, STACKS + 0xe00),
        (GuestCr0, CR0),
        (GuestCr3, PML4),
        (GuestCr4, CR4),
        (GuestEfer, 0xd01),
        (GuestDr7, 0x400),
        (GuestRflags, 2 | input.random() & 0x3_0ed5),
        (GuestRip, to(input)),
        (GuestRsp, STACKS + 0xc00),
        (GuestCsSelector, selectors[0]),
        (GuestCsRights, code),
        (GuestSsSelector, selectors[1]),
        (GuestSsRights, data),
        (GuestTrSelector, 0x28),
        (GuestTrRights, 0x8b),
        (GuestTrLimit, 0xfff),
        (GuestTrBase, TSS),
        (GuestLdtrSelector, 0x40),
        (GuestLdtrRights, 0x82),
        (GuestLdtrLimit, 0x1ff),
        (GuestLdtrBase, LDT),
        (GuestGdtrBase, GDT),
        (GuestGdtrLimit, 0x1ff),
        (GuestIdtrBase, IDT),
        (GuestIdtrLimit, 0xfff),
    ];
    rows.iter().for_each(|(f, x)| v.set(*f, *x));
}

/// An event to inject, and now and then a field with any value.
fn mutate(input: &mut Input, v: &mut Vmcs) {
    if input.once_in(4) {
        let kind = input.pick(&[0, 2, 3, 4, 6]);
        let vector = if kind == 2 { 2 } else { input.below(32) };
        let error = u64::from(kind == 3 && matches!(vector, 8 | 10..=14 | 17));
        v.set(EntryInterruptionInfo, 1 << 31 | error << 11 | kind << 8 | vector);
        v.set(EntryInstructionLength, 1 + input.below(4));
    }
    for _ in 0..input.below(3) {
        let f = FIELDS[input.below(FIELDS.len() as u64) as usize].field;
        let bit = 1 << input.below(64);
        let value = if input.once_in(2) { v[f] ^ bit } else { input.value() };
        v.set(f, value);
    }
}
