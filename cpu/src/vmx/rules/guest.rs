//! Rules on the guest state but segments. SDM vol. 3, "Checks on the Guest State Area".

use super::{Check, Rule, canonical, efer_bits, pat, rules};
use crate::msr::{DEBUGCTL, DEBUGCTL_BTF};
use crate::state::control::{CR0_PE, CR0_PG, CR4_PAE, CR4_PCIDE, EFER_LMA, EFER_LME};
use crate::state::vmx::field::Field::*;
use crate::state::vmx::vmcs::{NO_VMCS, REVISION};
use crate::state::{ar, flags};
use crate::vmx::controls::{CR0_FIXED0, CR0_FIXED1, CR4_FIXED0, entry, proc2};

fn ia32e(c: &Check) -> bool {
    c.entry(entry::IA32E)
}

fn cr0_fixed(c: &Check) -> bool {
    let free = if c.proc2(proc2::UNRESTRICTED) { CR0_PE | CR0_PG } else { 0 };
    let must = CR0_FIXED0 & !free;
    let v = c.get(GuestCr0);
    v & must == must && v & !CR0_FIXED1 == 0
}

/// Control registers, debug registers, MSRs.
#[rustfmt::skip]
pub(super) const REGISTERS: &[Rule] = rules! {
    "guest CR0 has the bits that VMX operation fixes" => cr0_fixed;
    "guest CR0.PG needs CR0.PE" => |c| c.get(GuestCr0) & CR0_PG == 0 || c.protected();
    "guest CR4 has the bits that VMX operation fixes" => |c| {
        let v = c.get(GuestCr4);
        v & CR4_FIXED0 == CR4_FIXED0 && v & !c.model.cr4_bits() == 0
    };
    "reserved bits of guest IA32_DEBUGCTL are 0" => |c|
        !c.entry(entry::LOAD_DEBUG) || c.get(GuestDebugctl) & !DEBUGCTL == 0;
    "an IA-32e mode guest has CR0.PG" => |c| !ia32e(c) || c.get(GuestCr0) & CR0_PG != 0;
    "an IA-32e mode guest has CR4.PAE" => |c| !ia32e(c) || c.get(GuestCr4) & CR4_PAE != 0;
    "guest CR4.PCIDE needs IA-32e mode" => |c| ia32e(c) || c.get(GuestCr4) & CR4_PCIDE == 0;
    "guest CR3 is not too wide" => |c| c.narrow(c.get(GuestCr3));
    "bits 63:32 of guest DR7 are 0" => |c| !c.entry(entry::LOAD_DEBUG) || c.get(GuestDr7) >> 32 == 0;
    "guest IA32_SYSENTER_ESP is canonical" => |c| canonical(c.get(GuestSysenterEsp));
    "guest IA32_SYSENTER_EIP is canonical" => |c| canonical(c.get(GuestSysenterEip));
    "guest IA32_PAT holds memory types" => |c| !c.entry(entry::LOAD_PAT) || pat(c.get(GuestPat));
    "reserved bits of guest IA32_EFER are 0" => |c|
        !c.entry(entry::LOAD_EFER) || efer_bits(c.get(GuestEfer));
    "guest EFER.LMA is the IA-32e mode guest control" => |c|
        !c.entry(entry::LOAD_EFER) || (c.get(GuestEfer) & EFER_LMA != 0) == ia32e(c);
    "guest EFER.LME is EFER.LMA while CR0.PG is set" => |c| {
        let e = c.get(GuestEfer);
        !c.entry(entry::LOAD_EFER)
            || c.get(GuestCr0) & CR0_PG == 0
            || (e & EFER_LMA != 0) == (e & EFER_LME != 0)
    };
};

const STI: u64 = 1;
const MOV_SS: u64 = 2;

fn stands_still(c: &Check) -> bool {
    c.get(GuestInterruptibility) & (STI | MOV_SS) != 0 || c.get(GuestActivity) == 1
}

fn long_code(c: &Check) -> bool {
    ia32e(c) && c.get(GuestCsRights) & ar::L as u64 != 0
}

/// Whether the pending single-step trap is there exactly if the guest single-steps instructions.
fn single_step(c: &Check) -> bool {
    let steps = c.get(GuestRflags) & flags::TF != 0 && c.get(GuestDebugctl) & DEBUGCTL_BTF == 0;
    !stands_still(c) || (c.get(GuestPendingDebug) & 1 << 14 != 0) == steps
}

/// RIP, RFLAGS and non-register state.
#[rustfmt::skip]
pub(super) const RUNNING: &[Rule] = rules! {
    "bits 63:32 of guest RIP are 0 outside 64-bit mode" => |c| long_code(c) || c.get(GuestRip) >> 32 == 0;
    "guest RIP is canonical in 64-bit mode" => |c| !long_code(c) || canonical(c.get(GuestRip));
    "reserved bits of guest RFLAGS are 0" => |c| c.get(GuestRflags) & !0x3f_7fd7 == 0;
    "bit 1 of guest RFLAGS is 1" => |c| c.get(GuestRflags) & flags::FIXED != 0;
    "guest RFLAGS.VM is 0 in IA-32e mode and in real mode" => |c|
        c.get(GuestRflags) & flags::VM == 0 || (!ia32e(c) && c.protected());
    "the activity state exists" => |c| c.get(GuestActivity) <= 3;
    "a guest in HLT has SS.DPL 0" => |c|
        c.get(GuestActivity) != 1 || c.get(GuestSsRights) >> ar::DPL_SHIFT & 3 == 0;
    "a guest with blocking by STI or MOV SS is active" => |c|
        c.get(GuestInterruptibility) & (STI | MOV_SS) == 0 || c.get(GuestActivity) == 0;
    "reserved bits of the interruptibility state are 0" => |c| c.get(GuestInterruptibility) >> 5 == 0;
    "blocking by STI and by MOV SS exclude each other" => |c|
        c.get(GuestInterruptibility) & (STI | MOV_SS) != STI | MOV_SS;
    "blocking by STI needs RFLAGS.IF" => |c|
        c.get(GuestInterruptibility) & STI == 0 || c.get(GuestRflags) & flags::IF != 0;
    "there is no blocking by SMI outside SMM" => |c| c.get(GuestInterruptibility) & 4 == 0;
    "there is no enclave interruption" => |c| c.get(GuestInterruptibility) & 16 == 0;
    "reserved bits of the pending debug exceptions are 0" => |c|
        c.get(GuestPendingDebug) & !0x1_500f == 0;
    "a single-step trap is pending exactly if the guest single-steps" => single_step;
};

/// The VMCS link pointer.
#[rustfmt::skip]
pub(super) const LINK: &[Rule] = rules! {
    "the link pointer is all-ones or a page" => |c| no_link(c) || c.page(VmcsLinkPointer);
    "the link pointer names a VMCS" => |c| no_link(c) || c.link_revision == Some(REVISION);
    "the link pointer is not the current VMCS" => |c|
        no_link(c) || c.get(VmcsLinkPointer) != c.vmcs.address;
};

fn no_link(c: &Check) -> bool {
    c.get(VmcsLinkPointer) == NO_VMCS
}

/// PAE paging.
#[rustfmt::skip]
pub(super) const PDPTES: &[Rule] = rules! {
    "reserved bits of present PDPTEs are 0" => |c|
        c.pdptes.is_none_or(|p| mmu::pdptes_valid(&p, c.model.maxphys));
};
