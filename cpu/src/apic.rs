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
    pub(crate) fn apic_mmio_read(&mut self, _offset: u64, _size: u8) -> u64 {
        0
    }

    pub(crate) fn apic_mmio_write(&mut self, _offset: u64, _size: u8, _v: u64) {}
}
