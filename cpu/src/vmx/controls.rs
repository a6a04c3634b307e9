//! The controls that this processor has, a row each, and the capability MSRs computed from the rows.
//! SDM vol. 3, appendix "VMX Capability Reporting Facility".

use super::cause::Cause;
use crate::Cpu;
use crate::feature::Feature;
use crate::model::Model;
use crate::state::Vmx;
use crate::state::control::{CR0_NE, CR0_PE, CR0_PG, CR4_VMXE};
use crate::state::vmx::vmcs::REVISION;

/// A group of controls: one VMCS field.
#[derive(Clone, Copy, Debug)]
pub struct Controls {
    /// Name of the field.
    pub name: &'static str,
    /// Reserved bits that are 1: those of the capability MSR without TRUE.
    pub default1: u32,
    /// The same for the TRUE capability MSR.
    pub true_default1: u32,
    /// The controls that may be 1.
    pub rows: &'static [Control],
}

/// A control: a bit that may be 1, and what comes of the bit.
#[derive(Clone, Copy, Debug)]
pub struct Control {
    /// The bit in its field.
    pub bit: u32,
    /// The SDM's name.
    pub says: &'static str,
    /// Instructions that exit while the control is 1.
    pub exits: &'static [Cause],
    /// Instructions that are undefined in the guest while the control is 0.
    pub enables: &'static [Cause],
    /// Rules of VM entry that look at the control, by their sentences.
    pub rules: &'static [&'static str],
    /// The CPU feature without which the control is reserved.
    pub feature: Option<Feature>,
}

