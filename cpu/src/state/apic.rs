//! The state of a local APIC. SDM vol. 3, "Advanced Programmable Interrupt Controller (APIC)".

use serde::{Deserialize, Serialize};

/// IA32_APIC_BASE.BSP.
pub const BASE_BSP: u64 = 1 << 8;
/// IA32_APIC_BASE.EXTD: x2APIC mode.
pub const BASE_EXTD: u64 = 1 << 10;
/// IA32_APIC_BASE.EN.
pub const BASE_EN: u64 = 1 << 11;

/// Of an LVT entry: the interrupt is masked.
pub(crate) const MASKED: u32 = 1 << 16;

/// A 256-bit vector set.
pub(crate) type Vectors = [u32; 8];

/// State of a local APIC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apic {
    /// IA32_APIC_BASE.
    pub base: u64,
    /// The APIC ID from power-up on, which x2APIC mode and CPUID show.
    pub id: u32,
    /// The APIC ID of xAPIC mode, which software may change.
    pub(crate) xapic_id: u8,
    /// Task-priority register.
    pub tpr: u8,
    pub(crate) ldr: u32,
    pub(crate) dfr: u32,
    /// Spurious-interrupt vector register.
    pub svr: u32,
    pub(crate) isr: Vectors,
    pub(crate) tmr: Vectors,
    pub(crate) irr: Vectors,
    pub(crate) esr: u32,
    pub(crate) esr_latched: u32,
    pub(crate) icr: u64,
    /// Timer, thermal, performance, LINT0, LINT1, error.
    pub(crate) lvt: [u32; 6],
    pub(crate) initial: u32,
    pub(crate) divide: u32,
    /// Retired instructions when the count was `from`.
    pub(crate) started: u64,
    /// What the timer counts down from since then.
    pub(crate) from: u32,
    /// IA32_TSC_DEADLINE.
    pub(crate) tsc_deadline: u64,
    /// Retired-instruction count at which the timer fires; `u64::MAX` when it does not run.
    pub(crate) fires: u64,
}

impl Apic {
    /// Power-up state of the processor with this APIC ID.
    pub fn new(id: u32) -> Apic {
        let bsp = if id == 0 { BASE_BSP } else { 0 };
        let base = 0xfee0_0000 | BASE_EN | bsp;
        let mut apic = Apic { id, xapic_id: id as u8, base, ..Apic::default() };
        apic.init();
        apic
    }

    /// INIT: everything but the base and the IDs.
    pub fn init(&mut self) {
        let (base, id, xapic_id) = (self.base, self.id, self.xapic_id);
        *self = Apic {
            base,
            id,
            xapic_id,
            dfr: u32::MAX,
            svr: 0xff,
            lvt: [MASKED; 6],
            fires: u64::MAX,
            ..Apic::default()
        };
    }
}
