//! Each rule broken alone: a valid VMCS, one change, and the rule that has to fail. A last test finds
//! rules without a row.

use super::*;
use crate::state::vmx::field::Field::{self, *};
use crate::state::vmx::field::SEGMENT_FIELDS;
use crate::state::vmx::vmcs::NO_VMCS;
use crate::vmx::controls::{entry, exit, pin, proc2};

const WIDE: u64 = 1 << 40;
const BAD: u64 = 0x8000_0000_0000;
/// A valid event: a page fault with an error code.
const FAULT: u64 = 1 << 31 | 1 << 11 | 3 << 8 | 14;

/// A 64-bit guest with most controls on.
fn valid() -> Vmcs {
    let mut v = Vmcs::default();
    v.address = 0x5000;
    let set = |v: &mut Vmcs, rows: &[(Field, u64)]| rows.iter().for_each(|(f, x)| v.set(*f, *x));
    let secondary = proc2::EPT | proc2::VPID | proc2::UNRESTRICTED;
    set(
        &mut v,
        &[
            (PinControls, 0x16 | pin::NMI | pin::VIRTUAL_NMIS | pin::PREEMPTION_TIMER),
            (ProcControls, 0x0400_6172 | proc::SECONDARY | proc::TPR_SHADOW | proc::IO_BITMAPS),
            (ProcControls2, secondary),
            (ExitControls, 0x3_6dfb | exit::HOST_64 | exit::LOAD_PAT | exit::LOAD_EFER),
            (
                EntryControls,
                0x11fb | entry::IA32E | entry::LOAD_PAT | entry::LOAD_EFER | entry::LOAD_DEBUG,
            ),
            (Vpid, 1),
            (EptPointer, 0x1000 | 3 << 3 | 6),
            (VmcsLinkPointer, NO_VMCS),
            (HostCr0, 0x8000_0033),
            (HostCr4, 0x2020),
            (HostEfer, 0x500),
            (HostCsSelector, 8),
            (HostTrSelector, 16),
            (GuestCr0, 0x8000_0033),
            (GuestCr4, 0x2020),
            (GuestEfer, 0x500),
            (GuestRflags, 2),
            (GuestDr7, 0x400),
        ],
    );
    for f in &SEGMENT_FIELDS {
        set(&mut v, &[(f.limit, u32::MAX as u64), (f.rights, 0xc093)]);
    }
    set(
        &mut v,
        &[
            (GuestCsRights, 0xa09b),
            (GuestTrRights, 0x8b),
            (GuestTrLimit, 0x67),
            (GuestLdtrRights, 0x82),
            (GuestLdtrLimit, 0xffff),
        ],
    );
    v
}

/// What the processor brings to a check.
struct Around {
    lma: bool,
    vtpr_class: Option<u64>,
    link_revision: Option<u32>,
    pdptes: Option<[u64; 4]>,
}

const AROUND: Around =
    Around { lma: true, vtpr_class: Some(15), link_revision: None, pdptes: None };

fn run(v: &Vmcs, a: &Around) -> Result<(), Broken> {
    let model = Model::default();
    assert_eq!(model.maxphys, 40);
    let c = Check {
        vmcs: v,
        model: &model,
        lma: a.lma,
        vtpr_class: a.vtpr_class,
        link_revision: a.link_revision,
        pdptes: a.pdptes,
    };
    before_host(&c, group::ALL)?;
    guest_state(&c, group::ALL)
}

type Row<'a> = (Kind, &'static str, &'a [(Field, u64)]);

#[track_caller]
fn check(row: &Row, around: &Around) {
    let (kind, says, changes) = row;
    let mut v = valid();
    changes.iter().for_each(|(f, x)| v.set(*f, *x));
    let broken = run(&v, around).expect_err(says);
    assert_eq!((broken.kind, broken.says), (*kind, *says), "{changes:x?}");
}

const CONTROL: Kind = Kind::Fail(7);
const HOST: Kind = Kind::Fail(8);
const GUEST: Kind = Kind::Guest(0);