/// Groups of [`Controls`]. A row is `NAME = bit, "the SDM's name"`, then what comes of the bit:
///
/// - `exits [Cause ...]`: instructions that exit while the bit is 1;
/// - `enables [Cause ...]`: instructions that are undefined while the bit is 0;
/// - `rules ["sentence" ...]`: rules of VM entry that look at the bit;
/// - `by [function, ...]`: functions that look at the bit;
/// - `feature [CONSTANT]`: the CPU feature that the control depends on.
///
/// A control that a processor reports and nothing obeys would be a lie to the guest, so that three
/// mistakes do not compile: a row that names no behaviour, a row that names one that does not exist, and
/// a bit that no code looks at (`dead_code` is an error on each bit; in this crate alone, as lints do not
/// look into macros of another crate, such as these examples).
///
/// ```
/// struct Vcpu { proc: u64 }
/// impl Vcpu {
///     fn halts(&self) -> bool { self.proc & proc::HLT == 0 }
/// }
/// cpu::controls! {
///     /// Primary controls.
///     proc PROC = "primary controls", 0, 0 {
///         HLT = 7, "HLT exiting", by [Vcpu::halts];
///     }
/// }
/// assert!(Vcpu { proc: 0 }.halts() && PROC.allowed1() == 0x80);
/// ```
///
/// The row names no behaviour:
///
/// ```compile_fail
/// struct Vcpu { proc: u64 }
/// impl Vcpu {
///     fn halts(&self) -> bool { self.proc & proc::HLT == 0 }
/// }
/// cpu::controls! {
///     /// Primary controls.
///     proc PROC = "primary controls", 0, 0 {
///         HLT = 7, "HLT exiting";
///     }
/// }
/// assert!(Vcpu { proc: 0 }.halts() && PROC.allowed1() == 0x80);
/// ```
///
/// The behaviour does not exist:
///
/// ```compile_fail,E0599
/// struct Vcpu { proc: u64 }
/// impl Vcpu {
///     fn halts(&self) -> bool { self.proc & proc::HLT == 0 }
/// }
/// cpu::controls! {
///     /// Primary controls.
///     proc PROC = "primary controls", 0, 0 {
///         HLT = 7, "HLT exiting", by [Vcpu::exits];
///     }
/// }
/// assert!(Vcpu { proc: 0 }.halts() && PROC.allowed1() == 0x80);
/// ```
#[macro_export]
macro_rules! controls {
    ($($(#[$doc:meta])* $module:ident $table:ident = $text:literal, $default1:literal, $true1:literal {
        $($name:ident = $bit:literal, $says:literal $(, $kind:ident [$($item:tt)+])+;)+
    })+) => {
        $($(#[$doc])*
        pub(crate) mod $module {
            $(#[doc = $says]
            #[deny(dead_code)]
            pub(crate) const $name: u64 = 1 << $bit;)+
        }

        $(#[$doc])*
        pub const $table: $crate::vmx::controls::Controls = $crate::vmx::controls::Controls {
            name: $text,
            default1: $default1,
            true_default1: $true1,
            rows: &[$($crate::vmx::controls::Control {
                bit: 1 << $bit,
                says: $says,
                exits: $crate::controls!(@exits $($kind [$($item)+])+),
                enables: $crate::controls!(@enables $($kind [$($item)+])+),
                rules: $crate::controls!(@rules $($kind [$($item)+])+),
                feature: $crate::controls!(@feature $($kind [$($item)+])+),
            }),+],
        };

        $($($crate::controls!(@look $kind [$($item)+] $module $name);)+)+)+

        /// The bits by group, for those who write a VMCS.
        pub mod bits {
            $($(#[$doc])*
            pub mod $module {
                $(#[doc = $says]
                pub const $name: u64 = 1 << $bit;)+
            })+
        }
    };

    // What the table itself makes of a bit, through `Controls::exiting` and `Controls::enabling`.
    (@look exits [$($cause:ident)+] $module:ident $name:ident) => { const _: u64 = $module::$name; };
    (@look enables [$($cause:ident)+] $module:ident $name:ident) => { const _: u64 = $module::$name; };
    (@look rules [$($says:literal)+] $module:ident $name:ident) => {};
    (@look by [$($function:path),+] $module:ident $name:ident) => {
        const _: () = { $(let _ = $function;)+ };
    };
    (@look feature [$feature:ident] $module:ident $name:ident) => {};

    (@exits exits [$($cause:ident)+] $($rest:tt)*) => { &[$($crate::vmx::cause::Cause::$cause),+] };
    (@enables enables [$($cause:ident)+] $($rest:tt)*) => { &[$($crate::vmx::cause::Cause::$cause),+] };
    (@rules rules [$($says:literal)+] $($rest:tt)*) => { &[$($says),+] };
    (@feature feature [$feature:ident] $($rest:tt)*) => { Some($crate::feature::$feature) };
    (@$column:ident $kind:ident [$($item:tt)+] $($rest:tt)*) => { $crate::controls!(@$column $($rest)*) };
    (@feature) => { None };
    (@$column:ident) => { &[] };
}

#[rustfmt::skip]
controls! {
    /// Pin-based VM-execution controls.
    pin PIN = "pin-based controls", 0x16, 0x16 {
        EXTERNAL_INTERRUPT = 0, "external-interrupt exiting", by [Cpu::interrupt_exits];
        NMI = 3, "NMI exiting", by [Cpu::event_exits];
        VIRTUAL_NMIS = 5, "virtual NMIs", by [Vmx::virtual_nmis, Cpu::load_guest];
        PREEMPTION_TIMER = 6, "activate VMX-preemption timer", by [Cpu::start_guest];
    }

    /// Primary processor-based VM-execution controls.
    proc PROC = "primary processor-based controls", 0x0401_e172, 0x0400_6172 {
        INTERRUPT_WINDOW = 2, "interrupt-window exiting", by [Cpu::interrupt_window];
        TSC_OFFSET = 3, "use TSC offsetting", by [Vmx::tsc_offset];
        HLT = 7, "HLT exiting", exits [Hlt];
        INVLPG = 9, "INVLPG exiting", exits [Invpcid], by [Cpu::vmx_intercept_invlpg];
        MWAIT = 10, "MWAIT exiting", exits [Mwait];
        RDPMC = 11, "RDPMC exiting", exits [Rdpmc];
        RDTSC = 12, "RDTSC exiting", exits [Rdtsc Rdtscp];
        CR3_LOAD = 15, "CR3-load exiting", by [Cpu::write_cr];
        CR3_STORE = 16, "CR3-store exiting", by [Cpu::read_cr];
        CR8_LOAD = 19, "CR8-load exiting", by [Cpu::write_cr];
        CR8_STORE = 20, "CR8-store exiting", by [Cpu::read_cr];
        TPR_SHADOW = 21, "use TPR shadow", by [Cpu::write_cr, Cpu::read_cr, Cpu::is_virtual_tpr];
        NMI_WINDOW = 22, "NMI-window exiting", by [Cpu::nmi_window];
        MOV_DR = 23, "MOV-DR exiting", by [Cpu::vmx_intercept_dr];
        UNCONDITIONAL_IO = 24, "unconditional I/O exiting", by [Cpu::io_exits];
        IO_BITMAPS = 25, "use I/O bitmaps", by [Cpu::io_exits];
        MONITOR_TRAP = 27, "monitor trap flag", by [Cpu::vmx_after_step];
        MSR_BITMAPS = 28, "use MSR bitmaps", by [Cpu::msr_exits];
        MONITOR = 29, "MONITOR exiting", exits [Monitor];
        PAUSE = 30, "PAUSE exiting", exits [Pause];
        SECONDARY = 31, "activate secondary controls", by [Vmx::read_controls];
    }

    /// Secondary processor-based VM-execution controls.
    proc2 PROC2 = "secondary processor-based controls", 0, 0 {
        VIRTUALIZE_APIC = 0, "virtualize APIC accesses", by [Cpu::is_apic_access];
        EPT = 1, "enable EPT", by [Vmx::eptp], rules ["the EPT pointer is well formed"];
        DESCRIPTOR_TABLE = 2, "descriptor-table exiting", by [Cpu::vmx_intercept_table];
        RDTSCP = 3, "enable RDTSCP", enables [Rdtscp Rdpid], feature [RDTSCP];
        VIRTUALIZE_X2APIC = 4, "virtualize x2APIC mode", by [Cpu::vmx_rdmsr, Cpu::vmx_wrmsr], feature [X2APIC];
        VPID = 5, "enable VPID", rules ["the VPID is not 0"];
        WBINVD = 6, "WBINVD exiting", exits [Wbinvd];
        UNRESTRICTED = 7, "unrestricted guest", by [Cpu::vmx_cr_fixed], rules ["unrestricted guest needs EPT"];
        INVPCID = 12, "enable INVPCID", enables [Invpcid], feature [INVPCID];
        XSAVES = 20, "enable XSAVES/XRSTORS", enables [Xsaves Xrstors], feature [XSAVES];
    }

    /// VM-exit controls.
    exit EXIT = "VM-exit controls", 0x0003_6dff, 0x0003_6dfb {
        SAVE_DEBUG = 2, "save debug controls", by [Cpu::save_guest];
        HOST_64 = 9, "host address-space size", by [Cpu::load_host];
        ACKNOWLEDGE = 15, "acknowledge interrupt on exit", by [Cpu::vmx_low_event];
        SAVE_PAT = 18, "save IA32_PAT", by [Cpu::save_guest];
        LOAD_PAT = 19, "load IA32_PAT", by [Cpu::load_host];
        SAVE_EFER = 20, "save IA32_EFER", by [Cpu::save_guest];
        LOAD_EFER = 21, "load IA32_EFER", by [Cpu::load_host];
        SAVE_TIMER = 22, "save VMX-preemption timer value", by [Cpu::save_guest];
    }

    /// VM-entry controls.
    entry ENTRY = "VM-entry controls", 0x0000_11ff, 0x0000_11fb {
        LOAD_DEBUG = 2, "load debug controls", by [Cpu::load_guest];
        IA32E = 9, "IA-32e mode guest", by [Cpu::load_guest, Cpu::entry_pdptes];
        LOAD_PAT = 14, "load IA32_PAT", by [Cpu::load_guest];
        LOAD_EFER = 15, "load IA32_EFER", by [Cpu::load_guest];
    }
}

impl Controls {
    /// The bits that may be 1 where the processor has every feature.
    pub fn allowed1(&self) -> u32 {
        self.rows.iter().fold(self.default1, |bits, r| bits | r.bit)
    }

    /// The bits that may be 1 on this model.
    pub(super) fn allowed(&self, model: &Model) -> u32 {
        let absent = |r: &&Control| r.feature.is_some_and(|f| !model.has(f));
        self.rows.iter().filter(absent).fold(self.allowed1(), |bits, r| bits & !r.bit)
    }

    /// The capability MSR.
    fn capability(&self, model: &Model) -> u64 {
        (self.allowed(model) as u64) << 32 | self.default1 as u64
    }

    /// The TRUE capability MSR.
    fn true_capability(&self, model: &Model) -> u64 {
        (self.allowed(model) as u64) << 32 | self.true_default1 as u64
    }

    /// Whether `v` sets the reserved bits properly.
    pub(super) fn accepts(&self, v: u64, model: &Model) -> bool {
        let v = v as u32;
        v & self.true_default1 == self.true_default1 && v & !self.allowed(model) == 0
    }

    /// The bits under which `cause` exits.
    pub(super) const fn exiting(&self, cause: Cause) -> u64 {
        self.select(cause, true)
    }

    /// The bits without which `cause` is undefined.
    pub(super) const fn enabling(&self, cause: Cause) -> u64 {
        self.select(cause, false)
    }

    const fn select(&self, cause: Cause, exits: bool) -> u64 {
        let mut bits = 0;
        let mut n = 0;
        while n < self.rows.len() {
            let row = &self.rows[n];
            if holds(if exits { row.exits } else { row.enables }, cause) {
                bits |= row.bit as u64;
            }
            n += 1;
        }
        bits
    }
}

const fn holds(causes: &[Cause], cause: Cause) -> bool {
    let mut n = 0;
    while n < causes.len() {
        if causes[n] as u8 == cause as u8 {
            return true;
        }
        n += 1;
    }
    false
}

/// A capability MSR as the sum of a value and of bits with the SDM's names.
macro_rules! capability {
    ($(#[$doc:meta])* $name:ident = $value:expr; $($bit:literal $says:literal;)*) => {
        $(#[$doc])*
        ///
        $(#[doc = concat!("- bit ", $bit, ": ", $says)])*
        pub const $name: u64 = $value $(| 1 << $bit)*;
    };
}

/// Bytes of a VMCS region.
const REGION: u64 = 4096;
/// The memory type write-back.
const WRITE_BACK: u64 = 6;

capability! {
    /// IA32_VMX_BASIC: revision, size of a VMCS region, memory type.
    BASIC = REVISION as u64 | REGION << 32 | WRITE_BACK << 50;
    54 "exits of INS and OUTS store instruction information";
    55 "the TRUE capability MSRs exist";
}

/// The VMX-preemption timer counts once in 2 to this many TSC ticks.
pub const TIMER_SHIFT: u32 = 3;
/// Number of CR3-target values.
pub const CR3_TARGETS: u64 = 4;

capability! {
    /// IA32_VMX_MISC: rate of the preemption timer, number of CR3-target values.
    MISC = TIMER_SHIFT as u64 | CR3_TARGETS << 16;
    5 "exits store EFER.LMA";
    6 "activity state HLT";
    7 "activity state shutdown";
    8 "activity state wait-for-SIPI";
    30 "injection with instruction length 0";
}

capability! {
    /// IA32_VMX_EPT_VPID_CAP.
    EPT_VPID_CAP = 0;
    0 "execute-only translations";
    6 "page walks of length 4";
    8 "uncacheable EPT structures";
    14 "write-back EPT structures";
    16 "2-MByte pages";
    17 "1-GByte pages";
    20 "INVEPT";
    21 "accessed and dirty flags";
    25 "single-context INVEPT";
    26 "all-context INVEPT";
    32 "INVVPID";
    40 "individual-address INVVPID";
    41 "single-context INVVPID";
    42 "all-context INVVPID";
    43 "single-context-retaining-globals INVVPID";
}

/// CR0 bits that are 1 in VMX operation.
pub const CR0_FIXED0: u64 = CR0_PE | CR0_NE | CR0_PG;
/// CR0 bits that may be 1 in VMX operation.
pub const CR0_FIXED1: u64 = 0xffff_ffff;
/// CR4 bits that are 1 in VMX operation: VMXE.
pub const CR4_FIXED0: u64 = CR4_VMXE;

/// Capability MSR `n` (480h to 493h) of `model`, if it exists.
pub fn capability_msr(n: u32, model: &Model) -> Option<u64> {
    Some(match n {
        0x480 => BASIC,
        0x481 => PIN.capability(model),
        0x482 => PROC.capability(model),
        0x483 => EXIT.capability(model),
        0x484 => ENTRY.capability(model),
        0x485 => MISC,
        0x486 => CR0_FIXED0,
        0x487 => CR0_FIXED1,
        0x488 => CR4_FIXED0,
        0x489 => model.cr4_bits(),
        0x48a => crate::state::vmx::field::VMCS_ENUM,
        0x48b => PROC2.capability(model),
        0x48c => EPT_VPID_CAP,
        0x48d => PIN.true_capability(model),
        0x48e => PROC.true_capability(model),
        0x48f => EXIT.true_capability(model),
        0x490 => ENTRY.true_capability(model),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(n: u32, v: Option<u64>) {
        assert_eq!(capability_msr(n, &Model::default()), v, "MSR {n:#x}");
    }

    #[test]
    fn capability_msrs() {
        check(0x480, Some(0x00d8_1000_0000_0001));
        check(0x481, Some(0x0000_007f_0000_0016));
        check(0x482, Some(0xfff9_fffe_0401_e172));
        check(0x485, Some(0x4004_01e3));
        check(0x48b, Some(0x0010_10ff_0000_0000));
        check(0x48e, Some(0xfff9_fffe_0400_6172));
        check(0x48a, Some(0x2e));
        check(0x48c, Some(0x0000_0f01_0633_4141));
        check(0x491, None);
        check(0x492, None);
    }
}
