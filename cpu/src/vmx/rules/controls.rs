//! Rules on the controls. SDM vol. 3, "Checks on VMX Controls".

use super::{Check, Rule, rules};
use crate::state::vmx::field::Field::*;
use crate::vmx::controls::{
    CR3_TARGETS, Controls, ENTRY, EXIT, PIN, PROC, PROC2, exit, pin, proc, proc2,
};

/// Whether an EPT pointer is acceptable. SDM vol. 3, "Extended-Page-Table Pointer (EPTP)".
fn eptp(c: &Check) -> bool {
    let p = c.get(EptPointer);
    matches!(p & 7, 0 | 6) && p >> 3 & 7 == 3 && p & 0xf80 == 0 && c.narrow(p)
}

/// Rules that depend on the VMCS alone.
#[rustfmt::skip]
pub(super) const RULES: &[Rule] = rules! {
    "reserved pin-based controls are as the capability MSR says" => |c| PIN.accepts(c.get(PinControls), c.model);
    "reserved primary controls are as the capability MSR says" => |c| PROC.accepts(c.get(ProcControls), c.model);
    "reserved secondary controls are as the capability MSR says" => |c|
        !c.proc(proc::SECONDARY) || PROC2.accepts(c.get(ProcControls2), c.model);
    "the CR3-target count is at most 4" => |c| c.get(Cr3TargetCount) <= CR3_TARGETS;
    "I/O bitmap A is a page" => |c| !c.proc(proc::IO_BITMAPS) || c.page(IoBitmapA);
    "I/O bitmap B is a page" => |c| !c.proc(proc::IO_BITMAPS) || c.page(IoBitmapB);
    "the MSR bitmap is a page" => |c| !c.proc(proc::MSR_BITMAPS) || c.page(MsrBitmap);
    "the virtual-APIC page is a page" => |c| !c.proc(proc::TPR_SHADOW) || c.page(VirtualApicAddress);
    "bits 31:4 of the TPR threshold are 0" => |c|
        !c.proc(proc::TPR_SHADOW) || c.get(TprThreshold) >> 4 == 0;
    "virtual NMIs need NMI exiting" => |c| c.pin(pin::NMI) || !c.pin(pin::VIRTUAL_NMIS);
    "NMI-window exiting needs virtual NMIs" => |c|
        c.pin(pin::VIRTUAL_NMIS) || !c.proc(proc::NMI_WINDOW);
    "the APIC-access page is a page" => |c|
        !c.proc2(proc2::VIRTUALIZE_APIC) || c.page(ApicAccessAddress);
    "virtualize x2APIC mode needs the TPR shadow" => |c|
        c.proc(proc::TPR_SHADOW) || !c.proc2(proc2::VIRTUALIZE_X2APIC);
    "virtualize x2APIC mode excludes virtualize APIC accesses" => |c|
        !c.proc2(proc2::VIRTUALIZE_X2APIC) || !c.proc2(proc2::VIRTUALIZE_APIC);
    "the VPID is not 0" => |c| !c.proc2(proc2::VPID) || c.get(Vpid) != 0;
    "the EPT pointer is well formed" => |c| !c.proc2(proc2::EPT) || eptp(c);
    "unrestricted guest needs EPT" => |c| c.proc2(proc2::EPT) || !c.proc2(proc2::UNRESTRICTED);
    "reserved VM-exit controls are as the capability MSR says" => |c| EXIT.accepts(c.get(ExitControls), c.model);
    "saving the preemption timer needs the timer" => |c|
        c.pin(pin::PREEMPTION_TIMER) || !c.exit(exit::SAVE_TIMER);
    "the VM-exit MSR-store list is in reach" => |c| c.list(ExitMsrStoreAddress, ExitMsrStoreCount);
    "the VM-exit MSR-load list is in reach" => |c| c.list(ExitMsrLoadAddress, ExitMsrLoadCount);
    "reserved VM-entry controls are as the capability MSR says" => |c| ENTRY.accepts(c.get(EntryControls), c.model);
    "the VM-entry MSR-load list is in reach" => |c| c.list(EntryMsrLoadAddress, EntryMsrLoadCount);
};

/// Whether there is a rule for each sentence that a row of controls names.
const fn named(controls: &Controls) -> bool {
    let mut row = 0;
    while row < controls.rows.len() {
        let says = controls.rows[row].rules;
        let mut n = 0;
        while n < says.len() {
            if !exists(says[n].as_bytes()) {
                return false;
            }
            n += 1;
        }
        row += 1;
    }
    true
}

const fn exists(says: &[u8]) -> bool {
    let mut n = 0;
    while n < RULES.len() {
        if same(RULES[n].says.as_bytes(), says) {
            return true;
        }
        n += 1;
    }
    false
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut n = 0;
    while n < a.len() && n < b.len() && a[n] == b[n] {
        n += 1;
    }
    n == a.len() && n == b.len()
}

const _: () = assert!(
    named(&PIN) && named(&PROC) && named(&PROC2) && named(&EXIT) && named(&ENTRY),
    "a control names a rule that is not here"
);

/// Rules that depend on memory too.
pub(super) const ALWAYS: &[Rule] = rules! {
    "the TPR threshold is not above the virtual TPR" => |c|
        c.vtpr_class.is_none_or(|class| c.get(TprThreshold) & 15 <= class);
};