/// Controls with a bit toggled from those of [`valid`].
const PROC: u64 = 0x0400_6172 | proc::SECONDARY | proc::TPR_SHADOW | proc::IO_BITMAPS;
const PIN: u64 = 0x16 | pin::NMI | pin::VIRTUAL_NMIS | pin::PREEMPTION_TIMER;
const EXIT: u64 = 0x3_6dfb | exit::HOST_64 | exit::LOAD_PAT | exit::LOAD_EFER;
const ENTRY: u64 = 0x11fb | entry::IA32E | entry::LOAD_PAT | entry::LOAD_EFER | entry::LOAD_DEBUG;
const PROC2: u64 = proc2::EPT | proc2::VPID | proc2::UNRESTRICTED;

#[rustfmt::skip]
const CONTROLS: &[Row] = &[
    (CONTROL, "reserved pin-based controls are as the capability MSR says", &[(PinControls, PIN | 1 << 7)]),
    (CONTROL, "reserved pin-based controls are as the capability MSR says", &[(PinControls, PIN & !2)]),
    (CONTROL, "reserved primary controls are as the capability MSR says", &[(ProcControls, PROC | 1)]),
    (CONTROL, "reserved secondary controls are as the capability MSR says", &[(ProcControls2, PROC2 | 1 << 8)]),
    (CONTROL, "the CR3-target count is at most 4", &[(Cr3TargetCount, 5)]),
    (CONTROL, "I/O bitmap A is a page", &[(IoBitmapA, 1)]),
    (CONTROL, "I/O bitmap B is a page", &[(IoBitmapB, WIDE)]),
    (CONTROL, "the MSR bitmap is a page", &[(ProcControls, PROC | proc::MSR_BITMAPS), (MsrBitmap, 0x800)]),
    (CONTROL, "the virtual-APIC page is a page", &[(VirtualApicAddress, 8)]),
    (CONTROL, "bits 31:4 of the TPR threshold are 0", &[(TprThreshold, 16)]),
    (CONTROL, "virtual NMIs need NMI exiting", &[(PinControls, PIN & !pin::NMI)]),
    (CONTROL, "NMI-window exiting needs virtual NMIs",
        &[(PinControls, PIN & !pin::VIRTUAL_NMIS), (ProcControls, PROC | proc::NMI_WINDOW)]),
    (CONTROL, "the APIC-access page is a page",
        &[(ProcControls2, PROC2 | proc2::VIRTUALIZE_APIC), (ApicAccessAddress, 4)]),
    (CONTROL, "virtualize x2APIC mode needs the TPR shadow",
        &[(ProcControls, PROC & !proc::TPR_SHADOW), (ProcControls2, PROC2 | proc2::VIRTUALIZE_X2APIC)]),
    (CONTROL, "virtualize x2APIC mode excludes virtualize APIC accesses",
        &[(ProcControls2, PROC2 | proc2::VIRTUALIZE_X2APIC | proc2::VIRTUALIZE_APIC)]),
    (CONTROL, "the VPID is not 0", &[(Vpid, 0)]),
    (CONTROL, "the EPT pointer is well formed", &[(EptPointer, 3 << 3 | 1)]),
    (CONTROL, "the EPT pointer is well formed", &[(EptPointer, 4 << 3 | 6)]),
    (CONTROL, "the EPT pointer is well formed", &[(EptPointer, 3 << 3 | 6 | 1 << 7)]),
    (CONTROL, "the EPT pointer is well formed", &[(EptPointer, 3 << 3 | 6 | WIDE)]),
    (CONTROL, "unrestricted guest needs EPT", &[(ProcControls2, PROC2 & !proc2::EPT)]),
    (CONTROL, "reserved VM-exit controls are as the capability MSR says", &[(ExitControls, EXIT | 1 << 12)]),
    (CONTROL, "saving the preemption timer needs the timer",
        &[(PinControls, PIN & !pin::PREEMPTION_TIMER), (ExitControls, EXIT | exit::SAVE_TIMER)]),
    (CONTROL, "the VM-exit MSR-store list is in reach", &[(ExitMsrStoreCount, 1), (ExitMsrStoreAddress, 8)]),
    (CONTROL, "the VM-exit MSR-load list is in reach",
        &[(ExitMsrLoadCount, 2), (ExitMsrLoadAddress, WIDE - 16)]),
    (CONTROL, "reserved VM-entry controls are as the capability MSR says", &[(EntryControls, ENTRY | 1 << 10)]),
    (CONTROL, "the VM-entry MSR-load list is in reach",
        &[(EntryMsrLoadCount, 0xffff_ffff), (EntryMsrLoadAddress, 0xffff_ffff_ffff_fff0)]),
    (CONTROL, "the event's type is not 1", &[(EntryInterruptionInfo, 1 << 31 | 1 << 8)]),
    (CONTROL, "an injected NMI has vector 2", &[(EntryInterruptionInfo, 1 << 31 | 2 << 8 | 3)]),
    (CONTROL, "an injected hardware exception has a vector of at most 31",
        &[(EntryInterruptionInfo, 1 << 31 | 3 << 8 | 32)]),
    (CONTROL, "an injected other event has vector 0", &[(EntryInterruptionInfo, 1 << 31 | 7 << 8 | 1)]),
    (CONTROL, "an error code is delivered exactly with the exceptions that have one",
        &[(EntryInterruptionInfo, FAULT & !(1 << 11))]),
    (CONTROL, "an error code is delivered exactly with the exceptions that have one",
        &[(EntryInterruptionInfo, FAULT), (GuestCr0, 0x30)]),
    (CONTROL, "an error code is delivered exactly with the exceptions that have one",
        &[(EntryInterruptionInfo, 1 << 31 | 1 << 11 | 3 << 8 | 6)]),
    (CONTROL, "bits 30:12 of the event are 0", &[(EntryInterruptionInfo, FAULT | 1 << 12)]),
    (CONTROL, "bits 31:16 of the error code are 0",
        &[(EntryInterruptionInfo, FAULT), (EntryErrorCode, 1 << 16)]),
    (CONTROL, "the instruction length is at most 15",
        &[(EntryInterruptionInfo, 1 << 31 | 4 << 8 | 0x80), (EntryInstructionLength, 16)]),
];

