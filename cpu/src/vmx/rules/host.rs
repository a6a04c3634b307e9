//! Rules on the host state. SDM vol. 3, "Checks on Host Control Registers, MSRs, and SSP", "Checks on
//! Host Segment and Descriptor-Table Registers", "Checks Related to Address-Space Size".

use super::{Check, Rule, canonical, efer_bits, pat, rules};
use crate::state::control::{CR4_PAE, CR4_PCIDE, EFER_LMA, EFER_LME};
use crate::state::vmx::field::Field::{self, *};
use crate::state::vmx::field::HOST_SELECTORS;
use crate::vmx::controls::{CR0_FIXED0, CR0_FIXED1, CR4_FIXED0, entry, exit};

fn host64(c: &Check) -> bool {
    c.exit(exit::HOST_64)
}

fn plain_selector(c: &Check, f: Field) -> bool {
    c.get(f) & 7 == 0
}

#[rustfmt::skip]
pub(super) const RULES: &[Rule] = rules! {
    "host CR0 has the bits that VMX operation fixes" => |c| {
        let v = c.get(HostCr0);
        v & CR0_FIXED0 == CR0_FIXED0 && v & !CR0_FIXED1 == 0
    };
    "host CR4 has the bits that VMX operation fixes" => |c| {
        let v = c.get(HostCr4);
        v & CR4_FIXED0 == CR4_FIXED0 && v & !c.model.cr4_bits() == 0
    };
    "host CR3 is not too wide" => |c| c.narrow(c.get(HostCr3));
    "host IA32_SYSENTER_ESP is canonical" => |c| canonical(c.get(HostSysenterEsp));
    "host IA32_SYSENTER_EIP is canonical" => |c| canonical(c.get(HostSysenterEip));
    "host IA32_PAT holds memory types" => |c| !c.exit(exit::LOAD_PAT) || pat(c.get(HostPat));
    "reserved bits of host IA32_EFER are 0" => |c| !c.exit(exit::LOAD_EFER) || efer_bits(c.get(HostEfer));
    "host EFER.LMA is the host address-space size" => |c|
        !c.exit(exit::LOAD_EFER) || (c.get(HostEfer) & EFER_LMA != 0) == host64(c);
    "host EFER.LME is the host address-space size" => |c|
        !c.exit(exit::LOAD_EFER) || (c.get(HostEfer) & EFER_LME != 0) == host64(c);
    "host selectors have RPL 0 and TI 0" => |c| HOST_SELECTORS.iter().all(|f| plain_selector(c, *f));
    "the host TR selector has RPL 0 and TI 0" => |c| plain_selector(c, HostTrSelector);
    "the host CS selector is not null" => |c| c.get(HostCsSelector) != 0;
    "the host TR selector is not null" => |c| c.get(HostTrSelector) != 0;
    "the host SS selector is not null for a 32-bit host" => |c| host64(c) || c.get(HostSsSelector) != 0;
    "host FS base is canonical" => |c| canonical(c.get(HostFsBase));
    "host GS base is canonical" => |c| canonical(c.get(HostGsBase));
    "host GDTR base is canonical" => |c| canonical(c.get(HostGdtrBase));
    "host IDTR base is canonical" => |c| canonical(c.get(HostIdtrBase));
    "host TR base is canonical" => |c| canonical(c.get(HostTrBase));
    "a 32-bit host has no IA-32e mode guest" => |c| host64(c) || !c.entry(entry::IA32E);
    "a 32-bit host has CR4.PCIDE clear" => |c| host64(c) || c.get(HostCr4) & CR4_PCIDE == 0;
    "a 32-bit host has a 32-bit RIP" => |c| host64(c) || c.get(HostRip) >> 32 == 0;
    "a 64-bit host has CR4.PAE set" => |c| !host64(c) || c.get(HostCr4) & CR4_PAE != 0;
    "a 64-bit host has a canonical RIP" => |c| !host64(c) || canonical(c.get(HostRip));
};

/// The rule that depends on the processor too.
pub(super) const ALWAYS: &[Rule] = rules! {
    "the host address-space size is that of the processor that enters" => |c| host64(c) == c.lma;
};
