//! Ending the machine.

use runtime::cpu;

/// Powers the machine off, by whatever works on it, or stops: ACPI S5 through the PM1a control
/// register and SLP_TYP given, QEMU's exit device, Bochs's shutdown port.
pub(crate) fn off(acpi: Option<(u16, u8)>) -> ! {
    crate::console::drain();
    if let Some((port, s5)) = acpi {
        cpu::outw(port, 1 << 13 | u16::from(s5) << 10);
    }
    cpu::outb(0xF4, 0);
    for byte in *b"Shutdown" {
        cpu::outb(0x8900, byte);
    }
    cpu::stop()
}