#[rustfmt::skip]
const HOSTS: &[Row] = &[
    (HOST, "host CR0 has the bits that VMX operation fixes", &[(HostCr0, 0x33)]),
    (HOST, "host CR0 has the bits that VMX operation fixes", &[(HostCr0, 0x1_8000_0033)]),
    (HOST, "host CR4 has the bits that VMX operation fixes", &[(HostCr4, 0x20)]),
    (HOST, "host CR4 has the bits that VMX operation fixes", &[(HostCr4, 0x2020 | 1 << 30)]),
    (HOST, "host CR3 is not too wide", &[(HostCr3, WIDE)]),
    (HOST, "host IA32_SYSENTER_ESP is canonical", &[(HostSysenterEsp, BAD)]),
    (HOST, "host IA32_SYSENTER_EIP is canonical", &[(HostSysenterEip, BAD)]),
    (HOST, "host IA32_PAT holds memory types", &[(HostPat, 2)]),
    (HOST, "reserved bits of host IA32_EFER are 0", &[(HostEfer, 0x502)]),
    (HOST, "host EFER.LMA is the host address-space size", &[(HostEfer, 0x100)]),
    (HOST, "host EFER.LME is the host address-space size", &[(HostEfer, 0x400)]),
    (HOST, "host selectors have RPL 0 and TI 0", &[(HostGsSelector, 3)]),
    (HOST, "host selectors have RPL 0 and TI 0", &[(HostSsSelector, 4)]),
    (HOST, "the host TR selector has RPL 0 and TI 0", &[(HostTrSelector, 17)]),
    (HOST, "the host CS selector is not null", &[(HostCsSelector, 0)]),
    (HOST, "the host TR selector is not null", &[(HostTrSelector, 0)]),
    (HOST, "the host SS selector is not null for a 32-bit host",
        &[(ExitControls, EXIT & !exit::HOST_64), (HostEfer, 0)]),
    (HOST, "host FS base is canonical", &[(HostFsBase, BAD)]),
    (HOST, "host GS base is canonical", &[(HostGsBase, BAD)]),
    (HOST, "host GDTR base is canonical", &[(HostGdtrBase, BAD)]),
    (HOST, "host IDTR base is canonical", &[(HostIdtrBase, BAD)]),
    (HOST, "host TR base is canonical", &[(HostTrBase, BAD)]),
    (HOST, "a 32-bit host has no IA-32e mode guest",
        &[(ExitControls, EXIT & !exit::HOST_64), (HostEfer, 0), (HostSsSelector, 16)]),
    (HOST, "a 32-bit host has CR4.PCIDE clear",
        &[(ExitControls, EXIT & !exit::HOST_64), (HostEfer, 0), (HostSsSelector, 16),
          (EntryControls, ENTRY & !entry::IA32E), (HostCr4, 0x2020 | 1 << 17)]),
    (HOST, "a 32-bit host has a 32-bit RIP",
        &[(ExitControls, EXIT & !exit::HOST_64), (HostEfer, 0), (HostSsSelector, 16),
          (EntryControls, ENTRY & !entry::IA32E), (HostRip, 1 << 32)]),
    (HOST, "a 64-bit host has CR4.PAE set", &[(HostCr4, 0x2000)]),
    (HOST, "a 64-bit host has a canonical RIP", &[(HostRip, BAD)]),
    (HOST, "the host address-space size is that of the processor that enters",
        &[(ExitControls, EXIT & !exit::HOST_64), (HostEfer, 0), (HostSsSelector, 16),
          (EntryControls, ENTRY & !entry::IA32E)]),
];

