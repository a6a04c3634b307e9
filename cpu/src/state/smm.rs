//! The state of system-management mode. SDM vol. 3, "System Management Mode".

use serde::{Deserialize, Serialize};

/// SMBASE at power-up.
const SMBASE: u32 = 0x3_0000;
/// What the chipset says of system-management RAM at A0000h. Data sheet of the Q35 memory controller hub,
/// "SMRAM - System Management RAM Control".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smram {
    /// G_SMRAME: there is such RAM.
    pub enabled: bool,
    /// D_OPEN: it is visible outside system-management mode too.
    pub open: bool,
    /// D_CLS: it is hidden from data accesses.
    pub closed: bool,
}

/// System-management state of a processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smm {
    /// SMBASE.
    pub base: u32,
    /// In system-management mode.
    pub active: bool,
    /// An SMI is latched.
    pub pending: bool,
    /// An input from the chipset.
    pub smram: Smram,
    pub(crate) before: Before,
}

/// State from before the SMI that has no place in the save area.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Before {
    pub(crate) sti_shadow: bool,
    pub(crate) ss_shadow: bool,
    pub(crate) nmi_blocked: bool,
    pub(crate) pending_debug: u64,
    pub(crate) pdpte: [u64; 4],
    /// The map of 32-bit processors has no EFER.
    pub(crate) efer: u64,
    pub(crate) vmxe: bool,
    /// In VMX operation.
    pub(crate) vmx: bool,
    /// In VMX non-root operation.
    pub(crate) guest: bool,
    pub(crate) ss_dpl: u32,
    pub(crate) v86: bool,
}

impl Default for Smm {
    fn default() -> Smm {
        Smm {
            base: SMBASE,
            active: false,
            pending: false,
            smram: Smram::default(),
            before: Before::default(),
        }
    }
}

impl Smm {
    /// After INIT: SMBASE stays, and a latched SMI.
    pub(crate) fn init(&self) -> Smm {
        Smm { base: self.base, pending: self.pending, smram: self.smram, ..Smm::default() }
    }
}
