//! Interrupt wiring: which output leads to which input of the interrupt controllers, and what they
//! hand on to the processors.

use super::Board;
use crate::device::InterruptMessage;

/// The I/O APIC input of PIRQA; the seven others follow.
const FIRST_PIRQ_INPUT: u32 = 16;
/// The lines of IRQ0 and IRQ8, which the HPET takes over in legacy replacement mode.
const REPLACED: u16 = 1 << 0 | 1 << 8;

impl Board {
    /// The level of the interrupt controllers' INTR, wired to LINT0 of the processors.
    #[must_use]
    pub fn intr_output(&self) -> bool {
        self.devices.pic.intr()
    }

    /// Whether time alone may bring an interrupt: at INTR if a processor looks there (`extint`), at the local
    /// APICs one that a processor can mask if one listens for those (`maskable`), or any other.
    pub fn may_interrupt(&mut self, maskable: bool, extint: bool) -> bool {
        let devices = &mut self.devices;
        maskable && extint && devices.pic.listens()
            || devices.ioapic.listens(!maskable)
            || devices.optional_timed().any(|device| device.deadline(self.now).is_some())
    }

    /// INTA: the vector of the interrupt that INTR announces.
    pub fn acknowledge(&mut self) -> u8 {
        self.traces.disturbed = true;
        self.devices.pic.acknowledge()
    }

    /// The interrupt messages to the local APICs since the last call, in order.
    pub fn take_messages(&mut self) -> Vec<InterruptMessage> {
        self.devices.fsb.take_messages()
    }

    /// There are messages to take.
    #[must_use]
    pub fn has_messages(&self) -> bool {
        self.devices.fsb.has_messages()
    }

    /// A local APIC has ended the level-triggered interrupt `vector`.
    pub fn eoi(&mut self, vector: u8) {
        self.devices.ioapic.eoi(vector);
        self.collect();
    }

    /// Hands the output levels to the interrupt controllers: if they have changed, or always if
    /// `anew`. An edge of the HPET is a line that goes down and up again in no time, so its lines
    /// are handed over twice.
    pub(super) fn sample(&mut self, anew: bool) {
        let (isa, pirqs) = self.isa_and_pirq_lines();
        let (before, after) = self.devices.hpet.take_lines();
        let (before, after) = (before | pirqs, after | pirqs);
        if before != after {
            self.drive(isa, before);
        }
        if anew || before != after || self.driven != (isa, after) {
            self.driven = (isa, after);
            self.drive(isa, after);
        }
    }

    /// The levels of the sixteen ISA interrupt lines, the HPET's apart, and of the PCI ones as
    /// inputs of the I/O APIC.
    fn isa_and_pirq_lines(&self) -> (u16, u32) {
        let replaced = if self.devices.hpet.legacy() { REPLACED } else { 0 };
        let pirqs = self.pirq_lines();
        let isa = self.devices.isa_lines(self.now) & !replaced | self.routed_to_isa(pirqs);
        (isa, u32::from(pirqs) << FIRST_PIRQ_INPUT)
    }

    /// Drives the ISA lines and the other inputs of the I/O APIC, the HPET's and PCI's. IRQ0 leads to input 2; in legacy
    /// replacement mode the HPET's inputs 2 and 8 are IRQ0 and IRQ8 as well.
    fn drive(&mut self, isa: u16, hpet: u32) {
        let legacy = u32::from(self.devices.hpet.legacy());
        let irq0 = (hpet >> 2 & legacy) as u16;
        let irq8 = (hpet & legacy << 8) as u16;
        self.devices.pic.set_lines(isa | irq0 | irq8);
        let pins = u32::from(isa & !1) | u32::from(isa & 1) << 2;
        self.devices.ioapic.set_lines(pins | hpet);
        self.collect();
    }

    /// Puts what the I/O APIC sends on the front-side bus.
    fn collect(&mut self) {
        if self.devices.ioapic.has_messages() {
            let messages = self.devices.ioapic.take_messages();
            messages.into_iter().for_each(|message| self.devices.fsb.send(message));
        }
    }
}