#[rustfmt::skip]
const GUESTS: &[Row] = &[
    (GUEST, "guest CR0 has the bits that VMX operation fixes", &[(GuestCr0, 0x8000_0013)]),
    (GUEST, "guest CR0 has the bits that VMX operation fixes",
        &[(GuestCr0, 0x33), (ProcControls2, proc2::EPT | proc2::VPID)]),
    (GUEST, "guest CR0.PG needs CR0.PE", &[(GuestCr0, 0x8000_0030)]),
    (GUEST, "guest CR4 has the bits that VMX operation fixes", &[(GuestCr4, 0x20)]),
    (GUEST, "reserved bits of guest IA32_DEBUGCTL are 0", &[(GuestDebugctl, 4)]),
    (GUEST, "an IA-32e mode guest has CR0.PG", &[(GuestCr0, 0x33)]),
    (GUEST, "an IA-32e mode guest has CR4.PAE", &[(GuestCr4, 0x2000)]),
    (GUEST, "guest CR4.PCIDE needs IA-32e mode",
        &[(EntryControls, ENTRY & !entry::IA32E), (GuestCr4, 0x2020 | 1 << 17)]),
    (GUEST, "guest CR3 is not too wide", &[(GuestCr3, WIDE)]),
    (GUEST, "bits 63:32 of guest DR7 are 0", &[(GuestDr7, 1 << 32)]),
    (GUEST, "guest IA32_SYSENTER_ESP is canonical", &[(GuestSysenterEsp, BAD)]),
    (GUEST, "guest IA32_SYSENTER_EIP is canonical", &[(GuestSysenterEip, BAD)]),
    (GUEST, "guest IA32_PAT holds memory types", &[(GuestPat, 3 << 56)]),
    (GUEST, "reserved bits of guest IA32_EFER are 0", &[(GuestEfer, 0x502)]),
    (GUEST, "guest EFER.LMA is the IA-32e mode guest control", &[(GuestEfer, 0)]),
    (GUEST, "guest EFER.LME is EFER.LMA while CR0.PG is set", &[(GuestEfer, 0x400)]),
    (GUEST, "bits 63:32 of guest RIP are 0 outside 64-bit mode",
        &[(GuestCsRights, 0xc09b), (GuestRip, 1 << 32)]),
    (GUEST, "guest RIP is canonical in 64-bit mode", &[(GuestRip, BAD)]),
    (GUEST, "reserved bits of guest RFLAGS are 0", &[(GuestRflags, 2 | 1 << 15)]),
    (GUEST, "reserved bits of guest RFLAGS are 0", &[(GuestRflags, 2 | 1 << 22)]),
    (GUEST, "bit 1 of guest RFLAGS is 1", &[(GuestRflags, 0)]),
    (GUEST, "guest RFLAGS.VM is 0 in IA-32e mode and in real mode",
        &[(GuestRflags, 2 | 1 << 17), (GuestEsRights, 0xf3), (GuestEsLimit, 0xffff), (GuestCsRights, 0xf3),
          (GuestCsLimit, 0xffff), (GuestSsRights, 0xf3), (GuestSsLimit, 0xffff), (GuestDsRights, 0xf3),
          (GuestDsLimit, 0xffff), (GuestFsRights, 0xf3), (GuestFsLimit, 0xffff), (GuestGsRights, 0xf3),
          (GuestGsLimit, 0xffff)]),
    (GUEST, "the activity state exists", &[(GuestActivity, 4)]),
    (GUEST, "a guest in HLT has SS.DPL 0",
        &[(GuestActivity, 1), (GuestSsRights, 0xc0f3), (GuestCsRights, 0xa0fb)]),
    (GUEST, "a guest with blocking by STI or MOV SS is active",
        &[(GuestActivity, 2), (GuestInterruptibility, 2)]),
    (GUEST, "reserved bits of the interruptibility state are 0", &[(GuestInterruptibility, 32)]),
    (GUEST, "blocking by STI and by MOV SS exclude each other",
        &[(GuestInterruptibility, 3), (GuestRflags, 0x202)]),
    (GUEST, "blocking by STI needs RFLAGS.IF", &[(GuestInterruptibility, 1)]),
    (GUEST, "there is no blocking by SMI outside SMM", &[(GuestInterruptibility, 4)]),
    (GUEST, "there is no enclave interruption", &[(GuestInterruptibility, 16)]),
    (GUEST, "reserved bits of the pending debug exceptions are 0", &[(GuestPendingDebug, 1 << 4)]),
    (GUEST, "reserved bits of the pending debug exceptions are 0", &[(GuestPendingDebug, 1 << 63)]),
    (GUEST, "a single-step trap is pending exactly if the guest single-steps",
        &[(GuestInterruptibility, 2), (GuestRflags, 0x102)]),
    (GUEST, "a single-step trap is pending exactly if the guest single-steps",
        &[(GuestInterruptibility, 2), (GuestPendingDebug, 1 << 14)]),
    (GUEST, "an injected interrupt needs RFLAGS.IF", &[(EntryInterruptionInfo, 1 << 31 | 0x40)]),
    (GUEST, "an event for a guest in HLT is one that wakes it",
        &[(EntryInterruptionInfo, FAULT), (GuestActivity, 1)]),
    (GUEST, "an event for a guest in shutdown is an NMI or a machine check",
        &[(EntryInterruptionInfo, FAULT), (GuestActivity, 2)]),
    (GUEST, "a guest that waits for a start-up IPI gets no event",
        &[(EntryInterruptionInfo, 1 << 31 | 2 << 8 | 2), (GuestActivity, 3)]),
    (GUEST, "an injected interrupt is not blocked by STI or MOV SS",
        &[(EntryInterruptionInfo, 1 << 31 | 0x40), (GuestRflags, 0x202), (GuestInterruptibility, 1)]),
    (GUEST, "an injected NMI is not blocked by MOV SS",
        &[(EntryInterruptionInfo, 1 << 31 | 2 << 8 | 2), (GuestInterruptibility, 2)]),
    (GUEST, "an injected virtual NMI is not blocked by NMI",
        &[(EntryInterruptionInfo, 1 << 31 | 2 << 8 | 2), (GuestInterruptibility, 8)]),
    (Kind::Guest(4), "the link pointer is all-ones or a page", &[(VmcsLinkPointer, 0x10)]),
    (Kind::Guest(4), "the link pointer names a VMCS", &[(VmcsLinkPointer, 0x7000)]),
];

