//! VMX state. SDM vol. 3, part "Virtual Machine Extensions".

pub mod field;
pub mod stats;
pub mod vmcs;

use serde::{Deserialize, Serialize};
use vmcs::Vmcs;

/// Interruption types. SDM vol. 3, "Format of the VM-Entry Interruption-Information Field".
pub mod kind {
    #![expect(missing_docs, reason = "the names are the SDM's")]
    pub const EXTERNAL: u8 = 0;
    pub const NMI: u8 = 2;
    pub const HARDWARE: u8 = 3;
    pub const SOFTWARE_INTERRUPT: u8 = 4;
    pub const PRIVILEGED: u8 = 5;
    pub const SOFTWARE: u8 = 6;
    pub const OTHER: u8 = 7;
}

/// VMX state of a processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vmx {
    /// In VMX operation.
    pub on: bool,
    /// In VMX non-root operation.
    pub guest: bool,
    /// The operand of VMXON.
    pub vmxon_pointer: u64,
    /// The current VMCS.
    pub vmcs: Vmcs,
    /// Groups of entry rules that may not hold any more, see [`field::group`].
    pub dirty: u8,
    /// The controls in force in the guest.
    pub controls: Active,
    /// The exit that is being made.
    pub exit: Exit,
    /// An event to inject stands in the VMCS.
    pub inject: bool,
    /// The event being delivered is an injected one: the exception bitmap does not count.
    pub injecting: bool,
    /// Virtual-NMI blocking.
    pub virtual_nmi_blocked: bool,
    /// IRET has removed NMI blocking with the running instruction.
    pub nmi_unblocked: bool,
    /// A monitor-trap-flag exit is pending.
    pub monitor_trap: bool,
    /// Retired-instruction count at which the preemption timer expires.
    pub timer: u64,
    /// A TPR-below-threshold exit is pending.
    pub tpr_below: bool,
    /// Length of the INT n, INT3, INTO or INT1 that was delivered last.
    pub software_length: u8,
    /// Interruptibility (bits 0 and 1 as in the VMCS) before the running instruction.
    pub shadow: u8,
}

/// Controls, copied out of the VMCS at VM entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Active {
    pub pin: u64,
    pub proc: u64,
    pub proc2: u64,
}

impl Default for Vmx {
    fn default() -> Vmx {
        Vmx {
            on: false,
            guest: false,
            vmxon_pointer: 0,
            vmcs: Vmcs::default(),
            dirty: field::group::ALL,
            controls: Active::default(),
            exit: Exit::default(),
            inject: false,
            injecting: false,
            virtual_nmi_blocked: false,
            nmi_unblocked: false,
            monitor_trap: false,
            timer: u64::MAX,
            tpr_below: false,
            software_length: 0,
            shadow: 0,
        }
    }
}

impl Vmx {
    /// Whether pin-based control `bit` is in force.
    #[inline]
    pub(crate) fn pin(&self, bit: u64) -> bool {
        self.guest && self.controls.pin & bit != 0
    }

    /// Whether primary control `bit` is in force.
    #[inline]
    pub(crate) fn proc(&self, bit: u64) -> bool {
        self.guest && self.controls.proc & bit != 0
    }

    /// Whether secondary control `bit` is in force.
    #[inline]
    pub(crate) fn proc2(&self, bit: u64) -> bool {
        self.guest && self.controls.proc2 & bit != 0
    }
}

/// Why an exit is made, in the form of the VMCS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Exit reason.
    pub reason: u32,
    /// Exit qualification.
    pub qualification: u64,
    /// Interruption information.
    pub interruption: u32,
    /// Interruption error code.
    pub error: u32,
    /// Instruction length.
    pub length: u32,
    /// Instruction information.
    pub info: u32,
    /// Guest-linear address.
    pub linear: u64,
    /// Guest-physical address.
    pub physical: u64,
    /// RFLAGS.RF as it is saved, if not as it is.
    pub resume: Option<bool>,
}

impl Exit {
    /// An exit with nothing but a reason.
    pub fn new(reason: u32) -> Exit {
        Exit { reason, ..Exit::default() }
    }
}
