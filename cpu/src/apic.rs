//! The local APIC. SDM vol. 3, "Advanced Programmable Interrupt Controller (APIC)".

use crate::state::Cpu;
use serde::{Deserialize, Serialize};

/// State of a local APIC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apic {
    /// IA32_APIC_BASE.
    pub base: u64,
}

impl Apic {
    /// Whether the xAPIC registers are mapped at physical address `p`.
    pub fn claims(&self, p: u64) -> bool {
        self.base & 0xc00 == 0x800 && p & !0xfff == self.base & !0xfff
    }
}

impl Cpu {
    /// Whether an external interrupt waits: from the 8259 pair through LINT0, or in the IRR above PPR.
    #[inline]
    pub(crate) fn interrupt_pending(&self) -> bool {
        self.sys.intr
    }

    /// Acknowledges the external interrupt that waits; its vector.
    pub(crate) fn acknowledge_interrupt(&mut self) -> u8 {
        self.bus().acknowledge()
    }

    /// The retired-instruction count at which the APIC timer is due; `u64::MAX` for never.
    pub(crate) fn apic_deadline(&self) -> u64 {
        u64::MAX
    }

    /// Lets the APIC timer fire.
    pub(crate) fn apic_timer_due(&mut self) {}

    /// Reads an APIC MSR (1BH, 6E0H, 800H to 83FH); `None`: #GP(0).
    pub(crate) fn apic_msr_read(&mut self, n: u32) -> Option<u64> {
        (n == 0x1b).then_some(self.apic.base)
    }

    /// Writes an APIC MSR; `None`: #GP(0).
    pub(crate) fn apic_msr_write(&mut self, n: u32, v: u64) -> Option<()> {
        (n == 0x1b).then(|| self.apic.base = v)
    }

    /// Whether this is the bootstrap processor.
    pub(crate) fn apic_is_bsp(&self) -> bool {
        self.apic.base & 1 << 8 != 0
    }

    /// Resets the APIC; an INIT keeps its ID and base.
    pub(crate) fn apic_reset(&mut self, _init: bool) {}

    pub(crate) fn apic_mmio_read(&mut self, _offset: u64, _size: u8) -> u64 {
        0
    }

    pub(crate) fn apic_mmio_write(&mut self, _offset: u64, _size: u8, _v: u64) {}
}