/// Without unrestricted guest, so that selectors count.
const RESTRICTED: (Field, u64) = (ProcControls2, proc2::EPT | proc2::VPID);
const V86: &[(Field, u64)] = &[(GuestRflags, 2 | 1 << 17)];

#[rustfmt::skip]
const SEGMENTS: &[Row] = &[
    (GUEST, "in virtual-8086 mode the base is 16 times the selector", &[V86[0], (GuestEsBase, 16)]),
    (GUEST, "in virtual-8086 mode the limit is 0xffff", &[V86[0]]),
    (GUEST, "in virtual-8086 mode the access rights are 0xf3", &[V86[0], (GuestEsLimit, 0xffff)]),
    (GUEST, "SS.RPL is CS.RPL", &[RESTRICTED, (GuestCsSelector, 3)]),
    (GUEST, "the base is canonical", &[(GuestGsBase, BAD)]),
    (GUEST, "the base is canonical", &[(GuestTrBase, BAD)]),
    (GUEST, "the base is canonical", &[(GuestLdtrBase, BAD)]),
    (GUEST, "bits 63:32 of the base are 0", &[(GuestCsBase, 1 << 32)]),
    (GUEST, "bits 63:32 of the base are 0", &[(GuestDsBase, 1 << 32)]),
    (GUEST, "CS is accessed code, or data if the guest is unrestricted", &[(GuestCsRights, 0xa09a)]),
    (GUEST, "CS is accessed code, or data if the guest is unrestricted", &[RESTRICTED, (GuestCsRights, 0x8093)]),
    (GUEST, "SS is accessed and writable", &[(GuestSsRights, 0xc091)]),
    (GUEST, "the segment is accessed", &[(GuestDsRights, 0xc092)]),
    (GUEST, "code in a data register is readable", &[(GuestFsRights, 0xc099)]),
    (GUEST, "S is 1", &[(GuestCsRights, 0xa08b)]),
    (GUEST, "S is 1", &[(GuestGsRights, 0xc083)]),
    (GUEST, "CS.DPL goes with its type and SS.DPL", &[(GuestCsRights, 0xa0fb)]),
    (GUEST, "CS.DPL goes with its type and SS.DPL", &[(GuestCsRights, 0x80b3)]),
    (GUEST, "SS.DPL is SS.RPL", &[RESTRICTED, (GuestSsRights, 0xc0f3), (GuestCsRights, 0xa0fb)]),
    (GUEST, "SS.DPL is 0 in real mode and with CS a data segment", &[(GuestSsRights, 0xc0f3), (GuestCsRights, 0x8093)]),
    (GUEST, "DPL is not below RPL", &[RESTRICTED, (GuestDsSelector, 3)]),
    (GUEST, "P is 1", &[(GuestCsRights, 0xa01b)]),
    (GUEST, "P is 1", &[(GuestEsRights, 0xc013)]),
    (GUEST, "P is 1", &[(GuestTrRights, 0x0b)]),
    (GUEST, "bits 11:8 and 31:17 of the access rights are 0", &[(GuestCsRights, 0xa19b)]),
    (GUEST, "bits 11:8 and 31:17 of the access rights are 0", &[(GuestDsRights, 0x2_c093)]),
    (GUEST, "bits 11:8 and 31:17 of the access rights are 0", &[(GuestLdtrRights, 0x282)]),
    (GUEST, "64-bit code has D clear", &[(GuestCsRights, 0xe09b)]),
    (GUEST, "G goes with the limit", &[(GuestCsLimit, 0xffff_fffe)]),
    (GUEST, "G goes with the limit", &[(GuestDsRights, 0x4093)]),
    (GUEST, "G goes with the limit", &[(GuestTrLimit, 0x10_0000)]),
    (GUEST, "TI is 0", &[(GuestTrSelector, 4)]),
    (GUEST, "TI is 0", &[(GuestLdtrSelector, 4)]),
    (GUEST, "TR is a busy TSS, 64-bit in IA-32e mode", &[(GuestTrRights, 0x83)]),
    (GUEST, "TR is usable", &[(GuestTrRights, 0x1_008b)]),
    (GUEST, "LDTR is an LDT", &[(GuestLdtrRights, 0x83)]),
    (GUEST, "S is 0", &[(GuestTrRights, 0x9b)]),
    (GUEST, "S is 0", &[(GuestLdtrRights, 0x92)]),
    (GUEST, "guest GDTR base is canonical", &[(GuestGdtrBase, BAD)]),
    (GUEST, "guest IDTR base is canonical", &[(GuestIdtrBase, BAD)]),
    (GUEST, "bits 31:16 of guest GDTR limit are 0", &[(GuestGdtrLimit, 0x1_0000)]),
    (GUEST, "bits 31:16 of guest IDTR limit are 0", &[(GuestIdtrLimit, 0x1_0000)]),
];

