//! The controls that this processor has, as tables, and the capability MSRs computed from them.
//! SDM vol. 3, appendix "VMX Capability Reporting Facility".

use crate::feature;
use crate::model::Model;
use crate::state::control::{CR0_NE, CR0_PE, CR0_PG};
use crate::state::vmx::vmcs::REVISION;

/// A group of controls: one VMCS field.
#[derive(Clone, Copy, Debug)]
pub struct Controls {
    /// The name.
    pub name: &'static str,
    /// Reserved bits that are 1: those of the capability MSR without TRUE.
    pub default1: u32,
    /// The same for the TRUE capability MSR.
    pub true_default1: u32,
    /// The bits that may be 1, and their names.
    pub bits: &'static [(u32, &'static str)],
}

macro_rules! controls {
    ($(#[$doc:meta])* $module:ident $table:ident = $text:literal, $default1:literal, $true1:literal;
     $($name:ident = $bit:literal, $says:literal;)*) => {
        $(#[$doc])*
        pub mod $module {
            $(#[doc = $says]
            pub const $name: u64 = 1 << $bit;)*
        }

        $(#[$doc])*
        pub const $table: Controls = Controls {
            name: $text,
            default1: $default1,
            true_default1: $true1,
            bits: &[$((1 << $bit, $says)),*],
        };
    };
}

controls! {
    /// Pin-based VM-execution controls.
    pin PIN = "pin-based controls", 0x16, 0x16;
    EXTERNAL_INTERRUPT = 0, "external-interrupt exiting";
    NMI = 3, "NMI exiting";
    VIRTUAL_NMIS = 5, "virtual NMIs";
    PREEMPTION_TIMER = 6, "activate VMX-preemption timer";
}

controls! {
    /// Primary processor-based VM-execution controls.
    proc PROC = "primary processor-based controls", 0x0401_e172, 0x0400_6172;
    INTERRUPT_WINDOW = 2, "interrupt-window exiting";
    TSC_OFFSET = 3, "use TSC offsetting";
    HLT = 7, "HLT exiting";
    INVLPG = 9, "INVLPG exiting";
    MWAIT = 10, "MWAIT exiting";
    RDPMC = 11, "RDPMC exiting";
    RDTSC = 12, "RDTSC exiting";
    CR3_LOAD = 15, "CR3-load exiting";
    CR3_STORE = 16, "CR3-store exiting";
    CR8_LOAD = 19, "CR8-load exiting";
    CR8_STORE = 20, "CR8-store exiting";
    TPR_SHADOW = 21, "use TPR shadow";
    NMI_WINDOW = 22, "NMI-window exiting";
    MOV_DR = 23, "MOV-DR exiting";
    UNCONDITIONAL_IO = 24, "unconditional I/O exiting";
    IO_BITMAPS = 25, "use I/O bitmaps";
    MONITOR_TRAP = 27, "monitor trap flag";
    MSR_BITMAPS = 28, "use MSR bitmaps";
    MONITOR = 29, "MONITOR exiting";
    PAUSE = 30, "PAUSE exiting";
    SECONDARY = 31, "activate secondary controls";
}

controls! {
    /// Secondary processor-based VM-execution controls.
    proc2 PROC2 = "secondary processor-based controls", 0, 0;
    VIRTUALIZE_APIC = 0, "virtualize APIC accesses";
    EPT = 1, "enable EPT";
    DESCRIPTOR_TABLE = 2, "descriptor-table exiting";
    RDTSCP = 3, "enable RDTSCP";
    VIRTUALIZE_X2APIC = 4, "virtualize x2APIC mode";
    VPID = 5, "enable VPID";
    WBINVD = 6, "WBINVD exiting";
    UNRESTRICTED = 7, "unrestricted guest";
    INVPCID = 12, "enable INVPCID";
    XSAVES = 20, "enable XSAVES/XRSTORS";
}

controls! {
    /// VM-exit controls.
    exit EXIT = "VM-exit controls", 0x0003_6dff, 0x0003_6dfb;
    SAVE_DEBUG = 2, "save debug controls";
    HOST_64 = 9, "host address-space size";
    ACKNOWLEDGE = 15, "acknowledge interrupt on exit";
    SAVE_PAT = 18, "save IA32_PAT";
    LOAD_PAT = 19, "load IA32_PAT";
    SAVE_EFER = 20, "save IA32_EFER";
    LOAD_EFER = 21, "load IA32_EFER";
    SAVE_TIMER = 22, "save VMX-preemption timer value";
}

controls! {
    /// VM-entry controls.
    entry ENTRY = "VM-entry controls", 0x0000_11ff, 0x0000_11fb;
    LOAD_DEBUG = 2, "load debug controls";
    IA32E = 9, "IA-32e mode guest";
    LOAD_PAT = 14, "load IA32_PAT";
    LOAD_EFER = 15, "load IA32_EFER";
}

impl Controls {
    /// The bits that may be 1.
    pub fn allowed1(&self) -> u32 {
        self.bits.iter().fold(self.default1, |a, b| a | b.0)
    }

    /// The capability MSR.
    pub fn capability(&self) -> u64 {
        (self.allowed1() as u64) << 32 | self.default1 as u64
    }

    /// The TRUE capability MSR.
    pub fn true_capability(&self) -> u64 {
        (self.allowed1() as u64) << 32 | self.true_default1 as u64
    }

    /// Whether `v` sets the reserved bits properly.
    pub fn accepts(&self, v: u64) -> bool {
        let v = v as u32;
        v & self.true_default1 == self.true_default1 && v & !self.allowed1() == 0
    }
}

/// IA32_VMX_BASIC: revision, a VMCS region of 4096 bytes, write-back, INS/OUTS information, TRUE MSRs.
pub const BASIC: u64 = REVISION as u64 | 4096 << 32 | 6 << 50 | 1 << 54 | 1 << 55;

/// The VMX-preemption timer counts once in 2 to this many TSC ticks.
pub const TIMER_SHIFT: u32 = 5;
/// Number of CR3-target values.
pub const CR3_TARGETS: u64 = 4;

/// IA32_VMX_MISC: timer rate, EFER.LMA stored at exits, activity states HLT, SHUTDOWN and WAIT-SIPI,
/// CR3 targets, injection with instruction length 0.
pub const MISC: u64 = TIMER_SHIFT as u64 | 1 << 5 | 7 << 6 | CR3_TARGETS << 16 | 1 << 30;

/// IA32_VMX_EPT_VPID_CAP: execute-only, 4-level walks, UC and WB structures, 2 MiB and 1 GiB pages,
/// INVEPT, accessed and dirty flags, single and all contexts; INVVPID with its four types.
pub const EPT_VPID_CAP: u64 = 1
    | 1 << 6
    | 1 << 8
    | 1 << 14
    | 1 << 16
    | 1 << 17
    | 1 << 20
    | 1 << 21
    | 1 << 25
    | 1 << 26
    | 1 << 32
    | 0xf << 40;

/// CR0 bits that are 1 in VMX operation.
pub const CR0_FIXED0: u64 = CR0_PE | CR0_NE | CR0_PG;
/// CR0 bits that may be 1 in VMX operation.
pub const CR0_FIXED1: u64 = 0xffff_ffff;
/// CR4 bits that are 1 in VMX operation: VMXE.
pub const CR4_FIXED0: u64 = CR4_VMXE;
/// CR4.VMXE.
pub const CR4_VMXE: u64 = 1 << 13;
/// CR4.PCIDE.
pub const CR4_PCIDE: u64 = 1 << 17;

/// The secondary controls that `model` lacks, because it lacks what they enable.
pub fn proc2_absent(model: &Model) -> u64 {
    let rows = [
        (feature::RDTSCP, proc2::RDTSCP),
        (feature::X2APIC, proc2::VIRTUALIZE_X2APIC),
        (feature::INVPCID, proc2::INVPCID),
        (feature::XSAVES, proc2::XSAVES),
    ];
    rows.iter().filter(|r| !model.has(r.0)).fold(0, |bits, r| bits | r.1)
}

/// Capability MSR `n` (480h to 493h), if it exists. `cr4` are the CR4 bits that the processor has,
/// `absent` the secondary controls that it lacks.
pub fn capability_msr(n: u32, cr4: u64, absent: u64) -> Option<u64> {
    Some(match n {
        0x480 => BASIC,
        0x481 => PIN.capability(),
        0x482 => PROC.capability(),
        0x483 => EXIT.capability(),
        0x484 => ENTRY.capability(),
        0x485 => MISC,
        0x486 => CR0_FIXED0,
        0x487 => CR0_FIXED1,
        0x488 => CR4_FIXED0,
        0x489 => cr4,
        0x48a => crate::state::vmx::field::VMCS_ENUM,
        0x48b => PROC2.capability() & !(absent << 32),
        0x48c => EPT_VPID_CAP,
        0x48d => PIN.true_capability(),
        0x48e => PROC.true_capability(),
        0x48f => EXIT.true_capability(),
        0x490 => ENTRY.true_capability(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(n: u32, v: Option<u64>) {
        assert_eq!(capability_msr(n, 0, 0), v, "MSR {n:#x}");
    }

    #[test]
    fn capability_msrs() {
        check(0x480, Some(0x00d8_1000_0000_0001));
        check(0x481, Some(0x0000_007f_0000_0016));
        check(0x482, Some(0xfff9_fffe_0401_e172));
        check(0x48e, Some(0xfff9_fffe_0400_6172));
        check(0x48a, Some(0x2e));
        check(0x48c, Some(0x0000_0f01_0633_4141));
        check(0x491, None);
        check(0x492, None);
    }
}
