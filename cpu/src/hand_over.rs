//! A processor as firmware hands it over to a kernel, what firmware's tables tell of it, and which interrupts it
//! heeds.

use crate::state::{Activity, flags};
use crate::vmx::controls::pin;
use crate::vmx::instructions::{FEATURE_LOCK, FEATURE_VMXON};
use crate::{Cpu, apic, feature};

impl Cpu {
    /// Sets what firmware leaves at hand-over: the bootstrap processor in virtual wire mode, and VMX
    /// allowed and locked, unless `unlocked`.
    pub fn hand_over(&mut self, unlocked: bool) {
        if self.apic_is_bsp() {
            self.state.apic.virtual_wire();
        }
        if self.state.model.has(feature::VMX) && !unlocked {
            self.state.sys.msr.feature_control = FEATURE_LOCK | FEATURE_VMXON;
        }
    }

    /// Whether an interrupt that a processor can mask would end the present idling.
    pub fn heeds_interrupts(&self) -> bool {
        let deaf = matches!(self.state.sys.activity, Activity::Shutdown | Activity::WaitSipi);
        let exits = self.state.vmx.guest && self.state.vmx.pin(pin::EXTERNAL_INTERRUPT);
        !deaf && (self.state.flags.system & flags::IF != 0 || exits)
    }

    /// Whether INTR reaches this processor.
    pub fn heeds_extint(&self) -> bool {
        self.state.apic.accepts_extint()
    }

    /// The processor as tables of firmware tell of it: CPUID leaf 1, EAX and EDX, and the local APIC's
    /// version.
    pub fn identity(&self) -> [u32; 3] {
        let [signature, _, _, features] = self.cpuid(1, 0);
        [signature, features, apic::VERSION]
    }
}
