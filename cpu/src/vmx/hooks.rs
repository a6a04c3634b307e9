//! Where event delivery asks VMX. Outside VMX operation none of these does anything.

use crate::delivery::Event;
use crate::state::Cpu;

impl Cpu {
    /// Whether VMX has an event to look at, at this boundary.
    #[inline]
    pub(crate) fn vmx_attention(&self) -> bool {
        false
    }

    /// Events above debug traps. True if one was taken.
    pub(crate) fn vmx_high_event(&mut self) -> bool {
        false
    }

    /// Preemption timer and NMI window. True if one was taken.
    pub(crate) fn vmx_middle_event(&mut self) -> bool {
        false
    }

    /// Interrupt window and virtual interrupts, before external interrupts. True if one was taken.
    pub(crate) fn vmx_low_event(&mut self) -> bool {
        false
    }

    /// Whether an event that is about to be delivered exits instead. If so, the exit has been made.
    pub(crate) fn vmx_intercepts(&mut self, _event: &Event) -> bool {
        false
    }

    /// Whether an event that an instruction raises (INT3, INTO, INT1) exits. If so, the exit is recorded.
    pub(crate) fn vmx_intercepts_instruction(&mut self, _event: &Event) -> bool {
        false
    }

    /// A VMX capability MSR; `None`: #GP(0).
    pub(crate) fn vmx_msr_read(&self, _msr: u32) -> Option<u64> {
        None
    }

    /// Whether INIT stays latched.
    pub(crate) fn vmx_blocks_init(&self) -> bool {
        false
    }

    /// Whether a start-up IPI exits. If so, the exit has been made.
    pub(crate) fn vmx_sipi(&mut self, _page: u8) -> bool {
        false
    }

    /// Whether the next instruction has to run alone: monitor trap flag.
    pub(crate) fn vmx_exact_step(&self) -> bool {
        false
    }

    /// After an instruction that ran alone.
    pub(crate) fn vmx_after_step(&mut self) {}

    /// Whether a triple fault exits. If so, the exit has been made.
    pub(crate) fn vmx_triple_fault(&mut self) -> bool {
        false
    }

    /// The retired-instruction count at which the preemption timer is due; `u64::MAX` for never.
    pub(crate) fn vmx_deadline(&self) -> u64 {
        u64::MAX
    }

    /// What IRET does to NMI blocking.
    pub(crate) fn iret_unblocks_nmi(&mut self) {
        self.sys.nmi_blocked = false;
    }
}