#[test]
fn the_valid_vmcs_is_valid() {
    assert_eq!(run(&valid(), &AROUND), Ok(()));
}

#[test]
fn each_rule_breaks_alone() {
    for row in [CONTROLS, HOSTS, GUESTS, SEGMENTS].into_iter().flatten() {
        check(row, &AROUND);
    }
}

#[test]
fn rules_about_memory() {
    let row = (CONTROL, "the TPR threshold is not above the virtual TPR", &[(TprThreshold, 5)][..]);
    check(&row, &Around { vtpr_class: Some(4), ..AROUND });
    let link = (VmcsLinkPointer, 0x5000);
    let row = (Kind::Guest(4), "the link pointer is not the current VMCS", &[link][..]);
    check(&row, &Around { link_revision: Some(1), ..AROUND });
    let row = (Kind::Guest(2), "reserved bits of present PDPTEs are 0", &[][..]);
    check(&row, &Around { pdptes: Some([0, 0, 0x1003, 0]), ..AROUND });
}

#[test]
fn wholesome_variants_hold() {
    for changes in [
        &[(EntryInterruptionInfo, FAULT), (EntryErrorCode, 4)][..],
        &[(EntryInterruptionInfo, 1 << 31 | 0x40), (GuestRflags, 0x202)],
        &[(EntryInterruptionInfo, 1 << 31 | 6 << 8 | 3), (EntryInstructionLength, 0)],
        &[(EntryInterruptionInfo, 1 << 31 | 2 << 8 | 2), (GuestActivity, 1)],
        &[(GuestInterruptibility, 1), (GuestRflags, 0x202)],
        &[(GuestDsRights, 0x1_0000), (GuestLdtrRights, 0x1_0000)],
        &[(ExitMsrLoadCount, 1), (ExitMsrLoadAddress, WIDE - 16)],
        &[(EptPointer, 0x1000 | 3 << 3 | 1 << 6)],
        &[(GuestActivity, 3)],
    ] {
        let mut v = valid();
        changes.iter().for_each(|(f, x)| v.set(*f, *x));
        assert_eq!(run(&v, &AROUND), Ok(()), "{changes:x?}");
    }
}

/// Rules that no row breaks are rules that nothing tests.
#[test]
fn every_rule_has_a_row() {
    let rows: Vec<&str> =
        [CONTROLS, HOSTS, GUESTS, SEGMENTS].into_iter().flatten().map(|r| r.1).collect();
    let here = |says: &&str| rows.contains(says);
    let about_memory = 3;
    let tables = [
        controls::RULES,
        controls::ALWAYS,
        event::RULES,
        event::GUEST,
        host::RULES,
        host::ALWAYS,
        guest::REGISTERS,
        guest::RUNNING,
        guest::LINK,
        guest::PDPTES,
    ];
    let missing: Vec<&str> =
        tables.into_iter().flatten().map(|r| r.says).filter(|s| !here(s)).collect();
    assert_eq!(missing.len(), about_memory, "{missing:?}");
    let missing: Vec<&str> = segments::sentences().filter(|s| !here(s)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
